//! Load runs: what came of each, and the traces of their loops.
//!
//! A report is the JSON that its run printed. What is not in it, because it is of another kind or of a later version, is
//! not known here; its run is listed and shown all the same.

use looptape_core::metrics::Percentile;
use looptape_store::{LoadRunRow, ReadError, Reader};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A load run in a list: what one looks for first. What its report does not say is null.
#[derive(Debug, Serialize)]
pub struct ListedRun {
    pub id: String,
    /// run, capacity, vary
    pub kind: &'static str,
    pub scenario: Option<String>,
    pub started_unix_us: i64,
    /// real, virtual
    pub time: Option<String>,
    pub offered: Option<u32>,
    pub success: Option<u32>,
    pub failure: Option<u32>,
    /// Of a run: completed loops a minute; of a search: what the target takes.
    pub loops_per_min: Option<f64>,
    pub retry_rate: Option<f64>,
    pub cost_usd: Option<f64>,
    /// Whether no gate failed.
    pub passed: Option<bool>,
    /// Why the figures are not the target's.
    pub invalid_because: Vec<String>,
}

/// A load run with its report: what `looptape load --json` printed.
#[derive(Debug, Serialize)]
pub struct LoadRun {
    pub id: String,
    pub kind: &'static str,
    pub scenario: Option<String>,
    pub started_unix_us: i64,
    pub report: Box<RawValue>,
}

/// The latest runs first.
pub fn list(reader: &Reader, most: u32) -> Result<Vec<ListedRun>, ReadError> {
    let rows = reader.load_runs(most)?;
    let listed = rows.into_iter().map(|row| {
        let report = match reader.load_run(&row.id) {
            Ok(found) => found.map(|(_, report)| report).unwrap_or_default(),
            // `verify` names it.
            Err(ReadError::DamagedLoadRun { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        Ok(ListedRun::of(row, &report))
    });
    listed.collect()
}

/// The run that a name finds: its id, the beginning of it, or `last`.
pub fn one(reader: &Reader, name: &str) -> Result<Option<LoadRun>, ReadError> {
    let Some((row, report)) = reader.load_run(if name == "last" { "" } else { name })? else {
        return Ok(None);
    };
    let LoadRunRow { id, kind, scenario, started_unix_us } = row;
    let report = RawValue::from_string(report).map_err(|_| ReadError::DamagedLoadRun { id: id.clone() })?;
    Ok(Some(LoadRun { id, kind: kind.as_str(), scenario, started_unix_us, report }))
}

/// What of a report a list and a text need.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Gist {
    pub time: Option<String>,
    pub total: Part,
    pub phases: Vec<Part>,
    /// Of a search.
    pub loops_per_min: Option<f64>,
    pub fails_at_per_min: Option<f64>,
    pub knee_per_min: Option<f64>,
    pub probes: Vec<Probe>,
    /// Of several values.
    pub runs: Vec<Variant>,
    pub gates: Option<Gates>,
    pub client: Option<Client>,
}

/// Figures of a phase, or of a whole run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    pub name: String,
    pub loops: Option<Loops>,
    pub loops_per_min: Option<f64>,
    pub loop_duration_ms: Spread,
    pub retry_rate: Option<f64>,
    pub cost_usd: Option<f64>,
    pub cost_at_least: bool,
}

#[derive(Debug, Deserialize)]
pub struct Loops {
    pub offered: Option<u32>,
    pub success: u32,
    pub failure: u32,
    pub dropped: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Spread {
    pub p50: Option<ReadPercentile>,
    pub p95: Option<ReadPercentile>,
}

/// A percentile in JSON.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ReadPercentile {
    /// Null: longer than any other.
    value: Option<f64>,
    n: usize,
    certified: bool,
}

/// A rate that a search tried.
#[derive(Debug, Deserialize)]
pub struct Probe {
    pub offered_per_min: f64,
    pub goodput_per_min: f64,
    pub holds: bool,
}

/// A run with values of its own.
#[derive(Debug, Deserialize)]
pub struct Variant {
    pub settings: BTreeMap<String, String>,
    pub total: Part,
}

#[derive(Debug, Deserialize)]
pub struct Gates {
    pub passed: bool,
    pub gates: Vec<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub struct Client {
    pub invalid_because: Vec<String>,
}

impl From<ReadPercentile> for Percentile {
    fn from(ReadPercentile { value, n, certified }: ReadPercentile) -> Self {
        Self { value: value.unwrap_or(f64::INFINITY), n, certified }
    }
}

impl Gist {
    pub fn of(report: &str) -> Self {
        serde_json::from_str(report).unwrap_or_default()
    }
}

impl ListedRun {
    fn of(row: LoadRunRow, report: &str) -> Self {
        let LoadRunRow { id, kind, scenario, started_unix_us } = row;
        let Gist { time, total, loops_per_min, gates, client, .. } = Gist::of(report);
        let loops = total.loops.as_ref();
        Self {
            id,
            kind: kind.as_str(),
            scenario,
            started_unix_us,
            time,
            offered: loops.and_then(|loops| loops.offered),
            success: loops.map(|loops| loops.success),
            failure: loops.map(|loops| loops.failure),
            loops_per_min: loops_per_min.or(total.loops_per_min),
            retry_rate: total.retry_rate,
            cost_usd: total.cost_usd,
            passed: gates.map(|gates| gates.passed),
            invalid_because: client.map(|client| client.invalid_because).unwrap_or_default(),
        }
    }
}
