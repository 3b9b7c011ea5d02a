//! The few sentences of an audit that matter, each with its dollars and the step to look at.
//!
//! First how the run compares with its baseline, then what cost most. What is below a hundredth of the cost is
//! not worth a sentence. Figures of different findings overlap: a message that was sent too often may also be
//! one that the cache did not hold.

use super::bill::Bills;
use super::cache::{CacheMiss, MissCause, PrefixChange};
use super::repeats::Repeated;
use super::{Audit, BaselineSource, Factor, Run};
use crate::assembly::StepNumber;
use crate::composition::Section;
use crate::cost::{Unpriced, Usd, UsdDelta};
use crate::figures::{count, percent, plural};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const MOST_FINDINGS: usize = 5;
/// The least share of the cost that is worth a sentence.
const LEAST_SHARE: f64 = 0.01;
/// Tools that are named.
const NAMED_TOOLS: usize = 4;

/// A sentence, with what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// `None` if the price is not known.
    pub usd: Option<Usd>,
    /// The step to look at.
    pub step: Option<StepNumber>,
    pub text: String,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    UnknownCost,
    Baseline,
    Carried,
    CacheMissed,
    Retried,
    Repeated,
    UnusedTools,
    Reasoning,
    DearestStep,
}

pub(super) fn findings(audit: &Audit, run: &Run<'_>, bills: &Bills) -> Vec<Finding> {
    let least = audit.cost_usd.unwrap_or_default().as_f64() * LEAST_SHARE;
    let candidates = [carried(audit), retried(audit), unused_tools(audit, run), reasoning(audit, bills)];
    let mut found: Vec<Finding> =
        candidates.into_iter().flatten().chain(cache_missed(audit)).chain(repeated(audit)).collect();
    found.retain(|finding| finding.usd.is_some_and(|usd| usd > Usd::ZERO && usd.as_f64() >= least));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.usd));
    let first = unknown_cost(audit).into_iter().chain(baseline(audit));
    let mut all: Vec<Finding> = first.chain(found).collect();
    if all.len() < MOST_FINDINGS {
        all.extend(dearest_step(audit));
    }
    all.truncate(MOST_FINDINGS);
    all
}

fn finding(kind: FindingKind, usd: Option<Usd>, step: Option<StepNumber>, text: String) -> Option<Finding> {
    Some(Finding { kind, usd, step, text })
}

fn unknown_cost(audit: &Audit) -> Option<Finding> {
    let first = audit.cost_unknown.first()?;
    let models: BTreeSet<&str> =
        audit.cost_unknown.iter().filter_map(|unknown| unknown.model.as_deref()).collect();
    let models: Vec<&str> = models.into_iter().collect();
    let of = if models.is_empty() { String::new() } else { format!(" ({})", models.join(", ")) };
    let attempts = plural(u32::try_from(audit.cost_unknown.len()).unwrap_or(u32::MAX), "attempt", "attempts");
    let what = if audit.cost_usd.is_some() {
        "all sums here are without them"
    } else {
        "nothing here can be priced"
    };
    let why = match first.why {
        Unpriced::NoUsage => "the provider reported no tokens",
        Unpriced::NoModel => "no model is named",
        Unpriced::UnknownModel => "the model has no known price",
        Unpriced::AmbiguousModel => "its price depends on a provider that is not known",
        Unpriced::LocalModel => "the model runs on this machine",
        Unpriced::OtherModalities => "sound and images have prices of their own",
    };
    let text = format!("The cost of {attempts}{of} is not known, {why}: {what}.");
    finding(FindingKind::UnknownCost, None, Some(first.step), text)
}

