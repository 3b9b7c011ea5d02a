//! From traces, one by one, to the figures of all of them.

use super::super::distribution::{Sampler, Scale};
use super::super::sums::{CostColumns, CostFigures, CostSum, ErrorCounts};
use super::super::trace::{LoopMetrics, ratio};
use super::super::{Ms, TimeSplit};
use super::segments::SegmentTally;
use super::stats::{LoopCounts, Sample, Stats, UnknownModel};
use super::steps::StepTally;
use super::timeline::Timeline;
use super::window::Window;
use super::{concurrency, series, warmth};
use crate::assembly::LoopOutcome;
use crate::cost::{Unpriced, Usd};
use std::collections::BTreeMap;

/// What is asked for beyond what is always measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TallyOptions {
    /// The silence after which a call is cold.
    pub idle_us: i64,
    pub detail: Detail,
}

/// How finely a set is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// As a whole.
    Whole,
    /// And by segments.
    Segments,
}

impl Default for TallyOptions {
    /// Five minutes: as long as providers keep prompt caches.
    fn default() -> Self {
        Self { idle_us: 300_000_000, detail: Detail::Whole }
    }
}

/// Collects the traces of a set.
#[derive(Clone, Debug)]
pub struct SetTally {
    options: TallyOptions,
    traces: usize,
    loops: LoopCounts,
    tool_calls: u32,
    other_calls: u32,
    steps: StepTally,
    steps_per_loop: Sampler,
    loop_durations: Sampler,
    loop_costs: Sampler,
    time: TimeSplit,
    wasted_ms: Option<Ms>,
    columns: CostColumns,
    wasted: CostSum,
    unknown: BTreeMap<(Option<String>, Unpriced), UnknownModel>,
    errors: ErrorCounts,
    timeline: Timeline,
    segments: SegmentTally,
}

impl SetTally {
    pub fn new(options: TallyOptions) -> Self {
        Self {
            options,
            traces: 0,
            loops: LoopCounts::default(),
            tool_calls: 0,
            other_calls: 0,
            steps: StepTally::default(),
            steps_per_loop: Sampler::new(Scale::Count),
            loop_durations: Sampler::new(Scale::Ms),
            loop_costs: Sampler::new(Scale::Usd),
            time: TimeSplit::default(),
            wasted_ms: Some(Ms::ZERO),
            columns: CostColumns::default(),
            wasted: CostSum::default(),
            unknown: BTreeMap::new(),
            errors: ErrorCounts::default(),
            timeline: Timeline::default(),
            segments: SegmentTally::default(),
        }
    }

    /// Adds a trace.
    pub fn add(&mut self, sample: &Sample<'_>) {
        let metrics = sample.metrics;
        self.traces += 1;
        self.tool_calls += metrics.tool_calls;
        self.other_calls += metrics.other_calls;
        metrics.by_step.iter().for_each(|step| self.steps.add(step));
        metrics.by_loop.iter().for_each(|inner| self.add_loop(inner));
        self.time.add(&metrics.time);
        self.wasted_ms = add(self.wasted_ms, metrics.retry_wasted_ms);
        self.columns.merge(&metrics.columns);
        self.wasted.merge(&metrics.wasted);
        self.errors.merge(&metrics.errors);
        for unknown in &metrics.cost_unknown {
            self.add_unknown(unknown.model.clone(), unknown.why, 1);
        }
        self.timeline.add(sample);
        if self.options.detail == Detail::Segments {
            self.segments.add(metrics, sample.phase);
        }
    }

    fn add_loop(&mut self, inner: &LoopMetrics) {
        self.loops.add(inner.outcome);
        self.steps_per_loop.add_count(u64::from(inner.steps));
        match inner.duration_ms {
            Some(ms) => self.loop_durations.add_ms(ms),
            None => self.loop_durations.add_unknown(),
        }
        match inner.cost_usd.filter(|_| !inner.cost_at_least) {
            Some(usd) => self.loop_costs.add_usd(usd),
            None => self.loop_costs.add_unknown(),
        }
    }

    fn add_unknown(&mut self, model: Option<String>, why: Unpriced, calls: u32) {
        let key = (model.clone(), why);
        self.unknown.entry(key).or_insert(UnknownModel { model, why, calls: 0 }).calls += calls;
    }

