use super::*;
use crate::headers::RedactedHeaders;
use crate::simulated::{
    Client, Generated, MockClock, MockDesk, MockProvider, MockSent, Says, SimRequest, SimResponse, SimTime,
};
use crate::spread::Spread;
use crate::twin::TwinSpec;
use serde_json::{Value, json};

const MS: u64 = 1_000;

/// What a client would record that asks `count` times, `gap_us` apart, of a mock with these limits.
fn recorded(
    path: &str,
    limits: &Value,
    count: u64,
    gap_us: u64,
    ask: impl Fn(u64) -> Value,
) -> Vec<SeenCall> {
    let spec: TwinSpec =
        serde_json::from_value(json!({ "limits": limits, "ttft_ms": 100, "tpot_ms": 10 })).unwrap();
    let says = Says::Generated(Generated { output_tokens: Spread::always(50.0), ..Generated::default() });
    let provider = MockProvider::new(says, 1, SimTime::Times(1.0), MockClock::Fixed);
    let mut desk = MockDesk::new(spec, 1);
    let one = |n: u64| {
        let body = ask(n).to_string();
        let request =
            SimRequest { method: "POST", path, body: body.as_bytes(), occurrence: 0, unix_s: 1_800_000_000 };
        let heard = provider.hear(&request, Client::default()).unwrap();
        let at = desk.place(&heard);
        let thought = provider.think(&heard, &request, at);
        let decided = desk.decide(&heard, &thought, n * gap_us);
        let MockSent::Answer(answer) = provider.write(&heard, &request, thought, &decided).sent else {
            panic!()
        };
        seen(&answer, i64::try_from(n * gap_us).unwrap())
    };
    (0..count).map(one).collect()
}

fn seen(answer: &SimResponse, sent_us: i64) -> SeenCall {
    let headers =
        RedactedHeaders::redact(answer.headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    let took: u64 = answer.chunks.iter().map(|chunk| chunk.delay_us).sum();
    let end_us = sent_us + i64::try_from(took).unwrap();
    SeenCall::new("p m".into(), (sent_us, end_us), answer.status, &headers, &answer.body())
}

fn chat(n: u64) -> Value {
    let text = "word ".repeat(400);
    json!({ "model": "m", "max_tokens": 900, "messages": [{ "role": "user", "content": format!("{n} {text}") }] })
}

fn found(calls: &[SeenCall]) -> Vec<(Limited, u64)> {
    fit(calls)[0].limits.iter().map(|limit| (limit.which, limit.limit)).collect()
}

#[test]
fn openais_limits_come_back_with_all_that_speaks_for_them() {
    let calls = recorded("/v1/chat/completions", &json!({ "rpm": 60, "tpm": 20_000 }), 80, 150 * MS, chat);
    let account = &fit(&calls)[0];
    assert!(account.refused > 10 && account.refused < 80, "{account:?}");
    assert_eq!(found(&calls), [(Limited::Requests, 60), (Limited::Tokens, 20_000)]);
    for limit in &account.limits {
        let Basis::Stated { headers, others, figures, figures_that_fit, .. } = limit.basis else { panic!() };
        assert_eq!((headers, others), (80, 0));
        assert_eq!(figures, figures_that_fit, "every figure is that of the bucket: {limit:?}");
        assert!(figures >= 80);
    }
}

#[test]
fn anthropics_limits_come_back() {
    let limits = json!({ "rpm": 50, "itpm": 10_000, "otpm": 8_000 });
    let calls = recorded("/v1/messages", &limits, 60, 300 * MS, chat);
    let expected = [(Limited::Requests, 50), (Limited::InputTokens, 10_000), (Limited::OutputTokens, 8_000)];
    assert_eq!(found(&calls), expected);
}

#[test]
fn geminis_limit_comes_from_its_refusals_alone() {
    let ask = |n: u64| json!({ "contents": [{ "role": "user", "parts": [{ "text": format!("{n}") }] }] });
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let calls = recorded(path, &json!({ "rpm": 15 }), 30, 200 * MS, ask);
    assert_eq!(found(&calls), [(Limited::Requests, 15)]);
    let Basis::Stated { headers, refusals, .. } = fit(&calls)[0].limits[0].basis else { panic!() };
    assert!(headers == 0 && refusals > 5, "{refusals}");
}

#[test]
fn calls_at_the_same_time_are_inferred_from_those_under_way() {
    let calls = recorded("/v1/messages", &json!({ "concurrent": 4 }), 40, 20 * MS, chat);
    assert_eq!(found(&calls), [(Limited::Concurrent, 4)]);
}

#[test]
fn a_refusal_without_a_word_gives_an_estimate() {
    let none = RedactedHeaders::default();
    let call =
        |n: i64, status| SeenCall::new("p m".into(), (n * 100_000, n * 100_000 + 1), status, &none, b"no");
    // 66 calls in 6.6 s before the first refusal: 60 a minute, and what 6.6 s give back.
    let calls: Vec<SeenCall> = (0..80).map(|n| call(n, if n < 66 { 200 } else { 429 })).collect();
    let limit = fit(&calls)[0].limits[0];
    assert_eq!((limit.which, limit.basis), (Limited::Requests, Basis::Inferred { refusals: 14 }));
    assert!((57..=62).contains(&limit.limit), "{limit:?}");
}

#[test]
fn of_what_is_never_said_nothing_is_known() {
    let none = RedactedHeaders::default();
    let calls = [SeenCall::new("p m".into(), (0, 1), 200, &none, b"{}")];
    assert_eq!(fit(&calls)[0].limits, []);
    assert_eq!(fit(&[]), []);
}

#[test]
fn published_refusals_are_read() {
    let body = br#"{"error":{"message":"Rate limit reached for gpt-4 in organization org-x on tokens per min (TPM): Limit 10000, Used 8554, Requested 3082. Please try again in 9.816s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
    let stated = super::stated::in_refusal(body).unwrap();
    let figures = super::stated::Figures::Refused { used: 8_554, requested: 3_082, wait_ms: 9_816 };
    assert_eq!((stated.which, stated.limit, stated.figures), (Limited::Tokens, 10_000, figures));
    let large = br#"{"error":{"message":"Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 31538. The input or output tokens must be reduced in order to run successfully."}}"#;
    assert_eq!(super::stated::in_refusal(large).unwrap().limit, 30_000);
    let anthropic = br#"{"error":{"message":"This request would exceed the rate limit for your organization of 20,000 input tokens per minute."}}"#;
    let stated = super::stated::in_refusal(anthropic).unwrap();
    assert_eq!((stated.which, stated.limit), (Limited::InputTokens, 20_000));
}

#[test]
fn go_durations_are_read() {
    let cases = [
        ("12ms", 12_000),
        ("1s", 1_000_000),
        ("6m0s", 360_000_000),
        ("1.5s", 1_500_000),
        ("1h1m", 3_660_000_000),
    ];
    for (text, us) in cases {
        assert_eq!(super::stated::go_duration_us(text), Some(us), "{text}");
    }
    for wrong in ["", "5", "x", "5 minutes"] {
        assert_eq!(super::stated::go_duration_us(wrong), None, "{wrong}");
    }
}
