//! Calls of a replay that are recorded ones once more: rows are copied, no body is looked at.
//!
//! What is its own of such a call is when it happened and what headers it had. All else is the recorded
//! call's, by reference to the same content; its facts are the recorded ones with their times moved. Facts of
//! an older derivation are not copied: they are made when somebody reads the call.
//!
//! A recorded call that is gone (pruned meanwhile) is a gap of the replay.

use super::State;
use crate::facts_row;
use crate::ids::TraceKey;
use crate::reader::decode_chunks;
use crate::recorder::call_rows::{encode_chunks, write_facts};
use crate::recorder::event::{CallId, RecordedCallRef, RepeatedCall, RepeatedEnd};
use crate::recorder::last_headers::Side;
use crate::recorder::open_trace::{OpenCall, OpenRequest, Origin, TraceNumber};
use looptape_core::exchange::Chunk;
use looptape_core::facts::CallFacts;
use looptape_core::replay::{Provenance, Rung};
use rusqlite::{Connection, OptionalExtension, params};

/// The reason of the gap that a missing recorded call leaves.
pub(crate) const GONE: &str = "the recorded call that was replayed is gone: it is missing here";

impl State {
    pub(super) fn begin_repeat(
        &mut self,
        connection: &Connection,
        call: CallId,
        repeat: RepeatedCall,
    ) -> rusqlite::Result<()> {
        let Some(number) = self.traces.of_id(&repeat.trace) else { return Ok(()) };
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let side = (Side::Request, &repeat.provider);
        let scrubber = &self.intake.scrubber;
        let headers = &mut self.intake.last_headers;
        let retry_count = repeat.headers.get("x-stainless-retry-count").and_then(|n| n.parse().ok());
        let clean = headers.clean(scrubber, side, &mut trace.vault, &repeat.credentials, repeat.headers);
        let headers = headers.put(side, connection, &mut self.cache, &clean)?;
        let (seq, sent_us) = (trace.next_seq, repeat.at.mono_us - trace.spec.started.mono_us);
        let copied = connection
            .prepare_cached(
                "INSERT INTO calls (trace, seq, sent_us, sent_unix_us, provider, method, path, loop_hint, \
                 import_index, request_headers, request_skeleton, request_heads, request_blake3, request_size) \
                 SELECT ?1, ?2, ?3, ?4, provider, method, path, loop_hint, NULL, ?5, request_skeleton, \
                 request_heads, request_blake3, request_size FROM calls WHERE trace = ?6 AND seq = ?7",
            )?
            .execute(params![
                key.0,
                seq,
                sent_us,
                repeat.at.unix_us,
                headers.0,
                repeat.of.trace.0,
                repeat.of.seq
            ])?;
        if copied == 0 {
            self.gaps.add(number, GONE);
            return Ok(());
        }
        trace.next_seq += 1;
        trace.last_activity_mono_us = repeat.at.mono_us;
        self.batch.begun.push(call);
        let served = Provenance::Cached { recorded_seq: repeat.of.seq, rung: Rung::Bytes };
        insert_provenance(connection, (key, seq), &served)?;
        if self.ended_early.remove(&call) {
            return Ok(());
        }
        trace.open_calls += 1;
        let request = OpenRequest::Repeats {
            of: repeat.of,
            provider: repeat.provider,
            credentials: repeat.credentials,
            sent_us,
            retry_count,
        };
        self.calls.insert(call, OpenCall { trace: number, origin: Origin::Named, seq, request });
        Ok(())
    }

    /// The recorded answer was sent whole.
    pub(super) fn end_repeat(
        &mut self,
        connection: &Connection,
        call: CallId,
        end: &RepeatedEnd,
    ) -> rusqlite::Result<()> {
        let Some((open, key)) = self.take_call(call) else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(open.trace) else { return Ok(()) };
        let OpenRequest::Repeats { of, sent_us, retry_count, .. } = open.request else { return Ok(()) };
        let start = trace.spec.started.mono_us;
        let chunks: Vec<Chunk> = end.chunks.iter().map(|c| Chunk { at_us: c.at_us - start, ..*c }).collect();
        let (head_us, end_us) = (end.head_mono_us - start, end.end_mono_us - start);
        let copied = connection
            .prepare_cached(
                "UPDATE calls SET (end_us, ending, error, status, head_us, headers, body, chunks) = \
                 (?3, of.ending, of.error, of.status, ?4, of.headers, of.body, ?5) FROM calls AS of \
                 WHERE calls.trace = ?1 AND calls.seq = ?2 AND of.trace = ?6 AND of.seq = ?7 \
                 AND of.ending IS NOT NULL",
            )?
            .execute(params![
                key.0,
                open.seq,
                end_us,
                head_us,
                encode_chunks(head_us, &chunks),
                of.trace.0,
                of.seq
            ])?;
        if copied == 0 {
            self.gaps.add(open.trace, GONE);
            return Ok(());
        }
        trace.last_activity_mono_us = end.end_mono_us;
        if let Some((facts, recorded_chunks)) = recorded_facts(connection, of)?
            && let Some(mut facts) = moved(facts, &recorded_chunks, &chunks)
        {
            facts.seq = open.seq;
            facts.sent_us = sent_us;
            facts.head_us = Some(head_us);
            facts.end_us = Some(end_us);
            facts.retry_count = retry_count;
            write_facts(connection, (key, open.seq), &facts)?;
        }
        self.batch.ended += 1;
        Ok(())
    }

