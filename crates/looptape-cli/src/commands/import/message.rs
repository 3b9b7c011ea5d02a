//! A recorded interaction as the calls that the recorder takes.
//!
//! Recorders of HTTP traffic keep messages as a client's library showed them: bodies decoded under a
//! `content-encoding` that is true no more, lengths of other bodies, paths that were never encoded. What is
//! not true of the stored bytes, and what could not have been sent, would break a replay, so it is left
//! out here. Bodies are never touched. Of what times the file states, [`super::schedule`] makes those that are
//! stored.

use super::schedule::Slot;
use http::{HeaderName, HeaderValue};
use looptape_core::TraceId;
use looptape_core::derive::decode_body;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_core::import::Interaction;
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use looptape_proxy::{is_hop_by_hop, is_not_recorded};
use looptape_store::{BeginCall, CallEnd, TraceHint};
use std::fmt::Write;

/// The request.
pub(super) fn request(trace: &TraceId, interaction: &Interaction, slot: Slot) -> BeginCall {
    let live = sendable(&interaction.request_headers);
    let pairs = || live.iter().map(|&(name, value)| (name, value.as_bytes()));
    let path = sendable_path(&interaction.path_and_query());
    let headers = RedactedHeaders::redact(pairs()).without(is_not_recorded);
    BeginCall {
        hint: TraceHint::Named(trace.clone()),
        at: slot.sent,
        provider: interaction.provider(),
        method: interaction.method.clone(),
        headers: without_stale_encoding(headers, &interaction.request_body),
        body: interaction.request_body.clone().into(),
        loop_hint: None,
        import_index: Some(interaction.index),
        labels: Labels::default(),
        credentials: Credentials::of_request(pairs(), &path),
        path,
    }
}

/// The answer: one piece, since the pieces are not known.
pub(super) fn answer(interaction: &Interaction, slot: Slot) -> CallEnd {
    let Some(status) = interaction.status else {
        let error = "the recording holds no answer to this call".to_owned();
        return CallEnd::NoResponse { at_mono_us: slot.end_mono_us, ending: Ending::UpstreamReset { error } };
    };
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
        status,
        headers: without_stale_encoding(headers, &body),
        head_mono_us: slot.head_mono_us,
        end_mono_us: slot.end_mono_us,
        chunks: chunks.map(|len| Chunk { at_us: slot.piece_mono_us, len }).into_iter().collect(),
        body: vec![body],
        ending: Ending::Complete,
        cut: None,
    }
}

/// Answers that state a length and have no body.
fn is_bodiless(interaction: &Interaction) -> bool {
    interaction.method.eq_ignore_ascii_case("HEAD") || interaction.status == Some(304)
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
    use looptape_core::import::CallTimes;
    use looptape_store::Moment;

    const SLOT: Slot = Slot {
        sent: Moment { unix_us: 1_012, mono_us: 62 },
        head_mono_us: 63,
        piece_mono_us: 64,
        end_mono_us: 65,
    };

    fn interaction(headers: &[(&str, &str)], response_body: &'static [u8]) -> Interaction {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Interaction {
            index: 3,
            method: "POST".into(),
            url: "https://api.groq.com/openai/v1/chat/completions?q=a b".into(),
            request_headers: headers.clone(),
            request_body: Bytes::from_static(b"{\"k\":\"a-secret-of-mine-77\"}"),
            status: Some(200),
            response_headers: headers,
            response_body: Bytes::from_static(response_body),
            request_exact: true,
            response_exact: true,
            times: CallTimes::default(),
        }
    }

    fn answered(headers: &[(&str, &str)], body: &'static [u8]) -> Vec<(String, String)> {
        let CallEnd::Answered { headers, .. } = answer(&interaction(headers, body), SLOT) else {
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
        let begin = request(&TraceId::parse("t1").unwrap(), &interaction(&headers, b""), SLOT);
        assert_eq!(begin.at, SLOT.sent);
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
    fn an_answer_has_its_times_and_a_call_without_one_is_a_failed_call() {
        let CallEnd::Answered { head_mono_us, end_mono_us, chunks, .. } =
            answer(&interaction(&[], b"{}"), SLOT)
        else {
            panic!("it has an answer")
        };
        assert_eq!([head_mono_us, chunks[0].at_us, end_mono_us], [63, 64, 65]);
        let unanswered = Interaction { status: None, ..interaction(&[], b"") };
        assert!(matches!(answer(&unanswered, SLOT), CallEnd::NoResponse { at_mono_us: 65, .. }));
    }
}
