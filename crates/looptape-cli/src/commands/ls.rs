//! `looptape ls`: the recorded traces, or the load runs, newest first.

use super::selection::Selection;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, style};
use looptape_core::view::LsRow;
use looptape_page::reading::list::ListedTrace;
use looptape_page::reading::load_runs;

/// List the recorded traces, newest first
///
/// What replays left is listed with `--replays` only. `last` and `last~1` name recordings, `last-replay` and
/// `last-replay~1` replays. With `--load-runs` what came of load runs, which `looptape show RUN` shows.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape ls
  looptape ls --since 2d --agent refund.py
  looptape ls --status aborted
  looptape ls --replays
  looptape ls --load-runs
  looptape ls --tag env=staging --model gpt-4o --json -n 0")]
pub(crate) struct Args {
    /// Not more than this many; 0 for all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 30)]
    limit: u32,
    #[command(flatten)]
    selection: Selection,
    /// List load runs instead
    #[arg(long)]
    load_runs: bool,
    /// Print an array of objects
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if args.load_runs {
        return list_load_runs(global, args);
    }
    let reader = global.reader()?;
    let now = now_unix_us();
    let mut filter = args.selection.filter(now)?;
    // One more than asked for, to know whether there are more.
    filter.limit = (args.limit > 0).then(|| args.limit.saturating_add(1));
    let mut rows = reader.traces(&filter)?;
    let more = args.limit > 0 && rows.len() > args.limit as usize;
    if more {
        rows.truncate(args.limit as usize);
    }
    if args.json {
        let rows: Vec<LsRow> = rows.into_iter().map(|row| reader.ls_row(row)).collect::<Result<_, _>>()?;
        print_json(&rows)?;
        return Ok(Exit::Success);
    }
    if rows.is_empty() {
        global.say(match args.selection.is_empty() {
            false => NOTHING_FOUND,
            true if load_runs::list(&reader, 1)?.is_empty() => NOTHING_RECORDED,
            true => ONLY_LOAD_RUNS,
        });
        return Ok(Exit::Success);
    }
    let lines: Vec<ListedTrace> =
        rows.into_iter().map(|row| ListedTrace::of(&reader, row)).collect::<Result<_, _>>()?;
    print(&render::ls::table(&lines, now, style()))?;
    if more {
        global.say(&format!("the newest {}; `looptape ls -n 0` lists all", args.limit));
    }
    Ok(Exit::Success)
}

fn list_load_runs(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if !args.selection.is_empty() {
        return Err(UsageError("filters are about traces: leave them out with --load-runs".to_owned()).into());
    }
    let most = if args.limit == 0 { u32::MAX } else { args.limit };
    let runs = load_runs::list(&global.reader()?, most)?;
    match (args.json, runs.is_empty()) {
        (true, _) => print_json(&runs)?,
        (false, true) => global.say(NO_LOAD_RUN),
        (false, false) => print(&render::load_runs::table(&runs, now_unix_us(), style()))?,
    }
    Ok(Exit::Success)
}

const NO_LOAD_RUN: &str = "\
looptape: no load run is kept yet; `looptape load preset:spike-x3 --virtual` makes one";
const NOTHING_RECORDED: &str = "\
looptape: no trace is recorded yet. Record an agent with `looptape record -- CMD…`, or see it work with
`looptape demo`";
const ONLY_LOAD_RUNS: &str = "\
looptape: no trace is recorded but the loops of load runs: `looptape ls --load-runs` lists these, `looptape ls --tag load`
their loops";
const NOTHING_FOUND: &str = "looptape: no trace passes these filters; `looptape ls` lists all";
