//! Ollama's own API: `/api/chat` and `/api/generate`.
//!
//! A request streams unless it says otherwise. A stream is one JSON object a line, each a small answer; the
//! last has `done: true`, why it ended, and the counts. Tool calls come whole, mostly without ids, and their
//! results name the tool. The count of the prompt is missing where the prompt was cached: that stays unknown.
//! Times in answers are in ns and are not read.
//!
//! `/api/generate` continues a conversation by handing back `context`, token ids that the answer gave; they
//! are not decoded, so such a request is a root.

use super::lenient::{self, array, count, object, string, text};
use super::openai_chat;
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::{Message, Part, RequestView, ResponseView, Role};
use crate::usage::TokenUsage;
use serde_json::{Map, Value};

/// Reads the request of a chat.
pub(super) fn decode_chat_request(body: &Value) -> RequestView {
    RequestView {
        messages: array(body, "messages").iter().map(decode_message).collect(),
        tools: array(body, "tools").iter().filter_map(openai_chat::tool_name).collect(),
        ..decode_options(body)
    }
}

/// Reads the request of a completion: its prompt stands for one message of the user.
pub(super) fn decode_generate_request(body: &Value) -> RequestView {
    let prompt = string(body, "prompt").map(|text| Part::Text { text });
    let suffix = string(body, "suffix").map(|suffix| other("suffix", Value::String(suffix)));
    let parts: Vec<Part> = prompt.into_iter().chain(suffix).chain(images(body)).collect();
    let asked = (!parts.is_empty()).then_some(Message { role: Role::User, parts });
    RequestView {
        system: string(body, "system").map(|text| Part::Text { text }).into_iter().collect(),
        messages: asked.into_iter().collect(),
        ..decode_options(body)
    }
}

fn decode_options(body: &Value) -> RequestView {
    RequestView {
        model: string(body, "model"),
        stream: body.get("stream") != Some(&Value::Bool(false)),
        max_output_tokens: count(body, "/options/num_predict"),
        ..RequestView::default()
    }
}

/// Decodes one element of `messages`.
pub(super) fn decode_message(element: &Value) -> Message {
    let role = lenient::role(element).unwrap_or(Role::Other(String::new()));
    if role == Role::Tool {
        return Message { role, parts: vec![tool_result(element)] };
    }
    let reasoning = string(element, "thinking").map(|text| Part::Reasoning { text });
    let said = string(element, "content").map(|text| Part::Text { text });
    let calls = array(element, "tool_calls").iter().map(|call| Part::ToolCall(openai_chat::tool_call(call)));
    Message { role, parts: reasoning.into_iter().chain(said).chain(images(element)).chain(calls).collect() }
}

fn tool_result(element: &Value) -> Part {
    Part::ToolResult {
        call_id: string(element, "tool_call_id"),
        name: string(element, "tool_name").or_else(|| string(element, "name")),
        content: element.get("content").cloned().unwrap_or(Value::Null),
        is_error: false,
    }
}

fn images(holder: &Value) -> impl Iterator<Item = Part> {
    array(holder, "images").iter().map(|image| other("image", image.clone()))
}

fn other(kind: &str, value: Value) -> Part {
    Part::Other { kind: kind.to_owned(), value }
}

/// Reads the counts, which stand among an answer's other fields.
fn read_usage(answer: &Value) -> Option<TokenUsage> {
    let counts = ["prompt_eval_count", "eval_count"];
    let stated = counts.iter().filter_map(|key| Some((key.to_string(), answer.get(key)?.clone())));
    let raw: Map<String, Value> = stated.collect();
    let (input, output) = (count(answer, "/prompt_eval_count"), count(answer, "/eval_count"));
    (!raw.is_empty()).then_some(TokenUsage {
        uncached_input: input,
        output_visible: output,
        input_total: input,
        output_total: output,
        raw: Some(Value::Object(raw)),
        ..TokenUsage::default()
    })
}

/// Decoder of answers, of both kinds.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
    done: bool,
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut answer = Self::default();
        answer.take(body, |_| {});
        answer.view
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(line) = event.json() else { return };
        let mut milestones = self.view.milestones;
        self.take(&line, |output| milestones.saw(output, event.end));
        self.view.milestones = milestones;
    }

    fn finish(self) -> ResponseView {
        ResponseView { truncated: !self.done, ..self.view }
    }
}

