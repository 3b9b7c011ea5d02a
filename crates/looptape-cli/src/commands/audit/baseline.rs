//! What a run is compared with, as the command line names it; and what a file says.

use super::Args;
use crate::exit::UsageError;
use anyhow::{Context, bail};
use looptape_core::audit::{Baseline, BaselineSource, Quantities};
use looptape_core::cost::{LeafCosts, Usd};
use looptape_page::reading::baseline::named;
use looptape_store::cassettes::is_cassette;
use looptape_store::{Reader, TraceRow};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the user chose to compare with.
pub(super) enum Chosen {
    Nothing,
    Median,
    /// A trace of the database, or a cassette.
    Trace(String),
    /// The JSON of `show` or `stats`.
    File(PathBuf),
}

impl Chosen {
    pub(super) fn of(args: &Args) -> Result<Self, UsageError> {
        let Some(name) = &args.baseline else {
            return Ok(if args.no_baseline { Self::Nothing } else { Self::Median });
        };
        let path = PathBuf::from(name);
        if is_cassette(&path) {
            return Ok(Self::Trace(name.clone()));
        }
        if path.is_file() {
            return Ok(Self::File(path));
        }
        match name.ends_with(".json") {
            true => Err(UsageError(format!("--baseline: there is no file {name}"))),
            false => Ok(Self::Trace(name.clone())),
        }
    }

    pub(super) fn trace(&self) -> Option<&str> {
        match self {
            Self::Trace(name) => Some(name),
            Self::Nothing | Self::Median | Self::File(_) => None,
        }
    }
}

/// A trace that the user named.
pub(super) fn trace(reader: &Reader, row: TraceRow, name: &str) -> anyhow::Result<Baseline> {
    match named(reader, row)? {
        Some(baseline) => Ok(baseline),
        None => {
            bail!("--baseline: the cost of trace {name} is not known, so there is nothing to compare with")
        }
    }
}

/// What of the figures of `show` and `stats` a baseline is made of.
#[derive(Debug, Deserialize)]
struct Sums {
    steps: u32,
    attempts: u32,
    tokens: Tokens,
    cost_by_leaf: Option<BTreeMap<String, f64>>,
    #[serde(default)]
    cost_at_least: bool,
    #[serde(default)]
    errors: BTreeMap<String, u32>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    uncached_input: Option<u64>,
    cache_read: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    output_visible: Option<u64>,
    reasoning: Option<u64>,
}

pub(super) fn from_file(path: &Path) -> anyhow::Result<Baseline> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("--baseline: reading {file}"))?;
    let json: Value =
        serde_json::from_str(&text).with_context(|| format!("--baseline: {file} is not JSON"))?;
    let of_trace = json.pointer("/trace/metrics");
    let of_many = json.get("traces").and_then(Value::as_u64);
    let (sums, runs) = match (of_trace, of_many) {
        (Some(metrics), _) => (metrics, 1),
        (None, Some(traces)) => (&json, u32::try_from(traces).unwrap_or(u32::MAX)),
        (None, None) => bail!(
            "--baseline: {file} is neither the JSON of `looptape show TRACE --json` nor that of `looptape stats --json`"
        ),
    };
    let sums = Sums::deserialize(sums).with_context(|| format!("--baseline: {file} lacks figures"))?;
    let Some(usd) = sums.usd().filter(|_| runs > 0) else {
        bail!("--baseline: {file} states no cost, so there is nothing to compare with");
    };
    let quantities = sums.quantities(runs, &usd);
    let trace = json.pointer("/trace/id").and_then(Value::as_str).map(str::to_owned);
    let source = match of_trace {
        Some(_) => BaselineSource::File { file, trace },
        None => BaselineSource::FileMean { file, runs },
    };
    Ok(Baseline { source, quantities, at_least: sums.cost_at_least })
}

impl Sums {
    fn usd(&self) -> Option<LeafCosts> {
        let by_leaf = self.cost_by_leaf.as_ref()?;
        let usd = |leaf: &str| by_leaf.get(leaf).copied().and_then(Usd::from_f64).unwrap_or_default();
        Some(LeafCosts {
            uncached_input: usd("uncached_input"),
            cache_read: usd("cache_read"),
            cache_write_5m: usd("cache_write_5m"),
            cache_write_1h: usd("cache_write_1h"),
            output_visible: usd("output_visible"),
            reasoning: usd("reasoning"),
            web_search: usd("web_search"),
            other: usd("other"),
        })
    }

    fn quantities(&self, runs: u32, usd: &LeafCosts) -> Quantities {
        // What was refused with a status was not billed.
        let refused: u32 =
            self.errors.iter().filter(|(kind, _)| kind.starts_with("http_")).map(|(_, n)| n).sum();
        let tokens = &self.tokens;
        let leaves = [
            tokens.uncached_input,
            tokens.cache_read,
            tokens.cache_write_5m,
            tokens.cache_write_1h,
            tokens.output_visible,
            tokens.reasoning,
        ];
        let leaves = leaves.map(|tokens| tokens.unwrap_or(0) as f64);
        let attempts = self.attempts.saturating_sub(refused);
        Quantities::of_sums(runs, f64::from(self.steps), f64::from(attempts), leaves, usd)
    }
}
