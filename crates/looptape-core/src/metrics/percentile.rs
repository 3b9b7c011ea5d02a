//! Percentiles, and whether a sample is large enough to print them.
//!
//! Nearest rank on raw values: the p-th percentile of n values is the ⌈p·n⌉-th smallest, always a value that
//! was really seen.
//!
//! A sample certifies a percentile if, at 99 % confidence, at least two observations lie beyond it, whatever
//! the distribution. The number of n observations beyond the p-quantile is binomial(n, 1−p), so this asks for
//! 1 − pⁿ − n·(1−p)·pⁿ⁻¹ ≥ 0.99: Wilks' two-sided tolerance limits (S. S. Wilks, 1941). It gives n ≥ 11 for
//! the median, 64 for p90, 130 for p95 and 662 for p99. One observation beyond would do to bound the
//! percentile, but then one outlier is the bound.

use serde::Serialize;

const CONFIDENCE: f64 = 0.99;

/// A percentile, in percent, between 0 and 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(f64);

/// A percentile of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentile {
    pub value: f64,
    /// Size of the sample.
    pub n: usize,
    /// Whether the sample supports it.
    pub certified: bool,
}

impl Percent {
    pub const P50: Self = Self(50.0);
    pub const P90: Self = Self(90.0);
    pub const P95: Self = Self(95.0);
    pub const P99: Self = Self(99.0);

    /// The smallest sample that certifies this percentile; none does the least or the largest value.
    pub fn smallest_sample(self) -> Option<usize> {
        let is_inside = self.0 > 0.0 && self.0 < 100.0;
        is_inside.then(|| (2..).find(|n| self.certified_by(*n)))?
    }

    /// Whether a sample of `n` certifies this percentile. Below the median the other tail decides.
    pub fn certified_by(self, n: usize) -> bool {
        let p = (self.0 / 100.0).max(1.0 - self.0 / 100.0);
        let n = n as f64;
        n >= 1.0 && 1.0 - p.powf(n) - n * (1.0 - p) * p.powf(n - 1.0) >= CONFIDENCE
    }

    /// A percentile between 0 and 100; `None` for any other number.
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Self(percent))
    }

    pub fn as_f64(self) -> f64 {
        self.0
    }

    /// Which of `n` values in ascending order it is, counted from 1; `None` if there are none.
    pub(crate) fn rank(self, n: usize) -> Option<usize> {
        // Rounding first keeps 95 % of 20 at rank 19, which floating point would make 19.000000000000004.
        let rank = (self.0 * n as f64 / 100.0 * 1e9).round() / 1e9;
        (n > 0).then(|| (rank.ceil() as usize).clamp(1, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_reproduces_wilks_sample_sizes() {
        let sizes = [Percent::P50, Percent::P90, Percent::P95, Percent::P99].map(Percent::smallest_sample);
        assert_eq!(sizes, [11, 64, 130, 662].map(Some));
        assert!(!Percent::P90.certified_by(63) && Percent::P90.certified_by(64));
        assert!(!Percent::P99.certified_by(661) && Percent::P99.certified_by(662));
        let max = Percent::new(100.0).unwrap();
        assert!(!max.certified_by(1_000_000), "no sample says what the largest possible value is");
        assert_eq!((Percent::new(-1.0), Percent::new(f64::NAN)), (None, None));
    }

    #[test]
    fn nearest_rank() {
        let at = |p: Percent| p.rank(20).unwrap();
        assert_eq!(
            [at(Percent::P50), at(Percent::P90), at(Percent::P95), at(Percent::P99)],
            [10, 18, 19, 20]
        );
        assert_eq!((Percent::P99.rank(1), Percent::new(0.0).unwrap().rank(5)), (Some(1), Some(1)));
        assert_eq!(Percent::P50.rank(0), None);
    }

    proptest! {
        #[test]
        fn at_least_p_of_the_values_are_not_above_it(n in 1usize..5000, percent in 0.0..=100.0f64) {
            let rank = Percent::new(percent).unwrap().rank(n).unwrap();
            prop_assert!(rank as f64 >= percent / 100.0 * n as f64 - 1e-6);
            prop_assert!(((rank - 1) as f64) < percent / 100.0 * n as f64 + 1e-6);
        }
    }
}
