//! `--find-capacity`: the highest rate of loops at which all is well.

use super::{Args, Bench, Formatted, progress};
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, print, print_json, style};
use looptape_core::gates::Conditions;
use looptape_core::load::{Capacity, Search, SearchOptions, find_capacity};
use looptape_core::scenario::{Scenario, TrafficSource};
use looptape_store::LoadRunKind;
use serde::Serialize;

/// What was sought, and what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Sought {
    pub(crate) scenario: Option<String>,
    pub(crate) seed: u64,
    pub(crate) slo: Vec<String>,
    pub(crate) step_s: u64,
    #[serde(flatten)]
    pub(crate) capacity: Capacity,
}

pub(super) fn run(global: &Global, bench: &Bench, scenario: &Scenario, args: &Args) -> anyhow::Result<Exit> {
    if matches!(scenario.traffic.source, TrafficSource::Workload(_)) && scenario.phases.is_empty() {
        return Err(UsageError("a workload comes at its file's own rate".to_owned()).into());
    }
    let slo = Conditions { gates: args.slo.clone(), ..bench.conditions.clone() };
    let options =
        SearchOptions { slo, step_us: args.step.saturating_mul(1_000_000), ..SearchOptions::default() };
    let search =
        Search { scenario, material: &bench.material, book: &bench.prices, at_unix_us: bench.at_unix_us };
    let bar = progress(global);
    let capacity = find_capacity(search, &options, &mut |per_min| {
        bar.set_message(format!("{per_min:.1} loops/min"));
        bar.tick();
        bench.go_on()
    })?;
    bar.finish_and_clear();
    let sought = Sought {
        scenario: scenario.name.clone(),
        seed: scenario.seed,
        slo: args.slo.iter().map(ToString::to_string).collect(),
        step_s: args.step,
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
