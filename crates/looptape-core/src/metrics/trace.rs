//! The figures of one trace, its loops and its steps.

use super::sums::{CostSum, ErrorCounts, TokenSums};
use super::time::{self, TimeSplit};
use super::{AttemptMetrics, Ms, attempt, outcome};
use crate::assembly::{
    Assembly, Attempt, CallIndex, Clock, Loop, LoopNumber, LoopOutcome, Step, StepNumber, TraceSpan,
};
use crate::cost::{Cost, LeafCosts, Unpriced, Usd};
use crate::facts::CallFacts;
use serde::Serialize;

/// Everything measured about one trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceMetrics {
    #[serde(flatten)]
    pub time: TimeSplit,
    pub loops: u32,
    pub completed_loops: u32,
    pub steps: u32,
    pub tool_calls: u32,
    /// HTTP exchanges of model steps.
    pub attempts: u32,
    /// HTTP exchanges that were no model steps.
    pub other_calls: u32,
    /// HTTP attempts per loop.
    pub amplification: Option<f64>,
    pub retries: u32,
    /// Retries per model step.
    pub retry_rate: Option<f64>,
    /// From the first attempt of each retried step to the start of its last one.
    pub retry_wasted_ms: Option<Ms>,
    /// Cost of all attempts that were tried again.
    pub retry_wasted_usd: Option<Usd>,
    pub tokens: TokenSums,
    pub cache_hit_ratio: Option<f64>,
    pub cost_usd: Option<Usd>,
    /// Whether the true cost may be larger than `cost_usd`.
    pub cost_at_least: bool,
    pub cost_by_leaf: Option<LeafCosts>,
    pub cost_unknown: Vec<UnknownCost>,
    pub outcome: LoopOutcome,
    pub errors: ErrorCounts,
    /// Failed attempts per attempt.
    pub error_rate: Option<f64>,
    pub by_loop: Vec<LoopMetrics>,
    pub by_step: Vec<StepMetrics>,
    #[serde(skip)]
    pub(super) cost: CostSum,
    #[serde(skip)]
    pub(super) wasted: CostSum,
}

/// A model call whose cost is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownCost {
    pub step: StepNumber,
    pub model: Option<String>,
    pub why: Unpriced,
}

/// The figures of one loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoopMetrics {
    #[serde(rename = "loop")]
    pub number: LoopNumber,
    pub name: Option<String>,
    pub lanes: u32,
    pub steps: u32,
    pub tool_calls: u32,
    pub attempts: u32,
    pub retries: u32,
    /// From its first request to the end of its last answer.
    pub duration_ms: Option<Ms>,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    pub outcome: LoopOutcome,
}

/// The figures of one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepMetrics {
    pub step: StepNumber,
    #[serde(rename = "loop")]
    pub loop_number: LoopNumber,
    pub attempts: u32,
    pub retries: u32,
    /// All attempts, backoff included.
    pub step_latency_ms: Option<Ms>,
    pub backoff_ms: Option<Ms>,
    /// The last attempt's own figures.
    #[serde(flatten)]
    pub last: AttemptMetrics,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    #[serde(skip)]
    pub(super) cost: CostSum,
    #[serde(skip)]
    pub(super) wasted: CostSum,
    #[serde(skip)]
    pub(super) wasted_ms: Option<Ms>,
    #[serde(skip)]
    tool_calls: u32,
}

/// What is measured: a trace's calls, what they were assembled to, and what each of them cost.
pub(super) struct Recorded<'a> {
    pub(super) facts: &'a [CallFacts],
    pub(super) assembly: &'a Assembly,
    pub(super) span: &'a TraceSpan,
    pub(super) costs: &'a [Cost],
    pub(super) clock: &'a Clock,
}

/// Measures a trace. `costs` holds the cost of each of `facts`, in their order.
pub fn trace(facts: &[CallFacts], assembly: &Assembly, span: &TraceSpan, costs: &[Cost]) -> TraceMetrics {
    let clock = Clock::new(facts, span.timing);
    let recorded = Recorded { facts, assembly, span, costs, clock: &clock };
    let by_step: Vec<StepMetrics> = assembly.steps.iter().map(|step| of_step(&recorded, step)).collect();
    let by_loop: Vec<LoopMetrics> =
        assembly.loops.iter().map(|inner| of_loop(&recorded, &by_step, inner)).collect();
    let outcomes: Vec<LoopOutcome> = by_loop.iter().map(|l| l.outcome).collect();
    let (mut cost, mut wasted) = (CostSum::default(), CostSum::default());
    for step in &by_step {
        cost.merge(&step.cost);
        wasted.merge(&step.wasted);
    }
    let mut tokens = TokenSums::default();
    let mut errors = ErrorCounts::default();
    for call in model_calls(assembly) {
        tokens.add(&facts[call.0], &costs[call.0]);
        errors.add(&facts[call.0]);
    }
    add_priced_plain_calls(&mut cost, assembly, costs);
    let sum = |count: fn(&StepMetrics) -> u32| by_step.iter().map(count).sum::<u32>();
    let (steps, attempts, retries) = (count(by_step.len()), sum(|s| s.attempts), sum(|s| s.retries));
    TraceMetrics {
        time: time::split(&recorded),
        loops: count(by_loop.len()),
        completed_loops: count(outcomes.iter().filter(|o| **o != LoopOutcome::Unknown).count()),
        steps,
        tool_calls: sum(|s| s.tool_calls),
        attempts,
        other_calls: count(assembly.others.iter().map(|other| other.attempts.len()).sum()),
        amplification: ratio(attempts, count(by_loop.len())),
        retries,
        retry_rate: ratio(retries, steps),
        retry_wasted_ms: by_step.iter().map(|s| s.wasted_ms).sum(),
        retry_wasted_usd: if retries == 0 { Some(Usd::ZERO) } else { wasted.usd() },
        tokens,
        cache_hit_ratio: tokens.cache_hit_ratio(),
        cost_usd: cost.usd(),
        cost_at_least: cost.at_least(),
        cost_by_leaf: cost.by_leaf(),
        cost_unknown: unknown_costs(&recorded),
        outcome: outcome::of_trace(span, &outcomes),
        error_rate: ratio(errors.total(), attempts),
        errors,
        by_loop,
        by_step,
        cost,
        wasted,
    }
}

