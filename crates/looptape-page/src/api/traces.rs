//! The list of traces.

use super::Failure;
use crate::page::Shared;
use crate::reading::list::{self, ListedTrace};
use axum::Json;
use axum::extract::{Query, State};
use looptape_store::{TagFilter, TraceFilter, TraceOrigin};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Traces on one page of the list if nobody says otherwise.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;

/// Which traces, in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    agent: Option<String>,
    /// A model that a call asked for or was answered by.
    model: Option<String>,
    /// KEY=VALUE, or KEY whatever its value.
    tag: Option<String>,
    /// Replays too.
    replays: bool,
    limit: Option<u32>,
}

/// One page of the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Traces {
    /// As `looptape ls --json`, each with the `label` that finds it.
    #[schema(value_type = Vec<Object>)]
    traces: Vec<ListedTrace>,
    /// Whether there are more after these.
    more: bool,
}

/// Traces, newest first
#[utoipa::path(get, path = "/traces", params(ListQuery), responses((status = 200, body = Traces)))]
pub(crate) async fn list(
    State(shared): State<Shared>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Traces>, Failure> {
    let limit = query.limit.unwrap_or(PAGE).min(LARGEST_PAGE);
    let filter = query.filter(limit)?;
    let read = shared.readers.read(move |reader| Ok(list::page(reader, &filter, limit)?)).await;
    Ok(Json(match read {
        Ok((traces, more)) => Traces { traces, more },
        Err(Failure::NothingRecorded) => Traces { traces: Vec::new(), more: false },
        Err(failure) => return Err(failure),
    }))
}

impl ListQuery {
    /// With one more than asked for, to know whether there are more.
    fn filter(&self, limit: u32) -> Result<TraceFilter, Failure> {
        let tag = self.tag.as_deref().map(TagFilter::parse).transpose();
        Ok(TraceFilter {
            limit: Some(limit + 1),
            agent: self.agent.clone(),
            model: self.model.clone(),
            tags: tag.map_err(|error| Failure::Invalid(error.to_string()))?.into_iter().collect(),
            origin: if self.replays { TraceOrigin::All } else { TraceOrigin::Recordings },
            ..TraceFilter::default()
        })
    }
}
