//! One trace, ready to be compared: its view, and what its requests say.

use super::align::Item;
use super::content::{AnswerContent, PlainContent, RequestContent, Said, StepContent};
use super::report::{SideHead, StepHead};
use super::step::readable;
use crate::assembly::{Lane, LoopNumber};
use crate::canonical::digest_of_value;
use crate::digest::Digest;
use crate::text_diff;
use crate::view::{AttemptView, EntryKind, EntryView, ToolView, TraceView};
use crate::wire::content_text;
use serde_json::Value;
use std::borrow::Cow;

/// Characters of a step's gist.
const GIST_CHARS: usize = 90;

/// One trace. `steps` and `plain` hold what the model steps and the plain calls of the view say, in their
/// order.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub view: &'a TraceView,
    pub steps: &'a [StepContent],
    pub plain: &'a [PlainContent],
}

/// A model step with its tool calls.
pub(super) struct Seen<'s> {
    pub(super) entry: &'s EntryView,
    pub(super) content: &'s StepContent,
    pub(super) tools: Vec<SeenTool<'s>>,
    /// The tool results that its request carries.
    pub(super) carried: Vec<&'s Value>,
    /// Whether some step goes on from its answer.
    pub(super) goes_on: bool,
}

pub(super) struct SeenTool<'s> {
    pub(super) sub: u32,
    tool: &'s ToolView,
}

/// What steps are aligned by. Equal keys mean that nothing that was said differs; figures are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StepKey {
    /// What is new in the request.
    pub(super) request: Digest,
    /// Text and tool calls.
    pub(super) answer: Digest,
    results: Digest,
    /// The names of the tools called.
    calls: Digest,
    opening: Digest,
}

impl Item for StepKey {
    fn likeness(&self, other: &Self) -> u32 {
        let points = |same: bool, points: u32| if same { points } else { 0 };
        1 + points(self.answer == other.answer, 24)
            + points(self.request == other.request, 20)
            + points(self.results == other.results, 6)
            + points(self.calls == other.calls, 6)
            + points(self.opening == other.opening, 4)
    }
}

impl<'a> Side<'a> {
    /// The model steps, each with its tool calls.
    pub(super) fn seen(&self) -> Vec<Seen<'a>> {
        let entries = |kind| self.view.steps.iter().filter(move |entry| entry.kind == kind);
        let mut seen: Vec<Seen<'a>> = entries(EntryKind::Llm)
            .zip(self.steps)
            .map(|(entry, content)| Seen {
                entry,
                content,
                tools: Vec::new(),
                carried: Vec::new(),
                goes_on: false,
            })
            .collect();
        for entry in entries(EntryKind::Tool) {
            let (Some(step), Some(sub), Some(tool)) = (entry.step, entry.sub, &entry.tool) else { continue };
            if let Some(step) = seen.get_mut(step.index()) {
                step.tools.push(SeenTool { sub, tool });
            }
        }
        for at in 0..seen.len() {
            let parent = seen[at].entry.parent_step.map(|number| number.index());
            if let Some(parent) = parent.and_then(|parent| seen.get_mut(parent)) {
                parent.goes_on = true;
                let results = parent.tools.iter().filter_map(|t| t.tool.result.as_ref());
                seen[at].carried = results.collect();
            }
        }
        seen
    }

    /// The plain calls.
    pub(super) fn plain_calls(&self) -> Vec<(&'a EntryView, &'a PlainContent)> {
        self.view.steps.iter().filter(|entry| entry.kind == EntryKind::Other).zip(self.plain).collect()
    }

    pub(super) fn head(&self) -> SideHead {
        let head = &self.view.trace;
        let metrics = &head.metrics;
        SideHead {
            trace: head.id.clone(),
            name: head.name.clone(),
            agent: head.agent.clone(),
            status: head.status,
            steps: metrics.steps,
            tool_calls: metrics.tool_calls,
            attempts: metrics.attempts,
            input_tokens: metrics.tokens.input_total,
            output_tokens: metrics.tokens.output_total,
            cost_usd: metrics.cost_usd,
            cost_at_least: metrics.cost_at_least,
            duration_ms: metrics.time.duration_ms,
        }
    }
}

