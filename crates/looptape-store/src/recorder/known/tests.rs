use super::*;
use bytes::Bytes;
use looptape_core::derive;
use looptape_core::exchange::{Answer, Ending, Outcome};
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_core::wire::Wire;
use serde_json::{Value, json};
use std::time::Duration;

mod people;
mod rewording;

fn known() -> KnownCalls {
    KnownCalls::new(Duration::from_secs(600))
}

fn request(messages: Value) -> RequestFacts {
    let body = json!({"model": "m", "messages": messages}).to_string();
    let headers = RedactedHeaders::default();
    derive::request(&Provider::OPENAI, "POST", "/v1/chat/completions", &headers, &Bytes::from(body))
}

fn call_message(id: &str) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls":
        [{"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]})
}

/// The root is answered with a tool call under `id`.
fn answer(known: &mut KnownCalls, trace: TraceNumber, id: &str) {
    answer_with(known, trace, &request(root()), &call_message(id));
}

fn answer_with(known: &mut KnownCalls, trace: TraceNumber, request: &RequestFacts, message: &Value) {
    let body = match request.conversation.as_ref().map(|c| c.wire()) {
        Some(Wire::OpenAiResponses) => {
            json!({"id": message["id"], "status": "completed", "output": [message]})
        }
        _ => {
            json!({"id": "r", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})
        }
    };
    let answer = Answer {
        status: 200,
        headers: RedactedHeaders::default(),
        body: Bytes::from(body.to_string()),
        chunks: Vec::new(),
        head_us: 0,
        end_us: 0,
        ending: Ending::Complete,
    };
    let facts = derive::call(request, &Outcome::Answered(answer));
    known.answered(trace, request, facts.lineage.answer_history, &facts);
}

fn root() -> Value {
    json!([{"role": "user", "content": "go"}])
}

fn next(id: &str) -> RequestFacts {
    request(json!([{"role": "user", "content": "go"}, call_message(id),
        {"role": "tool", "tool_call_id": id, "content": "42"}]))
}

const A: TraceNumber = TraceNumber(1);
const B: TraceNumber = TraceNumber(2);

#[test]
fn the_trace_that_gave_the_answer_under_these_ids() {
    let mut known = known();
    answer(&mut known, A, "call_a");
    answer(&mut known, B, "call_b");
    let place = |known: &mut KnownCalls, id| known.place(&next(id), 0, |_| true).map(|(trace, _)| trace);
    assert_eq!(place(&mut known, "call_a"), Some(A));
    assert_eq!(place(&mut known, "call_b"), Some(B));
    assert_eq!(place(&mut known, "call_a"), Some(A), "a second branch of the same answer");
}

#[test]
fn agents_alike_in_everything_share_no_trace() {
    let mut known = known();
    answer(&mut known, A, "call_1");
    answer(&mut known, B, "call_1");
    let (first, placed) = known.place(&next("call_1"), 0, |_| true).unwrap();
    known.failed(first, &next("call_1"), Some(placed));
    let (again, _) = known.place(&next("call_1"), 0, |_| true).unwrap();
    let (other, _) = known.place(&next("call_1"), 0, |_| true).unwrap();
    assert_eq!(first, again, "an attempt that failed does not use the answer up");
    assert_ne!(first, other);
}

#[test]
fn ended_traces_are_not_found() {
    let mut known = known();
    answer(&mut known, A, "call_1");
    assert_eq!(known.place(&next("call_1"), 0, |_| false), None);
    assert_eq!(known.place(&next("call_1"), 0, |_| true), None, "and are forgotten");
}

#[test]
fn a_root_that_failed_is_tried_again_once() {
    let mut known = known();
    let root = request(root());
    assert_eq!(known.place(&root, 0, |_| true), None);
    known.failed(A, &root, None);
    assert_eq!(known.place(&root, 0, |_| true), Some((A, Placed::TriesAgain)));
    assert_eq!(known.place(&root, 0, |_| true), None, "another agent with the same question");
}

#[test]
fn what_its_sdk_calls_a_first_attempt_is_no_retry() {
    let mut known = known();
    let attempt = |n| RequestFacts { retry_count: Some(n), ..request(root()) };
    known.failed(A, &attempt(0), None);
    assert_eq!(known.place(&attempt(0), 0, |_| true), None);
    known.failed(B, &attempt(0), None);
    let retry = |known: &mut KnownCalls, n| known.place(&attempt(n), 0, |_| true).map(|(trace, _)| trace);
    let first = retry(&mut known, 1).unwrap();
    known.failed(first, &attempt(1), Some(Placed::TriesAgain));
    let second = retry(&mut known, 1).unwrap();
    assert_ne!(first, second, "two agents that try again");
    assert_eq!(retry(&mut known, 2), Some(first));
}
