use super::*;
use crate::assembly::example::{Example, call};
use crate::facts::{AttemptState, CallFacts};
use proptest::prelude::*;
use serde_json::json;

/// 2026-11-01.
const NOVEMBER: Option<i64> = Some(1_793_491_200_000_000);

fn usage(leaves: [u64; 6]) -> TokenUsage {
    let [uncached_input, cache_read, cache_write_5m, cache_write_1h, output_visible, reasoning] = leaves;
    TokenUsage {
        uncached_input: Some(uncached_input),
        cache_read: Some(cache_read),
        cache_write_5m: Some(cache_write_5m),
        cache_write_1h: Some(cache_write_1h),
        output_visible: Some(output_visible),
        reasoning: Some(reasoning),
        input_total: Some(uncached_input + cache_read + cache_write_5m + cache_write_1h),
        output_total: Some(output_visible + reasoning),
        raw: None,
    }
}

fn billed<'a>(provider: &'a str, model: &'a str, usage: &'a TokenUsage) -> Billed<'a> {
    Billed {
        provider,
        model: Some(model),
        response_model: None,
        usage,
        service_tier: None,
        at_unix_us: NOVEMBER,
        stated_usd: None,
    }
}

fn price(billed: &Billed<'_>) -> Result<Price, Unpriced> {
    PriceBook::listed().price(billed)
}

fn cost(fact: &CallFacts, started_unix_us: Option<i64>) -> Cost {
    PriceBook::listed().cost(fact, started_unix_us)
}

fn usd(billed: &Billed<'_>) -> f64 {
    price(billed).unwrap().usd().as_f64()
}

#[test]
fn the_version_is_that_of_the_crate_in_use() {
    let lock = include_str!("../../../../Cargo.lock").replace("\r\n", "\n");
    let version = PRICE_VERSION.strip_prefix("genai-prices ").unwrap();
    assert!(lock.contains(&format!("name = \"genai-prices\"\nversion = \"{version}\"\n")), "{PRICE_VERSION}");
}

#[test]
fn bills_by_hand() {
    // model, leaves (uncached, read, 5m, 1h, visible, reasoning), dollars from the published price lists
    let bills: &[(&str, &str, [u64; 6], f64)] = &[
        ("openai", "gpt-4o-mini", [1000, 0, 0, 0, 100, 0], 1000.0 * 0.15e-6 + 100.0 * 0.6e-6),
        (
            "openai",
            "gpt-4o-mini-2024-07-18",
            [200, 800, 0, 0, 100, 0],
            200.0 * 0.15e-6 + 800.0 * 0.075e-6 + 100.0 * 0.6e-6,
        ),
        (
            "openai",
            "gpt-5",
            [1000, 9000, 0, 0, 50, 450],
            1000.0 * 1.25e-6 + 9000.0 * 0.125e-6 + 500.0 * 10e-6,
        ),
        (
            "anthropic",
            "claude-sonnet-4-5",
            [10, 2000, 300, 0, 400, 0],
            10.0 * 3e-6 + 2000.0 * 0.3e-6 + 300.0 * 3.75e-6 + 400.0 * 15e-6,
        ),
        ("anthropic", "claude-sonnet-4-5", [10, 0, 0, 1000, 1, 0], 10.0 * 3e-6 + 1000.0 * 6e-6 + 15e-6),
        // above 200,000 input tokens the whole call is repriced
        ("anthropic", "claude-sonnet-4-5", [200_001, 0, 0, 0, 10, 0], 200_001.0 * 6e-6 + 10.0 * 22.5e-6),
        ("anthropic", "claude-sonnet-4-5", [200_000, 0, 0, 0, 10, 0], 200_000.0 * 3e-6 + 10.0 * 15e-6),
        ("gemini", "gemini-2.5-flash", [1000, 0, 0, 0, 20, 80], 1000.0 * 0.3e-6 + 100.0 * 2.5e-6),
        ("gemini", "models/gemini-2.5-flash", [1000, 0, 0, 0, 0, 0], 1000.0 * 0.3e-6),
        (
            "gemini",
            "gemini-2.5-pro",
            [100_000, 150_000, 0, 0, 10, 0],
            100_000.0 * 2.5e-6 + 150_000.0 * 0.25e-6 + 10.0 * 15e-6,
        ),
    ];
    for (provider, model, leaves, expected) in bills {
        let usage = usage(*leaves);
        let got = usd(&billed(provider, model, &usage));
        assert!((got - expected).abs() < 1e-12, "{provider} {model} {leaves:?}: {got} != {expected}");
    }
}

