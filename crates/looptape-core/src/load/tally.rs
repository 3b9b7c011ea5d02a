//! From what happens in a run to its figures.
//!
//! Virtual time and the driver of real loads tell the same: a phase began, a loop was due, started, dropped; a call
//! began and ended; a step, a loop ended. They tell it in order of time. What comes out is a [`LoadReport`], with the
//! same figures as [`crate::metrics`] has for recorded traces, under the same names.
//!
//! Invariants: counts and sums of the phases add up to those of the whole exactly; the area under the loops that run
//! is the sum of their durations exactly (Little's law); memory depends on phases and models, not on loops.

use super::gauge::Gauge;
use super::outage::{OutageReport, OutageTally, ServedCall};
use super::phase_tally::PhaseTally;
use super::prices::Prices;
use super::report::{Ended, LoadFigures, LoadReport, LoadSegments, RunTime};
use super::series::{LoadSeries, SeriesTally};
use super::track::{AttemptEnd, LoopTrack, StepEnd};
use crate::assembly::LoopOutcome;
use crate::metrics::{Percentile, PricedSteps, Sampler, Scale, Segment, Size, Stats, StepTally};
use crate::scenario::{OutageWindow, Scenario};
use std::collections::BTreeMap;

/// Values that a distribution of a load keeps as they are: beyond it a histogram of three digits takes less.
pub(super) const MOST_RAW: usize = 1 << 14;

/// A loop that has ended.
#[derive(Clone, Copy, Debug)]
pub struct LoopEnd {
    pub phase: usize,
    /// When it was due.
    pub scheduled_us: u64,
    pub ended_us: u64,
    pub ending: LoopEnding,
    pub track: LoopTrack,
}

impl LoopEnd {
    /// From when it was due.
    pub(super) fn took_us(&self) -> u64 {
        self.ended_us.saturating_sub(self.scheduled_us)
    }
}

/// How a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopEnding {
    Succeeded,
    /// A call failed and was not tried again.
    Failed,
    /// Its phase's time was over, the budget was spent, or the run was stopped: it has no end of its own.
    Stopped,
}

impl LoopEnding {
    pub(super) fn outcome(self) -> LoopOutcome {
        match self {
            Self::Succeeded => LoopOutcome::Success,
            Self::Failed => LoopOutcome::Failure,
            Self::Stopped => LoopOutcome::Unknown,
        }
    }
}

/// Collects a run.
#[derive(Clone, Debug)]
pub struct Tally {
    phases: Vec<PhaseTally>,
    /// Of all phases together, whose loops may run beside each other.
    loops: Gauge,
    calls: Gauge,
    by_model: Vec<StepTally>,
    by_input: BTreeMap<Size, StepTally>,
    by_output: BTreeMap<Size, StepTally>,
    series: SeriesTally,
    outage: Option<OutageTally>,
}

impl Tally {
    pub fn new(phases: usize, models: usize) -> Self {
        Self {
            phases: (0..phases).map(|_| PhaseTally::new()).collect(),
            loops: Gauge::default(),
            calls: Gauge::default(),
            by_model: (0..models).map(|_| StepTally::keeping(MOST_RAW)).collect(),
            by_input: BTreeMap::new(),
            by_output: BTreeMap::new(),
            series: SeriesTally::new(),
            outage: None,
        }
    }

    /// The same, where the target is down for a while.
    #[must_use]
    pub fn with_outage(self, window: Option<OutageWindow>) -> Self {
        Self { outage: window.map(OutageTally::new), ..self }
    }

    pub fn phase_begins(&mut self, phase: usize, at_us: u64) {
        self.phases[phase].begins(at_us);
    }

    /// No more loops of it will begin.
    pub fn phase_over(&mut self, phase: usize, at_us: u64) {
        self.phases[phase].over(at_us);
    }

    /// A loop was due, and could not be started.
    pub fn loop_dropped(&mut self, phase: usize, at_us: u64) {
        self.series.offered(at_us);
        self.series.dropped(at_us);
        self.outage.iter_mut().for_each(|outage| outage.loop_dropped(at_us));
        self.phases[phase].loop_dropped();
    }

    /// A loop was due, and was started.
    pub fn loop_started(&mut self, phase: usize, scheduled_us: u64, at_us: u64) {
        self.series.offered(scheduled_us);
        self.loops.begin(at_us);
        self.series.running(at_us, self.loops.now());
        self.phases[phase].loop_started(at_us);
    }

    pub fn call_began(&mut self, phase: usize, at_us: u64) {
        self.calls.begin(at_us);
        self.phases[phase].call_began(at_us);
    }

    pub fn call_ended(&mut self, phase: usize, at_us: u64, end: &AttemptEnd) {
        self.calls.end(at_us);
        self.series.attempt_ended(at_us, end);
        self.phases[phase].call_ended(at_us, end);
    }

