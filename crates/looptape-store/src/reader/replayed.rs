//! Where the answers of a replay's calls came from.

use super::TraceRow;
use looptape_core::assembly::Recording;
use looptape_core::cost::PriceBook;
use looptape_core::metrics::Measured;
use looptape_core::replay::{AnswerSource, Provenance, Rung};
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;

/// Provenance by a call's `seq`; empty for what is no replay.
pub(super) type Provenances = BTreeMap<u32, Provenance>;

/// What is written down of a trace. Words of a newer version are passed over: what they mean is not known.
pub(super) fn provenances(connection: &Connection, row: &TraceRow) -> rusqlite::Result<Provenances> {
    if !row.is_replay() {
        return Ok(Provenances::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT seq, source, recorded_seq, rung, reason FROM replay_calls WHERE trace = ?1",
    )?;
    let rows = statement.query_map([row.key.0], |r| Ok((r.get(0)?, provenance(r)?)))?;
    let known = rows.filter_map(|row| row.map(|(seq, known)| Some((seq, known?))).transpose());
    known.collect()
}

fn provenance(r: &Row<'_>) -> rusqlite::Result<Option<Provenance>> {
    let recorded_seq: Option<u32> = r.get(2)?;
    let rung: Option<u8> = r.get(3)?;
    let recorded = recorded_seq.zip(rung.and_then(Rung::of_number));
    let reason: Option<String> = r.get(4)?;
    Ok(Provenance::parse(&r.get::<_, String>(1)?, recorded, reason.as_deref()))
}

/// Assembles, prices and measures a trace. Of a replay only what a provider answered was paid for.
pub(super) fn measured(
    row: &TraceRow,
    recording: Recording<'_>,
    provenances: &Provenances,
    prices: &PriceBook,
) -> Measured {
    let was_paid = |seq| {
        let source = provenances.get(&seq).map(Provenance::source);
        !row.is_replay() || source == Some(AnswerSource::Live)
    };
    Measured::of_paid(recording, row.span(), row.happened_unix_us(), prices, was_paid)
}

impl TraceRow {
    /// Whether it came of replaying another trace.
    pub fn is_replay(&self) -> bool {
        self.source == "replay"
    }
}
