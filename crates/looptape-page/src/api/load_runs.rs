//! Load runs.

use super::Failure;
use crate::page::Shared;
use crate::reading::load_runs::{ListedRun, LoadRun, list, one};
use axum::Json;
use axum::extract::{Path, State};

/// Runs in the list.
const MOST: u32 = 200;

/// Load runs, the latest first
#[utoipa::path(get, path = "/load-runs", responses((status = 200, body = Vec<Object>)))]
pub(crate) async fn load_runs(State(shared): State<Shared>) -> Result<Json<Vec<ListedRun>>, Failure> {
    match shared.readers.read(|reader| Ok(list(reader, MOST)?)).await {
        Err(Failure::NothingRecorded) => Ok(Json(Vec::new())),
        read => Ok(Json(read?)),
    }
}

/// What came of one, as `looptape load --json` printed it
#[utoipa::path(get, path = "/load-runs/{run}", params(("run" = String, Path)), responses((status = 200, body = Object)))]
pub(crate) async fn load_run(
    State(shared): State<Shared>,
    Path(run): Path<String>,
) -> Result<Json<LoadRun>, Failure> {
    let found = shared.readers.read(move |reader| {
        one(reader, &run)?.ok_or_else(|| Failure::NoSuchRun(run.chars().take(40).collect()))
    });
    Ok(Json(found.await?))
}
