//! OpenAI Responses.
//!
//! `input` is a text or a list of items: messages, function calls, their outputs, reasoning. A stream
//! names its events; the last one (`response.completed`, `response.incomplete`, `response.failed`) repeats
//! the whole answer, usage included, so the events before it are only needed for times and for a stream
//! that was cut short. There is no `[DONE]` to rely on.

use super::lenient::{self, Text, array, object, string, text};
use super::openai_usage;
use super::response::{AnswerDecoder, Output, StreamEvent};
use super::route;
use super::{Message, Part, RequestView, ResponseView, Role, ToolCall};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn decode_request(path: &str, body: &Value) -> RequestView {
    RequestView {
        model: string(body, "model").or_else(|| route::model_in_path(path)),
        stream: lenient::is_set(body, "stream"),
        max_output_tokens: lenient::count(body, "/max_output_tokens"),
        system: content_parts(body.get("instructions")),
        messages: match body.get("input") {
            Some(Value::String(text)) => {
                vec![Message { role: Role::User, parts: vec![Part::Text { text: text.clone() }] }]
            }
            _ => array(body, "input").iter().map(decode_message).collect(),
        },
        tools: array(body, "tools").iter().filter_map(tool_name).collect(),
        previous_response_id: string(body, "previous_response_id"),
    }
}

/// A tool's name; its type where it has none.
fn tool_name(tool: &Value) -> Option<String> {
    string(tool, "name").or_else(|| string(tool, "type"))
}

/// Decodes one element of `input`, or of an answer's `output`.
pub(super) fn decode_message(item: &Value) -> Message {
    let kind = text(item, "type").unwrap_or("message");
    let other = || Part::Other { kind: kind.to_owned(), value: item.clone() };
    if kind == "message" {
        let role = lenient::role(item).unwrap_or(Role::Other(String::new()));
        return Message { role, parts: content_parts(item.get("content")) };
    }
    if kind == "reasoning" {
        return said(Part::Reasoning { text: reasoning_text(item) });
    }
    if kind.ends_with("_call_output") || kind == "tool_search_output" {
        return Message { role: Role::Tool, parts: vec![tool_result(item)] };
    }
    match client_call(item) {
        Some(call) => said(Part::ToolCall(call)),
        None if kind.ends_with("_call") => said(other()),
        None => Message { role: Role::Other(kind.to_owned()), parts: vec![other()] },
    }
}

fn said(part: Part) -> Message {
    Message { role: Role::Assistant, parts: vec![part] }
}

fn tool_result(item: &Value) -> Part {
    Part::ToolResult {
        call_id: string(item, "call_id").or_else(|| string(item, "id")),
        name: string(item, "name"),
        content: item.get("output").cloned().unwrap_or(Value::Null),
        is_error: false,
    }
}

/// Content or instructions: a text, or a list of parts.
fn content_parts(content: Option<&Value>) -> Vec<Part> {
    match content {
        Some(Value::String(text)) => vec![Part::Text { text: text.clone() }],
        Some(Value::Array(parts)) => parts.iter().map(content_part).collect(),
        _ => Vec::new(),
    }
}

fn content_part(part: &Value) -> Part {
    let kind = text(part, "type").unwrap_or_default();
    match (kind, part.get("text")) {
        ("input_text" | "output_text" | "text", Some(Value::String(text))) => {
            Part::Text { text: text.clone() }
        }
        ("reasoning_text" | "summary_text", Some(Value::String(text))) => {
            Part::Reasoning { text: text.clone() }
        }
        _ => Part::Other { kind: kind.to_owned(), value: part.clone() },
    }
}

/// A reasoning item's text: in the open where the model gives it, else its summary, else none.
fn reasoning_text(item: &Value) -> String {
    let join = |key| array(item, key).iter().filter_map(|part| text(part, "text")).collect::<String>();
    let open = join("content");
    if open.is_empty() { join("summary") } else { open }
}

/// A call that the client executes; `None` if the item is no call, or one that the server executes.
fn client_call(item: &Value) -> Option<ToolCall> {
    let kind = text(item, "type")?;
    let arguments = match kind {
        "function_call" => match item.get("arguments") {
            Some(Value::String(text)) => lenient::arguments(text),
            other => other.cloned().unwrap_or(Value::Null),
        },
        "custom_tool_call" => item.get("input").cloned().unwrap_or(Value::Null),
        "computer_call" | "local_shell_call" | "shell_call" => {
            item.get("action").or_else(|| item.get("actions")).cloned().unwrap_or(Value::Null)
        }
        "apply_patch_call" => item.get("operation").cloned().unwrap_or(Value::Null),
        "tool_search_call" if text(item, "execution") == Some("client") => {
            item.get("arguments").cloned().unwrap_or(Value::Null)
        }
        _ => return None,
    };
    let id = string(item, "call_id").or_else(|| string(item, "id"));
    let name = string(item, "name").unwrap_or_else(|| kind.trim_end_matches("_call").to_owned());
    Some(ToolCall { id, name, arguments })
}

