//! Tool calls, by the name of the tool.

use super::super::distribution::{Distribution, Sampler, Scale};
use super::super::trace::ToolUse;
use serde::Serialize;

/// The figures of a set of tool calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolFigures {
    pub calls: u32,
    /// Calls whose result a later request carries.
    pub answered: u32,
    /// From the answer that asks for a tool to the request that carries its result: an upper bound.
    pub tool_inferred_ms: Distribution,
}

#[derive(Clone, Debug)]
pub(super) struct ToolTally {
    calls: u32,
    answered: u32,
    took: Sampler,
}

impl Default for ToolTally {
    fn default() -> Self {
        Self { calls: 0, answered: 0, took: Sampler::new(Scale::Ms) }
    }
}

impl ToolTally {
    pub(super) fn add(&mut self, tool: &ToolUse) {
        self.calls += 1;
        self.answered += u32::from(tool.answered);
        match tool.inferred_ms {
            Some(ms) => self.took.add_ms(ms),
            None => self.took.add_unknown(),
        }
    }

    pub(super) fn merge(&mut self, more: Self) {
        self.calls += more.calls;
        self.answered += more.answered;
        self.took.merge(more.took);
    }

    pub(super) fn finish(self) -> ToolFigures {
        ToolFigures { calls: self.calls, answered: self.answered, tool_inferred_ms: self.took.finish() }
    }
}
