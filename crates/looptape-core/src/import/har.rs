//! HTTP Archives: `log.entries` as version 1.1 to 1.3 of the format describe them, written by browsers,
//! proxies and Polly.JS.
//!
//! What differs between writers:
//! - `content.text` is text, or base64 where `content.encoding` says so. Polly.JS keeps an answer that came
//!   with a content encoding as a JSON array of its pieces, each in base64 (before version 6: in hex);
//! - an entry without an answer (status 0) is a call that failed before one came;
//! - a body may be left out although its size is stated; form fields may stand for the request's text.
//!
//! The format leaves sorting by `startedDateTime` to the reader, so it is done here.

use super::{
    CallTimes, Interaction, Refused,
    body::Body,
    document::{Node, Shared},
    header_list,
    place::Place,
    scalar::base64,
    times,
};
use std::fmt::Write;

/// Reads all entries of a log, by start.
pub(super) fn read(log: &Node, entries: &[Shared]) -> Result<Vec<Interaction>, Refused> {
    let creator = log.get("creator").and_then(|creator| creator.get("name")).and_then(Node::text);
    let writer = if creator.as_deref() == Some("Polly.JS") { Writer::Polly } else { Writer::Other };
    let read = |(index, node): (u32, &Shared)| interaction(Place { index }, node, writer);
    let mut interactions: Vec<Interaction> = (0..).zip(entries).map(read).collect::<Result<_, _>>()?;
    if interactions.iter().all(|interaction| interaction.times.started_unix_us.is_some()) {
        interactions.sort_by_key(|interaction| interaction.times.started_unix_us);
    }
    Ok(interactions)
}

/// Who wrote the file, where that decides how it is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Polly,
    Other,
}

fn interaction(place: Place, entry: &Node, writer: Writer) -> Result<Interaction, Refused> {
    let request = place.map(entry, "request", "request")?;
    let request_body = request_body(place, request)?;
    let mut interaction = Interaction {
        index: place.index,
        method: place.text(request, "method", "request.method")?,
        url: place.text(request, "url", "request.url")?,
        request_headers: header_list::read(place, request, "headers", "request.headers")?,
        request_body: request_body.bytes,
        status: None,
        response_headers: Vec::new(),
        response_body: bytes::Bytes::new(),
        request_exact: request_body.exact,
        response_exact: true,
        times: call_times(entry),
    };
    if entry.get_some("response").is_some() {
        let response = place.map(entry, "response", "response")?;
        interaction.status = status(place, response)?;
        if interaction.status.is_some() {
            interaction.response_headers = header_list::read(place, response, "headers", "response.headers")?;
            let body = response_body(place, response, &interaction.response_headers, writer)?;
            (interaction.response_body, interaction.response_exact) = (body.bytes, body.exact);
        }
    }
    Ok(interaction)
}

/// `None` for an entry whose call ended before an answer came.
fn status(place: Place, response: &Node) -> Result<Option<u16>, Refused> {
    let field = "response.status";
    let status = response.get("status").ok_or_else(|| place.missing(field))?;
    match status.text().as_deref() {
        Some("0" | "-1") => Ok(None),
        _ if status.is_null() => Ok(None),
        _ => place.status_code(status, field).map(Some),
    }
}

fn request_body(place: Place, request: &Node) -> Result<Body, Refused> {
    let field = "request.postData.text";
    let left_out = |message: &Node| is_positive(message.get("bodySize"));
    let Some(post) = request.get_some("postData") else {
        return Ok(if left_out(request) { Body::rewritten("") } else { Body::empty() });
    };
    if let Some(text) = post.get_some("text") {
        return decoded(place, post, text, field);
    }
    match post.get_some("params").and_then(Node::items) {
        Some(params) if !params.is_empty() => Ok(Body::rewritten(form(params))),
        _ if left_out(request) => Ok(Body::rewritten("")),
        _ => Ok(Body::empty()),
    }
}

