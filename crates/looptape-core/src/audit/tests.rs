//! Whole audits of small recordings.

use super::*;
use crate::composition::example::{Recording, answered, calls, chat, result, says};
use crate::composition::{Section, scale};
use crate::cost::UsdDelta;
use crate::provider::Provider;
use proptest::prelude::*;
use serde_json::{Value, json};

/// About 2500 tokens.
fn page(subject: &str) -> String {
    format!("{subject}: it moves heat from outside to inside, and does so well. ").repeat(160)
}

/// Two searches with the same words, an answer; the cache holds nothing.
fn searches(system: impl Fn(usize) -> String, cached: u64) -> Recording {
    let mut recording = Recording::chat();
    let opening = |step: usize| vec![says("system", &system(step)), says("user", "What is a heat pump?")];
    let mut history: Vec<Value> = Vec::new();
    for (step, id) in ["a", "b"].into_iter().enumerate() {
        let call = calls(id, "heat pump");
        let request = [opening(step), history.clone()].concat();
        let input = 300 + 2_600 * step as u64;
        recording.call(chat(&request), 200, &answered(&call, input, cached.min(input), 20));
        history.extend([call, result(id, &page("Page"))]);
    }
    let request = [opening(2), history].concat();
    recording.call(
        chat(&request),
        200,
        &answered(&says("assistant", "It moves heat."), 5_500, cached.min(5_500), 10),
    );
    recording
}

#[test]
fn parts_sum_to_what_the_run_cost() {
    let recording = searches(|_| "Be brief.".to_owned(), 0);
    let audit = recording.audit(None, &[]);
    let parts = audit.input_usd + audit.output_usd + audit.fees_usd + audit.other_calls_usd;
    assert_eq!(Some(parts), audit.cost_usd);
    // gpt-4o: $2.5 and $10 a million; 300 + 2900 + 5500 in, 50 out.
    assert_eq!(
        (audit.input_usd, audit.output_usd),
        (Usd::from_f64(0.02175).unwrap(), Usd::from_f64(0.0005).unwrap())
    );
    assert_sums(&audit);
}

fn assert_sums(audit: &Audit) {
    let carried = &audit.carried;
    assert_eq!(carried.input_usd, audit.input_usd);
    let sections: Usd = carried.by_section.iter().map(|of| of.usd).sum();
    assert_eq!(sections + carried.unread_usd, audit.input_usd);
    let tools: Usd = carried.by_tool.iter().map(|of| of.usd).sum();
    assert_eq!(tools + carried.no_tool_usd, audit.input_usd);
    let messages: Usd = carried.messages.iter().map(|of| of.usd).sum();
    assert_eq!(messages + carried.more_messages_usd, audit.input_usd);
}

#[test]
fn a_message_is_paid_for_each_time_it_is_sent() {
    let audit = searches(|_| "Be brief.".to_owned(), 0).audit(None, &[]);
    let most = &audit.carried.messages[0];
    assert_eq!((most.message.tool.as_deref(), most.times_sent), (Some("search"), 2));
    assert_eq!((most.message.step, most.message.sub), (Some(StepNumber(1)), Some(1)));
    assert!(most.tokens.abs_diff(2_550) < 150, "{most:?}");
    // The same text came back twice; each time it is another message.
    let other = &audit.carried.messages[1];
    assert_eq!((other.message.step, other.times_sent), (Some(StepNumber(2)), 1));
    let tool = &audit.carried.by_tool[0];
    assert_eq!((tool.tool.as_str(), tool.results), ("search", 2));
    let first = audit.findings.iter().find(|f| f.kind == FindingKind::Carried).unwrap();
    insta::assert_snapshot!(first.text, @"The 9.9 KB result of search at step 1.1 was sent 2 times: $0.01374, 62 % of the loop.");
    assert_eq!(first.step, Some(StepNumber(1)));
}

#[test]
fn what_a_prompt_says_twice_is_counted_once() {
    let mut recording = Recording::chat();
    let mut history = vec![says("system", "Be brief."), says("user", "go on")];
    for step in 0..4u64 {
        let answer = says("assistant", &format!("chapter {step}"));
        recording.call(chat(&history), 200, &answered(&answer, 300 + 40 * step, 0, 20));
        history.extend([answer, says("user", "go on")]);
    }
    let heat = recording.as_run(|run| {
        let last = run.measured.assembly.steps.last().unwrap();
        heat(run, last.number, last.final_call()).unwrap()
    });
    let counted = heat.messages.iter().filter(|one| one.counted_at.is_none());
    assert_eq!(counted.map(|one| one.message.usd).sum::<Usd>(), heat.input_usd, "all that was paid, once");
    let again: Vec<usize> = heat.messages.iter().filter_map(|one| one.counted_at).collect();
    let first = heat.messages.iter().position(|one| one.message.message.beginning == "go on").unwrap();
    assert_eq!(again, [first; 3]);
}

