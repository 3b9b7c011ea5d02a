//! Calls in the order in which they started, and which of them ran at the same time.
//!
//! Used for groups of calls that look alike. A group may be as large as its trace, so no question here
//! walks over all of it unless its calls really did overlap.

use super::tape::{EntryId, RecordedCall};

/// A group of calls by start.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    ids: Vec<EntryId>,
    spans: Vec<RunSpan>,
    /// The latest end among the calls up to each position.
    latest_end_us: Vec<i64>,
}

/// When a call ran; one without an end runs for ever.
#[derive(Clone, Copy, Debug)]
struct RunSpan {
    sent_us: i64,
    end_us: i64,
}

impl Timeline {
    /// Adds a call that started no earlier than those before it.
    pub(super) fn push(&mut self, id: EntryId, call: &RecordedCall) {
        let span = RunSpan { sent_us: call.sent_us, end_us: call.end_us.unwrap_or(i64::MAX) };
        let latest = self.latest_end_us.last().map_or(span.end_us, |&latest| latest.max(span.end_us));
        self.ids.push(id);
        self.spans.push(span);
        self.latest_end_us.push(latest);
    }

    pub(super) fn ids(&self) -> &[EntryId] {
        &self.ids
    }

    /// The latest call that had ended by `at_us` and that `accept` takes.
    pub(super) fn latest_ended(&self, at_us: i64, accept: impl Fn(EntryId) -> bool) -> Option<EntryId> {
        let ended = self.ids.iter().zip(&self.spans).rev().filter(|(_, span)| span.end_us <= at_us);
        ended.map(|(&id, _)| id).find(|&id| accept(id))
    }

    /// The calls that ran at the same time as `id`, without itself.
    pub(super) fn beside(&self, id: EntryId, call: &RecordedCall) -> Vec<EntryId> {
        let start = self.spans.partition_point(|span| span.sent_us < call.sent_us);
        let end_us = call.end_us.unwrap_or(i64::MAX);
        let earlier = (0..start).rev().take_while(|&at| self.latest_end_us[at] > call.sent_us);
        let later = (start..self.ids.len()).take_while(|&at| self.spans[at].sent_us < end_us);
        let mut beside: Vec<EntryId> = earlier
            .chain(later)
            .filter(|&at| self.spans[at].end_us > call.sent_us && self.ids[at] != id)
            .map(|at| self.ids[at])
            .collect();
        beside.sort_unstable();
        beside
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenarios::recorded_at;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn beside_is_what_overlaps(runs in prop::collection::vec((0i64..30, 1i64..8, any::<bool>()), 0..12)) {
            let mut runs: Vec<(i64, Option<i64>)> =
                runs.into_iter().map(|(sent, long, ends)| (sent, ends.then_some(sent + long))).collect();
            runs.sort();
            let calls: Vec<RecordedCall> = runs.iter().map(|&(sent, end)| recorded_at(sent, end)).collect();
            let mut timeline = Timeline::default();
            for (at, call) in calls.iter().enumerate() {
                timeline.push(EntryId(at), call);
            }
            for (at, &(sent, end)) in runs.iter().enumerate() {
                let overlaps = |&(other_sent, other_end): &(i64, Option<i64>)| {
                    end.is_none_or(|end| end > other_sent) && other_end.is_none_or(|end| end > sent)
                };
                let expected: Vec<EntryId> =
                    (0..runs.len()).filter(|&o| o != at && overlaps(&runs[o])).map(EntryId).collect();
                prop_assert_eq!(timeline.beside(EntryId(at), &calls[at]), expected);
                let ended = (0..runs.len()).rev().find(|&o| runs[o].1.is_some_and(|end| end <= sent));
                prop_assert_eq!(timeline.latest_ended(sent, |_| true), ended.map(EntryId));
            }
        }
    }
}
