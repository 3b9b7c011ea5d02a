//! The facts of open traces' calls, until the trace is summed up: reading them back costs more than keeping them.
//!
//! Memory only, and bounded. A trace of which something is missing here is summed up from its rows.

use super::open_trace::TraceNumber;
use foldhash::HashMap;
use looptape_core::cost;
use looptape_core::facts::CallFacts;

/// Facts of so many calls are kept, about a kilobyte each …
const MOST: usize = 16_384;
/// … and of so many of one trace: of a long one, reading back is the least.
const MOST_OF_A_TRACE: u32 = 64;

#[derive(Default)]
pub(super) struct KeptFacts {
    by_trace: HashMap<TraceNumber, Vec<CallFacts>>,
    count: usize,
}

impl KeptFacts {
    /// Keeps the facts of a call that ended, but for what nobody needs who sums them up.
    pub(super) fn add(&mut self, trace: TraceNumber, mut facts: CallFacts) {
        if facts.seq >= MOST_OF_A_TRACE {
            self.forget(trace);
            return;
        }
        if self.count == MOST {
            return;
        }
        self.count += 1;
        facts.usage.raw = facts.usage.raw.filter(cost::depends_on);
        // Most traces of a gateway whose callers name none are one call.
        self.by_trace.entry(trace).or_insert_with(|| Vec::with_capacity(1)).push(facts);
    }

    /// What was kept of a trace, which is over or not as it was thought to be.
    pub(super) fn forget(&mut self, trace: TraceNumber) {
        self.count -= self.by_trace.remove(&trace).map_or(0, |kept| kept.len());
    }

    /// The facts of all calls of a trace that had so many, in the order in which they began.
    pub(super) fn all_of(&mut self, trace: TraceNumber, calls: u32) -> Option<&[CallFacts]> {
        let kept = self.by_trace.get_mut(&trace)?;
        kept.sort_by_key(|facts| facts.seq);
        (kept.len() == calls as usize).then_some(kept)
    }
}
