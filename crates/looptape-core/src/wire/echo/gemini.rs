//! Gemini: a model content of the answer's parts, then a user content of function responses.

use super::super::gemini::{either, first_candidate};
use super::super::lenient::{array, object, string};
use super::{Pieces, WrittenResult, push_text, set};
use serde_json::{Value, json};

pub(super) fn content(pieces: &Pieces) -> Option<Value> {
    let answers = match pieces {
        Pieces::Whole(answer) => std::slice::from_ref(answer),
        Pieces::Streamed(answers) => answers.as_slice(),
    };
    let mut parts: Vec<Value> = Vec::new();
    for answer in answers {
        let answer = object(answer, "response").unwrap_or(answer);
        let content = first_candidate(answer).and_then(|candidate| candidate.get("content"));
        for part in content.map(|content| array(content, "parts")).unwrap_or_default() {
            add(&mut parts, part);
        }
    }
    let is_empty = |part: &Value| part.get("text") == Some(&Value::from("")) && signature(part).is_none();
    parts.retain(|part| !is_empty(part));
    (!parts.is_empty()).then(|| json!({ "role": "model", "parts": parts }))
}

fn signature(part: &Value) -> Option<&Value> {
    either(part, "thoughtSignature", "thought_signature")
}

/// Pieces of one text become one part again; a signature ends a part.
fn add(parts: &mut Vec<Value>, part: &Value) {
    let piece = part.get("text").and_then(Value::as_str);
    if let (Some(piece), Some(last)) = (piece, parts.last_mut())
        && last.get("text").is_some()
        && last.get("thought") == part.get("thought")
        && signature(last).is_none()
    {
        push_text(last, "text", piece);
        let signed = signature(part).cloned();
        if signed.is_some() {
            set(last, "thoughtSignature", signed);
        }
        return;
    }
    parts.push(part.clone());
}

pub(super) fn results(content: &Value) -> Vec<WrittenResult> {
    let result = |part: &Value| {
        let response = either(part, "functionResponse", "function_response")?;
        let (call_id, name) = (string(response, "id"), string(response, "name"));
        Some(WrittenResult { call_id, name, value: part.clone() })
    };
    array(content, "parts").iter().filter_map(result).collect()
}

pub(super) fn answer_calls(results: Vec<(Option<String>, WrittenResult)>) -> Vec<Value> {
    let answer = |(id, mut result): (Option<String>, WrittenResult)| {
        let key = if result.value.get("functionResponse").is_some() {
            "functionResponse"
        } else {
            "function_response"
        };
        if let Some(response) = result.value.get_mut(key) {
            set(response, "id", id.map(Value::from));
        }
        result.value
    };
    let parts: Vec<Value> = results.into_iter().map(answer).collect();
    if parts.is_empty() { Vec::new() } else { vec![json!({ "role": "user", "parts": parts })] }
}
