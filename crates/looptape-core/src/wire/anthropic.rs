//! Anthropic Messages, at Anthropic and at Vertex (where the path names the model).
//!
//! The system prompt is apart from `messages`; content is a text or a list of blocks, and tool results are
//! blocks of a user message. The input count leaves cached tokens out, so they are added; usage in a
//! stream is cumulative: `message_start` gives the input, the last `message_delta` replaces what it
//! repeats. An `error` event may come after a status of 200.

mod plain_answer;

use super::lenient::{self, Text, array, count, object, string, text};
use super::partial_calls::PartialCalls;
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::route;
use super::{Message, Part, RequestView, ResponseView, Role, ToolCall};
use crate::usage::TokenUsage;
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) fn decode_request(path: &str, body: &Value) -> RequestView {
    RequestView {
        model: string(body, "model").or_else(|| route::model_in_path(path)),
        stream: lenient::is_set(body, "stream") || route::streams_raw_prediction(path),
        max_output_tokens: count(body, "/max_tokens"),
        system: content_parts(body.get("system")),
        messages: array(body, "messages").iter().map(decode_message).collect(),
        tools: array(body, "tools").iter().filter_map(tool_name).collect(),
        previous_response_id: None,
    }
}

/// A tool's name; its type where it has none.
fn tool_name(tool: &Value) -> Option<String> {
    string(tool, "name").or_else(|| string(tool, "type"))
}

/// Decodes one element of `messages`.
pub(super) fn decode_message(element: &Value) -> Message {
    Message {
        role: lenient::role(element).unwrap_or(Role::Other(String::new())),
        parts: content_parts(element.get("content")),
    }
}

fn content_parts(content: Option<&Value>) -> Vec<Part> {
    match content {
        Some(Value::String(text)) => vec![Part::Text { text: text.clone() }],
        Some(Value::Array(blocks)) => blocks.iter().map(content_part).collect(),
        _ => Vec::new(),
    }
}

fn content_part(block: &Value) -> Part {
    let kind = text(block, "type").unwrap_or_default();
    match (kind, block) {
        (_, Value::String(text)) => Part::Text { text: text.clone() },
        ("text", _) => Part::Text { text: string(block, "text").unwrap_or_default() },
        ("thinking", _) => Part::Reasoning { text: string(block, "thinking").unwrap_or_default() },
        ("redacted_thinking", _) => Part::Reasoning { text: String::new() },
        ("tool_use", _) => Part::ToolCall(tool_call(block)),
        ("tool_result", _) => Part::ToolResult {
            call_id: string(block, "tool_use_id"),
            name: None,
            content: block.get("content").cloned().unwrap_or(Value::Null),
            is_error: lenient::is_set(block, "is_error"),
        },
        _ => Part::Other { kind: kind.to_owned(), value: block.clone() },
    }
}

fn tool_call(block: &Value) -> ToolCall {
    ToolCall {
        id: string(block, "id"),
        name: string(block, "name").unwrap_or_default(),
        arguments: block.get("input").cloned().unwrap_or_else(lenient::no_arguments),
    }
}

/// Reads a message's envelope: in a whole answer and in `message_start`.
fn read_envelope(message: &Value, view: &mut ResponseView) {
    view.response_model = string(message, "model");
    view.response_id = string(message, "id");
    view.finish_reason = string(message, "stop_reason");
}

/// Reads a `usage` object. Writes that are not split by duration count as 5-minute writes.
fn read_usage(usage: &Value) -> TokenUsage {
    let uncached_input = count(usage, "/input_tokens");
    let cache_read = count(usage, "/cache_read_input_tokens");
    let split_5m = count(usage, "/cache_creation/ephemeral_5m_input_tokens");
    let split_1h = count(usage, "/cache_creation/ephemeral_1h_input_tokens");
    let written = count(usage, "/cache_creation_input_tokens").or(lenient::sum(&[split_5m, split_1h]));
    let output_total = count(usage, "/output_tokens");
    let reasoning = count(usage, "/output_tokens_details/thinking_tokens");
    TokenUsage {
        uncached_input,
        cache_read,
        cache_write_5m: written.map(|written| written.saturating_sub(split_1h.unwrap_or(0))),
        cache_write_1h: split_1h,
        output_visible: output_total.map(|total| total.saturating_sub(reasoning.unwrap_or(0))),
        reasoning,
        input_total: uncached_input.and(lenient::sum(&[uncached_input, cache_read, written])),
        output_total,
        raw: Some(usage.clone()),
    }
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
    usage: Map<String, Value>,
    calls: PartialCalls,
    ended: bool,
}

