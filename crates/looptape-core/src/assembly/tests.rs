use super::example::{Example, call};
use super::*;
use crate::facts::AttemptState;
use proptest::prelude::*;

/// `number loop.lane <parent [calls] {tool>answered_by …}` for each step.
fn sketch(assembly: &Assembly) -> String {
    let line = |step: &Step| {
        let parent = step.parent.map_or("-".to_owned(), |p| p.0.to_string());
        let call = |a: &Attempt| match a.retry {
            None => a.call.0.to_string(),
            Some(r) => format!("{}:{}", a.call.0, r.layer.as_str()),
        };
        let calls: Vec<_> = step.attempts.iter().map(call).collect();
        let by = |t: &ToolStep| t.answered_by.map_or("?".to_owned(), |s| s.0.to_string());
        let tools: Vec<_> = step.tools.iter().map(|t| format!("{}>{}", t.name, by(t))).collect();
        format!(
            "{} loop {}.{} after {} calls [{}] tools [{}]",
            step.number.0,
            step.loop_number.0,
            step.lane.0,
            parent,
            calls.join(" "),
            tools.join(" ")
        )
    };
    assembly.steps.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn closed(facts: &[CallFacts]) -> Assembly {
    assemble(facts, &TraceSpan::closed(facts.iter().filter_map(|f| f.end_us).max().unwrap_or(0)))
}

#[test]
fn a_loop_with_parallel_tools_and_a_retried_step() {
    let facts = [
        call(0, 0, 100).history(1).asks(&["a", "b"]),
        call(1, 150, 10).after(1, 2).carries(&["a", "b"]).failed(429),
        call(2, 1160, 100).after(1, 2).carries(&["a", "b"]).retries(Some(1)).asks(&["c"]),
        call(3, 1300, 100).after(2, 3).carries(&["c"]),
    ];
    let assembly = closed(&facts);
    insta::assert_snapshot!(sketch(&assembly), @r"
    1 loop 1.0 after - calls [0] tools [tool_a>2 tool_b>2]
    2 loop 1.0 after 1 calls [1 2:sdk] tools [tool_c>3]
    3 loop 1.0 after 2 calls [3] tools []
    ");
    assert_eq!(
        assembly.steps[1].attempts[1].retry,
        Some(Retry { layer: RetryLayer::Sdk, backoff_us: Some(1_000_000) })
    );
    let tool = &assembly.steps[0].tools[1];
    assert_eq!((tool.sub, tool.started_us, tool.ended_us), (2, Some(100_000), Some(150_000)));
    assert_eq!(assembly.loops.len(), 1);
}

#[test]
fn framework_retry_after_the_sdk_gave_up_and_its_own_retries() {
    let facts = [
        call(0, 0, 10).history(1).failed(500),
        call(1, 20, 10).history(1).failed(500).retries(Some(1)),
        call(2, 40, 10).history(1).failed(500).retries(Some(2)),
        call(3, 60, 10).history(1).failed(500),
        call(4, 80, 10).history(1).retries(Some(1)),
    ];
    insta::assert_snapshot!(
        sketch(&closed(&facts)),
        @"1 loop 1.0 after - calls [0 1:sdk 2:sdk 3:framework 4:sdk] tools []"
    );
}

#[test]
fn identical_concurrent_requests_are_two_steps_and_each_gets_its_retry() {
    let mut facts = vec![
        call(0, 0, 100).history(1).failed(429),
        call(1, 10, 100).history(1).failed(429),
        call(2, 105, 100).history(1).retries(Some(1)),
        call(3, 115, 100).history(1).retries(Some(1)),
    ];
    insta::assert_snapshot!(sketch(&closed(&facts)), @r"
    1 loop 1.0 after - calls [0 2:sdk] tools []
    2 loop 1.1 after - calls [1 3:sdk] tools []
    ");
    for fact in &mut facts {
        fact.retry_count = None;
    }
    insta::assert_snapshot!(sketch(&closed(&facts)), @r"
    1 loop 1.0 after - calls [0 2:framework] tools []
    2 loop 1.1 after - calls [1 3:framework] tools []
    ");
    let hedged = [call(0, 0, 100).history(1), call(1, 50, 100).history(1)];
    assert_eq!(closed(&hedged).steps.len(), 2, "a request in flight is not retried by a second one");
}

#[test]
fn the_same_question_asked_again_after_an_answer_is_a_new_step() {
    let facts = [call(0, 0, 10).history(1), call(1, 20, 10).history(1), call(2, 40, 10).after(1, 2)];
    insta::assert_snapshot!(sketch(&closed(&facts)), @r"
    1 loop 1.0 after - calls [0] tools []
    2 loop 2.0 after - calls [1] tools []
    3 loop 2.0 after 2 calls [2] tools []
    ");
}

#[test]
fn sdk_retry_of_an_answer_that_never_arrived_and_of_a_timeout() {
    let mut gone = call(0, 0, 1005).history(1).failed(200);
    gone.state = AttemptState::ClientGone;
    let facts =
        [gone, call(1, 1000, 10).history(1).retries(Some(1)), call(2, 1100, 5).history(1).retries(Some(2))];
    insta::assert_snapshot!(
        sketch(&closed(&facts)),
        @"1 loop 1.0 after - calls [0 1:sdk 2:sdk] tools []"
    );
}

#[test]
fn a_counted_retry_without_its_first_attempt_is_still_a_retry() {
    let facts = [call(0, 0, 10).history(1).retries(Some(2))];
    insta::assert_snapshot!(sketch(&closed(&facts)), @"1 loop 1.0 after - calls [0:sdk] tools []");
}

#[test]
fn sub_agents_fan_out_and_a_second_loop() {
    let facts = [
        call(0, 0, 100).history(1).asks(&["research", "write"]),
        call(1, 110, 100).history(20),  // a root while two tool calls are open
        call(2, 120, 100).history(30),  // another one
        call(3, 220, 10).after(20, 21), // carries on the first sub-agent
        call(4, 300, 50).after(1, 2).carries(&["research", "write"]),
        call(5, 310, 50).after(1, 3).carries(&["research"]), // a second child of step 1
        call(6, 400, 50).history(40),                        // nothing open: a new loop
    ];
    insta::assert_snapshot!(sketch(&closed(&facts)), @r"
    1 loop 1.0 after - calls [0] tools [tool_research>5 tool_write>5]
    2 loop 1.1 after - calls [1] tools []
    3 loop 1.2 after - calls [2] tools []
    4 loop 1.1 after 2 calls [3] tools []
    5 loop 1.0 after 1 calls [4] tools []
    6 loop 1.3 after 1 calls [5] tools []
    7 loop 2.0 after - calls [6] tools []
    ");
}

#[test]
fn an_unanswered_tool_call_keeps_a_loop_open_only_while_the_trace_is() {
    let facts = [call(0, 0, 10).history(1).asks(&["final_result"]), call(1, 50, 10).history(2)];
    assert_eq!(closed(&facts).loops.len(), 2);
    assert_eq!(assemble(&facts, &TraceSpan::open()).loops.len(), 1);
}

#[test]
fn stated_loops_beat_times() {
    let facts = [
        call(0, 0, 100).history(1).looped("one"),
        call(1, 10, 100).history(2).looped("two"),
        call(2, 200, 10).after(1, 3).looped("one"),
    ];
    let assembly = closed(&facts);
    insta::assert_snapshot!(sketch(&assembly), @r"
    1 loop 1.0 after - calls [0] tools []
    2 loop 2.0 after - calls [1] tools []
    3 loop 1.0 after 1 calls [2] tools []
    ");
    assert_eq!(assembly.loops[1].name.as_deref(), Some("two"));
}

#[test]
fn parents_by_response_id_by_turn_and_by_call_id() {
    let mut first = call(0, 0, 10).history(1);
    first.response_id = Some("resp_1".to_owned());
    let mut by_id = call(1, 20, 10).history(2).asks(&["call_x"]);
    by_id.previous_response_id = Some("resp_1".to_owned());
    let by_call_id = call(2, 40, 10).history(3).carries(&["call_x"]);
    let mut trimmed = call(3, 60, 10).history(4);
    trimmed.lineage.echo = Some(999);
    trimmed.lineage.last_turn = Some(35);
    insta::assert_snapshot!(sketch(&closed(&[first, by_id, by_call_id, trimmed])), @r"
    1 loop 1.0 after - calls [0] tools []
    2 loop 1.0 after 1 calls [1] tools [tool_call_x>3]
    3 loop 1.0 after 2 calls [2] tools []
    4 loop 1.0 after 3 calls [3] tools []
    ");
}

/// Clients strip, shorten and rewrite what they send back; equal questions go on by themselves, one each.
#[test]
fn parents_whose_answer_was_put_into_other_words() {
    let reworded = |seq, sent, asked, history| {
        let mut call = call(seq, sent, 10).history(history);
        (call.lineage.echo, call.lineage.last_turn) = (Some(999), Some(998));
        call.lineage.before_turn = Some(asked);
        call
    };
    let facts = [
        call(0, 0, 10).history(1),
        call(1, 5, 10).history(1),
        reworded(2, 30, 1, 2),
        reworded(3, 40, 1, 3),
        reworded(4, 60, 3, 4),
        reworded(5, 80, 77, 5), // extends nothing that was asked here
    ];
    insta::assert_snapshot!(sketch(&closed(&facts)), @r"
    1 loop 1.0 after - calls [0] tools []
    2 loop 1.1 after - calls [1] tools []
    3 loop 1.1 after 2 calls [2] tools []
    4 loop 1.0 after 1 calls [3] tools []
    5 loop 1.0 after 4 calls [4] tools []
    6 loop 2.0 after - calls [5] tools []
    ");
}

#[test]
fn call_ids_that_every_conversation_reuses() {
    let facts = [
        call(0, 0, 10).history(1).asks(&["call_1"]),
        call(1, 5, 10).history(2).asks(&["call_1"]),
        call(2, 30, 10).after(2, 3).carries(&["call_1"]),
        call(3, 40, 10).after(1, 4).carries(&["call_1"]),
    ];
    insta::assert_snapshot!(sketch(&closed(&facts)), @r"
    1 loop 1.0 after - calls [0] tools [tool_call_1>4]
    2 loop 1.1 after - calls [1] tools [tool_call_1>3]
    3 loop 1.1 after 2 calls [2] tools []
    4 loop 1.0 after 1 calls [3] tools []
    ");
}

#[test]
fn tools_without_ids_are_matched_by_name_and_count() {
    let mut asks = call(0, 0, 10).history(1).asks(&["x", "x"]);
    for ask in &mut asks.asks {
        ask.id = None;
        ask.name = "get_weather".to_owned();
    }
    let one = call(1, 20, 10).after(1, 2).carries(&["get_weather"]);
    let by =
        |facts: &[CallFacts]| closed(facts).steps[0].tools.iter().map(|t| t.answered_by).collect::<Vec<_>>();
    assert_eq!(by(&[asks.clone(), one]), [Some(StepNumber(2)), None]);
    let both = call(1, 20, 10).after(1, 2).carries(&["get_weather", "get_weather"]);
    assert_eq!(by(&[asks.clone(), both]), [Some(StepNumber(2)), Some(StepNumber(2))]);
    let made_up = call(1, 20, 10).after(1, 2).carries(&["get_weather_1795950909913_0"]);
    assert_eq!(by(&[asks, made_up]), [Some(StepNumber(2)), None], "ids that the client made up");
}

#[test]
fn a_step_that_failed_for_good_gives_its_lane_to_the_next_try() {
    let facts =
        [call(0, 0, 10).history(1), call(1, 20, 10).after(1, 2).failed(400), call(2, 40, 10).after(1, 3)];
    assert_eq!(closed(&facts).steps[2].lane, Lane(0));
}

#[test]
fn plain_calls_have_attempts_but_no_number() {
    let facts = [
        call(0, 0, 10).plain().request(7).failed(500),
        call(1, 20, 10).history(1),
        call(2, 40, 10).plain().request(7).retries(Some(1)),
    ];
    let assembly = closed(&facts);
    assert_eq!(assembly.steps.len(), 1);
    assert_eq!(assembly.others.len(), 1);
    assert_eq!(assembly.others[0].attempts.len(), 2);
    assert_eq!(assembly.others[0].loop_number, None);
    let entries = assembly.entries(&facts);
    assert!(matches!(entries.as_slice(), [Entry::Other(_), Entry::Step(_)]));
}

#[test]
fn entries_stand_where_they_started() {
    let facts = [
        call(0, 0, 100).history(1).asks(&["a"]),
        call(1, 50, 100).history(2),
        call(2, 300, 10).after(1, 3).carries(&["a"]),
    ];
    let order = |span| {
        let assembly = assemble(&facts, &span);
        let label = |e: &Entry<'_>| match e {
            Entry::Step(s) => s.number.0.to_string(),
            Entry::Tool(s, t) => format!("{}.{}", s.number.0, t.sub),
            Entry::Other(_) => "other".to_owned(),
            Entry::Loose(tool) => tool.name.clone(),
        };
        assembly.entries(&facts).iter().map(label).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(TraceSpan::closed(400_000)), "1 2 1.1 3");
    assert_eq!(order(TraceSpan::order_only()), "1 1.1 2 3", "without times, the file's order");
}

fn arbitrary_calls() -> impl Strategy<Value = Vec<CallFacts>> {
    let one = (
        0i64..50,
        proptest::option::of(0i64..80),
        1i64..6,
        0i64..6,
        0u8..6,
        proptest::option::of(0u32..3),
        0usize..3,
    );
    proptest::collection::vec(one, 0..40).prop_map(|rows| {
        let mut sent = 0;
        let fact = |(seq, (gap, took, history, echo, state, retries, tools)): (u32, _)| {
            let (gap, took): (i64, Option<i64>) = (gap, took);
            sent += gap;
            let ids = ["a", "b", "c"];
            let mut fact = call(seq, sent, took.unwrap_or(0)).after(echo, history).retries(retries);
            fact = fact.asks(&ids[..tools]).carries(&ids[tools..]);
            if echo == 0 {
                fact.lineage.echo = None;
                fact.lineage.last_turn = None;
            }
            fact.end_us = fact.end_us.filter(|_| took.is_some());
            match state {
                0 => fact.state = AttemptState::InFlight,
                1 => fact = fact.failed(500),
                2 => fact = fact.plain(),
                3 => fact.state = AttemptState::ClientGone,
                _ => {}
            }
            fact
        };
        (0u32..).zip(rows).map(fact).collect()
    })
}

proptest! {
    #[test]
    fn every_call_is_one_attempt_of_one_step(facts in arbitrary_calls(), timed in any::<bool>()) {
        let span = if timed { TraceSpan::open() } else { TraceSpan::order_only() };
        let assembly = assemble(&facts, &span);
        let mut seen: Vec<usize> = assembly.steps.iter().flat_map(|s| &s.attempts)
            .chain(assembly.others.iter().flat_map(|o| &o.attempts))
            .map(|a| a.call.0).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..facts.len()).collect::<Vec<_>>());
        for (n, step) in (1u32..).zip(&assembly.steps) {
            prop_assert_eq!(step.number.0, n);
            prop_assert!(step.parent.is_none_or(|p| p < step.number));
            let home = &assembly.loops[step.loop_number.0 as usize - 1];
            prop_assert!(home.steps.contains(&step.number) && step.lane.0 < home.lanes);
            for tool in &step.tools {
                prop_assert!(tool.answered_by.is_none_or(|by| by > step.number));
                prop_assert!(tool.started_us.zip(tool.ended_us).is_none_or(|(a, b)| a <= b));
            }
        }
        let in_loops: usize = assembly.loops.iter().map(|l| l.steps.len()).sum();
        prop_assert_eq!(in_loops, assembly.steps.len());
        prop_assert_eq!(assemble(&facts, &span), assembly);
    }
}
