//! Writing down small tapes and asking them.

use super::super::*;
use crate::digest::Digest;
use crate::facts::Lineage;
use crate::lineage::Conversation;
use crate::wire::{Message, Part, RequestView, ResponseView, Role, ToolCall, Wire};
use bytes::Bytes;
use serde_json::{Value, json};

pub(super) const CHAT: &str = "/v1/chat/completions";

/// One call as a test writes it down.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) body: Value,
    pub(super) answer: &'static str,
    pub(super) from_us: i64,
    pub(super) to_us: Option<i64>,
    pub(super) status: u16,
}

/// A complete answer, at a time of its own.
pub(super) fn call(at: i64, body: Value, answer: &'static str) -> Call {
    Call { body, answer, from_us: at * 10, to_us: Some(at * 10 + 5), status: 200 }
}

pub(super) fn failed(at: i64, body: Value) -> Call {
    Call { status: 429, ..call(at, body, "") }
}

pub(super) fn during(call: Call, from_us: i64, to_us: i64) -> Call {
    Call { from_us, to_us: Some(to_us), ..call }
}

/// A chat request whose messages alternate: `u:` user, `a:` assistant, `t:` tool result, `s:` system.
pub(super) fn chat(messages: &[&str]) -> Value {
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| match message.split_once(':').expect("role:text") {
            ("u", text) => json!({"role": "user", "content": text}),
            ("a", text) => json!({"role": "assistant", "content": text}),
            ("t", text) => json!({"role": "tool", "tool_call_id": "call_1", "content": text}),
            ("c", id) => json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]}),
            (_, text) => json!({"role": "system", "content": text}),
        })
        .collect();
    json!({"model": "m", "temperature": 0, "messages": messages})
}

pub(super) fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// What a decoder would read from such a request.
pub(super) fn view(body: &Value) -> RequestView {
    let message = |value: &Value| {
        let text = value["content"].as_str().unwrap_or_default().to_owned();
        let role = match value["role"].as_str() {
            Some("assistant") => Role::Assistant,
            Some("tool") => Role::Tool,
            Some("system") => Role::System,
            _ => Role::User,
        };
        let parts = match (&role, value["tool_calls"].as_array()) {
            (Role::Tool, _) => vec![Part::ToolResult {
                call_id: value["tool_call_id"].as_str().map(str::to_owned),
                name: None,
                content: json!(text),
                is_error: false,
            }],
            (_, Some(calls)) => calls
                .iter()
                .map(|c| {
                    Part::ToolCall(ToolCall {
                        id: c["id"].as_str().map(str::to_owned),
                        name: "look".to_owned(),
                        arguments: json!({}),
                    })
                })
                .collect(),
            _ => vec![Part::Text { text }],
        };
        Message { role, parts }
    };
    let messages =
        body["messages"].as_array().map(|all| all.iter().map(message).collect()).unwrap_or_default();
    RequestView { messages, ..RequestView::default() }
}

pub(super) fn lineage_of(body: &Value, answer: Option<&str>) -> Lineage {
    let answer = answer.map(|text| ResponseView { text: text.to_owned(), ..ResponseView::default() });
    let conversation = Conversation::of(Wire::OpenAiChat, &view(body).messages);
    answer.map_or_else(|| conversation.lineage(), |answer| conversation.answered(&answer))
}

pub(super) fn tape(calls: &[Call]) -> Tape {
    tape_that_is(calls, Completeness::Complete)
}

pub(super) fn tape_that_is(calls: &[Call], completeness: Completeness) -> Tape {
    Tape::new(recorded_calls(calls), completeness, verbatim)
}

pub(super) fn recorded_calls(calls: &[Call]) -> impl Iterator<Item = RecordedCall> {
    calls.iter().zip(0u32..).map(|(call, seq)| RecordedCall {
        label: CallLabel { seq, step: Some(seq + 1), lane: 0 },
        wire: Some(Wire::OpenAiChat),
        method: "POST".to_owned(),
        path: CHAT.to_owned(),
        body: Bytes::from(call.body.to_string()).into(),
        lineage: lineage_of(&call.body, (call.status == 200).then_some(call.answer)),
        sent_us: call.from_us,
        end_us: call.to_us,
        outcome: match (call.to_us, call.status) {
            (None, _) => RecordedOutcome::InFlight,
            (_, 200) => RecordedOutcome::Answered { content: Digest::of(call.answer.as_bytes()) },
            (_, _) => RecordedOutcome::Failed { content: Digest::of(b"429") },
        },
    })
}

pub(super) fn replayer(calls: &[Call]) -> Replayer {
    Replayer::new(tape(calls), Options::default()).expect("complete")
}

pub(super) fn replayer_with(calls: &[Call], options: Options) -> Replayer {
    Replayer::new(tape(calls), options).expect("complete")
}

pub(super) fn ask(replayer: &mut Replayer, body: &Value) -> Decision {
    ask_text(replayer, &body.to_string(), body)
}

pub(super) fn ask_text(replayer: &mut Replayer, text: &str, body: &Value) -> Decision {
    let lineage = || lineage_of(body, None);
    replayer.next(&LiveRequest {
        wire: Some(Wire::OpenAiChat),
        method: "POST",
        path: CHAT,
        body: text.as_bytes(),
        lineage: &lineage,
    })
}

/// Asks, expects an answer, and finishes it.
pub(super) fn served(replayer: &mut Replayer, body: &Value) -> Served {
    match ask(replayer, body) {
        Decision::Serve(served) => {
            replayer.finished(served.entry);
            served
        }
        other => panic!("no answer to {body}: {other:?}"),
    }
}

pub(super) fn seq_of(replayer: &mut Replayer, body: &Value) -> u32 {
    served(replayer, body).label.seq
}

pub(super) fn diverged(replayer: &mut Replayer, body: &Value) -> Report {
    match ask(replayer, body) {
        Decision::Diverged(report) => *report,
        other => panic!("a divergence was expected of {body}: {other:?}"),
    }
}

pub(super) fn three_steps() -> Vec<Call> {
    vec![
        call(0, chat(&["s:Be brief.", "u:hi"]), "one"),
        call(1, chat(&["s:Be brief.", "u:hi", "a:one", "t:12 degrees"]), "two"),
        call(2, chat(&["s:Be brief.", "u:hi", "a:one", "t:12 degrees", "a:two", "u:go on"]), "three"),
    ]
}

/// A call of which only the time matters.
pub(in super::super) fn recorded_at(sent_us: i64, end_us: Option<i64>) -> RecordedCall {
    RecordedCall {
        label: CallLabel { seq: 0, step: None, lane: 0 },
        wire: None,
        method: "POST".to_owned(),
        path: CHAT.to_owned(),
        body: Bytes::new().into(),
        lineage: Lineage::default(),
        sent_us,
        end_us,
        outcome: RecordedOutcome::InFlight,
    }
}
