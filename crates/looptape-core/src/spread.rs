//! How a quantity is spread: a time, a count of tokens, a number of steps.
//!
//! A spread is written as a number (always that), or as a table of one kind:
//!
//! | table | what it is |
//! |---|---|
//! | `{ p50 = 400, p95 = 1200 }`, also with `p99` | log-normal through these percentiles |
//! | `{ p50 = 400, sigma = 0.5 }` | log-normal; sigma is that of the logarithm |
//! | `{ uniform = [200, 800] }` | anything between |
//! | `{ exponential = 300 }` | with this mean |
//! | `{ values = [1000, 10000], weights = [3, 1] }` | one of these; without weights each as often |
//!
//! `min` and `max` may stand beside any of them. Counts may be written `"10K"` or `"1.5M"`. Units are those of the
//! field, which names them (`ttft_ms`).
//!
//! A value is found by inverting the distribution at one number in [0, 1): the same number gives the same value, and a
//! larger one never a smaller value.

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use statrs::distribution::{ContinuousCDF, Normal};
use std::fmt;

/// A spread whose figures make sense: none is negative or no number, and they are in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    shape: Shape,
    min: f64,
    max: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Always(f64),
    /// Two log-normals that meet at the 95th percentile; `beyond` is the sigma above it.
    LogNormal {
        p50: f64,
        sigma: f64,
        beyond: f64,
    },
    Uniform {
        from: f64,
        to: f64,
    },
    Exponential {
        mean: f64,
    },
    /// In ascending order, each with the share of draws up to and including it.
    Values(Vec<(f64, f64)>),
}

/// Why figures are no spread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpreadError {
    #[error("`{0}` is not a number: write 1200, \"10K\" or \"1.5M\"")]
    NotANumber(String),
    #[error("`{0}` cannot be: write a number of 0 or more")]
    Impossible(String),
    #[error("{0}")]
    Shape(&'static str),
}

/// The 95th and 99th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_7;
const Z99: f64 = 2.326_347_874_040_841;

impl Spread {
    pub fn always(value: f64) -> Self {
        Self { shape: Shape::Always(value.max(0.0)), min: 0.0, max: f64::INFINITY }
    }

    /// Log-normal with this median and this 95th percentile, which is not below it.
    pub fn log_normal(p50: f64, p95: f64) -> Result<Self, SpreadError> {
        Table { p50: Some(p50), p95: Some(p95), ..Table::default() }.spread()
    }

    /// One of the values that were seen, each as often; not empty.
    pub fn of_values(values: Vec<f64>) -> Result<Self, SpreadError> {
        Table { values: Some(values), ..Table::default() }.spread()
    }

    /// The value at `unit`, a number in [0, 1).
    pub fn value(&self, unit: f64) -> f64 {
        let value = match &self.shape {
            Shape::Always(value) => *value,
            Shape::Uniform { from, to } => from + (to - from) * unit,
            Shape::Exponential { mean } => -mean * (-unit).ln_1p(),
            Shape::Values(values) => {
                let place = values.partition_point(|(_, up_to)| *up_to <= unit);
                values.get(place).or(values.last()).map_or(0.0, |(value, _)| *value)
            }
            Shape::LogNormal { p50, sigma, beyond } => {
                // 0 has no finite logarithm; the least number that a draw can give otherwise is 2⁻⁵³.
                let z = Normal::standard().inverse_cdf(unit.max(f64::EPSILON / 4.0));
                p50 * (sigma * z.min(Z95) + beyond * (z - Z95).max(0.0)).exp()
            }
        };
        value.clamp(self.min, self.max)
    }

    /// The value at `unit`, rounded to a whole number.
    pub fn count(&self, unit: f64) -> u64 {
        self.value(unit).round() as u64
    }

    /// What draws come to on average, by the middle of 1,024 equal parts: exact for a constant, close for the rest.
    pub fn mean(&self) -> f64 {
        let parts = 1024;
        (0..parts).map(|part| self.value((f64::from(part) + 0.5) / f64::from(parts))).sum::<f64>()
            / f64::from(parts)
    }
}

/// A number, or one with K or M.
pub fn number(text: &str) -> Result<f64, SpreadError> {
    let trimmed = text.trim();
    let (digits, unit) = match trimmed.char_indices().last() {
        Some((at, 'k' | 'K')) => (&trimmed[..at], 1e3),
        Some((at, 'm' | 'M')) => (&trimmed[..at], 1e6),
        _ => (trimmed, 1.0),
    };
    let value: f64 =
        digits.trim().replace('_', "").parse().map_err(|_| SpreadError::NotANumber(text.to_owned()))?;
    checked(value * unit)
}

