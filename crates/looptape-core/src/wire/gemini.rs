//! Gemini `generateContent`, at Google AI and at Vertex.
//!
//! The model and whether the answer streams are in the path. `contents` hold parts: text, thoughts (text
//! marked as such), function calls and their responses. A stream is a row of whole answers, as events or
//! as the elements of a JSON array; their parts follow each other, and the last usage counts. Thoughts are
//! counted beside the answer's tokens, a tool's prompt beside the prompt. Enumerations may come as numbers.
//! Fields may be written in camel or in snake case. Google's own command-line client wraps both sides in
//! an envelope (`request`, `response`), which is taken off.

use super::lenient::{self, array, count, object, string};
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::route;
use super::{Message, Part, RequestView, ResponseView, Role, ToolCall};
use crate::usage::TokenUsage;
use serde_json::Value;

/// A field under its camel-case name, else under its snake-case name.
pub(super) fn either<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake))
}

pub(super) fn decode_request(path: &str, body: &Value) -> RequestView {
    // A model that the body repeats is as the client wrote it: `models/NAME`.
    let model = string(body, "model").or_else(|| route::model_in_path(path));
    let body = object(body, "request").unwrap_or(body);
    let limits = ["/generationConfig/maxOutputTokens", "/generation_config/max_output_tokens"];
    RequestView {
        model,
        stream: route::streams_content(path),
        max_output_tokens: limits.iter().find_map(|pointer| count(body, pointer)),
        system: either(body, "systemInstruction", "system_instruction").map(parts_of).unwrap_or_default(),
        messages: match body.get("contents") {
            Some(content @ Value::Object(_)) => vec![decode_message(content)],
            _ => array(body, "contents").iter().map(decode_message).collect(),
        },
        tools: array(body, "tools").iter().flat_map(tool_names).collect(),
        previous_response_id: None,
    }
}

/// The functions that an entry of `tools` declares; the entry's own name where it is one of Google's.
fn tool_names(tool: &Value) -> Vec<String> {
    let Value::Object(fields) = tool else { return Vec::new() };
    let names = |(key, value): (&String, &Value)| match (key.as_str(), value) {
        ("functionDeclarations" | "function_declarations", Value::Array(functions)) => {
            functions.iter().filter_map(|function| string(function, "name")).collect()
        }
        _ => vec![key.clone()],
    };
    fields.iter().flat_map(names).collect()
}

/// Decodes one element of `contents`.
pub(super) fn decode_message(element: &Value) -> Message {
    Message { role: lenient::role(element).unwrap_or(Role::User), parts: parts_of(element) }
}

/// The parts of a content; a bare text stands for one.
fn parts_of(content: &Value) -> Vec<Part> {
    match (content, content.get("parts")) {
        (Value::String(text), _) => vec![Part::Text { text: text.clone() }],
        (_, Some(part @ Value::Object(_))) => vec![decode_part(part)],
        _ => array(content, "parts").iter().map(decode_part).collect(),
    }
}

fn decode_part(part: &Value) -> Part {
    if let Some(Value::String(text)) = part.get("text") {
        let text = text.clone();
        return if lenient::is_set(part, "thought") { Part::Reasoning { text } } else { Part::Text { text } };
    }
    if let Some(call) = either(part, "functionCall", "function_call") {
        return Part::ToolCall(tool_call(call));
    }
    if let Some(response) = either(part, "functionResponse", "function_response") {
        return tool_result(response);
    }
    Part::Other { kind: part_kind(part), value: part.clone() }
}

fn tool_call(call: &Value) -> ToolCall {
    ToolCall {
        id: string(call, "id"),
        name: string(call, "name").unwrap_or_default(),
        arguments: call.get("args").cloned().unwrap_or_else(lenient::no_arguments),
    }
}

fn tool_result(response: &Value) -> Part {
    let content = response.get("response").cloned().unwrap_or(Value::Null);
    let is_error =
        content.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key("error"));
    Part::ToolResult { call_id: string(response, "id"), name: string(response, "name"), content, is_error }
}

/// A part has no type: it is named by the field that holds its content.
fn part_kind(part: &Value) -> String {
    let annotations = ["thought", "thoughtSignature", "thought_signature", "videoMetadata", "partMetadata"];
    let mut fields = part.as_object().into_iter().flat_map(|fields| fields.keys());
    fields.find(|key| !annotations.contains(&key.as_str())).cloned().unwrap_or_default()
}

/// Reads a `usageMetadata` object. Google leaves zero counts out, so an absent figure stays unknown.
fn read_usage(usage: &Value) -> TokenUsage {
    let prompt = count(usage, "/promptTokenCount");
    let tool_prompt = count(usage, "/toolUsePromptTokenCount");
    let cache_read = count(usage, "/cachedContentTokenCount");
    let output_visible = count(usage, "/candidatesTokenCount");
    let reasoning = count(usage, "/thoughtsTokenCount");
    let input_total = lenient::sum(&[prompt, tool_prompt]);
    TokenUsage {
        uncached_input: input_total.map(|total| total.saturating_sub(cache_read.unwrap_or(0))),
        cache_read,
        cache_write_5m: None,
        cache_write_1h: None,
        output_visible,
        reasoning,
        input_total,
        output_total: lenient::sum(&[output_visible, reasoning]),
        raw: Some(usage.clone()),
    }
}

