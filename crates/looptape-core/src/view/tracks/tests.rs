use super::*;
use crate::assembly::TraceSpan;
use crate::assembly::example::{Example, call};
use crate::cost::PriceBook;
use crate::facts::CallFacts;
use crate::metrics::Measured;
use crate::tools::{MeasuredTool, ToolFacts, ToolOutcome, ToolSource};
use crate::trace_id::TraceId;
use crate::view::{CallContent, TraceMeta, TraceStatus, trace_view};
use proptest::prelude::*;
use serde_json::Value;

/// The call `id` of `tool_id`, measured.
fn tool(id: &str, (start_ms, end_ms): (i64, i64)) -> MeasuredTool {
    let facts = ToolFacts {
        seq: 0,
        name: format!("tool_{id}"),
        call_id: Some(id.to_owned()),
        arguments_digest: 7,
        via: None,
        source: ToolSource::Measured,
        started_us: start_ms * 1000,
        ended_us: Some(end_ms * 1000),
        outcome: Some(ToolOutcome::Ok),
    };
    MeasuredTool { facts, arguments: Value::Null, end: None }
}

fn entries(facts: &[CallFacts], tools: &[MeasuredTool]) -> Vec<EntryView> {
    let meta = TraceMeta {
        id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        name: None,
        agent: None,
        agent_version: None,
        tags: Vec::new(),
        started_unix_us: None,
        status: TraceStatus::Complete,
        status_reasons: Vec::new(),
        parent: None,
    };
    let tool_facts: Vec<ToolFacts> = tools.iter().map(|tool| tool.facts.clone()).collect();
    let recording = crate::assembly::Recording { facts, tools: &tool_facts };
    let measured = Measured::of(recording, TraceSpan::closed(10_000_000), None, &PriceBook::listed());
    trace_view(meta, (facts, tools), &measured, |_| CallContent::default()).steps
}

/// A line for each entry: its number, the column that it is on, and with which columns what begins and ends there is joined.
fn sketch(facts: &[CallFacts], tools: &[MeasuredTool]) -> String {
    let entries = entries(facts, tools);
    let tracks = Tracks::of(&entries);
    let line = |(at, entry): (usize, &EntryView)| {
        let column = |id: TrackId| tracks.track(id).column;
        let number = match (entry.step, entry.sub) {
            (Some(step), Some(sub)) => format!("{}.{sub}", step.0),
            (Some(step), None) => step.0.to_string(),
            (None, _) => "-".to_owned(),
        };
        let own = tracks.track(tracks.of_entry(at));
        let left = own.from.filter(|_| own.begins == at).map(|from| format!(" left {}", column(from)));
        let joined: String = tracks.going_into(at).map(|track| format!(" took {}", track.column)).collect();
        format!("{number} on {}{}{joined}\n", own.column, left.unwrap_or_default())
    };
    entries.iter().enumerate().map(line).collect()
}

