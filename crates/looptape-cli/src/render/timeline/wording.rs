//! What a line says in words. Recorded text is escaped here.

use crate::render::style::Tone;
use crate::render::terminal_text::{cut, escape};
use looptape_core::facts::AttemptState;
use looptape_core::replay::AnswerSource;
use looptape_core::tools::ToolSource;
use looptape_core::view::{AttemptView, EntryKind, EntryView, ToolKnown, ToolOutcome, ToolView};

pub(super) fn number(entry: &EntryView) -> String {
    match (entry.step, entry.sub) {
        (Some(step), Some(sub)) => format!("{}.{sub}", step.0),
        (Some(step), None) => step.0.to_string(),
        (None, _) => "-".to_owned(),
    }
}

/// Below the step that it belongs to, where no lanes show that.
pub(super) fn indented(entry: &EntryView, what: &str) -> String {
    let below = match entry.kind {
        EntryKind::Llm => 0,
        EntryKind::Tool => 1,
        // What a tool did.
        EntryKind::Other => 2 * usize::from(entry.parent_step.is_some()),
    };
    format!("{}{what}", "  ".repeat(below))
}

/// What a line is about; recorded text in it is escaped here.
pub(super) fn what(entry: &EntryView) -> String {
    match (&entry.tool, entry.kind) {
        (Some(tool), _) => {
            let arguments = tool.arguments.as_ref().map(|a| cut(&a.to_string(), 200)).unwrap_or_default();
            escape(&format!("{}{} {arguments}", tool.name, ended(tool)))
        }
        (None, EntryKind::Other) => {
            let asked = entry.provider.as_ref().zip(entry.text.as_ref());
            // Of plain calls only those to MCP servers have a text.
            let what = asked.map(|(server, asked)| format!("{server} {asked}"));
            let what = what.as_deref().or(entry.endpoint.as_deref()).unwrap_or("call");
            escape(&format!("{what}{}", source(entry)))
        }
        (None, _) => {
            let model = entry.response_model.as_ref().or(entry.model.as_ref());
            let failed = entry.attempts.last().filter(|attempt| !ended_well(attempt));
            let failed = failed.map(|attempt| format!(" {}", ending(attempt))).unwrap_or_default();
            let said = match (entry.text.as_deref().map(str::trim), entry.tool_calls.as_slice()) {
                (_, [first, rest @ ..]) => {
                    let more = rest.iter().map(|call| format!(", {}", call.name));
                    format!(" → {}{}", first.name, more.collect::<String>())
                }
                (Some(text), []) if !text.is_empty() => format!(" \"{}\"", cut(text, 200)),
                _ => String::new(),
            };
            escape(&format!("{}{failed}{}{said}", model.map_or("model", String::as_str), source(entry)))
        }
    }
}

/// How a tool call ended that did not end well, and in a replay who answered it.
fn ended(tool: &ToolView) -> String {
    let outcome = match tool.outcome {
        Some(ToolOutcome::Timeout) => " [timeout]",
        Some(ToolOutcome::Aborted) => " [aborted]",
        Some(ToolOutcome::Ok | ToolOutcome::Null | ToolOutcome::Error) => "",
        None if tool.source == ToolKnown::Inferred => "",
        None => " [no result]",
    };
    let source = match tool.source {
        ToolKnown::Inferred | ToolKnown::Seen(ToolSource::Measured) => "",
        ToolKnown::Seen(ToolSource::Recorded) => " [recorded]",
        ToolKnown::Seen(ToolSource::Static) => " [static]",
        ToolKnown::Seen(ToolSource::Denied) => " [denied]",
    };
    format!("{outcome}{source}")
}

/// In a replay: where the answer came from.
fn source(entry: &EntryView) -> String {
    let Some(source) = entry.source else { return String::new() };
    let why = entry.replayed.as_ref().and_then(|replayed| replayed.reason);
    let why =
        why.filter(|_| source == AnswerSource::Refused).map(|why| format!(" {why}")).unwrap_or_default();
    format!(" [{}{why}]", source.as_str().replace('_', " "))
}

pub(super) fn ending(attempt: &AttemptView) -> String {
    let refused = attempt.status.filter(|status| *status >= 400 || attempt.state == AttemptState::Complete);
    let status = refused.map(|status| status.to_string());
    let state = match attempt.state {
        AttemptState::Complete => None,
        AttemptState::StreamError => Some("error inside the stream"),
        AttemptState::UpstreamReset => Some("upstream broke off"),
        AttemptState::UpstreamUnreachable => Some("upstream unreachable"),
        AttemptState::ClientGone => Some("client hung up"),
        AttemptState::InFlight => Some("in flight"),
    };
    let parts: Vec<String> = status.into_iter().chain(state.map(str::to_owned)).collect();
    parts.join(", ")
}

pub(super) fn ended_well(attempt: &AttemptView) -> bool {
    attempt.state == AttemptState::Complete && attempt.status.is_some_and(|status| status < 400)
}

pub(super) fn mark(entry: &EntryView) -> (&'static str, Tone) {
    match (&entry.tool, entry.attempts.last()) {
        (Some(tool), _) => match tool.outcome {
            Some(ToolOutcome::Ok | ToolOutcome::Null) => ("✓", Tone::Good),
            Some(ToolOutcome::Error | ToolOutcome::Timeout | ToolOutcome::Aborted) => ("✗", Tone::Bad),
            // It was seen to begin.
            None if tool.source != ToolKnown::Inferred => ("…", Tone::Warning),
            None => ("?", Tone::Quiet),
        },
        (None, Some(attempt)) if ended_well(attempt) => ("✓", Tone::Good),
        (None, Some(attempt)) if attempt.state == AttemptState::InFlight => ("…", Tone::Warning),
        (None, _) => ("✗", Tone::Bad),
    }
}
