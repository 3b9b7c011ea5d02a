use super::*;
use crate::limits::Limited;
use proptest::prelude::*;
use serde_json::{Value, json};

const MS: u64 = 1_000;
const S: u64 = 1_000_000;

fn spec(written: Value) -> TwinSpec {
    serde_json::from_value(written).unwrap()
}

/// 100 ms to the first token, then one each 10 ms.
fn steady(more: Value) -> TwinSpec {
    let mut written = json!({ "ttft_ms": 100, "tpot_ms": 10, "prefill_ms_per_1k": 0, "jitter": 0 });
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec(written)
}

fn place(loop_key: u64, step: u32, attempt: u32) -> CallPlace {
    CallPlace { loop_key, loop_no: loop_key, step, attempt }
}

const PROMPT: [PromptPart; 1] = [PromptPart { prefix: 1, tokens: 500 }];

fn ask(at_us: u64, place: CallPlace) -> Ask<'static> {
    Ask {
        at_us,
        place,
        prompt: &PROMPT,
        caching: Caching::Automatic,
        max_output_tokens: None,
        output_tokens: 11,
        delivery: Delivery::Streamed,
    }
}

fn served(verdict: Verdict) -> Service {
    match verdict {
        Verdict::Served(service) => service,
        other => panic!("{other:?}"),
    }
}

fn status(verdict: Verdict) -> u16 {
    match verdict {
        Verdict::Served(_) => 200,
        Verdict::Refused(refusal) => refusal.status(),
        Verdict::Dropped { .. } => 0,
    }
}

#[test]
fn times_follow_from_the_spec() {
    let mut twin = Twin::new(steady(json!({ "prefill_ms_per_1k": 100 })), 1);
    let service = served(twin.ask(&ask(5 * S, place(1, 1, 1))));
    assert_eq!((service.starts_us, service.first_us), (5 * S, 5 * S + 150 * MS));
    assert_eq!(service.last_us, service.first_us + 100 * MS);
    assert_eq!(service.token_us(3, 11), service.first_us + 30 * MS);
    let short = Ask { max_output_tokens: Some(4), ..ask(6 * S, place(2, 1, 1)) };
    assert_eq!(served(twin.ask(&short)).output_tokens, 4);
}

#[test]
fn a_prompt_is_read_from_the_cache_once_it_was_answered_and_until_it_is_forgotten() {
    let cache = json!({ "cache": { "min_tokens": 1000, "block_tokens": 100, "ttl_s": 60 } });
    let parts = [PromptPart { prefix: 10, tokens: 1_250 }, PromptPart { prefix: 11, tokens: 1_380 }];
    let of = |at_us, prompt| Ask { prompt, ..ask(at_us, place(1, 1, 1)) };
    let leaves = |verdict| {
        let InputLeaves { uncached, cache_read, cache_write } = served(verdict).input;
        [uncached, cache_read, cache_write]
    };
    let mut twin = Twin::new(steady(cache.clone()), 1);
    assert_eq!(leaves(twin.ask(&of(0, &parts[..1]))), [1_250, 0, 0]);
    assert_eq!(
        leaves(twin.ask(&of(50 * MS, &parts[..1]))),
        [1_250, 0, 0],
        "its first token has not come yet"
    );
    assert_eq!(leaves(twin.ask(&of(S, &parts))), [180, 1_200, 0]);
    assert_eq!(leaves(twin.ask(&of(60 * S, &parts))), [80, 1_300, 0], "use keeps it alive");
    assert_eq!(leaves(twin.ask(&of(121 * S, &parts))), [1_380, 0, 0]);
    // What the client marks is billed when it is written, and nothing else is cached.
    let mut twin = Twin::new(steady(cache), 1);
    let marked =
        |at_us, parts_marked| Ask { caching: Caching::Marked { parts: parts_marked }, ..of(at_us, &parts) };
    assert_eq!(leaves(twin.ask(&marked(0, 1))), [180, 0, 1_200]);
    assert_eq!(leaves(twin.ask(&marked(S, 2))), [80, 1_200, 100]);
    assert_eq!(leaves(twin.ask(&marked(2 * S, 0))), [1_380, 0, 0]);
}

