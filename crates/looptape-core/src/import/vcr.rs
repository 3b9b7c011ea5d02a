//! Cassettes with `http_interactions`: Ruby's VCR (from 2.0), R's vcr, and Python's betamax, in YAML and in
//! JSON.
//!
//! Known shapes, from the serialisation code of the three:
//! - a body is `{encoding, string}`, `{encoding, base64_string}`, or text alone; R's vcr 2 also writes
//!   `{raw_gzip}` (zlib or gzip, in base64), `{fields}` (a form, parsed) and `{on_disk}` (a path; before 2,
//!   `{file: true, string: path}`);
//! - `encoding` is what the bytes were in; the file holds their text, so other encodings than UTF-8 are
//!   written back;
//! - a status is `{code, message}`, `{status_code, message, explanation}`, or a number;
//! - Ruby writes methods in lower case;
//! - `recorded_at` is the moment at which the interaction was noted down, to the second.

use super::{
    Interaction, Refused, Side,
    body::Body,
    document::{Node, Tag},
    header_list,
    place::Place,
    scalar::{Scalar, Style, Value, base64},
    times,
};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use std::io::Read;

/// The longest body that a compressed one may become.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// Reads one interaction.
pub(super) fn interaction(place: Place, node: &Node) -> Result<Interaction, Refused> {
    let request = place.map(node, "request", "request")?;
    let response = place.map(node, "response", "response")?;
    let side = |message, headers, body_field| {
        Ok::<_, Refused>(Side {
            headers: header_list::read(place, message, "headers", headers)?,
            body: body(place, message, body_field)?,
        })
    };
    let method = place.text(request, "method", "request.method")?.to_ascii_uppercase();
    let line = (method, place.text(request, "uri", "request.uri")?);
    let asked = side(request, "request.headers", "request.body")?;
    let answer = side(response, "response.headers", "response.body")?;
    let times = times::recorded_at(node);
    Ok(Interaction { times, ..Interaction::answered(place, line, asked, status(place, response)?, answer) })
}

fn status(place: Place, response: &Node) -> Result<u16, Refused> {
    let field = "response.status";
    let status = response.get_some("status").ok_or_else(|| place.missing(field))?;
    let code = status.get_some("code").or_else(|| status.get_some("status_code"));
    place.status_code(code.unwrap_or(status), field)
}

fn body(place: Place, message: &Node, field: &'static str) -> Result<Body, Refused> {
    let Some(body) = message.get_some("body") else { return Ok(Body::empty()) };
    if let Node::Scalar(scalar) = body {
        return Body::of_scalar(place, scalar, field);
    }
    if body.get_some("on_disk").is_some() || body.get_some("file").is_some_and(is_yes) {
        return Err(Refused::BodyElsewhere { interaction: place.index, field });
    }
    if let Some(encoded) = body.get_some("base64_string") {
        return Body::of_base64(place, encoded, field);
    }
    if let Some(compressed) = body.get_some("raw_gzip") {
        return inflated(place, compressed, field);
    }
    if let Some(fields) = body.get_some("fields") {
        return Body::parsed(fields);
    }
    match body.get_some("string") {
        None => Ok(Body::empty()),
        Some(Node::Scalar(scalar)) if is_no(scalar) => Ok(Body::empty()),
        Some(Node::Scalar(scalar)) => {
            let encoding = body.get_some("encoding").and_then(Node::text).unwrap_or_default();
            encoded(Body::of_scalar(place, scalar, field)?, scalar, &encoding)
        }
        Some(structure) => Body::parsed(structure),
    }
}

fn is_yes(node: &Node) -> bool {
    matches!(node.text().as_deref(), Some("true" | "yes" | "TRUE"))
}

/// R's vcr wrote `FALSE` for a body that was not there, which is `no` in its YAML.
fn is_no(scalar: &Scalar) -> bool {
    let is_plain_no = scalar.style == Style::Plain && scalar.tag == Tag::Absent && scalar.text == "no";
    is_plain_no || scalar.value() == Value::Bool(false)
}

/// The text in the encoding in which it was sent. Where that is one that is not known here, the body stays
/// UTF-8, and is not the bytes that passed.
fn encoded(body: Body, scalar: &Scalar, encoding: &str) -> Result<Body, Refused> {
    let is_ascii = body.bytes.is_ascii();
    let is_bytes = scalar.tag == Tag::Binary;
    match encoding.to_ascii_uppercase().as_str() {
        "" | "UTF-8" | "UTF8" | "US-ASCII" | "ASCII" | "ASCII-8BIT" | "BINARY" => Ok(body),
        "UTF-16" | "UTF-16LE" | "UTF-16BE" | "UTF-32" | "UTF-32LE" | "UTF-32BE" if !is_bytes => {
            Ok(Body::rewritten(body.bytes))
        }
        _ if is_ascii || is_bytes => Ok(body),
        "ISO-8859-1" | "ISO8859-1" | "LATIN1" | "LATIN-1" => {
            let bytes: Option<Vec<u8>> =
                scalar.text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
            Ok(bytes.map_or_else(|| Body::rewritten(body.bytes), Body::exact))
        }
        _ => Ok(Body::rewritten(body.bytes)),
    }
}

/// R's gzip is zlib's format without gzip's header; both are read.
fn inflated(place: Place, compressed: &Node, field: &'static str) -> Result<Body, Refused> {
    let wrong = || place.wrong(field, "gzip in base64");
    let bytes = compressed.text().and_then(|text| base64(&text)).ok_or_else(wrong)?;
    let mut out = Vec::new();
    let read = if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(&*bytes).take(MAX_BODY_BYTES + 1).read_to_end(&mut out)
    } else {
        ZlibDecoder::new(&*bytes).take(MAX_BODY_BYTES + 1).read_to_end(&mut out)
    };
    read.map_err(|_| wrong())?;
    if out.len() as u64 > MAX_BODY_BYTES {
        return Err(Refused::ExpandsTooFar { limit: "64 MiB in one body" });
    }
    Ok(Body::exact(out))
}
