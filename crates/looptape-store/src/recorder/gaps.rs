//! What recordings lack and why, until it is written down.
//!
//! Kept apart from the traces, so that a batch costs nothing for those that lack nothing.

use super::open_trace::TraceNumber;
use std::collections::BTreeMap;

/// How often each reason occurred.
pub(super) type Reasons = BTreeMap<String, u64>;

/// Gaps by trace that are not written down yet, and all there ever were.
#[derive(Default)]
pub(super) struct Gaps {
    waiting: BTreeMap<TraceNumber, Reasons>,
    total: Reasons,
    /// Those of which nobody knows the trace.
    unplaced: Reasons,
    /// Whether any came since [`Gaps::news`] was asked.
    grew: bool,
}

impl Gaps {
    /// Something of a trace is missing.
    pub(super) fn add(&mut self, trace: TraceNumber, reason: &str) {
        self.add_many(trace, reason, 1);
    }

    pub(super) fn add_many(&mut self, trace: TraceNumber, reason: &str, count: u64) {
        *self.waiting.entry(trace).or_default().entry(reason.to_owned()).or_default() += count;
        self.count(reason, count);
    }

    /// Something is missing, and nobody knows of which trace: none that is open can claim to be whole.
    pub(super) fn add_unplaced(&mut self, reason: &str) {
        *self.unplaced.entry(reason.to_owned()).or_default() += 1;
        self.count(reason, 1);
    }

    /// All of these so far: a trace keeps it from its beginning, for [`Gaps::doubt`].
    pub(super) fn unplaced(&self) -> Reasons {
        self.unplaced.clone()
    }

    /// The trace ends: what could not be placed since its beginning may have been its own.
    pub(super) fn doubt(&mut self, trace: TraceNumber, at_its_beginning: &Reasons) {
        for (reason, &count) in &self.unplaced {
            let since = count - at_its_beginning.get(reason).copied().unwrap_or(0);
            if since > 0 {
                *self.waiting.entry(trace).or_default().entry(reason.clone()).or_default() += since;
            }
        }
    }

    /// Something is missing that was no trace's.
    pub(super) fn add_elsewhere(&mut self, reason: &str) {
        self.count(reason, 1);
    }

    /// All there ever were, if any came since this was asked.
    pub(super) fn news(&mut self) -> Option<&Reasons> {
        std::mem::take(&mut self.grew).then_some(&self.total)
    }

    fn count(&mut self, reason: &str, count: u64) {
        self.grew = true;
        *self.total.entry(reason.to_owned()).or_default() += count;
    }

    /// All gaps, each counted once.
    pub(super) fn into_total(self) -> Reasons {
        self.total
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TraceNumber, &Reasons)> {
        self.waiting.iter().map(|(trace, reasons)| (*trace, reasons))
    }

    /// The gaps of traces to which `is_written` applies are on disk.
    pub(super) fn written(&mut self, is_written: impl Fn(TraceNumber) -> bool) {
        self.waiting.retain(|trace, _| !is_written(*trace));
    }
}