#[test]
fn calls_wait_for_a_slot_in_their_order() {
    let mut twin = Twin::new(steady(json!({ "slots": 2, "queue_max": 2 })), 1);
    let starts: Vec<u64> = (0..4).map(|n| served(twin.ask(&ask(n * MS, place(n, 1, 1)))).starts_us).collect();
    assert_eq!(starts, [0, MS, 200 * MS, 201 * MS], "each takes 200 ms");
    let fifth = twin.ask(&ask(4 * MS, place(5, 1, 1)));
    assert_eq!(status(fifth), 529);
    assert_eq!(served(twin.ask(&ask(201 * MS, place(6, 1, 1)))).starts_us, 400 * MS);
    assert_eq!(served(twin.ask(&ask(9 * S, place(7, 1, 1)))).starts_us, 9 * S);
}

#[test]
fn after_idleness_everybody_waits_until_it_is_loaded() {
    let mut twin = Twin::new(steady(json!({ "cold": { "idle_s": 30, "extra_ms": 2000 } })), 1);
    let ttft_ms =
        |twin: &mut Twin, at_us| (served(twin.ask(&ask(at_us, place(1, 1, 1)))).first_us - at_us) / MS;
    assert_eq!(ttft_ms(&mut twin, 0), 2_100);
    assert_eq!(ttft_ms(&mut twin, 500 * MS), 1_600);
    assert_eq!(ttft_ms(&mut twin, 3 * S), 100);
    assert_eq!(ttft_ms(&mut twin, 32 * S), 100, "28.8 s of idleness");
    assert_eq!(ttft_ms(&mut twin, 63 * S), 2_100);
}

#[test]
fn limits_refuse_and_state_the_wait() {
    let mut twin = Twin::new(steady(json!({ "limits": { "rpm": 2, "count_refused": false } })), 1);
    let mut at = |at_us| twin.ask(&ask(at_us, place(1, 1, 1)));
    assert_eq!((status(at(0)), status(at(0))), (200, 200));
    let Verdict::Refused(refusal) = at(S) else { panic!() };
    let RefusalWhy::Limit(blocked) = refusal.why else { panic!() };
    assert_eq!((blocked.which, refusal.retry_after_us()), (Limited::Requests, Some(30 * S)));
    assert_eq!(status(at(31 * S)), 200);
}

#[test]
fn faults_strike_where_they_are_written() {
    let statuses = |faults: Value, asks: &[(u64, CallPlace)]| -> Vec<u16> {
        let mut twin = Twin::new(steady(json!({ "faults": faults })), 1);
        asks.iter().map(|(at_us, place)| status(twin.ask(&ask(*at_us, *place)))).collect()
    };
    let attempts = [1, 2, 3].map(|attempt| (0, place(1, 1, attempt)));
    assert_eq!(statuses(json!(["fail first 2 with 429"]), &attempts), [429, 429, 200]);
    assert_eq!(statuses(json!([{ "kind": 500, "attempts": "2..3" }]), &attempts), [200, 500, 500]);
    let times = [59 * S, 60 * S, 119 * S, 120 * S].map(|at_us| (at_us, place(1, 1, 1)));
    for words in ["outage 60s..120s", "outage 1m..1m60s", "outage 60..2m", "outage from 1m0s until 120s"] {
        assert_eq!(statuses(json!([words]), &times), [200, 503, 503, 200], "{words}");
    }
    let places = [place(1, 1, 1), place(2, 1, 1), place(2, 2, 1), place(3, 2, 1)].map(|place| (0, place));
    assert_eq!(statuses(json!(["drop in loops 2..3, step 2"]).clone(), &places), [200, 200, 0, 0]);
    let many: Vec<_> = (0..10_000).map(|n| (0, place(n, 1, 1))).collect();
    let refused = statuses(json!(["529 at 5 %"]), &many).iter().filter(|status| **status == 529).count();
    assert!((400..600).contains(&refused), "{refused}");
}

