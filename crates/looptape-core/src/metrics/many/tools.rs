//! Tool calls, by the name of the tool.

use super::super::Ms;
use super::super::distribution::{Distribution, Sampler, Scale};
use super::super::trace::ratio;
use super::super::trace::{ToolTime, ToolUse};
use crate::tools::ToolOutcome;
use serde::Serialize;

/// The figures of a set of tool calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolFigures {
    pub calls: u32,
    /// Calls whose result a later request carries.
    pub answered: u32,
    /// Calls that were measured: the figures below are theirs.
    pub measured: u32,
    /// Measured calls that failed, by how.
    pub errors: u32,
    pub timeouts: u32,
    /// Broken off, or without a result.
    pub aborted: u32,
    /// Failed calls per measured call.
    pub error_rate: Option<f64>,
    /// How long measured calls took.
    pub tool_ms: Distribution,
    /// Of calls that were not measured: from the answer that asks for a tool to the request that carries its result, an
    /// upper bound.
    pub tool_inferred_ms: Distribution,
    /// All time of the measured calls.
    pub total_ms: Option<Ms>,
    /// That time per time of all traces of the set; more than 1 where calls ran side by side.
    pub loop_share: Option<f64>,
}

#[derive(Clone, Debug)]
pub(super) struct ToolTally {
    calls: u32,
    answered: u32,
    measured: u32,
    errors: u32,
    timeouts: u32,
    aborted: u32,
    took: Sampler,
    inferred: Sampler,
    total: Ms,
}

impl Default for ToolTally {
    fn default() -> Self {
        let sampler = || Sampler::new(Scale::Ms);
        Self {
            calls: 0,
            answered: 0,
            measured: 0,
            errors: 0,
            timeouts: 0,
            aborted: 0,
            took: sampler(),
            inferred: sampler(),
            total: Ms::default(),
        }
    }
}

impl ToolTally {
    pub(super) fn add(&mut self, tool: &ToolUse) {
        self.calls += 1;
        self.answered += u32::from(tool.answered);
        let (sampler, took) = match tool.took {
            ToolTime::Measured(took) => {
                self.measured += 1;
                self.add_outcome(tool.outcome);
                self.total = self.total + took.unwrap_or_default();
                (&mut self.took, took)
            }
            ToolTime::Inferred(took) => (&mut self.inferred, took),
        };
        match took {
            Some(ms) => sampler.add_ms(ms),
            None => sampler.add_unknown(),
        }
    }

    fn add_outcome(&mut self, outcome: Option<ToolOutcome>) {
        match outcome {
            Some(ToolOutcome::Ok | ToolOutcome::Null) => {}
            Some(ToolOutcome::Error) => self.errors += 1,
            Some(ToolOutcome::Timeout) => self.timeouts += 1,
            Some(ToolOutcome::Aborted) | None => self.aborted += 1,
        }
    }

    pub(super) fn merge(&mut self, more: Self) {
        self.calls += more.calls;
        self.answered += more.answered;
        self.measured += more.measured;
        self.errors += more.errors;
        self.timeouts += more.timeouts;
        self.aborted += more.aborted;
        self.took.merge(more.took);
        self.inferred.merge(more.inferred);
        self.total = self.total + more.total;
    }

    /// `whole`: the time of all traces of the set.
    pub(super) fn finish(self, whole: Ms) -> ToolFigures {
        let is_measured = self.measured > 0;
        let failed = self.errors + self.timeouts + self.aborted;
        let share = || self.total.us() as f64 / whole.us() as f64;
        ToolFigures {
            calls: self.calls,
            answered: self.answered,
            measured: self.measured,
            errors: self.errors,
            timeouts: self.timeouts,
            aborted: self.aborted,
            error_rate: ratio(failed, self.measured),
            total_ms: is_measured.then_some(self.total),
            loop_share: (is_measured && whole.us() > 0).then(share),
            tool_ms: self.took.finish(),
            tool_inferred_ms: self.inferred.finish(),
        }
    }
}
