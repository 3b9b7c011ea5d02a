//! Properties that hold for any interleaving of lanes and any order in which answers end.

use super::super::*;
use super::tapes::*;
use proptest::prelude::*;
use serde_json::json;

/// Lanes of a fan-out: roots that differ, or are the same for all, and histories of some length.
fn lanes(count: usize, steps: usize) -> Vec<Vec<Call>> {
    const ANSWERS: [&str; 6] = ["a0", "a1", "a2", "a3", "a4", "a5"];
    (0..count)
        .map(|lane| {
            let mut history = vec![format!("u:task {lane}")];
            (0..steps)
                .map(|step| {
                    let said: Vec<&str> = history.iter().map(String::as_str).collect();
                    let call = call(0, chat(&said), ANSWERS[(lane + step) % ANSWERS.len()]);
                    history.push(format!("a:{}", call.answer));
                    history.push(format!("t:result {step}"));
                    call
                })
                .collect()
        })
        .collect()
}

proptest! {
    /// However lanes interleave, when recorded and when replayed, and in whatever order answers end,
    /// every request gets the answer that was recorded for it.
    #[test]
    fn every_request_gets_its_own_answer(
        count in 1usize..5,
        steps in 1usize..5,
        recorded_order in prop::collection::vec(any::<prop::sample::Index>(), 20),
        live_order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 60),
        renamed in any::<bool>(),
    ) {
        let lanes = lanes(count, steps);
        let mut recorded: Vec<(usize, usize)> = Vec::new();
        let mut next = vec![0; count];
        let mut order = recorded_order.iter().cycle();
        while recorded.len() < count * steps {
            let open: Vec<usize> = (0..count).filter(|&lane| next[lane] < steps).collect();
            let lane = open[order.next().expect("cycles").index(open.len())];
            recorded.push((lane, next[lane]));
            next[lane] += 1;
        }
        let calls: Vec<Call> = recorded
            .iter()
            .zip(0i64..)
            .map(|(&(lane, step), at)| during(lanes[lane][step].clone(), at * 10, at * 10 + 9))
            .collect();
        let mut replayer = replayer(&calls);
        let mut again = Replayer::new(tape(&calls), Options::default()).expect("complete");
        let mut asked = vec![0; count];
        let mut open: Vec<EntryId> = Vec::new();
        let mut order = live_order.iter().cycle();
        while asked.iter().any(|&n| n < steps) {
            let (pick, ends) = order.next().expect("cycles");
            let waiting: Vec<usize> = (0..count).filter(|&lane| asked[lane] < steps).collect();
            let lane = waiting[pick.index(waiting.len())];
            let mut body = lanes[lane][asked[lane]].body.clone();
            if renamed {
                for message in body["messages"].as_array_mut().unwrap() {
                    if message["role"] == "tool" {
                        message["tool_call_id"] = json!(format!("client_{lane}"));
                    }
                }
            }
            let decision = ask(&mut replayer, &body);
            prop_assert_eq!(&decision, &ask(&mut again, &body));
            let Decision::Serve(served) = decision else { panic!("no answer: {decision:?}") };
            prop_assert_eq!(recorded[served.label.seq as usize], (lane, asked[lane]));
            prop_assert_eq!(served.choice, Choice::Certain);
            asked[lane] += 1;
            open.push(served.entry);
            if *ends && !open.is_empty() {
                let entry = open.swap_remove(pick.index(open.len()));
                replayer.finished(entry);
                again.finished(entry);
            }
        }
        let summary = replayer.finish();
        prop_assert_eq!(summary.verdict, Verdict::Replayed);
        prop_assert_eq!(summary, again.finish());
    }

    /// Arbitrary mixtures of recorded, repeated, changed and unknown requests: an answer is always that
    /// of an equal request, no answer is served twice, and a second replay decides the same.
    #[test]
    fn never_anothers_answer(
        recorded in prop::collection::vec((0usize..3, 0usize..3, 0i64..20, 1i64..9), 1..8),
        live in prop::collection::vec((0usize..4, 0usize..4, any::<bool>()), 0..16),
    ) {
        let body = |root: usize, depth: usize, id: &str| {
            let mut said = vec![format!("u:task {root}")];
            for step in 0..depth {
                said.extend([format!("a:step {step}"), format!("t:result {step}")]);
            }
            let mut body = chat(&said.iter().map(String::as_str).collect::<Vec<_>>());
            for message in body["messages"].as_array_mut().unwrap() {
                if message["role"] == "tool" {
                    message["tool_call_id"] = json!(id);
                }
            }
            body
        };
        const ANSWERS: [&str; 3] = ["x", "y", "z"];
        let calls: Vec<Call> = recorded
            .iter()
            .map(|&(root, depth, at, long)| {
                during(call(0, body(root, depth, "recorded"), ANSWERS[(at % 3) as usize]), at, at + long)
            })
            .collect();
        let mut replayer = replayer(&calls);
        let mut again = Replayer::new(tape(&calls), Options::default()).expect("complete");
        let mut used = std::collections::BTreeSet::new();
        for (root, depth, own_ids) in live {
            let body = body(root, depth, if own_ids { "made up" } else { "recorded" });
            let decision = ask(&mut replayer, &body);
            prop_assert_eq!(&decision, &ask(&mut again, &body));
            match decision {
                Decision::Serve(served) => {
                    let (recorded_root, recorded_depth, ..) = recorded[served.label.seq as usize];
                    prop_assert_eq!((recorded_root, recorded_depth), (root, depth));
                    prop_assert!(used.insert(served.entry), "served twice");
                }
                Decision::Diverged(report) => prop_assert!(!report.message.is_empty()),
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(render_text(&replayer.finish()), render_text(&again.finish()));
    }
}
