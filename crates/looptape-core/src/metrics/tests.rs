use super::trace::ToolTime;
use super::*;
use crate::assembly::example::{Example, call};
use crate::assembly::{LoopOutcome, Recording, TraceEnding, TraceSpan, assemble};
use crate::cost::{Cost, PriceBook, Usd};
use crate::facts::{AttemptState, CallFacts};
use crate::tools::{ToolFacts, ToolOutcome, ToolSource};
use proptest::prelude::*;

const START: Option<i64> = Some(1_793_491_200_000_000);

fn measure(facts: &[CallFacts], span: &TraceSpan) -> TraceMetrics {
    trace(facts, &assemble(facts, span), span, &PriceBook::listed().costs(facts, START))
}

/// Two steps, the second one tried twice, with a tool between them.
fn retried() -> Vec<CallFacts> {
    vec![
        call(0, 10, 100).history(1).used(1000, 0, 100).asks(&["a"]),
        call(1, 150, 10).after(1, 2).carries(&["a"]).failed(429),
        call(2, 660, 100).after(1, 2).carries(&["a"]).retries(Some(1)).used(1200, 1000, 50),
    ]
}

#[test]
fn a_trace_with_a_retry_and_an_inferred_tool() {
    let got = measure(&retried(), &TraceSpan::closed(800_000));
    let ms = |n: i64| Some(Ms::from_us(n * 1000));
    assert_eq!(
        got.time,
        TimeSplit {
            duration_ms: ms(800),
            llm_ms: ms(210),
            tool_or_overhead_ms: ms(590),
            tool_inferred_ms: ms(40),
            ..TimeSplit::default()
        }
    );
    assert_eq!((got.loops, got.steps, got.tool_calls, got.attempts, got.retries), (1, 2, 1, 3, 1));
    assert_eq!((got.amplification, got.retry_rate), (Some(3.0), Some(0.5)));
    assert_eq!((got.retry_wasted_ms, got.retry_wasted_usd), (ms(510), Some(Usd::ZERO)));
    assert_eq!(
        (got.tokens.input_total, got.tokens.output_total, got.tokens.at_least),
        (Some(2200), Some(150), false)
    );
    assert_eq!(got.cache_hit_ratio, Some(1000.0 / 2200.0));
    let expected = 1200.0 * 0.15e-6 + 1000.0 * 0.075e-6 + 150.0 * 0.6e-6;
    assert!((got.cost_usd.unwrap().as_f64() - expected).abs() < 1e-12);
    assert_eq!((got.outcome, got.completed_loops), (LoopOutcome::Success, 1));
    assert_eq!(got.errors.0.iter().map(|(k, n)| (k.as_str(), *n)).collect::<Vec<_>>(), [("http_429", 1)]);
    let second = &got.by_step[1];
    assert_eq!(
        (second.step_latency_ms, second.backoff_ms, second.last.latency_ms),
        (ms(610), ms(500), ms(100))
    );
    assert_eq!(got.by_loop[0].duration_ms, ms(750));
}

#[test]
fn without_tools_all_that_is_not_model_is_overhead() {
    let facts = [call(0, 100, 200).history(1), call(1, 250, 100).history(2)];
    let got = measure(&facts, &TraceSpan::closed(500_000)).time;
    let ms = |n: i64| Some(Ms::from_us(n * 1000));
    assert_eq!((got.llm_ms, got.tool_ms, got.overlap_ms, got.overhead_ms), (ms(250), ms(0), ms(0), ms(250)));
    assert_eq!(got.tool_or_overhead_ms, None);
}

#[test]
fn imports_without_times_have_no_durations() {
    let got = measure(&retried(), &TraceSpan::order_only());
    assert_eq!(got.time, TimeSplit::default());
    assert_eq!(
        (got.retry_wasted_ms, got.by_step[0].step_latency_ms, got.by_loop[0].duration_ms),
        (None, None, None)
    );
    assert_eq!((got.steps, got.retries), (2, 1));
    assert_eq!(got.outcome, LoopOutcome::Success);
}

#[test]
fn unknown_costs_are_listed_and_make_the_sum_at_least() {
    let mut odd = call(1, 200, 10).history(2).used(10, 0, 1);
    (odd.model, odd.response_model) = (Some("house-model".to_owned()), None);
    let known = call(0, 0, 100).history(1).used(1000, 0, 100);
    let got = measure(&[known, odd.clone()], &TraceSpan::closed(300_000));
    assert!(got.cost_at_least && got.cost_usd.is_some());
    assert_eq!(got.cost_unknown.len(), 1);
    assert_eq!(got.cost_unknown[0].model.as_deref(), Some("house-model"));
    let refused = call(0, 0, 10).history(9).failed(429);
    let got = measure(std::slice::from_ref(&refused), &TraceSpan::closed(300_000));
    assert_eq!((got.cost_usd, got.cost_at_least), (Some(Usd::ZERO), false));
    let got = measure(&[refused, odd], &TraceSpan::closed(300_000));
    assert_eq!((got.cost_usd, got.cost_at_least), (None, true), "a refusal is free, the rest is unknown");
}

