//! What lists show of a trace.
//!
//! Summing up a trace means assembling its calls; that is done once, when the trace ends, and kept. A trace
//! that is still open, or was summed up by an older looptape or at other prices, is assembled when it is listed.

use super::load::load_facts;
use super::{ReadError, Reader, RecordedTrace, TraceEnd, TraceRow, TraceStatus, replayed};
use crate::ids::TraceKey;
use looptape_core::TraceId;
use looptape_core::assembly::{Assembly, LoopOutcome, Recording, Timing, TraceEnding, TraceSpan, assemble};
use looptape_core::cost::{PriceBook, Usd};
use looptape_core::facts::{CallFacts, DERIVATION};
use looptape_core::metrics::{Measured, Ms, TraceMetrics};
use looptape_core::view::{self, LsRow, ParentTrace, TraceMeta};
use rusqlite::{Connection, OptionalExtension, params};

impl TraceRow {
    /// What assembly needs to know besides the calls.
    pub fn span(&self) -> TraceSpan {
        match &self.end {
            Some(end) => end.span(self.timing),
            None => TraceSpan {
                started_us: 0,
                ending: TraceEnding::Open,
                timing: self.timing,
                stated_outcome: None,
            },
        }
    }

    /// When its calls were made, µs since the Unix epoch, as far as that is known.
    pub fn happened_unix_us(&self) -> Option<i64> {
        match self.timing {
            Timing::Measured => Some(self.started_unix_us),
            _ => self.happened_unix_us,
        }
    }

    /// Whether it was read from another tool's recording.
    pub fn is_import(&self) -> bool {
        self.source == "import"
    }

    /// What views show of the trace itself.
    pub fn meta(&self) -> TraceMeta {
        let parent = self
            .parent
            .as_ref()
            .and_then(|(id, why)| Some(ParentTrace { trace: TraceId::parse(id).ok()?, why: why.clone() }));
        TraceMeta {
            id: self.id.clone(),
            name: self.name.clone(),
            agent: self.agent.clone(),
            agent_version: self.agent_version.clone(),
            tags: self
                .tags
                .iter()
                .map(|(k, v)| if v.is_empty() { k.clone() } else { format!("{k}={v}") })
                .collect(),
            started_unix_us: Some(self.happened_unix_us().unwrap_or(self.started_unix_us)),
            status: match self.status {
                TraceStatus::Complete => view::TraceStatus::Complete,
                TraceStatus::Incomplete(_) => view::TraceStatus::Incomplete,
                TraceStatus::Aborted(_) => view::TraceStatus::Aborted,
                TraceStatus::Recording => view::TraceStatus::Recording,
            },
            status_reasons: self.status.reasons().to_vec(),
            parent,
        }
    }
}

impl TraceEnd {
    /// What assembly needs to know of a trace that ended so.
    pub(crate) fn span(&self, timing: Timing) -> TraceSpan {
        let ending = match self.idle {
            true => TraceEnding::Idle { at_us: self.ended_us },
            false => TraceEnding::Closed { at_us: self.ended_us },
        };
        let by_exit_code = |code| if code == 0 { LoopOutcome::Success } else { LoopOutcome::Failure };
        let stated_outcome = self.outcome.or_else(|| self.exit_code.map(by_exit_code));
        TraceSpan { started_us: 0, ending, timing, stated_outcome }
    }
}

impl RecordedTrace {
    /// Steps, loops and lanes alone: prices and figures take longer.
    pub fn assemble(&self) -> Assembly {
        assemble(self.recording(), &self.row.span())
    }

    /// Assembles, prices and measures the trace.
    pub fn measure(&self) -> Measured {
        replayed::measured(&self.row, self.recording(), &self.provenance, &self.prices)
    }

    fn recording(&self) -> Recording<'_> {
        Recording { facts: &self.facts, tools: &self.tools }
    }
}

impl Reader {
    /// The list row of a trace.
    pub fn ls_row(&self, row: TraceRow) -> Result<LsRow, ReadError> {
        if row.end.is_some()
            && let Some(kept) = self.kept_ls_row(&row)?
        {
            return Ok(kept);
        }
        let meta = row.meta();
        let metrics = self.load(row)?.measure().metrics;
        Ok(view::ls_row(meta, &metrics))
    }

