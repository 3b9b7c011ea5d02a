//! Rows of the recorder: traces, answers.
//!
//! Statements only: what is written has been decided, and cleaned, before it comes here.

use super::event::TraceSpec;
use super::last_headers::{LastHeaders, Side};
use crate::content::ContentCache;
use crate::ids::TraceKey;
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
             started_unix_us, started_mono_us, byte_exact, timing, happened_unix_us) \
             VALUES (?1, (SELECT coalesce(max(run), 0) + 1 FROM traces WHERE id = ?1), \
             ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            spec.id.as_str(),
            recorder,
            spec.source.as_str(),
            spec.name,
            spec.agent,
            to_json(serde_json::to_string(&spec.tags)),
            to_json(serde_json::to_string(&spec.command)),
            spec.parent.as_ref().map(|(key, _)| key.0),
            spec.parent.as_ref().map(|(_, why)| why),
            spec.started.unix_us,
            spec.started.mono_us,
            spec.byte_exact,
            spec.timing.as_str(),
            spec.happened_unix_us,
        ])?;
    Ok(TraceKey(connection.last_insert_rowid()))
}

pub(super) fn insert_answer(
    connection: &Connection,
    cache: &mut ContentCache,
    last_headers: &mut LastHeaders,
    call: (TraceKey, &RequestFacts),
    outcome: &Outcome,
) -> rusqlite::Result<()> {
    let (key, facts) = call;
    let (end_us, ending, answer) = match outcome {
        Outcome::InFlight => return Ok(()),
        Outcome::NoResponse { end_us, ending } => (*end_us, ending, None),
        Outcome::Answered(answer) => (answer.end_us, &answer.ending, Some(answer)),
    };
    let (word, error) = ending_columns(ending);
    let (headers, body) = match answer {
        Some(answer) => {
            let side = (Side::Answer, &facts.provider);
            let headers = last_headers.put(side, connection, cache, &answer.headers)?;
            (Some(headers.0), Some(cache.put_blob(connection, &answer.body)?.0))
        }
        None => (None, None),
    };
    connection
        .prepare_cached(
            "INSERT INTO answers (trace, seq, end_us, ending, error, status, head_us, headers, body, chunks) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            key.0,
            facts.seq,
            end_us,
            word,
            error,
            answer.map(|a| a.status),
            answer.map(|a| a.head_us),
            headers,
            body,
            answer.map(|a| encode_chunks(a.head_us, &a.chunks)),
        ])?;
    Ok(())
}

/// Length of each piece, and µs since the piece before it (since the head for the first).
fn encode_chunks(head_us: i64, chunks: &[Chunk]) -> Vec<u8> {
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
