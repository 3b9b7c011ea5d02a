//! What `replay --free-run` says.

use super::driven;
use super::figures::plural;
use super::terminal_text::escape;
use looptape_core::replay::driven::{Coverage, FreeLoop, FreeOutcome, FreeReport, RunLine};
use looptape_core::replay::free_run::{FreeRunEnding, LeftRecording};

/// Loops that are shown; all of them are in the JSON.
const SHOWN: usize = 20;

/// The verdict, the figures, loop by loop.
pub(crate) fn text(report: &FreeReport) -> String {
    let figures = &report.figures;
    let mut lines = vec![verdict(report), driven::rates(figures)];
    lines.extend(driven::latencies(figures));
    lines.push(driven::money(figures));
    lines.extend(driven::refused(figures));
    lines.extend(report.free_loops.iter().take(SHOWN).flat_map(|inner| of_loop(report, inner)));
    if report.free_loops.len() > SHOWN {
        lines.push(format!("  and {} more: --json has them all", report.free_loops.len() - SHOWN));
    }
    let mut out: String = lines.iter().map(|line| format!("{line}\n")).collect();
    out.push_str(&driven::divergences(figures));
    out
}

/// What the loops of one run did other than recorded, a line each.
pub(crate) fn remarks(report: &FreeReport, run: &RunLine) -> String {
    let of_run = |inner: &&FreeLoop| inner.trace == run.trace && inner.run == run.run;
    let strayed = |inner: &&FreeLoop| inner.report.ending != FreeRunEnding::AsRecorded;
    let loops = report.free_loops.iter().filter(of_run).filter(strayed);
    loops.flat_map(|inner| of_loop(report, inner)).map(|line| format!("{}\n", line.trim_start())).collect()
}

fn verdict(report: &FreeReport) -> String {
    let (loops, traces) = (report.free_loops.len() as u32, report.figures.traces as u32);
    let of = format!("{} of {}", plural(loops, "loop", "loops"), plural(traces, "trace", "traces"));
    let word = match (report.figures.coverage, report.outcome()) {
        (Coverage::Interrupted, _) => "interrupted",
        (_, FreeOutcome::AsRecorded) => "as recorded",
        (_, FreeOutcome::Finished) => "finished",
        (_, FreeOutcome::Unfinished) => "NOT FINISHED",
        (_, FreeOutcome::Diverged) => "DIVERGED",
    };
    format!("{word}: {of} ran freely, with the recorded results of their tools")
}

fn of_loop(report: &FreeReport, inner: &FreeLoop) -> Vec<String> {
    let FreeLoop { trace, run, number, what, report: ran } = inner;
    let mut place = String::new();
    if report.figures.traces > 1 {
        place.push_str(&format!("trace {trace} "));
    }
    if report.figures.runs.len() > report.figures.traces {
        place.push_str(&format!("run {run} "));
    }
    let steps = format!("{} of {} recorded", plural(ran.steps, "step", "steps"), ran.recorded_steps);
    let tools = plural(ran.tool_calls, "tool call", "tool calls");
    let mut lines = vec![escape(&format!("  {place}loop {number}: {steps}, {tools}, {what}"))];
    if let Some(LeftRecording { step, answer }) = &ran.left {
        let how = answer.as_ref().map_or("the recording holds no answer".to_owned(), ToString::to_string);
        lines.push(escape(&format!("    left the recording at step {step}: {how}")));
    }
    if ran.not_begun > 0 {
        let conversations = plural(ran.not_begun, "conversation", "conversations");
        lines.push(format!(
            "    {conversations} of sub-agents were not begun, since it had left the recording"
        ));
    }
    lines
}
