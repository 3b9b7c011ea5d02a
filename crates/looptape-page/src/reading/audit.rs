//! Why a run cost what it cost, and which runs to look at.

use super::prompts::{ReadPrompts, prepare_tokenizers};
use looptape_core::audit::{
    self, Audit, Baseline, Pricing, RankBy, RankedTrace, Run, Supposing, Waste, WhatIf, ranking,
};
use looptape_core::cost::{Cost, Usd, UsdDelta};
use looptape_core::metrics::Measured;
use looptape_core::view::{self, LsRow};
use looptape_store::{ReadError, Reader, RecordedTrace, TraceRow};
use serde::Serialize;

/// An audit, and what a reader of it should know.
#[derive(Debug, Serialize)]
pub struct Audited {
    #[serde(flatten)]
    pub audit: Audit,
    pub notes: Vec<String>,
}

/// Why a run cannot be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("trace {trace} has no model call: there is nothing to audit")]
    NoCalls { trace: String },
    #[error("there is no price for `{model}`.{} docs/prices.md says how to state one", most_like(nearest))]
    NoPrice { model: String, nearest: Vec<String> },
}

fn most_like(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!(" Most like it: {}.", names.join(", ")),
    }
}

/// The audit of a run. `baseline` is what to compare with, or why there is nothing although there should be. Without
/// `models` to price it at, those are taken that are most like its own and cheaper.
pub fn audited(
    reader: &Reader,
    trace: &RecordedTrace,
    models: &[String],
    baseline: Result<Option<Baseline>, String>,
) -> Result<Audited, AuditError> {
    prepare_tokenizers(trace);
    let measured = trace.measure();
    if measured.assembly.steps.is_empty() {
        return Err(AuditError::NoCalls { trace: trace.row.label() });
    }
    let mut notes = Vec::new();
    let other_models = other_models(reader, trace, &measured, models)?;
    let baseline = baseline.unwrap_or_else(|why| {
        notes.push(why);
        None
    });
    let ReadPrompts { prompts, damage } = ReadPrompts::all(reader, trace);
    notes.extend(damage.into_iter().map(|(_, error)| format!("{error}; its input is in no message's cost")));
    let run = Run {
        id: &trace.row.id,
        agent: trace.row.agent.as_deref(),
        facts: &trace.facts,
        measured: &measured,
        prompts: &prompts,
        pricing: pricing(reader, trace),
    };
    let mut audit = audit::audit(&run, baseline.as_ref(), &other_models);
    if models.is_empty() {
        keep_cheaper(&mut audit.what_if);
    }
    Ok(Audited { audit, notes })
}

/// The runs to look at, at most so many. `each` is told after each run that was read.
pub fn ranked(
    reader: &Reader,
    rows: Vec<TraceRow>,
    by: RankBy,
    most: usize,
    each: impl Fn(),
) -> Result<Vec<RankedTrace<LsRow>>, ReadError> {
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        runs.push(priced(reader, row)?);
        each();
    }
    Ok(ranking(runs, by, most))
}

type Priced = (LsRow, Option<String>, Option<Usd>, Waste);

/// A run, its cost as far as all of it is known, and its waste.
fn priced(reader: &Reader, row: TraceRow) -> Result<Priced, ReadError> {
    let meta = row.meta();
    let trace = reader.load(row)?;
    let measured = trace.measure();
    let waste = Waste::of(&trace.facts, &measured, &pricing(reader, &trace));
    let listed = view::ls_row(meta, &measured.metrics);
    let agent = listed.agent.clone();
    let usd = listed.cost_usd;
    Ok((listed, agent, usd, waste))
}

pub(super) fn pricing<'a>(reader: &'a Reader, trace: &'a RecordedTrace) -> Pricing<'a> {
    Pricing { book: reader.prices(), started_unix_us: trace.row.happened_unix_us(), facts: &trace.facts }
}

/// The models that were asked for, each of which must have a price; else those most like the one that cost
/// most.
fn other_models(
    reader: &Reader,
    trace: &RecordedTrace,
    measured: &Measured,
    asked: &[String],
) -> Result<Vec<String>, AuditError> {
    let Some((provider, model)) = dearest(trace, measured) else { return Ok(asked.to_vec()) };
    if let Some(asked) = asked.iter().find(|asked| !reader.prices().has_price(provider, asked)) {
        let nearest = reader.prices().models_like(provider, asked);
        return Err(AuditError::NoPrice { model: asked.clone(), nearest });
    }
    match asked {
        [] => {
            Ok(reader.prices().models_like(provider, model).into_iter().filter(|m| is_for_text(m)).collect())
        }
        asked => Ok(asked.to_vec()),
    }
}

/// Whether a model could take an agent's place that speaks and listens in text, by its name.
fn is_for_text(model: &str) -> bool {
    const OTHERS: [&str; 9] =
        ["audio", "tts", "transcribe", "realtime", "live", "image", "embed", "search", "moderation"];
    !OTHERS.iter().any(|other| model.contains(other))
}

/// Of the models that nobody asked for, only those at whose prices the run would have cost less.
fn keep_cheaper(what_if: &mut Vec<WhatIf>) {
    what_if.retain(|one| match one.supposing {
        Supposing::OtherModel { .. } => one.delta_usd.is_some_and(|delta| delta < UsdDelta::ZERO),
        Supposing::PerfectCache | Supposing::WithoutResult { .. } => true,
    });
}

/// Provider and model of the call that cost most.
fn dearest<'a>(trace: &'a RecordedTrace, measured: &Measured) -> Option<(&'a str, &'a str)> {
    let usd = |cost: &Cost| match cost {
        Cost::Known(price) => price.usd(),
        Cost::NotBilled | Cost::Unknown(_) => Usd::ZERO,
    };
    let (fact, _) = trace.facts.iter().zip(&measured.costs).max_by_key(|(_, cost)| usd(cost))?;
    Some((fact.provider.as_str(), fact.model.as_deref().or(fact.response_model.as_deref())?))
}