    fn kept_ls_row(&self, row: &TraceRow) -> Result<Option<LsRow>, ReadError> {
        let blank = view::ls_row(row.meta(), &Measured::of(&[], row.span(), None, self.prices()).metrics);
        Ok(self
            .connection
            .prepare_cached(
                "SELECT steps, llm_calls, tool_calls, attempts, retries, duration_us, cost_usd, cost_at_least, \
                 outcome, models FROM trace_facts \
                 WHERE trace = ?1 AND derivation = ?2 AND prices = ?3 AND outcome IS NOT NULL",
            )?
            .query_row(params![row.key.0, DERIVATION, self.prices().version()], |r| {
                let steps: u32 = r.get(0)?;
                let retries: u32 = r.get(4)?;
                Ok(LsRow {
                    steps,
                    llm_calls: r.get(1)?,
                    tool_calls: r.get(2)?,
                    attempts: r.get(3)?,
                    retry_rate: (steps > 0).then(|| f64::from(retries) / f64::from(steps)),
                    duration_ms: r.get::<_, Option<i64>>(5)?.map(Ms::from_us),
                    cost_usd: r.get::<_, Option<f64>>(6)?.and_then(Usd::from_f64),
                    cost_at_least: r.get(7)?,
                    outcome: LoopOutcome::parse(&r.get::<_, String>(8)?).unwrap_or(LoopOutcome::Unknown),
                    models: serde_json::from_str(&r.get::<_, String>(9)?).unwrap_or_default(),
                    ..blank
                })
            })
            .optional()?)
    }
}

/// Sums a recording up when it ends; with it, when its calls were made.
pub(crate) fn sum_up(
    connection: &Connection,
    key: TraceKey,
    recording: Recording<'_>,
    (span, happened_unix_us): (TraceSpan, Option<i64>),
    prices: &PriceBook,
) -> rusqlite::Result<TraceMetrics> {
    let metrics = Measured::of_spent(recording, span, happened_unix_us, prices, |_| true).metrics;
    insert(connection, key, &metrics, recording.facts, prices)?;
    Ok(metrics)
}

/// Sums a trace up when it ends, from its rows; `None` where some call of it has no end.
pub(crate) fn sum_up_rows(
    connection: &Connection,
    row: &TraceRow,
    prices: &PriceBook,
) -> rusqlite::Result<Option<TraceMetrics>> {
    // Every call that ended has its facts; one that did not end is not summed up here but when listed.
    let (facts, all) = load_facts(connection, row.key)?;
    if !all {
        return Ok(None);
    }
    let provenances = replayed::provenances(connection, row)?;
    let tools = super::tools::facts(connection, row.key)?;
    let recording = Recording { facts: &facts, tools: &tools };
    let metrics = replayed::measured(row, recording, &provenances, prices).metrics;
    insert(connection, row.key, &metrics, &facts, prices)?;
    Ok(Some(metrics))
}

fn insert(
    connection: &Connection,
    key: TraceKey,
    m: &TraceMetrics,
    facts: &[CallFacts],
    prices: &PriceBook,
) -> rusqlite::Result<()> {
    let models: Vec<&str> = m.models().collect();
    let mut answered_by: Vec<&str> = Vec::new();
    for model in facts.iter().flat_map(|fact| [&fact.model, &fact.response_model]).flatten() {
        if !models.contains(&model.as_str()) && !answered_by.contains(&model.as_str()) {
            answered_by.push(model);
        }
    }
    let json = |names: &[&str]| serde_json::to_string(names).expect("strings are JSON");
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO trace_facts (trace, derivation, steps, llm_calls, tool_calls, attempts, \
             retries, duration_us, cost_usd, cost_at_least, prices, outcome, models, answered_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            key.0,
            DERIVATION,
            m.steps,
            m.attempts,
            m.tool_calls,
            m.attempts,
            m.retries,
            m.time.duration_ms.map(Ms::us),
            m.cost_usd.map(Usd::as_f64),
            m.cost_at_least,
            prices.version(),
            m.outcome.as_str(),
            json(&models),
            json(&answered_by),
        ])?;
    Ok(())
}