#[test]
fn faults_shape_what_is_served() {
    let service = |faults: Value| {
        let mut twin = Twin::new(steady(json!({ "faults": faults })), 1);
        served(twin.ask(&ask(0, place(1, 1, 1))))
    };
    let slow = service(json!(["latency x3 +2s", "drip x5"]));
    assert_eq!((slow.first_us, slow.last_us), (2_300 * MS, 2_800 * MS));
    let broken = service(json!(["stream_error after 3 tokens"]));
    assert_eq!((broken.ending, broken.output_tokens), (ServiceEnding::StreamError { after_tokens: 3 }, 3));
    assert_eq!(broken.last_us, 120 * MS);
    let cut = service(json!([{ "kind": "cut", "after_bytes": 300 }]));
    assert_eq!((cut.ending, cut.output_tokens), (ServiceEnding::Cut(CutAfter::Bytes(300)), 1));
    assert_eq!(service(json!(["malformed"])).ending, ServiceEnding::Malformed);
    let mut twin = Twin::new(steady(json!({ "faults": ["timeout after 30s"] })), 1);
    let Verdict::Refused(refusal) = twin.ask(&ask(0, place(1, 1, 1))) else { panic!() };
    assert_eq!((refusal.status(), refusal.at_us), (504, 30 * S));
}

