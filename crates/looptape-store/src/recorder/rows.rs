//! Rows of the recorder: traces, their ends and gaps.
//!
//! Statements only: what is written has been decided, and cleaned, before it comes here.

use super::event::TraceSpec;
use super::gaps::Reasons;
use crate::ids::TraceKey;
use crate::reader::TraceEnd;
use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use rusqlite::{Connection, params};

/// Where a trace's id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdIs {
    /// No other trace has it.
    MadeUp,
    /// A trace that has it already is an earlier run.
    Given,
}

/// The row of a trace.
pub(super) fn insert_trace(
    connection: &Connection,
    recorder: i64,
    spec: &TraceSpec,
    id: IdIs,
) -> rusqlite::Result<TraceKey> {
    let to_json = |value: serde_json::Result<String>| value.expect("strings and maps of strings are JSON");
    let known_run = (id == IdIs::MadeUp).then_some(1);
    let mut insert = connection.prepare_cached(
        "INSERT INTO traces (id, run, recorder, source, name, agent, tags, command, parent, parent_why, \
         started_unix_us, started_mono_us, byte_exact, timing, happened_unix_us, agent_version) \
         VALUES (?1, coalesce(?16, (SELECT coalesce(max(run), 0) + 1 FROM traces WHERE id = ?1)), \
         ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    insert.execute(params![
        spec.id.as_str(),
        recorder,
        spec.source.as_str(),
        spec.name,
        spec.agent(),
        to_json(serde_json::to_string(&spec.labels.tags)),
        to_json(serde_json::to_string(&spec.command)),
        spec.parent.as_ref().map(|(key, _)| key.0),
        spec.parent.as_ref().map(|(_, why)| why),
        spec.started.unix_us,
        spec.started.mono_us,
        spec.byte_exact,
        spec.timing.as_str(),
        spec.happened_unix_us,
        spec.labels.agent_version,
        known_run,
    ])?;
    Ok(TraceKey(connection.last_insert_rowid()))
}

/// What a trace was made from, where that trace need not be in this database.
pub(super) fn store_parent(
    connection: &Connection,
    trace: TraceKey,
    parent: &TraceId,
    why: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE traces SET parent_id = ?2, parent_why = ?3 WHERE key = ?1")?
        .execute(params![trace.0, parent.as_str(), why])?;
    Ok(())
}

/// What a trace whose row is there is called now.
pub(super) fn relabel(connection: &Connection, key: TraceKey, spec: &TraceSpec) -> rusqlite::Result<()> {
    let tags = serde_json::to_string(&spec.labels.tags).expect("maps of strings are JSON");
    connection
        .prepare_cached("UPDATE traces SET agent = ?2, agent_version = ?3, tags = ?4 WHERE key = ?1")?
        .execute(params![key.0, spec.agent(), spec.labels.agent_version, tags])?;
    Ok(())
}

/// Where a trace's run takes place.
pub(super) fn store_environment(
    connection: &Connection,
    trace: TraceKey,
    environment: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO trace_environment (trace, environment) VALUES (?1, ?2)")?
        .execute(params![trace.0, environment])?;
    Ok(())
}

/// The closing row.
pub(super) fn insert_end(
    connection: &Connection,
    key: TraceKey,
    end: &TraceEnd,
    aborted: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO trace_ends (trace, ended_us, idle, exit_code, aborted, outcome) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            key.0,
            end.ended_us,
            end.idle,
            end.exit_code,
            aborted,
            end.outcome.map(LoopOutcome::as_str),
        ])?;
    Ok(())
}

/// What a trace lacks, added to what is known to be missing.
pub(super) fn insert_gaps(
    connection: &Connection,
    trace: TraceKey,
    reasons: &Reasons,
) -> rusqlite::Result<()> {
    for (reason, &count) in reasons {
        connection
            .prepare_cached(
                "INSERT INTO trace_gaps (trace, reason, count) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (trace, reason) DO UPDATE SET count = count + excluded.count",
            )?
            .execute(params![trace.0, reason, count as i64])?;
    }
    Ok(())
}
