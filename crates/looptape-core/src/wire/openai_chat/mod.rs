//! OpenAI Chat Completions, and the many providers that speak it.
//!
//! Messages are in `messages`, system prompts among them. A stream is `data: {…}` lines and `[DONE]`; tool
//! calls arrive in fragments, which belong together by `index`, or, where a provider leaves the index
//! out, by id or by order. Dialects read here: reasoning as `reasoning_content` or `reasoning`, content as
//! an array of parts with thinking in it (Mistral), usage in `x_groq`, the legacy `function_call`.

mod fragments;
mod plain_answer;
mod plain_chunk;

use super::lenient::{self, array, object, string, text};
use super::openai_usage;
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::route;
use super::{Message, Part, RequestView, ResponseView, Role, ToolCall};
use fragments::CallFragments;
use plain_chunk::{PlainChunk, PlainDelta};
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
pub(super) fn tool_name(tool: &Value) -> Option<String> {
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

pub(super) fn tool_call(call: &Value) -> ToolCall {
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
pub(super) fn first_choice(body: &Value) -> Option<&Value> {
    let is_first = |choice: &&Value| lenient::count(choice, "/index").unwrap_or(0) == 0;
    array(body, "choices").iter().find(is_first)
}

/// Reads what is beside the choices: the same in whole answers and in every chunk of a stream, where
/// the first model and id and the last usage count.
pub(super) fn read_envelope(body: &Value, view: &mut ResponseView) {
    view.response_model = view.response_model.take().or_else(|| string(body, "model"));
    view.response_id = view.response_id.take().or_else(|| string(body, "id"));
    view.service_tier = string(body, "service_tier").or_else(|| view.service_tier.take());
    let groq = object(body, "x_groq");
    let error = || lenient::provider_error(body).or_else(|| lenient::provider_error(groq?));
    view.error = view.error.take().or_else(error);
    let in_groq = || groq.and_then(|groq| object(groq, "usage"));
    let in_choice = || first_choice(body).and_then(|choice| object(choice, "usage"));
    if let Some(usage) = object(body, "usage").or_else(in_groq).or_else(in_choice) {
        view.usage = openai_usage::read(usage);
        view.stated_cost_usd = openai_usage::stated_cost_usd(usage);
    }
}

/// Why a choice ended. Models behind Bedrock call it a stop reason (which others mean in another sense, and
/// beside it).
fn finish_word(choice: &Value) -> Option<&str> {
    choice.get("finish_reason").or_else(|| choice.get("stop_reason")).and_then(Value::as_str)
}

/// Reads a choice's end. Some providers send an empty finish reason with every chunk.
pub(super) fn read_finish(choice: &Value, view: &mut ResponseView) {
    if let Some(reason) = finish_word(choice).filter(|r| !r.is_empty() || view.finish_reason.is_none()) {
        view.finish_reason = Some(reason.to_owned());
    }
    view.error = view.error.take().or_else(|| lenient::provider_error(choice));
}

/// Appends a message's or a delta's content; tells whether there was any text and any reasoning.
pub(super) fn read_content(message: &Value, view: &mut ResponseView) {
    if let Some(reasoning) = reasoning_text(message) {
        view.reasoning.push_str(reasoning);
    }
    if let Some(refusal) = text(message, "refusal") {
        view.refusal.push_str(refusal);
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
    /// Where the last chunk with a finish reason ended.
    finished_at: Option<usize>,
    done: bool,
}

impl AnswerDecoder for Answer {
    fn decode_plain(body: &[u8]) -> Option<ResponseView> {
        plain_answer::read(body)
    }

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
        if event.name.is_none() && event.read().is_some_and(|chunk| self.takes_plain(&chunk, event.end)) {
            return;
        }
        match event.json() {
            Some(chunk) => self.take_chunk(&chunk, event),
            None => self.done = self.done || event.is_done(),
        }
    }

    fn finish(self) -> ResponseView {
        let mut view = self.view;
        // Some providers leave [DONE] out; some give a finish reason after every tool call.
        let finished = self.finished_at.is_some() && self.finished_at >= view.milestones.last_output;
        view.truncated = !self.done && !finished;
        view.tool_calls = self.calls.join();
        view
    }
}

impl Answer {
    /// Takes a chunk that has one piece of output at most; tells whether this is one.
    fn takes_plain(&mut self, chunk: &PlainChunk<'_>, end: usize) -> bool {
        let (choice,) = &chunk.choices;
        if choice.index.unwrap_or(0) != 0 || !self.takes_plain_delta(&choice.delta, end) {
            return false;
        }
        let view = &mut self.view;
        let first = |known: &mut Option<String>, stated| {
            if known.is_none() {
                *known = lenient::said(stated).map(str::to_owned);
            }
        };
        first(&mut view.response_model, &chunk.model);
        first(&mut view.response_id, &chunk.id);
        if let Some(tier) = lenient::said(&chunk.service_tier)
            && view.service_tier.as_deref() != Some(tier)
        {
            view.service_tier = Some(tier.to_owned());
        }
        true
    }

    fn takes_plain_delta(&mut self, delta: &PlainDelta<'_>, end: usize) -> bool {
        if let Some((fragment,)) = &delta.tool_calls {
            if !self.calls.continues(fragment.index, &fragment.function.arguments.0) {
                return false;
            }
            self.view.milestones.saw(Output::ToolCall, end);
        }
        if let Some(piece) = lenient::said(&delta.reasoning_content).or(lenient::said(&delta.reasoning)) {
            self.view.reasoning.push_str(piece);
            self.view.milestones.saw(Output::Reasoning, end);
        }
        if let Some(piece) = lenient::said(&delta.content) {
            self.view.text.push_str(piece);
            self.view.milestones.saw(Output::Content, end);
        }
        true
    }

    fn take_chunk(&mut self, chunk: &Value, event: &StreamEvent<'_>) {
        read_envelope(chunk, &mut self.view);
        if event.name == Some("error") && self.view.error.is_none() {
            self.view.error = Some(lenient::error_object(chunk));
        }
        if let Some(choice) = first_choice(chunk) {
            read_finish(choice, &mut self.view);
            if finish_word(choice).is_some_and(|reason| !reason.is_empty()) {
                self.finished_at = Some(event.end);
            }
            // A provider that was asked to stream and does not sends a whole message in one chunk.
            if let Some(delta) = object(choice, "delta").or_else(|| object(choice, "message")) {
                self.take_delta(delta, event.end);
            }
        }
    }

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

#[cfg(test)]
mod tests {
    use super::super::test_events::any_object;
    use super::super::{Milestones, ProviderError, Wire};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn answer(body: &str) -> ResponseView {
        Wire::OpenAiChat.decode_response(200, None, body.as_bytes())
    }

    /// A stream of chunks, and where each ends.
    fn stream(chunks: &[Value]) -> (String, Vec<usize>) {
        let mut body = String::new();
        let ends = chunks
            .iter()
            .map(|chunk| {
                body += &format!("data: {chunk}\n\n");
                body.len()
            })
            .collect();
        (body, ends)
    }

    fn delta(delta: Value) -> Value {
        json!({"id": "c1", "model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    }

    #[test]
    fn requests() {
        let body = json!({"model": "gpt", "stream": true, "max_completion_tokens": 7, "tools": [
            {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}},
            {"type": "web_search"}], "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "ok"}]});
        let view = decode_request("/v1/chat/completions", &body);
        assert_eq!(
            (view.model.as_deref(), view.stream, view.max_output_tokens),
            (Some("gpt"), true, Some(7))
        );
        assert_eq!(view.tools, ["f", "c", "web_search"]);
        let call = ToolCall { id: Some("a".into()), name: "f".into(), arguments: json!({"x": 1}) };
        let result =
            Part::ToolResult { call_id: Some("a".into()), name: None, content: json!("ok"), is_error: false };
        let image = json!({"type": "image_url", "image_url": {}});
        let message = |role, parts| Message { role, parts };
        assert_eq!(
            view.messages,
            [
                message(Role::System, vec![Part::Text { text: "be brief".into() }]),
                message(
                    Role::User,
                    vec![
                        Part::Text { text: "hi".into() },
                        Part::Other { kind: "image_url".into(), value: image }
                    ]
                ),
                message(Role::Assistant, vec![Part::Reasoning { text: "hm".into() }, Part::ToolCall(call)]),
                message(Role::Tool, vec![result]),
            ]
        );
        let azure = decode_request("/openai/deployments/dep/chat/completions?api-version=1", &json!({}));
        assert_eq!(azure.model.as_deref(), Some("dep"));
    }

    #[test]
    fn a_stream_with_everything() {
        let call =
            json!({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]});
        let (body, ends) = stream(&[
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"reasoning_content": "hm"})),
            delta(json!({"content": "Hel"})),
            delta(json!({"content": "lo"})),
            delta(call),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "service_tier": "default"}),
            json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
        ]);
        let view = answer(&(body + "data: [DONE]\n\n"));
        assert!(view.stream && !view.truncated);
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("Hello", "hm"));
        assert_eq!(view.response_model.as_deref(), Some("m-1"));
        assert_eq!(view.finish_reason.as_deref(), Some("tool_calls"));
        assert_eq!(view.service_tier.as_deref(), Some("default"));
        assert_eq!((view.usage.input_total, view.usage.output_total), (Some(3), Some(4)));
        assert_eq!(
            view.milestones,
            Milestones {
                first_event: Some(ends[0]),
                first_reasoning: Some(ends[1]),
                first_content: Some(ends[2]),
                first_tool_call: Some(ends[4]),
                last_output: Some(ends[4]),
            }
        );
        let call = ToolCall { id: Some("t".into()), name: "f".into(), arguments: json!({}) };
        assert_eq!(view.as_parts(), [Part::Text { text: "Hello".into() }, Part::ToolCall(call)]);
    }

    #[test]
    fn only_choice_0_counts() {
        let view = answer(
            &json!({"choices": [{"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
                {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]})
            .to_string(),
        );
        assert_eq!((view.text.as_str(), view.finish_reason.as_deref()), ("a", Some("stop")));
        assert_eq!((view.stream, view.milestones), (false, Milestones::default()));
    }

    #[test]
    fn a_stream_cut_short() {
        let (body, _) = stream(&[delta(json!({"content": "a"})), delta(json!({"content": "b"}))]);
        let cut = answer(&body[..body.len() - 3]);
        assert_eq!((cut.text.as_str(), cut.truncated), ("a", true));
        assert!(answer(&body).truncated);
        assert!(!answer(&(body.clone() + "data: [DONE]")).truncated);
        let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n";
        assert!(!answer(&(body.clone() + finish)).truncated);
        assert!(answer(&format!("{finish}{body}")).truncated);
    }

    #[test]
    fn errors_inside_a_stream() {
        let error =
            json!({"error": {"type": "invalid_request_error", "code": "tool_use_failed", "message": "no"}});
        let expected = ProviderError { kind: Some("tool_use_failed".into()), message: Some("no".into()) };
        for body in [format!("data: {error}\n\n"), format!("event: error\ndata: {}\n\n", error["error"])] {
            let view = answer(&body);
            assert_eq!(view.error.as_ref(), Some(&expected), "{body}");
            assert!(view.stream && !view.truncated);
        }
    }

    #[test]
    fn dialects() {
        let groq =
            answer("data: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":5}}}\n\ndata: [DONE]\n\n");
        assert_eq!(groq.usage.input_total, Some(5));
        let openrouter = ": OPENROUTER PROCESSING\n\ndata: {\"choices\":[],\"usage\":{\"cost\":0.5}}\n\n";
        let view = answer(openrouter);
        assert_eq!(view.stated_cost_usd, Some(0.5));
        assert_eq!(view.milestones.first_event, Some(openrouter.len()));
        let mistral = json!({"choices": [{"message": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hi"}]}}]});
        let view = answer(&mistral.to_string());
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("hi", "hm"));
        let legacy = json!({"choices": [{"message": {"content": null,
            "function_call": {"name": "f", "arguments": "{\"x\":1}"}}, "finish_reason": "function_call"}]});
        let call = ToolCall { id: None, name: "f".into(), arguments: json!({"x": 1}) };
        assert_eq!(answer(&legacy.to_string()).tool_calls, [call]);
        let empty = json!({"choices": [{"finish_reason": "", "message": {"content": "x", "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": ""}, "custom": {"name": "", "input": ""}}],
            "function_call": {"name": "", "arguments": ""}}}]});
        let call = ToolCall { id: Some("a".into()), name: "f".into(), arguments: json!("") };
        assert_eq!(answer(&empty.to_string()).tool_calls, [call]);
    }

    fn any_whole() -> impl Strategy<Value = Value> {
        let call =
            json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}});
        let message = any_object(&[
            ("role", json!("assistant")),
            ("content", json!("t")),
            ("reasoning", json!("r")),
            ("reasoning_content", json!("c")),
            ("refusal", Value::Null),
            ("tool_calls", json!([call])),
            ("function_call", Value::Null),
            ("executed_tools", Value::Null),
        ]);
        let choice = any_object(&[
            ("index", json!(0)),
            ("finish_reason", json!("stop")),
            ("stop_reason", Value::Null),
            ("usage", Value::Null),
            ("error", Value::Null),
        ]);
        let envelope = any_object(&[
            ("id", json!("i")),
            ("model", json!("m")),
            ("service_tier", json!("t")),
            ("usage", json!({"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5})),
            ("x_groq", Value::Null),
            ("error", Value::Null),
        ]);
        (envelope, choice, message, 0..4u8).prop_map(|(mut whole, mut choice, message, shape)| {
            choice["message"] = message;
            whole["choices"] = if shape == 3 { json!([choice, {"index": 1}]) } else { json!([choice]) };
            whole
        })
    }

    #[test]
    fn an_ordinary_answer_is_plain() {
        let body = json!({"id": "i", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
            "message": {"role": "assistant", "content": "t", "refusal": null, "annotations": []}, "logprobs": null,
            "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}, "system_fingerprint": "f"});
        assert!(plain_answer::read(body.to_string().as_bytes()).is_some());
    }

    fn any_chunk() -> impl Strategy<Value = Value> {
        let function = any_object(&[("name", Value::Null), ("arguments", json!("{"))]);
        let fragment =
            (any_object(&[("index", json!(0)), ("id", Value::Null), ("custom", Value::Null)]), function);
        let delta = any_object(&[
            ("role", json!("assistant")),
            ("content", json!("t")),
            ("reasoning", json!("r")),
            ("reasoning_content", json!("c")),
            ("refusal", Value::Null),
            ("function_call", Value::Null),
        ]);
        let choice =
            any_object(&[("index", json!(0)), ("finish_reason", Value::Null), ("stop_reason", json!("s"))]);
        let envelope = any_object(&[
            ("id", json!("i")),
            ("model", json!("m")),
            ("service_tier", json!("t")),
            ("usage", Value::Null),
            ("error", Value::Null),
        ]);
        (envelope, choice, delta, fragment, 0..4u8).prop_map(
            |(mut chunk, mut choice, mut delta, call, shape)| {
                let (mut fragment, function) = call;
                fragment["function"] = function;
                if shape % 2 == 0 {
                    delta["tool_calls"] = json!([fragment]);
                }
                choice["delta"] = delta;
                chunk["choices"] = if shape == 3 { json!([choice, {"index": 1}]) } else { json!([choice]) };
                chunk
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn plain_answers_are_read_as_all_others_are(whole in any_whole()) {
            if let Some(plain) = Answer::decode_plain(whole.to_string().as_bytes()) {
                prop_assert_eq!(plain, Answer::decode_whole(&whole));
            }
        }

        #[test]
        fn plain_chunks_are_read_as_all_others_are(chunks in proptest::collection::vec(any_chunk(), 1..6)) {
            let (mut either, mut general) = (Answer::default(), Answer::default());
            for (end, chunk) in chunks.iter().enumerate() {
                let event = StreamEvent { name: None, data: &chunk.to_string(), end };
                either.take_event(&event);
                general.take_chunk(chunk, &event);
            }
            prop_assert_eq!(either.finish(), general.finish());
        }
    }
}
