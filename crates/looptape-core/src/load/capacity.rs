//! How many loops a provider takes: the rate is raised step by step, each step a run of its own, until what must hold does
//! not any more, or until goodput stops following the offered load: the knee. Whoever searches runs the steps, in virtual
//! or in real time.
//!
//! The last rate that held and the first that did not are brought together by halving between them. Goodput of a step
//! is counted in its second half, when the loops that began first have ended: as many then end as begin, unless a
//! queue grows.

use super::Ramp;
use super::report::{Ended, LoadReport};
use crate::gates::{Conditions, GateReport, Observations};
use crate::scenario::{Executor, Phase, Scenario, Spacing};
use serde::Serialize;
use std::ops::ControlFlow;

/// What is searched, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// What must hold; besides it goodput must follow the offered load.
    pub slo: Conditions,
    /// How long loops come at each rate.
    pub step_us: u64,
    /// Loops a minute of the first step.
    pub start_per_min: f64,
    /// Loops a minute beyond which nothing is tried.
    pub most_per_min: f64,
    /// The search ends when the rates that hold and that do not are this near, as a share.
    pub precision: f64,
    /// Shorter steps say too little.
    pub least_step_us: u64,
    /// How long the loops of a step may run on after it; `None`: as long as they take.
    pub graceful_stop_us: Option<u64>,
}

impl SearchOptions {
    /// In real time somebody waits: steps may be shorter, the first has some loops in it, and those that it leaves behind
    /// are stopped.
    pub fn in_real_time() -> Self {
        Self {
            step_us: 60_000_000,
            start_per_min: 10.0,
            least_step_us: 5_000_000,
            graceful_stop_us: Some(60_000_000),
            ..Self::default()
        }
    }
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            slo: Conditions::default(),
            step_us: 600_000_000,
            start_per_min: 1.0,
            most_per_min: 100_000.0,
            precision: 0.05,
            least_step_us: 60_000_000,
            graceful_stop_us: None,
        }
    }
}

/// One rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    pub offered_per_min: f64,
    /// Loops that succeeded, in the second half of the step.
    pub goodput_per_min: f64,
    /// Whether goodput followed the offered load.
    pub follows: bool,
    pub gates: GateReport,
    pub holds: bool,
    /// Why the figures are not the target's: then nothing holds that they say.
    pub invalid_because: Vec<String>,
    #[serde(skip)]
    pub report: LoadReport,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capacity {
    /// The highest rate at which everything held; `None`: it did at none that was tried.
    pub loops_per_min: Option<f64>,
    /// The lowest rate at which something did not; `None`: everything held at all.
    pub fails_at_per_min: Option<f64>,
    /// The lowest rate at which goodput did not follow.
    pub knee_per_min: Option<f64>,
    /// By rising rate.
    pub probes: Vec<Probe>,
    /// Why it ended before it had found out, if it did: what is said above is what was known until then.
    pub cut_short: Option<CutShort>,
}

/// Why a search ended early.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum CutShort {
    /// Somebody ended it, or its time was over, before the next step.
    Ended,
    /// A step did not come to its end.
    Step { ended: Ended },
}

/// Why there is nothing to search.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the step of a search is {step_s} s: {least_s} s is the least")]
pub struct CapacityError {
    step_s: u64,
    least_s: u64,
}

/// Goodput may lack so much of the offered load: a provider that always fails some calls is not overloaded.
const FAILING: f64 = 0.05;
/// Loops that ended may lack so much of it: more is a queue that grows.
const WAITING: f64 = 0.02;
/// Beyond this many runs a search ends with what it knows.
const MOST_PROBES: usize = 40;

