//! Bedrock Converse and ConverseStream, and the models behind InvokeModel that speak the same (Nova).
//!
//! The path names the model and says whether the answer streams. A part of a message has no type: the field
//! that holds its content names it. Cache points are marks between parts and no parts. A stream's events are
//! named; where their frames are gone, each is an object with its name as only key. Cached tokens stand
//! beside the input count, unless the stated total shows that they are in it; reasoning is not split.

use super::lenient::{self, array, count, object, string, text};
use super::partial_calls::PartialCalls;
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::route;
use super::{Message, Part, RequestView, ResponseView, Role, ToolCall};
use crate::usage::TokenUsage;
use serde_json::Value;

pub(super) fn decode_request(path: &str, body: &Value) -> RequestView {
    let limits = ["/inferenceConfig/maxTokens", "/inferenceConfig/max_new_tokens"];
    let tools = body.get("toolConfig").map_or(&[][..], |config| array(config, "tools"));
    RequestView {
        model: route::model_in_path(path).or_else(|| string(body, "modelId")),
        stream: route::streams_from_bedrock(path),
        max_output_tokens: limits.iter().find_map(|pointer| count(body, pointer)),
        system: array(body, "system").iter().filter_map(decode_part).collect(),
        messages: array(body, "messages").iter().map(decode_message).collect(),
        tools: tools.iter().filter_map(tool_name).collect(),
        previous_response_id: None,
    }
}

/// A tool's name; nothing for a cache point among the tools.
fn tool_name(tool: &Value) -> Option<String> {
    ["toolSpec", "systemTool"].iter().find_map(|key| string(object(tool, key)?, "name"))
}

/// Decodes one element of `messages`.
pub(super) fn decode_message(element: &Value) -> Message {
    let parts = match element.get("content") {
        Some(Value::String(text)) => vec![Part::Text { text: text.clone() }],
        _ => array(element, "content").iter().filter_map(decode_part).collect(),
    };
    Message { role: lenient::role(element).unwrap_or(Role::Other(String::new())), parts }
}

/// One part of a message; `None` for a cache point.
fn decode_part(part: &Value) -> Option<Part> {
    if let Some(Value::String(text)) = part.get("text") {
        return Some(Part::Text { text: text.clone() });
    }
    let (key, content) = part.as_object()?.iter().next()?;
    Some(match key.as_str() {
        "cachePoint" => return None,
        "toolUse" if !runs_on_server(content) => Part::ToolCall(tool_call(content)),
        "toolResult" => Part::ToolResult {
            call_id: string(content, "toolUseId"),
            name: None,
            content: content.get("content").cloned().unwrap_or(Value::Null),
            is_error: text(content, "status") == Some("error"),
        },
        "reasoningContent" => {
            Part::Reasoning { text: reasoning_text(content).unwrap_or_default().to_owned() }
        }
        "citationsContent" => Part::Text { text: cited_text(content) },
        _ => Part::Other { kind: key.clone(), value: part.clone() },
    })
}

fn tool_call(call: &Value) -> ToolCall {
    ToolCall {
        id: string(call, "toolUseId"),
        name: string(call, "name").unwrap_or_default(),
        arguments: call.get("input").cloned().unwrap_or_else(lenient::no_arguments),
    }
}

fn runs_on_server(call: &Value) -> bool {
    text(call, "type") == Some("server_tool_use")
}

/// Reasoning in the open: whole under `reasoningText`, in a delta directly.
fn reasoning_text(content: &Value) -> Option<&str> {
    object(content, "reasoningText").and_then(|whole| text(whole, "text")).or_else(|| text(content, "text"))
}

/// Generated text that comes with its citations.
fn cited_text(content: &Value) -> String {
    array(content, "content").iter().filter_map(|piece| text(piece, "text")).collect()
}

