//! Whole replays against hand-written tapes: one test a rule here, properties over interleavings beside it.

mod arrival;
mod captured;
mod forks;
mod interleavings;
mod references;
mod tapes;
mod volatile;

use super::*;
use crate::facts::Lineage;
use crate::wire::Wire;
use serde_json::{Value, json};
pub(super) use tapes::recorded_at;
use tapes::*;

#[test]
fn the_same_requests_get_the_same_answers() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    for (call, seq) in calls.iter().zip(0..) {
        let served = served(&mut replayer, &call.body);
        assert_eq!((served.label.seq, served.rung, served.choice), (seq, Rung::Bytes, Choice::Certain));
    }
    let summary = replayer.finish();
    assert_eq!(summary.verdict, Verdict::Replayed);
    assert_eq!((summary.served.bytes, summary.served.by_arrival), (3, 0));
    assert_eq!(render_text(&summary), "replayed: 3 of 3 recorded calls served (3 byte for byte)\n");
}

#[test]
fn an_exact_repeat_needs_no_lineage() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    let text = calls[0].body.to_string();
    let lineage = || panic!("an exact repeat is found by its bytes");
    let request = LiveRequest {
        wire: Some(Wire::OpenAiChat),
        method: "POST",
        path: "/v1/chat/completions?key=other",
        body: text.as_bytes(),
        lineage: &lineage,
    };
    assert!(matches!(replayer.next(&request), Decision::Serve(_)));
}

#[test]
fn repeats_come_in_recorded_order_and_then_run_out() {
    let body = chat(&["u:roll a die"]);
    let calls = [call(0, body.clone(), "4"), call(1, body.clone(), "1"), call(2, body.clone(), "4")];
    let mut replayer = replayer(&calls);
    assert_eq!([0, 1, 2], [0; 3].map(|_| seq_of(&mut replayer, &body)));
    let report = diverged(&mut replayer, &body);
    assert_eq!((report.code, report.root), (DivergenceCode::Exhausted, true));
    assert_eq!(diverged(&mut replayer, &body), Report { requests: 2, ..report });
    let summary = replayer.finish();
    assert_eq!((summary.verdict, summary.served.by_arrival), (Verdict::Diverged, 0));
    assert_eq!(summary.divergences.len(), 1);
}

#[test]
fn layout_transport_and_billing_are_rung_one() {
    let recorded = with(chat(&["u:hi"]), "service_tier", json!("flex"));
    let mut replayer = replayer(&[call(0, recorded, "one")]);
    let body = chat(&["u:hi"]);
    let text = r#"{ "messages": [ {"content": "\u0068i", "role": "user"} ], "user": "me", "temperature": 0.0, "model": "m" }"#;
    let Decision::Serve(served) = ask_text(&mut replayer, text, &body) else { panic!("an answer") };
    assert_eq!(served.rung, Rung::Canonical);
    let summary = replayer.finish();
    assert_eq!(summary.billing_differences.len(), 1);
    assert_eq!(summary.billing_differences[0].pointers, ["/service_tier"]);
    assert_eq!(summary.verdict, Verdict::Replayed);
}

#[test]
fn renamed_ids_are_rung_two_and_can_be_forbidden() {
    let with_id = |id: &str| {
        let mut body = chat(&["u:hi", "c:call_1", "t:12"]);
        body["messages"][1]["tool_calls"][0]["id"] = json!(id);
        body["messages"][2]["tool_call_id"] = json!(id);
        body
    };
    let calls = [call(0, with_id("a"), "one")];
    assert_eq!(served(&mut replayer(&calls), &with_id("b")).rung, Rung::Renamed);
    let strict = Options { max_rung: Rung::Canonical, ..Options::default() };
    let report = diverged(&mut replayer_with(&calls, strict), &with_id("b"));
    assert_eq!(
        report.message,
        "The request is that of step 1 but for ids that only point at each other: --max-rung 1 refuses that."
    );
    assert!(report.next_step.ends_with("replay with --max-rung 2."));
}

#[test]
fn a_request_that_is_the_same_as_json_is_told_so_where_bytes_are_wanted() {
    let body = chat(&["u:hi"]);
    let strict = Options { max_rung: Rung::Bytes, ..Options::default() };
    let mut replayer = replayer_with(&[call(0, body.clone(), "one")], strict);
    let text = r#"{"messages": [ {"content": "hi", "role": "user"} ], "temperature": 0, "model": "m"}"#;
    let Decision::Diverged(report) = ask_text(&mut replayer, text, &body) else { panic!("other bytes") };
    assert_eq!(
        (report.code, report.message.as_str()),
        (
            DivergenceCode::NeverRecorded,
            "The request is that of step 1 but for its layout, or fields that say who asks and how it is paid: \
             --max-rung 0 refuses that."
        )
    );
    assert!(report.difference.is_some_and(|difference| difference.expected != difference.actual));
}

