//! The figures of one trace, its loops and its steps.

use super::context::{self, ContextUse, History};
use super::distribution::{Distribution, Sampler, Scale};
use super::icl;
use super::sums::{CostColumns, CostSum, ErrorCounts, TokenSums, has_failed};
use super::sweep::Interval;
use super::time::{self, TimeSplit};
use super::{AttemptMetrics, Ms, attempt, outcome};
use crate::assembly::{
    Assembly, Attempt, CallIndex, Clock, Loop, LoopNumber, LoopOutcome, LooseTool, PlainCall, Recording,
    Step, StepNumber, ToolStep, TraceSpan,
};
use crate::cost::{Cost, LeafCosts, Unpriced, Usd};
use crate::facts::CallFacts;
use crate::provider::Provider;
use crate::tools::{ToolFacts, ToolOutcome};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::HashSet;

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
    #[serde(flatten)]
    pub context: ContextUse,
    /// Of all answers; null until the times of their pieces were added.
    #[serde(serialize_with = "or_null")]
    pub icl_ms: Distribution,
    pub cost_usd: Option<Usd>,
    /// Whether the true cost may be larger than `cost_usd`.
    pub cost_at_least: bool,
    pub cost_by_leaf: Option<LeafCosts>,
    #[serde(flatten)]
    pub columns: CostColumns,
    pub cost_unknown: Vec<UnknownCost>,
    pub outcome: LoopOutcome,
    pub errors: ErrorCounts,
    /// Failed attempts per attempt.
    pub error_rate: Option<f64>,
    pub by_loop: Vec<LoopMetrics>,
    pub by_step: Vec<StepMetrics>,
    /// Every tool call, in the order of the steps that asked for them.
    #[serde(skip)]
    pub tools: Vec<ToolUse>,
    /// How long the calls took that are no model steps; all their attempts.
    #[serde(skip)]
    pub(super) other_latencies: Vec<Option<Ms>>,
    /// Every attempt of a model step of which it is known when it ran.
    #[serde(skip)]
    pub(super) calls: Vec<TimedCall>,
    #[serde(skip)]
    pub(super) wasted: CostSum,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolUse {
    pub name: String,
    /// The step that asked for it; `None`: none did.
    pub step: Option<StepNumber>,
    pub took: ToolTime,
    /// Whether a later request carries its result.
    pub answered: bool,
    /// Of a measured call: how it ended; `None` also where its result never came.
    pub outcome: Option<ToolOutcome>,
}

/// How long a tool call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolTime {
    /// `None`: it has no end.
    Measured(Option<Ms>),
    /// From the answer that asks for it to the request that carries its result: an upper bound.
    Inferred(Option<Ms>),
}

/// An HTTP exchange of a model step, on the trace's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimedCall {
    /// Its step's place in [`TraceMetrics::by_step`].
    pub(super) step: usize,
    pub(super) during: Interval,
    pub(super) ttft_ms: Option<Ms>,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
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
    #[serde(skip)]
    pub(super) during: Option<Interval>,
}

/// The figures of one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepMetrics {
    pub step: StepNumber,
    #[serde(rename = "loop")]
    pub loop_number: LoopNumber,
    /// The model that was asked for; where the request names none, the one that answered.
    pub model: Option<String>,
    pub stream: bool,
    pub attempts: u32,
    pub retries: u32,
    /// All attempts, backoff included.
    pub step_latency_ms: Option<Ms>,
    pub backoff_ms: Option<Ms>,
    /// The last attempt's own figures.
    #[serde(flatten)]
    pub last: AttemptMetrics,
    /// Gaps between the pieces of the last attempt's output; null until the times of its pieces were added.
    #[serde(serialize_with = "or_null")]
    pub icl_ms: Distribution,
    /// The last attempt's, cached tokens included.
    pub input_tokens: Option<u64>,
    /// The last attempt's, reasoning included.
    pub output_tokens: Option<u64>,
    /// How many input tokens its model takes.
    pub input_limit: Option<u64>,
    /// Input tokens per token that the model takes.
    pub context_used: Option<f64>,
    /// Its history is shorter than that of the step whose answer it carries on from.
    pub trimmed: bool,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    #[serde(skip)]
    pub(super) cost: CostSum,
    #[serde(skip)]
    pub(super) wasted: CostSum,
    #[serde(skip)]
    pub(super) wasted_ms: Option<Ms>,
    #[serde(skip)]
    pub(super) tokens: TokenSums,
    #[serde(skip)]
    pub(super) failed_attempts: u32,
    #[serde(skip)]
    pub(super) provider: Provider,
    #[serde(skip)]
    tool_calls: u32,
}