fn checked(value: f64) -> Result<f64, SpreadError> {
    let is_possible = value.is_finite() && value >= 0.0;
    is_possible.then_some(value).ok_or_else(|| SpreadError::Impossible(value.to_string()))
}

/// A spread as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    sigma: Option<f64>,
    uniform: Option<[f64; 2]>,
    exponential: Option<f64>,
    values: Option<Vec<f64>>,
    weights: Option<Vec<f64>>,
    min: Option<f64>,
    max: Option<f64>,
}

impl Table {
    fn spread(self) -> Result<Spread, SpreadError> {
        let (min, max) = (checked(self.min.unwrap_or(0.0))?, self.max.map(checked).transpose()?);
        let max = max.unwrap_or(f64::INFINITY);
        if min > max {
            return Err(SpreadError::Shape("`min` is above `max`"));
        }
        Ok(Spread { shape: self.shape()?, min, max })
    }

    fn shape(self) -> Result<Shape, SpreadError> {
        let kinds =
            [self.p50.is_some(), self.uniform.is_some(), self.exponential.is_some(), self.values.is_some()];
        if kinds.iter().filter(|is_there| **is_there).count() != 1 {
            return Err(SpreadError::Shape(
                "write one of `p50` (with `p95` or `sigma`), `uniform`, `exponential`, `values`",
            ));
        }
        if let Some([from, to]) = self.uniform {
            let (from, to) = (checked(from)?, checked(to)?);
            let is_ordered = from <= to;
            return is_ordered
                .then_some(Shape::Uniform { from, to })
                .ok_or(SpreadError::Shape("`uniform` is written [least, most]"));
        }
        if let Some(mean) = self.exponential {
            return Ok(Shape::Exponential { mean: checked(mean)? });
        }
        match (self.values, self.p50) {
            (Some(values), _) => weighted(values, self.weights),
            (None, p50) => log_normal(p50.unwrap_or_default(), self.p95, self.p99, self.sigma),
        }
    }
}

fn log_normal(
    p50: f64,
    p95: Option<f64>,
    p99: Option<f64>,
    sigma: Option<f64>,
) -> Result<Shape, SpreadError> {
    let p50 = checked(p50)?;
    if p50 == 0.0 {
        return Err(SpreadError::Shape("a log-normal spread has a `p50` above 0; write 0 alone for none"));
    }
    let sigma = match (sigma, p95) {
        (Some(sigma), None) => checked(sigma)?,
        (None, Some(p95)) if p95 >= p50 => (p95 / p50).ln() / Z95,
        (None, Some(_)) => return Err(SpreadError::Shape("`p95` is below `p50`")),
        _ => return Err(SpreadError::Shape("beside `p50` stands `p95` or `sigma`")),
    };
    let beyond = match (p99, p95) {
        (None, _) => sigma,
        (Some(p99), Some(p95)) if p99 >= p95 => (checked(p99)? / p95).ln() / (Z99 - Z95),
        (Some(_), Some(_)) => return Err(SpreadError::Shape("`p99` is below `p95`")),
        (Some(_), None) => return Err(SpreadError::Shape("beside `p99` stands `p95`")),
    };
    Ok(Shape::LogNormal { p50, sigma, beyond })
}