#[test]
fn what_broke_the_prefix_is_named() {
    let rules = "Be brief. ".repeat(600);
    let clock = |step: usize| format!("{rules} It is 14:0{step}.");
    let audit = searches(clock, 0).audit(None, &[]);
    let [_, miss] = audit.cache.misses.as_slice() else { panic!("{:?}", audit.cache) };
    assert_eq!((miss.step, miss.after), (StepNumber(3), StepNumber(2)));
    let MissCause::PrefixChanged(change) = &miss.cause else { panic!("{miss:?}") };
    assert_eq!(change.was.section, Section::System);
    assert!(change.text.to_string().ends_with("It is 14:[-01.-]{+02.+}"), "{}", change.text);
    // The rules before the time could have been read, and the first result could have been but for the time.
    assert!(
        change.unchanged_tokens > 1_000 && miss.missed_tokens > change.unchanged_tokens + 1_000,
        "{miss:?}"
    );
    let finding = audit.findings.iter().find(|f| f.kind == FindingKind::CacheMissed).unwrap();
    assert!(finding.text.contains("the system prompt changed"), "{}", finding.text);
    // The same with nothing changed: the provider did not look, and with a full cache there is no miss.
    let audit = searches(|_| rules.clone(), 0).audit(None, &[]);
    assert!(audit.cache.misses.iter().all(|miss| miss.cause == MissCause::NotFound), "{:?}", audit.cache);
    let cached = searches(|_| rules.clone(), 1_000_000).audit(None, &[]);
    assert_eq!(cached.cache.misses, []);
}

#[test]
fn the_perfect_cache_and_other_suppositions() {
    let audit = searches(|_| "Be brief.".to_owned(), 0).audit(None, &["gpt-4o-mini"]);
    let [perfect, without, mini] = audit.what_if.as_slice() else { panic!("{:?}", audit.what_if) };
    assert_eq!(perfect.supposing, Supposing::PerfectCache);
    // Of the last prompt, all but the second result had been sent before; half price for gpt-4o's cache.
    let saved = -perfect.delta_usd.unwrap().as_f64();
    assert!((saved - 2_900.0 * 1.25 / 1e6).abs() < 200.0 * 1.25 / 1e6, "{saved}");
    // The result was sent twice: its own cost, and nothing else, is gone.
    assert_eq!(without.delta_usd.unwrap().amount(), audit.carried.messages[0].usd);
    // $0.15 and $0.6 a million.
    assert_eq!(mini.usd, Usd::from_f64((8_700.0 * 0.15 + 50.0 * 0.6) / 1e6));
}

#[test]
fn repeated_calls_and_unused_tools_are_found() {
    let audit = searches(|_| "Be brief.".to_owned(), 0).audit(None, &[]);
    let [repeat] = audit.repeats.as_slice() else { panic!("{:?}", audit.repeats) };
    assert_eq!((repeat.step, repeat.of), (StepNumber(2), StepNumber(1)));
    assert!(matches!(&repeat.what, Repeated::ToolCall { same_result: Some(true), sub: 1, .. }), "{repeat:?}");
    // Step 2 in full, and its result in step 3.
    let (step, result) = (audit.by_step[1].cost_usd.unwrap(), audit.carried.messages[1].usd);
    assert_eq!(repeat.usd, Some(step + result));
    let unused = audit.findings.iter().find(|f| f.kind == FindingKind::UnusedTools);
    assert!(unused.is_some_and(|finding| finding.text.contains("send_mail")), "{:#?}", audit.findings);
}

#[test]
fn retries_that_were_billed() {
    let mut recording = Recording::chat();
    let request = chat(&[says("user", "What is a heat pump?")]);
    let broken = json!({"error": {"message": "overloaded"}, "usage": {"prompt_tokens": 1_000, "completion_tokens": 0}});
    recording.call(request.clone(), 500, &broken);
    recording.call(request.clone(), 429, &json!({"error": {"message": "slow down"}}));
    recording.call(request, 200, &answered(&says("assistant", "It moves heat."), 1_000, 0, 100));
    let audit = recording.audit(None, &[]);
    assert_eq!((audit.steps, audit.retries.retries), (1, 2));
    assert_eq!(audit.retries.steps[0].attempts, ["500", "429", "200"]);
    assert_sums(&audit);
}

#[test]
fn unknown_prices_are_said_and_never_0() {
    let mut recording = Recording::of(Provider::parse("ollama").unwrap(), "/api/chat");
    let body = json!({"model": "llama3.2", "messages": [says("user", "hi")]});
    let answer =
        json!({"message": says("assistant", "ho"), "done": true, "prompt_eval_count": 9, "eval_count": 1});
    recording.call(body, 200, &answer);
    let audit = recording.audit(None, &["gpt-4o-mini"]);
    assert_eq!((audit.cost_usd, audit.cost_at_least), (None, true));
    assert_eq!(audit.findings[0].kind, FindingKind::UnknownCost);
    assert_eq!((audit.findings[0].usd, &audit.waterfall), (None, &None));
}

