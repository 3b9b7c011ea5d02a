//! Masks of what a tool asks of a host: in the parts of its URL, and in all of its body.
//!
//! The host counts as it is: two hosts, or two ports, are two places. So do names of parameters. Of a path each
//! segment is looked at by itself, of a query each value, percent-decoded; a body may be JSON, a form, or any other text.
//!
//! What this does not do: read what is no text, or mask what has no volatile shape because of the name before it, but for
//! labels that `labels` knows.

use super::scan::{self, Search};
use super::{MaskedSpan, Masking, OPENING, Part, Site, mark};
use crate::canonical::Json;
use crate::replay::components::{Endpoint, RequestKey};
use crate::replay::references;
use std::borrow::Cow;

/// Where a span in a path stands.
const PATH: &str = "path";
/// Longer texts are compared as they are.
const MOST_TEXT_BYTES: usize = 1 << 20;

/// The key of a tool's call with its masks, and the values that these stand for; `None` if there are none.
pub(super) fn key(
    masking: &Masking,
    endpoint: &Endpoint,
    body: &[u8],
) -> Option<(RequestKey, Vec<MaskedSpan>)> {
    let (endpoint, mut spans) = masked_endpoint(masking, endpoint);
    let key = match Json::parse(body) {
        Some(mut json) => {
            spans.extend(masking.apply(None, &endpoint, &mut json));
            RequestKey::of_json(None, &endpoint, &json)
        }
        None => {
            let (text, of_text) = masked_text(masking, body);
            spans.extend(of_text);
            RequestKey::of_bytes(&endpoint, &text)
        }
    };
    (!spans.is_empty()).then_some((key, spans))
}

/// The values that masks of a tool's call stand for.
pub(super) fn spans(masking: &Masking, endpoint: &Endpoint, body: &[u8]) -> Vec<MaskedSpan> {
    key(masking, endpoint, body).map(|(_, spans)| spans).unwrap_or_default()
}

/// A body that is no JSON, with its masks.
pub(super) fn masked_text<'b>(masking: &Masking, body: &'b [u8]) -> (Cow<'b, [u8]>, Vec<MaskedSpan>) {
    let body = references::without_boundary(body).map_or(Cow::Borrowed(body), Cow::Owned);
    let mut masker = Masker { masking, spans: Vec::new() };
    let masked = match std::str::from_utf8(&body) {
        Ok(text) if text.len() > MOST_TEXT_BYTES || text.contains('\0') => return (body, Vec::new()),
        Ok(text) if is_form(text) => masker.form(text, ""),
        Ok(text) => masker.text("", text.as_bytes(), 0),
        Err(_) => return (body, Vec::new()),
    };
    match masker.spans.is_empty() {
        true => (body, masker.spans),
        false => (Cow::Owned(masked), masker.spans),
    }
}

/// The endpoint with masks in its path and its query.
fn masked_endpoint(masking: &Masking, endpoint: &Endpoint) -> (Endpoint, Vec<MaskedSpan>) {
    let mut masker = Masker { masking, spans: Vec::new() };
    let Some((origin, path, query)) = endpoint.parts() else { return (endpoint.clone(), Vec::new()) };
    let segments: Vec<Vec<u8>> =
        path.split('/').map(|segment| masker.text(PATH, &percent_decoded(segment), 0)).collect();
    let query = query.map(|query| [b"?", masker.form(query, "?").as_slice()].concat());
    if masker.spans.is_empty() {
        return (endpoint.clone(), masker.spans);
    }
    let text = [origin.as_bytes(), &segments.join(&b'/'), &query.unwrap_or_default()].concat();
    (endpoint.with_text(String::from_utf8_lossy(&text).into_owned()), masker.spans)
}

/// `a=1&b=2`, in the characters that forms are written in, and with a name before each `=`.
fn is_form(text: &str) -> bool {
    let is_written = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%+*!'()[]:,;@$/".contains(&byte);
    text.contains('=')
        && text.split('&').all(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            !name.is_empty() && name.bytes().chain(value.bytes()).all(is_written)
        })
}

struct Masker<'m> {
    masking: &'m Masking,
    spans: Vec<MaskedSpan>,
}

impl Masker<'_> {
    /// Names and values of a form or a query, decoded; a span's place is `mark` and the name.
    fn form(&mut self, text: &str, mark: &str) -> Vec<u8> {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => {
                let labelled = [percent_decoded(name), percent_decoded(value)].join(&b'=');
                self.text(&format!("{mark}{name}"), &labelled, name.len().min(labelled.len()))
            }
            None => pair.as_bytes().to_vec(),
        };
        text.split('&').map(pair).collect::<Vec<_>>().join(&b'&')
    }

    /// A text with masks behind its first `label` bytes.
    fn text(&mut self, pointer: &str, text: &[u8], label: usize) -> Vec<u8> {
        if memchr::memmem::find(text, OPENING.as_bytes()).is_some() {
            // It could pass for a masked one: it is told apart, and not masked.
            return [OPENING.as_bytes(), OPENING.as_bytes(), text].concat();
        }
        let search = Search { kinds: &self.masking.kinds, own: &self.masking.own, site: Site::Elsewhere };
        let parts: Vec<Part> =
            scan::scan(text, search).into_iter().filter(|(range, _)| range.start >= label).collect();
        let mut masked = Vec::with_capacity(text.len());
        let mut kept = 0;
        for (range, kind) in parts {
            masked.extend_from_slice(&text[kept..range.start]);
            masked.extend_from_slice(mark(kind).as_bytes());
            let text = text[range.clone()].to_vec();
            self.spans.push(MaskedSpan { pointer: pointer.to_owned(), kind, text });
            kept = range.end;
        }
        masked.extend_from_slice(&text[kept..]);
        masked
    }
}

/// `+` is a blank, `%41` is `A`; what is no such thing stays.
fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8f14e45f-ceea-467f-a5e0-01b2c3d4e5f6";

    fn kinds(path: &str, body: &str) -> String {
        let endpoint = Endpoint::new("POST", path);
        let spans = spans(&Masking::default(), &endpoint, body.as_bytes());
        let shown = |span: &MaskedSpan| format!("{} {}", span.pointer, span.kind);
        spans.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_value_at_its_own_place() {
        for (path, body, expected) in [
            ("https://h.test/v1/oslo?units=c", "", String::new()),
            (&format!("https://h.test/runs/{ID}/log"), "", "path uuid".to_owned()),
            ("https://h.test/?at=2026-11-29T10%3A00%3A00Z&q=rain+today", "", "?at date_time".to_owned()),
            ("https://h.test/?pid=4711&port=8080&n=4711", "", "?pid pid, ?port port".to_owned()),
            ("https://h.internal:8080/", r#"{"a":["x"]}"#, String::new()),
            (
                "https://h.test/",
                &format!(r#"{{"run":"{ID}","n":[1,"{ID}"]}}"#),
                "/n/1 uuid, /run uuid".to_owned(),
            ),
            ("https://h.test/", &format!("run={ID}&to=a%40b.c"), "run uuid".to_owned()),
            ("https://h.test/", &format!("<run id=\"{ID}\"/>"), " uuid".to_owned()),
            ("https://h.test/", &format!("\0{ID}"), String::new()),
            ("/v1/files", &format!(r#"{{"run":"{ID}"}}"#), String::new()),
        ] {
            assert_eq!(kinds(path, body), expected, "{path} {body}");
        }
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        for (text, expected) in
            [("a%20b+c", "a b c"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%é", "%é")]
        {
            assert_eq!(percent_decoded(text), expected.as_bytes());
        }
    }
}
