//! Why a run cost what it cost, and which runs to look at.

use super::stats::WhichTraces;
use super::{Asked, Failure, find};
use crate::page::Shared;
use crate::reading::audit::{AuditError, Audited, audited, ranked};
use crate::reading::baseline::{LATEST_RUNS, median, named};
use axum::Json;
use axum::extract::{Path, State};
use looptape_core::audit::{Baseline, RankBy, RankedTrace};
use looptape_core::view::LsRow;
use looptape_store::{Reader, RecordedTrace, TraceFilter};
use serde::Deserialize;
use utoipa::IntoParams;

/// Runs in a ranking if nobody says otherwise.
const MOST_RANKED: usize = 20;
/// Of how many of the latest runs a ranking is, if nobody says otherwise: each has to be read and priced.
const LATEST_RANKED: u32 = 500;

/// What to compare with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// A trace; without it, the run of median cost among the latest of the same agent.
    baseline: Option<String>,
    /// Priced at this model's prices as well.
    at: Option<String>,
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Why a run cost what it cost, as `looptape audit --json`
#[utoipa::path(get, path = "/traces/{trace}/audit", params(("trace" = String, Path), AuditQuery), responses((status = 200, body = Object)))]
pub(crate) async fn audit(
    State(shared): State<Shared>,
    Path(trace): Path<String>,
    Asked(query): Asked<AuditQuery>,
) -> Result<Json<Audited>, Failure> {
    let found = shared.readers.read(move |reader| {
        let trace = reader.load(find(reader, &trace)?)?;
        let baseline = baseline(reader, &trace, query.baseline.as_deref())?;
        let models: Vec<String> = query.at.into_iter().collect();
        Ok(audited(reader, &trace, &models, baseline)?)
    });
    Ok(Json(found.await?))
}

/// What was asked for, or the median; or why there is none.
fn baseline(
    reader: &Reader,
    trace: &RecordedTrace,
    name: Option<&str>,
) -> Result<Result<Option<Baseline>, String>, Failure> {
    let Some(name) = name else { return Ok(median(reader, trace, LATEST_RUNS)?.map(Some)) };
    match named(reader, find(reader, name)?)? {
        Some(baseline) => Ok(Ok(Some(baseline))),
        None => {
            let say = format!("the cost of trace {name} is not known, so there is nothing to compare with");
            Err(Failure::Invalid(say))
        }
    }
}

/// How to rank.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RankQuery {
    /// cost, anomaly, waste
    by: Option<String>,
    most: Option<usize>,
    /// Among how many of the latest runs [default: 500].
    latest: Option<u32>,
}

/// Which runs to look at, as `looptape audit --top --json`
#[utoipa::path(get, path = "/audit", params(RankQuery, WhichTraces), responses((status = 200, body = Vec<Object>)))]
pub(crate) async fn ranking(
    State(shared): State<Shared>,
    Asked(query): Asked<RankQuery>,
    Asked(which): Asked<WhichTraces>,
) -> Result<Json<Vec<RankedTrace<LsRow>>>, Failure> {
    let by = match query.by.as_deref().unwrap_or("cost") {
        "cost" => RankBy::Cost,
        "anomaly" => RankBy::Anomaly,
        "waste" => RankBy::Waste,
        other => {
            return Err(Failure::Invalid(format!("`{other}`: runs are ranked by cost, anomaly or waste")));
        }
    };
    let limit = Some(query.latest.unwrap_or(LATEST_RANKED));
    let filter = TraceFilter { limit, ..which.filter()? };
    let most = query.most.unwrap_or(MOST_RANKED);
    let found =
        shared.readers.read(move |reader| Ok(ranked(reader, reader.traces(&filter)?, by, most, || {})?));
    Ok(Json(found.await?))
}
