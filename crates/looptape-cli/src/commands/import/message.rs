//! A recorded interaction as the calls that the recorder takes.
//!
//! Recorders of HTTP traffic keep messages as a client's library showed them: bodies decoded under a
//! `content-encoding` that is true no more, lengths of other bodies, paths that were never encoded. What is
//! not true of the stored bytes, and what could not have been sent, would break a replay, so it is left
//! out here. Bodies are never touched.

use http::{HeaderName, HeaderValue};
use looptape_core::TraceId;
use looptape_core::derive::decode_body;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::import::Interaction;
use looptape_core::redact::Credentials;
use looptape_proxy::{is_hop_by_hop, is_not_recorded};
use looptape_store::{BeginCall, CallEnd, Moment, TraceHint};
use std::fmt::Write;

/// Times are not known, only the order: each call has four µs of its own.
const CALL_US: i64 = 4;

/// When the n-th call of an import that starts at `start` was sent, as far as its trace is concerned.
pub(super) fn sent_at(start: Moment, index: u32) -> Moment {
    let offset_us = i64::from(index) * CALL_US;
    Moment { unix_us: start.unix_us + offset_us, mono_us: start.mono_us + offset_us }
}

/// The request.
pub(super) fn request(trace: &TraceId, interaction: &Interaction, at: Moment) -> BeginCall {
    let live = sendable(&interaction.request_headers);
    let pairs = || live.iter().map(|&(name, value)| (name, value.as_bytes()));
    let path = sendable_path(&interaction.path_and_query());
    let headers = RedactedHeaders::redact(pairs()).without(is_not_recorded);
    BeginCall {
        hint: TraceHint::Named(trace.clone()),
        at,
        provider: interaction.provider(),
        method: interaction.method.clone(),
        headers: without_stale_encoding(headers, &interaction.request_body),
        body: interaction.request_body.clone(),
        loop_hint: None,
        import_index: Some(interaction.index),
        agent: None,
        credentials: Credentials::of_request(pairs(), &path),
        path,
    }
}

/// The answer: one piece, since the pieces are not known.
pub(super) fn answer(interaction: &Interaction, sent: Moment) -> CallEnd {
    let live = sendable(&interaction.response_headers);
    let headers = RedactedHeaders::redact(live.iter().map(|&(name, value)| (name, value.as_bytes())));
    let body = interaction.response_body.clone();
    let length = body.len().to_string();
    let is_stale_length =
        headers.get("content-length").is_some_and(|stated| stated != length && !is_bodiless(interaction));
    let headers =
        headers.without(|name| is_hop_by_hop(name) || (is_stale_length && name == "content-length"));
    let chunks = u32::try_from(body.len()).ok().filter(|&len| len > 0);
    CallEnd::Answered {
        status: interaction.status,
        headers: without_stale_encoding(headers, &body),
        head_mono_us: sent.mono_us + 1,
        end_mono_us: sent.mono_us + CALL_US - 1,
        chunks: chunks.map(|len| Chunk { at_us: sent.mono_us + 2, len }).into_iter().collect(),
        body: vec![body],
        ending: Ending::Complete,
        cut: None,
    }
}

/// Answers that state a length and have no body.
fn is_bodiless(interaction: &Interaction) -> bool {
    interaction.method.eq_ignore_ascii_case("HEAD") || interaction.status == 304
}

/// The headers that HTTP can carry.
fn sendable(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    let can_be_sent = |name: &str, value: &str| {
        HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_bytes(value.as_bytes()).is_ok()
    };
    let all = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, value)| can_be_sent(name, value)).collect()
}

/// `content-encoding` stays only where decoding by it changes the body.
fn without_stale_encoding(headers: RedactedHeaders, body: &bytes::Bytes) -> RedactedHeaders {
    let is_stale =
        headers.get("content-encoding").is_some() && decode_body(&headers, body, &[]).bytes == *body;
    if is_stale { headers.without(|name| name == "content-encoding") } else { headers }
}

/// A path with what no request line can carry percent-encoded; everything else stays as it is.
fn sendable_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'}' | ..=b' ' | 0x7f.. => {
                write!(out, "%{byte:02X}").expect("writing to a string never fails");
            }
            byte => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const START: Moment = Moment { unix_us: 1_000, mono_us: 50 };

    fn interaction(headers: &[(&str, &str)], response_body: &'static [u8]) -> Interaction {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Interaction {
            index: 3,
            method: "POST".into(),
            url: "https://api.groq.com/openai/v1/chat/completions?q=a b".into(),
            request_headers: headers.clone(),
            request_body: Bytes::from_static(b"{\"k\":\"a-secret-of-mine-77\"}"),
            status: 200,
            response_headers: headers,
            response_body: Bytes::from_static(response_body),
            request_exact: true,
            response_exact: true,
            recorded_at: None,
        }
    }

    fn answered(headers: &[(&str, &str)], body: &'static [u8]) -> Vec<(String, String)> {
        let CallEnd::Answered { headers, .. } = answer(&interaction(headers, body), START) else {
            panic!("an import always has an answer")
        };
        headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn requests_keep_what_is_theirs() {
        let headers = [
            ("Host", "api.groq.com"),
            ("Content-Length", "7"),
            ("Content-Encoding", "gzip"),
            ("Authorization", "Bearer a-secret-of-mine-77"),
            ("X-Note", "kept"),
            ("no name", "x"),
            ("x-lines", "a\nb"),
        ];
        let at = sent_at(START, 3);
        assert_eq!(at, Moment { unix_us: 1_012, mono_us: 62 });
        let begin = request(&TraceId::parse("t1").unwrap(), &interaction(&headers, b""), at);
        assert_eq!((begin.provider.as_str(), begin.import_index), ("groq", Some(3)));
        assert_eq!(begin.path, "/openai/v1/chat/completions?q=a%20b");
        let kept: Vec<_> = begin.headers.iter().collect();
        assert_eq!(kept, [("authorization", "[redacted]"), ("x-note", "kept")]);
        assert_ne!(format!("{:?}", begin.credentials), "Credentials(0 values)");
    }

    #[test]
    fn stale_headers_of_answers_go() {
        let stale = [("content-encoding", "br"), ("content-length", "99"), ("transfer-encoding", "chunked")];
        assert_eq!(answered(&stale, b"{}"), []);
        let length = ("content-length".to_owned(), "2".to_owned());
        assert_eq!(answered(&[("Content-Length", "2")], b"{}"), [length]);
        // gzip of `hi`.
        let gzip =
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xc8\x04\x00\xac\x2a\x93\xd8\x02\x00\x00\x00";
        let encoding = ("content-encoding".to_owned(), "gzip".to_owned());
        assert_eq!(answered(&[("Content-Encoding", "gzip")], gzip), [encoding]);
    }

    #[test]
    fn times_keep_the_order() {
        let at = sent_at(START, 1);
        let CallEnd::Answered { head_mono_us, end_mono_us, chunks, .. } =
            answer(&interaction(&[], b"{}"), at)
        else {
            panic!("an import always has an answer")
        };
        let times = [at.mono_us, head_mono_us, chunks[0].at_us, end_mono_us, sent_at(START, 2).mono_us];
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    }
}
