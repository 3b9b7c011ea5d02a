//! The time that rates are taken over.

use super::super::Ms;
use super::super::sweep::Interval;
use serde::Serialize;

/// From one instant to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    pub start_unix_us: i64,
    pub end_unix_us: i64,
    pub basis: WindowBasis,
}

/// Where a window comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowBasis {
    /// Asked for.
    Given,
    /// From the start of the first trace to the end of the last one.
    Observed,
}

impl Window {
    pub fn seconds(self) -> f64 {
        Ms::between(self.start_unix_us, self.end_unix_us).as_seconds()
    }

    /// The window in which all of these happened.
    pub(super) fn observed(spans: impl Iterator<Item = Interval>) -> Option<Self> {
        let whole = spans.reduce(|a, b| Interval {
            start_us: a.start_us.min(b.start_us),
            end_us: a.end_us.max(b.end_us),
        })?;
        let (start_unix_us, end_unix_us) = (whole.start_us, whole.end_us);
        Some(Self { start_unix_us, end_unix_us, basis: WindowBasis::Observed })
    }

    /// The part of an interval that lies in it.
    pub(super) fn clip(self, interval: Interval) -> Option<Interval> {
        let clipped = Interval {
            start_us: interval.start_us.max(self.start_unix_us),
            end_us: interval.end_us.min(self.end_unix_us),
        };
        (clipped.start_us < clipped.end_us).then_some(clipped)
    }

    /// How often something happened a minute; `None` in no time.
    pub(crate) fn per_min(self, count: u32) -> Option<f64> {
        let seconds = self.seconds();
        (seconds > 0.0).then(|| f64::from(count) * 60.0 / seconds)
    }
}
