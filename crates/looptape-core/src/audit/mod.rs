//! Audit: why a run cost what it cost.
//!
//! - `lmdi`, `waterfall`: against another run, the difference factor by factor.
//! - `carried`, `message`: within the run, what each message cost, every time it was sent.
//! - `cache`, `retries`, `repeats`: what was paid for although it need not have been.
//! - `pricing`, `what_if`: what the run would have cost if something had been otherwise.
//! - `findings`: the few sentences that matter.
//! - `bill`: the tokens and dollars of each attempt, from which all of it is made.
//! - `ranking`, `usual`: which runs to look at.
//! - `heat`: what each message of one prompt cost the run, in the order of the prompt.
//!
//! Invariants: the bars of a waterfall sum to the difference exactly; sections, tools and messages each sum to
//! the input cost exactly; what has no price is named and is never 0. Tokens of single messages are estimates
//! and say so; sums over all of a prompt are the provider's own.
//!
//! What this does not do: read bodies, choose the run to compare with, or lay out text.

mod bill;
mod cache;
mod carried;
mod findings;
mod heat;
pub mod lmdi;
mod message;
mod pricing;
mod ranking;
mod repeats;
mod retries;
#[cfg(test)]
mod tests;
mod usual;
mod waterfall;
mod what_if;

pub use bill::{Bill, Bills};
pub use cache::{CacheMiss, CacheReport, MissCause, PrefixChange};
pub use carried::{Carried, CarriedMessage, SectionCost, ToolCost};
pub use findings::{Finding, FindingKind};
pub use heat::{Heat, HeatMessage, heat};
pub use message::Message;
pub use pricing::Pricing;
pub use ranking::{RankBy, RankedTrace, Waste, ranking};
pub use repeats::{Repeat, Repeated};
pub use retries::{RetriedStep, Retries};
pub use usual::{UNUSUAL, UsualCost, is_unusual};
pub use waterfall::{Bar, Factor, Quantities, Waterfall};
pub use what_if::{Supposing, WhatIf};

use crate::assembly::StepNumber;
use crate::composition::{Composition, Prompts, Section, Tokenizer};
use crate::cost::Usd;
use crate::facts::CallFacts;
use crate::metrics::{Measured, UnknownCost};
use crate::trace_id::TraceId;
use cache::Reuse;
use carried::PieceCosts;
use message::Origins;
use serde::Serialize;
use std::collections::BTreeSet;
use what_if::Suppositions;

/// Version of the JSON of `audit`.
pub const FORMAT: u32 = 1;

/// A run, measured, with its prompts.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub id: &'a TraceId,
    pub agent: Option<&'a str>,
    pub facts: &'a [CallFacts],
    pub measured: &'a Measured,
    pub prompts: &'a Prompts,
    pub pricing: Pricing<'a>,
}

/// What a run is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    pub source: BaselineSource,
    pub quantities: Quantities,
    /// Whether its true cost may be larger.
    pub at_least: bool,
}

/// Where a baseline comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BaselineSource {
    Trace {
        trace: String,
    },
    /// The median by cost among other runs of the same agent.
    CohortMedian {
        trace: String,
        agent: Option<String>,
        runs: u32,
    },
    /// A trace that was read from a file.
    File {
        file: String,
        trace: Option<String>,
    },
    /// The mean of the traces that a file sums up.
    FileMean {
        file: String,
        runs: u32,
    },
}

/// Why a run cost what it cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    pub format: u32,
    pub trace: TraceId,
    pub agent: Option<String>,
    pub models: Vec<String>,
    pub steps: u32,
    pub cost_usd: Option<Usd>,
    /// Whether the true cost may be larger: some attempt's is not known in full.
    pub cost_at_least: bool,
    pub cost_unknown: Vec<UnknownCost>,
    /// These four sum to `cost_usd`.
    pub input_usd: Usd,
    pub output_usd: Usd,
    pub fees_usd: Usd,
    pub other_calls_usd: Usd,
    pub baseline: Option<BaselineSource>,
    pub baseline_at_least: bool,
    pub waterfall: Option<Waterfall>,
    /// How tokens of single messages were estimated.
    pub tokenizers: Vec<Tokenizer>,
    pub by_step: Vec<StepCost>,
    pub carried: Carried,
    pub cache: CacheReport,
    pub retries: Retries,
    pub repeats: Vec<Repeat>,
    pub what_if: Vec<WhatIf>,
    pub findings: Vec<Finding>,
}

