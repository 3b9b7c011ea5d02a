//! OpenAI Chat Completions: an assistant message, then one message for each result.

use super::super::lenient::{array, object, string, text};
use super::super::openai_chat::first_choice;
use super::{Pieces, WrittenResult, push_text, set};
use serde_json::{Map, Value, json};

/// Members of a delta or message that only describe the answer, or that no request takes.
const NOT_SENT_BACK: &[&str] = &["role", "content", "tool_calls", "annotations", "audio", "refusal"];

pub(super) fn message(pieces: &Pieces) -> Option<Value> {
    match pieces {
        Pieces::Whole(answer) => {
            let message = first_choice(answer)?.get("message")?;
            let calls = array(message, "tool_calls").to_vec();
            Some(assembled(message.get("content").cloned(), calls, rest_of(message)))
        }
        Pieces::Streamed(chunks) => {
            let deltas = chunks.iter().filter_map(|chunk| {
                let choice = first_choice(chunk)?;
                object(choice, "delta").or_else(|| object(choice, "message"))
            });
            let (mut content, mut calls, mut rest) = (String::new(), Vec::new(), Map::new());
            for delta in deltas {
                content.push_str(text(delta, "content").unwrap_or_default());
                array(delta, "tool_calls").iter().for_each(|fragment| add_fragment(&mut calls, fragment));
                for (key, value) in rest_of(delta) {
                    join(&mut rest, key, value);
                }
            }
            let is_empty = content.is_empty() && calls.is_empty() && rest.is_empty();
            (!is_empty).then(|| assembled(Some(Value::from(content)), calls, rest))
        }
    }
}

/// What a provider says beside content and calls: reasoning that some want back.
fn rest_of(message: &Value) -> Map<String, Value> {
    let members = message.as_object().into_iter().flatten();
    members
        .filter(|(key, value)| !NOT_SENT_BACK.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn join(rest: &mut Map<String, Value>, key: String, value: Value) {
    match (rest.get_mut(&key), value) {
        (Some(Value::String(text)), Value::String(piece)) => text.push_str(&piece),
        (Some(Value::Array(elements)), Value::Array(more)) => elements.extend(more),
        (_, value) => drop(rest.insert(key, value)),
    }
}

fn assembled(content: Option<Value>, mut calls: Vec<Value>, rest: Map<String, Value>) -> Value {
    let is_silent = content.as_ref().is_none_or(|said| said.is_null() || said == "");
    let content = content.filter(|_| !is_silent || calls.is_empty()).unwrap_or(Value::Null);
    let mut message = json!({ "role": "assistant", "content": content });
    calls.iter_mut().for_each(|call| set(call, "index", None));
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    rest.into_iter().for_each(|(key, value)| set(&mut message, &key, Some(value)));
    message
}

/// Adds a fragment to the call of its index; where a provider states none, one with an id begins a call.
fn add_fragment(calls: &mut Vec<Value>, fragment: &Value) {
    let index = fragment.get("index").filter(|index| !index.is_null());
    let known = match (index, text(fragment, "id")) {
        (Some(index), _) => calls.iter().rposition(|call| call.get("index") == Some(index)),
        (None, Some(id)) => calls.iter().rposition(|call| text(call, "id") == Some(id)),
        (None, None) => calls.len().checked_sub(1),
    };
    let Some(at) = known else {
        calls.push(fragment.clone());
        return;
    };
    for (holder, piece) in [("function", "arguments"), ("custom", "input")] {
        let added = object(fragment, holder).and_then(|held| text(held, piece));
        if let (Some(added), Some(held)) = (added, calls[at].get_mut(holder)) {
            push_text(held, piece, added);
        }
    }
    if let Some(extra) = object(fragment, "extra_content") {
        set(&mut calls[at], "extra_content", Some(extra.clone()));
    }
}

pub(super) fn results(element: &Value) -> Vec<WrittenResult> {
    if element.get("role") != Some(&Value::from("tool")) {
        return Vec::new();
    }
    let (call_id, name) = (string(element, "tool_call_id"), string(element, "name"));
    vec![WrittenResult { call_id, name, value: element.clone() }]
}

pub(super) fn answer_calls(results: Vec<(Option<String>, WrittenResult)>) -> Vec<Value> {
    let answer = |(id, mut result): (Option<String>, WrittenResult)| {
        set(&mut result.value, "tool_call_id", id.map(Value::from));
        result.value
    };
    results.into_iter().map(answer).collect()
}
