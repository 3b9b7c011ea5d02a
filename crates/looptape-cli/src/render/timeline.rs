//! A trace as a timeline: one line for each step, tool call and failed attempt, with a bar that shows where in
//! the trace its time went, and with lanes where something was under way beside something else.
//!
//! ```text
//! █ model   ▒ tool   ░ tool, at most   ▓ failed attempt   · waiting to try again   ▪ other call
//! ```

mod bar;
mod cells;
mod column;
mod gutter;
mod layout;
#[cfg(test)]
mod tests;
mod wording;

use super::figures::{duration, percent, plural};
use super::prices::why_unpriced;
use super::style::{Style, Tone};
use super::terminal_text::escape;
use layout::Layout;
use looptape_core::assembly::LoopOutcome;
use looptape_core::cost::Usd;
use looptape_core::metrics::{Ms, TimeSplit};
use looptape_core::view::{TraceStatus, TraceView};
use looptape_page::reading::trace_view::Shown;

/// The timeline as text, ending with a line break.
pub(crate) fn timeline(view: &TraceView, style: Style) -> String {
    let layout = Layout::new(view, style);
    let mut lines = header(view, style);
    lines.push(String::new());
    lines.push(layout.heading());
    for (at, entry) in view.steps.iter().enumerate() {
        lines.extend(layout.entry(at, entry));
    }
    lines.push(String::new());
    lines.extend(layout.legend());
    lines.extend(footer(view, style));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The timeline, and under it what a reader of it should know.
pub(crate) fn with_notes(shown: &Shown, style: Style) -> String {
    let mut text = timeline(&shown.view, style);
    for note in &shown.notes {
        let steps: Vec<String> = note.steps.iter().map(u32::to_string).collect();
        let place = match steps.as_slice() {
            [] => String::new(),
            [one] => format!("step {one}: "),
            [first @ .., last] if steps.len() <= 5 => format!("steps {} and {last}: ", first.join(", ")),
            [first, .., last] => format!("{} steps from {first} to {last}: ", steps.len()),
        };
        let line = format!("! {place}{}", escape(&note.text));
        text.push_str(&style.paint(Tone::Warning, &line));
        text.push('\n');
    }
    text
}

fn header(view: &TraceView, style: Style) -> Vec<String> {
    let trace = &view.trace;
    let metrics = &trace.metrics;
    let version =
        trace.agent_version.as_ref().map_or(String::new(), |version| format!(" {}", escape(version)));
    let agent = trace.agent.as_ref().or(trace.name.as_ref()).map(|name| format!("{}{version}", escape(name)));
    let cost = metrics.cost_usd.map(|usd| match metrics.cost_at_least {
        true => format!("at least {usd}"),
        false => usd.to_string(),
    });
    let retries = match metrics.retry_rate {
        Some(rate) if metrics.retries > 0 => {
            Some(format!("{} ({})", plural(metrics.retries, "retry", "retries"), percent(rate)))
        }
        _ => None,
    };
    let loops = (metrics.loops > 1).then(|| plural(metrics.loops, "loop", "loops"));
    let tools = (metrics.tool_calls > 0).then(|| plural(metrics.tool_calls, "tool call", "tool calls"));
    let facts: Vec<String> = [
        agent,
        Some(status(trace.status, metrics.outcome, style)),
        metrics.time.duration_ms.map(duration),
        Some(cost.unwrap_or_else(|| "cost unknown".to_owned())),
        loops,
        Some(plural(metrics.steps, "step", "steps")),
        tools,
        retries.map(|text| style.paint(Tone::Warning, &text)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let id = style.paint(Tone::Strong, &format!("trace {}", escape(trace.id.as_str())));
    let mut lines = vec![id, facts.join(" · ")];
    let started = trace.started_at.iter().map(|time| format!("started {time}"));
    let parent = trace.parent.iter().map(|p| format!("{} of {}", escape(&p.why), escape(p.trace.as_str())));
    let tags = trace.tags.iter().map(|tag| format!("#{}", escape(tag)));
    let origin: Vec<String> = started.chain(parent).chain(tags).collect();
    if !origin.is_empty() {
        lines.push(style.paint(Tone::Quiet, &origin.join(" · ")));
    }
    lines.extend(
        trace.status_reasons.iter().map(|why| style.paint(Tone::Warning, &format!("! {}", escape(why)))),
    );
    lines
}

fn status(status: TraceStatus, outcome: LoopOutcome, style: Style) -> String {
    let tone = match (status, outcome) {
        (TraceStatus::Complete, LoopOutcome::Success) => Tone::Good,
        (TraceStatus::Complete | TraceStatus::Recording, LoopOutcome::Unknown) => Tone::Plain,
        (_, LoopOutcome::Failure) | (TraceStatus::Aborted, _) => Tone::Bad,
        _ => Tone::Warning,
    };
    let outcome = match outcome {
        LoopOutcome::Success => ", success",
        LoopOutcome::Failure => ", failure",
        LoopOutcome::Abandoned => ", abandoned",
        LoopOutcome::Unknown => "",
    };
    style.paint(tone, &format!("{}{outcome}", status.as_str()))
}

fn footer(view: &TraceView, style: Style) -> Vec<String> {
    let metrics = &view.trace.metrics;
    let mut lines = Vec::new();
    lines.extend(split_line(&metrics.time));
    if metrics.retries > 0 {
        let lost = metrics.retry_wasted_ms.map(duration);
        let paid = metrics.retry_wasted_usd.filter(|usd| *usd > Usd::ZERO).map(|usd| usd.to_string());
        let both: Vec<String> = lost.into_iter().chain(paid).collect();
        if !both.is_empty() {
            lines.push(style.paint(Tone::Warning, &format!("lost to retries: {}", both.join(", "))));
        }
    }
    lines.extend(metrics.cost_unknown.iter().map(|unknown| {
        let model = unknown.model.as_deref().map_or("no model named".to_owned(), escape);
        let why = why_unpriced(unknown.why);
        style.paint(Tone::Warning, &format!("cost unknown: step {} ({model}): {why}", unknown.step.0))
    }));
    lines
}

/// Where the time went: the parts sum to the trace's duration.
fn split_line(time: &TimeSplit) -> Option<String> {
    let whole = time.duration_ms.filter(|whole| whole.us() > 0)?;
    let part = |name: &str, part: Option<Ms>| {
        let part = part.filter(|part| part.us() > 0)?;
        Some(format!("{name} {} ({})", duration(part), percent(part.us() as f64 / whole.us() as f64)))
    };
    let at_most = time.tool_inferred_ms.map(|most| format!(", of it in tools at most {}", duration(most)));
    let parts: Vec<String> = [
        part("model", time.llm_ms),
        part("tools", time.tool_ms),
        part("both at once", time.overlap_ms),
        part("overhead", time.overhead_ms),
        part("tools or overhead", time.tool_or_overhead_ms).map(|text| text + &at_most.unwrap_or_default()),
    ]
    .into_iter()
    .flatten()
    .collect();
    Some(format!("time: {}", parts.join(" · ")))
}
