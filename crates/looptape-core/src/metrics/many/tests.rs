//! The identities: parts add up to the whole, whatever the traces and however they are merged.

use super::*;
use crate::assembly::example::{Example, call};
use crate::assembly::{TraceSpan, assemble};
use crate::cost::{PriceBook, Usd};
use crate::facts::{AttemptState, CallFacts};
use crate::labels::{Labels, Tag};
use crate::metrics::{Figure, Measured, Ms, TokenSums, TraceMetrics};
use jiff::tz::TimeZone;
use proptest::prelude::*;

const START: i64 = 1_793_491_200_000_000;
const MODELS: [&str; 4] = ["gpt-4o-mini", "gpt-4o", "gpt-5", "house-model"];

type ArbitraryCall = (i64, i64, i64, u64, u64, u8, usize);

fn arbitrary_call() -> impl Strategy<Value = ArbitraryCall> {
    (0i64..50, 0i64..2_000, 0i64..3_000, 0u64..150_000, 0u64..2_000, 0u8..8, 0usize..MODELS.len())
}

/// A trace: calls that follow each other or overlap, of some models, some failing, some asking for a tool.
fn arbitrary_facts() -> impl Strategy<Value = Vec<CallFacts>> {
    proptest::collection::vec(arbitrary_call(), 1..8).prop_map(|rows| {
        let fact = |(seq, row): (u32, ArbitraryCall)| {
            let (history, gap_ms, took_ms, input, output, kind, model) = row;
            let mut fact = call(seq, i64::from(seq) * 700 + gap_ms, took_ms).history(history);
            (fact.model, fact.response_model) = (Some(MODELS[model].to_owned()), None);
            fact = fact.used(input, input / 3, output);
            fact.stream = kind % 2 == 0;
            fact.first_content_us = fact.end_us.filter(|_| fact.stream);
            fact.last_output_us = fact.first_content_us;
            match kind {
                0 => fact = fact.failed(429),
                1 => (fact.state, fact.end_us) = (AttemptState::InFlight, None),
                2 => fact = fact.asks(&["a", "b"]),
                3 => fact = fact.carries(&["a"]),
                4 => fact = fact.plain(),
                _ => {}
            }
            fact
        };
        let mut facts: Vec<CallFacts> = (0u32..).zip(rows).map(fact).collect();
        facts.sort_by_key(|fact| fact.sent_us);
        (0u32..).zip(&mut facts).for_each(|(seq, fact)| fact.seq = seq);
        facts
    })
}

#[derive(Clone, Debug)]
struct One {
    start: i64,
    labels: Labels,
    metrics: TraceMetrics,
}

fn arbitrary_set() -> impl Strategy<Value = Vec<One>> {
    let one = (arbitrary_facts(), 0i64..60_000_000, 0usize..3, any::<bool>());
    proptest::collection::vec(one, 0..8).prop_map(|traces| {
        let one = |(facts, offset, phase, is_closed): (Vec<CallFacts>, i64, usize, bool)| {
            let span = if is_closed { TraceSpan::closed(9_000_000) } else { TraceSpan::open() };
            let start = START + offset;
            let mut labels = Labels { agent: Some(["a", "b", "c"][phase].to_owned()), ..Labels::default() };
            labels.add_tag(Tag::parse(["phase=ramp", "phase=peak", "x"][phase]).unwrap());
            let metrics = Measured::of(&facts, span, Some(start), &PriceBook::listed()).metrics;
            One { start, labels, metrics }
        };
        traces.into_iter().map(one).collect()
    })
}

fn options() -> TallyOptions {
    TallyOptions { idle_us: 2_000_000, detail: tally::Detail::Segments }
}

fn sample(one: &One) -> Sample<'_> {
    let phase = one.labels.tags.get("phase").map(String::as_str);
    Sample { started_unix_us: Some(one.start), phase, metrics: &one.metrics }
}

fn tally(set: &[One], by: &str) -> GroupTally {
    let mut tally = GroupTally::new(Some(GroupBy::parse(by).unwrap()), options());
    for one in set {
        tally.add(&sample(one), &one.labels, &TimeZone::UTC);
    }
    tally
}

fn sum_tokens<'a>(parts: impl Iterator<Item = &'a TokenSums>) -> TokenSums {
    let mut sum = TokenSums::default();
    parts.for_each(|part| sum.merge(part));
    sum
}

