//! OpenAI Chat Completions, and the many providers that speak it.
//!
//! Messages are in `messages`, system prompts among them. A stream is `data: {…}` lines and `[DONE]`; tool
//! calls arrive in fragments, which belong together by `index`, or, where a provider leaves the index
//! out, by id or by order. Dialects read here: reasoning as `reasoning_content` or `reasoning`, content as
//! an array of parts with thinking in it (Mistral), usage in `x_groq`, the legacy `function_call`.

mod fragments;

use super::lenient::{self, array, object, string, text};
use super::openai_usage;
use super::response::{AnswerDecoder, Output, Payload, StreamEvent};
use super::route;
use super::{Message, Part, RequestView, ResponseView, Role, ToolCall};
use fragments::CallFragments;
use serde_json::Value;

pub(super) fn decode_request(path: &str, body: &Value) -> RequestView {
    let limit = ["/max_completion_tokens", "/max_tokens"];
    RequestView {
        model: string(body, "model").or_else(|| route::model_in_path(path)),
        stream: lenient::is_set(body, "stream"),
        max_output_tokens: limit.iter().find_map(|pointer| lenient::count(body, pointer)),
        system: Vec::new(),
        messages: array(body, "messages").iter().map(decode_message).collect(),
        tools: array(body, "tools").iter().chain(array(body, "functions")).filter_map(tool_name).collect(),
        previous_response_id: None,
    }
}

/// A tool's name; its type where it has none.
fn tool_name(tool: &Value) -> Option<String> {
    let nested = ["function", "custom"].iter().find_map(|key| string(object(tool, key)?, "name"));
    nested.or_else(|| string(tool, "name")).or_else(|| string(tool, "type"))
}

/// Decodes one element of `messages`.
pub(super) fn decode_message(element: &Value) -> Message {
    let role = lenient::role(element).unwrap_or(Role::Other(String::new()));
    let parts = if role == Role::Tool { vec![tool_result(element)] } else { spoken_parts(element) };
    Message { role, parts }
}

fn tool_result(element: &Value) -> Part {
    Part::ToolResult {
        call_id: string(element, "tool_call_id"),
        name: string(element, "name"),
        content: element.get("content").cloned().unwrap_or(Value::Null),
        is_error: false,
    }
}

/// The parts of any message but a tool's: reasoning, content, tool calls.
fn spoken_parts(element: &Value) -> Vec<Part> {
    let reasoning = reasoning_text(element).map(|text| Part::Reasoning { text: text.to_owned() });
    let mut parts: Vec<Part> = reasoning.into_iter().collect();
    match element.get("content") {
        Some(Value::String(text)) => parts.push(Part::Text { text: text.clone() }),
        Some(Value::Array(content)) => parts.extend(content.iter().map(content_part)),
        _ => {}
    }
    parts.extend(tool_calls(element).into_iter().map(Part::ToolCall));
    parts
}

/// One part of a content array.
fn content_part(part: &Value) -> Part {
    if let Value::String(text) = part {
        return Part::Text { text: text.clone() };
    }
    let kind = text(part, "type").unwrap_or_default();
    match (kind, part.get("text")) {
        ("text" | "input_text" | "output_text", Some(Value::String(text))) => {
            Part::Text { text: text.clone() }
        }
        ("thinking", _) => Part::Reasoning { text: thinking_text(part) },
        _ => Part::Other { kind: kind.to_owned(), value: part.clone() },
    }
}

/// Mistral's thinking part: text, or an array of text parts.
fn thinking_text(part: &Value) -> String {
    match part.get("thinking") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(pieces)) => pieces.iter().filter_map(|piece| text(piece, "text")).collect(),
        _ => String::new(),
    }
}

/// Reasoning beside the content, under either of its names.
fn reasoning_text(message: &Value) -> Option<&str> {
    text(message, "reasoning_content").or_else(|| text(message, "reasoning"))
}

/// The tool calls of a whole message, the legacy single call included.
fn tool_calls(message: &Value) -> Vec<ToolCall> {
    let legacy = legacy_call(message).map(|function| called(None, function, "arguments"));
    array(message, "tool_calls").iter().map(tool_call).chain(legacy).collect()
}

/// The legacy single call. Some providers send an empty one with every message.
fn legacy_call(message: &Value) -> Option<&Value> {
    let function = object(message, "function_call")?;
    (text(function, "name").is_some() || text(function, "arguments").is_some()).then_some(function)
}

/// The custom tool that a call, whole or a fragment, names; some providers add an empty one to every call.
fn custom_tool(call: &Value) -> Option<&Value> {
    object(call, "custom").filter(|custom| text(custom, "name").is_some() || call.get("function").is_none())
}

