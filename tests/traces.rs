//! The recordings of `traces/`: they are read, and what is read out of them is what the agents did.

use looptape_core::assembly::{RetryLayer, Timing, TraceEnding, TraceSpan};
use looptape_core::cost::PriceBook;
use looptape_core::derive;
use looptape_core::exchange::{Answer, Chunk, Ending, Outcome};
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::headers::RedactedHeaders;
use looptape_core::import::{self, Interaction};
use looptape_core::metrics::Measured;
use looptape_core::provider::Provider;
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

/// The facts of an imported call: order instead of times, as imports have it.
fn facts(provider: &Provider, interaction: &Interaction) -> CallFacts {
    let headers = |given: &[(String, String)]| {
        RedactedHeaders::redact(given.iter().map(|(n, v)| (n.as_str(), v.as_bytes())))
    };
    let mut request = derive::request(
        provider,
        &interaction.method,
        &interaction.path_and_query(),
        &headers(&interaction.request_headers),
        &interaction.request_body,
    );
    request.seq = interaction.index;
    request.sent_us = i64::from(interaction.index) * 2;
    let end_us = request.sent_us + 1;
    let len = u32::try_from(interaction.response_body.len()).unwrap();
    let answer = Answer {
        status: interaction.status.expect("demonstrations have answers"),
        headers: headers(&interaction.response_headers),
        body: interaction.response_body.clone(),
        chunks: vec![Chunk { at_us: end_us, len }],
        head_us: end_us,
        end_us,
        ending: Ending::Complete,
    };
    derive::call(&request, &Outcome::Answered(answer))
}

#[test]
fn the_recordings_hold_what_the_agents_did() {
    for Expected { file, provider, wire, model, attempts, retry } in expected() {
        let path = folder().join(format!("{file}.yaml"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let cassette = import::read(file, &bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
        let origin = provider.default_upstream().unwrap();
        assert!(cassette.interactions.iter().all(|i| i.url.starts_with(origin)), "{file}: provider");
        let facts: Vec<CallFacts> = cassette.interactions.iter().map(|i| facts(&provider, i)).collect();
        for call in &facts {
            assert!(matches!(call.kind, CallKind::Llm(w) if w.as_str() == wire), "{file}: {:?}", call.kind);
            assert!(call.stream && call.model.as_deref() == Some(model), "{file}: {call:?}");
        }

        let ending = TraceEnding::Closed { at_us: facts.len() as i64 * 2 };
        let span = TraceSpan { started_us: 0, ending, timing: Timing::OrderOnly, stated_outcome: None };
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
    for entry in std::fs::read_dir(folder()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            for private in ["Bearer", "127.0.0.1", "/home/", "/root/", "/tmp/"] {
                assert!(!text.contains(private), "{}: {private}", entry.path().display());
            }
            found.push(entry.path().file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    let mut known: Vec<String> = expected().iter().map(|e| e.file.to_owned()).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known, "each recording has its expectation");
}