/// The name of a call that the server executes itself.
fn server_call(item: &Value) -> Option<String> {
    let tool = text(item, "type")?.strip_suffix("_call")?;
    let name = string(item, "name").filter(|_| tool == "mcp");
    Some(name.unwrap_or_else(|| tool.to_owned()))
}

/// Reads everything but the output.
fn read_envelope(response: &Value, view: &mut ResponseView) {
    view.response_model = string(response, "model").or_else(|| view.response_model.take());
    view.response_id = string(response, "id").or_else(|| view.response_id.take());
    view.service_tier = string(response, "service_tier").or_else(|| view.service_tier.take());
    view.error = view.error.take().or_else(|| lenient::provider_error(response));
    let ended = |status: &&str| !matches!(*status, "queued" | "in_progress");
    view.finish_reason = text(response, "status").filter(ended).map(str::to_owned);
    if let Some(usage) = object(response, "usage") {
        view.usage = openai_usage::read(usage);
        view.stated_cost_usd = openai_usage::stated_cost_usd(usage);
    }
}

/// Reads the items of an answer.
fn read_output<'a>(items: impl Iterator<Item = &'a Value>, view: &mut ResponseView) {
    for item in items {
        match text(item, "type") {
            Some("message") => {
                let parts = array(item, "content").iter();
                let spoken = parts.clone().filter(|part| text(part, "type") == Some("output_text"));
                view.text.extend(spoken.filter_map(|part| text(part, "text")));
                view.refusal.extend(parts.filter_map(|part| text(part, "refusal")));
            }
            Some("reasoning") => view.reasoning.push_str(&reasoning_text(item)),
            _ => match client_call(item) {
                Some(call) => view.tool_calls.push(call),
                None => view.server_tool_calls.extend(server_call(item)),
            },
        }
    }
}

/// Decoder of answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    view: ResponseView,
    /// Items by output index, as far as events have described them.
    items: BTreeMap<u64, ItemFragments>,
    ended: bool,
}

/// An item as it arrives.
#[derive(Debug, Default)]
struct ItemFragments {
    /// As its last event gave it whole.
    item: Value,
    /// What came in pieces: output text, arguments or reasoning, by what the item is.
    pieces: String,
    state: ItemState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ItemState {
    #[default]
    Open,
    Done,
}

impl AnswerDecoder for Answer {
    fn decode_whole(body: &Value) -> ResponseView {
        let mut view = ResponseView::default();
        read_envelope(body, &mut view);
        read_output(array(body, "output").iter(), &mut view);
        view
    }

    fn take_event(&mut self, event: &StreamEvent<'_>) {
        if event.read().is_some_and(|plain| self.takes_plain(&plain, event.end)) {
            return;
        }
        if let Some(data) = event.json() {
            self.take_data(&data, event);
        }
    }

    fn finish(self) -> ResponseView {
        let mut view = self.view;
        let items: Vec<Value> = self.items.into_values().map(ItemFragments::join).collect();
        read_output(items.iter(), &mut view);
        view.truncated = !self.ended;
        view
    }
}

/// The event that a stream is mostly made of: a piece of text, reasoning or arguments, or what such pieces
/// came to. It is read as the general reader would read it.
#[derive(Debug, Deserialize)]
struct PlainEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    output_index: u64,
    #[serde(borrow, default)]
    delta: Option<Text<'a>>,
    #[serde(default, rename = "response")]
    _response: (),
    #[serde(default, rename = "item")]
    _item: (),
}

/// Whether an event of this type is the last.
fn ends_answer(kind: &str) -> bool {
    matches!(
        kind,
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "error"
    )
}

impl Answer {
    /// Takes an event that has one piece of output, or repeats some; tells whether this is one.
    fn takes_plain(&mut self, event: &PlainEvent<'_>, end: usize) -> bool {
        let kind = &*event.kind.0;
        let is_plain = kind.starts_with("response.") && (kind.ends_with(".delta") || kind.ends_with(".done"));
        if is_plain && let Some(delta) = lenient::said(&event.delta) {
            self.add_delta(kind, event.output_index, delta, end);
        }
        is_plain
    }

    fn take_data(&mut self, data: &Value, event: &StreamEvent<'_>) {
        let kind = event.kind(data);
        if let Some(response) = object(data, "response") {
            read_envelope(response, &mut self.view);
            self.take_whole_output(response);
        }
        self.ended = self.ended || ends_answer(kind);
        match kind {
            "error" => {
                let error = lenient::provider_error(data).unwrap_or_else(|| lenient::error_object(data));
                self.view.error.get_or_insert(error);
            }
            "response.output_item.added" => self.take_item(data, ItemState::Open, event.end),
            "response.output_item.done" => self.take_item(data, ItemState::Done, event.end),
            _ => self.take_delta(kind, data, event.end),
        }
    }

