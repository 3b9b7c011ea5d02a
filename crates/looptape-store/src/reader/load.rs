//! Reading the calls of a trace: their facts, and their bytes.

use super::{ReadError, Reader, RequestTail, TraceRow, replayed};
use crate::facts_row;
use crate::ids::{BlobId, TraceKey};
use bytes::Bytes;
use looptape_core::composition::{Mark, RequestParts};
use looptape_core::cost::PriceBook;
use looptape_core::derive;
use looptape_core::exchange::{Answer, Chunk, Ending, Exchange, Outcome};
use looptape_core::facts::{AskedUpstream, CallFacts};
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_core::replay::Provenance;
use looptape_core::tools::ToolFacts;
use looptape_core::{Digest, varint};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::BTreeMap;

/// A trace with the facts of its calls, in start order.
#[derive(Clone, Debug)]
pub struct RecordedTrace {
    pub row: TraceRow,
    pub facts: Vec<CallFacts>,
    /// Tool calls of which somebody said what became of them, in the order in which they became known.
    pub tools: Vec<ToolFacts>,
    /// For imports: each call's place in its file.
    pub import_indices: Vec<Option<u32>>,
    /// For replays: where each call's answer came from, by its `seq`.
    pub provenance: BTreeMap<u32, Provenance>,
    /// What its costs are made with.
    pub prices: PriceBook,
}

/// What came back for a call, and when it had been asked for.
#[derive(Clone, Debug)]
pub struct Response {
    /// When the request had been read and was about to be sent, µs on the trace's clock.
    pub sent_us: i64,
    pub outcome: Outcome,
}

const EXCHANGE_COLUMNS: &str = "seq, sent_us, sent_unix_us, provider, method, path, request_headers, \
     request_skeleton, request_heads, end_us, ending, error, status, head_us, headers, body, chunks, loop_hint, \
     request_blake3";

/// A row of [`EXCHANGE_COLUMNS`] before its content is looked up.
struct ExchangeRow {
    seq: u32,
    sent_us: i64,
    sent_unix_us: i64,
    provider: String,
    method: String,
    path: String,
    headers: BlobId,
    skeleton: BlobId,
    heads: Vec<u8>,
    end: Option<EndRow>,
    loop_hint: Option<String>,
    digest: Vec<u8>,
}

struct EndRow {
    end_us: i64,
    ending: String,
    error: Option<String>,
    head: Option<HeadRow>,
}

struct HeadRow {
    status: u16,
    head_us: i64,
    headers: BlobId,
    body: BlobId,
    chunks: Vec<u8>,
}

impl Reader {
    /// A trace and the facts of its calls. Facts that an older looptape derived, or that were never
    /// written because the recorder was killed, are derived now.
    pub fn load(&self, row: TraceRow) -> Result<RecordedTrace, ReadError> {
        let mut statement = self.connection.prepare_cached(&calls_sql("trace = ?1"))?;
        let mut rows = statement.query([row.key.0])?;
        let mut calls = Calls::default();
        while let Some(r) = rows.next()? {
            calls.add(self, row.key, r)?;
        }
        let Calls { facts, import_indices, .. } = calls;
        let provenance = replayed::provenances(&self.connection, &row)?;
        let tools = super::tools::facts(&self.connection, row.key)?;
        let prices = self.prices().clone();
        Ok(RecordedTrace { row, facts, tools, import_indices, provenance, prices })
    }

    /// The sequence numbers of a trace's calls, in start order.
    pub fn seqs(&self, trace: TraceKey) -> Result<Vec<u32>, ReadError> {
        let mut statement =
            self.connection.prepare_cached("SELECT seq FROM calls WHERE trace = ?1 ORDER BY seq")?;
        Ok(statement.query_map([trace.0], |r| r.get(0))?.collect::<Result<_, _>>()?)
    }

    /// One call with all its bytes.
    pub fn exchange(&self, trace: TraceKey, seq: u32) -> Result<Exchange, ReadError> {
        Ok(self.exchange_and_hint(trace, seq)?.0)
    }