#[test]
fn attempts_faithful_or_collapsed() {
    let body = chat(&["u:hi"]);
    let calls = [failed(0, body.clone()), failed(1, body.clone()), call(2, body.clone(), "one")];
    let mut faithful = replayer(&calls);
    assert_eq!([0, 1, 2], [0; 3].map(|_| seq_of(&mut faithful, &body)));
    assert_eq!(faithful.finish().verdict, Verdict::Replayed);

    let mut collapsed = replayer_with(&calls, Options { attempts: Attempts::Collapse, ..Options::default() });
    assert_eq!(seq_of(&mut collapsed, &body), 2);
    let summary = collapsed.finish();
    assert_eq!((summary.verdict, summary.collapsed_attempts), (Verdict::Replayed, 2));
    assert_eq!(summary.served.by_arrival, 0);
}

#[test]
fn collapsing_never_passes_over_another_steps_answer() {
    let body = chat(&["u:hi"]);
    // Two identical calls at once: each failed and was tried again.
    let calls = [
        during(failed(0, body.clone()), 0, 10),
        during(failed(0, body.clone()), 1, 11),
        during(call(0, body.clone(), "x"), 20, 30),
        during(call(0, body.clone(), "y"), 21, 31),
    ];
    let mut collapsed = replayer_with(&calls, Options { attempts: Attempts::Collapse, ..Options::default() });
    assert_eq!([2, 3], [0; 2].map(|_| seq_of(&mut collapsed, &body)));
    assert_eq!(collapsed.finish().collapsed_attempts, 2);
    // A failure that nobody tried again is the answer.
    let mut alone =
        replayer_with(&calls[..1], Options { attempts: Attempts::Collapse, ..Options::default() });
    assert_eq!(seq_of(&mut alone, &body), 0);
}

#[test]
fn identical_concurrent_requests_are_counted_or_refused() {
    let body = chat(&["u:hi"]);
    let calls = [during(call(0, body.clone(), "x"), 0, 10), during(call(0, body.clone(), "y"), 5, 15)];
    let mut by_arrival = replayer(&calls);
    assert_eq!(served(&mut by_arrival, &body).choice, Choice::ByArrival);
    assert_eq!(served(&mut by_arrival, &body).choice, Choice::ByArrival);
    let summary = by_arrival.finish();
    assert_eq!((summary.verdict, summary.served.by_arrival), (Verdict::Replayed, 2));

    let fail = Options { ambiguous: Ambiguous::Fail, ..Options::default() };
    let report = diverged(&mut replayer_with(&calls, fail), &body);
    assert_eq!(report.code, DivergenceCode::Ambiguous);
    assert_eq!(
        report.message,
        "step 1 and step 2 match this request equally well and hold different answers."
    );
    // The same answer twice leaves nothing to refuse.
    let same = [calls[0].clone(), Call { answer: "x", ..calls[1].clone() }];
    served(&mut replayer_with(&same, fail), &body);
    // One after the other in the recording, at once now.
    let apart = [call(0, body.clone(), "x"), call(1, body.clone(), "y")];
    let mut now = replayer(&apart);
    assert!(matches!(ask(&mut now, &body), Decision::Serve(Served { choice: Choice::Certain, .. })));
    assert!(matches!(ask(&mut now, &body), Decision::Serve(Served { choice: Choice::ByArrival, .. })));
}

/// Two loops that look alike but for client-made ids.
fn look_alike(id: &str, answer: &str) -> Value {
    let mut body = chat(&["u:hi", &format!("a:{answer}"), "t:12"]);
    body["messages"][2]["tool_call_id"] = json!(id);
    body
}

#[test]
fn after_renaming_lineage_decides() {
    let root = chat(&["u:hi"]);
    let calls = [
        call(0, root.clone(), "one"),
        call(1, look_alike("x", "one"), "first end"),
        call(2, root.clone(), "one"),
        call(3, look_alike("y", "one"), "second end"),
    ];
    let mut replayer = replayer(&calls);
    let order =
        [&root, &look_alike("p", "one"), &root, &look_alike("q", "one")].map(|b| seq_of(&mut replayer, b));
    assert_eq!(order, [0, 1, 2, 3]);
    assert_eq!(replayer.finish().served.renamed, 2);
}