    /// The last event's output replaces what was put together, unless it leaves the output out.
    fn take_whole_output(&mut self, response: &Value) {
        let output = array(response, "output");
        if output.is_empty() {
            return;
        }
        let whole = |item: &Value| ItemFragments {
            item: item.clone(),
            pieces: String::new(),
            state: ItemState::Done,
        };
        self.items = (0..).zip(output.iter().map(whole)).collect();
    }

    fn take_item(&mut self, data: &Value, state: ItemState, end: usize) {
        let Some(item) = object(data, "item") else { return };
        let kind = text(item, "type").unwrap_or_default();
        if kind.ends_with("_call") {
            self.view.milestones.saw(Output::ToolCall, end);
        }
        let fragments = self.items.entry(output_index(data)).or_default();
        fragments.item = item.clone();
        fragments.state = state;
    }

    fn take_delta(&mut self, kind: &str, data: &Value, end: usize) {
        if let Some(delta) = text(data, "delta") {
            self.add_delta(kind, output_index(data), delta, end);
        }
    }

    fn add_delta(&mut self, kind: &str, output_index: u64, delta: &str, end: usize) {
        let output = match kind {
            "response.output_text.delta" | "response.refusal.delta" => Output::Content,
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => Output::Reasoning,
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                Output::ToolCall
            }
            _ => return,
        };
        self.view.milestones.saw(output, end);
        if kind != "response.refusal.delta" {
            self.items.entry(output_index).or_default().pieces.push_str(delta);
        }
    }
}

fn output_index(data: &Value) -> u64 {
    lenient::count(data, "/output_index").unwrap_or(0)
}

