//! When the calls of an import are stored to have happened.
//!
//! A database keeps a time for everything; what of them is true, the trace's [`Timing`] says. Stated times are
//! kept as they are. Where none is stated, the order of the calls is kept, in steps of a few µs. A call
//! whose duration is not stated, in a trace where others' are, ends when it starts.

use looptape_core::assembly::Timing;
use looptape_core::import::{CallTimes, Cassette};
use looptape_store::Moment;

/// What keeps calls apart whose times are not known.
const APART_US: i64 = 4;

/// The times of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) sent: Moment,
    pub(super) head_mono_us: i64,
    /// When the body came, as the one piece that it is.
    pub(super) piece_mono_us: i64,
    pub(super) end_mono_us: i64,
}

/// The times of a trace.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) timing: Timing,
    pub(super) imported: Moment,
    /// When the trace began, where the file says so; else when it is imported. The monotonic time is the same.
    pub(super) started: Moment,
    /// In the order of the interactions.
    pub(super) slots: Vec<Slot>,
    pub(super) end: Moment,
}

impl Schedule {
    /// `now` is when the file is imported.
    pub(super) fn of(cassette: &Cassette, now: Moment) -> Self {
        let timing = cassette.timing();
        let times = || cassette.interactions.iter().map(|interaction| interaction.times);
        let first = times().filter_map(|times| times.started_unix_us).min();
        let started = match first {
            Some(unix_us) if timing.knows_starts() => Moment { unix_us, ..now },
            _ => now,
        };
        let mut schedule = Self { timing, imported: now, started, slots: Vec::new(), end: started };
        for call in times() {
            schedule.add(call);
        }
        schedule
    }

    fn add(&mut self, call: CallTimes) {
        let elapsed_us = self.end.mono_us - self.started.mono_us;
        let stated_us = call.started_unix_us.map_or(0, |unix_us| unix_us - self.started.unix_us);
        let duration_us = call.duration_us.unwrap_or(0);
        let slot = match self.timing {
            Timing::Measured | Timing::Stated => self.slot(stated_us, call.head_us, duration_us),
            Timing::StartsOnly => self.slot(stated_us.max(self.next_us()), call.head_us, duration_us),
            Timing::DurationsOnly => self.slot(elapsed_us + 1, call.head_us, duration_us),
            Timing::OrderOnly => self.in_order(),
        };
        let ended_us = slot.end_mono_us.max(self.end.mono_us) - self.started.mono_us;
        self.end = at(self.started, ended_us);
        self.slots.push(slot);
    }

    /// The earliest start after the last one.
    fn next_us(&self) -> i64 {
        self.slots.last().map_or(0, |last| last.sent.mono_us + APART_US - self.started.mono_us)
    }

    fn slot(&self, sent_us: i64, head_us: Option<i64>, duration_us: i64) -> Slot {
        let sent = at(self.started, sent_us);
        let end_mono_us = sent.mono_us + duration_us;
        let head_us = head_us.unwrap_or(duration_us).clamp(0, duration_us);
        Slot { sent, head_mono_us: sent.mono_us + head_us, piece_mono_us: end_mono_us, end_mono_us }
    }

    fn in_order(&self) -> Slot {
        let sent = at(self.started, self.next_us());
        let [head_mono_us, piece_mono_us, end_mono_us] = [1, 2, APART_US - 1].map(|us| sent.mono_us + us);
        Slot { sent, head_mono_us, piece_mono_us, end_mono_us }
    }
}

fn at(started: Moment, after_us: i64) -> Moment {
    Moment { unix_us: started.unix_us + after_us, mono_us: started.mono_us + after_us }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use looptape_core::import::{Container, Interaction};

    const NOW: Moment = Moment { unix_us: 9_000_000, mono_us: 50 };

    fn schedule(times: &[(Option<i64>, Option<i64>)]) -> Schedule {
        let interaction =
            |(index, &(started_unix_us, duration_us)): (u32, &(Option<i64>, Option<i64>))| Interaction {
                index,
                method: "GET".into(),
                url: "https://h/".into(),
                request_headers: Vec::new(),
                request_body: Bytes::new(),
                status: Some(200),
                response_headers: Vec::new(),
                response_body: Bytes::new(),
                request_exact: true,
                response_exact: true,
                times: CallTimes { started_unix_us, duration_us, head_us: None },
            };
        let interactions = (0..).zip(times).map(interaction).collect();
        Schedule::of(&Cassette { container: Container::Har, interactions }, NOW)
    }

    /// Start and end of each call, from the trace's start.
    fn spans(schedule: &Schedule) -> Vec<(i64, i64)> {
        let start = schedule.started.mono_us;
        schedule.slots.iter().map(|slot| (slot.sent.mono_us - start, slot.end_mono_us - start)).collect()
    }

    #[test]
    fn stated_times_are_kept() {
        let got = schedule(&[(Some(1_000), Some(500)), (Some(1_200), Some(900)), (Some(1_300), Some(100))]);
        assert_eq!((got.timing, got.started.unix_us), (Timing::Stated, 1_000));
        assert_eq!(spans(&got), [(0, 500), (200, 1_100), (300, 400)]);
        assert_eq!(got.slots[1].sent.unix_us, 1_200);
        assert_eq!(got.end.unix_us, 2_100);
    }

    #[test]
    fn what_is_not_stated_keeps_the_order() {
        let unknown = schedule(&[(None, None), (None, None)]);
        assert_eq!((unknown.timing, unknown.started), (Timing::OrderOnly, NOW));
        assert_eq!(spans(&unknown), [(0, 3), (4, 7)]);
        let back = schedule(&[(Some(2_000), None), (Some(1_000), None)]);
        assert_eq!(
            (back.timing, back.started),
            (Timing::OrderOnly, NOW),
            "starts that go back are not believed"
        );
        let starts =
            schedule(&[(Some(1_000_000), None), (Some(1_000_000), Some(7)), (Some(2_000_000), None)]);
        assert_eq!((starts.timing, starts.started.unix_us), (Timing::StartsOnly, 1_000_000));
        assert_eq!(spans(&starts), [(0, 0), (4, 11), (1_000_000, 1_000_000)]);
        let durations = schedule(&[(None, Some(500)), (None, None), (None, Some(20))]);
        assert_eq!((durations.timing, durations.started), (Timing::DurationsOnly, NOW));
        assert_eq!(spans(&durations), [(1, 501), (502, 502), (503, 523)]);
    }
}
