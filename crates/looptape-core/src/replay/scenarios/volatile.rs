//! Requests that differ from the recorded ones in volatile values: which answer they get, and when none.

use super::super::*;
use super::tapes::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A UUID that is another for every pair of numbers.
fn uuid(run: usize, of: usize) -> String {
    format!("{:08x}-0000-4000-8000-{:012x}", 0xa000_0000_u32 + run as u32, of)
}

/// One program, run once: lanes whose tasks, tool results and times are fresh in every run, and whose
/// answers name the run's id. `answered_in` is the run in which the answers were given: a replay gets those
/// of the recording.
fn lanes(run: usize, answered_in: usize, tasks: &[usize], steps: usize) -> Vec<Vec<Call>> {
    let lane = |(lane, task): (usize, &usize)| {
        let id = uuid(run, lane);
        let mut history = vec![format!("u:task {task}, run {id}, began 2026-11-22T08:{:02}:00Z", run % 60)];
        let step = |step: usize| {
            let said: Vec<&str> = history.iter().map(String::as_str).collect();
            let answer = format!("answer {step} to task {task} of {}", uuid(answered_in, lane));
            let call = call(0, chat(&said), answer.leak());
            history.push(format!("a:{}", call.answer));
            history.push(format!(
                "t:{step} files for {id} in /tmp/run{run}x/out, pid {}, took {run}.5s",
                100 + run * 7 + lane
            ));
            call
        };
        (0..steps).map(step).collect()
    };
    tasks.iter().enumerate().map(lane).collect()
}

#[test]
fn another_run_of_the_same_program_replays() {
    let recorded = &lanes(1, 1, &[0], 4)[0];
    let live = &lanes(2, 1, &[0], 4)[0];
    let mut replayer = replayer(recorded);
    for (call, seq) in live.iter().zip(0..) {
        let served = served(&mut replayer, &call.body);
        assert_eq!((served.label.seq, served.rung, served.choice), (seq, Rung::Masked, Choice::Certain));
    }
    let summary = replayer.finish();
    assert_eq!((summary.verdict, summary.served.masked), (Verdict::Replayed, 4));
    let listed: Vec<String> = summary
        .masks
        .iter()
        .map(|m| format!("{} {} {} {} {} {}", m.label, m.pointer, m.kind, m.recorded, m.live, m.requests))
        .collect();
    assert_eq!(
        listed[..2],
        [
            "step 1 /messages/0/content uuid a0000001-0000-4000-8000-000000000000 a0000002-0000-4000-8000-000000000000 4",
            "step 1 /messages/0/content date_time 2026-11-22T08:01:00Z 2026-11-22T08:02:00Z 4",
        ]
    );
    assert!(listed.iter().any(|m| m == "step 2 /messages/2/content pid 107 114 3"), "{listed:#?}");
    assert!(listed.iter().any(|m| m.contains("temporary_path /tmp/run1x /tmp/run2x")), "{listed:#?}");
    assert_eq!(listed.len(), 2 + 3 * 4);
}

#[test]
fn a_word_beside_a_mask_is_named() {
    let recorded = &lanes(1, 1, &[0], 2)[0];
    let mut live = lanes(2, 1, &[0], 2)[0][1].body.clone();
    let text = live["messages"][2]["content"].as_str().unwrap().replace("0 files", "1 files");
    live["messages"][2]["content"] = json!(text);
    let report = diverged(&mut replayer(recorded), &live);
    assert_eq!((report.code, report.step), (DivergenceCode::VolatileToolResult, Some(2)));
    let difference = report.difference.expect("something to show");
    assert_eq!(difference.pointer, "/messages/2/content");
    let shown = difference.diff.to_string();
    assert!(shown.starts_with("[-0-]{+1+} files for [uuid] in [temporary_path]/out, pid [pid]"), "{shown}");
}

