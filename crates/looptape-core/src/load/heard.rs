//! What a client heard of a call in real time, in the words of the figures.
//!
//! Virtual time knows what the twin decided; a client knows bytes and times. Both come to an [`AttemptEnd`], and to a
//! [`Failure`] where the call may be sent again.

use super::track::{AttemptEnd, AttemptOutcome, Used};
use crate::exchange::Outcome;
use crate::facts::{AttemptState, CallFacts};
use crate::metrics::Streamed;
use crate::retry::Failure;

/// Why a client has no answer to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It waited as long as it does.
    TimedOut,
    /// Its loop was stopped.
    Stopped,
}

/// A call, as far as it was heard. `facts` are derived from `outcome`.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    pub outcome: &'a Outcome,
    pub facts: &'a CallFacts,
    pub given_up: Option<GivenUp>,
    /// Something in its stream cannot be read: SDKs fail on that.
    pub is_unreadable: bool,
}

impl Heard<'_> {
    /// What it comes to. Times are µs on the run's clock.
    pub fn attempt(&self) -> AttemptEnd {
        attempt_end(self.facts, self.ended())
    }

    fn ended(&self) -> AttemptOutcome {
        match self.given_up {
            Some(GivenUp::Stopped) => AttemptOutcome::Stopped,
            Some(GivenUp::TimedOut) => AttemptOutcome::TimedOut,
            None => match ended(self.facts) {
                // What is missing may be in what cannot be read.
                AttemptOutcome::Answered | AttemptOutcome::Cut
                    if self.is_unreadable && self.facts.state == AttemptState::Complete =>
                {
                    AttemptOutcome::Malformed
                }
                other => other,
            },
        }
    }

    /// What the client goes by when it decides whether to send the call again; `None` if it was answered.
    pub fn failure(&self) -> Option<Failure> {
        let kind = self.ended().failure()?;
        let word = match self.outcome {
            Outcome::Answered(answer) => answer.headers.get("x-should-retry"),
            _ => None,
        };
        let should_retry = word.and_then(|word| word.parse().ok());
        Some(Failure {
            kind,
            should_retry,
            asked_for_us: self.facts.retry_after_ms.map(|ms| ms.saturating_mul(1000)),
        })
    }
}

/// How a call ended that nobody gave up.
pub(super) fn ended(facts: &CallFacts) -> AttemptOutcome {
    match (facts.state, facts.status) {
        (AttemptState::ClientGone, _) => AttemptOutcome::Stopped,
        (_, None) => AttemptOutcome::NoAnswer,
        (_, Some(429)) => AttemptOutcome::Limited(None),
        (_, Some(status)) if !(200..300).contains(&status) => AttemptOutcome::Status(status),
        (AttemptState::StreamError, _) => AttemptOutcome::StreamError,
        // Every format says why an answer ends.
        (AttemptState::Complete, _) if facts.finish_reason.is_some() => AttemptOutcome::Answered,
        (AttemptState::Complete, _) if !facts.stream => AttemptOutcome::Malformed,
        _ => AttemptOutcome::Cut,
    }
}

/// A call that ended so.
pub(super) fn attempt_end(facts: &CallFacts, outcome: AttemptOutcome) -> AttemptEnd {
    let us = |at: i64| u64::try_from(at).unwrap_or(0);
    AttemptEnd {
        sent_us: us(facts.sent_us),
        streamed: Streamed::of(facts),
        end_us: us(facts.end_us.unwrap_or(facts.sent_us)),
        used: used(facts, outcome),
        outcome,
        tool_calls: u32::try_from(facts.asks.len()).unwrap_or(u32::MAX),
    }
}

