//! To which open trace a call belongs that names none.
//!
//! A request belongs to the trace whose answer it carries on from: by what its history echoes, or by the
//! response id that it names. Agents that do the same thing at the same time get the same answers, so one
//! answer may be known from several traces: the one that gave it under the same call ids is preferred,
//! then one that nobody has carried on from yet, then the newest. A request that carries on from nothing
//! but is the same as one that failed is that one tried again, unless its SDK says that it is a first
//! attempt.
//!
//! This is memory only, and bounded: what is forgotten costs a new trace, never a wrong one.

mod remembered;

use self::remembered::Remembered;
use super::open_trace::TraceNumber;
use looptape_core::Digest;
use looptape_core::derive::RequestFacts;
use looptape_core::facts::CallFacts;

/// An answer, by the digest that a request carrying on from it will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AnswerKey(i64);

/// What is known of the calls of open traces.
#[derive(Default)]
pub(super) struct KnownCalls {
    answers: Remembered<AnswerKey, Answered>,
    /// Failed requests that nobody has tried again, by request digest.
    failures: Remembered<i64, Failed>,
}

struct Answered {
    trace: TraceNumber,
    turn: Option<i64>,
    /// Requests that carried on from it and have not failed.
    carried_on: u32,
}

#[derive(Clone, Copy)]
struct Failed {
    trace: TraceNumber,
    /// Its SDK's count of attempts before it.
    retry_count: Option<u32>,
}

/// How a call without an id was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    CarriesOn(AnswerKey),
    TriesAgain,
}

impl KnownCalls {
    /// The open trace that `request` belongs to.
    pub(super) fn place(
        &mut self,
        request: &RequestFacts,
        is_open: impl Fn(TraceNumber) -> bool,
    ) -> Option<(TraceNumber, Placed)> {
        let by_id = request.previous_response_id.as_deref().map(response_key);
        let by_history = request.lineage.echo.map(AnswerKey);
        let mut keys = by_id.into_iter().chain(by_history);
        keys.find_map(|key| Some((self.carry_on(key, request.lineage.last_turn, &is_open)?, key)))
            .map(|(trace, key)| (trace, Placed::CarriesOn(key)))
            .or_else(|| Some((self.try_again(request, &is_open)?, Placed::TriesAgain)))
    }

    fn carry_on(
        &mut self,
        key: AnswerKey,
        turn: Option<i64>,
        is_open: &impl Fn(TraceNumber) -> bool,
    ) -> Option<TraceNumber> {
        let answers = self.answers.of(&key)?;
        answers.retain(|a| is_open(a.trace));
        let best = answers
            .iter_mut()
            .max_by_key(|a| (turn.is_some() && a.turn == turn, std::cmp::Reverse(a.carried_on)))?;
        best.carried_on += 1;
        Some(best.trace)
    }

    fn try_again(
        &mut self,
        request: &RequestFacts,
        is_open: &impl Fn(TraceNumber) -> bool,
    ) -> Option<TraceNumber> {
        if request.retry_count == Some(0) {
            // Its SDK counts attempts and says that this is the first: another agent's, as far as anybody
            // can tell.
            return None;
        }
        let failures = self.failures.of(&request.request_digest)?;
        failures.retain(|failed| is_open(failed.trace));
        // Of several agents that try again, each follows an attempt that was one fewer.
        let follows =
            |failed: &Failed| failed.retry_count.map(|n| n.saturating_add(1)) == request.retry_count;
        let at = failures.iter().rposition(follows).or(failures.len().checked_sub(1))?;
        Some(failures.remove(at).trace)
    }

    /// A call ended well. `echo` is its answer's digest as the client will echo it.
    pub(super) fn answered(&mut self, trace: TraceNumber, echo: Option<i64>, facts: &CallFacts) {
        let turn = facts.lineage.answer_turn;
        let by_id = facts.response_id.as_deref().map(response_key);
        for key in echo.map(AnswerKey).into_iter().chain(by_id) {
            self.answers.add(key, Answered { trace, turn, carried_on: 0 });
        }
    }

