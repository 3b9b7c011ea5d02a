//! Reading JSON that may not be what it should be: a missing field and a field of the wrong type are the
//! same `None`. Also the few shapes that several providers share: roles, error objects, arguments as text.

use super::{ProviderError, Role};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A text borrowed from the JSON that it stands in, unless it has escapes.
///
/// Streams are read while they are recorded, and most of their events are a few letters in an envelope. The
/// formats read such events into types of their own with this and with `()` for fields that must be absent
/// or null; an event that does not fit is read as a [`Value`] like everything else.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What an optional text says; an empty one says nothing.
pub(super) fn said<'a>(text: &'a Option<Text<'_>>) -> Option<&'a str> {
    text.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty())
}

/// A field's text, if it is text and not empty.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// As [`text`], owned.
pub(super) fn string(value: &Value, key: &str) -> Option<String> {
    text(value, key).map(str::to_owned)
}

/// A field's elements; none if it is not an array.
pub(super) fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A field that is an object.
pub(super) fn object<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|field| field.is_object())
}

/// A count behind a path of keys and places (`/results/0/tokenCount`).
pub(super) fn count(value: &Value, path: &str) -> Option<u64> {
    let behind = path.split('/').skip(1).try_fold(value, |at, step| match at {
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        _ => at.get(step),
    })?;
    number(behind)
}

/// A count. Some providers write counts as floats.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|f| (0.0..=9.0e15).contains(f) && f.fract() == 0.0)?;
        Some(float as u64)
    })
}

/// The sum of what is known; `None` if nothing is.
pub(super) fn sum(parts: &[Option<u64>]) -> Option<u64> {
    parts.iter().flatten().copied().reduce(u64::saturating_add)
}

/// Whether a flag is set; anything but `true` is not.
pub(super) fn is_set(value: &Value, key: &str) -> bool {
    value.get(key) == Some(&Value::Bool(true))
}

/// Tool arguments written as text: parsed, or the text itself if they do not parse.
pub(super) fn arguments(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// An object without fields: the arguments of a call that has none.
pub(super) fn no_arguments() -> Value {
    Value::Object(Map::new())
}

/// The role that a message names.
pub(super) fn role(value: &Value) -> Option<Role> {
    Some(match text(value, "role")? {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" | "model" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        other => Role::Other(other.to_owned()),
    })
}

/// The error under the key `error`: an object, or only its message.
pub(super) fn provider_error(body: &Value) -> Option<ProviderError> {
    match body.get("error")? {
        error @ Value::Object(_) => Some(error_object(error)),
        Value::String(message) => Some(ProviderError { kind: None, message: Some(message.clone()) }),
        _ => None,
    }
}

/// An error's own object. The kind is its code where that is a word, else its type or status, else the
/// code's number.
pub(super) fn error_object(error: &Value) -> ProviderError {
    let kind = ["code", "type", "status"].iter().find_map(|key| string(error, key));
    let number = || error.get("code").filter(|code| code.is_number()).map(Value::to_string);
    let message = string(error, "message").or_else(|| string(error, "detail"));
    ProviderError { kind: kind.or_else(number), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_may_be_floats_but_not_fractions_or_negative() {
        let v = json!({"a": 3, "b": 4.0, "c": 4.5, "d": -1, "e": "5", "f": 1e300, "g": null});
        let read: Vec<_> = "abcdefgh".chars().map(|k| count(&v, &format!("/{k}"))).collect();
        assert_eq!(read, [Some(3), Some(4), None, None, None, None, None, None]);
    }

    #[test]
    fn errors_name_their_kind() {
        let kind = |error: Value| provider_error(&json!({"error": error})).unwrap().kind;
        assert_eq!(
            kind(json!({"type": "tokens", "code": "rate_limit_exceeded"})).unwrap(),
            "rate_limit_exceeded"
        );
        assert_eq!(kind(json!({"type": "overloaded_error"})).unwrap(), "overloaded_error");
        assert_eq!(kind(json!({"code": 429, "status": "RESOURCE_EXHAUSTED"})).unwrap(), "RESOURCE_EXHAUSTED");
        assert_eq!(kind(json!({"code": 429, "message": "slow down"})).unwrap(), "429");
        assert_eq!(kind(json!("bad")), None);
        assert_eq!(provider_error(&json!({"error": null})), None);
    }
}
