//! When each call started and ended, as far as linking needs it.
//!
//! For imports without times, and for those whose times do not say when each call ran, the order of the calls
//! stands in: each ends before the next one starts, which is how such files are written. Times that a file
//! states are rounded, so a call that seems to end a moment after the next one started had ended before.

use super::{CallIndex, Timing};
use crate::facts::CallFacts;

/// By how much the end of a call may seem too late, since its start and its duration were rounded to the ms.
const ROUNDED_US: i64 = 2_000;

/// Start and end of every call, on one time line.
#[derive(Debug)]
pub(crate) struct Clock {
    calls: Vec<(i64, Option<i64>)>,
    timing: Timing,
}

impl Clock {
    pub(crate) fn new(facts: &[CallFacts], timing: Timing) -> Self {
        let calls = match timing {
            Timing::Measured | Timing::Stated => facts.iter().map(|f| (f.sent_us, f.end_us)).collect(),
            Timing::StartsOnly | Timing::DurationsOnly | Timing::OrderOnly => {
                (0i64..).zip(facts).map(|(n, _)| (2 * n, Some(2 * n + 1))).collect()
            }
        };
        Self { calls, timing }
    }

    pub(crate) fn start(&self, call: CallIndex) -> i64 {
        self.calls[call.0].0
    }

    /// `None` for a call whose end was not seen.
    pub(crate) fn end(&self, call: CallIndex) -> Option<i64> {
        self.calls[call.0].1
    }

    /// The time by which a call was over for certain.
    pub(crate) fn over_at(&self, call: CallIndex) -> Option<i64> {
        let tolerance_us = if self.timing == Timing::Stated { ROUNDED_US } else { 0 };
        self.end(call).map(|end| (end - tolerance_us).max(self.start(call)))
    }

    /// Whether `earlier` was over when `later` started.
    pub(crate) fn over_before(&self, earlier: CallIndex, later: CallIndex) -> bool {
        self.over_at(earlier).is_some_and(|end| end <= self.start(later))
    }

    /// A time as a measurement: `None` where only the order is known.
    pub(crate) fn measured(&self, time: i64) -> Option<i64> {
        self.timing.knows_intervals().then_some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::example::call;

    #[test]
    fn stated_times_are_rounded_and_partial_ones_leave_the_order() {
        // Ends at 900 ms; the others start at 899 ms and at 897 ms.
        let facts = [call(0, 0, 900), call(1, 899, 50), call(2, 897, 50)];
        let over = |timing| {
            let clock = Clock::new(&facts, timing);
            [1, 2].map(|later| clock.over_before(CallIndex(0), CallIndex(later)))
        };
        assert_eq!(over(Timing::Measured), [false, false]);
        assert_eq!(over(Timing::Stated), [true, false]);
        for timing in [Timing::StartsOnly, Timing::DurationsOnly, Timing::OrderOnly] {
            assert_eq!(over(timing), [true, true], "{timing:?}");
            assert_eq!(Clock::new(&facts, timing).measured(7), None, "{timing:?}");
        }
        assert_eq!(Clock::new(&facts, Timing::Stated).end(CallIndex(0)), Some(900_000));
    }
}