    /// One call's request: its headers, and its body as it was sent.
    pub fn request(&self, trace: TraceKey, seq: u32) -> Result<(RedactedHeaders, Bytes), ReadError> {
        let row = self.exchange_row(trace, seq)?;
        let headers =
            self.headers(row.headers)?.ok_or(ReadError::Damaged { seq, what: "request headers" })?;
        Ok((headers, self.request_body(&row)?))
    }

    /// When one call's request was sent, and what came back.
    pub fn response(&self, trace: TraceKey, seq: u32) -> Result<Response, ReadError> {
        let row = self.exchange_row(trace, seq)?;
        Ok(Response { sent_us: row.sent_us, outcome: self.outcome_of(seq, row.end)? })
    }

    /// What came back for one call, without its request.
    pub fn outcome(&self, trace: TraceKey, seq: u32) -> Result<Outcome, ReadError> {
        let row = self.exchange_row(trace, seq)?;
        self.outcome_of(seq, row.end)
    }

    /// The end of one call's request body as it was sent: at least its last `elements` messages, with what
    /// stands beside them. Costs as much as is asked for, however long the history is. The hash of each
    /// piece is checked, that of the whole body is not.
    pub fn request_tail(
        &self,
        trace: TraceKey,
        seq: u32,
        elements: usize,
    ) -> Result<(RedactedHeaders, RequestTail), ReadError> {
        let row = self.exchange_row(trace, seq)?;
        let damaged = |what| ReadError::Damaged { seq, what };
        let headers = self.headers(row.headers)?.ok_or(damaged("request headers"))?;
        let tail =
            self.bodies.borrow_mut().join_tail(&self.connection, row.skeleton, &row.heads, elements)?;
        Ok((headers, tail.ok_or(damaged("request body"))?))
    }

    /// A call's request body as it was sent, without the middle of the array of one of its members, which has
    /// at least its first element and its last `elements`. Costs the same however long that array is. The
    /// hash of each piece is checked, that of the whole body is not.
    pub fn request_ends(
        &self,
        trace: TraceKey,
        seq: u32,
        member: &str,
        elements: usize,
    ) -> Result<(RedactedHeaders, RequestTail), ReadError> {
        let row = self.exchange_row(trace, seq)?;
        let damaged = |what| ReadError::Damaged { seq, what };
        let headers = self.headers(row.headers)?.ok_or(damaged("request headers"))?;
        let mut bodies = self.bodies.borrow_mut();
        let ends = bodies.join_ends(&self.connection, row.skeleton, &row.heads, member, elements)?;
        Ok((headers, ends.ok_or(damaged("request body"))?))
    }

    /// A call's request body with its content encoding undone and the array of one of its members apart: of
    /// that, only what comes after the beginning that the caller knows. Costs the same however long the array
    /// is. The hash of each piece is checked, that of the whole body is not.
    pub fn request_parts(
        &self,
        trace: TraceKey,
        seq: u32,
        member: &str,
        is_known: &dyn Fn(Mark) -> bool,
    ) -> Result<RequestParts, ReadError> {
        let row = self.exchange_row(trace, seq)?;
        let damaged = |what| ReadError::Damaged { seq, what };
        let headers = self.headers(row.headers)?.ok_or(damaged("request headers"))?;
        let mut bodies = self.bodies.borrow_mut();
        let apart = bodies.join_apart(&self.connection, row.skeleton, &row.heads, member, is_known)?;
        let parts = apart.ok_or(damaged("request body"))?;
        // An encoded body is stored as one piece, so all of it is the rest.
        let rest = derive::decode_body(&headers, &parts.rest, &[]).bytes;
        Ok(RequestParts { rest, ..parts })
    }

    pub(super) fn exchange_and_hint(
        &self,
        trace: TraceKey,
        seq: u32,
    ) -> Result<(Exchange, Option<String>), ReadError> {
        let row = self.exchange_row(trace, seq)?;
        let hint = row.loop_hint.clone();
        Ok((self.materialise(row)?, hint))
    }

    fn exchange_row(&self, trace: TraceKey, seq: u32) -> Result<ExchangeRow, ReadError> {
        let sql = format!("SELECT {EXCHANGE_COLUMNS} FROM calls WHERE trace = ?1 AND seq = ?2");
        self.connection
            .prepare_cached(&sql)?
            .query_row([trace.0, i64::from(seq)], exchange_row)
            .optional()?
            .ok_or(ReadError::Damaged { seq, what: "row" })
    }

