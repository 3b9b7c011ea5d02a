//! When each call started and ended, as far as linking needs it.
//!
//! For imports without times the order of the calls stands in: each ends before the next one starts, which
//! is how such files are written.

use super::{CallIndex, Timing};
use crate::facts::CallFacts;

/// Start and end of every call, on one time line.
#[derive(Debug)]
pub(crate) struct Clock {
    calls: Vec<(i64, Option<i64>)>,
    timing: Timing,
}

impl Clock {
    pub(crate) fn new(facts: &[CallFacts], timing: Timing) -> Self {
        let calls = match timing {
            Timing::Measured => facts.iter().map(|f| (f.sent_us, f.end_us)).collect(),
            Timing::OrderOnly => (0i64..).zip(facts).map(|(n, _)| (2 * n, Some(2 * n + 1))).collect(),
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

    /// Whether `earlier` was over when `later` started.
    pub(crate) fn over_before(&self, earlier: CallIndex, later: CallIndex) -> bool {
        self.end(earlier).is_some_and(|end| end <= self.start(later))
    }

    /// A time as a measurement: `None` where only the order is known.
    pub(crate) fn measured(&self, time: i64) -> Option<i64> {
        match self.timing {
            Timing::Measured => Some(time),
            Timing::OrderOnly => None,
        }
    }
}