impl AnswerDecoder for Answer {
    fn decode_plain(body: &[u8]) -> Option<ResponseView> {
        plain_answer::read(body)
    }

    fn decode_whole(body: &Value) -> ResponseView {
        let mut answer = Self::default();
        answer.take_message(body);
        for (index, block) in (0..).zip(array(body, "content")) {
            answer.take_block(index, block);
        }
        answer.view.error = lenient::provider_error(body);
        ResponseView { truncated: false, ..answer.finish() }
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        if event.read().is_some_and(|delta| self.takes_plain(&delta, event.end)) {
            return;
        }
        if let Some(data) = event.json() {
            self.take_data(&data, event);
        }
    }

    fn finish(self) -> ResponseView {
        let mut view = self.view;
        if !self.usage.is_empty() {
            let usage = Value::Object(self.usage);
            view.service_tier = string(&usage, "service_tier");
            view.usage = read_usage(&usage);
        }
        view.tool_calls = self.calls.join();
        view.truncated = !self.ended;
        view
    }
}

/// The event that a stream is mostly made of: a piece of text, reasoning or arguments. It is read as the
/// general reader would read it.
#[derive(Debug, Deserialize)]
struct PlainDelta<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: DeltaContent<'a>,
}

#[derive(Debug, Deserialize)]
struct DeltaContent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Text<'a>>,
}

/// Whether an event of this type is the last.
fn ends_answer(kind: &str) -> bool {
    matches!(kind, "message_stop" | "error")
}

fn block_index(data: &Value) -> u64 {
    count(data, "/index").unwrap_or(0)
}

impl Answer {
    /// Takes an event that has one piece of output; tells whether this is one.
    fn takes_plain(&mut self, event: &PlainDelta<'_>, end: usize) -> bool {
        if event.kind.0 != "content_block_delta" {
            return false;
        }
        let delta = &event.delta;
        let output = match &*delta.kind.0 {
            "text_delta" => lenient::said(&delta.text).and_then(|piece| self.take_text(piece)),
            "thinking_delta" => lenient::said(&delta.thinking).and_then(|piece| self.take_reasoning(piece)),
            "input_json_delta" => {
                lenient::said(&delta.partial_json).map(|piece| self.take_arguments(event.index, piece))
            }
            _ => None,
        };
        self.note(output, end);
        true
    }