/// One count per another; `None` where there is nothing to divide by.
pub(super) fn ratio(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub(super) fn model_calls(assembly: &Assembly) -> impl Iterator<Item = CallIndex> {
    assembly.steps.iter().flat_map(Step::calls)
}

/// A plain call adds to the cost where the provider stated one; that others are unpriced is no gap in it.
fn add_priced_plain_calls(cost: &mut CostSum, assembly: &Assembly, costs: &[Cost]) {
    for attempt in assembly.others.iter().flat_map(|other| &other.attempts) {
        let own = &costs[attempt.call.0];
        if matches!(own, Cost::Known(_)) {
            cost.add(own);
        }
    }
}

fn of_step(recorded: &Recorded<'_>, step: &Step) -> StepMetrics {
    let Recorded { facts, costs, span, .. } = *recorded;
    let (mut cost, mut wasted) = (CostSum::default(), CostSum::default());
    let last = step.final_call();
    for Attempt { call, .. } in &step.attempts {
        cost.add(&costs[call.0]);
        if *call != last {
            wasted.add(&costs[call.0]);
        }
    }
    let retries = || step.attempts.iter().filter_map(|attempt| attempt.retry);
    let started_us = facts[step.first_call().0].sent_us;
    // One attempt's own duration may be known where times between attempts are not.
    let is_known = span.timing.knows_intervals() || step.attempts.len() == 1;
    let since_start = |time: i64| is_known.then(|| Ms::between(started_us, time));
    StepMetrics {
        step: step.number,
        loop_number: step.loop_number,
        attempts: count(step.attempts.len()),
        retries: count(retries().count()),
        step_latency_ms: span.timing.known_end(&facts[last.0]).and_then(since_start),
        backoff_ms: retries().map(|retry| retry.backoff_us.map(Ms::from_us)).sum(),
        last: attempt(&facts[last.0], span.timing),
        cost_usd: cost.usd(),
        cost_at_least: cost.at_least(),
        cost,
        wasted,
        wasted_ms: span.timing.knows_intervals().then(|| Ms::between(started_us, facts[last.0].sent_us)),
        tool_calls: count(step.tools.len()),
    }
}

fn of_loop(recorded: &Recorded<'_>, by_step: &[StepMetrics], inner: &Loop) -> LoopMetrics {
    let steps: Vec<&StepMetrics> = inner.steps.iter().filter_map(|n| by_step.get(n.index())).collect();
    let mut cost = CostSum::default();
    for step in &steps {
        cost.merge(&step.cost);
    }
    let sum = |count: fn(&StepMetrics) -> u32| steps.iter().map(|s| count(s)).sum::<u32>();
    LoopMetrics {
        number: inner.number,
        name: inner.name.clone(),
        lanes: inner.lanes,
        steps: count(steps.len()),
        tool_calls: sum(|s| s.tool_calls),
        attempts: sum(|s| s.attempts),
        retries: sum(|s| s.retries),
        duration_ms: loop_duration(recorded, inner),
        cost_usd: cost.usd(),
        cost_at_least: cost.at_least(),
        outcome: outcome::of_loop(recorded, inner),
    }
}

/// `None` while one of its calls has no end.
fn loop_duration(recorded: &Recorded<'_>, inner: &Loop) -> Option<Ms> {
    let Recorded { facts, assembly, span, .. } = *recorded;
    let steps = || inner.steps.iter().filter_map(|number| assembly.step(*number));
    let start = steps().map(|step| facts[step.first_call().0].sent_us).min()?;
    let ends: Option<Vec<i64>> = steps().map(|step| facts[step.final_call().0].end_us).collect();
    span.timing.knows_intervals().then_some(Ms::between(start, ends?.into_iter().max()?))
}

fn unknown_costs(recorded: &Recorded<'_>) -> Vec<UnknownCost> {
    let Recorded { facts, assembly, costs, .. } = *recorded;
    let of_step = |step: &Step, call: CallIndex| match costs[call.0] {
        Cost::Unknown(why) => Some(UnknownCost {
            step: step.number,
            model: facts[call.0].response_model.clone().or_else(|| facts[call.0].model.clone()),
            why,
        }),
        Cost::Known(_) | Cost::NotBilled => None,
    };
    let of_attempts = |step: &Step| step.calls().filter_map(|call| of_step(step, call)).collect::<Vec<_>>();
    assembly.steps.iter().flat_map(of_attempts).collect()
}
