//! Replays that go their own way: from a step on, or where the recording has no answer.

use super::tapes::*;
use super::*;

fn asked(replayer: &mut Replayer, body: &Value) -> WhyAsked {
    match ask(replayer, body) {
        Decision::Ask(why) => why,
        other => panic!("nobody was asked about {body}: {other:?}"),
    }
}

fn from_step(step: u32) -> Options {
    Options { fork: ForkAt::Step(step), ..Options::default() }
}

fn live_answer() -> Value {
    chat(&["s:Be brief.", "u:hi", "a:one", "t:12 degrees", "a:another two", "u:go on"])
}

#[test]
fn cached_before_the_fork_and_asked_from_there() {
    let calls = three_steps();
    let mut replayer = replayer_with(&calls, from_step(2));
    served(&mut replayer, &calls[0].body);
    let exact = calls[1].body.to_string();
    let digest = crate::Digest::of(exact.as_bytes());
    assert_eq!(replayer.repeat("POST", CHAT, digest), None, "its bytes were recorded, behind the fork");
    assert_eq!(asked(&mut replayer, &calls[1].body), WhyAsked::Fork);
    assert_eq!(asked(&mut replayer, &live_answer()), WhyAsked::Fork, "it follows from the fork");
    let summary = replayer.finish();
    assert_eq!((summary.verdict, summary.asked, summary.served.bytes), (Verdict::Forked, 2, 1));
    assert_eq!((summary.unused, summary.divergences), (vec![], vec![]), "nothing behind the fork is missed");
}

#[test]
fn what_differs_before_the_fork_is_a_divergence() {
    let calls = three_steps();
    let mut replayer = replayer_with(&calls, from_step(3));
    served(&mut replayer, &calls[0].body);
    assert_eq!(diverged(&mut replayer, &chat(&["u:unrelated"])).code, DivergenceCode::NeverRecorded);
    let summary = replayer.finish();
    assert_eq!((summary.verdict, summary.unused.len()), (Verdict::Diverged, 1));
}

/// Once all that comes before the fork was served, a new request is a step behind it, whatever it says.
#[test]
fn the_forks_own_step_may_ask_something_new() {
    let calls = three_steps();
    let mut replayer = replayer_with(&calls, from_step(2));
    served(&mut replayer, &calls[0].body);
    let other = chat(&["s:Be brief.", "u:hi", "a:one", "t:30 degrees"]);
    assert_eq!(asked(&mut replayer, &other), WhyAsked::Fork);
    let from_the_start = chat(&["u:unrelated"]);
    assert_eq!(asked(&mut replayer_with(&calls, from_step(1)), &from_the_start), WhyAsked::Fork);
}

/// A lane that lags behind is served what lies before the fork, whoever has forked already.
#[test]
fn lanes_fork_apart() {
    let other_lane = call(1, chat(&["u:lane b"]), "b");
    let first = during(call(0, chat(&["u:lane a"]), "a"), 0, 5);
    let calls = [first, during(other_lane, 1, 9), call(2, chat(&["u:lane a", "a:a", "u:more"]), "more")];
    let mut replayer = replayer_with(&calls, from_step(3));
    served(&mut replayer, &calls[0].body);
    assert_eq!(asked(&mut replayer, &calls[2].body), WhyAsked::Fork);
    assert_eq!(seq_of(&mut replayer, &calls[1].body), 1);
}

#[test]
fn a_step_that_is_not_there_is_named() {
    let error = |calls: &[Call], step| Replayer::new(tape(calls), from_step(step)).unwrap_err().to_string();
    assert_eq!(error(&three_steps(), 4), "there is no step 4: the recording has steps 1 to 3");
    assert_eq!(error(&three_steps(), 0), "there is no step 0: the recording has steps 1 to 3");
    assert_eq!(error(&three_steps()[..1], 2), "there is no step 2: the recording has one step");
    let plain = |call: RecordedCall| RecordedCall { label: CallLabel { step: None, ..call.label }, ..call };
    let no_steps = Tape::new(recorded_calls(&three_steps()).map(plain), Completeness::Complete, verbatim);
    let error = Replayer::new(no_steps, from_step(1)).unwrap_err();
    assert_eq!(error.to_string(), "there is no step 1: the recording holds no model call");
}

/// What the recording lacks goes to a model; the report still says what changed.
#[test]
fn misses_can_be_asked() {
    let calls = three_steps();
    let options = Options { on_miss: OnMiss::Ask, ..Options::default() };
    let mut replayer = replayer_with(&calls, options);
    served(&mut replayer, &calls[0].body);
    let changed = chat(&["s:Be brief.", "u:hi", "a:one", "t:13 degrees"]);
    assert_eq!(asked(&mut replayer, &changed), WhyAsked::Missed(DivergenceCode::VolatileToolResult));
    assert_eq!(asked(&mut replayer, &changed), WhyAsked::Missed(DivergenceCode::VolatileToolResult));
    assert_eq!(seq_of(&mut replayer, &calls[2].body), 2, "what is recorded is served");
    let summary = replayer.finish();
    assert_eq!((summary.verdict, summary.asked), (Verdict::Forked, 2));
    assert_eq!(summary.divergences[0].code, DivergenceCode::VolatileToolResult);
    assert_eq!(summary.divergences[0].requests, 2);

    let mut all_recorded = replayer_with(&calls, options);
    let seqs: Vec<u32> = calls.iter().map(|call| seq_of(&mut all_recorded, &call.body)).collect();
    assert_eq!(seqs, [0, 1, 2]);
    assert_eq!(all_recorded.finish().verdict, Verdict::Replayed, "nobody was asked");
}