/// Providers bill what they began to answer, and say how much at the end.
fn used(facts: &CallFacts, outcome: AttemptOutcome) -> Used {
    let known = facts.usage.is_known().then(|| facts.usage.leaf_tokens());
    match outcome {
        AttemptOutcome::Limited(_) | AttemptOutcome::Status(_) | AttemptOutcome::NoAnswer => Used::Nothing,
        AttemptOutcome::Answered | AttemptOutcome::Malformed => known.map_or(Used::Unknown, Used::Tokens),
        AttemptOutcome::Cut
        | AttemptOutcome::StreamError
        | AttemptOutcome::TimedOut
        | AttemptOutcome::Stopped => known.map_or(Used::Unknown, Used::AtLeast),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derive;
    use crate::exchange::{Answer, Chunk, Ending};
    use crate::headers::RedactedHeaders;
    use crate::provider::Provider;
    use bytes::Bytes;

    const REQUEST: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

    fn heard(outcome: &Outcome, given_up: Option<GivenUp>) -> (AttemptEnd, Option<Failure>) {
        let request = derive::request(
            &Provider::OPENAI,
            "POST",
            "/v1/chat/completions",
            &RedactedHeaders::default(),
            &Bytes::from_static(REQUEST.as_bytes()),
        );
        let facts = derive::call(&request, outcome);
        let is_unreadable = derive::has_unreadable_events(outcome);
        let heard = Heard { outcome, facts: &facts, given_up, is_unreadable };
        (heard.attempt(), heard.failure())
    }

    fn answer(status: u16, headers: &[(&str, &str)], pieces: &[&str], ending: Ending) -> Outcome {
        let headers = RedactedHeaders::redact(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        let chunks =
            pieces.iter().zip(1..).map(|(piece, n)| Chunk { at_us: n * 1000, len: piece.len() as u32 });
        Outcome::Answered(Answer {
            status,
            headers,
            chunks: chunks.collect(),
            body: Bytes::from(pieces.concat()),
            head_us: 500,
            end_us: 9_000,
            ending,
        })
    }

    const EVENTS: [&str; 3] = [
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":7,\"total_tokens\":127}}\n\ndata: [DONE]\n\n",
    ];
    const SSE: (&str, &str) = ("content-type", "text/event-stream");

    #[test]
    fn an_answer_has_its_first_token_and_its_usage() {
        let (end, failure) = heard(&answer(200, &[SSE], &EVENTS, Ending::Complete), None);
        let first_us = end.streamed.map(|output| output.first_us);
        assert_eq!((end.outcome, first_us, end.end_us), (AttemptOutcome::Answered, Some(2_000), 9_000));
        let Used::Tokens(used) = end.used else { panic!("{end:?}") };
        assert_eq!((used.input(), used.output(), failure), (120, 7, None));
    }

    #[test]
    fn an_event_in_the_middle_that_is_no_json_is_a_failure_that_is_not_tried_again() {
        let broken = [EVENTS[0], "data: {\"choices\":[{\"index\":0,\n\n", EVENTS[2]];
        let (end, failure) = heard(&answer(200, &[SSE], &broken, Ending::Complete), None);
        assert_eq!(end.outcome, AttemptOutcome::Malformed);
        assert!(matches!(end.used, Used::Tokens(_)), "it is billed all the same");
        let policy = crate::retry::Profile::ClaudeCode.policy();
        assert_eq!(policy.wait_us(failure.unwrap(), 0, 0.0), None);
    }

    #[test]
    fn failures_are_told_apart() {
        let reset = Ending::UpstreamReset { error: "reset".into() };
        let cases = [
            (answer(429, &[("retry-after", "2")], &["{}"], Ending::Complete), AttemptOutcome::Limited(None)),
            (answer(503, &[], &["{}"], Ending::Complete), AttemptOutcome::Status(503)),
            (answer(200, &[SSE], &EVENTS[..2], reset.clone()), AttemptOutcome::Cut),
            (answer(200, &[SSE], &EVENTS[..2], Ending::Complete), AttemptOutcome::Cut),
            (Outcome::NoResponse { end_us: 5, ending: reset }, AttemptOutcome::NoAnswer),
        ];
        for (outcome, expected) in cases {
            let (end, failure) = heard(&outcome, None);
            assert_eq!(end.outcome, expected);
            assert!(failure.is_some());
        }
        let (_, failure) = heard(&answer(429, &[("retry-after", "2")], &["{}"], Ending::Complete), None);
        assert_eq!(failure.and_then(|failure| failure.asked_for_us), Some(2_000_000));
    }

    #[test]
    fn nobody_knows_what_was_paid_for_what_was_given_up() {
        let outcome = Outcome::NoResponse { end_us: 5, ending: Ending::ClientGone };
        let (end, _) = heard(&outcome, Some(GivenUp::TimedOut));
        assert_eq!((end.outcome, end.used), (AttemptOutcome::TimedOut, Used::Unknown));
    }
}
