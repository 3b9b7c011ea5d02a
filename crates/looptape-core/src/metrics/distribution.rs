//! The distribution of one quantity: its percentiles, mean, extremes.
//!
//! Values are whole numbers of the quantity's own smallest unit ([`Scale`]), so that sums are exact and the
//! order in which values arrive, or in which parts are merged, changes nothing. Up to [`MOST_RAW`] values are
//! kept as they are and percentiles are nearest-rank; beyond that they go into an HDR histogram of three
//! significant digits, and [`Method`] says so.
//!
//! Invariants: which of the two it is depends on the number of values alone (and on the bound, where one that needs
//! less memory was asked for); least, largest and mean are exact in both; a value that is not known is counted, never
//! left out silently. A value that is larger than any other, the time of what never succeeded, counts in every
//! percentile, and makes mean and largest infinite.

use super::Ms;
use super::percentile::{Percent, Percentile};
use crate::cost::Usd;
use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

/// Values that are kept as they are, at most: 8 MiB.
pub const MOST_RAW: usize = 1 << 20;

/// Significant digits of the histogram.
const DIGITS: u8 = 3;

/// What a quantity is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Things: steps, tokens.
    #[default]
    Count,
    /// Milliseconds, kept in µs.
    Ms,
    /// Milliseconds that are quotients, kept in ns.
    FineMs,
    /// Dollars, kept in 10⁻¹² $.
    Usd,
    /// Shares and rates, kept in 10⁻⁹.
    Ratio,
}

impl Scale {
    fn per_one(self) -> f64 {
        match self {
            Self::Count => 1.0,
            Self::Ms => 1e3,
            Self::FineMs => 1e6,
            Self::Usd => 1e12,
            Self::Ratio => 1e9,
        }
    }

    /// What is below 0 or no number counts as 0.
    fn units(self, value: f64) -> u64 {
        (value * self.per_one()).round() as u64
    }
}

/// How percentiles were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// On the values themselves.
    #[default]
    NearestRank,
    /// In a histogram of three significant digits.
    Hdr3Digits,
}

/// Collects values; [`Sampler::finish`] makes a [`Distribution`] of them.
#[derive(Clone, Debug)]
pub struct Sampler {
    scale: Scale,
    values: Values,
    most_raw: usize,
    sum: u128,
    unknown: u64,
    endless: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    Raw(Vec<u64>),
    Hdr(Box<Hdr>),
}

#[derive(Clone, Debug, PartialEq)]
struct Hdr {
    histogram: Histogram<u64>,
    min: u64,
    max: u64,
}

/// A finished sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    scale: Scale,
    /// Sorted, if raw.
    values: Values,
    sum: u128,
    unknown: u64,
    endless: u64,
}

/// A stretch of a distribution, and how many values lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    pub from: f64,
    pub to: f64,
    pub n: usize,
}

impl Default for Values {
    fn default() -> Self {
        Self::Raw(Vec::new())
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new(Scale::default())
    }
}

impl Sampler {
    pub fn new(scale: Scale) -> Self {
        Self::keeping(scale, MOST_RAW)
    }

    /// One that keeps fewer values as they are, [`MOST_RAW`] at most.
    pub fn keeping(scale: Scale, most_raw: usize) -> Self {
        let values = Values::default();
        Self { scale, values, most_raw: most_raw.min(MOST_RAW), sum: 0, unknown: 0, endless: 0 }
    }

    pub fn add(&mut self, value: f64) {
        self.add_units(self.scale.units(value));
    }

    pub fn add_ms(&mut self, value: Ms) {
        self.add_units(u64::try_from(value.us()).unwrap_or(0));
    }

    pub fn add_usd(&mut self, value: Usd) {
        self.add_units(self.scale.units(value.as_f64()));
    }

    pub fn add_count(&mut self, value: u64) {
        self.add_units(value);
    }

    /// Something has this quantity, but nobody knows how much of it, or only that it is at least something.
    pub fn add_unknown(&mut self) {
        self.unknown += 1;
    }

    /// A value that is larger than any other.
    pub fn add_endless(&mut self) {
        self.endless += 1;
    }

    /// Adds all values of a finished sample of the same scale.
    pub fn add_all(&mut self, finished: &Distribution) {
        if finished.n() > 0 || finished.unknown > 0 {
            let Distribution { scale, values, sum, unknown, endless } = finished.clone();
            self.merge(Self { scale, values, most_raw: self.most_raw, sum, unknown, endless });
        }
    }