#[test]
fn a_cost_that_the_provider_stated_is_cut_into_leaves() {
    let mut recording = Recording::of(Provider::parse("openrouter").unwrap(), "/api/v1/chat/completions");
    let mut answer = answered(&says("assistant", "It moves heat."), 1_000, 0, 100);
    // Half of the list price: 1000 at $2.5 and 100 at $10 a million are $0.0035.
    answer["usage"]["cost"] = json!(0.00175);
    let mut body = chat(&[says("user", "What is a heat pump?")]);
    body["model"] = json!("openai/gpt-4o");
    recording.call(body, 200, &answer);
    let audit = recording.audit(None, &[]);
    assert_eq!(audit.cost_usd, Usd::from_f64(0.00175));
    assert_eq!(
        (audit.input_usd, audit.output_usd),
        (Usd::from_f64(0.00125).unwrap(), Usd::from_f64(0.0005).unwrap())
    );
    assert_sums(&audit);
}

#[test]
fn compared_with_another_run() {
    let (dear, cheap) = (searches(|_| "Be brief.".to_owned(), 0), {
        let mut recording = Recording::chat();
        let request = chat(&[says("user", "What is a heat pump?")]);
        recording.call(request, 200, &answered(&says("assistant", "It moves heat."), 300, 0, 50));
        recording
    });
    let book = crate::cost::PriceBook::listed();
    let measured = cheap.measured();
    let pricing = Pricing { book: &book, started_unix_us: None, facts: &cheap.facts };
    let bills = Bills::of(&cheap.facts, &measured, &pricing);
    let quantities = Quantities::of(&bills, measured.metrics.steps);
    let source = BaselineSource::Trace { trace: "9a1b2c3d9a1b2c3d9a1b2c3d9a1b2c3d".to_owned() };
    let baseline = Baseline { source, quantities, at_least: false };
    let audit = dear.audit(Some(&baseline), &[]);
    let waterfall = audit.waterfall.unwrap();
    assert_eq!(Some(waterfall.usd), audit.cost_usd);
    assert_eq!(Some(waterfall.baseline_usd), measured.metrics.cost_usd);
    assert_eq!(waterfall.bars.iter().map(|bar| bar.usd).sum::<UsdDelta>(), waterfall.delta_usd);
    insta::assert_snapshot!(audit.findings[0].text, @"It cost $0.021 more than trace 9a1b2c3d, 17.8 times as much: context made $0.01415 of it (300 → 2900 input tokens an attempt).");
    let itself = Quantities::of(
        &Bills::of(&dear.facts, &dear.measured(), &Pricing { facts: &dear.facts, ..pricing }),
        3,
    );
    let same = Waterfall::between(&itself, &itself);
    assert!(same.bars.iter().all(|bar| bar.usd == UsdDelta::ZERO), "{same:?}");
}

#[test]
fn at_most_five_findings_the_dearest_first() {
    let audit =
        searches(|step| format!("{} It is 14:0{step}.", "Be brief. ".repeat(600)), 0).audit(None, &[]);
    assert!((1..=5).contains(&audit.findings.len()), "{:#?}", audit.findings);
    let usd: Vec<_> =
        audit.findings.iter().filter(|f| f.kind != FindingKind::DearestStep).map(|f| f.usd).collect();
    assert!(usd.is_sorted_by(|a, b| a >= b), "{usd:?}");
    assert!(audit.findings.iter().all(|finding| finding.step.is_some() && finding.usd.is_some()));
}

proptest! {
    /// Whatever was said, and however it was billed, sections, tools and messages each sum to the input cost.
    #[test]
    fn carried_cost_sums_exactly(
        texts in prop::collection::vec("[a-z ]{0,60}", 1..8),
        usages in prop::collection::vec((0u64..40_000, 0u64..40_000, 0u64..900), 1..8),
    ) {
        let mut recording = Recording::chat();
        let mut history = vec![says("system", "Be brief.")];
        for (step, (input, cached, output)) in usages.iter().enumerate() {
            history.push(says("user", &texts[step % texts.len()]));
            let call = calls(&format!("c{step}"), &texts[(step + 1) % texts.len()]);
            recording.call(chat(&history), 200, &answered(&call, *input, *cached.min(input), *output));
            history.extend([call, result(&format!("c{step}"), &texts[(step + 2) % texts.len()])]);
        }
        let audit = recording.audit(None, &[]);
        assert_sums(&audit);
        prop_assert_eq!(Some(audit.input_usd + audit.output_usd), audit.cost_usd);
    }

    /// Points of a line divide it without a rest, wherever they are.
    #[test]
    fn a_line_is_its_stretches(whole in 0u64..1 << 50, weights in prop::collection::vec(0u64..1 << 30, 1..9)) {
        let all: u64 = weights.iter().sum();
        prop_assume!(all > 0);
        prop_assert_eq!(scale::point(whole, all, all), whole);
        prop_assert_eq!(scale::split(whole, &weights).iter().sum::<u64>(), whole);
    }
}
