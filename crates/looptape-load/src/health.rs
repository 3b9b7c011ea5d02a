//! Whether the client keeps up.
//!
//! Two things show it: how late loops begin, and how late the client wakes up when it wants to. If either is late too
//! often, the client or its machine is what was measured.

use looptape_core::load::ClientHealth;
use looptape_core::metrics::{Ms, Percentile, Sampler, Scale};
use std::time::Duration;

/// How often the client looks how late it is.
pub(crate) const WAKE_UP_EVERY: Duration = Duration::from_millis(20);

/// The most by which 99 of 100 may be late.
const MOST_LAG_MS: f64 = 50.0;

/// What is known of it so far.
#[derive(Debug)]
pub(crate) struct Health {
    schedule_lag: Sampler,
    wake_up_lag: Sampler,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self { schedule_lag: Sampler::new(Scale::Ms), wake_up_lag: Sampler::new(Scale::Ms) }
    }

    pub(crate) fn loop_began(&mut self, late_us: u64) {
        self.schedule_lag.add_ms(ms(late_us));
    }

    pub(crate) fn woke_up(&mut self, late_us: u64) {
        self.wake_up_lag.add_ms(ms(late_us));
    }

    pub(crate) fn finish(self) -> ClientHealth {
        let (schedule_lag_ms, wake_up_lag_ms) = (self.schedule_lag.finish(), self.wake_up_lag.finish());
        let lags = [("loops began", schedule_lag_ms.p99()), ("the client woke up", wake_up_lag_ms.p99())];
        let late = |(what, p99): (&str, Option<Percentile>)| {
            let p99 = p99?;
            (p99.value > MOST_LAG_MS).then(|| {
                format!(
                    "one time in a hundred {what} {:.0} ms late or more, and {MOST_LAG_MS} ms is the most: lower the rate, or run the load on a machine of its own",
                    p99.value
                )
            })
        };
        let invalid_because = lags.into_iter().filter_map(late).collect();
        ClientHealth { schedule_lag_ms, wake_up_lag_ms, invalid_because }
    }
}

fn ms(us: u64) -> Ms {
    Ms::from_us(i64::try_from(us).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_late_too_often_says_so() {
        let judged = |late_us: u64, of: usize| {
            let mut health = Health::new();
            (0..1000).for_each(|n| health.loop_began(if n < of { late_us } else { 100 }));
            health.woke_up(200);
            health.finish().invalid_because
        };
        assert!(judged(80_000, 5).is_empty());
        let [said] = judged(80_000, 50).try_into().unwrap();
        assert!(said.starts_with("one time in a hundred loops began 80 ms late"), "{said}");
    }
}