fn or_null<S: Serializer>(distribution: &Distribution, serializer: S) -> Result<S::Ok, S::Error> {
    (distribution.n() > 0).then_some(distribution).serialize(serializer)
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
pub fn trace<'a>(
    recording: impl Into<Recording<'a>>,
    assembly: &Assembly,
    span: &TraceSpan,
    costs: &[Cost],
) -> TraceMetrics {
    let Recording { facts, tools: measured } = recording.into();
    let clock = Clock::new(facts, span.timing);
    let recorded = Recorded { facts, assembly, span, costs, clock: &clock };
    let by_step: Vec<StepMetrics> = assembly.steps.iter().map(|step| of_step(&recorded, step)).collect();
    let by_loop: Vec<LoopMetrics> =
        assembly.loops.iter().map(|inner| of_loop(&recorded, &by_step, inner)).collect();
    let outcomes: Vec<LoopOutcome> = by_loop.iter().map(|l| l.outcome).collect();
    let cost = total(assembly, |call| Cow::Borrowed(&costs[call.0]));
    let mut wasted = CostSum::default();
    let mut tokens = TokenSums::default();
    let mut errors = ErrorCounts::default();
    for step in &by_step {
        wasted.merge(&step.wasted);
        tokens.merge(&step.tokens);
    }
    for call in model_calls(assembly) {
        errors.add(&facts[call.0]);
    }
    let sum = |count: fn(&StepMetrics) -> u32| by_step.iter().map(count).sum::<u32>();
    let (steps, attempts, retries) = (count(by_step.len()), sum(|s| s.attempts), sum(|s| s.retries));
    TraceMetrics {
        time: time::split(&recorded),
        loops: count(by_loop.len()),
        completed_loops: count(outcomes.iter().filter(|o| **o != LoopOutcome::Unknown).count()),
        steps,
        tool_calls: sum(|s| s.tool_calls) + count(assembly.loose.len()),
        attempts,
        other_calls: count(assembly.others.iter().map(|other| other.attempts.len()).sum()),
        amplification: ratio(attempts, count(by_loop.len())),
        retries,
        retry_rate: ratio(retries, steps),
        retry_wasted_ms: by_step.iter().map(|s| s.wasted_ms).sum(),
        retry_wasted_usd: if retries == 0 { Some(Usd::ZERO) } else { wasted.usd() },
        tokens,
        cache_hit_ratio: tokens.cache_hit_ratio(),
        context: ContextUse::of(&by_step),
        icl_ms: Distribution::default(),
        cost_usd: cost.usd(),
        cost_at_least: cost.at_least(),
        cost_by_leaf: cost.by_leaf(),
        columns: CostColumns { spent: cost, ..CostColumns::default() },
        cost_unknown: unknown_costs(&recorded),
        outcome: outcome::of_trace(span, &outcomes),
        error_rate: ratio(errors.total(), attempts),
        errors,
        by_loop,
        by_step,
        tools: tool_uses(assembly, measured),
        other_latencies: assembly.others.iter().map(|other| other_latency(&recorded, other)).collect(),
        calls: timed_calls(&recorded),
        wasted,
    }
}

impl TraceMetrics {
    /// The models that were asked for, each once, in the order of the steps.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        self.by_step.iter().filter_map(|step| step.model.as_deref()).filter(move |model| seen.insert(*model))
    }

    /// Adds what the times of the answers' pieces say: those of each call, in the order of the facts, in µs on
    /// the trace's clock.
    pub fn add_pieces(&mut self, facts: &[CallFacts], assembly: &Assembly, pieces_us: &[Vec<i64>]) {
        let mut whole = Sampler::new(Scale::Ms);
        for (step, metrics) in assembly.steps.iter().zip(&mut self.by_step) {
            let call = step.final_call().0;
            let pieces = pieces_us.get(call).map_or(&[][..], Vec::as_slice);
            metrics.icl_ms = Distribution::of_ms(icl::gaps(&facts[call], pieces));
            whole.add_all(&metrics.icl_ms);
        }
        self.icl_ms = whole.finish();
    }
}

fn tool_uses(assembly: &Assembly, measured: &[ToolFacts]) -> Vec<ToolUse> {
    let outcome = |at: usize| measured.get(at).and_then(|tool| tool.outcome);
    let asked = |(step, tool): (&Step, &ToolStep)| {
        let took = tool.started_us.zip(tool.ended_us).map(|(start, end)| Ms::between(start, end));
        ToolUse {
            name: tool.name.clone(),
            step: Some(step.number),
            took: if tool.measured.is_some() { ToolTime::Measured(took) } else { ToolTime::Inferred(took) },
            answered: tool.answered_by.is_some(),
            outcome: tool.measured.and_then(outcome),
        }
    };
    let loose = |tool: &LooseTool| ToolUse {
        name: tool.name.clone(),
        step: None,
        took: ToolTime::Measured(tool.ended_us.map(|end| Ms::between(tool.started_us, end))),
        answered: false,
        outcome: outcome(tool.measured),
    };
    let of_steps = assembly.steps.iter().flat_map(|step| step.tools.iter().map(move |tool| (step, tool)));
    of_steps.map(asked).chain(assembly.loose.iter().map(loose)).collect()
}

fn other_latency(recorded: &Recorded<'_>, other: &PlainCall) -> Option<Ms> {
    let Recorded { facts, span, .. } = *recorded;
    let (first, last) = (&facts[other.first_call().0], &facts[other.final_call().0]);
    let is_known = span.timing.knows_intervals() || first.seq == last.seq;
    span.timing.known_end(last).filter(|_| is_known).map(|end| Ms::between(first.sent_us, end))
}