/// An enumeration's word, or its number as text.
fn enumerated(value: &Value) -> Option<String> {
    match value {
        Value::String(word) if !word.is_empty() => Some(word.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Candidate 0, wherever it stands in the array.
pub(super) fn first_candidate(answer: &Value) -> Option<&Value> {
    let is_first = |candidate: &&Value| count(candidate, "/index").unwrap_or(0) == 0;
    array(answer, "candidates").iter().find(is_first)
}

/// Why the answer ended: the candidate's reason, or `blocked:` and why the prompt was refused.
fn end_reason(answer: &Value) -> Option<String> {
    let finish = first_candidate(answer)
        .and_then(|candidate| either(candidate, "finishReason", "finish_reason"))
        .and_then(enumerated);
    let blocked = || answer.pointer("/promptFeedback/blockReason").and_then(enumerated);
    finish.or_else(|| blocked().map(|reason| format!("blocked:{reason}")))
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut answer = Self::default();
        answer.take(body, |_| {});
        answer.view
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(data) = &event.json() else { return };
        let mut milestones = self.view.milestones;
        self.take(data, |output| milestones.saw(output, event.end));
        self.view.milestones = milestones;
    }

    fn finish(self) -> ResponseView {
        let mut view = self.view;
        view.truncated = view.finish_reason.is_none();
        view
    }
}

impl Answer {
    /// Adds an answer, whole or a piece; `saw` hears of every non-empty output.
    fn take(&mut self, answer: &Value, mut saw: impl FnMut(Output)) {
        let answer = object(answer, "response").unwrap_or(answer);
        let view = &mut self.view;
        view.response_model = view
            .response_model
            .take()
            .or_else(|| enumerated(either(answer, "modelVersion", "model_version")?));
        view.response_id = view.response_id.take().or_else(|| string(answer, "responseId"));
        view.error = view.error.take().or_else(|| lenient::provider_error(answer));
        view.finish_reason = end_reason(answer).or_else(|| view.finish_reason.take());
        if let Some(usage) = object(answer, "usageMetadata") {
            view.usage = read_usage(usage);
            view.service_tier = string(usage, "serviceTier").or_else(|| view.service_tier.take());
        }
        let content = first_candidate(answer).and_then(|candidate| candidate.get("content"));
        for part in content.map(parts_of).unwrap_or_default() {
            if let Some(output) = self.take_part(part) {
                saw(output);
            }
        }
    }

    /// Adds a part; gives the kind of output that it carries, if any.
    fn take_part(&mut self, part: Part) -> Option<Output> {
        match part {
            Part::Text { text } if !text.is_empty() => {
                self.view.text.push_str(&text);
                Some(Output::Content)
            }
            Part::Reasoning { text } if !text.is_empty() => {
                self.view.reasoning.push_str(&text);
                Some(Output::Reasoning)
            }
            // A call without a name is a later piece of one whose arguments are streamed.
            Part::ToolCall(call) => {
                if !call.name.is_empty() {
                    self.view.tool_calls.push(call);
                }
                Some(Output::ToolCall)
            }
            Part::Other { kind, .. } if kind == "executableCode" => {
                self.view.server_tool_calls.push("code_execution".to_owned());
                Some(Output::ToolCall)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Milestones, Wire};
    use super::*;
    use serde_json::json;

    fn answer(body: &str) -> ResponseView {
        Wire::GeminiGenerate.decode_response(200, None, body.as_bytes())
    }

    fn chunk(parts: Value) -> Value {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}],
            "modelVersion": "gemini", "responseId": "r", "usageMetadata": {"promptTokenCount": 8}})
    }

    fn chunks() -> Vec<Value> {
        let mut last = chunk(json!([{"text": ""}]));
        last["candidates"][0]["finishReason"] = json!("STOP");
        last["usageMetadata"] = json!({"promptTokenCount": 8, "toolUsePromptTokenCount": 2, "cachedContentTokenCount": 5,
            "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 17});
        vec![
            chunk(json!([{"text": "hm", "thought": true}])),
            chunk(json!([{"text": "Hel"}])),
            chunk(json!([{"text": "lo"}, {"functionCall": {"name": "f", "args": {"x": 1}}}])),
            last,
        ]
    }

    fn check(view: &ResponseView, ends: &[usize]) {
        assert!(view.stream && !view.truncated);
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("Hello", "hm"));
        assert_eq!(view.tool_calls, [ToolCall { id: None, name: "f".into(), arguments: json!({"x": 1}) }]);
        assert_eq!(view.finish_reason.as_deref(), Some("STOP"));
        let usage = &view.usage;
        assert_eq!((usage.input_total, usage.cache_read, usage.uncached_input), (Some(10), Some(5), Some(5)));
        assert_eq!((usage.output_total, usage.reasoning, usage.output_visible), (Some(7), Some(4), Some(3)));
        assert_eq!(
            view.milestones,
            Milestones {
                first_event: Some(ends[0]),
                first_reasoning: Some(ends[0]),
                first_content: Some(ends[1]),
                first_tool_call: Some(ends[2]),
                last_output: Some(ends[2]),
            }
        );
    }

    #[test]
    fn a_stream_of_events_and_one_of_array_elements() {
        let (mut events, mut array) = (String::new(), String::from("["));
        let (mut event_ends, mut array_ends) = (Vec::new(), Vec::new());
        for (n, chunk) in chunks().iter().enumerate() {
            events += &format!("data: {chunk}\r\n\r\n");
            event_ends.push(events.len());
            array += &format!("{}{chunk:#}", if n == 0 { "" } else { "\n,\r\n" });
            array_ends.push(array.len());
        }
        check(&answer(&events), &event_ends);
        assert!(answer(&events[..event_ends[2]]).truncated);
        assert!(answer(&array).truncated);
        let cut = answer(&array[..array_ends[1] + 20]);
        assert_eq!((cut.text.as_str(), cut.truncated), ("Hel", true));
        array.push(']');
        check(&answer(&array), &array_ends);
    }

    #[test]
    fn reasons_for_ending() {
        let reason = |body: Value| answer(&body.to_string()).finish_reason;
        assert_eq!(reason(json!({"candidates": [{"finishReason": 1}]})).as_deref(), Some("1"));
        assert_eq!(
            reason(json!({"promptFeedback": {"blockReason": "SAFETY"}})).as_deref(),
            Some("blocked:SAFETY")
        );
        assert_eq!(reason(json!({"candidates": [{"index": 1, "finishReason": "STOP"}]})), None);
    }

    #[test]
    fn errors_alone_and_in_an_array() {
        let error = json!({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}});
        for body in [error.to_string(), json!([error]).to_string()] {
            let view = Wire::GeminiGenerate.decode_response(429, None, body.as_bytes());
            assert_eq!(view.error.unwrap().kind.as_deref(), Some("RESOURCE_EXHAUSTED"));
            assert!(!view.stream && !view.truncated);
        }
    }

    #[test]
    fn requests() {
        let body = json!({"systemInstruction": {"parts": [{"text": "be brief"}]},
            "generationConfig": {"maxOutputTokens": 5},
            "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}, {"googleSearch": {}}],
            "contents": [{"parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": "s"}]},
                {"role": "user", "parts": [{"function_response": {"id": "c", "name": "f", "response": {"error": "no"}}},
                    {"thoughtSignature": "s", "inlineData": {}}]}]});
        let view = decode_request("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", &body);
        assert_eq!((view.model.as_deref(), view.stream), (Some("gemini-2.5-pro"), true));
        assert_eq!((view.max_output_tokens, view.tools.join(" ")), (Some(5), "f g googleSearch".into()));
        assert_eq!(view.system, [Part::Text { text: "be brief".into() }]);
        let call = ToolCall { id: Some("c".into()), name: "f".into(), arguments: json!({}) };
        let result = Part::ToolResult {
            call_id: Some("c".into()),
            name: Some("f".into()),
            content: json!({"error": "no"}),
            is_error: true,
        };
        assert_eq!(
            view.messages[0],
            Message { role: Role::User, parts: vec![Part::Text { text: "hi".into() }] }
        );
        assert_eq!(view.messages[1], Message { role: Role::Assistant, parts: vec![Part::ToolCall(call)] });
        assert_eq!(view.messages[2].parts[0], result);
        assert!(matches!(&view.messages[2].parts[1], Part::Other { kind, .. } if kind == "inlineData"));
        let whole =
            decode_request("/v1/models/g:generateContent", &json!({"contents": {"parts": {"text": "hi"}}}));
        assert_eq!((whole.stream, whole.messages.len()), (false, 1));
    }

    #[test]
    fn the_command_line_clients_envelope() {
        let body = json!({"model": "gemini-2.5-pro", "project": "p", "request": {
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "systemInstruction": {"parts": [{"text": "brief"}]}}});
        let view = decode_request("/v1internal:streamGenerateContent?alt=sse", &body);
        assert_eq!((view.model.as_deref(), view.stream), (Some("gemini-2.5-pro"), true));
        assert_eq!((view.messages.len(), view.system.len()), (1, 1));
        let event = json!({"response": {"candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}}});
        let view = Wire::GeminiGenerate.decode_response(200, None, format!("data: {event}\n\n").as_bytes());
        assert_eq!((view.text.as_str(), view.usage.input_total, view.truncated), ("yes", Some(3), false));
    }

    #[test]
    fn a_model_that_the_body_repeats_is_as_written() {
        let view = decode_request("/v1beta/models/g:generateContent", &json!({"model": "models/g"}));
        assert_eq!(view.model.as_deref(), Some("models/g"));
    }
}