impl ItemFragments {
    /// The item, completed with its pieces if it never came whole.
    fn join(self) -> Value {
        let mut item = self.item;
        if self.state == ItemState::Done || self.pieces.is_empty() {
            return item;
        }
        if !item.is_object() {
            item = json!({"type": "message"});
        }
        let kind = text(&item, "type").unwrap_or_default().to_owned();
        let text_part = |kind: &str| json!([{"type": kind, "text": self.pieces}]);
        match kind.as_str() {
            "function_call" => item["arguments"] = json!(self.pieces),
            "custom_tool_call" => item["input"] = json!(self.pieces),
            "reasoning" => item["summary"] = text_part("summary_text"),
            _ => item["content"] = text_part("output_text"),
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_events::{any_object, stream};
    use super::super::{Milestones, Wire};
    use super::*;
    use proptest::prelude::*;

    fn answer(body: &str) -> ResponseView {
        Wire::OpenAiResponses.decode_response(200, None, body.as_bytes())
    }

    fn events() -> Vec<Value> {
        let item = |kind: &str, index: u64, item: Value| json!({"type": format!("response.output_item.{kind}"), "output_index": index, "item": item});
        let delta = |kind: &str, index: u64, delta: &str| json!({"type": format!("response.{kind}.delta"), "output_index": index, "delta": delta});
        vec![
            json!({"type": "response.created", "response": {"id": "r1", "model": "m", "status": "in_progress", "output": []}}),
            item("added", 0, json!({"type": "reasoning", "summary": []})),
            delta("reasoning_summary_text", 0, "hm"),
            item("added", 1, json!({"type": "message", "role": "assistant", "content": []})),
            delta("output_text", 1, "Hel"),
            delta("output_text", 1, "lo"),
            item("added", 2, json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""})),
            delta("function_call_arguments", 2, "{\"x\":1}"),
            json!({"type": "response.completed", "response": {"id": "r1", "model": "m", "status": "completed",
                "error": null, "service_tier": "default", "output": [
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"x\":1}"}],
                "usage": {"input_tokens": 3, "output_tokens": 4}}}),
        ]
    }

    fn call() -> ToolCall {
        ToolCall { id: Some("c".into()), name: "f".into(), arguments: json!({"x": 1}) }
    }

    #[test]
    fn the_last_event_holds_the_answer() {
        let (body, ends) = stream(&events());
        let view = answer(&body);
        assert!(view.stream && !view.truncated);
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("Hello", "hm"));
        assert_eq!(view.tool_calls, [call()]);
        assert_eq!(view.finish_reason.as_deref(), Some("completed"));
        assert_eq!((view.usage.input_total, view.usage.output_total), (Some(3), Some(4)));
        assert_eq!(
            view.milestones,
            Milestones {
                first_event: Some(ends[0]),
                first_reasoning: Some(ends[2]),
                first_content: Some(ends[4]),
                first_tool_call: Some(ends[6]),
                last_output: Some(ends[7]),
            }
        );
        let whole = answer(&events().pop().unwrap()["response"].to_string());
        assert_eq!(whole, ResponseView { stream: false, milestones: Milestones::default(), ..view });
    }

    #[test]
    fn a_stream_cut_short_is_put_together_from_its_pieces() {
        let mut events = events();
        events.pop();
        let view = answer(&stream(&events).0);
        assert_eq!((view.text.as_str(), view.reasoning.as_str()), ("Hello", "hm"));
        assert_eq!((view.tool_calls, view.truncated), (vec![call()], true));
        assert_eq!((view.finish_reason, view.usage.is_known()), (None, false));
        assert_eq!(view.response_id.as_deref(), Some("r1"));
    }

    #[test]
    fn a_last_event_without_output_leaves_what_was_streamed() {
        let mut events = events();
        events[8]["response"]["output"] = json!([]);
        let view = answer(&stream(&events).0);
        assert_eq!((view.text.as_str(), view.tool_calls, view.truncated), ("Hello", vec![call()], false));
    }

    #[test]
    fn failures() {
        let failed = json!({"type": "response.failed", "response": {"status": "failed",
            "error": {"code": "server_error", "message": "sorry"}}});
        let error = json!({"type": "error", "code": "server_error", "message": "sorry"});
        let nested = json!({"type": "error", "error": {"code": "server_error", "message": "sorry"}});
        for event in [failed, error, nested] {
            let view = answer(&stream(&[event]).0);
            let error = view.error.unwrap();
            assert_eq!(
                (error.kind.as_deref(), error.message.as_deref()),
                (Some("server_error"), Some("sorry"))
            );
            assert!(!view.truncated);
        }
    }

    #[test]
    fn calls_by_who_executes_them() {
        let body = json!({"status": "completed", "output": [
            {"type": "web_search_call"}, {"type": "mcp_call", "name": "lookup"}, {"type": "mcp_list_tools"},
            {"type": "custom_tool_call", "call_id": "u", "name": "run", "input": "{}"},
            {"type": "local_shell_call", "call_id": "s", "action": {"command": ["ls"]}}]});
        let view = answer(&body.to_string());
        assert_eq!(view.server_tool_calls, ["web_search", "lookup"]);
        let call =
            |id: &str, name: &str, arguments| ToolCall { id: Some(id.into()), name: name.into(), arguments };
        assert_eq!(
            view.tool_calls,
            [call("u", "run", json!("{}")), call("s", "local_shell", json!({"command": ["ls"]}))]
        );
    }

    #[test]
    fn requests() {
        let body = json!({"model": "m", "instructions": "be brief", "previous_response_id": "r0",
            "max_output_tokens": 9, "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "reasoning", "summary": [], "encrypted_content": "x"},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"x\":1}"},
                {"type": "function_call_output", "call_id": "c", "output": "ok"}, {"type": "item_reference", "id": "i"}]});
        let view = decode_request("/v1/responses", &body);
        assert_eq!(view.system, [Part::Text { text: "be brief".into() }]);
        assert_eq!(
            (view.tools, view.max_output_tokens),
            (vec!["f".to_owned(), "web_search".to_owned()], Some(9))
        );
        assert_eq!(view.previous_response_id.as_deref(), Some("r0"));
        let message = |role, part| Message { role, parts: vec![part] };
        let result =
            Part::ToolResult { call_id: Some("c".into()), name: None, content: json!("ok"), is_error: false };
        assert_eq!(
            view.messages[..4],
            [
                message(Role::User, Part::Text { text: "hi".into() }),
                message(Role::Assistant, Part::Reasoning { text: String::new() }),
                message(Role::Assistant, Part::ToolCall(call())),
                message(Role::Tool, result),
            ]
        );
        assert_eq!(view.messages[4].role, Role::Other("item_reference".into()));
        let text = decode_request("/v1/responses", &json!({"input": "hi"}));
        assert_eq!(text.messages, [message(Role::User, Part::Text { text: "hi".into() })]);
    }

    fn any_event() -> impl Strategy<Value = Value> {
        let kinds = [
            "response.output_text.delta",
            "response.output_text.done",
            "response.reasoning_summary_text.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
            "error",
            "other.delta",
        ];
        let item = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": ""});
        let event = any_object(&[
            ("output_index", json!(1)),
            ("delta", json!("t")),
            ("text", json!("t")),
            ("item", item),
            ("response", json!({"id": "r", "model": "m", "status": "completed"})),
        ]);
        (event, proptest::sample::select(kinds.to_vec())).prop_map(|(mut event, kind)| {
            event["type"] = json!(kind);
            event
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

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
