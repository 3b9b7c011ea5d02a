//! Cohere chat, version 2.
//!
//! Requests are near to OpenAI's chat; an assistant may also have a `tool_plan`, which is reasoning. Answers
//! hold one message. A stream is server-sent events named by their `type`; a tool call begins once and then
//! gives pieces of its arguments. Usage has `tokens`, what the model saw, and `billed_units`, what is paid
//! for; the former are counted here, the latter only where they stand alone.

use super::lenient::{self, array, count, object, string, text};
use super::openai_chat;
use super::partial_calls::PartialCalls;
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::{Message, Part, ProviderError, RequestView, ResponseView};
use crate::usage::TokenUsage;
use serde_json::Value;

pub(super) fn decode_request(body: &Value) -> RequestView {
    RequestView {
        model: string(body, "model"),
        stream: lenient::is_set(body, "stream"),
        max_output_tokens: count(body, "/max_tokens"),
        messages: array(body, "messages").iter().map(decode_message).collect(),
        tools: array(body, "tools").iter().filter_map(openai_chat::tool_name).collect(),
        ..RequestView::default()
    }
}

/// Decodes one element of `messages`.
pub(super) fn decode_message(element: &Value) -> Message {
    let mut message = openai_chat::decode_message(element);
    if let Some(text) = string(element, "tool_plan") {
        message.parts.insert(0, Part::Reasoning { text });
    }
    message
}

/// Reads a `usage` or (in version 1) `meta` object.
pub(super) fn read_usage(usage: &Value) -> TokenUsage {
    let either = |key: &str| {
        count(usage, &format!("/tokens/{key}")).or_else(|| count(usage, &format!("/billed_units/{key}")))
    };
    let (input_total, output_total) = (either("input_tokens"), either("output_tokens"));
    let cache_read = count(usage, "/cached_tokens");
    TokenUsage {
        uncached_input: input_total.map(|total| total.saturating_sub(cache_read.unwrap_or(0))),
        cache_read,
        output_visible: output_total,
        input_total,
        output_total,
        raw: Some(usage.clone()),
        ..TokenUsage::default()
    }
}

/// The error that a finish reason tells of, inside an answer of status 200.
pub(super) fn error_of_finish(reason: Option<&str>, message: Option<&str>) -> Option<ProviderError> {
    let kind = reason.filter(|reason| matches!(*reason, "ERROR" | "TIMEOUT"))?;
    Some(ProviderError { kind: Some(kind.to_owned()), message: message.map(str::to_owned) })
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
    calls: PartialCalls,
    ended: bool,
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut answer = Self::default();
        answer.view.response_id = string(body, "id");
        answer.view.error = lenient::provider_error(body);
        answer.take_end(body);
        if let Some(message) = object(body, "message") {
            answer.take_plan(message);
            for part in array(message, "content") {
                answer.take_content(part);
            }
            answer.view.tool_calls =
                array(message, "tool_calls").iter().map(openai_chat::tool_call).collect();
        }
        answer.view
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(data) = &event.json() else { return };
        let delta = object(data, "delta");
        let message = delta.and_then(|delta| object(delta, "message"));
        let index = count(data, "/index").unwrap_or(0);
        self.view.error = self.view.error.take().or_else(|| lenient::provider_error(data));
        let output = match event.kind(data) {
            "message-start" => {
                self.view.response_id = string(data, "id");
                None
            }
            "content-start" | "content-delta" => {
                message.and_then(|message| self.take_content(message.get("content")?))
            }
            "tool-plan-delta" => message.and_then(|message| self.take_plan(message)),
            "tool-call-start" => message.and_then(|message| self.begin_call(index, message)),
            "tool-call-delta" => message.and_then(|message| self.continue_call(index, message)),
            "message-end" => {
                self.ended = true;
                self.take_end(delta.unwrap_or(data));
                None
            }
            _ => None,
        };
        if let Some(output) = output {
            self.view.milestones.saw(output, event.end);
        }
    }

    fn finish(self) -> ResponseView {
        ResponseView { tool_calls: self.calls.join(), truncated: !self.ended, ..self.view }
    }
}

impl Answer {
    /// Reads how an answer ended: the same in a whole answer and in the last event's delta.
    fn take_end(&mut self, holder: &Value) {
        self.view.finish_reason = string(holder, "finish_reason");
        if let Some(usage) = object(holder, "usage") {
            self.view.usage = read_usage(usage);
        }
        let error = error_of_finish(text(holder, "finish_reason"), text(holder, "error"));
        self.view.error = self.view.error.take().or(error);
    }

    fn take_plan(&mut self, message: &Value) -> Option<Output> {
        self.view.reasoning.push_str(text(message, "tool_plan")?);
        Some(Output::Reasoning)
    }

    /// Takes a part of the content, whole or a piece.
    fn take_content(&mut self, part: &Value) -> Option<Output> {
        if let Some(piece) = text(part, "thinking") {
            self.view.reasoning.push_str(piece);
            return Some(Output::Reasoning);
        }
        self.view.text.push_str(text(part, "text")?);
        Some(Output::Content)
    }

    fn begin_call(&mut self, index: u64, message: &Value) -> Option<Output> {
        let call = one_call(message)?;
        // Its arguments, if any came yet, are the first piece of their text.
        let begun = lenient::no_arguments();
        self.calls.begin(index, super::ToolCall { arguments: begun, ..openai_chat::tool_call(call) });
        self.continue_call(index, message);
        Some(Output::ToolCall)
    }