fn baseline(audit: &Audit) -> Option<Finding> {
    let waterfall = audit.waterfall.as_ref()?;
    let of = match audit.baseline.as_ref()? {
        BaselineSource::Trace { trace } => format!("trace {}", short(trace)),
        BaselineSource::CohortMedian { trace, runs, .. } => {
            format!("the median of {} ({})", plural(*runs, "other run", "other runs"), short(trace))
        }
        BaselineSource::File { file, .. } => format!("the trace in {file}"),
        BaselineSource::FileMean { file, runs } => format!("the mean of the {runs} traces in {file}"),
    };
    let amount = waterfall.delta_usd.amount();
    let Some(bar) = waterfall.main_factor() else {
        let text = format!("It cost as much as {of}.");
        return finding(FindingKind::Baseline, Some(Usd::ZERO), None, text);
    };
    let word = if waterfall.delta_usd > UsdDelta::ZERO { "more" } else { "less" };
    let times = match waterfall.baseline_usd {
        Usd::ZERO => String::new(),
        baseline => format!(", {:.1} times as much", waterfall.usd.as_f64() / baseline.as_f64()),
    };
    let change = match bar.change() {
        change if change.is_empty() => String::new(),
        change => format!(" ({change})"),
    };
    let text = format!(
        "It cost {amount} {word} than {of}{times}: {} made {} of it{change}.",
        bar.factor.words(),
        bar.usd.amount()
    );
    let by_input =
        |step: &&super::StepCost| step.composition.map_or(0, |composition| composition.input_tokens);
    let step = match bar.factor {
        Factor::Context | Factor::CacheMix => audit.by_step.iter().max_by_key(by_input),
        _ => audit.by_step.iter().max_by_key(|step| step.cost_usd),
    };
    finding(FindingKind::Baseline, Some(amount), step.map(|step| step.step), text)
}

/// The beginning of an id, and the run number if it has one.
fn short(trace: &str) -> String {
    let (id, run) = trace.split_once('#').map_or((trace, None), |(id, run)| (id, Some(run)));
    let id: String = id.chars().take(8).collect();
    run.map_or(id.clone(), |run| format!("{id}#{run}"))
}