fn check_segments(whole: &Stats, parts: &[Segment<PricedSteps>]) -> Result<(), TestCaseError> {
    let figures = || parts.iter().map(|part| &part.figures);
    let steps = || figures().map(|part| &part.steps);
    let all = &whole.of_steps;
    prop_assert_eq!(steps().map(|s| s.steps).sum::<u32>(), all.steps);
    prop_assert_eq!(steps().map(|s| s.attempts).sum::<u32>(), all.attempts);
    prop_assert_eq!(steps().map(|s| s.retries).sum::<u32>(), all.retries);
    prop_assert_eq!(steps().map(|s| s.failed_attempts).sum::<u32>(), all.failed_attempts);
    prop_assert_eq!(steps().map(|s| s.context.trims).sum::<u32>(), all.context.trims);
    prop_assert_eq!(steps().map(|s| s.step_latency_ms.n()).sum::<usize>(), all.step_latency_ms.n());
    prop_assert_eq!(steps().map(|s| s.ttft_ms.n()).sum::<usize>(), all.ttft_ms.n());
    prop_assert_eq!(sum_tokens(steps().map(|s| &s.tokens)), all.tokens);
    let cost: Usd = figures().filter_map(|part| part.cost.usd).sum();
    prop_assert_eq!(cost, whole.cost.usd.unwrap_or_default());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn segments_add_up_to_the_whole(set in arbitrary_set()) {
        let (whole, _) = tally(&set, "model").finish(None);
        let segments = whole.segments.clone().unwrap();
        for parts in [&segments.by_model, &segments.by_stream, &segments.by_input_tokens,
                      &segments.by_output_tokens, &segments.by_phase] {
            check_segments(&whole, parts)?;
        }
        let tools: u32 = segments.by_tool.iter().map(|tool| tool.figures.calls).sum();
        prop_assert_eq!(tools, whole.tool_calls);
        let kinds: u32 = segments.by_kind.iter().map(|kind| kind.figures.calls).sum();
        let others: usize = set.iter().map(|one| one.metrics.other_latencies.len()).sum();
        prop_assert_eq!(kinds as usize, (whole.of_steps.steps + whole.tool_calls) as usize + others);
    }

    #[test]
    fn a_stretch_of_time_is_a_set_like_any_other(set in arbitrary_set(), cut in 0usize..8) {
        let empty = || OverTimeTally::new(TimeUnit::Minute, TimeZone::UTC, options());
        let (mut over_time, mut rest) = (empty(), empty());
        for (at, one) in set.iter().enumerate() {
            if at < cut { over_time.add(&sample(one)) } else { rest.add(&sample(one)) }
        }
        over_time.merge(rest);
        // Asked for until a little after the first traces.
        let asked = Window { start_unix_us: START - 7, end_unix_us: START + 30_000_000, basis: WindowBasis::Given };
        let over_time = over_time.finish(asked);
        prop_assert_eq!(over_time.traces.iter().sum::<usize>(), set.len());
        for (at, stretch) in over_time.stretches.iter().enumerate() {
            let mut alone = SetTally::new(TallyOptions { idle_us: 2_000_000, ..TallyOptions::default() });
            set.iter().filter(|one| stretch.holds(one.start)).for_each(|one| alone.add(&sample(one)));
            let end_unix_us = if stretch.holds(START) { asked.end_unix_us } else { stretch.end_unix_us };
            let start_unix_us = stretch.start_unix_us.max(asked.start_unix_us);
            let alone = alone.finish(Some(Window { start_unix_us, end_unix_us, basis: WindowBasis::Given }));
            for (name, metric) in &over_time.metrics {
                let reading = crate::metrics::select(&alone, name).unwrap();
                if let Some(distribution) = reading.distribution {
                    prop_assert_eq!(metric.p95[at], distribution.p95(), "{}", name);
                }
                let known = match reading.figure {
                    Some(Figure::Known(value) | Figure::AtLeast(value)) => Some(value),
                    Some(Figure::Unknown) | None => None,
                };
                prop_assert_eq!(metric.figure.get(at).copied().flatten(), known, "{}", name);
            }
        }
    }

    #[test]
    fn groups_add_up_to_the_whole(set in arbitrary_set(), by in prop_oneof!["agent", "phase", "tag:phase", "day"]) {
        let (whole, groups) = tally(&set, &by).finish(None);
        let Some(Groups::Traces(groups)) = groups else { panic!("traces are grouped by {by}") };
        let parts = || groups.iter().map(|group| &group.figures);
        prop_assert_eq!(parts().map(|s| s.traces).sum::<usize>(), whole.traces);
        prop_assert_eq!(parts().map(|s| s.loops.started).sum::<u32>(), whole.loops.started);
        prop_assert_eq!(parts().map(|s| s.loops.completed).sum::<u32>(), whole.loops.completed);
        prop_assert_eq!(parts().map(|s| s.of_steps.steps).sum::<u32>(), whole.of_steps.steps);
        prop_assert_eq!(parts().map(|s| s.errors.total()).sum::<u32>(), whole.errors.total());
        prop_assert_eq!(parts().filter_map(|s| s.cost.usd).sum::<Usd>(), whole.cost.usd.unwrap_or_default());
        prop_assert_eq!(parts().filter_map(|s| s.time.duration_ms).sum::<Ms>(), whole.time.duration_ms.unwrap_or_default());
        prop_assert_eq!(sum_tokens(parts().map(|s| &s.of_steps.tokens)), whole.of_steps.tokens);
        if by == "agent" {
            let rates: f64 = parts().filter_map(|s| s.loops_per_min).sum();
            prop_assert!((rates - whole.loops_per_min.unwrap_or(0.0)).abs() < 1e-9);
        }
    }

    #[test]
    fn the_order_and_the_parts_do_not_matter(set in arbitrary_set(), cut in 0usize..8) {
        let (left, right) = set.split_at(cut.min(set.len()));
        let whole = tally(&set, "agent").finish(None);
        let mut merged = tally(right, "agent");
        merged.merge(tally(left, "agent"));
        prop_assert_eq!(merged.finish(None), whole);
    }

    #[test]
    fn sums_within_the_whole(set in arbitrary_set()) {
        let (whole, _) = tally(&set, "agent").finish(None);
        let time = whole.time;
        let parts = [time.llm_ms, time.tool_ms, time.overlap_ms, time.overhead_ms, time.tool_or_overhead_ms];
        prop_assert_eq!(parts.into_iter().flatten().sum::<Ms>(), time.duration_ms.unwrap_or_default());
        prop_assert_eq!(whole.cost.by_leaf.unwrap_or_default().total(), whole.cost.usd.unwrap_or_default());
        let l = whole.loops;
        prop_assert_eq!(l.success + l.failure + l.abandoned, l.completed);
        prop_assert_eq!(l.completed + l.unknown, l.started);
        prop_assert_eq!(whole.steps_per_loop.sum() as u32, whole.of_steps.steps);
        prop_assert_eq!(whole.steps_per_loop.n() as u32, l.started);
        prop_assert_eq!(whole.loop_cost_usd.n() as u64 + whole.loop_cost_usd.unknown(), u64::from(l.started));
        prop_assert!(whole.of_steps.context.steps_above_90 <= whole.of_steps.context.steps_above_75);
        prop_assert_eq!(whole.columns.spent, whole.columns.recorded, "recordings spend what they record");
        let Some(warm_cold) = &whole.warm_cold else { return Ok(()) };
        let (warm, cold) = (&warm_cold.warm, &warm_cold.cold);
        let calls: usize = set.iter().map(|one| one.metrics.calls.len()).sum();
        prop_assert_eq!((warm.calls + cold.calls) as usize, calls);
        let timed = |one: &One| one.metrics.by_loop.iter().filter(|inner| inner.during.is_some()).count();
        prop_assert!((warm.loops + cold.loops) as usize <= set.iter().map(timed).sum::<usize>());
        let (Some(series), Some(rates), Some(window)) = (&whole.series, whole.token_rates, whole.window) else {
            return Ok(());
        };
        let tokens: u64 = set.iter().flat_map(|one| &one.metrics.calls).map(|call| call.input_tokens).sum();
        prop_assert!((rates.input_tokens_per_s * window.seconds() - tokens as f64).abs() < 1e-3 * (tokens as f64 + 1.0));
        let last = window.seconds() - series.bucket_s * (series.input_tokens_per_s.len() - 1) as f64;
        let lengths = (0..series.input_tokens_per_s.len()).map(|at| if at + 1 == series.input_tokens_per_s.len() { last } else { series.bucket_s });
        let summed: f64 = series.input_tokens_per_s.iter().zip(lengths).map(|(rate, s)| rate * s).sum();
        prop_assert!((summed - tokens as f64).abs() < 1e-3 * (tokens as f64 + 1.0), "{} {}", summed, tokens);
    }
}