    fn add_units(&mut self, value: u64) {
        self.sum += u128::from(value);
        match &mut self.values {
            Values::Raw(raw) => raw.push(value),
            Values::Hdr(hdr) => hdr.add(value),
        }
        self.keep_bound();
    }

    /// Adds all that another one holds. Both are of one scale.
    pub fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.scale, other.scale);
        self.sum += other.sum;
        self.unknown += other.unknown;
        self.endless += other.endless;
        match (&mut self.values, other.values) {
            (Values::Raw(own), Values::Raw(more)) if own.is_empty() => *own = more,
            (Values::Raw(own), Values::Raw(more)) => own.extend(more),
            (Values::Hdr(own), Values::Raw(more)) => more.into_iter().for_each(|value| own.add(value)),
            (Values::Hdr(own), Values::Hdr(more)) => own.merge(&more),
            (own @ Values::Raw(_), Values::Hdr(mut more)) => {
                if let Values::Raw(raw) = own {
                    raw.iter().for_each(|value| more.add(*value));
                }
                *own = Values::Hdr(more);
            }
        }
        self.keep_bound();
    }

    fn keep_bound(&mut self) {
        if let Values::Raw(raw) = &self.values
            && raw.len() > self.most_raw
        {
            self.values = Values::Hdr(Box::new(Hdr::of(raw)));
        }
    }

    pub fn finish(mut self) -> Distribution {
        if let Values::Raw(raw) = &mut self.values {
            raw.sort_unstable();
        }
        let Self { scale, values, sum, unknown, endless, most_raw: _ } = self;
        match &values {
            Values::Raw(raw) if raw.is_empty() && endless == 0 => {
                Distribution { unknown, ..Distribution::default() }
            }
            _ => Distribution { scale, values, sum, unknown, endless },
        }
    }
}

impl Hdr {
    fn of(values: &[u64]) -> Self {
        let histogram = Histogram::new(DIGITS).expect("three digits are allowed");
        let mut hdr = Self { histogram, min: u64::MAX, max: 0 };
        values.iter().for_each(|value| hdr.add(*value));
        hdr
    }

    fn add(&mut self, value: u64) {
        self.histogram.record(value).expect("a histogram that grows takes any value");
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
    }

    fn merge(&mut self, more: &Self) {
        self.histogram.add(&more.histogram).expect("a histogram that grows takes any other");
        (self.min, self.max) = (self.min.min(more.min), self.max.max(more.max));
    }
}

impl Distribution {
    pub fn of_counts(values: impl IntoIterator<Item = u64>) -> Self {
        let mut sampler = Sampler::new(Scale::Count);
        values.into_iter().for_each(|value| sampler.add_count(value));
        sampler.finish()
    }

    pub fn of_ms(values: impl IntoIterator<Item = Ms>) -> Self {
        let mut sampler = Sampler::new(Scale::Ms);
        values.into_iter().for_each(|value| sampler.add_ms(value));
        sampler.finish()
    }

    /// Size of the sample.
    pub fn n(&self) -> usize {
        self.finite_n() + usize::try_from(self.endless).unwrap_or(usize::MAX)
    }

    /// How many of its values are larger than any other.
    pub fn endless(&self) -> u64 {
        self.endless
    }

    fn finite_n(&self) -> usize {
        match &self.values {
            Values::Raw(raw) => raw.len(),
            Values::Hdr(hdr) => usize::try_from(hdr.histogram.len()).unwrap_or(usize::MAX),
        }
    }

    /// How many values are missing from it because they are not known (in full).
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    pub fn method(&self) -> Method {
        match &self.values {
            Values::Raw(_) => Method::NearestRank,
            Values::Hdr(_) => Method::Hdr3Digits,
        }
    }

    /// `None` of an empty sample.
    pub fn percentile(&self, percent: Percent) -> Option<Percentile> {
        let n = self.n();
        let rank = percent.rank(n)?;
        let value = match &self.values {
            _ if rank > self.finite_n() => f64::INFINITY,
            Values::Raw(raw) => self.value(*raw.get(rank - 1)?),
            Values::Hdr(hdr) => self.value(hdr.at_rank(rank as u64, self.finite_n() as u64)),
        };
        Some(Percentile { value, n, certified: percent.certified_by(n) })
    }

    pub fn p50(&self) -> Option<Percentile> {
        self.percentile(Percent::P50)
    }

    pub fn p95(&self) -> Option<Percentile> {
        self.percentile(Percent::P95)
    }

    pub fn p99(&self) -> Option<Percentile> {
        self.percentile(Percent::P99)
    }

    pub fn min(&self) -> Option<f64> {
        self.extremes().map(|(min, _)| self.value(min)).or(self.infinite())
    }

