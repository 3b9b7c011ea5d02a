//! Anthropic Messages: an assistant message of the answer's blocks, then a user message of result blocks.

use super::super::lenient::{array, count, object, string, text};
use super::{Pieces, WrittenResult, push_text, set};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) fn message(pieces: &Pieces) -> Option<Value> {
    let blocks: Vec<Value> = match pieces {
        Pieces::Whole(answer) => array(answer, "content").to_vec(),
        Pieces::Streamed(events) => assemble(events),
    };
    let is_sent_back = |block: &Value| text(block, "type") != Some("text") || text(block, "text").is_some();
    let blocks: Vec<Value> = blocks.into_iter().filter(is_sent_back).collect();
    (!blocks.is_empty()).then(|| json!({ "role": "assistant", "content": blocks }))
}

fn assemble(events: &[Value]) -> Vec<Value> {
    let mut blocks: BTreeMap<u64, Value> = BTreeMap::new();
    let mut inputs: BTreeMap<u64, String> = BTreeMap::new();
    for event in events {
        let index = count(event, "/index").unwrap_or(0);
        match text(event, "type") {
            Some("content_block_start") => {
                if let Some(block) = object(event, "content_block") {
                    blocks.insert(index, block.clone());
                }
            }
            Some("content_block_delta") => {
                if let (Some(block), Some(delta)) = (blocks.get_mut(&index), object(event, "delta")) {
                    match text(delta, "partial_json") {
                        Some(piece) => inputs.entry(index).or_default().push_str(piece),
                        None => add_delta(block, delta),
                    }
                }
            }
            _ => {}
        }
    }
    for (index, input) in inputs {
        if let Some(block) = blocks.get_mut(&index) {
            set(block, "input", Some(serde_json::from_str(&input).unwrap_or(Value::Object(Map::new()))));
        }
    }
    blocks.into_values().collect()
}

fn add_delta(block: &mut Value, delta: &Value) {
    for key in ["text", "thinking", "signature"] {
        if let Some(piece) = text(delta, key) {
            push_text(block, key, piece);
        }
    }
    if let Some(citation) = object(delta, "citation") {
        match block.get_mut("citations") {
            Some(Value::Array(citations)) => citations.push(citation.clone()),
            _ => set(block, "citations", Some(json!([citation]))),
        }
    }
}

pub(super) fn results(message: &Value) -> Vec<WrittenResult> {
    let blocks = array(message, "content").iter().filter(|block| text(block, "type") == Some("tool_result"));
    let result = |block: &Value| WrittenResult {
        call_id: string(block, "tool_use_id"),
        name: None,
        value: block.clone(),
    };
    blocks.map(result).collect()
}

/// Cache marks are left out: they moved with the recorded request's end, and only a few are allowed.
pub(super) fn answer_calls(results: Vec<(Option<String>, WrittenResult)>) -> Vec<Value> {
    let answer = |(id, mut result): (Option<String>, WrittenResult)| {
        set(&mut result.value, "cache_control", None);
        set(&mut result.value, "tool_use_id", id.map(Value::from));
        result.value
    };
    let blocks: Vec<Value> = results.into_iter().map(answer).collect();
    if blocks.is_empty() { Vec::new() } else { vec![json!({ "role": "user", "content": blocks })] }
}