fn carried(audit: &Audit) -> Option<Finding> {
    let most = audit.carried.messages.iter().find(|message| message.times_sent > 1)?;
    let share = most.share.map_or(String::new(), |share| format!(", {} of the loop", percent(share)));
    let words = capitalised(&most.message.words());
    let text = format!("{words} was sent {} times: {}{share}.", most.times_sent, most.usd);
    finding(FindingKind::Carried, Some(most.usd), most.message.step.or(most.message.first_sent_step), text)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Misses by what caused them.
fn cache_missed(audit: &Audit) -> Vec<Finding> {
    let mut groups: BTreeMap<String, Vec<&CacheMiss>> = BTreeMap::new();
    for miss in &audit.cache.misses {
        let cause = match &miss.cause {
            MissCause::PrefixChanged(change) => match change.was.section {
                Section::System | Section::ToolDefinitions => format!("{:?}", change.was.section),
                // Where a history was rewritten is another place each time.
                _ => "history".to_owned(),
            },
            MissCause::Expired { .. } => "expired".to_owned(),
            MissCause::NotFound => "not found".to_owned(),
        };
        groups.entry(cause).or_default().push(miss);
    }
    groups.into_values().filter_map(|misses| cache_group(audit, &misses)).collect()
}

fn cache_group(audit: &Audit, misses: &[&CacheMiss]) -> Option<Finding> {
    let first = *misses.iter().max_by_key(|miss| miss.usd)?;
    let usd: Usd = misses.iter().filter_map(|miss| miss.usd).sum();
    let tokens: u64 = misses.iter().map(|miss| miss.missed_tokens).sum();
    let at = match misses.len() {
        1 => format!("at step {}", first.step.0),
        steps => format!("in {steps} steps, most at step {}", first.step.0),
    };
    let paid =
        format!("{} tokens that had been sent before were paid for without the cache: {usd}", count(tokens));
    let text = match &first.cause {
        MissCause::PrefixChanged(change) => {
            format!("The cached prefix broke {at}, where {}: {paid}.", change_words(change))
        }
        MissCause::Expired { idle_ms } => {
            let minutes = idle_ms.as_seconds() / 60.0;
            format!(
                "The cache had probably expired {at}, {minutes:.0} minutes after the request before: {paid}."
            )
        }
        MissCause::NotFound if audit.cache.was_used() => {
            format!("The prefix had not changed, and yet was not read from the cache {at}: {paid}.")
        }
        MissCause::NotFound => format!("Nothing was ever read from the cache: {paid}."),
    };
    finding(FindingKind::CacheMissed, Some(usd), Some(first.step), text)
}

fn change_words(change: &PrefixChange) -> String {
    match (change.was.section, &change.was.tool, &change.now) {
        (Section::System, ..) => "the system prompt changed".to_owned(),
        (Section::ToolDefinitions, Some(tool), _) => format!("the definition of {tool} changed or moved"),
        (Section::ToolDefinitions, None, _) => "the tool definitions changed".to_owned(),
        (.., Some(_)) => format!("{} was rewritten", change.was.words()),
        (.., None) => format!("the history was cut before {}", change.was.words()),
    }
}

fn retried(audit: &Audit) -> Option<Finding> {
    let usd = audit.retries.wasted_usd?;
    let most = audit.retries.steps.iter().max_by_key(|step| step.wasted_usd)?;
    let all = plural(audit.retries.retries, "retry", "retries");
    let text = format!(
        "{all}: attempts that were tried again cost {usd}; step {} ended in {} before its last attempt.",
        most.step.0,
        most.attempts[..most.attempts.len().saturating_sub(1)].join(", ")
    );
    finding(FindingKind::Retried, Some(usd), Some(most.step), text)
}

fn repeated(audit: &Audit) -> Option<Finding> {
    let most = audit.repeats.iter().max_by_key(|repeat| repeat.usd)?;
    let usd: Usd = audit.repeats.iter().filter_map(|repeat| repeat.usd).sum();
    let steps: BTreeSet<StepNumber> = audit.repeats.iter().map(|repeat| repeat.step).collect();
    let example = match &most.what {
        Repeated::Request => format!("step {} sent the request of step {} again", most.step.0, most.of.0),
        Repeated::ToolCall { tool, arguments, same_result, .. } => {
            let result = match same_result {
                Some(true) => ", with the same result",
                Some(false) => ", with another result",
                None => "",
            };
            format!("step {} called {tool} {arguments} as step {} had{result}", most.step.0, most.of.0)
        }
    };
    let text = match steps.len() {
        1 => format!("{}: {usd}.", capitalised(&example)),
        n => format!("{n} steps repeated earlier ones: {usd}; {example}."),
    };
    finding(FindingKind::Repeated, Some(usd), Some(most.step), text)
}

fn unused_tools(audit: &Audit, run: &Run<'_>) -> Option<Finding> {
    let called: BTreeSet<&str> = run
        .measured
        .assembly
        .steps
        .iter()
        .flat_map(|step| &step.tools)
        .map(|tool| tool.name.as_str())
        .collect();
    let unused = audit.carried.by_tool.iter().filter(|tool| {
        tool.definition_usd > Usd::ZERO && tool.results == 0 && !called.contains(tool.tool.as_str())
    });
    let unused: Vec<_> = unused.collect();
    let usd = unused.iter().map(|tool| tool.definition_usd).sum();
    let names: Vec<&str> = unused.iter().take(NAMED_TOOLS).map(|tool| tool.tool.as_str()).collect();
    let more = if unused.len() > names.len() { ", …" } else { "" };
    let tools = plural(u32::try_from(unused.len()).unwrap_or(u32::MAX), "tool was", "tools were");
    let text = format!(
        "{tools} offered and never called ({}{more}): their definitions cost {usd}.",
        names.join(", ")
    );
    let first = audit.by_step.first().map(|step| step.step);
    (!unused.is_empty()).then(|| finding(FindingKind::UnusedTools, Some(usd), first, text)).flatten()
}

fn reasoning(audit: &Audit, bills: &Bills) -> Option<Finding> {
    let usd: Usd = bills.all.iter().map(|bill| bill.usd.reasoning).sum();
    let most = bills.all.iter().max_by_key(|bill| bill.usd.reasoning)?;
    let share = usd.as_f64() / audit.cost_usd?.as_f64();
    let text = format!(
        "Reasoning cost {usd}, {} of the loop; most at step {}, {} tokens.",
        percent(share),
        most.step.0,
        count(most.tokens.reasoning)
    );
    finding(FindingKind::Reasoning, Some(usd), Some(most.step), text)
}

fn dearest_step(audit: &Audit) -> Option<Finding> {
    let most = audit
        .by_step
        .iter()
        .filter(|step| step.cost_usd > Some(Usd::ZERO))
        .max_by_key(|step| step.cost_usd)?;
    let (usd, all) = (most.cost_usd?, audit.cost_usd?);
    let text = format!(
        "Step {} was the dearest of {}: {usd}, {} of the loop.",
        most.step.0,
        audit.steps,
        percent(usd.as_f64() / all.as_f64())
    );
    (audit.steps > 1).then(|| finding(FindingKind::DearestStep, Some(usd), Some(most.step), text)).flatten()
}
