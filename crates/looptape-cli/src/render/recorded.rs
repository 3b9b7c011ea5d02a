//! What `record` says when it is done.

use super::figures::{count, duration, percent, plural};
use super::pruned::bytes as size;
use looptape_core::TraceId;
use looptape_core::cost::Usd;
use looptape_core::metrics::TraceMetrics;
use looptape_core::workspace::LeftOut;
use looptape_store::workspace::SnapshotFigures;
use looptape_store::{RecordedTrace, TraceStatus};
use std::collections::BTreeMap;

/// One line of figures, and what to do next.
pub(crate) fn summary(trace: &RecordedTrace) -> String {
    let metrics = trace.measure().metrics;
    let id = trace.row.label();
    let short: String = id.chars().take(8).collect();
    let mut out = format!("looptape: {}\n", figures(&metrics));
    if let TraceStatus::Incomplete(reasons) | TraceStatus::Aborted(reasons) = &trace.row.status {
        out.push_str(&format!(
            "looptape: the recording is {}: {}\n",
            trace.row.status.as_str(),
            reasons.join("; ")
        ));
    }
    out.push_str(&format!(
        "looptape: look at it with `looptape show {short}`, run it again offline with `looptape replay {short} -- CMD…`"
    ));
    out
}

/// What was kept of the agent's files.
pub(crate) fn files(id: &TraceId, files: &Result<SnapshotFigures, String>) -> String {
    let short: String = id.as_str().chars().take(8).collect();
    match files {
        Ok(SnapshotFigures { files, bytes, left_out }) => {
            let left_out = left_out_of(left_out);
            format!(
                "looptape: workspace: {} of {}{left_out}; what each step changed: `looptape show {short} --files`",
                plural(u32::try_from(*files).unwrap_or(u32::MAX), "file", "files"),
                size(*bytes)
            )
        }
        Err(why) => format!("looptape: workspace: the files could not be looked at in the end: {why}"),
    }
}

/// `, without 2 that hold secrets and 1 that is too large`, or nothing.
pub(crate) fn left_out_of(left_out: &BTreeMap<LeftOut, u64>) -> String {
    let parts: Vec<String> =
        left_out.iter().map(|(why, n)| format!("{n} because {}", why.as_str())).collect();
    if parts.is_empty() { String::new() } else { format!(", left out {}", parts.join(", ")) }
}

fn figures(m: &TraceMetrics) -> String {
    let mut parts = vec![plural(m.steps, "step", "steps")];
    if m.loops > 1 {
        parts.push(plural(m.loops, "loop", "loops"));
    }
    if m.tool_calls > 0 {
        parts.push(plural(m.tool_calls, "tool call", "tool calls"));
    }
    if m.other_calls > 0 {
        parts.push(plural(m.other_calls, "other call", "other calls"));
    }
    if m.retries > 0 {
        let rate = m.retry_rate.map(|r| format!(" ({} of the steps)", percent(r))).unwrap_or_default();
        parts.push(format!("{}{rate}", plural(m.retries, "retry", "retries")));
    }
    if let Some(total) = m.time.duration_ms {
        parts.push(duration(total));
    }
    if let (Some(input), Some(output)) = (m.tokens.input_total, m.tokens.output_total) {
        parts.push(format!("{} tokens in, {} out", count(input), count(output)));
    }
    parts.push(cost(m.cost_usd, m.cost_at_least));
    parts.join(", ")
}

/// `$0.0123`, `at least $0.0123`, `cost unknown`.
pub(crate) fn cost(usd: Option<Usd>, at_least: bool) -> String {
    match usd {
        None => "cost unknown".to_owned(),
        Some(usd) if at_least => format!("at least {usd}"),
        Some(usd) => usd.to_string(),
    }
}
