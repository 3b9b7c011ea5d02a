//! `--vary`: one run for each combination of values, side by side.

use super::{Args, Bench, Formatted, Run};
use crate::commands::gates::gated;
use crate::exit::Exit;
use crate::render;
use crate::session::{Global, print, print_json, progress, style};
use looptape_core::scenario::{Scenario, Setting, Variation};
use looptape_store::LoadRunKind;
use serde::{Serialize, Serializer};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A run with some values set to others.
#[derive(Debug, Serialize)]
pub(crate) struct Varied {
    #[serde(serialize_with = "by_key")]
    pub(crate) settings: Vec<Setting>,
    #[serde(flatten)]
    pub(crate) run: Run,
}

#[derive(Serialize)]
struct Runs<'a> {
    runs: &'a [Varied],
}

fn by_key<S: Serializer>(settings: &[Setting], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(settings.iter().map(|one| (&one.key, &one.written)))
}

pub(super) fn run(
    global: &Global,
    bench: &Bench,
    scenario: Option<&str>,
    args: &Args,
) -> anyhow::Result<Exit> {
    // All of them are read before the first one runs.
    let mut wanted: Vec<(Vec<Setting>, Scenario)> = Vec::new();
    for settings in Variation::combinations(&args.vary) {
        let scenario = bench.scenario(&settings)?;
        wanted.push((settings, scenario));
    }
    let bar = progress(global, wanted.len() as u64, "runs");
    let runs = side_by_side(bench, &wanted, || bar.inc(1))?;
    bar.finish_and_clear();
    let formatted = Formatted { format: 1, value: &Runs { runs: &runs } };
    bench.keep(global, args, (LoadRunKind::Vary, scenario), &formatted);
    args.files.write(&formatted, || render::load::vary_page(&runs, &bench.as_run()))?;
    if args.json {
        print_json(&formatted)?;
    } else {
        print(&render::load_vary::text(&runs, style()))?;
    }
    let exits = runs.iter().map(|varied| gated(varied.run.exit(), &varied.run.judged));
    Ok(exits.reduce(|worst, exit| if worst == Exit::Success { exit } else { worst }).unwrap_or(Exit::Success))
}

/// On all cores; the runs are in their own order all the same.
fn side_by_side(
    bench: &Bench,
    wanted: &[(Vec<Setting>, Scenario)],
    done: impl Fn() + Sync,
) -> anyhow::Result<Vec<Varied>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<anyhow::Result<Run>>>> = wanted.iter().map(|_| Mutex::new(None)).collect();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(wanted.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, (_, scenario))) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    wanted.get(at).map(|one| (at, one))
                } {
                    let run = bench.run(scenario, &mut |_| {});
                    *results[at].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(run);
                    done();
                }
            });
        }
    });
    let settings = wanted.iter().map(|(settings, _)| settings.clone());
    let runs = results
        .into_iter()
        .filter_map(|slot| slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
    settings.zip(runs).map(|(settings, run)| Ok(Varied { settings, run: run? })).collect()
}