#[test]
fn one_hour_cache_writes_are_never_priced_as_five_minute_ones() {
    // The price file lists no one-hour price for this reseller's model.
    let used = usage([0, 0, 0, 1_000_000, 0, 0]);
    let got = price(&billed("openrouter", "anthropic/claude-sonnet-4.5", &used)).unwrap();
    let base = usd(&billed("openrouter", "anthropic/claude-sonnet-4.5", &usage([1_000_000, 0, 0, 0, 0, 0])));
    assert_eq!(got.by_leaf.cache_write_1h, got.usd());
    assert!((got.usd().as_f64() - 2.0 * base).abs() < 1e-9);
    assert_eq!(
        got.source,
        "genai-prices (openrouter/anthropic/claude-sonnet-4.5, 1 h cache writes at 2 x input)"
    );
}

#[test]
fn a_stated_cost_beats_a_computed_one() {
    let used = usage([1000, 0, 0, 0, 100, 0]);
    let stated = Billed { stated_usd: Some(0.0042), ..billed("openrouter", "openai/gpt-4o", &used) };
    let got = price(&stated).unwrap();
    assert_eq!(
        (got.usd().as_f64(), got.source.as_str(), got.version),
        (0.0042, "stated by openrouter", None)
    );
}

#[test]
fn at_bedrock_the_region_of_the_invoked_model_is_paid_for() {
    let used = usage([1_000_000, 0, 0, 0, 0, 0]);
    let answered = Some("claude-haiku-4-5-20251001");
    for (invoked, expected) in [
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", 1.0),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 1.1),
        // The name of a profile says nothing: then the answer's does.
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", 1.1),
    ] {
        let got = usd(&Billed { response_model: answered, ..billed("bedrock", invoked, &used) });
        assert!((got - expected).abs() < 1e-9, "{invoked}: {got}");
    }
}

#[test]
fn cohere_bills_other_tokens_than_the_model_saw() {
    let seen = usage([1000, 1928, 0, 0, 400, 0]);
    let raw = json!({"tokens": {"input_tokens": 2928.0, "output_tokens": 400.0},
        "billed_units": {"input_tokens": 2406.0, "output_tokens": 200.0}});
    let got = usd(&billed("cohere", "command-r7b-12-2024", &TokenUsage { raw: Some(raw), ..seen }));
    assert_eq!(got, usd(&billed("cohere", "command-r7b-12-2024", &usage([2406, 0, 0, 0, 200, 0]))));
}

#[test]
fn unknown_is_unknown() {
    let used = usage([10, 0, 0, 0, 1, 0]);
    let why = |b: &Billed<'_>| price(b).unwrap_err();
    assert_eq!(why(&billed("openai", "no-such-model", &used)), Unpriced::UnknownModel);
    assert_eq!(why(&billed("my-host", "gpt-oss-120b", &used)), Unpriced::AmbiguousModel);
    assert_eq!(why(&billed("ollama", "llama-3.3-70b", &used)), Unpriced::LocalModel);
    assert_eq!(why(&billed("openai", "gpt-4o", &TokenUsage::default())), Unpriced::NoUsage);
    assert_eq!(why(&Billed { model: None, ..billed("openai", "", &used) }), Unpriced::NoModel);
    let audio =
        TokenUsage { raw: Some(json!({"prompt_tokens_details": {"audio_tokens": 5}})), ..used.clone() };
    assert_eq!(why(&billed("openai", "gpt-4o", &audio)), Unpriced::OtherModalities);
    let none = TokenUsage { raw: Some(json!({"prompt_tokens_details": {"audio_tokens": 0}})), ..used };
    assert!(price(&billed("openai", "gpt-4o", &none)).is_ok());
}

#[test]
fn a_proprietary_model_behind_another_host_is_priced_by_name_and_says_so() {
    let used = usage([1000, 0, 0, 0, 100, 0]);
    let got = price(&billed("my-gateway", "gpt-4o-mini", &used)).unwrap();
    assert_eq!(got.source, "genai-prices (openai/gpt-4o-mini, by model name)");
    assert_eq!(got.usd().as_f64(), usd(&billed("openai", "gpt-4o-mini", &used)));
    let through_openai = price(&billed("openai", "claude-sonnet-4-5", &used)).unwrap();
    assert_eq!(through_openai.source, "genai-prices (anthropic/claude-sonnet-4-5, by model name)");
}

