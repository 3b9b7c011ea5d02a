//! For tests: events as providers mostly send them, and as they should not.

use proptest::prelude::*;
use serde_json::{Value, json};

/// A stream of events named by their type, and where each ends.
pub(super) fn stream(events: &[Value]) -> (String, Vec<usize>) {
    let mut body = String::new();
    let ends = events
        .iter()
        .map(|event| {
            body += &format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
            body.len()
        })
        .collect();
    (body, ends)
}

/// A field's value: absent, or one of several, sensible or not.
fn any_field(key: &'static str, values: Vec<Value>) -> impl Strategy<Value = Option<(String, Value)>> {
    let field = proptest::sample::select(values).prop_map(move |value| (key.to_owned(), value));
    proptest::option::weighted(0.4, field)
}

/// An object of these fields: each absent, odd, or (mostly) with its usual value.
pub(super) fn any_object(fields: &[(&'static str, Value)]) -> impl Strategy<Value = Value> + use<> {
    let odd = [Value::Null, json!(""), json!("x"), json!(0), json!(1), json!([]), json!({})];
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, usual)| any_field(key, [&odd[..], &vec![usual.clone(); 7]].concat()))
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
}