    fn derive(&self, trace: TraceKey, seq: u32) -> Result<CallFacts, ReadError> {
        let (exchange, loop_hint) = self.exchange_and_hint(trace, seq)?;
        let mut facts = derive::request(
            &exchange.provider,
            &exchange.method,
            &exchange.path,
            &exchange.request_headers,
            &exchange.request_body,
        );
        facts.seq = exchange.seq;
        facts.sent_us = exchange.sent_us;
        facts.loop_hint = loop_hint;
        let upstream = self.asked_upstream(trace, seq)?;
        Ok(CallFacts { upstream, ..derive::call(&facts, &exchange.outcome) })
    }

    /// Which of several upstreams a call was sent to.
    pub(super) fn asked_upstream(
        &self,
        trace: TraceKey,
        seq: u32,
    ) -> Result<Option<AskedUpstream>, ReadError> {
        Ok(self
            .connection
            .prepare_cached("SELECT upstream, superseded FROM calls WHERE trace = ?1 AND seq = ?2")?
            .query_row((trace.0, seq), |row| Ok(facts_row::asked_upstream(row.get(0)?, row.get(1)?)))?)
    }

    fn materialise(&self, row: ExchangeRow) -> Result<Exchange, ReadError> {
        let seq = row.seq;
        let damaged = |what| ReadError::Damaged { seq, what };
        let request_body = self.request_body(&row)?;
        let outcome = self.outcome_of(seq, row.end)?;
        Ok(Exchange {
            seq,
            sent_us: row.sent_us,
            sent_unix_us: row.sent_unix_us,
            provider: Provider::parse(&row.provider).ok_or(damaged("provider"))?,
            method: row.method,
            path: row.path,
            request_headers: self.headers(row.headers)?.ok_or(damaged("request headers"))?,
            request_body,
            outcome,
        })
    }

    fn request_body(&self, row: &ExchangeRow) -> Result<Bytes, ReadError> {
        let joined = self.bodies.borrow_mut().join(&self.connection, row.skeleton, &row.heads)?;
        let intact = joined.filter(|body| Digest::of(body).0[..] == row.digest);
        intact.ok_or(ReadError::Damaged { seq: row.seq, what: "request body" })
    }

    fn outcome_of(&self, seq: u32, end: Option<EndRow>) -> Result<Outcome, ReadError> {
        let damaged = |what| ReadError::Damaged { seq, what };
        Ok(match end {
            None => Outcome::InFlight,
            Some(end) => {
                let ending = ending(&end.ending, end.error).ok_or(damaged("ending"))?;
                match end.head {
                    None => Outcome::NoResponse { end_us: end.end_us, ending },
                    Some(head) => Outcome::Answered(Answer {
                        status: head.status,
                        headers: self.headers(head.headers)?.ok_or(damaged("response headers"))?,
                        body: self.blob(head.body)?.ok_or(damaged("response body"))?,
                        chunks: decode_chunks(head.head_us, &head.chunks).ok_or(damaged("chunk table"))?,
                        head_us: head.head_us,
                        end_us: end.end_us,
                        ending,
                    }),
                }
            }
        })
    }

    pub(super) fn digest_of(&self, id: BlobId) -> rusqlite::Result<Option<Digest>> {
        self.bodies.borrow_mut().digest(&self.connection, id)
    }

    fn blob(&self, id: BlobId) -> rusqlite::Result<Option<Bytes>> {
        self.bodies.borrow_mut().blob(&self.connection, id)
    }

    fn headers(&self, id: BlobId) -> rusqlite::Result<Option<RedactedHeaders>> {
        Ok(self.blob(id)?.and_then(|bytes| RedactedHeaders::decode(&bytes)))
    }
}

/// The calls of traces, as they were read.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) facts: Vec<CallFacts>,
    pub(super) import_indices: Vec<Option<u32>>,
    /// When the pieces of each body came, if that was asked for.
    pub(super) pieces_us: Vec<Vec<i64>>,
}

