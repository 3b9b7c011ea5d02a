//! How a call ends, as its client sees it: what the twin decides, unless the client loses patience before.

use crate::load::plans::StepPlan;
use crate::load::track::{AttemptEnd, AttemptOutcome, Used};
use crate::metrics::Streamed;
use crate::retry::Failure;
use crate::scenario::Traffic;
use crate::twin::{Refusal, RefusalWhy, Service, ServiceEnding, Verdict};
use crate::usage::LeafTokens;
use crate::wire::Wire;

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) attempt: AttemptEnd,
    /// The wait that a refusal asks for.
    asked_for_us: Option<u64>,
}

impl Ending {
    /// What becomes of a request of this step that was sent then.
    pub(super) fn of(verdict: &Verdict, sent_us: u64, traffic: &Traffic, step: &StepPlan) -> Self {
        match verdict {
            Verdict::Served(service) => {
                Self { attempt: served(service, sent_us, traffic.stream, step), asked_for_us: None }
            }
            Verdict::Refused(refusal) => {
                let outcome = refused(refusal, traffic.wire);
                Self {
                    attempt: unpaid(sent_us, refusal.at_us, outcome),
                    asked_for_us: refusal.retry_after_us(),
                }
            }
            Verdict::Dropped { at_us } => {
                Self { attempt: unpaid(sent_us, *at_us, AttemptOutcome::NoAnswer), asked_for_us: None }
            }
        }
    }

    /// Nobody is asked any more.
    pub(super) fn given_up(sent_us: u64, end_us: u64) -> Self {
        Self { attempt: unpaid(sent_us, end_us, AttemptOutcome::Stopped), asked_for_us: None }
    }

    /// The same, unless the client loses patience before its first byte.
    pub(super) fn within(self, timeout_us: u64) -> Self {
        let until_us = self.attempt.sent_us.saturating_add(timeout_us);
        let first_us = self.attempt.streamed.map_or(us(self.attempt.end_us), |output| output.first_us);
        if first_us <= us(until_us) {
            return self;
        }
        self.broken_off(until_us, AttemptOutcome::TimedOut)
    }

    /// The same, stopped from outside.
    pub(super) fn stopped(self, at_us: u64) -> Self {
        self.broken_off(at_us, AttemptOutcome::Stopped)
    }

    /// What was sent is paid, whatever comes back.
    fn broken_off(self, end_us: u64, outcome: AttemptOutcome) -> Self {
        let used = match self.attempt.used {
            Used::Nothing | Used::Unknown => self.attempt.used,
            Used::Tokens(leaves) | Used::AtLeast(leaves) => {
                Used::AtLeast(LeafTokens { output_visible: 0, reasoning: 0, ..leaves })
            }
        };
        let streamed = self.attempt.streamed.filter(|output| output.first_us <= us(end_us));
        let streamed = streamed.map(|output| Streamed { tokens: None, ..output });
        let attempt = AttemptEnd { streamed, end_us, used, outcome, tool_calls: 0, ..self.attempt };
        Self { attempt, asked_for_us: None }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        let kind = self.attempt.outcome.failure()?;
        Some(Failure { kind, should_retry: None, asked_for_us: self.asked_for_us })
    }
}

fn unpaid(sent_us: u64, end_us: u64, outcome: AttemptOutcome) -> AttemptEnd {
    AttemptEnd { sent_us, streamed: None, end_us, used: Used::Nothing, outcome, tool_calls: 0 }
}

fn us(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn refused(refusal: &Refusal, wire: Wire) -> AttemptOutcome {
    match refusal.why {
        RefusalWhy::Limit(blocked) => AttemptOutcome::Limited(Some(blocked.which)),
        _ => AttemptOutcome::Status(refusal.status_in(wire)),
    }
}

fn served(service: &Service, sent_us: u64, stream: bool, step: &StepPlan) -> AttemptEnd {
    let leaves = LeafTokens {
        uncached_input: service.input.uncached,
        cache_read: service.input.cache_read,
        cache_write_5m: service.input.cache_write,
        output_visible: service.output_tokens,
        ..LeafTokens::default()
    };
    let (outcome, used) = match service.ending {
        ServiceEnding::Complete => (AttemptOutcome::Answered, Used::Tokens(leaves)),
        ServiceEnding::Malformed => (AttemptOutcome::Malformed, Used::Tokens(leaves)),
        ServiceEnding::Cut(_) => (AttemptOutcome::Cut, Used::AtLeast(leaves)),
        // In an answer of one piece it is an error answer instead.
        ServiceEnding::StreamError { .. } if !stream => (AttemptOutcome::Status(500), Used::Nothing),
        ServiceEnding::StreamError { .. } => (AttemptOutcome::StreamError, Used::AtLeast(leaves)),
    };
    let streamed = stream.then(|| Streamed {
        first_us: us(service.first_us),
        visible_us: Some(us(service.first_us)),
        last_us: Some(us(service.last_us)),
        // Of what broke off, as in real time, nobody knows.
        tokens: matches!(used, Used::Tokens(_)).then_some(service.output_tokens),
    });
    // Calls come at an answer's end.
    let tool_calls = if outcome == AttemptOutcome::Answered { step.tool_calls } else { 0 };
    AttemptEnd { sent_us, streamed, end_us: service.last_us, used, outcome, tool_calls }
}