/// Orders by their numbers, at a time of the day: the same orders come at another time.
#[test]
fn an_id_that_stays_tells_calls_apart() {
    let order = |of: usize, second: usize| {
        chat(&[&format!("u:It is 2026-11-22T08:56:{second:02}Z. Refund order {}.", uuid(1, of))])
    };
    let calls: Vec<Call> = [(1, "first"), (2, "second"), (3, "third")]
        .into_iter()
        .zip(0i64..)
        .map(|((of, answer), at)| during(call(at, order(of, of), answer), at, at + 100))
        .collect();
    let mut asked = replayer(&calls);
    assert_eq!([3, 1, 2].map(|of| seq_of(&mut asked, &order(of, of + 20))), [2, 0, 1]);
    assert_eq!(asked.finish().verdict, Verdict::Replayed);

    // An order that is refunded twice gets no other order's answer.
    let mut asked = replayer(&calls);
    assert_eq!(seq_of(&mut asked, &order(2, 30)), 1);
    let report = diverged(&mut asked, &order(2, 31));
    assert_eq!((report.code, report.step), (DivergenceCode::Exhausted, Some(2)));
}

#[test]
fn ids_that_change_places_are_named() {
    let said = |a: usize, b: usize| {
        chat(&[
            &format!("u:copy {} to {}", uuid(0, 1), uuid(0, 2)),
            "a:ok",
            &format!("t:copied {} to {}", uuid(0, a), uuid(0, b)),
        ])
    };
    let recorded = [call(0, said(1, 2), "one")];
    let fresh = |body: Value| -> Value {
        serde_json::from_str(&body.to_string().replace("a0000000", "a0000009")).unwrap()
    };
    assert_eq!(served(&mut replayer(&recorded), &fresh(said(1, 2))).rung, Rung::Masked);
    let report = diverged(&mut replayer(&recorded), &fresh(said(2, 1)));
    assert_eq!(report.code, DivergenceCode::VolatileToolResult);
    assert_eq!(report.difference.map(|d| d.pointer).as_deref(), Some("/messages/2/content"));
}

/// Two lanes that differ in nothing but their ids: a root cannot be told apart, and nobody guesses.
#[test]
fn look_alikes_are_ambiguous_until_an_id_tells() {
    let recorded = lanes(1, 1, &[0, 0], 2);
    let calls: Vec<Call> = [&recorded[0][0], &recorded[1][0], &recorded[0][1], &recorded[1][1]]
        .into_iter()
        .zip(0i64..)
        .map(|(c, at)| during(c.clone(), at * 10, at * 10 + 9))
        .collect();
    let live = lanes(2, 1, &[0, 0], 2);
    let mut replayer = replayer(&calls);
    assert_eq!(diverged(&mut replayer, &live[0][0].body).code, DivergenceCode::Ambiguous);
    // The second steps echo answers, and those name their lanes.
    assert_eq!(seq_of(&mut replayer, &live[1][1].body), 3);
    assert_eq!(seq_of(&mut replayer, &live[0][1].body), 2);
    // Since then it is known which id stands for which.
    assert_eq!(seq_of(&mut replayer, &live[1][0].body), 1);
    assert_eq!(seq_of(&mut replayer, &live[0][0].body), 0);
}