/// Two runs five seconds apart with a silence of 3 s before the second: its first call is cold, its next warm.
#[test]
fn warm_and_cold_by_hand() {
    let run = |start: i64| {
        let facts = [call(0, 0, 1_000).history(1), call(1, 1_000, 1_000).after(1, 2)];
        let facts = facts.map(|mut fact| {
            fact.stream = true;
            fact.first_content_us = Some(fact.sent_us + 200_000);
            fact.last_output_us = fact.end_us;
            fact
        });
        let span = TraceSpan::closed(2_000_000);
        assert_eq!(assemble(&facts, &span).loops.len(), 1);
        let metrics = Measured::of(&facts, span, Some(start), &PriceBook::listed()).metrics;
        One { start, labels: Labels::default(), metrics }
    };
    let set = [run(START), run(START + 5_000_000), run(START + 7_500_000)];
    let (whole, _) = tally(&set, "agent").finish(None);
    let found = whole.warm_cold.unwrap();
    assert_eq!((found.cold.calls, found.warm.calls), (2, 4));
    assert_eq!((found.cold.loops, found.warm.loops), (2, 1));
    assert_eq!(found.cold.ttft_ms.p50().unwrap().value, 200.0);
    let rate = found.cold.loops_per_min.unwrap() + found.warm.loops_per_min.unwrap();
    assert!((rate - whole.loops_per_min.unwrap()).abs() < 1e-9);
    assert_eq!(whole.concurrency.unwrap().loops_peak, 1);
    assert!((whole.concurrency.unwrap().calls_mean - 6.0 / 9.5).abs() < 1e-9);
}
