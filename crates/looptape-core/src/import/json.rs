//! JSON in both directions: a JSON file into the tree, and a parsed body back into JSON text.

use super::{
    Refused,
    document::{Node, Shared, Tag},
    scalar::{Scalar, Style, Value},
};
use std::rc::Rc;

/// The longest text that one parsed body may become.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Parses a JSON file.
pub(super) fn parse(text: &str) -> Result<Shared, Refused> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => Ok(node(value)),
        Err(e) => {
            Err(Refused::NotJson { line: e.line() as u64, column: e.column() as u64, problem: problem(&e) })
        }
    }
}

/// The parser's message without the position, which has fields of its own.
fn problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.split(" at line ").next().unwrap_or(&message).to_owned()
}

fn node(value: serde_json::Value) -> Shared {
    let scalar = |text: String, tag: Tag| Node::Scalar(Scalar { text, tag, style: Style::Marked });
    Rc::new(match value {
        serde_json::Value::Null => scalar("null".to_owned(), Tag::Typed),
        serde_json::Value::Bool(b) => scalar(b.to_string(), Tag::Typed),
        serde_json::Value::Number(n) => scalar(n.to_string(), Tag::Typed),
        serde_json::Value::String(text) => scalar(text, Tag::Absent),
        serde_json::Value::Array(items) => {
            Node::List { tag: Tag::Absent, items: items.into_iter().map(node).collect() }
        }
        serde_json::Value::Object(entries) => Node::Map {
            tag: Tag::Absent,
            entries: entries.into_iter().map(|(k, v)| (Rc::new(scalar(k, Tag::Absent)), node(v))).collect(),
        },
    })
}

/// A structure as compact JSON, keys in file order.
pub(super) fn write(node: &Node) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    append(node, &mut out)?;
    Ok(out)
}

fn append(node: &Node, out: &mut Vec<u8>) -> Result<(), Refused> {
    if out.len() > MAX_BODY_BYTES {
        return Err(Refused::ExpandsTooFar { limit: "64 MiB in one body" });
    }
    match node {
        Node::Scalar(scalar) => match scalar.value() {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
            Value::Number(number) => out.extend_from_slice(number.as_bytes()),
            Value::Text(text) => append_text(&text, out),
        },
        Node::List { items, .. } => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                append(item, out)?;
            }
            out.push(b']');
        }
        Node::Map { entries, .. } => {
            out.push(b'{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                append_text(&key.as_key(), out);
                out.push(b':');
                append(value, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn append_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text is always JSON, and a vector takes any bytes");
}