#[test]
fn outcomes() {
    let outcome = |facts: &[CallFacts], span: TraceSpan| measure(facts, &span).outcome;
    let answered = [call(0, 0, 10).history(1)];
    let failed = [call(0, 0, 10).history(1).failed(500)];
    let open_tool = [call(0, 0, 10).history(1).asks(&["a"])];
    let mut gone = [call(0, 0, 10).history(1).failed(200)];
    gone[0].state = AttemptState::ClientGone;
    let closed = TraceSpan::closed(100_000);
    let idle = TraceSpan { ending: TraceEnding::Idle { at_us: 10_000 }, ..closed };
    assert_eq!(outcome(&answered, closed), LoopOutcome::Success);
    assert_eq!(outcome(&failed, closed), LoopOutcome::Failure);
    assert_eq!(outcome(&failed, TraceSpan::open()), LoopOutcome::Unknown, "it may be tried again");
    assert_eq!(outcome(&open_tool, closed), LoopOutcome::Unknown);
    assert_eq!(outcome(&open_tool, idle), LoopOutcome::Abandoned);
    assert_eq!(outcome(&gone, closed), LoopOutcome::Unknown);
    assert_eq!(outcome(&[], closed), LoopOutcome::Unknown);
    assert_eq!(outcome(&answered, closed.with_outcome(LoopOutcome::Failure)), LoopOutcome::Failure);
    let two = [call(0, 0, 10).history(1), call(1, 20, 10).history(2).failed(500)];
    let got = measure(&two, &closed);
    assert_eq!((got.outcome, got.completed_loops), (LoopOutcome::Failure, 2));
    assert_eq!(got.by_loop[0].outcome, LoopOutcome::Success);
}

#[test]
fn many_traces() {
    let first = measure(&retried(), &TraceSpan::closed(800_000));
    let second =
        measure(&[call(0, 0, 100).history(1).used(10, 0, 1).failed(500)], &TraceSpan::closed(400_000));
    let sample =
        |metrics, at_s: i64| Sample { started_unix_us: Some(at_s * 1_000_000), phase: None, metrics };
    let got = stats(&[sample(&first, 100), sample(&second, 129)], None);
    let window = got.window.unwrap();
    assert_eq!((window.start_unix_us, window.end_unix_us), (100_000_000, 129_400_000));
    assert_eq!(window.basis, WindowBasis::Observed);
    assert_eq!((got.loops.started, got.loops.completed, got.loops.success, got.loops.failure), (2, 2, 1, 1));
    assert!((got.loops_per_min.unwrap() - 2.0 * 60.0 / 29.4).abs() < 1e-9);
    assert_eq!((got.of_steps.steps, got.of_steps.retry_rate), (3, Some(1.0 / 3.0)));
    let p50 = got.of_steps.step_latency_ms.p50().unwrap();
    assert_eq!((p50.value, p50.n, p50.certified), (100.0, 3, false));
    assert_eq!(got.steps_per_loop.p95().unwrap().value, 2.0);
    assert_eq!(got.cost.usd, Some(first.cost_usd.unwrap() + second.cost_usd.unwrap()));
    assert!((got.loops_per_usd.unwrap() - 2.0 / got.cost.usd.unwrap().as_f64()).abs() < 1e-6);
    let given = Window { start_unix_us: 0, end_unix_us: 60_000_000, basis: WindowBasis::Given };
    assert_eq!(stats(&[sample(&first, 100)], Some(given)).loops_per_min, Some(1.0));
    assert_eq!(
        stats(&[], None),
        Stats { retry_wasted_ms: Some(Ms::ZERO), retry_wasted_usd: Some(Usd::ZERO), ..Stats::default() }
    );
}

fn arbitrary_trace() -> impl Strategy<Value = Vec<CallFacts>> {
    let one = (0i64..400, 1i64..300, 1i64..5, 0i64..5, 0u8..5, 0u64..3000, 0usize..3);
    proptest::collection::vec(one, 0..25).prop_map(|rows| {
        let mut sent = 0;
        let fact = |(seq, (gap, took, history, echo, state, tokens, tools)): (
            u32,
            (i64, _, _, _, _, u64, usize),
        )| {
            sent += gap;
            let ids = ["a", "b"];
            let mut fact =
                call(seq, sent, took).after(echo, history).carries(&ids).used(tokens, tokens / 3, tokens / 2);
            fact = fact.asks(&ids[..tools]);
            fact.sent_us += i64::from(seq) * 7;
            fact.end_us = fact.end_us.map(|end| end + i64::from(seq) * 13);
            match state {
                0 => fact = fact.failed(500),
                1 => (fact.state, fact.end_us) = (AttemptState::InFlight, None),
                2 => fact.model = None,
                _ => {}
            }
            fact
        };
        (0u32..).zip(rows).map(fact).collect()
    })
}

