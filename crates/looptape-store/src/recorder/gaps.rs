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

    /// Something is missing, of one of these traces or of none: none of them can claim to be whole.
    pub(super) fn add_somewhere(&mut self, traces: impl Iterator<Item = TraceNumber>, reason: &str) {
        for trace in traces {
            *self.waiting.entry(trace).or_default().entry(reason.to_owned()).or_default() += 1;
        }
        self.count(reason, 1);
    }

    fn count(&mut self, reason: &str, count: u64) {
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
