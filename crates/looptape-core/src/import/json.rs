//! A parsed body back into JSON text.

use super::{Refused, document::Node, scalar::Value};

/// The longest text that one parsed body may become.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

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