    fn continue_call(&mut self, index: u64, message: &Value) -> Option<Output> {
        let function = object(one_call(message)?, "function")?;
        self.calls.add_arguments(index, text(function, "arguments")?);
        Some(Output::ToolCall)
    }
}

/// The call that an event is about: `tool_calls` is one there, or a list of one.
fn one_call(message: &Value) -> Option<&Value> {
    match message.get("tool_calls")? {
        Value::Array(calls) => calls.first(),
        call => Some(call),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Milestones, Role, ToolCall, Wire};
    use super::*;
    use serde_json::json;

    fn answer(body: &str) -> ResponseView {
        Wire::CohereChatV2.decode_response(200, None, body.as_bytes())
    }

    /// A stream of events named by their type, and where each ends.
    fn stream(events: &[Value]) -> (String, Vec<usize>) {
        let mut body = String::new();
        let ends = events.iter().map(|event| {
            body += &format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
            body.len()
        });
        let ends = ends.collect();
        (body, ends)
    }

    fn said(kind: &str, index: u64, message: Value) -> Value {
        json!({"type": kind, "index": index, "delta": {"message": message}})
    }

    fn events() -> Vec<Value> {
        vec![
            json!({"type": "message-start", "id": "r1", "delta": {"message": {"role": "assistant", "content": []}}}),
            said("tool-plan-delta", 0, json!({"tool_plan": "I will look."})),
            said(
                "tool-call-start",
                0,
                json!({"tool_calls": {"id": "c1", "type": "function",
                "function": {"name": "f", "arguments": ""}}}),
            ),
            said("tool-call-delta", 0, json!({"tool_calls": {"function": {"arguments": "{\"x\":"}}})),
            said("tool-call-delta", 0, json!({"tool_calls": {"function": {"arguments": "1}"}}})),
            json!({"type": "tool-call-end", "index": 0}),
            said("tool-call-start", 1, json!({"tool_calls": {"id": "c2", "function": {"name": "g"}}})),
            said("content-start", 0, json!({"content": {"type": "text", "text": ""}})),
            said("content-delta", 0, json!({"content": {"text": "Hello"}})),
            json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {
                "billed_units": {"input_tokens": 5, "output_tokens": 6},
                "tokens": {"input_tokens": 100, "output_tokens": 20}, "cached_tokens": 64}}}),
        ]
    }

    #[test]
    fn a_stream_with_everything() {
        let (body, ends) = stream(&events());
        let view = answer(&body);
        assert!(view.stream && !view.truncated);
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("Hello", "I will look."));
        assert_eq!(
            (view.response_id.as_deref(), view.finish_reason.as_deref()),
            (Some("r1"), Some("TOOL_CALL"))
        );
        let call =
            |id: &str, name: &str, arguments| ToolCall { id: Some(id.into()), name: name.into(), arguments };
        assert_eq!(view.tool_calls, [call("c1", "f", json!({"x": 1})), call("c2", "g", json!({}))]);
        assert_eq!(
            view.milestones,
            Milestones {
                first_event: Some(ends[0]),
                first_reasoning: Some(ends[1]),
                first_content: Some(ends[8]),
                first_tool_call: Some(ends[2]),
                last_output: Some(ends[8]),
            }
        );
        let usage = view.usage;
        assert_eq!(
            (usage.input_total, usage.cache_read, usage.uncached_input),
            (Some(100), Some(64), Some(36))
        );
        assert_eq!((usage.output_total, usage.reasoning), (Some(20), None));
        let cut = answer(&body[..ends[3]]);
        assert_eq!((cut.truncated, cut.tool_calls[0].arguments.clone()), (true, json!("{\"x\":")));
    }

    #[test]
    fn whole_answers() {
        let body = json!({"id": "r", "finish_reason": "COMPLETE", "message": {"role": "assistant",
            "tool_plan": "plan ", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"},
                {"type": "text", "text": "b"}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            "usage": {"billed_units": {"input_tokens": 5, "output_tokens": 6}}});
        let view = answer(&body.to_string());
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("ab", "plan hm"));
        assert_eq!(view.tool_calls[0].arguments, json!({"x": 1}));
        assert_eq!(
            (view.usage.input_total, view.usage.output_total),
            (Some(5), Some(6)),
            "billed stands alone"
        );
        assert_eq!((view.stream, view.error), (false, None));
    }

    #[test]
    fn errors_by_status_and_inside_a_stream() {
        let refused = Wire::CohereChatV2.decode_response(401, None, b"{\"message\":\"invalid api token\"}");
        assert_eq!(refused.error.unwrap().message.as_deref(), Some("invalid api token"));
        let mut events = events();
        events.pop();
        events.push(json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "broke"}}));
        let error = answer(&stream(&events).0).error.unwrap();
        assert_eq!((error.kind.as_deref(), error.message.as_deref()), (Some("ERROR"), Some("broke")));
    }

    #[test]
    fn requests() {
        let body = json!({"model": "m", "stream": true, "max_tokens": 3, "tools": [{"function": {"name": "f"}}], "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_plan": "plan", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "document", "document": {"data": "d"}}]}]});
        let view = decode_request(&body);
        assert_eq!((view.stream, view.max_output_tokens, view.tools), (true, Some(3), vec!["f".to_owned()]));
        let call = ToolCall { id: Some("c".into()), name: "f".into(), arguments: json!({}) };
        assert_eq!(view.messages[1].parts, [Part::Reasoning { text: "plan".into() }, Part::ToolCall(call)]);
        assert_eq!(view.messages[2].role, Role::Tool);
        assert!(
            matches!(&view.messages[2].parts[0], Part::ToolResult { call_id: Some(id), .. } if id == "c")
        );
    }
}
