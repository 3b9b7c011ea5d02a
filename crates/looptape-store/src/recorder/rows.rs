//! Rows of the recorder: traces and their ends and gaps, requests, answers.
//!
//! Statements only: what is written has been decided, and cleaned, before it comes here.

use super::event::{BeginCall, TraceSpec};
use super::gaps::Reasons;
use super::intake::StoredRequest;
use super::open_trace::{Closing, ClosingCause, OpenTrace};
use crate::ids::{BlobId, TraceKey};
use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use looptape_core::derive::RequestFacts;
use looptape_core::exchange::{Chunk, Ending, Outcome};
use looptape_core::varint;
use rusqlite::{Connection, params};

pub(super) fn insert_trace(
    connection: &Connection,
    recorder: i64,
    spec: &TraceSpec,
) -> rusqlite::Result<TraceKey> {
    let to_json = |value: serde_json::Result<String>| value.expect("strings and maps of strings are JSON");
    connection
        .prepare_cached(
            "INSERT INTO traces (id, run, recorder, source, name, agent, tags, command, parent, parent_why, \
             started_unix_us, started_mono_us, byte_exact, timing, happened_unix_us, agent_version) \
             VALUES (?1, (SELECT coalesce(max(run), 0) + 1 FROM traces WHERE id = ?1), \
             ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
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

/// The row of a request, written when it starts.
pub(super) fn insert_exchange(
    connection: &Connection,
    (trace, facts): (TraceKey, &RequestFacts),
    begin: &BeginCall,
    clean_path: &str,
    stored: &StoredRequest,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO exchanges (trace, seq, sent_us, sent_unix_us, provider, method, path, loop_hint, \
             import_index, request_headers, request_skeleton, request_heads, request_digest, request_size) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            trace.0,
            facts.seq,
            facts.sent_us,
            begin.at.unix_us,
            begin.provider.as_str(),
            begin.method,
            clean_path,
            facts.loop_hint,
            begin.import_index,
            stored.headers.0,
            stored.skeleton.0,
            stored.heads,
            &stored.digest.0[..],
            stored.size as i64
        ])?;
    Ok(())
}

/// The row of what came back; `content` are the blobs of an answer's headers and body.
pub(super) fn insert_answer(
    connection: &Connection,
    (trace, seq): (TraceKey, u32),
    outcome: &Outcome,
    content: Option<(BlobId, BlobId)>,
) -> rusqlite::Result<()> {
    let (end_us, ending, answer) = match outcome {
        Outcome::InFlight => return Ok(()),
        Outcome::NoResponse { end_us, ending } => (*end_us, ending, None),
        Outcome::Answered(answer) => (answer.end_us, &answer.ending, Some(answer)),
    };
    let (word, error) = ending_columns(ending);
    connection
        .prepare_cached(
            "INSERT INTO answers (trace, seq, end_us, ending, error, status, head_us, headers, body, chunks) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            trace.0,
            seq,
            end_us,
            word,
            error,
            answer.map(|a| a.status),
            answer.map(|a| a.head_us),
            content.map(|(headers, _)| headers.0),
            content.map(|(_, body)| body.0),
            answer.map(|a| encode_chunks(a.head_us, &a.chunks)),
        ])?;
    Ok(())
}

/// The closing row.
pub(super) fn insert_end(
    connection: &Connection,
    key: TraceKey,
    trace: &OpenTrace,
    closing: &Closing,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO trace_ends (trace, ended_us, idle, exit_code, aborted, outcome) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            key.0,
            trace.ended_us(closing),
            closing.cause == ClosingCause::Idle,
            closing.exit_code,
            closing.aborted,
            trace.outcome.map(LoopOutcome::as_str),
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

/// Length of each piece, and µs since the piece before it (since the head for the first).
pub(super) fn encode_chunks(head_us: i64, chunks: &[Chunk]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunks.len() * 3);
    let mut before = head_us;
    for chunk in chunks {
        varint::write(&mut out, u64::from(chunk.len));
        varint::write(&mut out, u64::try_from(chunk.at_us - before).unwrap_or(0));
        before = before.max(chunk.at_us);
    }
    out
}

fn ending_columns(ending: &Ending) -> (&'static str, Option<&str>) {
    match ending {
        Ending::Complete => ("complete", None),
        Ending::UpstreamReset { error } => ("upstream_reset", Some(error)),
        Ending::UpstreamUnreachable { error } => ("upstream_unreachable", Some(error)),
        Ending::ClientGone => ("client_gone", None),
    }
}
