//! `looptape stats`: the metrics of one or many traces.

use super::gates::{ConfigGatesArg, GateArgs, Judged};
use super::selection::Selection;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, find, now_unix_us, print, print_json, progress, style};
use looptape_core::gates::Observations;
use looptape_core::metrics::{HealthReport, Measured, Sample, Stats, Window, WindowBasis, stats};
use looptape_store::{Reader, TraceRow};
use serde::Serialize;

/// Loops per minute, steps per loop, latency, retries, tokens and cost, over one or many traces
///
/// Rates are taken over a window: from `--since` to now, else from the start of the first trace to the end of
/// the last one. A percentile whose sample is too small for it (99 % confidence) is marked `uncertified`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape stats                       all traces
  looptape stats last
  looptape stats --since 2d --agent refund.py
  looptape stats --json | jq .retry_rate
  looptape stats --since 1d --gate 'loop_duration_ms: p(95)<20000' --gate 'retry_rate: value<=0.05'
  looptape stats --json > before.json      and later:
  looptape stats --since 1d --baseline before.json --max-regression cost_usd=2%

Exit code: 99 if a gate fails.")]
pub(crate) struct Args {
    /// Traces: ids, prefixes, `last`, `last~2` [default: all that pass the filters]
    #[arg(value_name = "TRACE")]
    traces: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Print one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    config_gates: ConfigGatesArg,
}

/// Figures, and how healthy they are.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    stats: Stats,
    health: HealthReport,
    #[serde(flatten)]
    judged: Judged,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if !args.traces.is_empty() && !args.selection.is_empty() {
        return Err(UsageError("name traces or filter them, not both".to_owned()).into());
    }
    let conditions = args.gates.conditions(&Config::load()?, args.config_gates.into())?;
    let reader = global.reader()?;
    let now = now_unix_us();
    let filter = args.selection.filter(now)?;
    let rows: Vec<TraceRow> = match args.traces.as_slice() {
        [] => reader.traces(&filter)?,
        names => names.iter().map(|name| find(&reader, name)).collect::<anyhow::Result<_>>()?,
    };
    let given = filter.since_unix_us.map(|start_unix_us| Window {
        start_unix_us,
        end_unix_us: now,
        basis: WindowBasis::Given,
    });
    let measured = measure(global, &reader, rows)?;
    let samples: Vec<Sample<'_>> = measured
        .iter()
        .map(|(started_unix_us, one)| Sample { started_unix_us: *started_unix_us, metrics: &one.metrics })
        .collect();
    let stats = stats(&samples, given);
    let health = HealthReport::of(&stats);
    let judged = Judged::of(&conditions, &Observations::of(stats.clone()));
    let exit = judged.exit(Exit::Success);
    match args.json {
        true => print_json(&Report { stats, health, judged })?,
        false => {
            let gates = render::gates::text(&judged.gates, style());
            let between = if gates.is_empty() { "" } else { "\n" };
            print(&(render::stats::text(&stats, &health, style()) + between + &gates))?;
        }
    }
    Ok(exit)
}

/// Imports have the times that their files state.
fn measure(
    global: &Global,
    reader: &Reader,
    rows: Vec<TraceRow>,
) -> anyhow::Result<Vec<(Option<i64>, Measured)>> {
    let bar = progress(global, rows.len() as u64, "traces");
    let measured = rows.into_iter().map(|row| {
        let started = row.happened_unix_us();
        let one = reader.load(row)?.measure();
        bar.inc(1);
        Ok((started, one))
    });
    let measured = measured.collect();
    bar.finish_and_clear();
    measured
}
