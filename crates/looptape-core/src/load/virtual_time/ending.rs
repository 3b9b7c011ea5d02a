//! How a call ends, as its client sees it: what the twin decides, unless the client loses patience before.

use crate::load::track::{AttemptEnd, AttemptOutcome, Used};
use crate::retry::Failure;
use crate::twin::{Refusal, RefusalWhy, Service, ServiceEnding, Verdict};
use crate::usage::LeafTokens;

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) attempt: AttemptEnd,
    /// The wait that a refusal asks for.
    asked_for_us: Option<u64>,
}

impl Ending {
    pub(super) fn of(verdict: &Verdict, sent_us: u64, stream: bool) -> Self {
        let unpaid = |end_us: u64, outcome: AttemptOutcome| AttemptEnd {
            sent_us,
            first_us: None,
            end_us,
            used: Used::Nothing,
            outcome,
        };
        match verdict {
            Verdict::Served(service) => {
                Self { attempt: served(service, sent_us, stream), asked_for_us: None }
            }
            Verdict::Refused(refusal) => {
                let outcome = refused(refusal);
                Self { attempt: unpaid(refusal.at_us, outcome), asked_for_us: refusal.retry_after_us() }
            }
            Verdict::Dropped { at_us } => {
                Self { attempt: unpaid(*at_us, AttemptOutcome::NoAnswer), asked_for_us: None }
            }
        }
    }

    /// The same, unless the client loses patience before its first byte.
    pub(super) fn within(self, timeout_us: u64) -> Self {
        let until_us = self.attempt.sent_us.saturating_add(timeout_us);
        let first_us = self.attempt.first_us.unwrap_or(self.attempt.end_us);
        if first_us <= until_us {
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
            Used::Nothing => Used::Nothing,
            Used::Tokens(leaves) | Used::AtLeast(leaves) => {
                Used::AtLeast(LeafTokens { output_visible: 0, reasoning: 0, ..leaves })
            }
        };
        let first_us = self.attempt.first_us.filter(|first_us| *first_us <= end_us);
        Self { attempt: AttemptEnd { first_us, end_us, used, outcome, ..self.attempt }, asked_for_us: None }
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        let kind = self.attempt.outcome.failure()?;
        Some(Failure { kind, should_retry: None, asked_for_us: self.asked_for_us })
    }
}

fn refused(refusal: &Refusal) -> AttemptOutcome {
    match refusal.why {
        RefusalWhy::Limit(blocked) => AttemptOutcome::Limited(Some(blocked.which)),
        _ => AttemptOutcome::Status(refusal.status()),
    }
}

fn served(service: &Service, sent_us: u64, stream: bool) -> AttemptEnd {
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
    let first_us = stream.then_some(service.first_us);
    AttemptEnd { sent_us, first_us, end_us: service.last_us, used, outcome }
}