#[test]
fn near_matches_have_a_budget_and_no_rivals() {
    let near = |words| Options { max_rung: Rung::Near, near: EditBudget { words }, ..Options::default() };
    let calls = [
        call(0, chat(&["s:Be brief.", "u:count the red cars"]), "three"),
        call(1, chat(&["s:Be brief.", "u:count the blue cars"]), "five"),
        call(2, chat(&["s:Be brief.", "u:something else"]), "no"),
    ];
    let ask = |words, text: &str| ask(&mut replayer_with(&calls, near(words)), &chat(&["s:Be brief.", text]));
    let seq = |decision: &Decision| match decision {
        Decision::Serve(served) => Ok((served.label.seq, served.rung)),
        Decision::Diverged(report) => Err(report.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(seq(&ask(1, "u:count the red cars now")), Ok((0, Rung::Near)));
    assert_eq!(seq(&ask(1, "u:count red cars")), Ok((0, Rung::Near)));
    assert_eq!(seq(&ask(1, "u:count the green cars")), Err(DivergenceCode::Ambiguous));
    assert_eq!(seq(&ask(1, "u:please count red cars now")), Err(DivergenceCode::NeverRecorded));
    assert_eq!(seq(&ask(3, "u:please count red cars now")), Ok((0, Rung::Near)));
    assert_eq!(seq(&ask(3, "u:count the blue cars")), Ok((1, Rung::Bytes)));
    // Everything but the history is exact.
    let other = with(chat(&["s:Be brief.", "u:count the red cars now"]), "temperature", json!(1));
    let mut replayer = replayer_with(&calls, near(5));
    assert!(matches!(super::ask(&mut replayer, &other), Decision::Diverged(_)));
    let system = chat(&["s:Be very brief.", "u:count the red cars"]);
    assert!(matches!(super::ask(&mut replayer, &system), Decision::Diverged(_)));
    // Off unless wanted.
    assert!(matches!(
        super::ask(&mut super::replayer(&calls), &chat(&["s:Be brief.", "u:count red cars"])),
        Decision::Diverged(_)
    ));
}

proptest! {
    /// However the lanes of two runs interleave, every request of the second gets the answer that was
    /// recorded for it, or an explicit verdict; never another's.
    #[test]
    fn fresh_values_never_bring_anothers_answer(
        tasks in prop::collection::vec(0usize..3, 1..5),
        steps in 1usize..4,
        recorded_order in prop::collection::vec(any::<prop::sample::Index>(), 20),
        live_order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 60),
    ) {
        let (recorded, live) = (lanes(1, 1, &tasks, steps), lanes(2, 1, &tasks, steps));
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut next = vec![0; tasks.len()];
        let mut order = recorded_order.iter().cycle();
        while places.len() < tasks.len() * steps {
            let open: Vec<usize> = (0..tasks.len()).filter(|&lane| next[lane] < steps).collect();
            let lane = open[order.next().expect("cycles").index(open.len())];
            places.push((lane, next[lane]));
            next[lane] += 1;
        }
        let calls: Vec<Call> = places
            .iter()
            .zip(0i64..)
            .map(|(&(lane, step), at)| during(recorded[lane][step].clone(), at * 10, at * 10 + 9))
            .collect();
        let mut replayer = replayer(&calls);
        let mut again = super::replayer(&calls);
        let mut asked = vec![0; tasks.len()];
        let mut open: Vec<EntryId> = Vec::new();
        let mut order = live_order.iter().cycle();
        let mut refused = 0;
        while asked.iter().any(|&n| n < steps) {
            let (pick, ends) = order.next().expect("cycles");
            let waiting: Vec<usize> = (0..tasks.len()).filter(|&lane| asked[lane] < steps).collect();
            let lane = waiting[pick.index(waiting.len())];
            let body = &live[lane][asked[lane]].body;
            let decision = ask(&mut replayer, body);
            prop_assert_eq!(&decision, &ask(&mut again, body));
            match decision {
                Decision::Serve(served) => {
                    prop_assert_eq!(places[served.label.seq as usize], (lane, asked[lane]));
                    open.push(served.entry);
                }
                Decision::Diverged(report) => {
                    prop_assert_eq!(report.code, DivergenceCode::Ambiguous);
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
            asked[lane] += 1;
            if *ends && !open.is_empty() {
                let entry = open.swap_remove(pick.index(open.len()));
                replayer.finished(entry);
                again.finished(entry);
            }
        }
        let is_unlike = |task: &usize| tasks.iter().filter(|other| *other == task).count() == 1;
        if tasks.iter().all(is_unlike) {
            prop_assert_eq!(refused, 0);
        }
        prop_assert_eq!(replayer.finish(), again.finish());
    }
}

/// Two runs of a program whose first result holds a number of its own making.
fn runs_with(first: &str, second: &str) -> [learn::Recording; 2] {
    let calls = |number: &str| {
        let root = chat(&["s:Be brief.", "u:how many builds?"]);
        let result = format!("t:builds {number} in all, {number} green");
        let next = chat(&["s:Be brief.", "u:how many builds?", "a:I look", &result]);
        [call(0, root, "I look"), call(1, next, "done")]
    };
    [first, second].map(|number| learn::Recording {
        calls: recorded_calls(&calls(number)).collect(),
        run: Run::default(),
    })
}

#[test]
fn masks_are_learned_from_two_runs() {
    let [a, b] = runs_with("4711", "4732");
    let learn::Lesson::Masks { masks, checks } = learn::learn([&a, &b], &|masking| masking, verbatim) else {
        panic!("they differ in a number only")
    };
    let patterns: Vec<_> = masks.iter().map(|mask| mask.pattern.as_deref().unwrap_or_default()).collect();
    assert_eq!(patterns, [r"builds (\d+) ", r" in all, (\d+) "]);
    assert!(checks.iter().all(|check| check.verdict == Verdict::Replayed && check.served.masked == 1));
    let [a, b] = runs_with("4711", "4711");
    let same = learn::learn([&a, &b], &|masking| masking, verbatim);
    assert!(matches!(same, learn::Lesson::Masks { masks, .. } if masks.is_empty()));
}

#[test]
fn nothing_is_learned_from_other_words_or_steps() {
    let [a, b] = runs_with("many", "few");
    let learn::Lesson::Differs(report) = learn::learn([&a, &b], &|masking| masking, verbatim) else {
        panic!("words are not volatile")
    };
    assert_eq!((report.code, report.step), (DivergenceCode::VolatileToolResult, Some(2)));
    let [a, mut b] = runs_with("1", "1");
    b.calls.pop();
    let learn::Lesson::Differs(report) = learn::learn([&a, &b], &|masking| masking, verbatim) else {
        panic!("a step is missing")
    };
    assert_eq!(report.code, DivergenceCode::UnusedRecording);
}

#[test]
fn a_report_offers_the_mask_to_paste() {
    let [a, b] = runs_with("4711", "4732");
    let tape = Tape::new(a.calls, Completeness::Complete, verbatim);
    let mut replayer = Replayer::new(tape, Options::default()).expect("complete");
    let call = &b.calls[1];
    let (body, lineage) = (call.body.read(), || call.lineage);
    let request = LiveRequest { wire: call.wire, method: "POST", path: CHAT, body: &body, lineage: &lineage };
    let Decision::Diverged(report) = replayer.next(&request) else { panic!("it diverges") };
    assert_eq!(
        report.mask.as_deref(),
        Some(
            "[[mask]]\npointer = \"/messages/*/content\"\nwire = \"openai.chat\"\npattern = 'builds (\\d+) '\n\n\
             [[mask]]\npointer = \"/messages/*/content\"\nwire = \"openai.chat\"\npattern = ' in all, (\\d+) '\n"
        )
    );
}

/// A call that names its conversation, as opencode makes it.
fn title(text: &str) -> Value {
    chat(&["s:You are a title generator. You output ONLY a thread title.", text])
}

#[test]
fn titles_may_come_or_stay_away() {
    let steps = three_steps();
    let with_title = [&[call(9, title("u:hi"), "Greetings")], &steps[..]].concat();
    let mut without = replayer(&with_title);
    for step in &steps {
        served(&mut without, &step.body);
    }
    let summary = without.finish();
    assert_eq!((summary.verdict, summary.unused_side_calls.len()), (Verdict::Replayed, 1));
    assert!(render_text(&summary).contains("1 recorded optional call not made: step 1"));

    let mut with = replayer(&steps);
    assert!(matches!(ask(&mut with, &title("u:hi")), Decision::SideCall(answer) if answer.status == 422));
    for step in &steps {
        served(&mut with, &step.body);
    }
    let summary = with.finish();
    assert_eq!((summary.verdict, summary.side_calls), (Verdict::Replayed, 1));

    // A recorded one is served, and another one in its place fails nothing.
    assert_eq!(served(&mut replayer(&with_title), &title("u:hi")).rung, Rung::Bytes);
    let mut other = replayer(&with_title);
    assert!(matches!(ask(&mut other, &title("u:bye")), Decision::SideCall(_)));
}