/// A step's cost, and what its prompt consisted of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepCost {
    pub step: StepNumber,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    pub composition: Option<Composition>,
}

/// Audits a run. `models` are those at whose prices it is to be priced as well.
pub fn audit(run: &Run<'_>, baseline: Option<&Baseline>, models: &[String]) -> Audit {
    let Run { facts, measured, prompts, pricing, .. } = *run;
    let metrics = &measured.metrics;
    let bills = Bills::of(facts, measured, &pricing);
    let origins = Origins::of(&measured.assembly, prompts);
    let costs = PieceCosts::of(&bills, prompts);
    let carried = Carried::of(&costs, prompts, &origins, bills.usd());
    let reuse = Reuse::of(&bills, prompts, facts, measured);
    let quantities = Quantities::of(&bills, metrics.steps);
    let what_if = what_if(run, &bills, &reuse, &carried, models);
    let mut audit = Audit {
        format: FORMAT,
        trace: run.id.clone(),
        agent: run.agent.map(str::to_owned),
        models: models_of(facts, measured),
        steps: metrics.steps,
        cost_usd: metrics.cost_usd,
        cost_at_least: metrics.cost_at_least,
        cost_unknown: metrics.cost_unknown.clone(),
        input_usd: bills.input_usd(),
        output_usd: bills.all.iter().flat_map(|bill| bill.output_leaves()).map(|(_, usd)| usd).sum(),
        fees_usd: bills.all.iter().map(Bill::fees_usd).sum(),
        other_calls_usd: bills.other_calls,
        baseline: baseline.map(|baseline| baseline.source.clone()),
        baseline_at_least: baseline.is_some_and(|baseline| baseline.at_least),
        waterfall: baseline
            .filter(|_| metrics.cost_usd.is_some())
            .map(|baseline| Waterfall::between(&baseline.quantities, &quantities)),
        tokenizers: tokenizers(&bills, prompts),
        by_step: by_step(run),
        cache: CacheReport::of(&reuse, &bills, &origins, &pricing),
        retries: Retries::of(facts, measured),
        repeats: repeats::repeats(facts, measured, prompts, &costs),
        what_if,
        carried,
        findings: Vec::new(),
    };
    audit.findings = findings::findings(&audit, run, &bills);
    audit
}

fn what_if(
    run: &Run<'_>,
    bills: &Bills,
    reuse: &Reuse<'_>,
    carried: &Carried,
    models: &[String],
) -> Vec<WhatIf> {
    if bills.all.is_empty() {
        return Vec::new();
    }
    let supposed = Suppositions { bills, prompts: run.prompts, pricing: &run.pricing };
    let mut all = vec![supposed.perfect_cache(reuse)];
    let is_result = |message: &&CarriedMessage| message.message.section == Section::ToolResults;
    all.extend(carried.messages.iter().find(is_result).map(|most| supposed.without(most)));
    all.extend(models.iter().map(|model| supposed.other_model(model)));
    all
}

fn models_of(facts: &[CallFacts], measured: &Measured) -> Vec<String> {
    let calls = measured.assembly.steps.iter().map(|step| &facts[step.final_call().0]);
    let models: BTreeSet<&str> =
        calls.filter_map(|fact| fact.response_model.as_deref().or(fact.model.as_deref())).collect();
    models.into_iter().map(str::to_owned).collect()
}

fn tokenizers(bills: &Bills, prompts: &Prompts) -> Vec<Tokenizer> {
    let mut used = Vec::new();
    for tokenizer in bills.all.iter().filter_map(|bill| Some(prompts.prompt(bill.call)?.tokenizer())) {
        if !used.contains(&tokenizer) {
            used.push(tokenizer);
        }
    }
    used
}

fn by_step(run: &Run<'_>) -> Vec<StepCost> {
    let steps = run.measured.assembly.steps.iter().zip(&run.measured.metrics.by_step);
    let cost = |(step, metrics): (&crate::assembly::Step, &crate::metrics::StepMetrics)| {
        let call = step.final_call();
        StepCost {
            step: step.number,
            cost_usd: metrics.cost_usd,
            cost_at_least: metrics.cost_at_least,
            composition: run.prompts.composition(call, &run.facts[call.0].usage),
        }
    };
    steps.map(cost).collect()
}
