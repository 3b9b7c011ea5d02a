//! One step in full, as text.

use super::audit::composition_words;
use super::figures::{count, duration};
use super::style::{Style, Tone};
use super::terminal_text::escape;
use looptape_core::view::{AttemptView, EntryView};
use looptape_core::wire::{Message, Part, Role, ToolCall};
use looptape_page::reading::step_detail::StepDetail;
use looptape_page::reading::trace_view::Messages;
use serde_json::Value;

/// Who asked what, what was new, and what came back. Recorded text is escaped line by line.
pub(crate) fn text(detail: &StepDetail, messages: Messages, style: Style) -> String {
    let mut page = Page { style, out: String::new() };
    page.head(detail);
    page.request(detail, messages);
    page.answer(detail);
    page.out
}

struct Page {
    style: Style,
    out: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn toned(&mut self, tone: Tone, text: &str) {
        let painted = self.style.paint(tone, text);
        self.line(&painted);
    }

    /// Recorded text, indented.
    fn block(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("  {}", escape(line)));
        }
    }

    fn title(&mut self, text: &str) {
        self.line("");
        self.toned(Tone::Strong, text);
    }

    fn head(&mut self, detail: &StepDetail) {
        let step = &detail.step;
        let number = step.step.map_or(0, |n| n.0);
        let of = format!("trace {} · step {number} of {}", escape(&detail.trace), detail.steps);
        self.toned(Tone::Strong, &of);
        let model = match (&step.model, &step.response_model) {
            (Some(asked), Some(got)) if asked != got => Some(format!("{asked} → {got}")),
            (asked, got) => got.clone().or_else(|| asked.clone()),
        };
        let stream = (step.stream == Some(true)).then(|| "streamed".to_owned());
        let parent = step.parent_step.map(|n| format!("after step {}", n.0));
        let facts = [step.provider.clone(), step.wire.map(str::to_owned), model, stream, parent];
        self.joined(facts.into_iter().flatten().map(|text| escape(&text)));
        self.joined(figures(step));
        if let Some(composition) = &step.composition {
            let of = if composition.scaled { "" } else { ", the provider gave no count" };
            let by = composition.tokenizer.as_str();
            let words = composition_words(composition);
            self.line(&format!("prompt: {words} (estimated by tokenizer {by}{of})"));
        }
        for attempt in step.attempts.iter().filter(|_| step.attempts.len() > 1) {
            let mark = if attempt.attempt == detail.attempt { "▸" } else { " " };
            self.line(&format!("{mark} attempt {}: {}", attempt.attempt, attempt_line(attempt)));
        }
        if !detail.request.parameters.is_empty() {
            let parameters = Value::Object(detail.request.parameters.clone()).to_string();
            self.line(&format!("parameters: {}", escape(&parameters)));
        }
        if !detail.request.tools_offered.is_empty() {
            self.line(&format!("tools offered: {}", escape(&detail.request.tools_offered.join(", "))));
        }
    }

    fn joined(&mut self, parts: impl IntoIterator<Item = String>) {
        let parts: Vec<String> = parts.into_iter().collect();
        if !parts.is_empty() {
            self.line(&parts.join(" · "));
        }
    }

    fn request(&mut self, detail: &StepDetail, messages: Messages) {
        let request = &detail.request;
        let known = request.known_messages;
        let parent = detail.step.parent_step.map_or(0, |n| n.0);
        let shows_all = messages == Messages::Included;
        if !request.system.is_empty() && (known == 0 || shows_all) {
            self.title("system");
            request.system.iter().for_each(|part| self.part(part));
        }
        if known > 0 && !shows_all {
            let all = if known == 1 { "message 1".to_owned() } else { format!("messages 1 to {known}") };
            self.line("");
            self.toned(Tone::Quiet, &format!("{all}: as in step {parent} (--messages shows them)"));
        }
        let from = if shows_all { 0 } else { known };
        for (index, message) in request.messages.iter().enumerate().skip(from) {
            if index == known && known > 0 {
                self.line("");
                self.toned(Tone::Model, &format!("── new since step {parent} ──"));
            }
            self.message(index + 1, message);
        }
    }

    fn message(&mut self, number: usize, message: &Message) {
        self.title(&format!("{number} {}", role(&message.role)));
        message.parts.iter().for_each(|part| self.part(part));
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text { text } => self.block(text),
            Part::Reasoning { text } if text.is_empty() => {
                self.toned(Tone::Quiet, "  (reasoning, encrypted)")
            }
            Part::Reasoning { text } => self.reasoning(text),
            Part::ToolCall(call) => self.tool_call(call),
            Part::ToolResult { call_id, name, content, is_error } => {
                let of: Vec<String> = [name, call_id].into_iter().flatten().map(|t| escape(t)).collect();
                let word = if *is_error { "result, an error" } else { "result" };
                let tone = if *is_error { Tone::Bad } else { Tone::Tool };
                self.toned(tone, &format!("  ← {word} {}", of.join(" ")));
                self.block(&content_text(content));
            }
            Part::Other { kind, value } => {
                self.toned(Tone::Quiet, &format!("  ({})", escape(kind)));
                self.block(&value.to_string());
            }
        }
    }

    fn reasoning(&mut self, text: &str) {
        self.toned(Tone::Quiet, "  (reasoning)");
        self.block(text);
    }

    fn tool_call(&mut self, call: &ToolCall) {
        let id = call.id.as_deref().map(|id| format!("  {}", escape(id))).unwrap_or_default();
        let text = format!("  → {}({}){id}", escape(&call.name), escape(&call.arguments.to_string()));
        self.toned(Tone::Tool, &text);
    }

    fn answer(&mut self, detail: &StepDetail) {
        let Some(answer) = &detail.response else {
            self.title("no answer");
            return;
        };
        let finish = detail.step.finish_reason.as_deref().map(|f| format!(" ({})", escape(f)));
        self.title(&format!("answer{}", finish.unwrap_or_default()));
        if !answer.reasoning.is_empty() {
            self.reasoning(&answer.reasoning);
        }
        self.block(&answer.text);
        answer.tool_calls.iter().for_each(|call| self.tool_call(call));
        for name in &answer.server_tool_calls {
            self.toned(Tone::Tool, &format!("  → {} (executed by the provider)", escape(name)));
        }
        if let Some(error) = &answer.error {
            let words: Vec<String> =
                [&error.kind, &error.message].into_iter().flatten().map(|text| escape(text)).collect();
            self.toned(Tone::Bad, &format!("  error: {}", words.join(": ")));
        }
        if answer.truncated {
            self.toned(Tone::Bad, "  the stream was cut off");
        }
        for tool in detail.tools.iter().filter_map(|entry| Some((entry.sub?, entry.tool.as_ref()?))) {
            let (sub, tool) = tool;
            let step = detail.step.step.map_or(0, |n| n.0);
            self.title(&format!("{step}.{sub} {}: what came back", escape(&tool.name)));
            match &tool.result {
                Some(result) => self.block(&content_text(result)),
                None => self.toned(Tone::Quiet, "  no result was seen"),
            }
        }
    }
}

