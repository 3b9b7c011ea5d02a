//! The list of traces.

use super::{Asked, Failure};
use crate::page::Shared;
use crate::reading::list::{AgentRuns, ListPage, ListedTrace};
use crate::reading::search::{self, Searched};
use axum::Json;
use axum::extract::State;
use looptape_core::assembly::LoopOutcome;
use looptape_core::view::TraceStatus;
use looptape_store::{Direction, OrderBy, Reader, TagFilter, TraceFilter, TraceOrder, TraceOrigin};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

/// Traces on one page of the list if nobody says otherwise.
const PAGE: u32 = 100;
const LARGEST_PAGE: u32 = 1000;
/// How long one request looks for a text, and for how many traces.
const SEARCH_TIME: Duration = Duration::from_secs(1);
const MOST_FOUND: usize = 50;

/// Which traces, in which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Found in its id, name, agent, version, tags, command or models.
    text: Option<String>,
    agent: Option<String>,
    /// A model that a call asked for or was answered by.
    model: Option<String>,
    /// KEY=VALUE, or KEY whatever its value.
    tag: Option<String>,
    /// success, failure, abandoned, unknown.
    outcome: Option<String>,
    /// complete, incomplete, aborted, recording.
    status: Option<String>,
    /// Started at or after, ms since the Unix epoch.
    since: Option<f64>,
    /// Started before, ms since the Unix epoch.
    before: Option<f64>,
    /// Replays too.
    replays: bool,
    /// time (the default), cost, steps, duration, retries.
    sort: Option<String>,
    /// down (the default: the newest, the most) or up.
    order: Option<String>,
    offset: u32,
    /// 100 if it is not said, at most 1000.
    limit: Option<u32>,
}

/// Where to go on looking for a text.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct GoOn {
    /// With `offset`: the `next_call` of the answer before.
    call: u32,
}

/// One page of the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Traces {
    /// As `looptape ls --json`, each with the `label` that finds it.
    #[schema(value_type = Vec<Object>)]
    traces: Vec<ListedTrace>,
    /// Whether there are more after these.
    more: bool,
    /// The newest runs of their agents: what they cost, and which of these are unusual.
    #[schema(value_type = Vec<Object>)]
    agents: Vec<AgentRuns>,
}

/// Traces, newest first if nothing else is said
#[utoipa::path(get, path = "/traces", params(ListQuery), responses((status = 200, body = Traces)))]
pub(crate) async fn list(
    State(shared): State<Shared>,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Traces>, Failure> {
    let limit = query.limit.unwrap_or(PAGE).min(LARGEST_PAGE);
    let filter = query.filter()?;
    let read = shared.readers.read(move |reader| Ok(ListPage::read(reader, &filter, limit)?)).await;
    Ok(Json(match read {
        Ok(ListPage { traces, more, agents }) => Traces { traces, more, agents },
        Err(Failure::NothingRecorded) => Traces { traces: Vec::new(), more: false, agents: Vec::new() },
        Err(failure) => return Err(failure),
    }))
}

/// Traces in whose messages the text is
///
/// Nothing is indexed: the traces that pass the other filters are read call by call, until a second is over. To go on, ask again
/// with `next` as `offset` and `next_call` as `call`.
#[utoipa::path(get, path = "/search", params(ListQuery, GoOn), responses((status = 200, body = Object), (status = 400)))]
pub(crate) async fn search(
    State(shared): State<Shared>,
    Asked(mut query): Asked<ListQuery>,
    Asked(GoOn { call }): Asked<GoOn>,
) -> Result<Json<Searched>, Failure> {
    let text =
        said(query.text.take()).ok_or_else(|| Failure::Invalid("text: say what to look for".to_owned()))?;
    let filter = query.filter()?;
    let read = move |reader: &Reader| {
        let started = Instant::now();
        let is_enough = |found| found >= MOST_FOUND || started.elapsed() >= SEARCH_TIME;
        Ok(search::search(reader, &filter, &text, call, is_enough)?)
    };
    match shared.readers.read(read).await {
        Ok(searched) => Ok(Json(searched)),
        Err(Failure::NothingRecorded) => Ok(Json(Searched::NOTHING)),
        Err(failure) => Err(failure),
    }
}

impl ListQuery {
    fn filter(self) -> Result<TraceFilter, Failure> {
        let order = self.in_order()?;
        let invalid = |what: &str, is: &str, words: &str| {
            Failure::Invalid(format!("`{is}` is no {what}: write one of {words}"))
        };
        let outcome = said(self.outcome).map(|word| {
            let words = "success, failure, abandoned, unknown";
            LoopOutcome::parse(&word).ok_or_else(|| invalid("outcome", &word, words))
        });
        let status = said(self.status).map(|word| {
            let words = "complete, incomplete, aborted, recording";
            TraceStatus::parse(&word).ok_or_else(|| invalid("status", &word, words))
        });
        let tag = said(self.tag)
            .map(|text| TagFilter::parse(&text).map_err(|error| Failure::Invalid(format!("tag: {error}"))));
        let us = |ms: f64| (ms * 1000.0) as i64;
        Ok(TraceFilter {
            limit: None,
            offset: self.offset,
            order,
            text: said(self.text),
            outcome: outcome.transpose()?,
            before_unix_us: self.before.map(us),
            since_unix_us: self.since.map(us),
            agent: said(self.agent),
            agent_version: None,
            model: said(self.model),
            tags: tag.transpose()?.into_iter().collect(),
            status: status.transpose()?,
            origin: if self.replays { TraceOrigin::All } else { TraceOrigin::Recordings },
        })
    }

    fn in_order(&self) -> Result<TraceOrder, Failure> {
        let by = match self.sort.as_deref() {
            None | Some("" | "time") => OrderBy::Start,
            Some("cost") => OrderBy::Cost,
            Some("steps") => OrderBy::Steps,
            Some("duration") => OrderBy::Duration,
            Some("retries") => OrderBy::Retries,
            Some(other) => {
                let words = "time, cost, steps, duration, retries";
                return Err(Failure::Invalid(format!("sort: `{other}` is none of {words}")));
            }
        };
        let direction = match self.order.as_deref() {
            None | Some("" | "down") => Direction::Down,
            Some("up") => Direction::Up,
            Some(other) => return Err(Failure::Invalid(format!("order: `{other}` is neither down nor up"))),
        };
        Ok(TraceOrder { by, direction })
    }
}

/// An empty box of a form says nothing.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
