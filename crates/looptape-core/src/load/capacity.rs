//! How many loops a provider takes: the rate is raised step by step, each step a run of its own in virtual time, until
//! what must hold does not any more, or until goodput stops following the offered load: the knee.
//!
//! The last rate that held and the first that did not are brought together by halving between them. Goodput of a step
//! is counted in its second half, when the loops that began first have ended: as many then end as begin, unless a
//! queue grows.

use super::material::Material;
use super::report::LoadReport;
use super::virtual_time::{Progress, simulate};
use super::{LoadError, Ramp};
use crate::cost::PriceBook;
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
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            slo: Conditions::default(),
            step_us: 600_000_000,
            start_per_min: 1.0,
            most_per_min: 100_000.0,
            precision: 0.05,
        }
    }
}

/// Everything that a search runs.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    pub scenario: &'a Scenario,
    pub material: &'a Material,
    pub book: &'a PriceBook,
    pub at_unix_us: i64,
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
}

/// Why there is nothing to search.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the step of a search is {0} s: a minute is the least")]
    Short(u64),
}

/// Goodput may lack so much of the offered load: a provider that always fails some calls is not overloaded.
const FAILING: f64 = 0.05;
/// Loops that ended may lack so much of it: more is a queue that grows.
const WAITING: f64 = 0.02;
/// Beyond this many runs a search ends with what it knows.
const MOST_PROBES: usize = 40;

/// Searches the highest rate. `progress` is told of each probe before it runs, and may end the search.
pub fn find_capacity(
    search: Search<'_>,
    options: &SearchOptions,
    progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<Capacity, CapacityError> {
    if options.step_us < 60_000_000 {
        return Err(CapacityError::Short(options.step_us / 1_000_000));
    }
    let mut probes: Vec<Probe> = Vec::new();
    let (mut holds_at, mut fails_at) = (None, None);
    let mut rate = options.start_per_min;
    while probes.len() < MOST_PROBES && progress(rate).is_continue() {
        let probe = probe(search, options, rate)?;
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
    Ok(Capacity { loops_per_min: holds_at, fails_at_per_min: fails_at, knee_per_min: knee, probes })
}

/// One rate, for the time of a step.
fn probe(search: Search<'_>, options: &SearchOptions, per_min: f64) -> Result<Probe, LoadError> {
    let mut scenario = search.scenario.clone();
    scenario.phases = vec![Phase {
        name: Some(format!("{per_min:.1} loops/min")),
        start_us: None,
        executor: Executor::ArrivalRate {
            rate_per_s: Ramp::constant(per_min / 60.0, options.step_us),
            spacing: Spacing::Poisson,
            // What cannot be taken must show: a bound on what runs at once keeps the memory within bounds.
            max_vus: 100_000,
        },
        graceful_stop_us: None,
    }];
    let nobody = &mut |_: Progress| ControlFlow::Continue(());
    let report = simulate(&scenario, search.material, search.book, search.at_unix_us, nobody)?;
    let SecondHalf { offered, completed, succeeded } = SecondHalf::of(&report, options.step_us);
    let minutes = options.step_us as f64 / 2.0 / 60e6;
    // Without a queue that grows, more loops come than end only as far as more run in the end than in the middle.
    let at_once = report.total.stats.concurrency.map_or(0.0, |one| one.loops_mean);
    let chance = 3.0 * (at_once + 1.0).sqrt();
    let follows = offered - succeeded <= offered * FAILING + chance
        && offered - completed <= offered * WAITING + chance;
    let gates = options.slo.judge(&Observations::of(report.total.stats.clone()));
    Ok(Probe {
        offered_per_min: per_min,
        goodput_per_min: succeeded / minutes,
        follows,
        holds: follows && gates.passed,
        gates,
        report,
    })
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
