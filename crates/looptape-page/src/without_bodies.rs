//! Answers without what was said: for files that are shown to people who may see what a run cost, and not what it was about.
//!
//! Only what is known to be a name or a word of looptape's own stays; every other text goes, whatever it is called, and says
//! how long it was. What tools were called with and gave back goes whole, names of arguments included.

use serde_json::{Map, Value};

/// Texts below these keys stay.
const NAMES: &[&str] = &[
    "agent",
    "answers",
    "at_s",
    "cause",
    "change",
    "coverage",
    "endpoint",
    "ending",
    "executor",
    "factor",
    "field",
    "finish_reason",
    "format",
    "id",
    "kind",
    "label",
    "method",
    "model",
    "models",
    "name",
    "outcome",
    "path",
    "price_source",
    "price_version",
    "provider",
    "reason",
    "response_model",
    "retry_layer",
    "role",
    "section",
    "short",
    "source",
    "started_at",
    "state",
    "status",
    "tokenizer",
    "tokenizers",
    "tool",
    "trace",
    "type",
    "unit",
    "upstream",
    "via",
    "what_if",
    "why",
    "wire",
    "words",
];

/// What is below these keys goes whole.
const BODIES: &[&str] = &[
    "arguments",
    "beginning",
    "command",
    "content",
    "cut",
    "input",
    "messages_text",
    "output",
    "parameters",
    "raw",
    "result",
    "system",
    "tags",
    "text",
    "value",
];

/// The same value without bodies.
pub(crate) fn without_bodies(value: &Value) -> Value {
    without("", value)
}

fn without(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(all) => {
            let one = |(key, value): (&String, &Value)| {
                let is_body = BODIES.contains(&key.as_str());
                (key.clone(), if is_body { gone(value) } else { without(key, value) })
            };
            Value::Object(all.iter().map(one).collect::<Map<_, _>>())
        }
        Value::Array(all) => all.iter().map(|value| without(key, value)).collect(),
        Value::String(_) if NAMES.contains(&key) => value.clone(),
        Value::String(_) => gone(value),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// What stands where something was; a shape that those who draw it expect.
fn gone(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if text.is_empty() => value.clone(),
        Value::String(text) => Value::String(format!("(left out: {} characters)", text.chars().count())),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_and_names_stay_and_what_was_said_goes() {
        let secret = "my medical history";
        let answer = json!({
            "step": {"step": 3, "kind": "llm", "model": "gpt-4o", "text": secret, "cost": {"usd": 0.25},
                "tool": {"name": "search", "arguments": {secret: secret}, "result": secret, "outcome": "ok"}},
            "request": {"system": [{"type": "text", "text": secret}], "messages": [
                {"role": "user", "parts": [{"type": "text", "text": secret}, {"type": "other", "kind": "image", "value": {"data": secret}}]},
                {"role": "tool", "parts": [{"type": "tool_result", "name": "search", "content": [secret], "is_error": false}]}
            ], "parameters": {"temperature": 1, "stop": secret}},
            "something_new": secret, "gist": [secret, 3], "cut": [{"pointer": format!("/arguments/{secret}"), "chars": 9}],
        });
        let left = without_bodies(&answer);
        assert!(!left.to_string().contains(secret), "{left}");
        assert_eq!(left["step"]["model"], "gpt-4o");
        assert_eq!(left["step"]["cost"]["usd"], 0.25);
        assert_eq!(left["step"]["text"], "(left out: 18 characters)");
        assert_eq!(left["step"]["tool"]["name"], "search");
        assert_eq!(left["request"]["messages"][0]["role"], "user");
        assert_eq!(left["request"]["messages"][1]["parts"][0]["content"], json!([]));
    }
}
