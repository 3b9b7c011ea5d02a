//! `--find-capacity`: the highest rate of loops at which all is well.

use super::real::{self, RealRun};
use super::run_budget::RunBudget;
use super::{Args, Bench, Formatted, progress};
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, print, print_json, style};
use indicatif::ProgressBar;
use looptape_core::gates::Conditions;
use looptape_core::load::{Capacity, LoadReport, RunTime, SearchOptions, find_capacity, simulate};
use looptape_core::scenario::{Scenario, TrafficSource};
use looptape_store::LoadRunKind;
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// What was sought, and what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Sought {
    pub(crate) scenario: Option<String>,
    pub(crate) time: RunTime,
    pub(crate) seed: u64,
    pub(crate) slo: Vec<String>,
    pub(crate) step_s: u64,
    #[serde(flatten)]
    pub(crate) capacity: Capacity,
}

/// A search under way.
struct Search<'a> {
    global: &'a Global,
    config: &'a Config,
    bench: &'a Bench,
    args: &'a Args,
    bar: &'a ProgressBar,
    /// Steps that have begun.
    steps: u32,
    /// What all of them may cost in real time.
    budget: Option<&'a RunBudget>,
}

/// How long a search in real time takes at most, where nobody says.
const WITHIN: Duration = Duration::from_secs(30 * 60);

pub(super) fn run(
    global: &Global,
    config: &Config,
    bench: &Bench,
    scenario: &Scenario,
    args: &Args,
) -> anyhow::Result<Exit> {
    if matches!(scenario.traffic.source, TrafficSource::Workload(_)) && scenario.phases.is_empty() {
        return Err(UsageError("a workload comes at its file's own rate".to_owned()).into());
    }
    let options = options(bench, args);
    let bar = progress(global);
    let budget = match args.is_virtual {
        true => None,
        false => real::budget(global, config, bench, scenario, args)?,
    };
    let mut search = Search { global, config, bench, args, bar: &bar, steps: 0, budget: budget.as_ref() };
    let until = search.ends_by();
    let step = Duration::from_micros(options.step_us);
    let capacity = find_capacity(scenario, &options, &mut |scenario| search.step(scenario), &mut |per_min| {
        bar.set_message(format!("{per_min:.1} loops/min"));
        bar.tick();
        match until.is_some_and(|until| Instant::now() + step > until) {
            true => ControlFlow::Break(()),
            false => bench.go_on(),
        }
    });
    budget.into_iter().for_each(RunBudget::finish);
    let capacity = capacity?;
    bar.finish_and_clear();
    let sought = Sought {
        scenario: scenario.name.clone(),
        time: if args.is_virtual { RunTime::Virtual } else { RunTime::Real },
        seed: scenario.seed,
        slo: args.slo.iter().map(ToString::to_string).collect(),
        step_s: options.step_us / 1_000_000,
        capacity,
    };
    let formatted = Formatted { format: 1, value: &sought };
    bench.keep(global, args, (LoadRunKind::Capacity, scenario.name.as_deref()), &formatted);
    args.files.write(&formatted, || render::load::capacity_page(&sought, &bench.as_run()))?;
    if args.json {
        print_json(&formatted)?;
    } else {
        print(&render::load_capacity::text(&sought, style()))?;
    }
    Ok(if sought.capacity.loops_per_min.is_some() { Exit::Success } else { Exit::Gate })
}

fn options(bench: &Bench, args: &Args) -> SearchOptions {
    let usual = if args.is_virtual { SearchOptions::default() } else { SearchOptions::in_real_time() };
    SearchOptions {
        slo: Conditions { gates: args.slo.clone(), ..bench.conditions.clone() },
        step_us: args.step.map_or(usual.step_us, |seconds| seconds.saturating_mul(1_000_000)),
        start_per_min: args.start_rate.map_or(usual.start_per_min, f64::from),
        ..usual
    }
}

impl Search<'_> {
    /// When it ends at the latest; in virtual time it takes what it takes.
    fn ends_by(&self) -> Option<Instant> {
        let within = self.args.within.map(Duration::from_secs);
        within.or((!self.args.is_virtual).then_some(WITHIN)).map(|within| Instant::now() + within)
    }

    fn step(&mut self, scenario: &Scenario) -> anyhow::Result<LoadReport> {
        self.steps += 1;
        let Self { global, config, bench, args, bar, steps, budget } = *self;
        if args.is_virtual {
            let nobody = &mut |_| ControlFlow::Continue(());
            return Ok(simulate(scenario, &bench.material, &bench.prices, bench.at_unix_us, nobody)?);
        }
        let phase = scenario.phase_name(0);
        let real = RealRun { global, config, bench, scenario, args, budget, part: Some(steps) };
        real.report(&mut |live| {
            bar.set_message(format!("{phase}: {}", render::load::live(live)));
            bar.tick();
        })
    }
}
