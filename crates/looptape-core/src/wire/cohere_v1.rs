//! Cohere chat, version 1, at Cohere and behind Bedrock.
//!
//! A request is the newest `message`, a `chat_history` before it, and `tool_results` after it; each result
//! repeats the call that it answers, so the calls count as said where the history leaves them out. Calls
//! have no ids. A stream is one JSON object a line, or server-sent events; its last event holds the whole
//! answer, so the events before it matter for times and for a stream that was cut short.

use super::cohere_v2::{error_of_finish, read_usage};
use super::lenient::{self, array, count, object, string, text};
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::{Message, Part, RequestView, ResponseView, Role, ToolCall};
use serde_json::Value;

pub(super) fn decode_request(body: &Value) -> RequestView {
    let mut messages: Vec<Message> = Vec::new();
    for entry in array(body, "chat_history") {
        add_entry(&mut messages, entry);
    }
    if let Some(text) = string(body, "message") {
        messages.push(Message { role: Role::User, parts: vec![Part::Text { text }] });
    }
    add_results(&mut messages, array(body, "tool_results"));
    RequestView {
        model: string(body, "model"),
        stream: lenient::is_set(body, "stream"),
        max_output_tokens: count(body, "/max_tokens"),
        system: string(body, "preamble").map(|text| Part::Text { text }).into_iter().collect(),
        messages,
        tools: array(body, "tools").iter().filter_map(|tool| string(tool, "name")).collect(),
        previous_response_id: None,
    }
}

/// Adds an entry of `chat_history`.
fn add_entry(messages: &mut Vec<Message>, entry: &Value) {
    let role = match text(entry, "role").unwrap_or_default().to_ascii_uppercase().as_str() {
        "USER" => Role::User,
        "CHATBOT" | "ASSISTANT" => Role::Assistant,
        "SYSTEM" => Role::System,
        "TOOL" => Role::Tool,
        other => Role::Other(other.to_ascii_lowercase()),
    };
    let said = string(entry, "message").map(|text| Part::Text { text });
    let calls = array(entry, "tool_calls").iter().map(|call| Part::ToolCall(tool_call(call)));
    let parts: Vec<Part> = said.into_iter().chain(calls).collect();
    if !parts.is_empty() {
        messages.push(Message { role, parts });
    }
    add_results(messages, array(entry, "tool_results"));
}

/// Adds results, and the calls that they answer unless the model's own message stands before them.
fn add_results(messages: &mut Vec<Message>, results: &[Value]) {
    if results.is_empty() {
        return;
    }
    if messages.last().is_none_or(|last| last.role != Role::Assistant) {
        let calls = results.iter().filter_map(|result| object(result, "call"));
        let parts = calls.map(|call| Part::ToolCall(tool_call(call))).collect();
        messages.push(Message { role: Role::Assistant, parts });
    }
    let parts = results.iter().map(|result| Part::ToolResult {
        call_id: None,
        name: object(result, "call").and_then(|call| string(call, "name")),
        content: result.get("outputs").cloned().unwrap_or(Value::Null),
        is_error: false,
    });
    messages.push(Message { role: Role::Tool, parts: parts.collect() });
}

fn tool_call(call: &Value) -> ToolCall {
    ToolCall {
        id: string(call, "id"),
        name: string(call, "name").unwrap_or_default(),
        arguments: call.get("parameters").cloned().unwrap_or_else(lenient::no_arguments),
    }
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
    ended: bool,
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut answer = Self::default();
        answer.take_whole(body);
        answer.view
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        let Some(data) = &event.json() else { return };
        let output = match text(data, "event_type").or(event.name).unwrap_or_default() {
            "stream-start" => {
                self.view.response_id = string(data, "generation_id");
                None
            }
            "text-generation" | "tool-calls-chunk" => self.take_piece(data),
            "tool-calls-generation" => {
                self.view.tool_calls = array(data, "tool_calls").iter().map(tool_call).collect();
                Some(Output::ToolCall).filter(|_| !self.view.tool_calls.is_empty())
            }
            "stream-end" => {
                self.ended = true;
                self.take_end(data);
                None
            }
            _ => None,
        };
        self.view.error = self.view.error.take().or_else(|| lenient::provider_error(data));
        if let Some(output) = output {
            self.view.milestones.saw(output, event.end);
        }
    }

    fn finish(self) -> ResponseView {
        ResponseView { truncated: !self.ended, ..self.view }
    }
}

impl Answer {
    /// Takes a piece of text, or of the tool calls that come whole in a later event.
    fn take_piece(&mut self, data: &Value) -> Option<Output> {
        if let Some(piece) = text(data, "text") {
            self.view.text.push_str(piece);
            return Some(Output::Content);
        }
        object(data, "tool_call_delta").map(|_| Output::ToolCall)
    }

    /// Takes the last event. Its answer replaces what was put together, where it has one.
    fn take_end(&mut self, data: &Value) {
        if let Some(response) = object(data, "response") {
            self.take_whole(response);
        }
        let reason = string(data, "finish_reason").or_else(|| self.view.finish_reason.take());
        let error = error_of_finish(reason.as_deref(), text(data, "error"));
        self.view.error = self.view.error.take().or(error);
        self.view.finish_reason = reason;
    }