#[test]
fn after_renaming_there_is_no_first_in_first_out() {
    let root = chat(&["u:hi"]);
    let calls = [
        during(call(0, root.clone(), "one"), 0, 10),
        during(call(0, root.clone(), "one"), 1, 11),
        during(call(0, look_alike("x", "one"), "first end"), 20, 30),
        during(call(0, look_alike("y", "one"), "second end"), 21, 31),
    ];
    let mut ambiguous = replayer(&calls);
    served(&mut ambiguous, &root);
    let report = diverged(&mut ambiguous, &look_alike("p", "one"));
    assert_eq!(report.code, DivergenceCode::Ambiguous);
    // The recorded ids themselves are found by bytes.
    assert_eq!(seq_of(&mut ambiguous, &look_alike("y", "one")), 3);

    let same = [&calls[..3], &[Call { answer: "first end", ..calls[3].clone() }]].concat();
    assert_eq!(seq_of(&mut replayer(&same), &look_alike("p", "one")), 2);
}

/// Asked more often than recorded, a request gets nothing that belongs to another id.
#[test]
fn a_request_that_was_answered_is_no_look_alike() {
    let uuid = |run: usize| chat(&[&format!("u:run 123e4567-e89b-12d3-a456-42661417400{run}")]);
    let time = |second: usize| chat(&[&format!("u:it is 2026-11-22T08:56:0{second}Z")]);
    for [one, other, fresh] in [["x", "y", "p"].map(|id| look_alike(id, "one")), [1, 2, 3].map(uuid)] {
        let mut asked = replayer(&[call(0, one.clone(), "first"), call(1, other.clone(), "second")]);
        assert_eq!(seq_of(&mut asked, &one), 0);
        assert_eq!(diverged(&mut asked, &one).code, DivergenceCode::Exhausted);
        assert_eq!(seq_of(&mut asked, &other), 1);

        // Nor does one that was answered as a recorded one.
        let mut asked = replayer(&[call(0, one, "same"), call(1, other, "same")]);
        assert_eq!(seq_of(&mut asked, &fresh), 0);
        assert_eq!(diverged(&mut asked, &fresh).code, DivergenceCode::Exhausted);
    }
    // A moment is no name: with the recorded clock two calls may come in one second.
    let mut asked = replayer(&[call(0, time(1), "first"), call(1, time(2), "second")]);
    assert_eq!([0, 1], [0; 2].map(|_| seq_of(&mut asked, &time(1))));
}

#[test]
fn a_retried_request_keeps_its_recorded_twin() {
    let calls = [
        failed(0, look_alike("x", "one")),
        call(1, look_alike("x", "one"), "first end"),
        call(2, look_alike("y", "one"), "second end"),
    ];
    let mut replayer = replayer(&calls);
    // Before anything was served, nothing separates the two requests.
    assert_eq!(diverged(&mut replayer, &look_alike("p", "one")).code, DivergenceCode::Ambiguous);
    assert_eq!(seq_of(&mut replayer, &look_alike("y", "one")), 2);
    assert_eq!([0, 1], [0; 2].map(|_| seq_of(&mut replayer, &look_alike("p", "one"))));
}

/// Each row: a change to the second step, and the code, place and change that must be reported.
#[test]
fn every_drift_has_its_code() {
    let second = &three_steps()[1].body;
    let message = |index: usize, text: &str| {
        let mut body = second.clone();
        body["messages"][index]["content"] = json!(text);
        body
    };
    let rows = [
        (with(second.clone(), "model", json!("n")), DivergenceCode::ModelDrift, "/model", "[-m-]{+n+}"),
        (
            message(0, "Be long."),
            DivergenceCode::SystemDrift,
            "/messages/0/content",
            "Be [-brief.-]{+long.+}",
        ),
        (
            with(second.clone(), "tools", json!([{"name": "t"}])),
            DivergenceCode::ToolsDrift,
            "/tools",
            r#"{+[{"name":"t"}]+}"#,
        ),
        (
            with(second.clone(), "temperature", json!(1)),
            DivergenceCode::ParamDrift,
            "/temperature",
            "[-0-]{+1+}",
        ),
        (with(second.clone(), "brand_new", json!(1)), DivergenceCode::ParamDrift, "/brand_new", "{+1+}"),
        (
            message(3, "13 degrees"),
            DivergenceCode::VolatileToolResult,
            "/messages/3/content",
            "[-12-]{+13+} degrees",
        ),
        (message(1, "hello"), DivergenceCode::HistoryRewrite, "/messages/1/content", "[-hi-]{+hello+}"),
        (message(2, "uno"), DivergenceCode::HistoryRewrite, "/messages/2/content", "[-one-]{+uno+}"),
    ];
    for (body, code, pointer, change) in rows {
        let mut replayer = replayer(&three_steps());
        served(&mut replayer, &three_steps()[0].body);
        let report = diverged(&mut replayer, &body);
        assert_eq!((report.code, report.step, report.root), (code, Some(2), true), "{body}");
        let difference = report.difference.expect("something to show");
        assert_eq!(
            (difference.pointer.as_str(), difference.diff.to_string().as_str()),
            (pointer, change),
            "{body}"
        );
    }
}