/// Searches the highest rate. `run` runs a scenario; `progress` is told of each step before it runs, and may end the
/// search.
pub fn find_capacity<E: From<CapacityError>>(
    scenario: &Scenario,
    options: &SearchOptions,
    run: &mut dyn FnMut(&Scenario) -> Result<LoadReport, E>,
    progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<Capacity, E> {
    if options.step_us < options.least_step_us {
        let [step_s, least_s] = [options.step_us, options.least_step_us].map(|us| us / 1_000_000);
        return Err(CapacityError { step_s, least_s }.into());
    }
    let mut probes: Vec<Probe> = Vec::new();
    let (mut holds_at, mut fails_at, mut cut_short) = (None, None, None);
    let mut rate = options.start_per_min;
    while probes.len() < MOST_PROBES {
        if progress(rate).is_break() {
            cut_short = Some(CutShort::Ended);
            break;
        }
        let report = run(&at_rate(scenario, options, rate))?;
        if report.ended != Ended::Completed {
            cut_short = Some(CutShort::Step { ended: report.ended });
            break;
        }
        let probe = Probe::of(report, options, rate);
        match probe.holds {
            true => holds_at = Some(rate),
            false => fails_at = Some(rate),
        }
        probes.push(probe);
        rate = match (holds_at, fails_at) {
            (Some(low), Some(high)) if high / low <= 1.0 + options.precision => break,
            (Some(low), Some(high)) => (low + high) / 2.0,
            (Some(low), None) if low >= options.most_per_min => break,
            (Some(low), None) => (low * 2.0).min(options.most_per_min),
            (None, _) if rate < options.start_per_min / 64.0 => break,
            (None, _) => rate / 2.0,
        };
    }
    probes.sort_by(|a, b| a.offered_per_min.total_cmp(&b.offered_per_min));
    let knee = probes.iter().find(|probe| !probe.follows).map(|probe| probe.offered_per_min);
    Ok(Capacity {
        loops_per_min: holds_at,
        fails_at_per_min: fails_at,
        knee_per_min: knee,
        probes,
        cut_short,
    })
}

/// The scenario with one rate, for the time of a step.
fn at_rate(scenario: &Scenario, options: &SearchOptions, per_min: f64) -> Scenario {
    let phase = Phase {
        name: Some(format!("{per_min:.1} loops/min")),
        start_us: None,
        executor: Executor::ArrivalRate {
            rate_per_s: Ramp::constant(per_min / 60.0, options.step_us),
            spacing: Spacing::Poisson,
            // What cannot be taken must show: a bound on what runs at once keeps the memory within bounds.
            max_vus: 100_000,
        },
        graceful_stop_us: options.graceful_stop_us,
    };
    // A step that fails is what is sought.
    Scenario { phases: vec![phase], aborting: Vec::new(), ..scenario.clone() }
}

impl Probe {
    fn of(report: LoadReport, options: &SearchOptions, per_min: f64) -> Self {
        let SecondHalf { offered, completed, succeeded } = SecondHalf::of(&report, options.step_us);
        let minutes = options.step_us as f64 / 2.0 / 60e6;
        // Without a queue that grows, more loops come than end only as far as more run in the end than in the middle.
        let at_once = report.total.stats.concurrency.map_or(0.0, |one| one.loops_mean);
        let chance = 3.0 * (at_once + 1.0).sqrt();
        let follows = offered - succeeded <= offered * FAILING + chance
            && offered - completed <= offered * WAITING + chance;
        let gates = options.slo.judge(&Observations::of(report.total.stats.clone()));
        let invalid_because =
            report.client.iter().flat_map(|client| client.invalid_because.clone()).collect();
        let holds = follows && gates.passed;
        let probe = Self {
            offered_per_min: per_min,
            goodput_per_min: succeeded / minutes,
            follows,
            holds,
            gates,
            invalid_because,
            report,
        };
        Self { holds: holds && probe.invalid_because.is_empty(), ..probe }
    }
}

/// Loops that were due, that ended, and that succeeded between the middle of the step and its end.
struct SecondHalf {
    offered: f64,
    completed: f64,
    succeeded: f64,
}

impl SecondHalf {
    fn of(report: &LoadReport, step_us: u64) -> Self {
        let series = &report.series;
        let bucket_us = series.bucket_s * 1_000_000;
        let within = |at: &usize| {
            let middle_us = *at as u64 * bucket_us + bucket_us / 2;
            (step_us / 2..step_us).contains(&middle_us)
        };
        let sum = |counts: &[u32]| -> f64 {
            counts.iter().enumerate().filter(|(at, _)| within(at)).map(|(_, n)| f64::from(*n)).sum()
        };
        Self {
            offered: sum(&series.offered),
            completed: sum(&series.completed),
            succeeded: sum(&series.succeeded),
        }
    }
}
