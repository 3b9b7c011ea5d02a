//! `looptape stats`: the metrics of one or many traces.

use super::gates::{ConfigGatesArg, GateArgs, gated};
use super::selection::Selection;
use crate::config::{Config, parse_duration};
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces};
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, progress, style};
use jiff::tz::TimeZone;
use looptape_core::metrics::{Detail, GroupBy, TallyOptions};
use looptape_page::reading::figures::{self, Wanted, window};
use looptape_store::TraceRow;

/// Loops per minute, steps per loop, latency, retries, tokens, context and cost, over one or many traces
///
/// Rates are taken over a window: from `--since` to now, else from the start of the first trace to the end of
/// the last one. A percentile whose sample is too small for it (99 % confidence) is marked `?`. docs/stats.md
/// says what each figure is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape stats                       all traces
  looptape stats last
  looptape stats --since 2d --agent refund.py
  looptape stats --group-by model      a line for each model
  looptape stats --since 7d --group-by day
  looptape stats --group-by tag:env --status complete
  looptape stats --json | jq .retry_rate
  looptape stats --since 1d --gate 'loop_duration_ms: p(95)<20000' --gate 'retry_rate: value<=0.05'
  looptape stats --json > before.json      and later:
  looptape stats --since 1d --baseline before.json --max-regression cost_usd=2%

Exit code: 99 if a gate fails.")]
pub(crate) struct Args {
    /// Traces: ids, prefixes, `last`, `last~2`, paths of cassettes [default: all that pass the filters]
    #[arg(value_name = "TRACE")]
    traces: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Figures of each group: model, agent, version, tool, tag, tag:KEY, minute, hour, day, phase, kind, stream, input, output
    #[arg(long, value_name = "WHAT", value_parser = GroupBy::parse)]
    group_by: Option<GroupBy>,
    /// A call is cold after this long without a call to its model
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    idle: u64,
    /// Print one object, with all segments
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    config_gates: ConfigGatesArg,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if !args.traces.is_empty() && !args.selection.is_empty() {
        return Err(UsageError("name traces or filter them, not both".to_owned()).into());
    }
    let config = Config::load()?;
    let conditions = args.gates.conditions(&config, args.config_gates.into())?;
    let named = NamedTraces::open(global, &config, &args.traces, Home::Nowhere)?;
    let reader = &named.reader;
    let now = now_unix_us();
    let filter = args.selection.filter(now)?;
    let rows: Vec<TraceRow> = match args.traces.as_slice() {
        [] => reader.traces(&filter)?,
        names => (0..names.len()).map(|at| named.row(at)).collect::<anyhow::Result<_>>()?,
    };
    let wanted = Wanted {
        group_by: args.group_by.clone(),
        options: args.options(),
        window: window(&filter, now),
        over_time: None,
        zone: TimeZone::system(),
    };
    let bar = progress(global, rows.len() as u64, "traces");
    let found = figures::of(reader, rows, &wanted, &conditions, || bar.inc(1))?;
    bar.finish_and_clear();
    let exit = gated(Exit::Success, &found.judged);
    if args.json {
        print_json(&found)?;
        return Ok(exit);
    }
    let figures = match (&found.groups, &args.group_by) {
        (Some(groups), Some(by)) => render::groups::text(&found.stats, by, groups, style()),
        _ => render::stats::text(&found.stats, &found.health, style()),
    };
    let gates = render::gates::text(&found.judged.gates, style());
    let between = if gates.is_empty() { "" } else { "\n" };
    print(&(figures + between + &gates))?;
    Ok(exit)
}

impl Args {
    fn options(&self) -> TallyOptions {
        let idle_us = i64::try_from(self.idle).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let wants_segments = self.json || self.group_by.as_ref().is_some_and(GroupBy::is_of_steps);
        TallyOptions { idle_us, detail: if wants_segments { Detail::Segments } else { Detail::Whole } }
    }
}
