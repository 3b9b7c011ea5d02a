//! What a tool result or a part without a reader of its own says, as text.

use serde_json::Value;

/// A text as it is, text parts joined, anything else as JSON.
pub(crate) fn content_text(content: &Value) -> String {
    let texts = |parts: &Vec<Value>| -> Option<String> {
        parts.iter().map(|part| part.get("text").and_then(Value::as_str)).collect()
    };
    match content {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => texts(parts).unwrap_or_else(|| content.to_string()),
        // Formats whose results must be objects have a text wrapped into one by their clients.
        Value::Object(members) if members.len() == 1 => {
            let text = members.get("result").or_else(|| members.get("output")).and_then(Value::as_str);
            text.map_or_else(|| content.to_string(), str::to_owned)
        }
        other => other.to_string(),
    }
}