fn role(role: &Role) -> String {
    match role {
        Role::System => "system".to_owned(),
        Role::User => "user".to_owned(),
        Role::Assistant => "assistant".to_owned(),
        Role::Tool => "tool".to_owned(),
        Role::Other(name) => escape(name),
    }
}

/// A text as it is, anything else as JSON.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn figures(step: &EntryView) -> Vec<String> {
    let usage = step.usage.as_ref();
    let some = |n: Option<u64>, what: &str| n.map(|n| format!("{} {what}", count(n)));
    let cached = |u: &looptape_core::usage::TokenUsage| u.cache_read.filter(|n| *n > 0);
    let written = |u: &looptape_core::usage::TokenUsage| {
        let both = [u.cache_write_5m, u.cache_write_1h].into_iter().flatten().sum::<u64>();
        Some(both).filter(|n| *n > 0)
    };
    let tokens = [
        some(usage.and_then(|u| u.input_total), "tokens in"),
        some(usage.and_then(cached), "of them cached"),
        some(usage.and_then(written), "written to the cache"),
        some(usage.and_then(|u| u.output_total), "out"),
        some(usage.and_then(|u| u.reasoning).filter(|n| *n > 0), "of them reasoning"),
    ];
    let tokens: Vec<String> = tokens.into_iter().flatten().collect();
    let tokens = if tokens.is_empty() { "tokens unknown".to_owned() } else { tokens.join(", ") };
    let cost = step.cost.as_ref().map_or("cost unknown".to_owned(), |cost| {
        let bound = if cost.at_least { "at least " } else { "" };
        format!("{bound}{} ({})", cost.usd, escape(&cost.price_source))
    });
    let time = step.duration_ms.map(duration);
    let ttft = step.ttft_ms.map(|ttft| format!("TTFT {}", duration(ttft)));
    [Some(tokens), Some(cost), time, ttft].into_iter().flatten().collect()
}

fn attempt_line(attempt: &AttemptView) -> String {
    let status = attempt.status.map(|status| status.to_string());
    let layer = attempt.retry_layer.map(|layer| format!("{} retry", layer.as_str()));
    let after = attempt.retry_after_ms.map(|ms| format!("retry-after {ms} ms"));
    let parts = [
        status,
        Some(attempt.state.as_str().to_owned()),
        attempt.duration_ms.map(duration),
        after,
        layer,
        attempt.backoff_ms.map(|wait| format!("after waiting {}", duration(wait))),
        attempt.upstream.as_ref().map(|url| format!("at {}", escape(url))),
    ];
    parts.into_iter().flatten().collect::<Vec<String>>().join(" · ")
}
