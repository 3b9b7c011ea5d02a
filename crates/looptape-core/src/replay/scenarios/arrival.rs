//! A divergence is told in the same words whatever order concurrent requests arrive in.

use super::super::*;
use super::tapes::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const LANES: usize = 4;
const STEPS: usize = 3;

/// The request of a lane at a step.
fn body(lane: usize, step: usize) -> Value {
    let mut said = vec![format!("u:task {lane}")];
    for before in 0..step {
        said.extend([format!("a:answer {before}"), format!("t:result {before}")]);
    }
    chat(&said.iter().map(String::as_str).collect::<Vec<_>>())
}

fn recorded() -> Vec<Call> {
    const ANSWERS: [&str; STEPS] = ["answer 0", "answer 1", "answer 2"];
    let calls = (0..STEPS).flat_map(|step| (0..LANES).map(move |lane| (lane, step)));
    calls
        .zip(0i64..)
        .map(|((lane, step), at)| during(call(0, body(lane, step), ANSWERS[step]), at * 10, at * 10 + 9))
        .collect()
}

/// What each lane sends: one changes a tool's result and goes on, one asks another model, one asks twice, one
/// does as it did.
fn sent() -> [Vec<Value>; LANES] {
    let changed_result = |step| {
        let mut body = body(0, step);
        body["messages"][2]["content"] = json!("another result");
        body
    };
    let other_model = |step| with(body(1, step), "model", json!("another"));
    [
        vec![body(0, 0), changed_result(1), changed_result(2)],
        (0..STEPS).map(other_model).collect(),
        vec![body(2, 0), body(2, 0), body(2, 1)],
        (0..STEPS).map(|step| body(3, step)).collect(),
    ]
}

/// The report after the requests of all lanes, of which `order` says whose turn it is.
fn report(order: impl Iterator<Item = usize>) -> Summary {
    let mut replayer = replayer(&recorded());
    let sent = sent();
    let mut next = [0; LANES];
    for lane in order {
        let open: Vec<usize> = (0..LANES).filter(|&lane| next[lane] < sent[lane].len()).collect();
        let Some(&lane) = open.get(lane % open.len().max(1)) else { break };
        if let Decision::Serve(served) = ask(&mut replayer, &sent[lane][next[lane]]) {
            replayer.finished(served.entry);
        }
        next[lane] += 1;
    }
    replayer.finish()
}

#[test]
fn causes_lead_in_the_order_of_the_recording() {
    let summary = report((0..LANES).cycle());
    let told: Vec<(String, bool, Option<u32>)> =
        summary.divergences.iter().map(|r| (r.code.to_string(), r.root, r.step)).collect();
    let expected = [
        ("MODEL_DRIFT", true, Some(2)),
        ("EXHAUSTED", true, Some(3)),
        ("VOLATILE_TOOL_RESULT", true, Some(5)),
        ("MODEL_DRIFT", false, Some(6)),
        ("VOLATILE_TOOL_RESULT", false, Some(9)),
        ("MODEL_DRIFT", false, Some(10)),
        ("UNUSED_RECORDING", false, Some(2)),
    ];
    assert_eq!(told, expected.map(|(code, root, step)| (code.to_owned(), root, step)));
}

proptest! {
    #[test]
    fn any_order_of_arrival_gives_one_report(order in prop::collection::vec(0..LANES, 60)) {
        let (one, other) = (report(order.into_iter()), report((0..LANES).cycle()));
        prop_assert_eq!(render_text(&one), render_text(&other));
        prop_assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
    }
}
