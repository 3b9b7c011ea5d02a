//! A trace as a cassette holds it.

use super::{ReadError, Reader, TraceRow};
use crate::ids::TraceKey;
use looptape_core::TraceId;
use looptape_core::cassette::{Cassette, Files, TapedCall, TapedEnd, TapedParent, TapedTrace, Writer};
use looptape_core::replay::Provenance;
use rusqlite::OptionalExtension;
use std::collections::BTreeMap;

/// Whether a cassette says where its run took place: the machine, the user, the folder, the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    Kept,
    LeftOut,
}

impl Reader {
    /// The files of a trace's cassette. `progress` is told (done, total) after each call.
    pub fn cassette(
        &self,
        row: &TraceRow,
        surroundings: Surroundings,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Files, ReadError> {
        let mut taped = self.taped(row)?;
        if surroundings == Surroundings::LeftOut {
            taped.environment = None;
        }
        let mut writer = Writer::new(taped);
        let (seqs, provenance) = (self.seqs(row.key)?, super::replayed::provenances(&self.connection, row)?);
        for (seq, done) in seqs.iter().zip(1..) {
            writer.add(&self.taped_call(row.key, *seq, &provenance)?);
            progress(done, seqs.len() as u64);
        }
        writer.add_tools(self.measured_tools(row.key)?);
        Ok(writer.finish())
    }

    /// The trace of a cassette, if it is there: the same id, begun and ended at the same times, with the same calls
    /// at the same times. What was redacted since then makes no other trace of it.
    pub fn find_taped(&self, cassette: &Cassette) -> Result<Option<TraceRow>, ReadError> {
        let taped = cassette.trace();
        let mut statement = self
            .connection
            .prepare_cached("SELECT key FROM traces WHERE id = ?1 AND started_unix_us = ?2 ORDER BY run")?;
        let keys = statement
            .query_map((taped.id.as_str(), taped.started_unix_us), |row| row.get(0).map(TraceKey))?
            .collect::<Result<Vec<_>, _>>()?;
        for key in keys {
            let trace = self.load(self.row(key)?)?;
            let intervals = trace.facts.iter().map(|facts| (facts.seq, facts.sent_us, facts.end_us));
            let ended_us = trace.row.end.as_ref().map(|end| end.ended_us);
            let is_same_end = ended_us == taped.end.as_ref().map(|end| end.ended_us);
            if is_same_end && intervals.eq(cassette.intervals()) {
                return Ok(Some(trace.row));
            }
        }
        Ok(None)
    }

    fn taped(&self, row: &TraceRow) -> Result<TapedTrace, ReadError> {
        let parent = row.parent.as_ref();
        let parent = parent.and_then(|(trace, why)| {
            Some(TapedParent { trace: TraceId::parse(trace).ok()?, why: why.clone() })
        });
        let end = match &row.end {
            None => None,
            Some(end) => Some(TapedEnd {
                ended_us: end.ended_us,
                idle: end.idle,
                exit_code: end.exit_code,
                aborted: self.aborted(row.key)?,
                outcome: end.outcome,
            }),
        };
        Ok(TapedTrace {
            id: row.id.clone(),
            source: row.source.clone(),
            name: row.name.clone(),
            labels: row.labels(),
            command: row.command.clone(),
            parent,
            started_unix_us: row.started_unix_us,
            timing: row.timing,
            happened_unix_us: row.happened_unix_us,
            byte_exact: row.byte_exact,
            environment: self.environment(row.key)?,
            end,
            gaps: self.gaps(row.key)?,
        })
    }

    fn taped_call(
        &self,
        trace: TraceKey,
        seq: u32,
        provenance: &BTreeMap<u32, Provenance>,
    ) -> Result<TapedCall, ReadError> {
        let (exchange, loop_hint) = self.exchange_and_hint(trace, seq)?;
        let import_index = self.import_index(trace, seq)?;
        let upstream = self.asked_upstream(trace, seq)?;
        let provenance = provenance.get(&seq).copied();
        Ok(TapedCall { exchange, loop_hint, import_index, provenance, upstream })
    }

    fn import_index(&self, trace: TraceKey, seq: u32) -> Result<Option<u32>, ReadError> {
        Ok(self
            .connection
            .prepare_cached("SELECT import_index FROM calls WHERE trace = ?1 AND seq = ?2")?
            .query_row((trace.0, seq), |row| row.get(0))?)
    }

    /// Why a run was broken off, if it was.
    fn aborted(&self, trace: TraceKey) -> Result<Option<String>, ReadError> {
        let mut statement =
            self.connection.prepare_cached("SELECT aborted FROM trace_ends WHERE trace = ?1")?;
        Ok(statement.query_row([trace.0], |row| row.get(0)).optional()?.flatten())
    }

    /// What a trace lacks, and how often.
    fn gaps(&self, trace: TraceKey) -> Result<BTreeMap<String, u64>, ReadError> {
        let mut statement =
            self.connection.prepare_cached("SELECT reason, count FROM trace_gaps WHERE trace = ?1")?;
        let gaps = statement.query_map([trace.0], |row| {
            let count: i64 = row.get(1)?;
            Ok((row.get(0)?, count.unsigned_abs()))
        })?;
        Ok(gaps.collect::<Result<_, _>>()?)
    }
}