#[test]
fn the_answers_model_comes_first_and_the_requests_model_helps_out() {
    let used = usage([1000, 0, 0, 0, 100, 0]);
    let deployment =
        Billed { response_model: Some("gpt-4o-mini-2024-07-18"), ..billed("openai", "gpt-4o", &used) };
    assert_eq!(usd(&deployment), usd(&billed("openai", "gpt-4o-mini", &used)));
    let odd = Billed { response_model: Some("internal-snapshot-7"), ..billed("openai", "gpt-4o", &used) };
    assert_eq!(usd(&odd), usd(&billed("openai", "gpt-4o", &used)));
}

#[test]
fn service_tiers_and_dates() {
    let used = usage([1_000_000, 0, 0, 0, 0, 0]);
    let o3 = billed("openai", "o3", &used);
    assert_eq!(usd(&o3), 2.0);
    assert_eq!(usd(&Billed { service_tier: Some("flex"), ..o3 }), 1.0);
    assert_eq!(usd(&Billed { at_unix_us: Some(1_745_000_000_000_000), ..o3 }), 10.0, "April 2025");
    let unlisted = price(&Billed { service_tier: Some("scale"), ..o3 }).unwrap();
    assert_eq!(unlisted.usd().as_f64(), 2.0);
    assert!(unlisted.source.contains("tier \"scale\" not listed"), "{}", unlisted.source);
    assert_eq!(
        price(&Billed { service_tier: Some("default"), ..o3 }).unwrap().source,
        "genai-prices (openai/o3)"
    );
    let undated = price(&Billed { at_unix_us: None, ..o3 }).unwrap();
    assert_eq!(undated.source, "genai-prices (openai/o3, undated: newest prices)");
}

#[test]
fn web_searches_are_billed_apart() {
    let used = TokenUsage {
        raw: Some(json!({"server_tool_use": {"web_search_requests": 3}})),
        ..usage([100, 0, 0, 0, 0, 0])
    };
    let got = price(&billed("anthropic", "claude-sonnet-4-5", &used)).unwrap();
    assert!((got.by_leaf.web_search.as_f64() - 0.03).abs() < 1e-12);
}

#[test]
fn what_is_missing_makes_it_at_least() {
    let cut = TokenUsage {
        output_visible: None,
        reasoning: None,
        output_total: None,
        ..usage([100, 0, 0, 0, 0, 0])
    };
    assert_eq!(price(&billed("openai", "gpt-4o", &cut)).unwrap().bound, Bound::AtLeast);
    let only_totals =
        TokenUsage { input_total: Some(1000), output_total: Some(100), ..TokenUsage::default() };
    let got = price(&billed("openai", "gpt-4o-mini", &only_totals)).unwrap();
    assert_eq!((got.bound, got.usd().as_f64()), (Bound::Exact, 0.00021));
}

#[test]
fn calls() {
    assert_eq!(cost(&call(0, 0, 1).failed(429), None), Cost::NotBilled);
    assert_eq!(cost(&call(0, 0, 1), None), Cost::Unknown(Unpriced::NoUsage));
    let mut cut = call(0, 0, 1).used(100, 0, 5);
    cut.state = AttemptState::UpstreamReset;
    assert!(matches!(cost(&cut, NOVEMBER), Cost::Known(Price { bound: Bound::AtLeast, .. })));
    let paid_failure = call(0, 0, 1).used(100, 0, 5).failed(500);
    assert!(matches!(cost(&paid_failure, NOVEMBER), Cost::Known(_)));
}