fn read_usage(usage: &Value) -> TokenUsage {
    let either = |a: &str, b: &str| count(usage, a).or_else(|| count(usage, b));
    let input = count(usage, "/inputTokens");
    let output_total = count(usage, "/outputTokens");
    let cache_read = either("/cacheReadInputTokens", "/cacheReadInputTokenCount");
    let cache_write = either("/cacheWriteInputTokens", "/cacheWriteInputTokenCount");
    let cached = lenient::sum(&[cache_read, cache_write]).unwrap_or(0);
    let total = count(usage, "/totalTokens");
    let is_inside = cached > 0 && total.is_some() && total == lenient::sum(&[input, output_total]);
    let beside = if is_inside { 0 } else { cached };
    TokenUsage {
        uncached_input: input.map(|input| input.saturating_sub(cached - beside)),
        cache_read,
        cache_write_5m: cache_write,
        cache_write_1h: None,
        output_visible: output_total,
        reasoning: None,
        input_total: input.map(|input| input.saturating_add(beside)),
        output_total,
        raw: Some(usage.clone()),
    }
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
        answer.view.error = lenient::provider_error(body);
        answer.view.finish_reason = string(body, "stopReason");
        answer.take_envelope(body);
        let message = body.pointer("/output/message");
        for part in message.map_or(&[][..], |message| array(message, "content")) {
            answer.take_part(part);
        }
        ResponseView { truncated: false, ..answer.finish() }
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(data) = &event.json() else { return };
        let Some((name, content)) = named_event(event.name, data) else { return };
        if let Some(output) = self.take_named(name, content) {
            self.view.milestones.saw(output, event.end);
        }
    }

    fn finish(self) -> ResponseView {
        let mut view = self.view;
        view.tool_calls = self.calls.join();
        view.truncated = !self.ended;
        view
    }
}

/// An event's name and content: as its frame says, else as its only key does.
fn named_event<'a>(name: Option<&'a str>, data: &'a Value) -> Option<(&'a str, &'a Value)> {
    match (name, data) {
        (Some(name), _) => Some((name, data)),
        (None, Value::Object(fields)) => fields
            .iter()
            .find(|(_, content)| content.is_object())
            .map(|(name, content)| (name.as_str(), content)),
        _ => None,
    }
}

impl Answer {
    fn take_named(&mut self, name: &str, content: &Value) -> Option<Output> {
        let index = count(content, "/contentBlockIndex").unwrap_or(0);
        match name {
            "contentBlockStart" => self.begin_call(index, object(object(content, "start")?, "toolUse")?),
            "contentBlockDelta" => self.take_delta(index, object(content, "delta")?),
            "messageStop" => {
                self.ended = true;
                self.view.finish_reason = string(content, "stopReason");
                None
            }
            "metadata" => {
                self.take_envelope(content);
                None
            }
            // Where frames are gone, exceptions are events under their own names.
            _ if name.ends_with("Exception") => {
                let message = string(content, "message");
                self.view.error = Some(super::ProviderError { kind: Some(name.to_owned()), message });
                None
            }
            _ => None,
        }
    }

    fn take_envelope(&mut self, holder: &Value) {
        if let Some(usage) = object(holder, "usage") {
            self.view.usage = read_usage(usage);
        }
        self.view.service_tier = object(holder, "serviceTier").and_then(|tier| string(tier, "type"));
    }

    /// Takes a part of a whole answer.
    fn take_part(&mut self, part: &Value) {
        match decode_part(part) {
            Some(Part::Text { text }) => self.view.text.push_str(&text),
            Some(Part::Reasoning { text }) => self.view.reasoning.push_str(&text),
            _ => {
                object(part, "toolUse").and_then(|call| self.begin_call(0, call));
            }
        }
    }

    fn begin_call(&mut self, index: u64, call: &Value) -> Option<Output> {
        match runs_on_server(call) {
            true => self.view.server_tool_calls.push(string(call, "name").unwrap_or_default()),
            false => self.calls.begin(index, tool_call(call)),
        }
        Some(Output::ToolCall)
    }