fn tool_call(call: &Value) -> ToolCall {
    let id = string(call, "id");
    match custom_tool(call) {
        Some(custom) => called(id, custom, "input"),
        None => called(id, call.get("function").unwrap_or(call), "arguments"),
    }
}

fn called(id: Option<String>, function: &Value, arguments_key: &str) -> ToolCall {
    let arguments = match function.get(arguments_key) {
        Some(Value::String(text)) if arguments_key == "arguments" => lenient::arguments(text),
        Some(value) => value.clone(),
        None => Value::Null,
    };
    ToolCall { id, name: string(function, "name").unwrap_or_default(), arguments }
}

/// Choice 0, wherever it stands in the array.
fn first_choice(body: &Value) -> Option<&Value> {
    let is_first = |choice: &&Value| lenient::count(choice, "/index").unwrap_or(0) == 0;
    array(body, "choices").iter().find(is_first)
}

/// Reads what is beside the choices: the same in whole answers and in every chunk of a stream, where
/// the first model and id and the last usage count.
fn read_envelope(body: &Value, view: &mut ResponseView) {
    view.response_model = view.response_model.take().or_else(|| string(body, "model"));
    view.response_id = view.response_id.take().or_else(|| string(body, "id"));
    view.service_tier = string(body, "service_tier").or_else(|| view.service_tier.take());
    view.error = view.error.take().or_else(|| lenient::provider_error(body));
    let in_groq = || body.get("x_groq").and_then(|groq| object(groq, "usage"));
    let in_choice = || first_choice(body).and_then(|choice| object(choice, "usage"));
    if let Some(usage) = object(body, "usage").or_else(in_groq).or_else(in_choice) {
        view.usage = openai_usage::read(usage);
        view.stated_cost_usd = openai_usage::stated_cost_usd(usage);
    }
}

/// Reads a choice's end. Some providers send an empty finish reason with every chunk.
fn read_finish(choice: &Value, view: &mut ResponseView) {
    let reason = choice.get("finish_reason").and_then(Value::as_str);
    if let Some(reason) = reason.filter(|r| !r.is_empty() || view.finish_reason.is_none()) {
        view.finish_reason = Some(reason.to_owned());
    }
    view.error = view.error.take().or_else(|| lenient::provider_error(choice));
}

/// Appends a message's or a delta's content; tells whether there was any text and any reasoning.
fn read_content(message: &Value, view: &mut ResponseView) {
    if let Some(reasoning) = reasoning_text(message) {
        view.reasoning.push_str(reasoning);
    }
    match message.get("content") {
        Some(Value::String(text)) => view.text.push_str(text),
        Some(Value::Array(content)) => {
            for part in content.iter().map(content_part) {
                match part {
                    Part::Text { text } => view.text.push_str(&text),
                    Part::Reasoning { text } => view.reasoning.push_str(&text),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    // Groq's compound systems run tools themselves.
    let executed = array(message, "executed_tools").iter().filter_map(|tool| string(tool, "type"));
    view.server_tool_calls.extend(executed);
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
    calls: CallFragments,
    done: bool,
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut view = ResponseView::default();
        read_envelope(body, &mut view);
        if let Some(choice) = first_choice(body) {
            read_finish(choice, &mut view);
            if let Some(message) = object(choice, "message") {
                read_content(message, &mut view);
                view.tool_calls = tool_calls(message);
            }
        }
        view
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Payload::Json(chunk) = &event.data else {
            self.done = true;
            return;
        };
        read_envelope(chunk, &mut self.view);
        if event.name == Some("error") && self.view.error.is_none() {
            self.view.error = Some(lenient::error_object(chunk));
        }
        if let Some(choice) = first_choice(chunk) {
            read_finish(choice, &mut self.view);
            // A provider that was asked to stream and does not sends a whole message in one chunk.
            if let Some(delta) = object(choice, "delta").or_else(|| object(choice, "message")) {
                self.take_delta(delta, event.end);
            }
        }
    }

    fn finish(self) -> ResponseView {
        let mut view = self.view;
        view.truncated = !self.done && view.finish_reason.is_none();
        view.tool_calls = self.calls.join();
        view
    }
}

impl Answer {
    fn take_delta(&mut self, delta: &Value, end: usize) {
        let before = (self.view.text.len(), self.view.reasoning.len());
        read_content(delta, &mut self.view);
        let milestones = &mut self.view.milestones;
        if self.view.reasoning.len() > before.1 {
            milestones.saw(Output::Reasoning, end);
        }
        if self.view.text.len() > before.0 || text(delta, "refusal").is_some() {
            milestones.saw(Output::Content, end);
        }
        for fragment in array(delta, "tool_calls") {
            milestones.saw(Output::ToolCall, end);
            self.calls.add(fragment);
        }
        if let Some(function) = legacy_call(delta) {
            milestones.saw(Output::ToolCall, end);
            self.calls.add_legacy(function);
        }
    }
}
