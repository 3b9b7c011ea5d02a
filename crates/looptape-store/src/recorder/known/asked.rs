//! Who may be carried on from in other words.
//!
//! An agent that puts an answer into words of its own before it sends it back echoes nothing known, but it
//! extends the request that was answered: what it says before its last assistant turn is that request's
//! history. Others may have begun in the same words, so this is taken as a sign only where there is nothing
//! to guess:
//! - one open trace alone has asked just this, and was answered once;
//! - nobody has carried on from that answer, in whatever way;
//! - the trace has no name: whoever names a trace names it again;
//! - the same model is asked, and something is said after the assistant's turn.
//!
//! Whoever asked the same and may still go on counts, whether answered or not: a request under way, one that
//! failed (its client may make up the answer), and, until it has been silent for long, a trace that was closed
//! early for want of room.
//!
//! A request that names the response before it says only what is new, so its history is no beginning: it is
//! neither extended nor extends.
//!
//! What is forgotten is forgotten with all that asked the same. What never passed here cannot count, so an
//! exchange that a prompt makes up is a conversation to this rule, if somebody has asked just that question.

use super::Begun;
use super::remembered::Remembered;
use crate::recorder::open_trace::TraceNumber;
use looptape_core::derive::RequestFacts;
use std::hash::BuildHasher;

/// What each history got that was asked with.
pub(super) struct Asked {
    by_history: Remembered<i64, Asker>,
    /// How long a trace that was closed may still be somebody's.
    patience_us: i64,
}

/// A trace that asked with a history.
#[derive(Clone, Copy, Debug)]
struct Asker {
    trace: TraceNumber,
    /// When it last did.
    at_mono_us: i64,
    model: u32,
    answers: u32,
    /// Requests that carried on from them and have not failed.
    carried_on: u32,
    is_unnamed: bool,
}

impl Asked {
    pub(super) fn new(patience_us: i64) -> Self {
        Self { by_history: Remembered::default(), patience_us }
    }

    /// The trace whose only answer `request` can have carried on from.
    pub(super) fn extended_by(
        &mut self,
        request: &RequestFacts,
        now_mono_us: i64,
        takes_calls: impl Fn(TraceNumber) -> bool,
    ) -> Option<TraceNumber> {
        let askers = self.by_history.of(&before_answer(request)?)?;
        let earliest = now_mono_us.saturating_sub(self.patience_us);
        askers.retain(|asker| takes_calls(asker.trace) || asker.may_go_on(earliest));
        match askers[..] {
            [only] if only.waits_for(request) && takes_calls(only.trace) => Some(only.trace),
            _ => None,
        }
    }

    pub(super) fn asks(&mut self, request: &RequestFacts, call: Begun) {
        let Some(history) = beginning(request) else { return };
        let Begun { trace, is_unnamed, at_mono_us, .. } = call;
        if let Some(asker) = self.asker(history, trace) {
            asker.at_mono_us = at_mono_us;
            return;
        }
        let model = model_of(request);
        let asker = Asker { trace, at_mono_us, model, answers: 0, carried_on: 0, is_unnamed };
        // Of several that asked the same, one that is left must not look like the only one.
        if let Some(forgotten) = self.by_history.add(history, asker) {
            self.by_history.forget(&forgotten);
        }
    }

    pub(super) fn answered(&mut self, request: &RequestFacts, trace: TraceNumber) {
        if let Some(asker) = beginning(request).and_then(|history| self.asker(history, trace)) {
            asker.answers = asker.answers.saturating_add(1);
        }
    }

    /// A request of the trace carries on from what it got for `history`.
    pub(super) fn carried_on(&mut self, history: i64, trace: TraceNumber) {
        if let Some(asker) = self.asker(history, trace) {
            asker.carried_on = asker.carried_on.saturating_add(1);
        }
    }

    /// That request has failed.
    pub(super) fn given_up(&mut self, history: i64, trace: TraceNumber) {
        if let Some(asker) = self.asker(history, trace) {
            asker.carried_on = asker.carried_on.saturating_sub(1);
        }
    }

    pub(super) fn forget(&mut self) {
        self.by_history = Remembered::default();
    }

    fn asker(&mut self, history: i64, trace: TraceNumber) -> Option<&mut Asker> {
        self.by_history.of(&history)?.iter_mut().rev().find(|asker| asker.trace == trace)
    }
}

impl Asker {
    /// Whether somebody may go on here although the trace is closed.
    fn may_go_on(&self, earliest: i64) -> bool {
        self.is_unnamed && self.carried_on == 0 && self.at_mono_us > earliest
    }

    fn waits_for(&self, request: &RequestFacts) -> bool {
        self.is_unnamed && self.answers == 1 && self.carried_on == 0 && self.model == model_of(request)
    }
}

/// The history of the request that this one extends, if it extends one.
fn before_answer(request: &RequestFacts) -> Option<i64> {
    let lineage = &request.lineage;
    // The assistant's turn at the end is not an answer but the beginning of one.
    let adds_something = lineage.echo != Some(lineage.history);
    lineage.before_turn.filter(|_| adds_something && request.previous_response_id.is_none())
}

/// Its history, if that is all that was said.
fn beginning(request: &RequestFacts) -> Option<i64> {
    let says_something = request.lineage.turns > 0;
    (says_something && request.previous_response_id.is_none()).then_some(request.lineage.history)
}

/// Whom it asks, and in which format: in a loop that is the same from step to step.
fn model_of(request: &RequestFacts) -> u32 {
    let wire = request.conversation.as_ref().map(|conversation| conversation.wire());
    let hash = foldhash::fast::FixedState::default().hash_one((wire, &request.model));
    (hash >> 32) as u32
}