    /// A call failed that named no trace: the same request may come again.
    pub(super) fn failed(&mut self, trace: TraceNumber, facts: &CallFacts, placed: Option<Placed>) {
        match placed {
            // The next attempt finds the same answer: it must not look as if that had been carried on from.
            Some(Placed::CarriesOn(key)) => {
                let answer = self.answers.of(&key).and_then(|all| all.iter_mut().find(|a| a.trace == trace));
                if let Some(answer) = answer {
                    answer.carried_on = answer.carried_on.saturating_sub(1);
                }
            }
            Some(Placed::TriesAgain) | None => {
                self.failures.add(facts.request_digest, Failed { trace, retry_count: facts.retry_count });
            }
        }
    }
}

fn response_key(id: &str) -> AnswerKey {
    AnswerKey(Digest::of_parts(&[b"response id", id.as_bytes()]).short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use looptape_core::derive;
    use looptape_core::exchange::{Answer, Ending, Outcome};
    use looptape_core::headers::RedactedHeaders;
    use looptape_core::provider::Provider;
    use serde_json::{Value, json};

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
        let body = json!({"id": "r", "model": "m", "choices":
            [{"index": 0, "finish_reason": "tool_calls", "message": call_message(id)}]});
        let facts = derive::call(
            &request(root()),
            &Outcome::Answered(Answer {
                status: 200,
                headers: RedactedHeaders::default(),
                body: Bytes::from(body.to_string()),
                chunks: Vec::new(),
                head_us: 0,
                end_us: 0,
                ending: Ending::Complete,
            }),
        );
        known.answered(trace, facts.lineage.answer_history, &facts);
    }

    fn failure(request: &RequestFacts) -> CallFacts {
        derive::call(request, &Outcome::NoResponse { end_us: 0, ending: Ending::ClientGone })
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
        let mut known = KnownCalls::default();
        answer(&mut known, A, "call_a");
        answer(&mut known, B, "call_b");
        let place = |known: &mut KnownCalls, id| known.place(&next(id), |_| true).map(|(trace, _)| trace);
        assert_eq!(place(&mut known, "call_a"), Some(A));
        assert_eq!(place(&mut known, "call_b"), Some(B));
        assert_eq!(place(&mut known, "call_a"), Some(A), "a second branch of the same answer");
    }

    #[test]
    fn agents_alike_in_everything_share_no_trace() {
        let mut known = KnownCalls::default();
        answer(&mut known, A, "call_1");
        answer(&mut known, B, "call_1");
        let (first, placed) = known.place(&next("call_1"), |_| true).unwrap();
        known.failed(first, &failure(&next("call_1")), Some(placed));
        let (again, _) = known.place(&next("call_1"), |_| true).unwrap();
        let (other, _) = known.place(&next("call_1"), |_| true).unwrap();
        assert_eq!(first, again, "an attempt that failed does not use the answer up");
        assert_ne!(first, other);
    }

    #[test]
    fn ended_traces_are_not_found() {
        let mut known = KnownCalls::default();
        answer(&mut known, A, "call_1");
        assert_eq!(known.place(&next("call_1"), |_| false), None);
        assert_eq!(known.place(&next("call_1"), |_| true), None, "and are forgotten");
    }

    #[test]
    fn a_root_that_failed_is_tried_again_once() {
        let mut known = KnownCalls::default();
        let root = request(root());
        assert_eq!(known.place(&root, |_| true), None);
        known.failed(A, &failure(&root), None);
        assert_eq!(known.place(&root, |_| true), Some((A, Placed::TriesAgain)));
        assert_eq!(known.place(&root, |_| true), None, "another agent with the same question");
    }

    #[test]
    fn what_its_sdk_calls_a_first_attempt_is_no_retry() {
        let mut known = KnownCalls::default();
        let attempt = |n| RequestFacts { retry_count: Some(n), ..request(root()) };
        known.failed(A, &failure(&attempt(0)), None);
        assert_eq!(known.place(&attempt(0), |_| true), None);
        known.failed(B, &failure(&attempt(0)), None);
        let retry = |known: &mut KnownCalls, n| known.place(&attempt(n), |_| true).map(|(trace, _)| trace);
        let first = retry(&mut known, 1).unwrap();
        known.failed(first, &failure(&attempt(1)), Some(Placed::TriesAgain));
        let second = retry(&mut known, 1).unwrap();
        assert_ne!(first, second, "two agents that try again");
        assert_eq!(retry(&mut known, 2), Some(first));
    }
}