proptest! {
    #[test]
    fn leaves_sum_to_the_total_and_agree_with_the_price_file(
        leaves in proptest::array::uniform6(0u64..300_000),
        model in 0usize..3,
    ) {
        let (provider, id, model) = [
            ("openai", "openai", "gpt-4.1-mini"),
            ("anthropic", "anthropic", "claude-sonnet-4-5"),
            ("gemini", "google", "gemini-2.5-pro"),
        ][model];
        // Only Anthropic prices writes apart.
        let leaves = if id == "anthropic" { leaves } else { [leaves[0], leaves[1], 0, 0, leaves[4], leaves[5]] };
        let used = usage(leaves);
        let got = price(&billed(provider, model, &used)).unwrap();
        prop_assert_eq!(got.by_leaf.leaves().into_iter().sum::<Usd>(), got.usd());
        let whole = genai_prices::Usage::from([
            (genai_prices::UsageKey::INPUT_TOKENS, used.input_total.unwrap() as f64),
            (genai_prices::UsageKey::CACHE_READ_TOKENS, leaves[1] as f64),
            (genai_prices::UsageKey::CACHE_WRITE_TOKENS, (leaves[2] + leaves[3]) as f64),
            (genai_prices::UsageKey::CACHE_WRITE_1H_TOKENS, leaves[3] as f64),
            (genai_prices::UsageKey::OUTPUT_TOKENS, used.output_total.unwrap() as f64),
        ]);
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_micros(NOVEMBER.unwrap() as u64);
        let request = genai_prices::PriceRequest::new(model, &whole).with_provider_id(id).with_timestamp(at);
        let expected = genai_prices::calculate(&request).unwrap().total_price;
        prop_assert!((got.usd().as_f64() - expected).abs() < 1e-9, "{} != {}", got.usd().as_f64(), expected);
    }
}

fn entry(json: serde_json::Value) -> PriceEntry {
    serde_json::from_value(json).unwrap()
}

fn book(entries: &[serde_json::Value]) -> PriceBook {
    PriceBook::with(&entries.iter().cloned().map(entry).collect::<Vec<_>>()).unwrap()
}

#[test]
fn own_prices_come_before_listed_ones_and_say_so() {
    let used = usage([1_000_000, 1_000_000, 0, 0, 1_000_000, 1_000_000]);
    let own = book(&[
        json!({"model": "gpt-4o*", "input": 1.0, "output": 2.0}),
        json!({"provider": "my-*", "model": "llama*", "input": 0.5, "output": 0.7}),
        json!({"model": "o3", "factor": 0.8}),
    ]);
    let priced = |provider, model| own.price(&billed(provider, model, &used)).unwrap();
    // 1 + 1.25 (listed: the entry states no price for cache reads) + 2 + 2
    let listed_rest = priced("openai", "gpt-4o");
    assert_eq!(listed_rest.usd().as_f64(), 6.25);
    assert_eq!(
        listed_rest.source,
        "looptape.toml [[prices]] 1 (*/gpt-4o*), else genai-prices (openai/gpt-4o)"
    );
    // No listed price: cached tokens cost what input costs. 0.5 + 0.5 + 0.7 + 0.7
    let alone = priced("my-host", "llama-9");
    assert_eq!(
        (alone.usd().as_f64(), alone.source.as_str()),
        (2.4, "looptape.toml [[prices]] 2 (my-*/llama*)")
    );
    // o3: 0.8 x (2 + 0.5 + 8 + 8)
    let discounted = priced("openai", "o3");
    assert_eq!(discounted.usd().as_f64(), 14.8);
    assert_eq!(discounted.source, "looptape.toml [[prices]] 3 (*/o3): 0.8 x genai-prices (openai/o3)");
    let listed = priced("openai", "gpt-5");
    assert_eq!(listed.version.as_deref(), Some(PRICE_VERSION));
    assert_eq!(discounted.version.as_deref(), Some(own.version()));
    assert!(own.version().starts_with(&format!("{PRICE_VERSION} + looptape.toml ")), "{}", own.version());
    let stated = Billed { stated_usd: Some(0.5), ..billed("openai", "gpt-4o", &used) };
    assert_eq!(own.price(&stated).unwrap().usd().as_f64(), 0.5, "what was really charged comes first");
}

#[test]
fn a_book_is_named_by_what_is_in_it() {
    let one = json!({"model": "m", "input": 1.0, "output": 1.0});
    let other = json!({"model": "m", "input": 1.0, "output": 1.5});
    assert_eq!(book(std::slice::from_ref(&one)).version(), book(std::slice::from_ref(&one)).version());
    assert_ne!(book(&[one]).version(), book(&[other]).version());
    assert_eq!(book(&[]).version(), PRICE_VERSION);
}

