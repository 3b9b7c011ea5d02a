//! A trace as a timeline: one line for each step, tool call and failed attempt, with a bar that shows where in
//! the trace its time went.
//!
//! ```text
//! █ model   ░ tool, at most   ▓ failed attempt   · waiting to try again   ▪ other call
//! ```

mod bar;
mod column;
#[cfg(test)]
mod tests;
mod wording;

use super::figures::{duration, percent, plural};
use super::prices::why_unpriced;
use super::style::{Style, Tone};
use super::terminal_text::{escape, fit, fit_right};
use crate::trace_view::Shown;
use bar::Bar;
use column::{Column, NARROW_FIGURES, WIDE_FIGURES};
use looptape_core::assembly::LoopOutcome;
use looptape_core::cost::Usd;
use looptape_core::metrics::{Ms, TimeSplit};
use looptape_core::view::{AttemptView, EntryKind, EntryView, ToolKnown, TraceStatus, TraceView};
use wording::{ending, indented, mark, number, what};

/// Below this many columns the table loses its cache and TTFT columns.
const WIDE: usize = 96;
const MIN_WIDTH: usize = 64;

/// The timeline as text, ending with a line break.
pub(crate) fn timeline(view: &TraceView, style: Style) -> String {
    let layout = Layout::new(view, style);
    let mut lines = header(view, style);
    lines.push(String::new());
    lines.push(layout.heading());
    for entry in &view.steps {
        lines.extend(layout.entry(entry));
    }
    lines.push(String::new());
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

struct Layout {
    style: Style,
    figures: &'static [Column],
    what_columns: usize,
    bar: Bar,
}

impl Layout {
    fn new(view: &TraceView, style: Style) -> Self {
        let width = style.width.max(MIN_WIDTH);
        let figures = if width >= WIDE { WIDE_FIGURES } else { NARROW_FIGURES };
        let mark_and_number = 2 + 6;
        let fixed = mark_and_number + figures.iter().map(|column| column.width() + 1).sum::<usize>() + 1;
        let free = width.saturating_sub(fixed);
        let bar = Bar::new(view, free * 2 / 5);
        Self { style, figures, what_columns: free - bar.columns, bar }
    }

    fn heading(&self) -> String {
        let titles: String =
            self.figures.iter().map(|c| format!(" {}", fit_right(c.title(), c.width()))).collect();
        let text = format!("  {}{}{titles} {}", fit("step", 6), fit("", self.what_columns), self.bar.scale());
        self.style.paint(Tone::Quiet, &text)
    }

    /// Failed attempts that were tried again come first, each on a line of its own.
    fn entry(&self, entry: &EntryView) -> Vec<String> {
        let retried = entry.attempts.len().saturating_sub(1);
        let failed = entry.attempts.iter().take(retried).map(|attempt| self.failed_attempt(entry, attempt));
        failed.chain([self.line(entry)]).collect()
    }

    fn failed_attempt(&self, entry: &EntryView, attempt: &AttemptView) -> String {
        let next = entry.attempts.get(attempt.attempt as usize);
        let layer =
            next.and_then(|next| next.retry_layer).map(|layer| format!(" → {} retry", layer.as_str()));
        let wait = next.and_then(|next| next.backoff_ms).map(|wait| format!(" +{}", duration(wait)));
        let what = format!("{}{}{}", ending(attempt), layer.unwrap_or_default(), wait.unwrap_or_default());
        let figures: String = self
            .figures
            .iter()
            .map(|column| match column {
                Column::Time => attempt.duration_ms.map(duration).unwrap_or_default(),
                _ => String::new(),
            })
            .zip(self.figures)
            .map(|(figure, column)| format!(" {}", fit_right(&figure, column.width())))
            .collect();
        let number = format!("{}#{}", number(entry), attempt.attempt);
        let head =
            format!("↻ {}{}{figures}", fit(&number, 6), fit(&indented(entry, &what), self.what_columns));
        let mut cells = self.bar.cells();
        self.bar.attempt(&mut cells, attempt, '▓', Tone::Bad);
        if let Some(next) = next {
            self.bar.between(&mut cells, attempt, next);
        }
        format!("{} {}", self.style.paint(Tone::Warning, &head), self.bar.paint(self.style, &cells))
    }

    fn line(&self, entry: &EntryView) -> String {
        let (mark, tone) = mark(entry);
        let figures: String =
            self.figures.iter().map(|c| format!(" {}", fit_right(&c.figure(entry), c.width()))).collect();
        let what = fit(&indented(entry, &what(entry)), self.what_columns);
        let mut cells = self.bar.cells();
        match (entry.kind, entry.attempts.last()) {
            (EntryKind::Tool, _) => {
                let is_measured = entry.tool.as_ref().is_some_and(|tool| tool.source != ToolKnown::Inferred);
                let cell = if is_measured { '▒' } else { '░' };
                self.bar.fill(&mut cells, entry.started_ms, entry.duration_ms, cell, Tone::Tool)
            }
            (EntryKind::Llm, Some(attempt)) => self.bar.attempt(&mut cells, attempt, '█', Tone::Model),
            (EntryKind::Other, Some(attempt)) => self.bar.attempt(&mut cells, attempt, '▪', Tone::Quiet),
            (EntryKind::Llm | EntryKind::Other, None) => {}
        }
        format!(
            "{} {}{what}{figures} {}",
            self.style.paint(tone, mark),
            fit(&number(entry), 6),
            self.bar.paint(self.style, &cells)
        )
    }
}
