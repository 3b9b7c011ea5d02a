//! One stretch of a run: what happened in it.

use crate::metrics::{CostSum, Percent};
use hdrhistogram::Histogram;

/// What happened in one stretch; two that follow each other can be joined.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    pub(super) offered: u32,
    pub(super) dropped: u32,
    pub(super) completed: u32,
    pub(super) succeeded: u32,
    pub(super) steps: u32,
    pub(super) attempts: u32,
    pub(super) failed_attempts: u32,
    pub(super) retries: u32,
    /// Loops that ran at once, at most.
    pub(super) running: u32,
    pub(super) cost: CostSum,
    pub(super) loop_duration: CoarseSpread,
    pub(super) step_latency: CoarseSpread,
    pub(super) attempt_latency: CoarseSpread,
    pub(super) ttft: CoarseSpread,
}

impl Stretch {
    /// With the one that follows.
    pub(super) fn join(&mut self, later: &Self) {
        self.offered += later.offered;
        self.dropped += later.dropped;
        self.completed += later.completed;
        self.succeeded += later.succeeded;
        self.steps += later.steps;
        self.attempts += later.attempts;
        self.failed_attempts += later.failed_attempts;
        self.retries += later.retries;
        self.running = self.running.max(later.running);
        self.cost.merge(&later.cost);
        self.loop_duration.merge(&later.loop_duration);
        self.step_latency.merge(&later.step_latency);
        self.attempt_latency.merge(&later.attempt_latency);
        self.ttft.merge(&later.ttft);
    }
}

/// Significant digits: enough for a plot, and a hundred of them take little memory.
const DIGITS: u8 = 2;

/// How durations spread, to two digits; their number, sum and extremes are exact.
#[derive(Clone, Debug, Default)]
pub(super) struct CoarseSpread {
    histogram: Option<Box<Histogram<u32>>>,
    n: u32,
    sum_us: u64,
    least_us: u64,
    largest_us: u64,
    endless: u32,
}

/// Percentiles that are kept of each stretch.
pub(super) const KEPT: [f64; 11] = [50.0, 66.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.9, 99.99, 100.0];

/// Durations of one stretch, in ms.
#[derive(Clone, Debug, PartialEq)]
pub struct SpreadAt {
    /// How many there are, endless ones included.
    pub n: u32,
    pub endless: u32,
    /// Of those that are finite.
    pub mean_ms: Option<f64>,
    pub least_ms: Option<f64>,
    pub largest_ms: Option<f64>,
    percentiles: [Option<f64>; KEPT.len()],
}

impl CoarseSpread {
    pub(super) fn add(&mut self, us: u64) {
        let empty = || Box::new(Histogram::new(DIGITS).expect("two digits are allowed"));
        self.histogram.get_or_insert_with(empty).record(us).expect("a histogram that grows takes any value");
        self.least_us = if self.n == 0 { us } else { self.least_us.min(us) };
        self.largest_us = self.largest_us.max(us);
        self.sum_us = self.sum_us.saturating_add(us);
        self.n += 1;
    }

    /// One that is longer than any other.
    pub(super) fn add_endless(&mut self) {
        self.endless += 1;
    }

    pub(super) fn merge(&mut self, more: &Self) {
        self.endless += more.endless;
        let Some(histogram) = &more.histogram else { return };
        match &mut self.histogram {
            None => self.histogram = Some(histogram.clone()),
            Some(own) => own.add(histogram.as_ref()).expect("a histogram that grows takes any other"),
        }
        self.least_us = if self.n == 0 { more.least_us } else { self.least_us.min(more.least_us) };
        self.largest_us = self.largest_us.max(more.largest_us);
        self.sum_us = self.sum_us.saturating_add(more.sum_us);
        self.n += more.n;
    }

    pub(super) fn finish(&self) -> SpreadAt {
        let any = self.n > 0;
        let ms = |us: u64| us as f64 / 1000.0;
        SpreadAt {
            n: self.n + self.endless,
            endless: self.endless,
            mean_ms: any.then(|| ms(self.sum_us) / f64::from(self.n)),
            least_ms: any.then(|| ms(self.least_us)),
            largest_ms: any.then(|| ms(self.largest_us)),
            percentiles: KEPT.map(|percent| self.percentile(percent)),
        }
    }

    fn percentile(&self, percent: f64) -> Option<f64> {
        let rank = Percent::new(percent)?.rank((self.n + self.endless) as usize)?;
        if rank > self.n as usize {
            return Some(f64::INFINITY);
        }
        // The middle of a rank's share of the quantiles names it without doubt.
        let quantile = (rank as f64 - 0.5) / f64::from(self.n);
        let us = self.histogram.as_ref()?.value_at_quantile(quantile);
        Some(us.clamp(self.least_us, self.largest_us) as f64 / 1000.0)
    }
}

impl SpreadAt {
    /// One of the percentiles that are kept: infinite where it lies among those without an end; `None` of nothing, and
    /// of a percentile that is not kept.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        self.percentiles[KEPT.iter().position(|kept| *kept == percent)?]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Distribution, Ms};
    use proptest::prelude::*;

    fn spread(values: &[u64], endless: u32) -> CoarseSpread {
        let mut spread = CoarseSpread::default();
        values.iter().for_each(|us| spread.add(*us));
        (0..endless).for_each(|_| spread.add_endless());
        spread
    }

    #[test]
    fn what_has_no_end_lies_beyond_all_others() {
        let at = spread(&[1000, 3000], 1).finish();
        assert_eq!((at.n, at.endless, at.mean_ms), (3, 1, Some(2.0)));
        assert_eq!((at.percentile(50.0), at.percentile(95.0)), (Some(3.0), Some(f64::INFINITY)));
        assert_eq!((at.least_ms, at.largest_ms), (Some(1.0), Some(3.0)));
        let none = CoarseSpread::default().finish();
        assert_eq!((none.n, none.mean_ms, none.percentile(50.0)), (0, None, None));
        assert_eq!(spread(&[], 2).finish().percentile(50.0), Some(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn percentiles_are_right_to_two_digits_whatever_was_joined(
            a in proptest::collection::vec(1u64..10_000_000, 0..60),
            b in proptest::collection::vec(1u64..10_000_000, 1..60),
        ) {
            let mut joined = spread(&a, 0);
            joined.merge(&spread(&b, 0));
            let exact = Distribution::of_ms(a.iter().chain(&b).map(|us| Ms::from_us(*us as i64)));
            let got = joined.finish();
            prop_assert_eq!(got.n as usize, exact.n());
            for (percent, exact) in [(50.0, exact.p50()), (95.0, exact.p95()), (99.0, exact.p99())] {
                let (got, exact) = (got.percentile(percent).unwrap(), exact.unwrap().value);
                prop_assert!((got - exact).abs() <= exact / 100.0 + 1e-3, "{} {}", got, exact);
            }
        }
    }
}
