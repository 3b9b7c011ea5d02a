//! Limits as they are written: `[twin.limits]` of a scenario.

use crate::spread::number;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The limits of an account; those that are absent do not apply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a minute.
    pub rpm: Option<Limit>,
    /// Tokens a minute, input and output together, as OpenAI counts them.
    pub tpm: Option<Limit>,
    /// Input tokens a minute, without cache reads, as Anthropic counts them.
    pub itpm: Option<Limit>,
    /// Output tokens a minute, as Anthropic counts them.
    pub otpm: Option<Limit>,
    /// Calls at the same time.
    pub concurrent: Option<Limit>,
    /// Whether a refused request counts as a request.
    pub count_refused: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rpm: None, tpm: None, itpm: None, otpm: None, concurrent: None, count_refused: true }
    }
}

/// A limit: 1 to 100 billion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit(u64);

/// Why a figure is no limit.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a limit is 1 to 100 billion, not {0}; leave it out for none")]
pub struct LimitError(pub f64);

impl Limit {
    pub(super) const MOST: u64 = 100_000_000_000;

    pub fn new(limit: u64) -> Result<Self, LimitError> {
        let is_possible = (1..=Self::MOST).contains(&limit);
        is_possible.then_some(Self(limit)).ok_or(LimitError(limit as f64))
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// A limit that was written as a number.
    pub fn of_number(number: f64) -> Result<Self, LimitError> {
        let is_whole = number.fract() == 0.0 && (1.0..=Self::MOST as f64).contains(&number);
        is_whole.then_some(Self(number as u64)).ok_or(LimitError(number))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Reads a limit: 30000, or "30K".
struct Written;

impl Visitor<'_> for Written {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit such as 30000 or \"30K\"")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Limit, E> {
        Limit::of_number(value as f64).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Limit, E> {
        Limit::new(value).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Limit, E> {
        Limit::of_number(value).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
        let number = number(text).map_err(E::custom)?;
        Limit::of_number(number).map_err(E::custom)
    }
}
