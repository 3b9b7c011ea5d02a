//! To which open trace a call belongs that names none.
//!
//! A request belongs to the trace whose answer it carries on from: by what its history echoes, or by the
//! response id that it names. Agents that do the same thing at the same time get the same answers, so one
//! answer may be known from several traces: the one that gave it under the same call ids is preferred,
//! then one that nobody has carried on from yet, then the newest.
//!
//! A request that carries on from nothing known but is the same as one that failed is that one tried again,
//! unless its SDK says that it is a first attempt. Last, a request that extends what one trace alone has
//! asked, and been answered, carries on from there in words of its own ([`asked`]). In this order, because
//! a retry is the same in every word, of which what it extends is a part: an attempt that found no trace to
//! extend opened one, and is to be followed there by the next, whatever has become of the others meanwhile.
//!
//! This is memory only, and bounded: what is forgotten costs a new trace, never a wrong one.

mod asked;
mod remembered;

use self::asked::Asked;
use self::remembered::Remembered;
use super::open_trace::TraceNumber;
use looptape_core::Digest;
use looptape_core::derive::RequestFacts;
use looptape_core::facts::CallFacts;

/// An answer, by the digest that a request carrying on from it will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AnswerKey(i64);

/// What is known of the calls of open traces. Requests are as their clients sent them, not as they are stored.
pub(super) struct KnownCalls {
    answers: Remembered<AnswerKey, Answered>,
    /// Failed requests that nobody has tried again, by request digest.
    failures: Remembered<i64, Failed>,
    asked: Asked,
}

struct Answered {
    trace: TraceNumber,
    turn: Option<i64>,
    /// The history of the request that got it.
    history: i64,
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
    /// It carries on from an answer that it puts into other words.
    Extends,
}

/// A call that has come to its trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) trace: TraceNumber,
    /// Nobody gave the trace its id.
    pub(super) is_unnamed: bool,
    /// `None` if it opened the trace or named it.
    pub(super) placed: Option<Placed>,
    pub(super) at_mono_us: i64,
}

impl KnownCalls {
    /// `idle_end`: after so long without a call a trace is over.
    pub(super) fn new(idle_end: std::time::Duration) -> Self {
        let patience_us = i64::try_from(idle_end.as_micros()).unwrap_or(i64::MAX);
        Self {
            answers: Remembered::default(),
            failures: Remembered::default(),
            asked: Asked::new(patience_us),
        }
    }

    /// The trace that `request` belongs to, of those that take calls.
    pub(super) fn place(
        &mut self,
        request: &RequestFacts,
        now_mono_us: i64,
        takes_calls: impl Fn(TraceNumber) -> bool,
    ) -> Option<(TraceNumber, Placed)> {
        let by_id = request.previous_response_id.as_deref().map(response_key);
        let by_history = request.lineage.echo.map(AnswerKey);
        let mut keys = by_id.into_iter().chain(by_history);
        keys.find_map(|key| Some((self.carry_on(key, request.lineage.last_turn, &takes_calls)?, key)))
            .map(|(trace, key)| (trace, Placed::CarriesOn(key)))
            .or_else(|| Some((self.try_again(request, &takes_calls)?, Placed::TriesAgain)))
            .or_else(|| Some((self.extend(request, now_mono_us, &takes_calls)?, Placed::Extends)))
    }

    fn carry_on(
        &mut self,
        key: AnswerKey,
        turn: Option<i64>,
        takes_calls: &impl Fn(TraceNumber) -> bool,
    ) -> Option<TraceNumber> {
        let answers = self.answers.of(&key)?;
        answers.retain(|a| takes_calls(a.trace));
        let best = answers
            .iter_mut()
            .max_by_key(|a| (turn.is_some() && a.turn == turn, std::cmp::Reverse(a.carried_on)))?;
        best.carried_on += 1;
        Some(best.trace)
    }