#[test]
fn what_was_never_recorded() {
    let mut replayer = replayer(&three_steps());
    let report = diverged(&mut replayer, &chat(&["s:Be brief.", "u:something else"]));
    assert_eq!((report.code, report.step), (DivergenceCode::NeverRecorded, Some(1)));
    assert!(report.difference.is_some_and(|d| d.pointer == "/messages/1/content"));
    let lineage = Lineage::default;
    let elsewhere =
        LiveRequest { wire: None, method: "POST", path: "/v1/embeddings", body: b"{}", lineage: &lineage };
    let Decision::Diverged(report) = replayer.next(&elsewhere) else { panic!("never recorded") };
    assert_eq!((report.code, report.nearest.is_none()), (DivergenceCode::NeverRecorded, true));
    assert_eq!(report.message, "The recording holds no call of POST /v1/embeddings.");
}

#[test]
fn going_on_after_the_end() {
    let calls = three_steps();
    let beyond =
        chat(&["s:Be brief.", "u:hi", "a:one", "t:12 degrees", "a:two", "u:go on", "a:three", "u:more"]);
    let run = |completeness| {
        let mut replayer =
            Replayer::new(tape_that_is(&calls, completeness), Options::default()).expect("no holes");
        for call in &calls {
            served(&mut replayer, &call.body);
        }
        diverged(&mut replayer, &beyond)
    };
    let report = run(Completeness::Complete);
    assert_eq!((report.code, report.step), (DivergenceCode::ExtraCall, Some(3)));
    assert_eq!(report.message, "The agent went on after step 3, where the recorded run ended.");
    assert_eq!(run(Completeness::Prefix).code, DivergenceCode::IncompleteRecording);
}

#[test]
fn recordings_without_an_answer_or_with_holes() {
    let mut calls = three_steps();
    calls[2].to_us = None;
    let mut replayer = Replayer::new(tape_that_is(&calls, Completeness::Prefix), Options::default())
        .expect("a prefix replays");
    served(&mut replayer, &calls[0].body);
    served(&mut replayer, &calls[1].body);
    let report = diverged(&mut replayer, &calls[2].body);
    assert_eq!(report.code, DivergenceCode::IncompleteRecording);
    assert_eq!(report.message, "The recording ends before the answer to step 3 was complete.");
    assert_eq!(replayer.finish().unused, []);

    let holes = || tape_that_is(&calls, Completeness::Incomplete { reasons: vec!["disk full".to_owned()] });
    let refused = Replayer::new(holes(), Options::default()).expect_err("holes are refused");
    assert_eq!(
        refused.to_string(),
        "the recording has holes (disk full): a replay of it could not be trusted"
    );
    assert!(Replayer::new(holes(), Options { holes: Holes::Allow, ..Options::default() }).is_ok());
}

#[test]
fn consequences_follow_their_cause() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    served(&mut replayer, &calls[0].body);
    let changed = |body: &Value| {
        let mut body = body.clone();
        body["messages"][3]["content"] = json!("13 degrees");
        body
    };
    let first = diverged(&mut replayer, &changed(&calls[1].body));
    let second = diverged(&mut replayer, &changed(&calls[2].body));
    let other = diverged(&mut replayer, &chat(&["u:unrelated"]));
    assert_eq!([first.root, second.root, other.root], [true, false, true]);
    let summary = replayer.finish();
    let roots: Vec<bool> = summary.divergences.iter().map(|report| report.root).collect();
    assert_eq!(roots, [true, true, false, false]);
    assert_eq!(summary.divergences[3].code, DivergenceCode::UnusedRecording);
}

