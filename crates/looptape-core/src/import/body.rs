//! Bodies: text, binary, base64, or a structure that a recorder parsed out of them.

use super::{
    Refused,
    document::{Node, Tag},
    json,
    place::Place,
    scalar::{Scalar, Value, base64},
};
use bytes::Bytes;

/// A body, and whether the file holds its bytes.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) exact: bool,
}

impl Body {
    /// The very bytes that the file holds.
    pub(super) fn exact(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), exact: true }
    }

    /// Bytes that stand for a body which the file does not hold as it was.
    pub(super) fn rewritten(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), exact: false }
    }

    pub(super) fn empty() -> Self {
        Self::exact(Bytes::new())
    }

    /// A structure, as compact JSON.
    pub(super) fn parsed(structure: &Node) -> Result<Self, Refused> {
        Ok(Self::rewritten(json::write(structure)?))
    }

    /// A body as vcrpy writes it: text, binary, null, `{string}`, `{base64_string}`, a pickled object, or a
    /// structure.
    pub(super) fn of_node(place: Place, body: &Node, field: &'static str) -> Result<Self, Refused> {
        if body.is_null() {
            return Ok(Self::empty());
        }
        if let Some(encoded) = body.get_some("base64_string") {
            return Self::of_base64(place, encoded, field);
        }
        if let Some(string) = body.get("string") {
            return Self::of_node(place, string, field);
        }
        match (body, body.tag()) {
            (Node::Scalar(scalar), _) => Self::of_scalar(place, scalar, field),
            (_, Tag::Object(class)) => {
                payload(body, class).map(Self::exact).ok_or_else(|| place.wrong(field, "text or binary"))
            }
            _ => Self::parsed(body),
        }
    }

    /// Text, or binary by its tag.
    pub(super) fn of_scalar(place: Place, scalar: &Scalar, field: &'static str) -> Result<Self, Refused> {
        scalar.bytes().map(Self::exact).ok_or_else(|| place.wrong(field, "base64"))
    }

    /// Text in base64.
    pub(super) fn of_base64(place: Place, encoded: &Node, field: &'static str) -> Result<Self, Refused> {
        let bytes = encoded.text().and_then(|text| base64(&text));
        bytes.map(Self::exact).ok_or_else(|| place.wrong(field, "base64"))
    }
}

/// The bytes that a pickled object carries: its only text or binary. In-memory files also have a position
/// and a newline mode, which come after the content.
fn payload(object: &Node, class: &str) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    append_payloads(object, &mut found);
    let is_file = class.ends_with("BytesIO") || class.ends_with("StringIO");
    match found.as_slice() {
        [only] => only.bytes(),
        [first, ..] if is_file => first.bytes(),
        _ => None,
    }
}

fn append_payloads<'a>(node: &'a Node, found: &mut Vec<&'a Scalar>) {
    match node {
        // Two candidates already decide; the rest of a large structure need not be walked.
        _ if found.len() > 1 => {}
        Node::Scalar(scalar) if matches!(scalar.value(), Value::Text(_)) => found.push(scalar),
        Node::Scalar(_) => {}
        Node::List { items, .. } => items.iter().for_each(|item| append_payloads(item, found)),
        Node::Map { entries, .. } => entries.iter().for_each(|(_, value)| append_payloads(value, found)),
    }
}
