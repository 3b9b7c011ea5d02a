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

    /// The smallest sample that certifies this percentile.
    pub fn smallest_sample(self) -> usize {
        (2..).find(|n| self.certified_by(*n)).expect("both terms vanish as n grows")
    }

    /// Whether a sample of `n` certifies this percentile. Below the median the other tail decides.
    pub fn certified_by(self, n: usize) -> bool {
        let p = (self.0 / 100.0).max(1.0 - self.0 / 100.0);
        let n = n as f64;
        n >= 1.0 && 1.0 - p.powf(n) - n * (1.0 - p) * p.powf(n - 1.0) >= CONFIDENCE
    }

    /// The percentile of values sorted in ascending order; `None` of an empty sample.
    pub fn of(self, sorted: &[f64]) -> Option<Percentile> {
        // Rounding first keeps 95 % of 20 at rank 19, which floating point would make 19.000000000000004.
        let rank = (self.0 * sorted.len() as f64 / 100.0 * 1e9).round() / 1e9;
        let value = *sorted.get((rank.ceil() as usize).max(1) - 1)?;
        Some(Percentile { value, n: sorted.len(), certified: self.certified_by(sorted.len()) })
    }
}

/// Sorts a sample for [`Percent::of`].
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_reproduces_wilks_sample_sizes() {
        let sizes = [Percent::P50, Percent::P90, Percent::P95, Percent::P99].map(Percent::smallest_sample);
        assert_eq!(sizes, [11, 64, 130, 662]);
        assert!(!Percent::P90.certified_by(63) && Percent::P90.certified_by(64));
        assert!(!Percent::P99.certified_by(661) && Percent::P99.certified_by(662));
    }

    #[test]
    fn nearest_rank() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        let at = |p: Percent| p.of(&values).unwrap().value;
        assert_eq!(
            [at(Percent::P50), at(Percent::P90), at(Percent::P95), at(Percent::P99)],
            [10.0, 18.0, 19.0, 20.0]
        );
        assert_eq!(Percent::P99.of(&[7.0]), Some(Percentile { value: 7.0, n: 1, certified: false }));
        assert_eq!(Percent::P50.of(&[]), None);
    }

    proptest! {
        #[test]
        fn at_least_p_of_the_values_are_not_above_it(values in proptest::collection::vec(0.0..1e6f64, 1..200)) {
            let values = sorted(values);
            for p in [Percent::P50, Percent::P90, Percent::P95, Percent::P99] {
                let found = p.of(&values).unwrap().value;
                let below = values.iter().filter(|v| **v <= found).count();
                prop_assert!(below as f64 >= p.0 / 100.0 * values.len() as f64 - 1e-6);
                let smaller = values.iter().filter(|v| **v < found).count();
                prop_assert!((smaller as f64) < p.0 / 100.0 * values.len() as f64 + 1e-6);
            }
        }
    }
}
