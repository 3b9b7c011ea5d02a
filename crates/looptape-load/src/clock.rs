//! The run's clock: µs since it began.

use std::time::Duration;
use tokio::time::Instant;

/// When the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new(started: std::time::Instant) -> Self {
        Self(Instant::from_std(started))
    }

    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The same as calls have it.
    pub(crate) fn signed_now_us(&self) -> i64 {
        i64::try_from(self.now_us()).unwrap_or(i64::MAX)
    }

    /// The time of the run at an instant.
    pub(crate) fn us_at(&self, instant: std::time::Instant) -> u64 {
        let since = Instant::from_std(instant).saturating_duration_since(self.0);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn now_s(&self) -> f64 {
        self.now_us() as f64 / 1e6
    }

    /// The instant of a time of the run.
    pub(crate) fn instant(&self, us: u64) -> Instant {
        self.0 + Duration::from_micros(us)
    }
}
