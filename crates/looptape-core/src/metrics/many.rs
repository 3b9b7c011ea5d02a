//! The figures of many traces.

use super::distribution::{Distribution, Sampler, Scale};
use super::sums::{CostSum, ErrorCounts, TokenSums};
use super::trace::ratio;
use super::{LoopMetrics, Ms, TraceMetrics};
use crate::assembly::LoopOutcome;
use crate::cost::{LeafCosts, Usd};
use serde::Serialize;

/// One trace of a set.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Wall-clock start; `None` for imports without times.
    pub started_unix_us: Option<i64>,
    pub metrics: &'a TraceMetrics,
}

/// The time that rates are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    pub start_unix_us: i64,
    pub end_unix_us: i64,
    pub basis: WindowBasis,
}

/// Where a window comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowBasis {
    /// Asked for.
    Given,
    /// From the start of the first trace to the end of the last one.
    Observed,
}

/// Loops by how they ended. Only loops with an end are completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoopCounts {
    pub started: u32,
    pub completed: u32,
    pub success: u32,
    pub failure: u32,
    pub abandoned: u32,
    pub unknown: u32,
}

/// Everything measured about a set of traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub traces: usize,
    pub window: Option<Window>,
    pub window_s: Option<f64>,
    pub loops: LoopCounts,
    pub loops_per_min: Option<f64>,
    pub successful_loops_per_min: Option<f64>,
    pub steps: u32,
    pub tool_calls: u32,
    pub attempts: u32,
    pub other_calls: u32,
    pub amplification: Option<f64>,
    pub steps_per_loop: Distribution,
    pub step_latency_ms: Distribution,
    pub ttft_ms: Distribution,
    pub loop_duration_ms: Distribution,
    pub retries: u32,
    pub retry_rate: Option<f64>,
    pub retry_wasted_ms: Option<Ms>,
    pub retry_wasted_usd: Option<Usd>,
    pub tokens: TokenSums,
    pub cache_hit_ratio: Option<f64>,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    pub cost_by_leaf: Option<LeafCosts>,
    /// Of those loops whose cost is known in full; the others are its unknown ones.
    pub loop_cost_usd: Distribution,
    /// Completed loops per dollar; `None` where the cost is not known in full, or 0.
    pub loops_per_usd: Option<f64>,
    pub errors: ErrorCounts,
    pub error_rate: Option<f64>,
}

/// Measures a set of traces, over the window given or the one observed.
pub fn stats(samples: &[Sample<'_>], window: Option<Window>) -> Stats {
    let window = window.or_else(|| observed(samples));
    let window_s = window.map(Window::seconds).filter(|seconds| *seconds > 0.0);
    let traces = || samples.iter().map(|sample| sample.metrics);
    let sum = |count: fn(&TraceMetrics) -> u32| traces().map(count).sum::<u32>();
    let loops = LoopCounts::of(samples);
    let (mut cost, mut wasted) = (CostSum::default(), CostSum::default());
    let (mut tokens, mut errors) = (TokenSums::default(), ErrorCounts::default());
    for trace in traces() {
        cost.merge(&trace.cost);
        wasted.merge(&trace.wasted);
        tokens.merge(&trace.tokens);
        errors.merge(&trace.errors);
    }
    let (steps, attempts, retries) = (sum(|t| t.steps), sum(|t| t.attempts), sum(|t| t.retries));
    let per_min = |count: u32| window_s.map(|seconds| f64::from(count) * 60.0 / seconds);
    let by_step = || traces().flat_map(|trace| &trace.by_step);
    let by_loop = || traces().flat_map(|trace| &trace.by_loop);
    Stats {
        traces: samples.len(),
        window,
        window_s,
        loops,
        loops_per_min: per_min(loops.completed),
        successful_loops_per_min: per_min(loops.success),
        steps,
        tool_calls: sum(|t| t.tool_calls),
        attempts,
        other_calls: sum(|t| t.other_calls),
        amplification: ratio(attempts, loops.started),
        steps_per_loop: Distribution::of_counts(by_loop().map(|inner| u64::from(inner.steps))),
        step_latency_ms: Distribution::of_ms(by_step().filter_map(|step| step.step_latency_ms)),
        ttft_ms: Distribution::of_ms(by_step().filter_map(|step| step.last.ttft_ms)),
        loop_duration_ms: Distribution::of_ms(by_loop().filter_map(|inner| inner.duration_ms)),
        loop_cost_usd: loop_costs(by_loop()),
        retries,
        retry_rate: ratio(retries, steps),
        retry_wasted_ms: traces().map(|trace| trace.retry_wasted_ms).sum(),
        retry_wasted_usd: if retries == 0 { Some(Usd::ZERO) } else { wasted.usd() },
        cache_hit_ratio: tokens.cache_hit_ratio(),
        tokens,
        cost_usd: cost.usd(),
        cost_at_least: cost.at_least(),
        cost_by_leaf: cost.by_leaf(),
        loops_per_usd: loops_per_usd(loops, &cost),
        error_rate: ratio(errors.total(), attempts),
        errors,
    }
}

fn loop_costs<'a>(loops: impl Iterator<Item = &'a LoopMetrics>) -> Distribution {
    let mut costs = Sampler::new(Scale::Usd);
    for inner in loops {
        match inner.cost_usd.filter(|_| !inner.cost_at_least) {
            Some(usd) => costs.add_usd(usd),
            None => costs.add_unknown(),
        }
    }
    costs.finish()
}

fn loops_per_usd(loops: LoopCounts, cost: &CostSum) -> Option<f64> {
    let usd = cost.usd().filter(|usd| *usd > Usd::ZERO && !cost.at_least())?;
    Some(f64::from(loops.completed) / usd.as_f64())
}

fn observed(samples: &[Sample<'_>]) -> Option<Window> {
    let spans = || {
        samples.iter().filter_map(|sample| {
            let start = sample.started_unix_us?;
            Some((start, start.saturating_add(sample.metrics.time.duration_ms?.us())))
        })
    };
    let start_unix_us = spans().map(|(start, _)| start).min()?;
    let end_unix_us = spans().map(|(_, end)| end).max()?;
    Some(Window { start_unix_us, end_unix_us, basis: WindowBasis::Observed })
}

impl Window {
    pub fn seconds(self) -> f64 {
        Ms::between(self.start_unix_us, self.end_unix_us).as_seconds()
    }
}

impl LoopCounts {
    fn of(samples: &[Sample<'_>]) -> Self {
        let mut counts = Self::default();
        for inner in samples.iter().flat_map(|sample| &sample.metrics.by_loop) {
            counts.started += 1;
            match inner.outcome {
                LoopOutcome::Success => counts.success += 1,
                LoopOutcome::Failure => counts.failure += 1,
                LoopOutcome::Abandoned => counts.abandoned += 1,
                LoopOutcome::Unknown => counts.unknown += 1,
            }
        }
        counts.completed = counts.started - counts.unknown;
        counts
    }
}
