//! Two traces side by side.

use super::{Asked, Failure, find};
use crate::page::Shared;
use crate::reading::diff::{compare, recording_of};
use axum::Json;
use axum::extract::State;
use looptape_core::diff::{Options, TraceDiff};
use looptape_core::text_diff::Extent;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which traces.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffQuery {
    a: String,
    /// Without it, A is compared with the trace that it was made from: a replay with its recording.
    b: Option<String>,
    /// Texts whole, and not only the changes with what is around them.
    #[serde(default)]
    whole: bool,
}

/// What one run did that the other did not, as `looptape diff --json`
#[utoipa::path(get, path = "/diff", params(DiffQuery), responses((status = 200, body = Object)))]
pub(crate) async fn diff(
    State(shared): State<Shared>,
    Asked(query): Asked<DiffQuery>,
) -> Result<Json<TraceDiff>, Failure> {
    let not_masked = shared.rules.not_masked.clone();
    let found = shared.readers.read(move |reader| {
        let a = find(reader, &query.a)?;
        let pair = match &query.b {
            Some(b) => (a, find(reader, b)?),
            None => match recording_of(reader, &a)? {
                Some(recording) => (recording, a),
                None => {
                    let say = format!(
                        "trace {} was not made from another one: name the trace to compare it with",
                        a.label()
                    );
                    return Err(Failure::Invalid(say));
                }
            },
        };
        let extent = if query.whole { Extent::Whole } else { Extent::Cut };
        Ok(compare(reader, pair, Options { extent, ..Options::default() }, not_masked)?)
    });
    Ok(Json(found.await?))
}