impl Calls {
    /// Adds a row of [`calls_sql`]; what no current version derived is derived now.
    pub(super) fn add(&mut self, reader: &Reader, trace: TraceKey, row: &Row<'_>) -> Result<(), ReadError> {
        self.import_indices.push(row.get(facts_row::COUNT + 1)?);
        self.facts.push(match facts_row::read_current(row)? {
            Some(known) => known,
            None => reader.derive(trace, row.get(0)?)?,
        });
        Ok(())
    }

    /// Adds when the pieces of the same row's body came. Times that cannot be read are left out: they are no
    /// reason not to measure the rest.
    pub(super) fn add_pieces(&mut self, row: &Row<'_>) -> Result<(), ReadError> {
        let head_us = self.facts.last().and_then(|facts| facts.head_us);
        let chunks = row.get_ref(facts_row::COUNT + 3)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
        let pieces = head_us.zip(chunks).and_then(|(head_us, bytes)| decode_chunks(head_us, bytes));
        self.pieces_us.push(pieces.unwrap_or_default().iter().map(|piece| piece.at_us).collect());
        Ok(())
    }

    pub(super) fn trace_of(row: &Row<'_>) -> Result<TraceKey, ReadError> {
        Ok(TraceKey(row.get(facts_row::COUNT + 2)?))
    }
}

/// Calls of the traces for which `which` holds: the columns of their facts, then the facts' derivation, the place in
/// an imported file, the trace, and the pieces of the body.
pub(super) fn calls_sql(which: &str) -> String {
    format!(
        "SELECT {}, derivation, import_index, trace, chunks FROM calls WHERE {which} ORDER BY trace, seq",
        facts_row::COLUMNS
    )
}

/// The facts of a trace that are there, and whether that is all of them.
pub(super) fn load_facts(
    connection: &Connection,
    trace: TraceKey,
) -> rusqlite::Result<(Vec<CallFacts>, bool)> {
    let mut statement = connection.prepare_cached(&calls_sql("trace = ?1"))?;
    let mut rows = statement.query([trace.0])?;
    let (mut facts, mut all) = (Vec::new(), true);
    while let Some(row) = rows.next()? {
        match facts_row::read_current(row)? {
            Some(known) => facts.push(known),
            None => all = false,
        }
    }
    Ok((facts, all))
}

fn exchange_row(r: &Row<'_>) -> rusqlite::Result<ExchangeRow> {
    let head = match r.get::<_, Option<u16>>(12)? {
        None => None,
        Some(status) => Some(HeadRow {
            status,
            head_us: r.get(13)?,
            headers: BlobId(r.get(14)?),
            body: BlobId(r.get(15)?),
            chunks: r.get(16)?,
        }),
    };
    let end = match r.get::<_, Option<i64>>(9)? {
        None => None,
        Some(end_us) => Some(EndRow { end_us, ending: r.get(10)?, error: r.get(11)?, head }),
    };
    Ok(ExchangeRow {
        seq: r.get(0)?,
        sent_us: r.get(1)?,
        sent_unix_us: r.get(2)?,
        provider: r.get(3)?,
        method: r.get(4)?,
        path: r.get(5)?,
        headers: BlobId(r.get(6)?),
        skeleton: BlobId(r.get(7)?),
        heads: r.get(8)?,
        end,
        loop_hint: r.get(17)?,
        digest: r.get(18)?,
    })
}

pub(super) fn ending(word: &str, error: Option<String>) -> Option<Ending> {
    let error = error.unwrap_or_default();
    Some(match word {
        "complete" => Ending::Complete,
        "upstream_reset" => Ending::UpstreamReset { error },
        "upstream_unreachable" => Ending::UpstreamUnreachable { error },
        "client_gone" => Ending::ClientGone,
        _ => return None,
    })
}

pub(crate) fn decode_chunks(head_us: i64, mut bytes: &[u8]) -> Option<Vec<Chunk>> {
    let mut chunks = Vec::new();
    let mut at_us = head_us;
    while !bytes.is_empty() {
        let len = u32::try_from(varint::read(&mut bytes)?).ok()?;
        at_us = at_us.checked_add_unsigned(varint::read(&mut bytes)?)?;
        chunks.push(Chunk { at_us, len });
    }
    Some(chunks)
}