    pub fn max(&self) -> Option<f64> {
        self.infinite().or(self.extremes().map(|(_, max)| self.value(max)))
    }

    pub fn mean(&self) -> Option<f64> {
        self.infinite().or((self.n() > 0).then(|| self.sum() / self.n() as f64))
    }

    fn infinite(&self) -> Option<f64> {
        (self.endless > 0).then_some(f64::INFINITY)
    }

    /// Of all values that are known and finite.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.scale.per_one()
    }

    /// How the values lie between the least and the largest, in at most `most` stretches, each wider than the
    /// one before by the same factor if the values span more than a decade, else all of one width; where so
    /// many are enough, each holds one whole unit. Every value lies in exactly one.
    pub fn histogram(&self, most: usize) -> Vec<Bucket> {
        let Some((min, max)) = self.extremes() else { return Vec::new() };
        let edges = edges(min, max, most);
        let mut buckets: Vec<Bucket> = edges
            .windows(2)
            .map(|pair| Bucket { from: self.value(pair[0]), to: self.value(pair[1]), n: 0 })
            .collect();
        let mut count = |value: u64, n: usize| {
            let place = edges.partition_point(|edge| *edge <= value).clamp(1, buckets.len()) - 1;
            buckets[place].n += n;
        };
        match &self.values {
            Values::Raw(raw) => raw.iter().for_each(|value| count(*value, 1)),
            Values::Hdr(hdr) => {
                for step in hdr.histogram.iter_recorded() {
                    let n = usize::try_from(step.count_at_value()).unwrap_or(usize::MAX);
                    count(step.value_iterated_to(), n);
                }
            }
        }
        buckets
    }

    fn extremes(&self) -> Option<(u64, u64)> {
        match &self.values {
            Values::Raw(raw) => Some((*raw.first()?, *raw.last()?)),
            Values::Hdr(hdr) => Some((hdr.min, hdr.max)),
        }
    }

    fn value(&self, units: u64) -> f64 {
        units as f64 / self.scale.per_one()
    }
}

impl Hdr {
    /// The histogram knows quantiles only: the middle of a rank's share of them names it without doubt.
    fn at_rank(&self, rank: u64, n: u64) -> u64 {
        let quantile = (rank as f64 - 0.5) / n as f64;
        self.histogram.value_at_quantile(quantile).clamp(self.min, self.max)
    }
}

/// Where stretches begin and end, from `min` to `max`, strictly ascending.
fn edges(min: u64, max: u64, most: usize) -> Vec<u64> {
    if max - min < most as u64 {
        return (min..=max.saturating_add(1)).collect();
    }
    let parts = (1..=most.max(1)).map(|part| part as f64 / most.max(1) as f64);
    let (low, high) = (min.max(1) as f64, max.max(1) as f64);
    let at = |part: f64| match high / low > 10.0 {
        true => low * (high / low).powf(part),
        false => min as f64 + (max - min) as f64 * part,
    };
    let mut edges = vec![min];
    edges.extend(parts.map(|part| at(part).round() as u64));
    edges.dedup();
    if edges.len() == 1 {
        edges.push(max.saturating_add(1));
    }
    edges
}

#[derive(Serialize)]
struct Shown {
    n: usize,
    unknown: u64,
    #[serde(skip_serializing_if = "is_zero")]
    endless: u64,
    method: Method,
    min: Option<f64>,
    mean: Option<f64>,
    p50: Option<Percentile>,
    p90: Option<Percentile>,
    p95: Option<Percentile>,
    p99: Option<Percentile>,
    max: Option<f64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = Shown {
            n: self.n(),
            unknown: self.unknown,
            endless: self.endless,
            method: self.method(),
            min: self.min(),
            mean: self.mean(),
            p50: self.p50(),
            p90: self.percentile(Percent::P90),
            p95: self.p95(),
            p99: self.p99(),
            max: self.max(),
        };
        shown.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(values: &[u64]) -> Sampler {
        let mut sampler = Sampler::new(Scale::Ms);
        values.iter().for_each(|us| sampler.add_ms(Ms::from_us(*us as i64)));
        sampler
    }