proptest! {
    #[test]
    fn parts_sum_to_the_whole_exactly(facts in arbitrary_trace(), closed in proptest::option::of(0i64..9_000_000)) {
        let span = closed.map_or_else(TraceSpan::open, TraceSpan::closed);
        let costs = PriceBook::listed().costs(&facts, START);
        let assembly = assemble(&facts, &span);
        let got = trace(&facts, &assembly, &span, &costs);
        let t = got.time;
        let parts = [t.llm_ms, t.tool_ms, t.overlap_ms, t.overhead_ms, t.tool_or_overhead_ms];
        prop_assert_eq!(parts.into_iter().flatten().sum::<Ms>(), t.duration_ms.unwrap());
        prop_assert_eq!(got.by_step.iter().map(|s| s.attempts).sum::<u32>(), got.attempts);
        prop_assert_eq!(got.by_loop.iter().map(|l| l.steps).sum::<u32>(), got.steps);
        let known: Usd = costs.iter().map(|c| match c { Cost::Known(p) => p.usd(), _ => Usd::ZERO }).sum();
        let whole = got.cost_usd.unwrap_or_default();
        prop_assert_eq!(whole, known);
        prop_assert_eq!(got.by_step.iter().filter_map(|s| s.cost_usd).sum::<Usd>(), whole);
        prop_assert_eq!(got.by_loop.iter().filter_map(|l| l.cost_usd).sum::<Usd>(), whole);
        prop_assert_eq!(got.cost_by_leaf.unwrap_or_default().total(), whole);
        let leaves = [got.tokens.uncached_input, got.tokens.cache_read].into_iter().flatten().sum::<u64>();
        prop_assert_eq!(leaves, got.tokens.input_total.unwrap_or(0));
    }
}

fn measured_tool(seq: u32, id: &str, (start_ms, end_ms): (i64, Option<i64>)) -> ToolFacts {
    ToolFacts {
        seq,
        name: format!("tool_{id}"),
        call_id: Some(id.to_owned()),
        arguments_digest: 0,
        via: None,
        source: ToolSource::Measured,
        started_us: start_ms * 1000,
        ended_us: end_ms.map(|end| end * 1000),
        outcome: end_ms.map(|_| ToolOutcome::Ok),
    }
}

fn measure_with(facts: &[CallFacts], tools: &[ToolFacts], span: &TraceSpan) -> TraceMetrics {
    let recording = Recording { facts, tools };
    trace(recording, &assemble(recording, span), span, &PriceBook::listed().costs(facts, START))
}

#[test]
fn measured_tools_tell_tools_and_overhead_apart() {
    // The tool of `retried` is asked for at 110 and its result is carried at 150.
    let span = TraceSpan::closed(800_000);
    let got = measure_with(&retried(), &[measured_tool(0, "a", (115, Some(140)))], &span).time;
    let ms = |n: i64| Some(Ms::from_us(n * 1000));
    let expected = TimeSplit {
        duration_ms: ms(800),
        llm_ms: ms(210),
        tool_ms: ms(25),
        overlap_ms: ms(0),
        overhead_ms: ms(565),
        ..TimeSplit::default()
    };
    assert_eq!(got, expected);
    let hanging = measure_with(&retried(), &[measured_tool(0, "a", (700, None))], &span);
    assert_eq!((hanging.time.tool_ms, hanging.time.overlap_ms), (ms(40), ms(60)), "it ran to the end");
    assert_eq!(hanging.tools[0].took, ToolTime::Measured(None));
    // Of two tools one was measured: what the other took is not known.
    let mut two = retried();
    two[0] = call(0, 10, 100).history(1).used(1000, 0, 100).asks(&["a", "b"]);
    for carrier in &mut two[1..] {
        carrier.carries.push("b".to_owned());
    }
    let got = measure_with(&two, &[measured_tool(0, "a", (115, Some(140)))], &span).time;
    assert_eq!((got.tool_ms, got.tool_or_overhead_ms, got.tool_inferred_ms), (None, ms(590), ms(40)));
}

proptest! {
    #[test]
    fn the_parts_of_a_measured_trace_sum_to_it(
        times in proptest::collection::vec((0i64..900, 0i64..400), 1..6),
    ) {
        let tools: Vec<ToolFacts> = (0..).zip(&times).map(|(seq, (start, took))| {
            measured_tool(seq, if seq == 0 { "a" } else { "nobody_asked" }, (*start, Some(start + took)))
        }).collect();
        let with = measure_with(&retried(), &tools, &TraceSpan::closed(800_000));
        let without = measure(&retried(), &TraceSpan::closed(800_000));
        let parts = [with.time.llm_ms, with.time.tool_ms, with.time.overlap_ms, with.time.overhead_ms];
        prop_assume!(parts.iter().all(Option::is_some));
        prop_assert_eq!(parts.into_iter().flatten().map(Ms::us).sum::<i64>(), 800_000);
        prop_assert_eq!((with.steps, with.loops, with.retries), (without.steps, without.loops, without.retries));
    }
}