    /// A call was recorded that began and ended meanwhile.
    pub fn call_passed(&mut self, phase: usize, attempt: &AttemptEnd) {
        self.calls.past(attempt.sent_us, attempt.end_us);
        self.series.attempt_ended(attempt.end_us, attempt);
        self.phases[phase].call_passed(attempt);
    }

    /// So many calls were seen to be under way.
    pub fn calls_at_once(&mut self, count: u32) {
        self.calls.seen(count);
        self.phases.iter_mut().filter(|phase| phase.runs()).for_each(|phase| phase.calls_at_once(count));
    }

    /// A call was served, by the first provider or by another one.
    pub(super) fn call_served(&mut self, call: &ServedCall, prices: &Prices) {
        self.outage.iter_mut().for_each(|outage| outage.call_served(call, prices));
    }

    /// A failed call will be sent again.
    pub fn retried(&mut self, at_us: u64) {
        self.series.retried(at_us);
    }

    pub fn step_ended(&mut self, phase: usize, at_us: u64, step: &StepEnd, prices: &Prices) {
        let sample = &step.sample;
        self.series.step_ended(at_us, step);
        let tally = || StepTally::keeping(MOST_RAW);
        if self.by_model.len() <= step.model {
            self.by_model.resize_with(step.model + 1, tally);
        }
        self.by_model[step.model].add_sample(sample);
        let sized = |tokens| Size::of((tokens > 0).then_some(tokens));
        self.by_input.entry(sized(step.input_tokens)).or_insert_with(tally).add_sample(sample);
        self.by_output.entry(sized(step.output_tokens)).or_insert_with(tally).add_sample(sample);
        self.phases[phase].step_ended(step, prices.why_unpriced(step.model));
    }

    pub fn loop_ended(&mut self, end: &LoopEnd) {
        self.series.running(end.ended_us, self.loops.now());
        self.loops.end(end.ended_us);
        self.series.running(end.ended_us, self.loops.now());
        match end.ending {
            LoopEnding::Succeeded => self.series.succeeded(end.ended_us, end.took_us()),
            LoopEnding::Failed => self.series.failed(end.ended_us),
            LoopEnding::Stopped => {}
        }
        self.outage.iter_mut().for_each(|outage| outage.loop_ended(end));
        self.phases[end.phase].loop_ended(end);
    }

    /// How many loops run now.
    pub fn running(&self) -> u32 {
        self.loops.now()
    }

    /// The p95 of the loops that have ended so far, in ms.
    pub fn loop_p95(&self) -> Option<Percentile> {
        let mut all = Sampler::keeping(Scale::Ms, MOST_RAW);
        self.phases.iter().for_each(|phase| all.merge(phase.durations().clone()));
        all.finish().p95()
    }

    /// Loops that have ended, and those that were due.
    pub fn progress(&self) -> (u64, u64) {
        let counts = self.phases.iter().map(PhaseTally::counts);
        counts.fold((0, 0), |(ended, offered), counts| {
            (ended + u64::from(counts.started), offered + u64::from(counts.offered.unwrap_or(0)))
        })
    }

    #[cfg(test)]
    pub(super) fn loops_gauge(&self) -> Gauge {
        self.loops
    }

    #[cfg(test)]
    pub(super) fn calls_gauge(&self) -> Gauge {
        self.calls
    }

    /// What the run comes to.
    pub fn report(self, scenario: &Scenario, time: RunTime, ended: Ended, prices: &Prices) -> LoadReport {
        let finished = self.finish(prices);
        LoadReport::new(scenario, time, ended, prices.notes(), finished)
    }

    /// The figures of the whole until now.
    pub(super) fn so_far(&self, prices: &Prices) -> Stats {
        self.whole().finish(prices).stats
    }

    fn whole(&self) -> PhaseTally {
        let mut whole = PhaseTally::new();
        self.phases.iter().for_each(|phase| whole.merge(phase));
        whole.with_gauges(self.loops, self.calls)
    }

    /// The figures of each phase, and of all.
    fn finish(self, prices: &Prices) -> Finished {
        let whole = self.whole();
        let segment = |(size, tally): (Size, StepTally)| of_steps(size.name(), tally);
        Finished {
            phases: self.phases.into_iter().map(|phase| phase.finish(prices)).collect(),
            total: whole.finish(prices),
            segments: LoadSegments {
                by_model: (0..)
                    .zip(self.by_model)
                    .map(|(at, tally)| of_steps(prices.model(at).to_owned(), tally))
                    .collect(),
                by_input_tokens: self.by_input.into_iter().map(segment).collect(),
                by_output_tokens: self.by_output.into_iter().map(segment).collect(),
            },
            series: self.series.finish(),
            outage: self.outage.map(OutageTally::finish),
        }
    }
}

/// What a tally comes to.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    pub(super) phases: Vec<LoadFigures>,
    pub(super) total: LoadFigures,
    pub(super) segments: LoadSegments,
    pub(super) series: LoadSeries,
    pub(super) outage: Option<OutageReport>,
}

fn of_steps(key: String, tally: StepTally) -> Segment<PricedSteps> {
    Segment { key, figures: tally.finish() }
}