    fn try_again(
        &mut self,
        request: &RequestFacts,
        takes_calls: &impl Fn(TraceNumber) -> bool,
    ) -> Option<TraceNumber> {
        if request.retry_count == Some(0) {
            // Its SDK counts attempts and says that this is the first: another agent's, as far as anybody
            // can tell.
            return None;
        }
        let failures = self.failures.of(&request.request_digest)?;
        failures.retain(|failed| takes_calls(failed.trace));
        // Of several agents that try again, each follows an attempt that was one fewer.
        let follows =
            |failed: &Failed| failed.retry_count.map(|n| n.saturating_add(1)) == request.retry_count;
        let at = failures.iter().rposition(follows).or(failures.len().checked_sub(1))?;
        Some(failures.remove(at).trace)
    }

    fn extend(
        &mut self,
        request: &RequestFacts,
        now_mono_us: i64,
        takes_calls: &impl Fn(TraceNumber) -> bool,
    ) -> Option<TraceNumber> {
        // It echoes word for word what a trace said that has ended since.
        let is_known = request.lineage.echo.is_some_and(|echo| self.answers.of(&AnswerKey(echo)).is_some());
        if is_known {
            return None;
        }
        self.asked.extended_by(request, now_mono_us, takes_calls)
    }

    /// A call has begun, and belongs to a trace, however it came there.
    pub(super) fn begun(&mut self, request: &RequestFacts, call: Begun) {
        if let Some(history) = self.history_before(call.trace, request, call.placed) {
            self.asked.carried_on(history, call.trace);
        }
        self.asked.asks(request, call);
    }

    /// A call ended well. `echo` is its answer's digest as the client will echo it.
    pub(super) fn answered(
        &mut self,
        trace: TraceNumber,
        request: &RequestFacts,
        echo: Option<i64>,
        facts: &CallFacts,
    ) {
        let (turn, history) = (facts.lineage.answer_turn, request.lineage.history);
        let by_id = facts.response_id.as_deref().map(response_key);
        for key in echo.map(AnswerKey).into_iter().chain(by_id) {
            self.answers.add(key, Answered { trace, turn, history, carried_on: 0 });
        }
        self.asked.answered(request, trace);
    }

    /// A call failed that named no trace: the same request may come again.
    pub(super) fn failed(&mut self, trace: TraceNumber, request: &RequestFacts, placed: Option<Placed>) {
        // The next attempt finds the same answer: it must not look as if that had been carried on from.
        if let Some(history) = self.history_before(trace, request, placed) {
            self.asked.given_up(history, trace);
        }
        match placed {
            Some(Placed::CarriesOn(key)) => {
                if let Some(answer) = self.answer_of(trace, key) {
                    answer.carried_on = answer.carried_on.saturating_sub(1);
                }
            }
            Some(Placed::Extends) => {}
            Some(Placed::TriesAgain) | None => {
                self.failures.add(request.request_digest, Failed { trace, retry_count: request.retry_count });
            }
        }
    }

    /// A call is missing, and nobody knows whose it was: it may have asked what others asked too.
    pub(super) fn lost_one(&mut self) {
        self.asked.forget();
    }

    /// What had been asked in the trace when it got the answer that `request` carries on from.
    fn history_before(
        &mut self,
        trace: TraceNumber,
        request: &RequestFacts,
        placed: Option<Placed>,
    ) -> Option<i64> {
        match placed {
            Some(Placed::CarriesOn(key)) => self.answer_of(trace, key).map(|answer| answer.history),
            Some(Placed::TriesAgain | Placed::Extends) | None => request.lineage.before_turn,
        }
    }

    fn answer_of(&mut self, trace: TraceNumber, key: AnswerKey) -> Option<&mut Answered> {
        self.answers.of(&key)?.iter_mut().find(|answer| answer.trace == trace)
    }
}

fn response_key(id: &str) -> AnswerKey {
    AnswerKey(Digest::of_parts(&[b"response id", id.as_bytes()]).short())
}

#[cfg(test)]
mod tests;