    /// Adds all traces of another tally with the same options.
    pub fn merge(&mut self, more: Self) {
        self.traces += more.traces;
        self.loops.merge(&more.loops);
        self.tool_calls += more.tool_calls;
        self.other_calls += more.other_calls;
        self.steps.merge(more.steps);
        self.steps_per_loop.merge(more.steps_per_loop);
        self.loop_durations.merge(more.loop_durations);
        self.loop_costs.merge(more.loop_costs);
        self.time.add(&more.time);
        self.wasted_ms = add(self.wasted_ms, more.wasted_ms);
        self.columns.merge(&more.columns);
        self.wasted.merge(&more.wasted);
        self.errors.merge(&more.errors);
        for UnknownModel { model, why, calls } in more.unknown.into_values() {
            self.add_unknown(model, why, calls);
        }
        self.timeline.merge(more.timeline);
        self.segments.merge(more.segments);
    }

    /// The figures, with rates over the window given or the one observed.
    pub fn finish(self, window: Option<Window>) -> Stats {
        let timeline = &self.timeline;
        let window = window.or_else(|| Window::observed(timeline.traces.iter().copied()));
        let of_steps = self.steps.finish().steps;
        let cost = CostFigures::of(&self.columns.spent);
        let loops = self.loops;
        let per_min = |count: u32| window.and_then(|window| window.per_min(count));
        let (series, token_rates) = window.and_then(|window| series::of(timeline, window)).unzip();
        let segments = (self.options.detail == Detail::Segments).then(|| self.segments.finish(&of_steps));
        Stats {
            traces: self.traces,
            window,
            window_s: window.map(Window::seconds).filter(|seconds| *seconds > 0.0),
            loops,
            loops_per_min: per_min(loops.completed),
            successful_loops_per_min: per_min(loops.success),
            amplification: ratio(of_steps.attempts, loops.started),
            steps_per_loop: self.steps_per_loop.finish(),
            loop_duration_ms: self.loop_durations.finish(),
            tool_calls: self.tool_calls,
            other_calls: self.other_calls,
            time: self.time,
            retry_wasted_ms: self.wasted_ms,
            retry_wasted_usd: if of_steps.retries == 0 { Some(Usd::ZERO) } else { self.wasted.usd() },
            cost,
            columns: self.columns,
            cost_unknown: self.unknown.into_values().collect(),
            loop_cost_usd: self.loop_costs.finish(),
            loops_per_usd: loops_per_usd(loops, cost),
            token_rates,
            concurrency: window.and_then(|window| concurrency::of_timeline(timeline, window)),
            warm_cold: window.map(|window| warmth::of(timeline, window, self.options.idle_us)),
            error_rate: ratio(self.errors.total(), of_steps.attempts),
            errors: self.errors,
            series,
            segments,
            of_steps,
        }
    }
}

/// What is not known in part is not known.
fn add(sum: Option<Ms>, more: Option<Ms>) -> Option<Ms> {
    Some(sum? + more?)
}

pub(crate) fn loops_per_usd(loops: LoopCounts, cost: CostFigures) -> Option<f64> {
    let usd = cost.exactly().filter(|usd| *usd > Usd::ZERO)?;
    Some(f64::from(loops.completed) / usd.as_f64())
}

impl LoopCounts {
    pub(crate) fn add(&mut self, outcome: LoopOutcome) {
        self.started += 1;
        self.completed += u32::from(outcome != LoopOutcome::Unknown);
        match outcome {
            LoopOutcome::Success => self.success += 1,
            LoopOutcome::Failure => self.failure += 1,
            LoopOutcome::Abandoned => self.abandoned += 1,
            LoopOutcome::Unknown => self.unknown += 1,
        }
    }

    pub(crate) fn merge(&mut self, more: &Self) {
        let add = |own: Option<u32>, more: Option<u32>| Some(own.unwrap_or(0) + more?).or(own);
        self.offered = add(self.offered, more.offered);
        self.dropped = add(self.dropped, more.dropped);
        self.started += more.started;
        self.completed += more.completed;
        self.success += more.success;
        self.failure += more.failure;
        self.abandoned += more.abandoned;
        self.unknown += more.unknown;
    }
}
