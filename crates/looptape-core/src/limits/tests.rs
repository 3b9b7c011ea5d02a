use super::*;
use proptest::prelude::*;

const S: u64 = 1_000_000;

fn limit(limit: u64) -> Limit {
    Limit::new(limit).unwrap()
}

fn bucket(of: u64) -> Bucket {
    Bucket::new(limit(of))
}

fn limits(toml_like: serde_json::Value) -> Limits {
    serde_json::from_value(toml_like).unwrap()
}

/// Figures that users of OpenAI's API published in 2023 to 2025: limit, used, requested, and the wait in ms.
const PUBLISHED: [(u64, u64, u64, u64); 4] = [
    (30_000, 28_039, 3_906, 3_890),
    (10_000, 8_554, 3_082, 9_816),
    (30_000, 29_937, 385, 644),
    (30_000, 14_567, 24_754, 18_642),
];

#[test]
fn published_refusals_are_reproduced() {
    for (of, used, requested, wait_ms) in PUBLISHED {
        assert_eq!(wait_us(limit(of), used, requested), wait_ms * 1000);
        let mut limiter = Limiter::new(&Limits { tpm: Some(limit(of)), ..Limits::default() });
        let demand = |tokens| Demand { input_tokens: tokens, ..Demand::default() };
        limiter.admit(0, &demand(used), 0);
        let blocked = limiter.check(0, &demand(requested)).unwrap();
        let expected =
            Blocked { which: Limited::Tokens, limit: of, used, requested, wait_us: Some(wait_ms * 1000) };
        assert_eq!(blocked, expected);
        assert!(limiter.check(wait_ms * 1000 - 1000, &demand(requested)).is_some(), "and not before");
        assert_eq!(limiter.check(wait_ms * 1000, &demand(requested)), None, "after the wait it fits");
    }
}

#[test]
fn a_bucket_refills_all_the_time() {
    let mut requests = bucket(3);
    requests.take(3);
    assert!(!requests.fits(1));
    assert_eq!(requests.standing(), Standing { limit: 3, remaining: 0, reset_us: 60 * S });
    requests.advance(20 * S - 1);
    assert!(!requests.fits(1));
    requests.advance(20 * S);
    assert!(requests.fits(1));
    assert_eq!(requests.standing(), Standing { limit: 3, remaining: 1, reset_us: 40 * S });
    requests.advance(3_600 * S);
    assert_eq!(requests.standing(), Standing { limit: 3, remaining: 3, reset_us: 0 });
}

#[test]
fn openai_counts_what_a_request_may_become() {
    let mut limiter = Limiter::new(&limits(serde_json::json!({ "tpm": "10K", "rpm": 10 })));
    let demand =
        Demand { input_tokens: 500, max_output_tokens: Some(6_000), output_tokens: 100, ..Demand::default() };
    limiter.admit(0, &demand, S);
    assert_eq!(limiter.standings(0).tokens.unwrap().remaining, 4_000, "max_tokens is more than the input");
    let blocked = limiter.check(0, &demand).unwrap();
    assert_eq!((blocked.used, blocked.requested, blocked.wait_us), (6_000, 6_000, Some(12 * S)));
    // Without max_tokens the input counts, and the rest is taken when it is known.
    let mut limiter = Limiter::new(&limits(serde_json::json!({ "tpm": 60_000 })));
    let open = Demand { input_tokens: 5_000, output_tokens: 3_000, ..Demand::default() };
    limiter.admit(0, &open, S);
    assert_eq!(limiter.standings(S - 1).tokens.unwrap().remaining, 55_999);
    assert_eq!(limiter.standings(S).tokens.unwrap().remaining, 53_000, "one second gave 1,000 back");
}

#[test]
fn anthropic_gives_back_what_was_not_written_and_does_not_count_cache_reads() {
    let mut limiter = Limiter::new(&limits(serde_json::json!({ "itpm": 50_000, "otpm": 6_000 })));
    let demand = Demand {
        input_tokens: 40_000,
        cached_tokens: 39_000,
        max_output_tokens: Some(4_000),
        output_tokens: 100,
    };
    limiter.admit(0, &demand, 2 * S);
    let standing = limiter.standings(0);
    assert_eq!(standing.input_tokens.unwrap().remaining, 49_000);
    assert_eq!(standing.output_tokens.unwrap().remaining, 2_000);
    assert_eq!(limiter.check(0, &demand).unwrap().which, Limited::OutputTokens);
    assert_eq!(limiter.standings(2 * S).output_tokens.unwrap().remaining, 6_000);
    assert_eq!(limiter.check(2 * S, &demand), None);
    // A max_tokens above the whole bucket is no reason to refuse for ever.
    let large = Demand { max_output_tokens: Some(64_000), ..demand };
    assert_eq!(limiter.check(10 * S, &large), None);
}

