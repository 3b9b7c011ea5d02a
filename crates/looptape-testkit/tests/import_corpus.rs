//! Imports against recordings that other projects publish, compared with what an independent program
//! read out of them.

use looptape_core::assembly::Timing;
use looptape_core::import::{self, Cassette, Container, Interaction, NotHttp, Refused};
use looptape_testkit::corpus::{Corpus, ExpectedInteraction, skipped};
use serde_json::Value;
use std::{collections::BTreeMap, io::Read};

#[test]
fn every_recording_of_http_is_read_as_expected() {
    let Some(corpus) = Corpus::from_env() else { return skipped("recordings of HTTP") };
    let (mut files, mut interactions) = (BTreeMap::new(), 0);
    for recording in corpus.recordings_where(|_, e| e.holds_http()) {
        let name = recording.name;
        assert_eq!(recording.bytes.len() as u64, recording.expected.size_bytes, "{name}: another file");
        let cassette = import::read(name, &recording.bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(cassette.container, expected_container(&recording.expected.container), "{name}");
        assert_eq!(cassette.timing(), expected_timing(cassette.container), "{name}");
        assert_eq!(cassette.interactions.len(), recording.expected.calls.len(), "{name}");
        assert_eq!(cassette.interactions.len() as u32, recording.expected.interactions, "{name}");
        for (got, expected) in cassette.interactions.iter().zip(&recording.expected.calls) {
            compare(got, expected, &format!("{name}, interaction {}", expected.idx));
            interactions += 1;
        }
        *files.entry(recording.expected.container.as_str()).or_insert(0) += 1;
    }
    assert!(files.len() > 4 && interactions > 0, "the corpus holds several containers: {files:?}");
}

#[test]
fn everything_else_is_refused_by_name() {
    let Some(corpus) = Corpus::from_env() else { return skipped("what is no recording of HTTP") };
    let mut files = 0;
    for recording in corpus.recordings_where(|_, e| !e.holds_http()) {
        let expected = match recording.expected.container.as_str() {
            "go-vcr-v2" => Refused::NoInteractions,
            "swe-agent-traj" => Refused::NoHttp(NotHttp::SweAgentTrajectory),
            "bare-json" => Refused::NoHttp(NotHttp::MessageList),
            "pydantic-ws" => Refused::NoHttp(NotHttp::WebSocketFrames),
            "pydantic-xai-grpc" => Refused::NoHttp(NotHttp::GrpcCalls),
            other => panic!("the corpus holds a container that this test does not know: {other}"),
        };
        assert_eq!(import::read(recording.name, &recording.bytes), Err(expected), "{}", recording.name);
        files += 1;
    }
    assert!(files > 0, "the corpus holds files that are to be refused");
}

#[test]
fn a_cut_recording_is_refused_or_shorter_and_never_panics() {
    let Some(corpus) = Corpus::from_env() else { return skipped("cut recordings") };
    for recording in corpus.recordings_where(|_, e| e.holds_http() && e.size_bytes < 60_000) {
        let whole = import::read(recording.name, &recording.bytes).expect("read by the other test");
        for tenth in 0..10 {
            let cut = &recording.bytes[..recording.bytes.len() * tenth / 10];
            if let Ok(Cassette { interactions, .. }) = import::read(recording.name, cut) {
                assert!(interactions.len() <= whole.interactions.len(), "{}", recording.name);
            }
        }
    }
}

fn expected_container(name: &str) -> Container {
    match name {
        "vcrpy-yaml" | "vcrpy-yaml+parsed_body" => Container::Vcrpy,
        "go-vcr-v2" => Container::GoVcr,
        "r-vcr" => Container::Vcr,
        "har-polly" => Container::Har,
        "httprr" => Container::Httprr,
        other => panic!("the corpus holds a container that this test does not know: {other}"),
    }
}

/// What the recorders of the corpus's files write down.
fn expected_timing(container: Container) -> Timing {
    match container {
        Container::Vcrpy | Container::Httprr => Timing::OrderOnly,
        Container::GoVcr => Timing::DurationsOnly,
        Container::Vcr => Timing::StartsOnly,
        Container::Har => Timing::Stated,
    }
}

fn compare(got: &Interaction, expected: &ExpectedInteraction, place: &str) {
    assert_eq!(got.index, expected.idx, "{place}: index");
    assert_eq!(got.method, expected.method, "{place}: method");
    assert_eq!(got.host(), expected.host, "{place}: host");
    let path = got.path_and_query();
    let path = path.split('?').next().expect("a split has a first part");
    assert_eq!(percent_decoded(path), expected.path, "{place}: path");
    assert_eq!(got.status, Some(expected.status), "{place}: status");
    let has_note = |note: &str| expected.notes.iter().any(|n| n == note);
    assert_eq!(got.request_exact, !has_note("req-parsed_body"), "{place}: request exactness");
    assert_eq!(got.response_exact, !has_note("resp-parsed_body"), "{place}: response exactness");
    assert_eq!(
        decoded_len(&got.request_body, got.request_exact),
        expected.request_body_bytes,
        "{place}: request"
    );
    assert_eq!(
        decoded_len(&got.response_body, got.response_exact),
        expected.response_body_bytes,
        "{place}: response"
    );
}

/// Length after content decoding. Parsed bodies were measured as Python's `json.dumps` writes them, with
/// spaces and in ASCII.
fn decoded_len(body: &[u8], exact: bool) -> u64 {
    if !exact {
        let value: Value = serde_json::from_slice(body).expect("a parsed body is written as JSON");
        return python_len(&value);
    }
    if body.starts_with(&[0x1f, 0x8b]) {
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(body).read_to_end(&mut decoded).expect("gzip");
        return decoded.len() as u64;
    }
    body.len() as u64
}

fn python_len(value: &Value) -> u64 {
    let separators = |n: usize| 2 * n.saturating_sub(1) as u64;
    match value {
        Value::String(text) => python_text_len(text),
        Value::Array(items) => 2 + separators(items.len()) + items.iter().map(python_len).sum::<u64>(),
        Value::Object(entries) => {
            let inner = entries.iter().map(|(k, v)| python_text_len(k) + 2 + python_len(v)).sum::<u64>();
            2 + separators(entries.len()) + inner
        }
        Value::Number(number) => python_number_len(&number.to_string()),
        Value::Null | Value::Bool(_) => value.to_string().len() as u64,
    }
}

/// Python writes exponents with a sign and two digits at least.
fn python_number_len(number: &str) -> u64 {
    match number.split_once('e') {
        Some((mantissa, exponent)) => {
            let digits = exponent.trim_start_matches(['+', '-']).len().max(2);
            (mantissa.len() + 2 + digits) as u64
        }
        None => number.len() as u64,
    }
}

fn python_text_len(text: &str) -> u64 {
    2 + text
        .chars()
        .map(|c| match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            ' '..='~' => 1,
            c => 6 * c.len_utf16() as u64,
        })
        .sum::<u64>()
}

fn percent_decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.filter(|_| byte == b'%').and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = &tail[2..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).expect("the corpus's paths are UTF-8")
}
