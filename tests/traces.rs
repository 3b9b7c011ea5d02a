//! The recordings of `traces/`: they are read, and what is read out of them is what the agents did.

use looptape_core::assembly::{RetryLayer, TraceEnding, TraceSpan};
use looptape_core::cassette::TapedCall;
use looptape_core::cost::PriceBook;
use looptape_core::derive;
use looptape_core::exchange::Exchange;
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::metrics::Measured;
use looptape_core::provider::Provider;
use looptape_store::cassettes;
use std::path::{Path, PathBuf};

/// What one recording holds.
struct Expected {
    file: &'static str,
    provider: Provider,
    wire: &'static str,
    model: &'static str,
    /// Attempts of each of the three steps.
    attempts: [usize; 3],
    retry: Option<RetryLayer>,
}

const DEMO: [usize; 3] = [1, 2, 1];
const TOOL_LOOP: [usize; 3] = [1, 1, 1];

fn expected() -> Vec<Expected> {
    let recording = |file, provider, wire, model, attempts, retry| Expected {
        file,
        provider,
        wire,
        model,
        attempts,
        retry,
    };
    let chat =
        |file, retry| recording(file, Provider::OPENAI, "openai.chat", "gpt-4o-mini", DEMO, Some(retry));
    vec![
        chat("rust-agent", RetryLayer::Framework),
        chat("python-stdlib", RetryLayer::Framework),
        chat("python-openai", RetryLayer::Sdk),
        recording(
            "anthropic-messages",
            Provider::ANTHROPIC,
            "anthropic.messages",
            "claude-sonnet-4-6",
            DEMO,
            Some(RetryLayer::Sdk),
        ),
        recording("openai-responses", Provider::OPENAI, "openai.responses", "gpt-4o-mini", TOOL_LOOP, None),
        recording("gemini", Provider::GEMINI, "gemini.generate", "gemini-2.5-flash", TOOL_LOOP, None),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces")
}

/// The facts of a recorded call.
fn facts(call: &TapedCall) -> CallFacts {
    let Exchange { seq, sent_us, provider, method, path, request_headers, request_body, outcome, .. } =
        &call.exchange;
    let mut request = derive::request(provider, method, path, request_headers, request_body);
    (request.seq, request.sent_us) = (*seq, *sent_us);
    derive::call(&request, outcome)
}

#[test]
fn the_recordings_hold_what_the_agents_did() {
    for Expected { file, provider, wire, model, attempts, retry } in expected() {
        let cassette = cassettes::read(&folder().join(file)).unwrap_or_else(|error| panic!("{error}"));
        let calls: Vec<TapedCall> = cassette.calls().map(|call| call.unwrap()).collect();
        assert!(calls.iter().all(|call| call.exchange.provider == provider), "{file}: provider");
        let facts: Vec<CallFacts> = calls.iter().map(facts).collect();
        for call in &facts {
            assert!(matches!(call.kind, CallKind::Llm(w) if w.as_str() == wire), "{file}: {:?}", call.kind);
            assert!(call.stream && call.model.as_deref() == Some(model), "{file}: {call:?}");
        }

        let end = cassette.trace().end.as_ref().unwrap();
        assert_eq!(end.exit_code, Some(0), "{file}");
        let ending = TraceEnding::Closed { at_us: end.ended_us };
        let span = TraceSpan { started_us: 0, ending, timing: cassette.trace().timing, stated_outcome: None };
        let measured = Measured::of(&facts, span, None, &PriceBook::listed());
        let (metrics, steps) = (&measured.metrics, &measured.assembly.steps);
        assert_eq!(steps.iter().map(|s| s.attempts.len()).collect::<Vec<_>>(), attempts, "{file}: attempts");
        assert_eq!(steps.iter().map(|s| s.tools.len()).collect::<Vec<_>>(), [2, 1, 0], "{file}: tool calls");
        let names: Vec<&str> = steps.iter().flat_map(|s| &s.tools).map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["get_weather", "get_weather", "convert_currency"], "{file}");
        assert!(
            steps.iter().flat_map(|s| &s.tools).all(|t| t.answered_by.is_some()),
            "{file}: every call is answered"
        );
        let layers: Vec<RetryLayer> =
            steps.iter().flat_map(|s| &s.attempts).filter_map(|a| a.retry.map(|r| r.layer)).collect();
        assert_eq!(layers, retry.into_iter().collect::<Vec<_>>(), "{file}: who tried again");
        assert_eq!(metrics.loops, 1, "{file}");

        let inputs: Vec<u64> =
            steps.iter().map(|s| facts[s.final_call().0].usage.input_total.unwrap()).collect();
        assert!(inputs.is_sorted_by(|a, b| a < b), "{file}: the history grows: {inputs:?}");
        assert_eq!(metrics.tokens.input_total, Some(inputs.iter().sum()), "{file}");
        assert!(metrics.cost_usd.is_some() && !metrics.cost_at_least, "{file}: {:?}", metrics.cost_unknown);
    }
}

#[test]
fn the_recordings_hold_no_key_and_no_stray_file() {
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let cassette = cassettes::read(&entry.path()).unwrap();
        assert_eq!(cassette.trace().environment, None, "where it was recorded is left out");
        for (name, file) in cassette.into_files() {
            let text = String::from_utf8(file.to_vec()).unwrap();
            for private in ["Bearer", "127.0.0.1", "/home/", "/root/", "/tmp/"] {
                assert!(!text.contains(private), "{}/{name}: {private}", entry.path().display());
            }
        }
        found.push(entry.file_name().to_string_lossy().into_owned());
    }
    let mut known: Vec<String> = expected().iter().map(|e| e.file.to_owned()).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known, "each recording has its expectation");
}
