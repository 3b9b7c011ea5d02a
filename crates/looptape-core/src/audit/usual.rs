//! What the runs of one agent usually cost, and which cost is unusual.
//!
//! How unusual: the robust z-score 0.6745·(x − median)/MAD, where MAD is the median of the distances from the median
//! and 0.6745 makes it comparable with a standard deviation (B. Iglewicz, D. Hoaglin, "How to detect and handle
//! outliers", 1993, who suggest 3.5 as the limit). It is not known for fewer than [`SMALLEST_COHORT`] priced runs, or
//! where more than half of them cost the same.

use crate::cost::Usd;

const SMALLEST_COHORT: usize = 5;
/// A z-score from which on a cost is unusual.
pub const UNUSUAL: f64 = 3.5;

/// How many times the median a cost is unusual where most runs cost the same, so that there is no z-score.
const UNUSUAL_TIMES: f64 = 2.0;

/// The costs of the runs of one agent.
#[derive(Clone, Copy, Debug)]
pub struct UsualCost {
    runs: usize,
    priced: usize,
    median: Option<f64>,
    deviation: Option<f64>,
}

impl UsualCost {
    /// Of runs, the costs of which are known or not.
    pub fn of(costs: &[Option<Usd>]) -> Self {
        let known = sorted(costs.iter().flatten().map(|usd| usd.as_f64()));
        let median = median(&known);
        let distances = median.map(|median| sorted(known.iter().map(|usd| (usd - median).abs())));
        let deviation = distances.and_then(|distances| self::median(&distances));
        let deviation = deviation.filter(|mad| *mad > 0.0 && known.len() >= SMALLEST_COHORT);
        Self { runs: costs.len(), priced: known.len(), median, deviation }
    }

    pub fn runs(&self) -> usize {
        self.runs
    }

    pub fn median(&self) -> Option<Usd> {
        self.median.and_then(Usd::from_f64)
    }

    /// Whether a cost stands out: by its z-score, or, where more than half of the runs cost the same, by at least twice or at
    /// most half of that.
    pub fn stands_out(&self, usd: Usd) -> bool {
        match (self.z(usd), self.median) {
            (Some(z), _) => is_unusual(z),
            (None, Some(median)) if self.priced >= SMALLEST_COHORT && median > 0.0 => {
                let times = usd.as_f64() / median;
                times >= UNUSUAL_TIMES || times <= 1.0 / UNUSUAL_TIMES
            }
            (None, _) => false,
        }
    }

    /// The z-score of a cost.
    pub fn z(&self, usd: Usd) -> Option<f64> {
        Some(0.6745 * (usd.as_f64() - self.median?) / self.deviation?)
    }
}

/// Whether a z-score is that of an unusual cost.
pub fn is_unusual(z: f64) -> bool {
    z.abs() >= UNUSUAL
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (below, above) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some((below + above) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_out() {
        let usual =
            |costs: &[f64]| UsualCost::of(&costs.iter().map(|usd| Usd::from_f64(*usd)).collect::<Vec<_>>());
        let stands_out = |costs: &[f64], usd: f64| usual(costs).stands_out(Usd::from_f64(usd).unwrap());
        let varied = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0];
        assert!(stands_out(&varied, 3.0) && !stands_out(&varied, 1.2));
        let same = [1.0, 1.0, 1.0, 1.0, 1.0, 11.0];
        assert!(stands_out(&same, 11.0) && stands_out(&same, 0.4) && !stands_out(&same, 1.3));
        assert!(!stands_out(&[1.0, 1.0, 1.0, 9.0], 9.0), "of few runs nothing is usual");
        assert!(!stands_out(&[], 9.0));
    }
}
