//! What `/metrics` and alerts cost the recorder's writer for each call.
//!
//! cargo bench -p looptape-proxy --bench telemetry_cost

use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::alerts::Rules;
use looptape_core::cost::{PriceBook, Usd};
use looptape_core::derive;
use looptape_core::exchange::{Answer, Chunk, Ending, Outcome};
use looptape_core::facts::CallFacts;
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_proxy::telemetry::{Telemetry, TelemetryRules};
use looptape_store::{Watch, WatchedCall};
use std::time::{Duration, Instant};

const CALLS: u32 = 200_000;

fn main() {
    let facts = facts();
    let trace = TraceId::parse("bench").expect("an id");
    let all = Rules {
        token_rate: Some(4.0),
        ttft: Some(2.0),
        tpot: Some(2.0),
        cost_per_hour: Usd::from_f64(1e6),
        trace_cost: Usd::from_f64(1e6),
        context: Some(0.9),
        tool_failures: None,
        retry_rate: Some(0.5),
    };
    for (name, rules) in [("metrics", Rules::default()), ("metrics and all alerts", all)] {
        let rules = TelemetryRules { rules, window: Duration::from_secs(60) };
        let (telemetry, _alerts) = Telemetry::new(PriceBook::listed(), rules);
        let call = |n: u32| {
            let trace_started_unix_us = 1_790_000_000_000_000 + i64::from(n) * 1000;
            telemetry.call(&WatchedCall { trace: &trace, trace_started_unix_us, facts: &facts });
        };
        call(0);
        let started = Instant::now();
        (0..CALLS).for_each(call);
        println!("{name}: {:.2} µs a call", started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
    }
}

/// A streamed call as they mostly are.
fn facts() -> CallFacts {
    let event = |text: &str| format!("data: {text}\n\n");
    let delta =
        r#"{"id":"x","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"word "}}]}"#;
    let usage = r#"{"id":"x","model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920}}}"#;
    let pieces = [event(delta), event(delta), event(usage), event("[DONE]")];
    let lens = pieces.iter().map(|piece| u32::try_from(piece.len()).expect("short"));
    let chunks = lens.zip(1..).map(|(len, n)| Chunk { at_us: n * 20_000, len }).collect();
    let request = Bytes::from_static(
        br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
    );
    let none = RedactedHeaders::default();
    let request = derive::request(&Provider::OPENAI, "POST", "/v1/chat/completions", &none, &request);
    let outcome = Outcome::Answered(Answer {
        status: 200,
        headers: RedactedHeaders::redact([("content-type", b"text/event-stream".as_slice())]),
        body: Bytes::from(pieces.concat()),
        chunks,
        head_us: 10_000,
        end_us: 90_000,
        ending: Ending::Complete,
    });
    derive::call(&request, &outcome)
}
