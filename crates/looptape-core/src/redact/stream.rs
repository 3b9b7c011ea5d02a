//! Redaction of streamed answers: a secret is found in the text that the events add up to.
//!
//! A model writes `sk-proj-…` in deltas of a few characters, so no event holds it whole. The string
//! values of successive events are grouped by channel (see `json_strings`), joined, and searched as one
//! text. The placeholder goes into the first fragment, the later fragments lose their part; every event
//! stays valid JSON and nothing else changes. Whole texts in the stream (`response.completed`) are found
//! by the plain search, which runs too.
//!
//! An SSE event whose data spans several lines is searched plainly, line by line, not joined.

use super::body::{Redacted, redact_body};
use super::credentials::Credentials;
use super::decoded::DecodedText;
use super::findings::{Pieces, merge, search};
use super::json_strings::{last_key, string_values};
use super::patterns::Patterns;
use super::placeholders::Vault;
use std::{collections::BTreeMap, ops::Range};

/// Redacts an answer's (decoded) body, whatever it turns out to be.
pub fn redact_answer<'a>(
    patterns: &Patterns,
    vault: &mut Vault,
    known: &Credentials,
    body: &'a [u8],
) -> Redacted<'a> {
    let documents = documents(body);
    if documents.is_empty() {
        return redact_body(patterns, vault, known, body);
    }
    let mut found: Vec<Pieces> = search(patterns, known, body).into_iter().map(|range| vec![range]).collect();
    for text in reassemble(body, documents) {
        let secrets = search(patterns, known, &text.joined);
        found.extend(secrets.into_iter().map(|secret| text.pieces(secret)));
    }
    Redacted::replace(body, found, vault)
}

/// Where known values stand in an answer, whole or in the pieces in which a stream delivered them.
pub(super) fn places_of(known: &Credentials, body: &[u8]) -> Vec<Pieces> {
    let mut found: Vec<Pieces> = known.find(body).into_iter().map(|range| vec![range]).collect();
    for text in reassemble(body, documents(body)) {
        let places = known.find(&text.joined);
        found.extend(places.into_iter().map(|place| text.pieces(place)));
    }
    merge(found)
}

/// Values that are the same or random in every event: joined, they mean nothing.
const NOT_TEXT: &[&[u8]] = &[
    b"id",
    b"object",
    b"model",
    b"modelVersion",
    b"responseId",
    b"response_id",
    b"item_id",
    b"type",
    b"role",
    b"status",
    b"system_fingerprint",
    b"service_tier",
    b"obfuscation",
    b"finish_reason",
    b"finishReason",
    b"created_at",
    b"createTime",
    b"p",
];

/// The JSON text of a stream's events; empty if the body is no stream.
pub(super) fn documents(body: &[u8]) -> Vec<Range<usize>> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    let is_sse =
        [&b"data:"[..], b"event:", b":", b"id:", b"retry:"].iter().any(|field| text.starts_with(field));
    if is_sse {
        return data_lines(body);
    }
    let is_documents = text.starts_with(b"[") || begins_with_rows(text);
    if is_documents { std::iter::once(0..body.len()).collect() } else { Vec::new() }
}

/// Whether the first two lines each begin an object with a member, as newline-delimited JSON does.
fn begins_with_rows(text: &[u8]) -> bool {
    let begins_row = |line: &[u8]| line.starts_with(b"{\"") || line.starts_with(b"{ ");
    let second = memchr::memchr(b'\n', text).map(|end| text[end..].trim_ascii_start());
    begins_row(text) && second.is_some_and(begins_row)
}

fn data_lines(body: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < body.len() {
        let rest = &body[start..];
        let len = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = rest[..len].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&rest[..len]);
        if let Some(data) = line.strip_prefix(b"data:") {
            lines.push(start + len - data.len()..start + len);
        }
        start += len + 1;
    }
    lines
}

/// One channel's text with the fragments that it came in.
#[derive(Default)]
struct Reassembled {
    joined: Vec<u8>,
    fragments: Vec<Fragment>,
}

struct Fragment {
    /// Where it begins in the joined text.
    joined_at: usize,
    text: DecodedText,
}

fn reassemble(body: &[u8], documents: Vec<Range<usize>>) -> Vec<Reassembled> {
    let mut channels: BTreeMap<Vec<u8>, Reassembled> = BTreeMap::new();
    for string in documents.into_iter().flat_map(|document| string_values(body, document)) {
        if string.range.is_empty() || NOT_TEXT.contains(&last_key(&string.channel)) {
            continue;
        }
        let text = DecodedText::json(&body[string.range.clone()], string.range.start);
        let channel = channels.entry(string.channel).or_default();
        channel.fragments.push(Fragment { joined_at: channel.joined.len(), text });
        let fragment = channel.fragments.last().expect("just pushed");
        channel.joined.extend_from_slice(fragment.text.bytes());
    }
    channels.into_values().filter(|channel| channel.fragments.len() > 1).collect()
}

impl Reassembled {
    /// The raw pieces of a range of the joined text.
    fn pieces(&self, secret: Range<usize>) -> Pieces {
        let first = self.fragments.partition_point(|f| f.joined_at <= secret.start).saturating_sub(1);
        let touched = self.fragments[first..].iter().take_while(|f| f.joined_at < secret.end);
        let piece = |fragment: &Fragment| {
            let len = fragment.text.bytes().len();
            let start = secret.start.saturating_sub(fragment.joined_at).min(len);
            let end = (secret.end - fragment.joined_at).min(len);
            fragment.text.raw_range(start..end)
        };
        touched.map(piece).collect()
    }
}
