//! OpenAI Responses: the output's items become input items; results are items of their own. Where the server
//! keeps the conversation, the request names the answer that it follows and holds only what is new.

use super::super::lenient::{array, object, string, text};
use super::{Pieces, WrittenResult, set};
use serde_json::Value;

/// Whether the request carries on from what the server keeps.
pub(super) fn is_kept_by_server(request: &Value) -> bool {
    text(request, "previous_response_id").is_some()
}

/// The items of an answer, as they are sent back. A server that was told to store nothing does not know a
/// reasoning item by its id: without its encrypted content it is left out.
pub(super) fn items(pieces: &Pieces, request: &Value) -> Vec<Value> {
    let stores_nothing = request.get("store") == Some(&Value::Bool(false));
    let is_lost = |item: &Value| {
        stores_nothing
            && text(item, "type") == Some("reasoning")
            && string(item, "encrypted_content").is_none()
    };
    output(pieces).into_iter().filter(|item| !is_lost(item)).collect()
}

/// The items of an answer: as its last event repeats them, else as they were finished one by one.
fn output(pieces: &Pieces) -> Vec<Value> {
    match pieces {
        Pieces::Whole(answer) => array(answer, "output").to_vec(),
        Pieces::Streamed(events) => {
            let repeated =
                events.iter().rev().filter_map(|event| object(event, "response")).map(|r| array(r, "output"));
            match repeated.into_iter().find(|items| !items.is_empty()) {
                Some(items) => items.to_vec(),
                None => finished_items(events),
            }
        }
    }
}

fn finished_items(events: &[Value]) -> Vec<Value> {
    let finished = events.iter().filter(|event| text(event, "type") == Some("response.output_item.done"));
    finished.filter_map(|event| object(event, "item").cloned()).collect()
}

/// The request that names the answer which it follows, and holds the results alone.
pub(super) fn refer(
    mut request: Value,
    pieces: &Pieces,
    results: Vec<(Option<String>, WrittenResult)>,
) -> Option<Value> {
    let id = match pieces {
        Pieces::Whole(answer) => string(answer, "id"),
        Pieces::Streamed(events) => {
            events.iter().filter_map(|event| object(event, "response")).find_map(|r| string(r, "id"))
        }
    }?;
    set(&mut request, "previous_response_id", Some(Value::from(id)));
    set(&mut request, "input", Some(Value::Array(answer_calls(results))));
    Some(request)
}

/// Puts other ids in place of the recorded ones, where a request names what the server keeps.
pub(super) fn refer_to(mut request: Value, ids: &[(String, String)]) -> Option<Value> {
    if !is_kept_by_server(&request) || ids.is_empty() {
        return None;
    }
    let rename = |value: &mut Value, key: &str| {
        let now = text(value, key).and_then(|id| ids.iter().find(|(recorded, _)| recorded == id));
        if let Some((_, now)) = now {
            set(value, key, Some(Value::from(now.as_str())));
        }
    };
    rename(&mut request, "previous_response_id");
    for item in request.get_mut("input").and_then(Value::as_array_mut).into_iter().flatten() {
        rename(item, "call_id");
    }
    Some(request)
}

pub(super) fn results(item: &Value) -> Vec<WrittenResult> {
    if !text(item, "type").is_some_and(|kind| kind.ends_with("_call_output")) {
        return Vec::new();
    }
    vec![WrittenResult { call_id: string(item, "call_id"), name: string(item, "name"), value: item.clone() }]
}

pub(super) fn answer_calls(results: Vec<(Option<String>, WrittenResult)>) -> Vec<Value> {
    let answer = |(id, mut result): (Option<String>, WrittenResult)| {
        // An item's own id is made up by the client, and no two items may share one.
        set(&mut result.value, "id", None);
        set(&mut result.value, "call_id", id.map(Value::from));
        result.value
    };
    results.into_iter().map(answer).collect()
}
