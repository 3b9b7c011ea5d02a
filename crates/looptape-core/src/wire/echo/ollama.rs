//! Ollama chat: an assistant message, then one message for each result. Calls have no ids.

use super::super::lenient::{array, object, string, text};
use super::{Pieces, WrittenResult, push_text};
use serde_json::{Value, json};

pub(super) fn message(pieces: &Pieces) -> Option<Value> {
    let lines = match pieces {
        Pieces::Whole(answer) => std::slice::from_ref(answer),
        Pieces::Streamed(lines) => lines.as_slice(),
    };
    let mut message = json!({ "role": "assistant", "content": "" });
    let mut calls: Vec<Value> = Vec::new();
    for said in lines.iter().filter_map(|line| object(line, "message")) {
        for key in ["content", "thinking"] {
            if let Some(piece) = text(said, key) {
                push_text(&mut message, key, piece);
            }
        }
        calls.extend(array(said, "tool_calls").iter().cloned());
    }
    let is_silent = calls.is_empty() && text(&message, "content").is_none();
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    (!is_silent).then_some(message)
}

pub(super) fn results(element: &Value) -> Vec<WrittenResult> {
    if element.get("role") != Some(&Value::from("tool")) {
        return Vec::new();
    }
    let name = string(element, "tool_name").or_else(|| string(element, "name"));
    vec![WrittenResult { call_id: string(element, "tool_call_id"), name, value: element.clone() }]
}

pub(super) fn answer_calls(results: Vec<(Option<String>, WrittenResult)>) -> Vec<Value> {
    results.into_iter().map(|(_, result)| result.value).collect()
}