    fn take_whole(&mut self, body: &Value) {
        let view = &mut self.view;
        let id = string(body, "response_id").or_else(|| string(body, "generation_id"));
        view.response_id = id.or_else(|| view.response_id.take());
        view.finish_reason = string(body, "finish_reason");
        view.error = lenient::provider_error(body)
            .or_else(|| error_of_finish(view.finish_reason.as_deref(), text(body, "error")));
        if let Some(text) = string(body, "text") {
            view.text = text;
        }
        let calls: Vec<ToolCall> = array(body, "tool_calls").iter().map(tool_call).collect();
        if !calls.is_empty() {
            view.tool_calls = calls;
        }
        if let Some(meta) = object(body, "meta") {
            view.usage = read_usage(meta);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wire;
    use super::*;
    use serde_json::json;

    fn answer(body: &str) -> ResponseView {
        Wire::CohereChatV1.decode_response(200, None, body.as_bytes())
    }

    fn events() -> Vec<Value> {
        let calls = json!([{"name": "f", "parameters": {"x": 1}}]);
        vec![
            json!({"is_finished": false, "event_type": "stream-start", "generation_id": "g"}),
            json!({"is_finished": false, "event_type": "text-generation", "text": "It "}),
            json!({"is_finished": false, "event_type": "text-generation", "text": "rains"}),
            json!({"event_type": "tool-calls-chunk", "tool_call_delta": {"index": 0, "name": "f"}}),
            json!({"event_type": "tool-calls-generation", "tool_calls": calls}),
            json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "COMPLETE", "response": {
                "response_id": "r", "generation_id": "g", "text": "It rains", "tool_calls": calls,
                "meta": {"billed_units": {"input_tokens": 2, "output_tokens": 3},
                    "tokens": {"input_tokens": 20, "output_tokens": 30}}}}),
        ]
    }

    fn lines(events: &[Value]) -> String {
        events.iter().map(|event| format!("{event}\n")).collect()
    }

    #[test]
    fn a_stream_in_lines_or_events() {
        let body = lines(&events());
        let as_events: String = events()
            .iter()
            .map(|e| format!("event: {}\ndata: {e}\n\n", e["event_type"].as_str().unwrap()))
            .collect();
        for body in [&body, &as_events] {
            let view = answer(body);
            assert!(view.stream && !view.truncated);
            assert_eq!((view.text.as_str(), view.finish_reason.as_deref()), ("It rains", Some("COMPLETE")));
            assert_eq!(view.response_id.as_deref(), Some("r"));
            assert_eq!((view.tool_calls.len(), view.tool_calls[0].arguments.clone()), (1, json!({"x": 1})));
            assert_eq!((view.usage.input_total, view.usage.output_total), (Some(20), Some(30)));
        }
        let ends = |n: usize| Some(lines(&events()[..n]).len() - 1);
        let m = answer(&body).milestones;
        assert_eq!((m.first_content, m.first_tool_call, m.last_output), (ends(2), ends(4), ends(5)));
        let cut = answer(&lines(&events()[..3]));
        assert_eq!(
            (cut.text.as_str(), cut.truncated, cut.response_id.as_deref()),
            ("It rains", true, Some("g"))
        );
    }

    #[test]
    fn whole_answers_and_errors() {
        let body = json!({"response_id": "r", "text": "t", "generation_id": "g", "finish_reason": "MAX_TOKENS",
            "meta": {"billed_units": {"input_tokens": 2, "output_tokens": 3}}});
        let view = answer(&body.to_string());
        assert_eq!((view.text.as_str(), view.finish_reason.as_deref()), ("t", Some("MAX_TOKENS")));
        assert_eq!((view.stream, view.usage.input_total, view.error), (false, Some(2), None));
        let broken =
            json!({"event_type": "stream-end", "finish_reason": "ERROR", "response": {"text": "half"}});
        let view = answer(&lines(&[events()[0].clone(), broken]));
        assert_eq!((view.error.unwrap().kind.as_deref(), view.text.as_str()), (Some("ERROR"), "half"));
    }

    #[test]
    fn requests_in_one_step_and_in_several() {
        let call = json!({"name": "f", "parameters": {"x": 1}});
        let results = json!([{"call": call, "outputs": [{"temperature": 3}]}]);
        let history = json!([{"role": "USER", "message": "hi"}, {"role": "CHATBOT", "message": "hello"}]);
        let one_step = json!({"model": "m", "preamble": "brief", "message": "go", "chat_history": history,
            "tools": [{"name": "f", "parameter_definitions": {}}], "tool_results": results});
        let view = decode_request(&one_step);
        assert_eq!(
            (view.tools, view.system),
            (vec!["f".to_owned()], vec![Part::Text { text: "brief".into() }])
        );
        let roles: Vec<_> = view.messages.iter().map(|m| m.role.clone()).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::User, Role::Assistant, Role::Tool]);
        let called = ToolCall { id: None, name: "f".into(), arguments: json!({"x": 1}) };
        assert_eq!(view.messages[3].parts, [Part::ToolCall(called)]);
        let several = json!({"message": "", "chat_history": [{"role": "User", "message": "go"},
            {"role": "CHATBOT", "message": "plan", "tool_calls": [call]}, {"role": "TOOL", "tool_results": results},
            {"role": "CHATBOT", "message": "more", "tool_calls": [call]}], "tool_results": results});
        let roles: Vec<_> = decode_request(&several).messages.into_iter().map(|m| m.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Assistant, Role::Tool]);
    }
}
