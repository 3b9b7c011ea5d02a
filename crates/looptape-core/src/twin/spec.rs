//! The twin as it is written: `[twin]` of a scenario.

use super::fault::Fault;
use crate::limits::Limits;
use crate::spread::Spread;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// What kind of provider the twin is. Everything has a default; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TwinSpec {
    /// From the start of the work on a call to its first token, without what the prompt adds.
    pub ttft_ms: Spread,
    /// Between two tokens; drawn once a call.
    pub tpot_ms: Spread,
    /// What 1,000 tokens of input that were not cached add to the first token.
    #[serde(deserialize_with = "amount")]
    pub prefill_ms_per_1k: f64,
    /// How unequal the gaps of one answer are: 0 for equal ones, 1 at most.
    #[serde(deserialize_with = "share")]
    pub jitter: f64,
    /// Calls that are worked on at the same time; the rest waits.
    pub slots: Option<u32>,
    /// Calls that may wait; more are told that the provider is overloaded.
    pub queue_max: Option<u32>,
    pub cold: Option<ColdStart>,
    pub cache: CacheSpec,
    pub limits: Limits,
    #[serde(alias = "fault")]
    pub faults: Vec<Fault>,
}

/// What idleness costs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdStart {
    /// After so long without work it is cold; before its first call it is too.
    #[serde(deserialize_with = "amount")]
    pub idle_s: f64,
    #[serde(deserialize_with = "amount")]
    pub extra_ms: f64,
}

/// When a prompt's repeated prefix is read from the cache. `ttl_s = 0` is no cache.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSpec {
    /// Shorter prefixes are not cached.
    pub min_tokens: u64,
    /// Prefixes are cached in whole blocks.
    #[serde(deserialize_with = "positive")]
    pub block_tokens: u64,
    /// How long an entry lives after its last use.
    #[serde(deserialize_with = "amount")]
    pub ttl_s: f64,
}

impl Default for TwinSpec {
    fn default() -> Self {
        let spread = |p50, p95| Spread::log_normal(p50, p95).expect("both are above 0 and in order");
        Self {
            ttft_ms: spread(400.0, 1200.0),
            tpot_ms: spread(15.0, 40.0),
            prefill_ms_per_1k: 20.0,
            jitter: 0.5,
            slots: None,
            queue_max: None,
            cold: None,
            cache: CacheSpec::default(),
            limits: Limits::default(),
            faults: Vec::new(),
        }
    }
}

impl Default for CacheSpec {
    /// OpenAI documents 1,024 tokens and more, in steps of 128, for five to ten minutes.
    fn default() -> Self {
        Self { min_tokens: 1024, block_tokens: 128, ttl_s: 300.0 }
    }
}

impl TwinSpec {
    /// The same provider, answering at once: no call waits for anything but a limit.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self {
            ttft_ms: Spread::always(0.0),
            tpot_ms: Spread::always(0.0),
            prefill_ms_per_1k: 0.0,
            cold: None,
            ..self
        }
    }
}

fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    let is_possible = value.is_finite() && value >= 0.0;
    is_possible.then_some(value).ok_or_else(|| D::Error::custom(format!("{value} is not 0 or more")))
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    let is_share = (0.0..=1.0).contains(&value);
    is_share.then_some(value).ok_or_else(|| D::Error::custom(format!("{value} is not between 0 and 1")))
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = u64::deserialize(deserializer)?;
    (value > 0).then_some(value).ok_or_else(|| D::Error::custom("0 tokens are no block: write 1 or more"))
}