fn response_body(
    place: Place,
    response: &Node,
    headers: &[(String, String)],
    writer: Writer,
) -> Result<Body, Refused> {
    let field = "response.content.text";
    let content = response.get_some("content");
    let Some((content, text)) = content.and_then(|content| Some((content, content.get_some("text")?))) else {
        let left_out =
            is_positive(content.and_then(|c| c.get("size"))) || is_positive(response.get("bodySize"));
        return Ok(if left_out { Body::rewritten("") } else { Body::empty() });
    };
    let is_encoded = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    if writer == Writer::Polly
        && is_encoded
        && content.get_some("encoding").is_none()
        && let Some(bytes) = text.text().and_then(|text| pieces(&text, hex))
    {
        return Ok(Body::exact(bytes));
    }
    decoded(place, content, text, field)
}

/// Text as the `encoding` beside it says.
fn decoded(place: Place, around: &Node, text: &Node, field: &'static str) -> Result<Body, Refused> {
    let text = text.text().ok_or_else(|| place.wrong(field, "text"))?;
    let is_hex_by_flag = around.get_some("_isBinary").and_then(Node::text).as_deref() == Some("true");
    let encoding = match around.get_some("encoding").and_then(Node::text) {
        Some(encoding) => encoding.to_ascii_lowercase(),
        None if is_hex_by_flag => "hex".to_owned(),
        None => String::new(),
    };
    let bytes = match encoding.as_str() {
        "base64" => pieces(&text, base64).or_else(|| base64(&text)).ok_or("base64"),
        "hex" => pieces(&text, hex).or_else(|| hex(&text)).ok_or("hex"),
        // Other names say which characters the text was made of; it is text all the same.
        _ => Ok(text.into_owned().into_bytes()),
    };
    bytes.map(Body::exact).map_err(|expected| place.wrong(field, expected))
}

/// A JSON array of encoded pieces, joined. `None` for any other text: neither alphabet has a bracket.
fn pieces(text: &str, decode: fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let pieces: Vec<String> = serde_json::from_str(text).ok()?;
    let mut joined = Vec::new();
    for piece in &pieces {
        joined.extend(decode(piece)?);
    }
    Some(joined)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? * 16 + digit(low)?).ok();
    if odd.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Form fields as a form is sent.
fn form(params: &[Shared]) -> String {
    let mut out = String::new();
    for param in params {
        let part = |key| param.get_some(key).and_then(Node::text).unwrap_or_default();
        if !out.is_empty() {
            out.push('&');
        }
        append_form_text(&part("name"), &mut out);
        out.push('=');
        append_form_text(&part("value"), &mut out);
    }
    out
}

fn append_form_text(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => write!(out, "%{byte:02X}").expect("writing to a string never fails"),
        }
    }
}

fn is_positive(size: Option<&Node>) -> bool {
    size.and_then(Node::text).and_then(|text| text.parse::<f64>().ok()).is_some_and(|size| size > 0.0)
}

/// `time` is the whole call; where it is missing, its phases are summed up. The head has come when the
/// answer begins to be received.
fn call_times(entry: &Node) -> CallTimes {
    let timings = entry.get("timings");
    let ms = |node: Option<&Node>| node.and_then(Node::text).and_then(|text| times::ms_us(&text));
    let phase = |name: &str| ms(timings.and_then(|timings| timings.get(name)));
    let duration_us = ms(entry.get("time")).or_else(|| {
        ["blocked", "dns", "connect", "send", "wait", "receive"]
            .into_iter()
            .filter_map(phase)
            .reduce(|a, b| a + b)
    });
    let receive_us = phase("receive").unwrap_or(0);
    CallTimes {
        started_unix_us: entry.get("startedDateTime").and_then(Node::text).and_then(|t| times::unix_us(&t)),
        head_us: duration_us.map(|duration| (duration - receive_us).max(0)),
        duration_us,
    }
}