#[test]
fn what_is_no_fault_says_what_to_write() {
    let error = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
    insta::assert_snapshot!([
        error("explode at 5 %"),
        error("429 sometimes"),
        error("429 at often"),
        error("outage 120s..60s"),
        error("fail first 0 with 429"),
        error("529 at 500 %"),
        error("fail first 2"),
        error("cut after 300"),
    ].join("\n"), @r#"
    `explode` is no kind of fault: write a status such as 429 or 529, or one of timeout, drop, latency, drip, stream_error, cut, malformed, insufficient_quota
    `sometimes` says nothing in the fault `429 sometimes`: write for example "fail first 2 with 429", "outage 60s..120s", "529 at 5 %", "cut after 300 bytes"
    `often` says nothing in the fault `429 at often`: write for example "fail first 2 with 429", "outage 60s..120s", "529 at 5 %", "cut after 300 bytes"
    `until_s` is not after `from_s`
    `first` is 1 or more
    `rate` is between 0 and 1 (0.05 is 5 %), not 5
    `fail first 2` is no kind of fault: write a status such as 429 or 529, or one of timeout, drop, latency, drip, stream_error, cut, malformed, insufficient_quota
    `300` says nothing in the fault `cut after 300`: write for example "fail first 2 with 429", "outage 60s..120s", "529 at 5 %", "cut after 300 bytes"
    "#);
    let table = |written: Value| serde_json::from_value::<Fault>(written).unwrap_err().to_string();
    insta::assert_snapshot!([
        table(json!({ "kind": "429", "rat": 0.5 })),
        table(json!({ "kind": 200 })),
        table(json!({ "rate": 0.5 })),
        table(json!({ "kind": "drip", "factor": 0 })),
        table(json!({ "kind": 429, "loops": "3..1" })),
    ].join("\n"), @r#"
    unknown field `rat`, expected one of `kind`, `first`, `loops`, `steps`, `attempts`, `from_s`, `until_s`, `rate`, `factor`, `extra_ms`, `after_bytes`, `after_tokens`, `after_s`, `retry_after_s`
    `200` is no kind of fault: write a status such as 429 or 529, or one of timeout, drop, latency, drip, stream_error, cut, malformed, insufficient_quota
    `` is no kind of fault: write a status such as 429 or 529, or one of timeout, drop, latency, drip, stream_error, cut, malformed, insufficient_quota
    `factor` is above 0, not 0
    `3..1` is no range: write 3, or 1..10 with both ends counted
    "#);
}

#[test]
fn what_is_no_twin_is_refused() {
    let wrong = [
        json!({ "ttft": 5 }),
        json!({ "jitter": 2 }),
        json!({ "cache": { "block_tokens": 0 } }),
        json!({ "cold": { "idle_s": -1, "extra_ms": 5 } }),
        json!({ "limits": { "tpm": -5 } }),
    ];
    for written in wrong {
        assert!(serde_json::from_value::<TwinSpec>(written.clone()).is_err(), "{written}");
    }
}

/// Calls of a few loops, at rising times.
fn calls() -> impl Strategy<Value = Vec<(u64, CallPlace, Vec<PromptPart>, u64)>> {
    let call = (0_u64..400_000, 1_u64..5, 1_u32..6, 1_u32..3, 0_u64..2_000);
    prop::collection::vec(call, 1..60).prop_map(|calls| {
        let mut at_us = 0;
        calls
            .into_iter()
            .map(|(later, key, step, attempt, tokens)| {
                at_us += later;
                let prompt = (0..=u64::from(step))
                    .map(|part| PromptPart { prefix: key * 100 + part, tokens: 600 * (part + 1) })
                    .collect();
                (at_us, place(key, step, attempt), prompt, tokens)
            })
            .collect()
    })
}

fn everything() -> TwinSpec {
    spec(json!({
        "slots": 3, "queue_max": 4, "cold": { "idle_s": 1, "extra_ms": 300 }, "cache": { "ttl_s": 2 },
        "limits": { "rpm": 300, "tpm": 100_000, "otpm": 50_000, "concurrent": 6 },
        "faults": ["529 at 10 %", "cut after 5 tokens at 10 %", "outage 2s..3s", "latency x2 at 20 %"],
    }))
}

fn verdicts(seed: u64, calls: &[(u64, CallPlace, Vec<PromptPart>, u64)]) -> Vec<Verdict> {
    let mut twin = Twin::new(everything(), seed);
    let asks = calls.iter().map(|(at_us, place, prompt, tokens)| Ask {
        prompt,
        output_tokens: *tokens,
        ..ask(*at_us, *place)
    });
    asks.map(|ask| twin.ask(&ask)).collect()
}

proptest! {
    #[test]
    fn the_same_calls_get_the_same_verdicts(seed: u64, calls in calls()) {
        prop_assert_eq!(verdicts(seed, &calls), verdicts(seed, &calls));
    }

    #[test]
    fn times_are_in_order_and_input_adds_up(seed: u64, calls in calls()) {
        for (verdict, (at_us, _, prompt, tokens)) in verdicts(seed, &calls).iter().zip(&calls) {
            let Verdict::Served(service) = verdict else { continue };
            prop_assert!(*at_us <= service.starts_us);
            prop_assert!(service.starts_us <= service.first_us);
            prop_assert!(service.first_us <= service.last_us);
            prop_assert!(service.output_tokens <= *tokens);
            prop_assert_eq!(service.input.total(), prompt.last().unwrap().tokens);
            let times: Vec<u64> = (0..service.output_tokens).map(|n| service.token_us(n, service.output_tokens)).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(times.last().is_none_or(|last| *last == service.last_us));
        }
    }

    /// What is drawn for a call does not depend on what was asked before it.
    #[test]
    fn draws_follow_from_the_place_alone(seed: u64, keys in Just((0_u64..20).collect::<Vec<_>>()).prop_shuffle()) {
        let drawn = |keys: &[u64]| {
            let faults = json!(["529 at 30 %", "cut after 5 tokens at 30 %"]);
            let mut twin = Twin::new(spec(json!({ "cache": { "ttl_s": 0 }, "faults": faults })), seed);
            let mut all: Vec<_> = keys.iter().map(|key| (*key, twin.ask(&ask(0, place(*key, 1, 1))))).collect();
            all.sort_by_key(|(key, _)| *key);
            all
        };
        prop_assert_eq!(drawn(&keys), drawn(&(0..20).collect::<Vec<_>>()));
    }
}
