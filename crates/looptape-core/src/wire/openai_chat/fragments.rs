//! Tool calls that arrive in fragments.
//!
//! Fragments of one call share its `index`; some providers leave the index out or null, and then the id
//! or the order tells. Nothing is lost: a fragment that continues no known call begins one.

use super::super::lenient::{self, object, text};
use super::ToolCall;
use super::custom_tool;
use serde_json::Value;

/// The calls of an answer so far, in order of appearance.
#[derive(Debug, Default)]
pub(super) struct CallFragments {
    calls: Vec<PartialCall>,
}

#[derive(Debug)]
struct PartialCall {
    place: Place,
    id: Option<String>,
    name: String,
    /// Arguments or input as text, in pieces.
    text: String,
    /// Arguments that came as a value of their own.
    value: Option<Value>,
    input: Input,
}

/// Where a call stands among the others, as far as its provider says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Index(i64),
    Unstated,
    /// The one call that the legacy `function_call` can make.
    Legacy,
}

/// What a call's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// A function's arguments: JSON as text.
    Json,
    /// A custom tool's input: any text.
    Text,
}

impl CallFragments {
    /// Adds an element of a delta's `tool_calls`.
    pub(super) fn add(&mut self, fragment: &Value) {
        let place = fragment.get("index").and_then(Value::as_i64).map_or(Place::Unstated, Place::Index);
        let id = text(fragment, "id");
        match custom_tool(fragment) {
            Some(custom) => self.add_piece(place, id, Input::Text, custom),
            None => {
                let function = object(fragment, "function").unwrap_or(fragment);
                self.add_piece(place, id, Input::Json, function);
            }
        }
    }

    /// Adds a delta's `function_call`.
    pub(super) fn add_legacy(&mut self, function: &Value) {
        self.add_piece(Place::Legacy, None, Input::Json, function);
    }

    /// Adds a piece that has nothing but its index and text; tells whether there is a call to add it to.
    #[must_use]
    pub(super) fn continues(&mut self, index: i64, piece: &str) -> bool {
        let known = self.calls.iter_mut().rfind(|call| call.place == Place::Index(index));
        known.map(|call| call.text.push_str(piece)).is_some()
    }

    fn add_piece(&mut self, place: Place, id: Option<&str>, input: Input, piece: &Value) {
        let name = text(piece, "name");
        let position = self.continued_by(place, id, name).unwrap_or_else(|| {
            self.calls.push(PartialCall::new(place, input));
            self.calls.len() - 1
        });
        let call = &mut self.calls[position];
        call.id = call.id.take().or_else(|| id.map(str::to_owned));
        if call.name.is_empty() {
            call.name = name.unwrap_or_default().to_owned();
        }
        match piece.get("arguments").or_else(|| piece.get("input")) {
            Some(Value::String(text)) => call.text.push_str(text),
            Some(Value::Null) | None => {}
            Some(value) => call.value = Some(value.clone()),
        }
    }

    /// The call that a fragment continues; `None` if it begins one. A known place with another id and a
    /// name begins one too: some providers give every call index 0.
    fn continued_by(&self, place: Place, id: Option<&str>, name: Option<&str>) -> Option<usize> {
        let position = match (place, id, name) {
            (Place::Index(_) | Place::Legacy, ..) => self.calls.iter().rposition(|call| call.place == place),
            (Place::Unstated, Some(id), _) => {
                self.calls.iter().rposition(|call| call.id.as_deref() == Some(id))
            }
            (Place::Unstated, None, Some(_)) => None,
            (Place::Unstated, None, None) => self.calls.len().checked_sub(1),
        }?;
        let known_id = self.calls[position].id.as_deref();
        let begins_another = name.is_some() && id.is_some() && known_id.is_some() && known_id != id;
        (!begins_another).then_some(position)
    }

    /// The calls, put together.
    pub(super) fn join(self) -> Vec<ToolCall> {
        self.calls.into_iter().map(PartialCall::join).collect()
    }
}

impl PartialCall {
    fn new(place: Place, input: Input) -> Self {
        Self { place, id: None, name: String::new(), text: String::new(), value: None, input }
    }

    fn join(self) -> ToolCall {
        let arguments = match (self.value, self.input) {
            (Some(value), _) => value,
            (None, Input::Json) => lenient::arguments(&self.text),
            (None, Input::Text) => Value::String(self.text),
        };
        ToolCall { id: self.id, name: self.name, arguments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn join(fragments: &[Value]) -> Vec<(Option<String>, String, Value)> {
        let mut calls = CallFragments::default();
        fragments.iter().for_each(|fragment| calls.add(fragment));
        calls.join().into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
    }

    fn fragment(index: Value, id: Value, name: Value, arguments: &str) -> Value {
        json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    }

    fn two_calls() -> Vec<(Option<String>, String, Value)> {
        vec![(Some("a".into()), "f".into(), json!({"x": 1})), (Some("b".into()), "g".into(), json!({"y": 2}))]
    }

    #[test]
    fn by_index_even_when_interleaved() {
        let null = Value::Null;
        let fragments = [
            fragment(json!(0), json!("a"), json!("f"), ""),
            fragment(json!(1), json!("b"), json!("g"), "{\"y\""),
            fragment(json!(0), null.clone(), null.clone(), "{\"x\":1"),
            fragment(json!(1), json!(""), null.clone(), ":2}"),
            fragment(json!(0), json!("a"), json!("f"), "}"),
        ];
        assert_eq!(join(&fragments), two_calls());
    }

    #[test]
    fn without_an_index_by_id_or_order() {
        let null = || Value::Null;
        let by_order = [
            fragment(null(), json!("a"), json!("f"), "{\"x\":"),
            fragment(null(), null(), null(), "1}"),
            fragment(null(), json!("b"), json!("g"), "{\"y\":2}"),
        ];
        assert_eq!(join(&by_order), two_calls());
        let by_id = [
            fragment(null(), json!("a"), json!("f"), "{\"x\":"),
            fragment(null(), json!("b"), json!("g"), "{\"y\":"),
            fragment(null(), json!("a"), null(), "1}"),
            fragment(null(), json!("b"), null(), "2}"),
        ];
        assert_eq!(join(&by_id), two_calls());
        let without_ids =
            [fragment(null(), null(), json!("f"), "{}"), fragment(null(), null(), json!("f"), "{}")];
        assert_eq!(join(&without_ids).len(), 2);
    }

    #[test]
    fn every_call_with_index_zero() {
        let fragments = [
            fragment(json!(0), json!("a"), json!("f"), "{\"x\":1}"),
            fragment(json!(0), json!("b"), json!("g"), "{\"y\":2}"),
        ];
        assert_eq!(join(&fragments), two_calls());
    }

    #[test]
    fn custom_tools_and_arguments_as_values() {
        let custom = [
            json!({"index": 0, "id": "c", "type": "custom", "custom": {"name": "run", "input": "{\"a\""}}),
            json!({"index": 0, "custom": {"input": ":1}"}}),
        ];
        assert_eq!(join(&custom), [(Some("c".into()), "run".into(), json!("{\"a\":1}"))]);
        let value = json!({"id": "v", "function": {"name": "f", "arguments": {"x": 1}}});
        assert_eq!(join(&[value]), [(Some("v".into()), "f".into(), json!({"x": 1}))]);
        let cut = fragment(json!(0), json!("a"), json!("f"), "{\"x");
        assert_eq!(join(&[cut])[0].2, json!("{\"x"));
    }
}