fn timed_calls(recorded: &Recorded<'_>) -> Vec<TimedCall> {
    let Recorded { facts, assembly, span, .. } = *recorded;
    if !span.timing.knows_intervals() {
        return Vec::new();
    }
    let timed = |(place, call): (usize, CallIndex)| {
        let fact = &facts[call.0];
        Some(TimedCall {
            step: place,
            during: Interval { start_us: fact.sent_us, end_us: fact.end_us? },
            ttft_ms: attempt(fact, span.timing).ttft_ms,
            input_tokens: fact.usage.input_total.unwrap_or(0),
            output_tokens: fact.usage.output_total.unwrap_or(0),
        })
    };
    let steps = assembly.steps.iter().enumerate();
    steps.flat_map(|(place, step)| step.calls().map(move |call| (place, call))).filter_map(timed).collect()
}

/// One count per another; `None` where there is nothing to divide by.
pub(crate) fn ratio(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub(super) fn model_calls(assembly: &Assembly) -> impl Iterator<Item = CallIndex> {
    assembly.steps.iter().flat_map(Step::calls)
}

/// What a trace's calls cost together. A plain call adds to it where its cost is known; that others are unpriced
/// is no gap in it.
pub(super) fn total<'a>(assembly: &Assembly, cost: impl Fn(CallIndex) -> Cow<'a, Cost>) -> CostSum {
    let mut sum = CostSum::default();
    model_calls(assembly).for_each(|call| sum.add(&cost(call)));
    for attempt in assembly.others.iter().flat_map(|other| &other.attempts) {
        let own = cost(attempt.call);
        if matches!(*own, Cost::Known(_)) {
            sum.add(&own);
        }
    }
    sum
}

fn of_step(recorded: &Recorded<'_>, step: &Step) -> StepMetrics {
    let Recorded { facts, assembly, costs, span, .. } = *recorded;
    let (mut cost, mut wasted) = (CostSum::default(), CostSum::default());
    let (mut tokens, mut failed_attempts) = (TokenSums::default(), 0);
    let last = step.final_call();
    for Attempt { call, .. } in &step.attempts {
        cost.add(&costs[call.0]);
        tokens.add(&facts[call.0], &costs[call.0]);
        failed_attempts += u32::from(has_failed(&facts[call.0]));
        if *call != last {
            wasted.add(&costs[call.0]);
        }
    }
    let retries = || step.attempts.iter().filter_map(|attempt| attempt.retry);
    let started_us = facts[step.first_call().0].sent_us;
    // One attempt's own duration may be known where times between attempts are not.
    let is_known = span.timing.knows_intervals() || step.attempts.len() == 1;
    let since_start = |time: i64| is_known.then(|| Ms::between(started_us, time));
    let end = &facts[last.0];
    let input_limit = context::input_limit(end);
    StepMetrics {
        step: step.number,
        loop_number: step.loop_number,
        model: end.model.clone().or_else(|| end.response_model.clone()),
        stream: end.stream,
        attempts: count(step.attempts.len()),
        retries: count(retries().count()),
        step_latency_ms: span.timing.known_end(&facts[last.0]).and_then(since_start),
        backoff_ms: retries().map(|retry| retry.backoff_us.map(Ms::from_us)).sum(),
        last: attempt(end, span.timing),
        icl_ms: Distribution::default(),
        input_tokens: end.usage.input_total,
        output_tokens: end.usage.output_total,
        input_limit,
        context_used: context::used(end.usage.input_total, input_limit),
        trimmed: History::of(facts, assembly, step) == History::Trimmed,
        cost_usd: cost.usd(),
        cost_at_least: cost.at_least(),
        cost,
        wasted,
        wasted_ms: span.timing.knows_intervals().then(|| Ms::between(started_us, facts[last.0].sent_us)),
        tokens,
        failed_attempts,
        provider: end.provider.clone(),
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
    let during = loop_interval(recorded, inner);
    LoopMetrics {
        number: inner.number,
        name: inner.name.clone(),
        lanes: inner.lanes,
        steps: count(steps.len()),
        tool_calls: sum(|s| s.tool_calls),
        attempts: sum(|s| s.attempts),
        retries: sum(|s| s.retries),
        duration_ms: during.map(|during| Ms::between(during.start_us, during.end_us)),
        cost_usd: cost.usd(),
        cost_at_least: cost.at_least(),
        outcome: outcome::of_loop(recorded, inner),
        during,
    }
}

/// `None` while one of its calls has no end.
fn loop_interval(recorded: &Recorded<'_>, inner: &Loop) -> Option<Interval> {
    let Recorded { facts, assembly, span, .. } = *recorded;
    let steps = || inner.steps.iter().filter_map(|number| assembly.step(*number));
    let start = steps().map(|step| facts[step.first_call().0].sent_us).min()?;
    let ends: Option<Vec<i64>> = steps().map(|step| facts[step.final_call().0].end_us).collect();
    let end_us = ends?.into_iter().max()?;
    span.timing.knows_intervals().then_some(Interval { start_us: start, end_us })
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