    #[test]
    fn figures_of_a_small_sample() {
        let got = sampler(&[3000, 1000, 2000, 10_000]).finish();
        assert_eq!((got.n(), got.method()), (4, Method::NearestRank));
        assert_eq!((got.min(), got.mean(), got.max()), (Some(1.0), Some(4.0), Some(10.0)));
        assert_eq!(got.p50(), Some(Percentile { value: 2.0, n: 4, certified: false }));
        assert_eq!(got.p99().map(|p| p.value), Some(10.0));
        let none = Distribution::default();
        assert_eq!((none.p50(), none.mean(), none.histogram(8)), (None, None, Vec::new()));
        let same = sampler(&[5000, 5000]).finish().histogram(8);
        assert_eq!(same.iter().map(|b| b.n).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn money_and_shares_keep_their_small_values() {
        let mut costs = Sampler::new(Scale::Usd);
        costs.add_usd(Usd::from_f64(0.000_000_075).unwrap());
        costs.add_unknown();
        let costs = costs.finish();
        assert_eq!((costs.max(), costs.unknown()), (Some(0.000_000_075), 1));
        let mut shares = Sampler::new(Scale::Ratio);
        shares.add(0.75);
        assert_eq!(shares.finish().mean(), Some(0.75));
    }

    #[test]
    fn what_has_no_end_counts_beyond_all_others() {
        let mut some = sampler(&[1000, 2000, 3000]);
        some.add_endless();
        let some = some.finish();
        assert_eq!((some.n(), some.min(), some.max()), (4, Some(1.0), Some(f64::INFINITY)));
        let at = |percent: f64| some.percentile(Percent::new(percent).unwrap()).unwrap().value;
        assert_eq!([at(50.0), at(75.0), at(76.0)], [2.0, 3.0, f64::INFINITY]);
        let json = serde_json::to_value(&some).unwrap();
        assert_eq!((&json["endless"], &json["p99"]["value"]), (&1.into(), &serde_json::Value::Null));
    }

    #[test]
    fn a_smaller_bound_makes_a_histogram_earlier() {
        let mut few = Sampler::keeping(Scale::Count, 3);
        (1..=3).for_each(|n| few.add_count(n));
        assert_eq!(few.clone().finish().method(), Method::NearestRank);
        few.add_count(4);
        let few = few.finish();
        assert_eq!((few.method(), few.p50().map(|p| p.value)), (Method::Hdr3Digits, Some(2.0)));
    }

    #[test]
    fn a_sample_that_is_too_large_is_kept_to_three_digits() {
        let mut all = Sampler::new(Scale::Ms);
        let n = MOST_RAW as i64 + 1000;
        (1..=n).for_each(|us| all.add_ms(Ms::from_us(us)));
        let all = all.finish();
        assert_eq!((all.method(), all.n()), (Method::Hdr3Digits, n as usize));
        assert_eq!((all.min(), all.max()), (Some(0.001), Some(n as f64 / 1000.0)));
        assert_eq!(all.mean(), Some((n + 1) as f64 / 2000.0), "the mean is exact all the same");
        for (percent, share) in [(Percent::P50, 0.5), (Percent::P99, 0.99)] {
            let (got, exact) = (all.percentile(percent).unwrap().value, share * n as f64 / 1000.0);
            assert!((got - exact).abs() <= exact / 1000.0, "{got} {exact}");
        }
        assert_eq!(all.histogram(10).iter().map(|b| b.n).sum::<usize>(), n as usize);
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(a in proptest::collection::vec(0u64..1_000_000, 0..60),
                                    b in proptest::collection::vec(0u64..1_000_000, 0..60)) {
            let mut merged = sampler(&a);
            merged.merge(sampler(&b));
            let whole: Vec<u64> = b.iter().chain(&a).copied().collect();
            prop_assert_eq!(merged.finish(), sampler(&whole).finish());
        }

        #[test]
        fn every_value_is_in_one_stretch_of_the_histogram(values in proptest::collection::vec(0u64..1_000_000_000, 1..80),
                                                          most in 1usize..20) {
            let buckets = sampler(&values).finish().histogram(most);
            prop_assert_eq!(buckets.iter().map(|b| b.n).sum::<usize>(), values.len());
            prop_assert!(buckets.len() <= most.max(1));
            prop_assert!(buckets.windows(2).all(|pair| pair[0].to == pair[1].from));
        }

        /// The same values as a histogram of three digits say the same, to three digits.
        #[test]
        fn the_histogram_agrees_with_nearest_rank(values in proptest::collection::vec(1u64..100_000_000, 1..200)) {
            let exact = sampler(&values).finish();
            let hdr = Distribution { values: Values::Hdr(Box::new(Hdr::of(&values))), ..exact.clone() };
            for percent in [Percent::P50, Percent::P90, Percent::P95, Percent::P99] {
                let (a, b) = (exact.percentile(percent).unwrap().value, hdr.percentile(percent).unwrap().value);
                prop_assert!((a - b).abs() <= a / 1000.0 + 1e-9, "{} {}", a, b);
            }
        }
    }
}