impl<'s> Seen<'s> {
    pub(super) fn request(&self) -> &'s RequestContent {
        &self.content.request
    }

    /// Its loop and lane.
    pub(super) fn thread(&self) -> (Option<LoopNumber>, Option<Lane>) {
        (self.entry.loop_number, self.entry.lane)
    }

    pub(super) fn key(&self) -> StepKey {
        let AnswerContent { error, server_tool_calls, .. } = &self.content.answer;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let results: Vec<String> = self.tools.iter().map(|t| t.result_text().unwrap_or_default()).collect();
        let names: Vec<&str> = self.tools.iter().map(SeenTool::name).collect();
        let mut answer = vec![text(&self.entry.text), text(error), server_tool_calls.join(",")];
        answer.extend(self.tools.iter().map(|tool| digest_of_value(&tool.arguments()).to_hex()));
        answer.extend(names.iter().map(|name| (*name).to_owned()));
        let carried: Vec<String> = self.carried.iter().map(|result| content_text(result)).collect();
        let request = self.request();
        let said: Vec<String> = request.messages.iter().map(Said::identity).chain(carried).collect();
        Self::key_of(&said, &answer, &results, &names, &request.opening.system)
    }

    fn key_of(
        request: &[String],
        answer: &[String],
        results: &[String],
        calls: &[&str],
        system: &str,
    ) -> StepKey {
        let digest = |texts: &[String]| {
            Digest::of_parts(&texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>())
        };
        StepKey {
            request: digest(request),
            answer: digest(answer),
            results: digest(results),
            calls: Digest::of_parts(&calls.iter().map(|name| name.as_bytes()).collect::<Vec<_>>()),
            opening: Digest::of(system.as_bytes()),
        }
    }

    pub(super) fn tool_keys(&self) -> Vec<ToolKey> {
        let key = |tool: &SeenTool<'_>| ToolKey {
            name: tool.name().to_owned(),
            arguments: digest_of_value(&tool.arguments()),
        };
        self.tools.iter().map(key).collect()
    }

    pub(super) fn head(&self) -> StepHead {
        let calls: Vec<String> = self.tools.iter().map(|tool| format!("→ {}", tool.call_text())).collect();
        let text = self.entry.text.as_deref().unwrap_or_default().trim();
        let gist = match (&self.content.answer.error, calls.is_empty(), text.is_empty()) {
            (Some(error), ..) => format!("error: {error}"),
            (None, false, _) => calls.join(" "),
            (None, true, false) => text.to_owned(),
            (None, true, true) => self.attempts(),
        };
        StepHead {
            step: self.entry.step,
            loop_number: self.entry.loop_number,
            lane: self.entry.lane,
            gist: one_line(&gist),
        }
    }

    /// What became of each attempt: `429, 200`.
    pub(super) fn attempts(&self) -> String {
        attempts(&self.entry.attempts)
    }
}

impl SeenTool<'_> {
    pub(super) fn name(&self) -> &str {
        &self.tool.name
    }

    pub(super) fn arguments(&self) -> Cow<'_, Value> {
        match &self.tool.arguments {
            Some(arguments) => Cow::Borrowed(arguments),
            None => Cow::Owned(Value::Null),
        }
    }

    pub(super) fn result(&self) -> (Option<String>, Option<crate::view::ToolOutcome>) {
        (self.tool.result.as_ref().map(content_text), self.tool.outcome)
    }

    /// `None` if no result was seen.
    pub(super) fn result_text(&self) -> Option<String> {
        let text = self.tool.result.as_ref().map(content_text)?;
        let is_error = self.tool.outcome == Some(crate::view::ToolOutcome::Error);
        Some(if is_error { format!("(an error) {text}") } else { text })
    }

    pub(super) fn call_text(&self) -> String {
        format!("{}({})", self.name(), readable(&self.arguments()))
    }
}

impl Said {
    /// All of it in one text.
    fn identity(&self) -> String {
        format!("{self:?}")
    }
}

/// A tool call, as far as aligning needs it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ToolKey {
    name: String,
    arguments: Digest,
}

impl Item for ToolKey {
    fn likeness(&self, other: &Self) -> u32 {
        if self.name == other.name { 32 } else { 1 }
    }
}

/// What became of each attempt.
pub(super) fn attempts(attempts: &[AttemptView]) -> String {
    let one = |attempt: &AttemptView| match (attempt.status, attempt.state) {
        (Some(status), crate::facts::AttemptState::Complete) => status.to_string(),
        (Some(status), state) => format!("{status} {}", state.as_str()),
        (None, state) => state.as_str().to_owned(),
    };
    attempts.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(GIST_CHARS).collect();
    text_diff::beginning(&words.join(" "), GIST_CHARS)
}
