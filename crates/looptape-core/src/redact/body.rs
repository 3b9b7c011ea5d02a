//! Redaction of one body: secrets out, placeholders in, everything else byte for byte.
//!
//! [`Redacted`] says which original spans were replaced, so that chunk boundaries can be moved
//! ([`Redacted::chunk_lens`]) and, while the original is still in memory, the values be bound for replay
//! (`bind`). A body without secrets is borrowed, not copied.
//!
//! Redaction is local: a match lies within one JSON string (a label and its value: within one object),
//! and looks at one token before it. So a body cut between two elements of an array gives the same bytes
//! as its parts redacted one after the other with the same vault; a known prefix need not be scanned
//! again.
//!
//! What it does not do: decode base64, images, archives or multipart parts, and guess at keys without a
//! prefix or label.

use super::credentials::Credentials;
use super::decoded::plain_value;
use super::findings::{Pieces, merge, search};
use super::patterns::Patterns;
use super::placeholders::{SecretNumber, Vault};
use std::{borrow::Cow, collections::BTreeMap};

/// A body that is fit to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted<'a> {
    /// The bytes to store.
    pub bytes: Cow<'a, [u8]>,
    /// What was replaced, ascending, apart from each other.
    pub spans: Vec<Span>,
}

/// A replaced part of the original body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offsets in the original.
    pub start: usize,
    pub end: usize,
    pub number: SecretNumber,
    pub put: Put,
}

/// What stands in place of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The secret's placeholder.
    Placeholder,
    /// The placeholder as a JSON string: the secret was a bare JSON number.
    QuotedPlaceholder,
    /// Nothing: a later piece of a secret whose placeholder stands at its first piece.
    Nothing,
}

/// Redacts a whole body: a request, or an answer that is not a stream.
pub fn redact_body<'a>(
    patterns: &Patterns,
    vault: &mut Vault,
    known: &Credentials,
    body: &'a [u8],
) -> Redacted<'a> {
    let found = search(patterns, known, body);
    Redacted::replace(body, found.into_iter().map(|range| vec![range]).collect(), vault)
}

/// Whether nothing would be replaced in `text`: a body, or a part of one that begins and ends between two
/// elements of an array.
pub fn is_clean(patterns: &Patterns, known: &Credentials, text: &[u8]) -> bool {
    search(patterns, known, text).is_empty()
}

/// What becomes of a body with a content encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredForm<'a> {
    /// Nothing was found: store the encoded bytes as they came.
    AsSent,
    /// Store these decoded bytes, and drop `content-encoding` and `content-length` when serving them.
    Decoded(Redacted<'a>),
}

impl<'a> StoredForm<'a> {
    /// Chooses from the redaction of the decoded body.
    pub fn of(decoded: Redacted<'a>) -> Self {
        if decoded.spans.is_empty() { Self::AsSent } else { Self::Decoded(decoded) }
    }
}

impl<'a> Redacted<'a> {
    /// Replaces the findings in `body`.
    pub(super) fn replace(body: &'a [u8], findings: Vec<Pieces>, vault: &mut Vault) -> Self {
        let snapped = findings.into_iter().map(|pieces| pieces.into_iter().map(|p| snap(body, p)).collect());
        let mut spans = Vec::new();
        for pieces in merge(snapped.collect()) {
            let number = vault.number(&value_of(body, pieces.iter().cloned()));
            spans.extend(pieces.into_iter().enumerate().map(|(place, piece)| Span {
                start: piece.start,
                end: piece.end,
                number,
                put: if place == 0 { Put::Placeholder } else { Put::Nothing },
            }));
        }
        spans.sort_by_key(|span| span.start);
        quote_bare_numbers(body, &mut spans);
        Self { bytes: write(body, &spans), spans }
    }

    /// Chunk lengths of the original as chunk lengths of the stored bytes; the sums are exact if the
    /// originals are. A boundary inside a replaced span moves to its end: the placeholder comes with the
    /// chunk in which the secret began.
    pub fn chunk_lens(&self, original: &[u32]) -> Vec<u32> {
        let mut mapper = OffsetMapper { spans: self.spans.iter(), current: None, shrunk_by: 0 };
        let (mut original_end, mut stored_end) = (0usize, 0usize);
        let lens = original.iter().map(|&len| {
            original_end += len as usize;
            let next = mapper.map(original_end);
            let stored_len = next - stored_end;
            stored_end = next;
            u32::try_from(stored_len).unwrap_or(u32::MAX)
        });
        lens.collect()
    }