    fn take_delta(&mut self, index: u64, delta: &Value) -> Option<Output> {
        if let Some(piece) = text(delta, "text") {
            self.view.text.push_str(piece);
            return Some(Output::Content);
        }
        if let Some(reasoning) = object(delta, "reasoningContent") {
            self.view.reasoning.push_str(reasoning_text(reasoning)?);
            return Some(Output::Reasoning);
        }
        self.calls.add_arguments(index, text(object(delta, "toolUse")?, "input")?);
        Some(Output::ToolCall)
    }
}

#[cfg(test)]
mod tests {
    use super::super::aws_event_stream::frame;
    use super::super::{Milestones, ProviderError, Wire};
    use super::*;
    use serde_json::json;

    fn answer(body: &[u8]) -> ResponseView {
        Wire::BedrockConverse.decode_response(200, None, body)
    }

    fn event(name: &str, content: &Value) -> Vec<u8> {
        frame(&[(":event-type", name), (":message-type", "event")], content.to_string().as_bytes())
    }

    fn events() -> Vec<(&'static str, Value)> {
        let delta =
            |index: u64, delta: Value| json!({"contentBlockIndex": index, "delta": delta, "p": "abc"});
        let start = |index: u64, call: Value| json!({"contentBlockIndex": index, "start": {"toolUse": call}});
        vec![
            ("messageStart", json!({"role": "assistant"})),
            ("contentBlockDelta", delta(0, json!({"reasoningContent": {"text": "hm"}}))),
            ("contentBlockDelta", delta(0, json!({"reasoningContent": {"signature": "s"}}))),
            ("contentBlockDelta", delta(1, json!({"text": "Hello"}))),
            ("contentBlockStop", json!({"contentBlockIndex": 1})),
            (
                "contentBlockStart",
                start(2, json!({"toolUseId": "s", "name": "run", "type": "server_tool_use"})),
            ),
            ("contentBlockDelta", delta(2, json!({"toolUse": {"input": "{\"code\":1}"}}))),
            ("contentBlockStart", start(3, json!({"toolUseId": "t", "name": "f"}))),
            ("contentBlockDelta", delta(3, json!({"toolUse": {"input": "{\"x\":"}}))),
            ("contentBlockDelta", delta(3, json!({"toolUse": {"input": "1}"}}))),
            ("messageStop", json!({"stopReason": "tool_use"})),
            (
                "metadata",
                json!({"usage": {"inputTokens": 10, "outputTokens": 20, "totalTokens": 130,
                "cacheReadInputTokens": 60, "cacheWriteInputTokens": 40}, "metrics": {"latencyMs": 5}}),
            ),
        ]
    }

    fn framed(events: &[(&str, Value)]) -> Vec<u8> {
        events.iter().flat_map(|(name, content)| event(name, content)).collect()
    }

