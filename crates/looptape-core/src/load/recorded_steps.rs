//! What a recorder saw of one loop, in the words of a tally: for loops that a command carries through.

use super::heard::{attempt_end, ended};
use super::prices::Prices;
use super::track::{AttemptEnd, StepEnd, StepTrack};
use crate::assembly::{Step, Timing, TraceEnding, TraceSpan, assemble};
use crate::cost::PriceBook;
use crate::facts::CallFacts;
use crate::usage::LeafTokens;

/// The calls of a loop, whose time begins when the loop was due.
#[derive(Clone, Copy, Debug)]
pub struct RecordedSteps<'a> {
    /// In the order in which they started.
    pub facts: &'a [CallFacts],
    /// When the loop was due, on the run's clock.
    pub due_us: u64,
    pub book: &'a PriceBook,
    /// When, for prices.
    pub at_unix_us: i64,
}

/// A step that has ended.
#[derive(Clone, Debug)]
pub struct RecordedStepEnd {
    /// At least one.
    pub attempts: Vec<AttemptEnd>,
    pub end: StepEnd,
}

impl RecordedSteps<'_> {
    /// Its model steps. Models that are not in `prices` yet are looked up.
    pub fn ends(&self, prices: &mut Prices) -> Vec<RecordedStepEnd> {
        let at_us = self.facts.iter().filter_map(|call| call.end_us).max().unwrap_or(0);
        let ending = TraceEnding::Closed { at_us };
        let span = TraceSpan { started_us: 0, ending, timing: Timing::Measured, stated_outcome: None };
        let assembly = assemble(self.facts, &span);
        assembly.steps.iter().map(|step| self.step(step, prices)).collect()
    }

    fn step(&self, step: &Step, prices: &mut Prices) -> RecordedStepEnd {
        let last = &self.facts[step.final_call().0];
        let name = last.model.as_deref().or(last.response_model.as_deref()).unwrap_or("?");
        let model = prices.place_of(self.book, last.provider.as_str(), name, self.at_unix_us);
        let attempts: Vec<AttemptEnd> =
            step.attempts.iter().map(|attempt| self.attempt(&self.facts[attempt.call.0])).collect();
        let mut track = StepTrack::begin(model, attempts[0].sent_us);
        attempts.iter().for_each(|attempt| track.attempt(attempt, prices));
        let ended_us = attempts.iter().map(|attempt| attempt.end_us).max().unwrap_or(0);
        RecordedStepEnd { end: track.finish(ended_us, prices), attempts }
    }

    fn attempt(&self, call: &CallFacts) -> AttemptEnd {
        let planned = LeafTokens { uncached_input: call.request_bytes / 4, ..LeafTokens::default() };
        let end = attempt_end(call, ended(call), &planned);
        AttemptEnd {
            sent_us: self.due_us + end.sent_us,
            first_us: end.first_us.map(|us| self.due_us + us),
            end_us: self.due_us + end.end_us,
            ..end
        }
    }
}