impl Answer {
    /// Adds an answer, whole or a line; `saw` hears of every non-empty output.
    fn take(&mut self, line: &Value, mut saw: impl FnMut(Output)) {
        let view = &mut self.view;
        self.done = self.done || lenient::is_set(line, "done");
        view.response_model = view.response_model.take().or_else(|| string(line, "model"));
        view.error = view.error.take().or_else(|| lenient::provider_error(line));
        view.finish_reason = string(line, "done_reason").or_else(|| view.finish_reason.take());
        if let Some(usage) = read_usage(line) {
            view.usage = usage;
        }
        // A chat answers with a message, a completion with fields of its own.
        let message = object(line, "message").unwrap_or(line);
        if let Some(piece) = text(message, "thinking") {
            view.reasoning.push_str(piece);
            saw(Output::Reasoning);
        }
        if let Some(piece) = text(message, "content").or_else(|| text(message, "response")) {
            view.text.push_str(piece);
            saw(Output::Content);
        }
        for call in array(message, "tool_calls") {
            view.tool_calls.push(openai_chat::tool_call(call));
            saw(Output::ToolCall);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ProviderError, ToolCall, Wire};
    use super::*;
    use serde_json::json;

    fn lines(values: &[Value]) -> String {
        values.iter().map(|value| format!("{value}\n")).collect()
    }

    fn chat_lines() -> Vec<Value> {
        let line =
            |message: Value| json!({"model": "m", "created_at": "t", "message": message, "done": false});
        vec![
            line(json!({"role": "assistant", "content": "", "thinking": "hm"})),
            line(json!({"role": "assistant", "content": "It "})),
            line(json!({"role": "assistant", "content": "rains."})),
            line(json!({"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "f", "arguments": {"x": 1}}}, {"id": "c", "function": {"name": "g", "arguments": {}}}]})),
            json!({"model": "m", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
                "total_duration": 9, "prompt_eval_count": 26, "eval_count": 290}),
        ]
    }

    #[test]
    fn a_chat_in_lines() {
        let values = chat_lines();
        let body = lines(&values);
        for content_type in [Some("application/x-ndjson"), None] {
            let view = Wire::OllamaChat.decode_response(200, content_type, body.as_bytes());
            assert!(view.stream && !view.truncated);
            assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("It rains.", "hm"));
            let call = |id: Option<&str>, name: &str, arguments| ToolCall {
                id: id.map(str::to_owned),
                name: name.into(),
                arguments,
            };
            assert_eq!(view.tool_calls, [call(None, "f", json!({"x": 1})), call(Some("c"), "g", json!({}))]);
            assert_eq!(view.finish_reason.as_deref(), Some("stop"));
            assert_eq!((view.usage.input_total, view.usage.output_total), (Some(26), Some(290)));
            assert_eq!(view.usage.raw, Some(json!({"prompt_eval_count": 26, "eval_count": 290})));
            // A line's end is where its JSON ends; the line feed after it says nothing new.
            let ends = |n: usize| Some(lines(&values[..n]).len() - 1);
            let m = view.milestones;
            assert_eq!((m.first_event, m.first_reasoning, m.first_content), (ends(1), ends(1), ends(2)));
            assert_eq!((m.first_tool_call, m.last_output), (ends(4), ends(4)));
        }
        let cut =
            Wire::OllamaChat.decode_response(200, None, &body.as_bytes()[..lines(&values[..3]).len() - 5]);
        assert_eq!((cut.text.as_str(), cut.truncated), ("It ", true));
    }

    #[test]
    fn completions_whole_and_in_lines() {
        let end = json!({"model": "m", "response": "!", "done": true, "done_reason": "length", "context": [1, 2],
            "eval_count": 7});
        let whole = Wire::OllamaGenerate.decode_response(200, None, end.to_string().as_bytes());
        assert_eq!((whole.text.as_str(), whole.stream, whole.truncated), ("!", false, false));
        assert_eq!((whole.usage.input_total, whole.usage.output_total), (None, Some(7)), "a cached prompt");
        let body = lines(&[json!({"model": "m", "response": "Hi", "done": false}), end]);
        let view = Wire::OllamaGenerate.decode_response(200, None, body.replace('\n', "\r\n").as_bytes());
        assert_eq!((view.text.as_str(), view.stream), ("Hi!", true));
        assert_eq!(view.finish_reason.as_deref(), Some("length"));
    }

    #[test]
    fn errors_are_texts_also_inside_a_stream() {
        let error = "{\"error\":\"model not found\"}";
        let refused = Wire::OllamaChat.decode_response(404, Some("application/json"), error.as_bytes());
        let expected = ProviderError { kind: None, message: Some("model not found".to_owned()) };
        assert_eq!(refused.error, Some(expected.clone()));
        let body = lines(&chat_lines()[..2]) + error + "\n";
        let view = Wire::OllamaChat.decode_response(200, Some("application/x-ndjson"), body.as_bytes());
        assert_eq!((view.error, view.truncated, view.text.as_str()), (Some(expected), false, "It "));
    }

    #[test]
    fn requests() {
        let body = json!({"model": "m", "options": {"num_predict": 9}, "tools": [{"type": "function", "function": {"name": "f"}}],
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u", "images": ["aGk="]},
                {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
                {"role": "tool", "tool_name": "f", "content": "dry"}]});
        let view = decode_chat_request(&body);
        assert_eq!((view.stream, view.max_output_tokens), (true, Some(9)), "streams unless told otherwise");
        let call = ToolCall { id: None, name: "f".into(), arguments: json!({}) };
        let image = Part::Other { kind: "image".into(), value: json!("aGk=") };
        let parts: Vec<_> = view.messages.into_iter().map(|m| m.parts).collect();
        let said = |text: &str| Part::Text { text: text.to_owned() };
        let result = Part::ToolResult {
            call_id: None,
            name: Some("f".into()),
            content: json!("dry"),
            is_error: false,
        };
        assert_eq!(
            parts,
            [
                vec![said("s")],
                vec![said("u"), image],
                vec![Part::Reasoning { text: "hm".into() }, Part::ToolCall(call)],
                vec![result],
            ]
        );
        let body = json!({"model": "m", "prompt": "p", "system": "s", "stream": false, "options": {"num_predict": -1}});
        let view = decode_generate_request(&body);
        assert_eq!((view.stream, view.max_output_tokens), (false, None));
        assert_eq!((view.system, view.messages[0].parts.clone()), (vec![said("s")], vec![said("p")]));
        assert_eq!(decode_generate_request(&json!({"model": "m"})).messages, [], "loads the model");
    }
}
