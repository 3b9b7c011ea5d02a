//! Load runs: what came of each, and the traces of their loops.

use looptape_store::{LoadRunRow, ReadError, Reader};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
        let report = reader.load_run(&row.id)?.map(|(_, report)| report).unwrap_or_default();
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

/// What of a report a list needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gist {
    time: Option<String>,
    total: Total,
    /// Of a search.
    loops_per_min: Option<f64>,
    gates: Option<Gates>,
    client: Option<Client>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Total {
    loops: Option<Loops>,
    loops_per_min: Option<f64>,
    retry_rate: Option<f64>,
    cost_usd: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Loops {
    offered: Option<u32>,
    success: u32,
    failure: u32,
}

#[derive(Debug, Deserialize)]
struct Gates {
    passed: bool,
}

#[derive(Debug, Deserialize)]
struct Client {
    invalid_because: Vec<String>,
}

impl ListedRun {
    fn of(row: LoadRunRow, report: &str) -> Self {
        let LoadRunRow { id, kind, scenario, started_unix_us } = row;
        // What a later version wrote otherwise is not known here; its run is listed all the same.
        let Gist { time, total, loops_per_min, gates, client } =
            serde_json::from_str(report).unwrap_or_default();
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