    /// The secrets themselves, in order of first occurrence, from the original body. For memory only.
    pub(super) fn values(&self, original: &[u8]) -> Vec<(SecretNumber, Vec<u8>)> {
        let mut order = Vec::new();
        let mut raw: BTreeMap<SecretNumber, Vec<u8>> = BTreeMap::new();
        let mut open: BTreeMap<SecretNumber, bool> = BTreeMap::new();
        for span in &self.spans {
            let first = !raw.contains_key(&span.number);
            if first {
                order.push(span.number);
            }
            // A second occurrence of the same secret ends the collection of the first one's pieces.
            let collecting = open.entry(span.number).or_insert(true);
            *collecting &= first || span.put == Put::Nothing;
            if *collecting {
                raw.entry(span.number).or_default().extend_from_slice(&original[span.start..span.end]);
            }
        }
        let value = |number| raw.get(&number).map(|bytes| plain_value(bytes)).unwrap_or_default();
        order.into_iter().map(|number| (number, value(number))).collect()
    }
}

impl Span {
    fn replacement(&self) -> String {
        match self.put {
            Put::Placeholder => self.number.to_string(),
            Put::QuotedPlaceholder => format!("\"{}\"", self.number),
            Put::Nothing => String::new(),
        }
    }
}

fn write<'a>(body: &'a [u8], spans: &[Span]) -> Cow<'a, [u8]> {
    if spans.is_empty() {
        return Cow::Borrowed(body);
    }
    let mut bytes = Vec::with_capacity(body.len() + spans.len() * 24);
    let mut copied = 0;
    for span in spans {
        bytes.extend_from_slice(&body[copied..span.start]);
        bytes.extend_from_slice(span.replacement().as_bytes());
        copied = span.end;
    }
    bytes.extend_from_slice(&body[copied..]);
    Cow::Owned(bytes)
}

fn value_of(body: &[u8], pieces: impl Iterator<Item = std::ops::Range<usize>>) -> Vec<u8> {
    let raw: Vec<u8> = pieces.flat_map(|piece| body[piece].iter().copied()).collect();
    plain_value(&raw)
}

/// Widens a range that would cut a JSON escape in two: only a user's pattern can ask for that.
fn snap(body: &[u8], piece: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let splits_escape = |at: usize| {
        let backslashes = body[..at].iter().rev().take_while(|b| **b == b'\\').count();
        backslashes % 2 == 1 && body.get(at).is_some_and(|next| b"\"\\/bfnrtu".contains(next))
    };
    let start = if splits_escape(piece.start) { piece.start - 1 } else { piece.start };
    let end = match body.get(piece.end) {
        Some(b'u') if splits_escape(piece.end) => (piece.end + 5).min(body.len()),
        Some(_) if splits_escape(piece.end) => piece.end + 1,
        _ => piece.end,
    };
    start..end
}

/// A placeholder in place of a bare number would break the JSON around it.
fn quote_bare_numbers(body: &[u8], spans: &mut [Span]) {
    let mut quotes = QuoteScan { body, at: 0, inside: false };
    for span in spans.iter_mut().filter(|span| span.put == Put::Placeholder) {
        let number = body[span.start..span.end].iter().all(|b| b.is_ascii_digit() || b"+-.eE".contains(b));
        if number && body.contains(&b'"') && !quotes.is_inside(span.start) {
            span.put = Put::QuotedPlaceholder;
        }
    }
}

/// Follows JSON quotes through a body; asked at ascending offsets.
struct QuoteScan<'a> {
    body: &'a [u8],
    at: usize,
    inside: bool,
}

impl QuoteScan<'_> {
    fn is_inside(&mut self, offset: usize) -> bool {
        while self.at < offset {
            match self.body[self.at] {
                b'\\' if self.inside => self.at += 1,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
            self.at += 1;
        }
        self.inside
    }
}

/// Maps ascending offsets of the original to the stored bytes.
struct OffsetMapper<'a> {
    spans: std::slice::Iter<'a, Span>,
    current: Option<&'a Span>,
    /// Original minus stored length of all spans passed; negative where placeholders are longer.
    shrunk_by: isize,
}

impl OffsetMapper<'_> {
    fn map(&mut self, offset: usize) -> usize {
        loop {
            if self.current.is_none() {
                self.current = self.spans.next();
            }
            let Some(span) = self.current.filter(|span| span.start < offset) else {
                return offset.saturating_add_signed(-self.shrunk_by);
            };
            let after = self.shrunk_by + (span.end - span.start) as isize - span.replacement().len() as isize;
            if offset < span.end {
                return span.end.saturating_add_signed(-after);
            }
            self.shrunk_by = after;
            self.current = None;
        }
    }
}