#[test]
fn a_loop_without_anything_beside_it_is_one_track() {
    let facts = [
        call(0, 0, 100).history(1).asks(&["a", "b"]),
        call(1, 300, 100).after(1, 2).carries(&["a", "b"]),
        call(2, 350, 10).plain(),
    ];
    let one_after_the_other = [tool("a", (110, 150)), tool("b", (150, 290))];
    insta::assert_snapshot!(sketch(&facts, &one_after_the_other), @"
    1 on 0
    1.1 on 0
    1.2 on 0
    2 on 0
    - on 0
    ");
}

#[test]
fn tools_at_once_leave_the_step_and_go_into_the_one_that_carries_their_results() {
    let facts =
        [call(0, 0, 100).history(1).asks(&["a", "b"]), call(1, 300, 100).after(1, 2).carries(&["a", "b"])];
    insta::assert_snapshot!(sketch(&facts, &[tool("a", (110, 200)), tool("b", (120, 290))]), @"
    1 on 0
    1.1 on 1 left 0
    1.2 on 2 left 0
    2 on 0 took 1 took 2
    ");
    assert_eq!(sketch(&facts, &[]), sketch(&facts, &[tool("a", (110, 200)), tool("b", (120, 290))]));
}

/// Step 1 calls two tools, each of which asks a model by itself.
fn two_agents_in_tools() -> Vec<CallFacts> {
    vec![
        call(0, 0, 100).history(1).asks(&["a", "b"]),
        call(1, 120, 50).history(20).asks(&["x"]),
        call(2, 130, 60).history(30),
        call(3, 200, 50).after(20, 21).carries(&["x"]),
        call(4, 500, 100).after(1, 2).carries(&["a", "b"]),
    ]
}

#[test]
fn an_agent_inside_a_tool_is_on_the_tools_track() {
    let tools = [tool("a", (110, 300)), tool("b", (115, 200)), tool("x", (175, 190))];
    insta::assert_snapshot!(sketch(&two_agents_in_tools(), &tools), @"
    1 on 0
    1.1 on 1 left 0
    1.2 on 2 left 0
    2 on 1
    3 on 2
    2.1 on 1
    4 on 1
    5 on 0 took 1 took 2
    ");
}

#[test]
fn where_it_cannot_be_told_inside_which_tool_an_agent_ran_it_is_inside_none() {
    insta::assert_snapshot!(sketch(&two_agents_in_tools(), &[]), @"
    1 on 0
    1.1 on 0
    1.2 on 0
    2 on 1 left 0
    3 on 2 left 0
    2.1 on 1
    4 on 1
    5 on 0 took 1 took 2
    ");
}

#[test]
fn two_agents_at_once_inside_one_tool() {
    let facts = [
        call(0, 0, 100).history(1).asks(&["a"]),
        call(1, 120, 50).history(20),
        call(2, 130, 60).history(30),
        call(3, 500, 100).after(1, 2).carries(&["a"]),
    ];
    insta::assert_snapshot!(sketch(&facts, &[tool("a", (110, 300))]), @"
    1 on 0
    1.1 on 1 left 0
    2 on 1
    3 on 2 left 1
    4 on 0 took 1 took 2
    ");
}

#[test]
fn calls_at_once_that_nothing_leads_to_are_joined_with_nothing() {
    let facts = [call(0, 0, 100).history(1), call(1, 10, 50).history(2), call(2, 70, 10).history(3)];
    insta::assert_snapshot!(sketch(&facts, &[]), @"
    1 on 0
    2 on 1
    3 on 1
    ");
}

#[test]
fn a_second_request_that_goes_on_from_an_answer_leaves_its_lane() {
    let facts = [
        call(0, 0, 100).history(1),
        call(1, 200, 100).after(1, 2),
        call(2, 210, 100).after(1, 3),
        call(3, 400, 100).after(2, 4),
    ];
    insta::assert_snapshot!(sketch(&facts, &[]), @"
    1 on 0
    2 on 0
    3 on 1 left 0
    4 on 0
    ");
}

#[test]
fn a_tool_that_is_under_way_while_its_agent_goes_on() {
    let facts = [
        call(0, 0, 100).history(1).asks(&["a", "b"]),
        call(1, 200, 100).after(1, 2).carries(&["b"]),
        call(2, 400, 100).after(2, 3).carries(&["a"]),
    ];
    insta::assert_snapshot!(sketch(&facts, &[tool("a", (110, 350)), tool("b", (120, 190))]), @"
    1 on 0
    1.1 on 1 left 0
    1.2 on 2 left 0
    2 on 0 took 2
    3 on 0 took 1
    ");
}

proptest! {
    /// Any calls at any times: whatever they are, no two tracks share a place, and none leaves one to its right.
    #[test]
    fn no_two_tracks_share_a_place(
        calls in proptest::collection::vec((0i64..400, 1i64..200, 0i64..6, 0i64..30, any::<bool>()), 1..24),
        times in proptest::collection::vec((0i64..400, 0i64..200), 0..12),
    ) {
        let ids: Vec<String> = (0..30).map(|id| format!("t{id}")).collect();
        let mut calls = calls;
        calls.sort_by_key(|call| call.0);
        let facts: Vec<CallFacts> = (0..).zip(&calls).map(|(seq, (at, took, parent, id, plain))| {
            let ids = [ids[*id as usize].as_str(), ids[(*id as usize + 7) % 30].as_str()];
            let own = i64::from(seq) + 1;
            let fact = call(seq, *at, *took);
            let fact = if *parent == 0 { fact.history(own) } else { fact.after((own - parent).max(0), own) };
            if *plain && *parent == 1 { fact.plain() } else { fact.asks(&ids) }
        }).collect();
        let tools: Vec<MeasuredTool> = times.iter().zip(ids.iter().step_by(2))
            .map(|((at, took), id)| tool(id, (*at, at + took))).collect();
        let entries = entries(&facts, &tools);
        let tracks = Tracks::of(&entries);
        for at in 0..entries.len() {
            let there: Vec<usize> = tracks.at(at).map(|track| track.column).collect();
            let distinct: std::collections::HashSet<&usize> = there.iter().collect();
            prop_assert_eq!(distinct.len(), there.len());
            let all = tracks.tracks.iter().filter(|track| track.begins <= at && at <= track.ends);
            prop_assert_eq!(all.count(), there.len());
            let own = tracks.track(tracks.of_entry(at));
            prop_assert!(own.begins <= at && at <= own.ends);
            let is_of_own = |track: &Track| track.into == Some(tracks.of_entry(at)) && track.ends == at;
            prop_assert!(tracks.going_into(at).all(is_of_own));
        }
        for track in &tracks.tracks {
            if let Some(from) = track.from.map(|from| tracks.track(from)) {
                prop_assert!(from.column < track.column && from.begins <= track.begins && track.begins <= from.ends);
            }
        }
    }
}