    fn take_data(&mut self, data: &Value, event: &StreamEvent<'_>) {
        let kind = event.kind(data);
        self.ended = self.ended || ends_answer(kind);
        match kind {
            "message_start" => self.take_message(data.get("message").unwrap_or(data)),
            "content_block_start" => {
                if let Some(block) = object(data, "content_block") {
                    let output = self.take_block(block_index(data), block);
                    self.note(output, event.end);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = object(data, "delta") {
                    let output = self.take_delta(block_index(data), delta);
                    self.note(output, event.end);
                }
            }
            "message_delta" => {
                let reason = object(data, "delta").and_then(|delta| string(delta, "stop_reason"));
                self.view.finish_reason = reason.or_else(|| self.view.finish_reason.take());
                self.overlay_usage(data);
            }
            "error" => {
                let error = lenient::provider_error(data).unwrap_or_else(|| lenient::error_object(data));
                self.view.error.get_or_insert(error);
            }
            _ => {}
        }
    }

    fn take_message(&mut self, message: &Value) {
        read_envelope(message, &mut self.view);
        self.overlay_usage(message);
    }

    /// Later figures replace earlier ones; they are never added.
    fn overlay_usage(&mut self, holder: &Value) {
        if let Some(Value::Object(later)) = holder.get("usage") {
            let stated = later.iter().filter(|(_, value)| !value.is_null());
            self.usage.extend(stated.map(|(key, value)| (key.clone(), value.clone())));
        }
    }

    /// Takes a block as it starts, or whole; gives the kind of output that it carries, if any.
    fn take_block(&mut self, index: u64, block: &Value) -> Option<Output> {
        match text(block, "type")? {
            "text" => self.take_text(text(block, "text")?),
            "thinking" => self.take_reasoning(text(block, "thinking")?),
            "tool_use" => {
                self.calls.begin(index, tool_call(block));
                Some(Output::ToolCall)
            }
            "server_tool_use" | "mcp_tool_use" => {
                self.view.server_tool_calls.push(string(block, "name").unwrap_or_default());
                Some(Output::ToolCall)
            }
            _ => None,
        }
    }

    fn take_delta(&mut self, index: u64, delta: &Value) -> Option<Output> {
        match text(delta, "type")? {
            "text_delta" => self.take_text(text(delta, "text")?),
            "thinking_delta" => self.take_reasoning(text(delta, "thinking")?),
            "input_json_delta" => Some(self.take_arguments(index, text(delta, "partial_json")?)),
            _ => None,
        }
    }

    fn take_text(&mut self, piece: &str) -> Option<Output> {
        self.view.text.push_str(piece);
        Some(Output::Content)
    }

    fn take_arguments(&mut self, index: u64, piece: &str) -> Output {
        self.calls.add_arguments(index, piece);
        Output::ToolCall
    }

    fn take_reasoning(&mut self, piece: &str) -> Option<Output> {
        self.view.reasoning.push_str(piece);
        Some(Output::Reasoning)
    }

    fn note(&mut self, output: Option<Output>, end: usize) {
        if let Some(output) = output {
            self.view.milestones.saw(output, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_events::{any_object, stream};
    use super::super::{Milestones, Wire};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn answer(body: &str) -> ResponseView {
        Wire::AnthropicMessages.decode_response(200, None, body.as_bytes())
    }

    fn events() -> Vec<Value> {
        let start = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
        let delta =
            |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        vec![
            json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "content": [], "usage": {
                "input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
                "output_tokens": 1, "service_tier": "standard"}}}),
            start(0, json!({"type": "thinking", "thinking": ""})),
            delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(0, json!({"type": "signature_delta", "signature": "s"})),
            start(1, json!({"type": "text", "text": ""})),
            json!({"type": "ping"}),
            delta(1, json!({"type": "text_delta", "text": "Hello"})),
            start(2, json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}})),
            delta(2, json!({"type": "input_json_delta", "partial_json": "{\"x\":"})),
            delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
            start(3, json!({"type": "tool_use", "id": "t2", "name": "g", "input": {}})),
            delta(3, json!({"type": "input_json_delta", "partial_json": ""})),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"},
                "usage": {"output_tokens": 42, "input_tokens": null}}),
            json!({"type": "message_stop"}),
        ]
    }

    #[test]
    fn a_stream_with_everything() {
        let (body, ends) = stream(&events());
        let view = answer(&body);
        assert!(view.stream && !view.truncated);
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("Hello", "hm"));
        assert_eq!(view.finish_reason.as_deref(), Some("tool_use"));
        assert_eq!(view.service_tier.as_deref(), Some("standard"));
        let call =
            |id: &str, name: &str, arguments| ToolCall { id: Some(id.into()), name: name.into(), arguments };
        assert_eq!(view.tool_calls, [call("t1", "f", json!({"x": 1})), call("t2", "g", json!({}))]);
        assert_eq!(
            view.milestones,
            Milestones {
                first_event: Some(ends[0]),
                first_reasoning: Some(ends[2]),
                first_content: Some(ends[6]),
                first_tool_call: Some(ends[7]),
                last_output: Some(ends[10]),
            }
        );
        let usage = view.usage;
        assert_eq!((usage.uncached_input, usage.cache_read), (Some(10), Some(200)));
        assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (Some(20), Some(10)));
        assert_eq!((usage.input_total, usage.output_total, usage.reasoning), (Some(240), Some(42), None));
        assert_eq!(usage.raw.unwrap()["input_tokens"], 10);
    }

    #[test]
    fn a_stream_cut_short_keeps_what_came() {
        let (body, ends) = stream(&events());
        let view = answer(&body[..ends[8]]);
        assert!(view.truncated);
        assert_eq!(view.tool_calls[0].arguments, json!("{\"x\":"));
        assert_eq!((view.finish_reason, view.usage.output_total), (None, Some(1)));
    }

    #[test]
    fn an_error_after_200() {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        let mut events = events();
        events.truncate(7);
        events.push(error.clone());
        let view = answer(&stream(&events).0);
        assert_eq!((view.text.as_str(), view.truncated), ("Hello", false));
        assert_eq!(view.error.unwrap().kind.as_deref(), Some("overloaded_error"));
        let whole = Wire::AnthropicMessages.decode_response(529, None, error.to_string().as_bytes());
        assert_eq!(whole.error.unwrap().message.as_deref(), Some("Overloaded"));
    }

    #[test]
    fn whole_answers() {
        let body = json!({"id": "m", "model": "claude", "type": "message", "stop_reason": "end_turn", "content": [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "usage": {"input_tokens": 5, "cache_creation_input_tokens": 7, "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 4}}});
        let view = answer(&body.to_string());
        assert_eq!((view.text.as_str(), view.truncated, view.stream), ("ab", false, false));
        assert_eq!(view.server_tool_calls, ["web_search"]);
        assert_eq!(view.milestones, Milestones::default());
        let usage = view.usage;
        assert_eq!((usage.input_total, usage.cache_read, usage.cache_write_5m), (Some(12), None, Some(7)));
        assert_eq!((usage.output_visible, usage.reasoning), (Some(5), Some(4)));
    }

    #[test]
    fn requests() {
        let body = json!({"model": "claude", "max_tokens": 5, "stream": true, "tools": [{"name": "f"}],
            "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}], "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "no", "is_error": true},
                {"type": "image", "source": {}}]}]});
        let view = decode_request("/v1/messages", &body);
        assert_eq!(
            (view.system, view.tools),
            (vec![Part::Text { text: "be brief".into() }], vec!["f".to_owned()])
        );
        let call = ToolCall { id: Some("t".into()), name: "f".into(), arguments: json!({"x": 1}) };
        let result =
            Part::ToolResult { call_id: Some("t".into()), name: None, content: json!("no"), is_error: true };
        let image = Part::Other { kind: "image".into(), value: json!({"type": "image", "source": {}}) };
        assert_eq!(
            view.messages,
            [
                Message { role: Role::User, parts: vec![Part::Text { text: "hi".into() }] },
                Message {
                    role: Role::Assistant,
                    parts: vec![Part::Reasoning { text: String::new() }, Part::ToolCall(call)]
                },
                Message { role: Role::User, parts: vec![result, image] },
            ]
        );
    }

    fn any_whole() -> impl Strategy<Value = Value> {
        let block = any_object(&[("type", json!("text")), ("text", json!("t")), ("citations", Value::Null)]);
        let envelope = any_object(&[
            ("id", json!("i")),
            ("model", json!("m")),
            ("stop_reason", json!("end_turn")),
            (
                "usage",
                json!({"input_tokens": 3, "output_tokens": 4, "service_tier": "s", "cache_creation": null}),
            ),
            ("error", Value::Null),
        ]);
        (envelope, proptest::collection::vec(block, 0..4)).prop_map(|(mut whole, blocks)| {
            whole["content"] = json!(blocks);
            whole
        })
    }

    #[test]
    fn an_ordinary_answer_is_plain() {
        let body = json!({"id": "i", "type": "message", "role": "assistant", "model": "m", "stop_sequence": null,
            "content": [{"type": "text", "text": "t"}], "stop_reason": "end_turn", "usage": {"input_tokens": 1}});
        assert!(plain_answer::read(body.to_string().as_bytes()).is_some());
    }

    fn any_event() -> impl Strategy<Value = Value> {
        let kinds =
            ["content_block_delta", "content_block_delta", "content_block_start", "message_delta", "error"];
        let delta = any_object(&[
            ("text", json!("t")),
            ("thinking", json!("r")),
            ("partial_json", json!("{")),
            ("stop_reason", json!("end_turn")),
        ]);
        let deltas = ["text_delta", "thinking_delta", "input_json_delta", "signature_delta"];
        let block = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
        let event = any_object(&[
            ("index", json!(1)),
            ("content_block", block),
            ("usage", json!({"output_tokens": 1})),
        ]);
        (event, delta, proptest::sample::select(kinds.to_vec()), proptest::sample::select(deltas.to_vec()))
            .prop_map(|(mut event, mut delta, kind, delta_kind)| {
                delta["type"] = json!(delta_kind);
                event["delta"] = delta;
                event["type"] = json!(kind);
                event
            })
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
        fn plain_events_are_read_as_all_others_are(events in proptest::collection::vec(any_event(), 1..6)) {
            let (mut either, mut general) = (Answer::default(), Answer::default());
            for (end, data) in events.iter().enumerate() {
                let event = StreamEvent { name: None, data: &data.to_string(), end };
                either.take_event(&event);
                general.take_data(data, &event);
            }
            prop_assert_eq!(either.finish(), general.finish());
        }
    }
}