#[test]
fn a_request_above_the_limit_never_fits() {
    let mut limiter = Limiter::new(&limits(serde_json::json!({ "tpm": 30_000 })));
    let blocked = limiter.check(0, &Demand { input_tokens: 36_055, ..Demand::default() }).unwrap();
    assert_eq!((blocked.requested, blocked.wait_us), (36_055, None));
}

#[test]
fn places_are_free_when_calls_end() {
    let mut limiter = Limiter::new(&limits(serde_json::json!({ "concurrent": 2 })));
    limiter.admit(0, &Demand::default(), 5 * S);
    limiter.admit(0, &Demand::default(), 3 * S);
    let blocked = limiter.check(S, &Demand::default()).unwrap();
    assert_eq!((blocked.which, blocked.used, blocked.wait_us), (Limited::Concurrent, 2, Some(2 * S)));
    assert_eq!(limiter.check(3 * S, &Demand::default()), None);
}

#[test]
fn the_longest_wait_is_named_and_refused_requests_count() {
    let spec = serde_json::json!({ "rpm": 60, "tpm": 6_000 });
    let mut limiter = Limiter::new(&limits(spec.clone()));
    let demand = Demand { input_tokens: 6_000, ..Demand::default() };
    limiter.admit(0, &demand, 0);
    assert_eq!(limiter.check(0, &demand).unwrap().which, Limited::Tokens);
    for _ in 0..59 {
        limiter.refused(0);
    }
    assert_eq!(limiter.standings(0).requests.unwrap().remaining, 0);
    let mut uncounted = spec;
    uncounted["count_refused"] = false.into();
    let mut limiter = Limiter::new(&limits(uncounted));
    limiter.refused(0);
    assert_eq!(limiter.standings(0).requests.unwrap().remaining, 60);
}

#[test]
fn what_is_no_limit_is_refused() {
    for wrong in [
        serde_json::json!({ "tpm": 0 }),
        serde_json::json!({ "rpm": 1.5 }),
        serde_json::json!({ "rpm": "many" }),
        serde_json::json!({ "tmp": 5 }),
    ] {
        assert!(serde_json::from_value::<Limits>(wrong.clone()).is_err(), "{wrong}");
    }
    assert_eq!(limits(serde_json::json!({ "tpm": "1.5M" })).tpm, Some(limit(1_500_000)));
}

proptest! {
    /// Whatever is asked, no bucket holds more than its limit, and a wait that is stated is enough.
    #[test]
    fn buckets_stay_within_their_limit(
        of in 1_u64..1_000_000,
        asks in prop::collection::vec((0_u64..5_000_000, 0_u64..1_500_000, 0_u64..4_000), 1..40),
    ) {
        let all = Limits { rpm: Some(limit(of)), tpm: Some(limit(of)), itpm: Some(limit(of)), otpm: Some(limit(of)), ..Limits::default() };
        let mut limiter = Limiter::new(&all);
        let mut at_us = 0;
        for (later, tokens, output) in asks {
            at_us += later;
            let demand = Demand { input_tokens: tokens, output_tokens: output, max_output_tokens: Some(output * 2), ..Demand::default() };
            match limiter.check(at_us, &demand) {
                None => limiter.admit(at_us, &demand, at_us + output * 1000),
                Some(blocked) => {
                    prop_assert!(blocked.used <= blocked.limit);
                    prop_assert_eq!(blocked.wait_us.is_none(), blocked.requested > blocked.limit);
                }
            }
            let standings = limiter.standings(at_us);
            for standing in [standings.requests, standings.tokens, standings.input_tokens, standings.output_tokens] {
                let standing = standing.unwrap();
                prop_assert!(standing.remaining <= standing.limit);
                prop_assert!(standing.reset_us <= 60 * S);
            }
        }
    }

    #[test]
    fn a_stated_wait_is_enough(of in 1_u64..1_000_000, first in 0_u64..1_000_000, second in 0_u64..1_000_000) {
        let (first, second) = (first % (of + 1), second % (of + 1));
        let mut limiter = Limiter::new(&Limits { tpm: Some(limit(of)), ..Limits::default() });
        let demand = |input_tokens| Demand { input_tokens, ..Demand::default() };
        limiter.admit(0, &demand(first), 0);
        if let Some(blocked) = limiter.check(0, &demand(second)) {
            prop_assert_eq!(limiter.check(blocked.wait_us.unwrap(), &demand(second)), None);
        }
    }
}
