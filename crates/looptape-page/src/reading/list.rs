//! Lists of traces.

use looptape_core::audit::UsualCost;
use looptape_core::cost::Usd;
use looptape_core::view::LsRow;
use looptape_store::{ReadError, Reader, RunCost, TraceFilter, TraceKey, TraceRow};
use serde::Serialize;
use std::collections::BTreeMap;

/// Characters of an id that are shown at least.
const SHORT_ID: usize = 8;
/// Among how many runs of an agent it is seen what is usual.
const COHORT: u32 = 50;

/// A row of a list.
#[derive(Clone, Debug, Serialize)]
pub struct ListedTrace {
    #[serde(flatten)]
    pub row: LsRow,
    /// What finds this very trace.
    pub label: String,
    /// The shortest that does, for people.
    pub short: String,
    /// When its calls were made; of an import that does not say, when it was imported. µs since the Unix epoch.
    pub started_unix_us: i64,
    #[serde(skip)]
    pub key: Option<TraceKey>,
}

/// What the newest runs of an agent cost.
#[derive(Clone, Debug, Serialize)]
pub struct AgentRuns {
    pub agent: String,
    pub median_usd: Option<Usd>,
    /// Oldest first; null where the cost is not known.
    pub costs_usd: Vec<Option<Usd>>,
    /// Of the traces in the list: its place in `costs_usd`, if it is among them, and whether its cost is unusual.
    pub listed: Vec<AmongRuns>,
}

/// A listed trace among the runs of its agent.
#[derive(Clone, Debug, Serialize)]
pub struct AmongRuns {
    pub label: String,
    pub at: Option<usize>,
    /// The robust z-score of its cost, as `audit --top --by anomaly` has it; null for small cohorts, and where most runs cost
    /// the same.
    pub z: Option<f64>,
    pub unusual: bool,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct ListPage {
    pub traces: Vec<ListedTrace>,
    /// Whether there are more after these.
    pub more: bool,
    pub agents: Vec<AgentRuns>,
}

impl ListedTrace {
    pub fn of(reader: &Reader, row: TraceRow) -> Result<Self, ReadError> {
        let short = reader.short_id(&row.id, SHORT_ID)?;
        let short = if row.superseded { format!("{short}#{}", row.run) } else { short };
        let started_unix_us = row.happened_unix_us().unwrap_or(row.started_unix_us);
        let key = Some(row.key);
        Ok(Self { label: row.label(), short, started_unix_us, key, row: reader.ls_row(row)? })
    }
}

impl ListPage {
    /// At most `limit` of the traces that pass; `filter` says nothing of its own about how many.
    pub fn read(reader: &Reader, filter: &TraceFilter, limit: u32) -> Result<Self, ReadError> {
        let filter = TraceFilter { limit: Some(limit.saturating_add(1)), ..filter.clone() };
        let mut rows = reader.traces(&filter)?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let traces: Vec<ListedTrace> =
            rows.into_iter().map(|row| ListedTrace::of(reader, row)).collect::<Result<_, _>>()?;
        let mut by_agent: BTreeMap<&str, Vec<&ListedTrace>> = BTreeMap::new();
        for trace in &traces {
            by_agent.entry(trace.row.agent.as_deref().unwrap_or_default()).or_default().push(trace);
        }
        by_agent.remove("");
        let agents = by_agent.into_iter().map(|(agent, listed)| AgentRuns::read(reader, agent, &listed));
        let agents = agents.collect::<Result<_, _>>()?;
        Ok(Self { agents, traces, more })
    }
}

impl AgentRuns {
    fn read(reader: &Reader, agent: &str, listed: &[&ListedTrace]) -> Result<Self, ReadError> {
        let runs: Vec<RunCost> = reader.costs_of_agent(agent, COHORT)?;
        let costs_usd: Vec<Option<Usd>> = runs.iter().map(|run| run.usd).collect();
        let usual = UsualCost::of(&costs_usd);
        let among = |trace: &&ListedTrace| {
            let cost = trace.row.cost_usd;
            AmongRuns {
                label: trace.label.clone(),
                at: runs.iter().position(|run| Some(run.trace) == trace.key),
                z: cost.and_then(|usd| usual.z(usd)),
                unusual: cost.is_some_and(|usd| usual.stands_out(usd)),
            }
        };
        let listed = listed.iter().map(among).collect();
        Ok(Self { agent: agent.to_owned(), median_usd: usual.median(), costs_usd, listed })
    }
}
