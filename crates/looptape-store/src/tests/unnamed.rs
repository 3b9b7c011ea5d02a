//! Calls that name no trace, and where they are found again.

use super::{Lab, answered, begin};
use crate::{BeginCall, Recorder, RecorderOptions, TraceFilter, TraceHint};
use looptape_core::redact::Patterns;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A question with a secret, which is stored as a placeholder.
const QUESTION: &str = "the key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEF";

fn request(messages: &Value) -> BeginCall {
    let body = json!({"model": "m", "messages": messages}).to_string();
    BeginCall { hint: TraceHint::Lineage, ..begin("unused", body.as_bytes()) }
}

fn question() -> Value {
    json!([{"role": "user", "content": QUESTION}])
}

fn reworded() -> Value {
    let own_words = json!({"role": "assistant", "content": format!("I am told that {QUESTION}.")});
    json!([question()[0], own_words, {"role": "user", "content": "go on"}])
}

fn ask(recorder: &Recorder, messages: &Value) {
    let message = json!({"role": "assistant", "content": "Well."});
    let choice = json!({"index": 0, "finish_reason": "stop", "message": message});
    let answer = json!({"id": "r", "model": "m", "choices": [choice]}).to_string();
    recorder.begin(request(messages)).finish(answered(&[answer.as_bytes()]));
}

/// The numbers of calls of all traces, oldest first.
fn calls(lab: &Lab) -> Vec<usize> {
    let reader = lab.reader();
    let rows = reader.traces(&TraceFilter::default()).unwrap();
    rows.iter().rev().map(|row| reader.seqs(row.key).unwrap().len()).collect()
}

#[test]
fn a_reworded_answer_is_carried_on_from_though_secrets_are_not_stored() {
    let lab = Lab::new();
    lab.record(|recorder| {
        ask(recorder, &question());
        ask(recorder, &reworded());
    });
    assert_eq!(calls(&lab), [2]);
    let metrics = lab.reader().load(lab.find("last").unwrap()).unwrap().measure().metrics;
    assert_eq!((metrics.loops, metrics.steps), (1, 2), "the second step goes on from the first");
}

#[test]
fn a_request_with_a_secret_is_tried_again() {
    let lab = Lab::new();
    lab.record(|recorder| {
        recorder.begin(request(&question())).finish(crate::CallEnd::NoResponse {
            at_mono_us: crate::Moment::mono_us_now(),
            ending: looptape_core::exchange::Ending::UpstreamUnreachable { error: "refused".into() },
        });
        ask(recorder, &question());
    });
    assert_eq!(calls(&lab), [2]);
}

/// What somebody asked while the database was locked is known to nobody.
#[test]
fn an_opening_that_was_lost_may_have_been_the_same() {
    for is_locked in [false, true] {
        let lab = Lab::new();
        let mut options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
        options.lock_wait = Duration::from_millis(50);
        let (recorder, thread) = Recorder::start(options).unwrap();
        ask(&recorder, &question());
        recorder.flush();
        if is_locked {
            let other = rusqlite::Connection::open(&lab.database).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            ask(&recorder, &question());
            recorder.flush();
            other.execute_batch("ROLLBACK").unwrap();
        }
        ask(&recorder, &reworded());
        drop(recorder);
        assert_eq!(thread.finish().gaps.is_empty(), !is_locked);
        let expected: &[usize] = if is_locked { &[1, 1] } else { &[2] };
        assert_eq!(calls(&lab), expected);
    }
}