fn weighted(values: Vec<f64>, weights: Option<Vec<f64>>) -> Result<Shape, SpreadError> {
    let weights = weights.unwrap_or_else(|| vec![1.0; values.len()]);
    if values.is_empty() || weights.len() != values.len() {
        return Err(SpreadError::Shape("`values` are one or more, with as many `weights`, or none"));
    }
    let mut pairs = values
        .into_iter()
        .zip(weights)
        .map(|(value, weight)| Ok((checked(value)?, checked(weight)?)))
        .collect::<Result<Vec<_>, SpreadError>>()?;
    let total: f64 = pairs.iter().map(|(_, weight)| weight).sum();
    if total <= 0.0 {
        return Err(SpreadError::Shape("one of the `weights` is above 0"));
    }
    pairs.retain(|(_, weight)| *weight > 0.0);
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut up_to = 0.0;
    for (_, weight) in &mut pairs {
        up_to += *weight / total;
        *weight = up_to;
    }
    Ok(Shape::Values(pairs))
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Reads a spread in any of its forms.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Spread;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a table like { p50 = 400, p95 = 1200 }")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Spread, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Spread, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Spread, E> {
        checked(value).map(Spread::always).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Spread, E> {
        number(text).map(Spread::always).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Spread, A::Error> {
        let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        table.spread().map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(written: serde_json::Value) -> Result<Spread, String> {
        serde_json::from_value(written).map_err(|error| error.to_string())
    }

    fn values(written: serde_json::Value, units: &[f64]) -> Vec<u64> {
        let spread = read(written).unwrap();
        units.iter().map(|unit| spread.count(*unit)).collect()
    }

    #[test]
    fn percentiles_are_where_they_are_written() {
        let units = [0.5, 0.95, 0.99];
        assert_eq!(values(json!({ "p50": 400, "p95": 1200, "p99": 5000 }), &units), [400, 1200, 5000]);
        assert_eq!(values(json!({ "p50": 400, "p95": 1200 }), &units[..2]), [400, 1200]);
        assert_eq!(values(json!({ "p50": 100, "sigma": 0 }), &units), [100, 100, 100]);
        assert_eq!(values(json!({ "uniform": [200, 800] }), &units), [500, 770, 794]);
        assert_eq!(values(json!({ "exponential": 1000 }), &units), [693, 2996, 4605]);
        assert_eq!(values(json!({ "values": [7, 3], "weights": [1, 9] }), &[0.0, 0.89, 0.91]), [3, 3, 7]);
        assert_eq!(values(json!("10K"), &units), [10_000, 10_000, 10_000]);
        assert_eq!(values(json!({ "p50": 400, "p95": 1200, "max": 900 }), &units), [400, 900, 900]);
    }

    #[test]
    fn the_mean_is_that_of_many_draws() {
        let spread = read(json!({ "exponential": 1000 })).unwrap();
        assert!((spread.mean() - 1000.0).abs() < 2.0, "{}", spread.mean());
        assert_eq!(Spread::always(5.0).mean(), 5.0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong = [
            json!(-1),
            json!("ten"),
            json!({ "p50": 400 }),
            json!({ "p50": 400, "p95": 300 }),
            json!({ "p50": 0, "p95": 300 }),
            json!({ "uniform": [5, 1] }),
            json!({ "values": [] }),
            json!({ "values": [1], "weights": [0] }),
            json!({ "p50": 1, "sigma": 1, "uniform": [1, 2] }),
            json!({ "p50": 1, "sigma": 1, "min": 3, "max": 2 }),
            json!({ "median": 1 }),
        ];
        let errors: Vec<String> = wrong.into_iter().map(|wrong| read(wrong).unwrap_err()).collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
        `-1` cannot be: write a number of 0 or more
        `ten` is not a number: write 1200, "10K" or "1.5M"
        beside `p50` stands `p95` or `sigma`
        `p95` is below `p50`
        a log-normal spread has a `p50` above 0; write 0 alone for none
        `uniform` is written [least, most]
        `values` are one or more, with as many `weights`, or none
        one of the `weights` is above 0
        write one of `p50` (with `p95` or `sigma`), `uniform`, `exponential`, `values`
        `min` is above `max`
        unknown field `median`, expected one of `p50`, `p95`, `p99`, `sigma`, `uniform`, `exponential`, `values`, `weights`, `min`, `max`
        "#);
    }

    proptest! {
        /// A larger number never gives a smaller value, and every value is a number that can be.
        #[test]
        fn values_ascend(a in 0.0..1.0_f64, b in 0.0..1.0_f64, p50 in 1.0..1e4_f64, more in 1.0..100.0_f64) {
            let (low, high) = (a.min(b), a.max(b));
            let spreads = [
                Spread::log_normal(p50, p50 * more).unwrap(),
                Spread::of_values(vec![p50, more, 3.0]).unwrap(),
                read(json!({ "exponential": p50 })).unwrap(),
                read(json!({ "uniform": [p50, p50 * more] })).unwrap(),
            ];
            for spread in spreads {
                prop_assert!(spread.value(low) <= spread.value(high));
                prop_assert!(spread.value(low) >= 0.0 && spread.value(high).is_finite());
            }
        }
    }
}
