//! The figures of many traces.

use super::{Asked, Failure};
use crate::page::Shared;
use crate::reading::figures::{self, Figures, FiguresError, Fineness, Wanted, window};
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use looptape_core::gates::Gate;
use looptape_core::metrics::{Detail, GroupBy, TallyOptions, TimeUnit};
use looptape_store::{TagFilter, TraceFilter, TraceOrigin};
use serde::Deserialize;
use utoipa::IntoParams;

/// A call is cold after this long without a call to its model.
const IDLE_US: i64 = 300_000_000;

/// Which traces.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichTraces {
    agent: Option<String>,
    agent_version: Option<String>,
    /// A model that a call asked for or was answered by.
    model: Option<String>,
    /// KEY=VALUE, or KEY whatever its value.
    tag: Option<String>,
    /// Only those that started since, in ms since the Unix epoch.
    since: Option<i64>,
    /// Replays too.
    replays: bool,
}

/// What is asked of them.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsQuery {
    /// model, agent, version, tool, tag, tag:KEY, minute, hour, day, phase, kind, stream, input, output
    group_by: Option<String>,
    /// What must hold besides the gates of looptape.toml, such as `retry_rate: value<=0.05`
    gate: Option<String>,
    /// minute, hour, day, or auto for what fits: `over_time` in the answer then has every metric (by the names that gates
    /// have) of each stretch in which a trace began
    over_time: Option<String>,
}

impl StatsQuery {
    fn fineness(&self) -> Result<Option<Fineness>, Failure> {
        let words = "auto, minute, hour or day";
        self.over_time
            .as_deref()
            .filter(|word| !word.is_empty())
            .map(|word| match word {
                "auto" => Ok(Fineness::Fitting),
                _ => TimeUnit::parse(word)
                    .map(Fineness::Stated)
                    .ok_or_else(|| Failure::Invalid(format!("over_time: `{word}` is none of {words}"))),
            })
            .transpose()
    }
}

impl From<FiguresError> for Failure {
    fn from(error: FiguresError) -> Self {
        match error {
            FiguresError::TooFine(_) => Self::Invalid(format!("over_time: {error}")),
            FiguresError::Read(error) => Self::Read(error),
        }
    }
}

impl WhichTraces {
    pub(super) fn filter(&self) -> Result<TraceFilter, Failure> {
        let tag = self.tag.as_deref().map(TagFilter::parse).transpose();
        Ok(TraceFilter {
            agent: self.agent.clone(),
            agent_version: self.agent_version.clone(),
            model: self.model.clone(),
            tags: tag.map_err(|error| Failure::Invalid(error.to_string()))?.into_iter().collect(),
            since_unix_us: self.since.map(|ms| ms.saturating_mul(1000)),
            origin: if self.replays { TraceOrigin::All } else { TraceOrigin::Recordings },
            ..TraceFilter::default()
        })
    }
}

/// Loops per minute, steps, latency, retries, tokens and cost, over many traces, as `looptape stats --json`
#[utoipa::path(get, path = "/stats", params(WhichTraces, StatsQuery), responses((status = 200, body = Object)))]
pub(crate) async fn stats(
    State(shared): State<Shared>,
    Asked(which): Asked<WhichTraces>,
    Asked(query): Asked<StatsQuery>,
) -> Result<Json<Figures>, Failure> {
    let filter = which.filter()?;
    let group_by = query.group_by.as_deref().map(GroupBy::parse).transpose();
    let group_by = group_by.map_err(|error| Failure::Invalid(error.to_string()))?;
    let gate = query.gate.as_deref().map(str::parse::<Gate>).transpose();
    let mut conditions = shared.rules.conditions.clone();
    conditions.gates.extend(gate.map_err(|error| Failure::Invalid(error.to_string()))?);
    let now = Timestamp::now().as_microsecond();
    let over_time = query.fineness()?.map(|fineness| (fineness, now));
    let of_steps = group_by.as_ref().is_some_and(GroupBy::is_of_steps);
    let wanted = Wanted {
        group_by,
        options: TallyOptions {
            idle_us: IDLE_US,
            detail: if of_steps { Detail::Segments } else { Detail::Whole },
        },
        window: window(&filter, now),
        over_time,
        zone: TimeZone::system(),
    };
    let found = shared.readers.read(move |reader| {
        let rows = reader.traces(&filter)?;
        Ok(figures::of(reader, rows, &wanted, &conditions, || {})?)
    });
    Ok(Json(found.await?))
}
