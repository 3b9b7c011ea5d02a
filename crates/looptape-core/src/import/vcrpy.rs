//! vcrpy cassettes: version 1 as vcrpy has written it over the years, and the variants that projects
//! derive from it.
//!
//! Known shapes, from vcrpy's own serialisation code and from published cassettes:
//! - a request's `body` is text, `!!binary`, null, or a pickled `io.BytesIO`;
//! - a response's `body` is `{string: …}` (or `base64_string`), its `status` `{code, message}`; responses
//!   recorded through httpx by vcrpy 4 and 5 have `content` and `status_code` instead;
//! - `parsed_body`, where it is not null, stands for the body: a recorder parsed the JSON and dropped
//!   the text;
//! - header values are lists or single values, header names may be objects of string-like classes.

use super::{
    Interaction, Refused,
    document::{Node, Shared, Tag},
    json,
    scalar::{Value, base64},
};
use bytes::Bytes;

/// Reads all interactions.
pub(super) fn read(interactions: &[Shared]) -> Result<Vec<Interaction>, Refused> {
    (0..).zip(interactions).map(|(index, node)| Place { index }.interaction(node)).collect()
}

/// Which interaction is being read: what errors have to name.
#[derive(Clone, Copy)]
struct Place {
    index: u32,
}

/// A body, and whether the file holds its bytes.
struct Body {
    bytes: Bytes,
    exact: bool,
}

impl Place {
    fn interaction(self, node: &Node) -> Result<Interaction, Refused> {
        let request = self.map(node, "request")?;
        let response = self.map(node, "response")?;
        let request_body = self.body(request, "request.body")?;
        let response_body = self.body(response, "response.body")?;
        Ok(Interaction {
            index: self.index,
            method: self.text(request, "method", "request.method")?,
            url: self.text(request, "uri", "request.uri")?,
            request_headers: self.headers(request, "request.headers")?,
            request_body: request_body.bytes,
            status: self.status(response)?,
            response_headers: self.headers(response, "response.headers")?,
            response_body: response_body.bytes,
            request_exact: request_body.exact,
            response_exact: response_body.exact,
            recorded_at: node.get_some("recorded_at").and_then(Node::text).map(|t| t.into_owned()),
        })
    }

    fn map<'a>(self, node: &'a Node, field: &'static str) -> Result<&'a Node, Refused> {
        let value = node.get_some(field).ok_or_else(|| self.missing(field))?;
        if value.is_map() { Ok(value) } else { Err(self.wrong(field, "a mapping")) }
    }

    fn text(self, node: &Node, key: &str, field: &'static str) -> Result<String, Refused> {
        let value = node.get_some(key).ok_or_else(|| self.missing(field))?;
        value.text().map(|t| t.into_owned()).ok_or_else(|| self.wrong(field, "text"))
    }

    fn status(self, response: &Node) -> Result<u16, Refused> {
        let field = "response.status";
        let status = response.get_some("status").or_else(|| response.get_some("status_code"));
        let status = status.ok_or_else(|| self.missing(field))?;
        let code = status.get_some("code").unwrap_or(status);
        let text = code.text().unwrap_or_default();
        let digits = text.split_whitespace().next().unwrap_or_default();
        let code = digits.parse().ok().filter(|code| (100..1000).contains(code));
        code.ok_or_else(|| self.wrong(field, "an HTTP status code"))
    }

    fn body(self, message: &Node, field: &'static str) -> Result<Body, Refused> {
        if let Some(parsed) = message.get_some("parsed_body") {
            return Ok(Body { bytes: json::write(parsed)?.into(), exact: false });
        }
        match message.get_some("body").or_else(|| message.get_some("content")) {
            Some(body) => self.body_value(body, field),
            None => Ok(Body { bytes: Bytes::new(), exact: true }),
        }
    }

    fn body_value(self, body: &Node, field: &'static str) -> Result<Body, Refused> {
        let exact = |bytes: Option<Vec<u8>>, expected| match bytes {
            Some(bytes) => Ok(Body { bytes: bytes.into(), exact: true }),
            None => Err(self.wrong(field, expected)),
        };
        if body.is_null() {
            return exact(Some(Vec::new()), "");
        }
        if let Some(encoded) = body.get_some("base64_string") {
            return exact(encoded.text().and_then(|t| base64(&t)), "base64");
        }
        if let Some(string) = body.get("string") {
            return self.body_value(string, field);
        }
        match (body, body.tag()) {
            (Node::Scalar(scalar), _) => exact(scalar.bytes(), "base64"),
            (_, Tag::Object(class)) => exact(payload(body, class), "text or binary"),
            _ => Ok(Body { bytes: json::write(body)?.into(), exact: false }),
        }
    }

    fn headers(self, message: &Node, field: &'static str) -> Result<Vec<(String, String)>, Refused> {
        let mut headers = Vec::new();
        if let Some(node) = message.get_some("headers") {
            append_headers(node, &mut headers)
                .ok_or_else(|| self.wrong(field, "a mapping of names to values"))?;
        }
        Ok(headers)
    }

    fn missing(self, field: &'static str) -> Refused {
        Refused::MissingField { interaction: self.index, field }
    }

    fn wrong(self, field: &'static str, expected: &'static str) -> Refused {
        Refused::WrongShape { interaction: self.index, field, expected }
    }
}

/// Appends headers: of a mapping, of a list of pairs or of mappings (ordered mappings), or of whichever of
/// these an object wraps. `None` if the node is none of them.
fn append_headers(node: &Node, headers: &mut Vec<(String, String)>) -> Option<()> {
    match node {
        Node::Scalar(_) => node.is_null().then_some(()),
        Node::Map { tag: Tag::Object(_), .. } if wrapped(node).is_some() => {
            append_headers(wrapped(node)?, headers)
        }
        Node::Map { entries, .. } => {
            entries.iter().try_for_each(|(name, value)| append_header(name, value, headers))
        }
        Node::List { items, .. } => items.iter().try_for_each(|item| match item.items() {
            Some([name, value]) if matches!(**name, Node::Scalar(_)) => append_header(name, value, headers),
            _ => append_headers(item, headers),
        }),
    }
}

/// Where a pickled mapping keeps its entries.
fn wrapped(object: &Node) -> Option<&Node> {
    ["dictitems", "listitems", "state", "args"].iter().find_map(|key| object.get_some(key))
}

fn append_header(name: &Node, value: &Node, headers: &mut Vec<(String, String)>) -> Option<()> {
    let name = name.text()?;
    match value {
        Node::List { tag, items } if !matches!(tag, Tag::Object(_)) => {
            for item in items {
                headers.push((name.clone().into_owned(), header_value(item)?));
            }
        }
        _ => headers.push((name.into_owned(), header_value(value)?)),
    }
    Some(())
}

fn header_value(value: &Node) -> Option<String> {
    if value.is_null() { Some(String::new()) } else { value.text().map(|t| t.into_owned()) }
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

fn append_payloads<'a>(node: &'a Node, found: &mut Vec<&'a super::scalar::Scalar>) {
    match node {
        // Two candidates already decide; the rest of a large structure need not be walked.
        _ if found.len() > 1 => {}
        Node::Scalar(scalar) if matches!(scalar.value(), Value::Text(_)) => found.push(scalar),
        Node::Scalar(_) => {}
        Node::List { items, .. } => items.iter().for_each(|item| append_payloads(item, found)),
        Node::Map { entries, .. } => entries.iter().for_each(|(_, value)| append_payloads(value, found)),
    }
}