#[test]
fn own_prices_hold_for_their_dates_tiers_and_input() {
    let used = usage([1_000_000, 0, 0, 0, 0, 0]);
    let own = book(&[
        json!({"model": "m", "input": 1.0, "output": 1.0}),
        json!({"model": "m", "input": 2.0, "output": 1.0, "from": "2026-06-01", "until": "2026-12-01"}),
        json!({"model": "m", "input": 3.0, "output": 1.0, "service_tier": "Priority"}),
        json!({"model": "n", "input": 1.0, "output": 1.0, "tiers": [{"above": 200_000, "input": 4.0}, {"above": 2_000_000, "input": 9.0}]}),
        json!({"model": "s", "input": 5.0, "output": 1.0, "service_tier": "standard"}),
    ]);
    let dollars = |b: Billed<'_>| own.price(&b).unwrap().usd().as_f64();
    let m = billed("host", "m", &used);
    let day = |text: &str| Some(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
    assert_eq!(dollars(Billed { at_unix_us: day("2026-05-31T23:59:59Z"), ..m }), 1.0);
    assert_eq!(dollars(Billed { at_unix_us: day("2026-06-01T00:00:00Z"), ..m }), 2.0);
    assert_eq!(dollars(Billed { at_unix_us: day("2026-12-01T00:00:00Z"), ..m }), 1.0);
    assert_eq!(dollars(Billed { at_unix_us: None, ..m }), 1.0, "undated: what has ended is passed over");
    assert_eq!(dollars(Billed { service_tier: Some("priority"), ..m }), 3.0, "the last that holds counts");
    assert_eq!(dollars(billed("host", "n", &used)), 4.0);
    assert_eq!(dollars(billed("host", "n", &usage([200_000, 0, 0, 0, 0, 0]))), 0.2);
    let s = billed("host", "s", &used);
    assert_eq!(dollars(Billed { service_tier: Some("on_demand"), ..s }), 5.0);
    assert_eq!(own.price(&Billed { service_tier: Some("flex"), ..s }).unwrap_err(), Unpriced::UnknownModel);
}

#[test]
fn an_entry_that_says_too_little_leaves_a_cost_unknown() {
    let used = usage([10, 0, 0, 0, 1, 0]);
    for said in [json!({"model": "m", "input": 1.0}), json!({"model": "m", "factor": 0.5})] {
        let own = book(&[said]);
        assert_eq!(own.price(&billed("host", "m", &used)).unwrap_err(), Unpriced::UnknownModel);
        let quote = own.quote(Quoted { provider: Some("host"), model: "m", at_unix_us: 0 });
        assert_eq!(quote.incomplete_entries, ["1 (*/m)"]);
    }
    let local = book(&[json!({"provider": "ollama", "model": "*", "input": 0.0, "output": 0.0})]);
    assert_eq!(local.price(&billed("ollama", "llama3", &used)).unwrap().usd(), Usd::ZERO);
}

#[test]
fn a_quote_shows_what_is_applied() {
    let own = book(&[json!({"model": "gpt-5.4", "service_tier": "scale", "factor": 0.9})]);
    let at = NOVEMBER.unwrap();
    let quote = own.quote(Quoted { provider: Some("openai"), model: "gpt-5.4", at_unix_us: at });
    let shown: Vec<String> = quote
        .tiers
        .iter()
        .flat_map(|tier| {
            let name = tier.service_tier.as_deref().unwrap_or("standard");
            let line = |step: &RateStep| {
                let rates = step.usd_per_million;
                format!(
                    "{name} >{}: {} {} {}",
                    step.input_tokens_above, rates.uncached_input, rates.cache_read, rates.output_visible
                )
            };
            tier.by_input.iter().map(line).collect::<Vec<_>>()
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    standard >0: 2.5 0.25 15
    standard >272000: 5 0.5 22.5
    batch >0: 1.25 0.13 7.5
    batch >272000: 2.5 0.25 11.25
    fast >0: 5 0.5 30
    flex >0: 1.25 0.13 7.5
    flex >272000: 2.5 0.25 11.25
    priority >0: 5 0.5 30
    scale >0: 2.25 0.225 13.5
    scale >272000: 4.5 0.45 20.25
    ");
    let unknown = own.quote(Quoted { provider: Some("openai"), model: "gpt-99", at_unix_us: at });
    assert_eq!((unknown.unpriced, unknown.tiers.len()), (Some(Unpriced::UnknownModel), 0));
    assert!(!unknown.nearest.is_empty());
    let ambiguous = own.quote(Quoted { provider: None, model: "llama-3.3-70b", at_unix_us: at });
    assert!(ambiguous.listed_at.contains(&"cerebras".to_owned()), "{ambiguous:?}");
}