#[test]
fn the_same_drift_in_every_request_has_one_root() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    let roots: Vec<bool> = calls
        .iter()
        .map(|c| diverged(&mut replayer, &with(c.body.clone(), "model", json!("n"))).root)
        .collect();
    assert_eq!(roots, [true, false, false]);
}

#[test]
fn side_calls_are_optional() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    for call in &calls {
        served(&mut replayer, &call.body);
    }
    let lineage = Lineage::default;
    let hello = LiveRequest { wire: None, method: "HEAD", path: "/api/hello", body: b"", lineage: &lineage };
    assert!(matches!(replayer.next(&hello), Decision::SideCall(call) if call.status == 200));
    let summary = replayer.finish();
    assert_eq!((summary.verdict, summary.side_calls), (Verdict::Replayed, 1));
}

#[test]
fn leftovers_are_a_verdict_of_their_own() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    served(&mut replayer, &calls[0].body);
    let summary = replayer.finish();
    assert_eq!(summary.verdict, Verdict::Unused);
    assert_eq!(summary.unused.iter().map(|label| label.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        render_text(&summary),
        "recorded calls left unused: 1 of 3 recorded calls served (1 byte for byte)\n\
         UNUSED_RECORDING: 2 recorded calls were never asked for: step 2 and step 3.\n  \
         next      The program did less than it did then: look at these calls (`looptape show TRACE --step N`). \
         --allow-unused accepts it.\n"
    );
}

#[test]
fn a_replay_that_used_nothing_is_no_success() {
    let mut unanswered = three_steps();
    unanswered.iter_mut().for_each(|call| call.to_us = None);
    for calls in [Vec::new(), unanswered] {
        let tape = tape_that_is(&calls, Completeness::Prefix);
        let nothing = Replayer::new(tape, Options::default()).expect_err("nothing can be compared");
        assert_eq!(
            nothing.to_string(),
            "the recording holds no answered call: a replay of it would prove nothing"
        );
    }
    // Not even where every recorded call is optional.
    let title = chat(&["s:You are a title generator. You output ONLY a thread title.", "u:hi"]);
    let summary = replayer(&[call(0, title, "Greetings")]).finish();
    assert_eq!((summary.verdict, summary.unused.len()), (Verdict::Unused, 1));
}

#[test]
fn reports_come_in_the_order_of_the_recording() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    let mut changed = calls[2].body.clone();
    changed["messages"][4]["content"] = json!("another");
    diverged(&mut replayer, &changed);
    served(&mut replayer, &calls[0].body);
    diverged(&mut replayer, &calls[0].body);
    let codes: Vec<DivergenceCode> = replayer.finish().divergences.iter().map(|r| r.code).collect();
    assert_eq!(
        codes,
        [DivergenceCode::Exhausted, DivergenceCode::HistoryRewrite, DivergenceCode::UnusedRecording]
    );
}

#[test]
fn a_body_that_is_no_json_is_no_other_model() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    let Decision::Diverged(report) = ask_text(&mut replayer, "{not json", &calls[0].body) else {
        panic!("it was not recorded")
    };
    assert_eq!(report.code, DivergenceCode::NeverRecorded);
    assert_eq!(
        report.message,
        "The recording holds no request to POST /v1/chat/completions that begins like this; step 1 is nearest."
    );
}

#[test]
fn a_report_reads_well() {
    let calls = three_steps();
    let mut replayer = replayer(&calls);
    served(&mut replayer, &calls[0].body);
    let mut changed = calls[1].body.clone();
    changed["messages"][3]["content"] = json!("13 degrees\u{1b}[2J");
    diverged(&mut replayer, &changed);
    insta::assert_snapshot!(render_text(&replayer.finish()), @r"
    diverged: 1 of 3 recorded calls served (1 byte for byte)
    VOLATILE_TOOL_RESULT: A tool result sent at step 2 is not the recorded one: it first differs at /messages/3/content.
      request   POST /v1/chat/completions
      at        /messages/3/content
      recorded  12 degrees
      sent      13 degrees\u{1b}[2J
      nearest   step 2: 2 of 3 messages in common; same endpoint, model, system, tools, parameters; different history
      next      Make the tool give what it gave then: the same files, a fixed clock, a fixture. If the marked words are to differ from run to run, mask them in looptape.toml; if the tool was changed on purpose, record the run again.
    what follows from it:
      UNUSED_RECORDING: 2 recorded calls were never asked for: step 2 and step 3.
    ");
}