    #[test]
    fn a_stream_with_everything() {
        let body = framed(&events());
        let view = answer(&body);
        assert!(view.stream && !view.truncated);
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("Hello", "hm"));
        assert_eq!(view.finish_reason.as_deref(), Some("tool_use"));
        let call = ToolCall { id: Some("t".into()), name: "f".into(), arguments: json!({"x": 1}) };
        assert_eq!((view.tool_calls, view.server_tool_calls), (vec![call], vec!["run".to_owned()]));
        let usage = view.usage;
        assert_eq!(
            (usage.uncached_input, usage.cache_read, usage.cache_write_5m),
            (Some(10), Some(60), Some(40))
        );
        assert_eq!((usage.input_total, usage.output_total), (Some(110), Some(20)));
        let ends = |n: usize| Some(framed(&events()[..n]).len());
        assert_eq!(
            view.milestones,
            Milestones {
                first_event: ends(1),
                first_reasoning: ends(2),
                first_content: ends(4),
                first_tool_call: ends(6),
                last_output: ends(10),
            }
        );
        let cut = answer(&body[..ends(9).unwrap() + 30]);
        assert_eq!((cut.truncated, cut.tool_calls[0].arguments.clone()), (true, json!("{\"x\":")));
    }

    #[test]
    fn events_without_their_frames() {
        let named: Vec<Value> = events().into_iter().map(|(name, content)| json!({name: content})).collect();
        let view = answer(Value::from(named).to_string().as_bytes());
        assert_eq!((view.text.as_str(), view.tool_calls.len(), view.truncated), ("Hello", 1, false));
        assert_eq!(view.usage.input_total, Some(110));
    }

    #[test]
    fn exceptions_inside_a_stream() {
        let headers = [(":exception-type", "throttlingException"), (":message-type", "exception")];
        let mut body = framed(&events()[..4]);
        body.extend(frame(&headers, b"{\"message\":\"slow down\"}"));
        let view = answer(&body);
        let error =
            ProviderError { kind: Some("throttlingException".into()), message: Some("slow down".into()) };
        assert_eq!((view.error, view.truncated, view.text.as_str()), (Some(error), false, "Hello"));
        let headers = [(":message-type", "error"), (":error-code", "Internal"), (":error-message", "broke")];
        let error = answer(&frame(&headers, b"")).error.unwrap();
        assert_eq!((error.kind.as_deref(), error.message.as_deref()), (Some("Internal"), Some("broke")));
    }

    #[test]
    fn whole_answers() {
        let body = json!({"output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            {"text": "a"}, {"citationsContent": {"content": [{"text": "b"}], "citations": []}},
            {"toolUse": {"toolUseId": "t", "name": "f", "input": {"x": 1}}},
            {"toolUse": {"toolUseId": "u", "name": "g", "input": {}}}]}}, "stopReason": "tool_use",
            "usage": {"inputTokens": 110, "outputTokens": 20, "totalTokens": 130, "cacheReadInputTokenCount": 60},
            "serviceTier": {"type": "priority"}});
        let view = answer(body.to_string().as_bytes());
        assert_eq!((view.text.as_str(), view.reasoning.as_str(), view.stream), ("ab", "hm", false));
        let names: Vec<_> =
            view.tool_calls.iter().map(|c| (c.name.as_str(), c.arguments.to_string())).collect();
        assert_eq!(names, [("f", "{\"x\":1}".to_owned()), ("g", "{}".to_owned())]);
        assert_eq!(view.service_tier.as_deref(), Some("priority"));
        // Here the total shows that the cached tokens are inside.
        assert_eq!((view.usage.input_total, view.usage.uncached_input), (Some(110), Some(50)));
        let refused = Wire::BedrockConverse.decode_response(400, None, b"{\"message\":\"no such model\"}");
        assert_eq!(refused.error.unwrap().message.as_deref(), Some("no such model"));
    }

    #[test]
    fn requests() {
        let body = json!({"inferenceConfig": {"maxTokens": 9}, "system": [{"text": "s"}, {"cachePoint": {"type": "default"}}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"systemTool": {"name": "nova_grounding"}}, {"cachePoint": {}}]},
            "messages": [{"role": "user", "content": [{"text": "u"}, {"image": {"format": "png"}}, {"cachePoint": {"type": "default"}}]},
                {"role": "assistant", "content": [{"reasoningContent": {"redactedContent": "x"}},
                    {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "no"}], "status": "error"}}]}]});
        let view = decode_request("/model/us.amazon.nova-micro-v1%3A0/converse-stream", &body);
        assert_eq!(view.model.as_deref(), Some("us.amazon.nova-micro-v1:0"));
        assert_eq!((view.stream, view.max_output_tokens), (true, Some(9)));
        assert_eq!((view.system.len(), view.tools), (1, vec!["f".to_owned(), "nova_grounding".to_owned()]));
        assert_eq!(view.messages[0].parts.len(), 2, "a cache point is no part");
        assert_eq!(view.messages[1].parts[0], Part::Reasoning { text: String::new() });
        let result = Part::ToolResult {
            call_id: Some("t".into()),
            name: None,
            content: json!([{"text": "no"}]),
            is_error: true,
        };
        assert_eq!(view.messages[2].parts, [result]);
    }
}