    pub(super) fn provenance(
        &self,
        connection: &Connection,
        call: CallId,
        provenance: &Provenance,
    ) -> rusqlite::Result<()> {
        let Some(open) = self.calls.get(&call) else { return Ok(()) };
        match self.key_of(open.trace) {
            Some(key) => insert_provenance(connection, (key, open.seq), provenance),
            None => Ok(()),
        }
    }

    fn key_of(&self, number: TraceNumber) -> Option<TraceKey> {
        self.traces.get(number)?.key
    }
}

fn insert_provenance(
    connection: &Connection,
    (trace, seq): (TraceKey, u32),
    provenance: &Provenance,
) -> rusqlite::Result<()> {
    let recorded = provenance.recorded();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO replay_calls (trace, seq, source, recorded_seq, rung, reason) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            trace.0,
            seq,
            provenance.source().as_str(),
            recorded.map(|(seq, _)| seq),
            recorded.map(|(_, rung)| rung.number()),
            provenance.reason(),
        ])?;
    Ok(())
}

/// The facts of a recorded call and the pieces of its answer; `None` if this version has not derived them.
fn recorded_facts(
    connection: &Connection,
    of: RecordedCallRef,
) -> rusqlite::Result<Option<(CallFacts, Vec<Chunk>)>> {
    let sql =
        format!("SELECT {}, derivation, chunks FROM calls WHERE trace = ?1 AND seq = ?2", facts_row::COLUMNS);
    let read = |row: &rusqlite::Row<'_>| {
        let Some(facts) = facts_row::read_current(row)? else { return Ok(None) };
        let chunks: Option<Vec<u8>> = row.get("chunks")?;
        let chunks = chunks.and_then(|chunks| decode_chunks(facts.head_us.unwrap_or(0), &chunks));
        Ok(Some((facts, chunks.unwrap_or_default())))
    };
    Ok(connection.prepare_cached(&sql)?.query_row(params![of.trace.0, of.seq], read).optional()?.flatten())
}

/// Facts whose moments, each the arrival of a piece, are those at which the same piece was sent now.
fn moved(mut facts: CallFacts, recorded: &[Chunk], now: &[Chunk]) -> Option<CallFacts> {
    if recorded.len() != now.len() {
        return None;
    }
    let of_piece = |at_us: Option<i64>| match at_us {
        None => Some(None),
        Some(at_us) => {
            let piece = recorded.iter().position(|chunk| chunk.at_us == at_us)?;
            Some(Some(now[piece].at_us))
        }
    };
    facts.first_event_us = of_piece(facts.first_event_us)?;
    facts.first_reasoning_us = of_piece(facts.first_reasoning_us)?;
    facts.first_content_us = of_piece(facts.first_content_us)?;
    facts.first_tool_call_us = of_piece(facts.first_tool_call_us)?;
    facts.last_output_us = of_piece(facts.last_output_us)?;
    Some(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use looptape_core::derive;
    use looptape_core::exchange::Outcome;
    use looptape_core::headers::RedactedHeaders;
    use looptape_core::provider::Provider;

    fn unanswered() -> CallFacts {
        let (headers, body) = (RedactedHeaders::default(), Bytes::from_static(b"{}"));
        let request = derive::request(&Provider::OPENAI, "POST", "/v1/chat/completions", &headers, &body);
        derive::call(&request, &Outcome::InFlight)
    }

    fn chunks(at_us: &[i64]) -> Vec<Chunk> {
        at_us.iter().map(|&at_us| Chunk { at_us, len: 3 }).collect()
    }

    #[test]
    fn moments_move_with_their_pieces() {
        let facts = CallFacts {
            first_event_us: Some(10),
            first_content_us: Some(20),
            last_output_us: Some(30),
            ..unanswered()
        };
        let now = moved(facts.clone(), &chunks(&[10, 20, 30]), &chunks(&[5, 6, 6])).unwrap();
        assert_eq!(
            (now.first_event_us, now.first_content_us, now.last_output_us),
            (Some(5), Some(6), Some(6))
        );
        assert_eq!(now.first_tool_call_us, None);
        assert!(moved(facts.clone(), &chunks(&[10, 20]), &chunks(&[5, 6, 6])).is_none(), "other pieces");
        assert!(moved(facts, &chunks(&[10, 20, 31]), &chunks(&[5, 6, 6])).is_none(), "no such piece");
    }
}
