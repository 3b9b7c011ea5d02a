//! The rows of calls: gathered while a batch is worked off, written at its end.
//!
//! A call that begins and ends in one batch is written once. One that goes on has its row all the same, so
//! that a crash leaves evidence of it; its end is added later.
//!
//! Statements only: what is written has been decided, and cleaned, before it comes here.

use super::event::CallId;
use super::intake::StoredRequest;
use super::open_trace::TraceNumber;
use crate::facts_row;
use crate::ids::{BlobId, TraceKey};
use foldhash::HashMap;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::facts::{AnswerFate, AskedUpstream, CallFacts};
use looptape_core::provider::Provider;
use looptape_core::varint;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Statement};

/// What a transaction is to write of calls.
#[derive(Default)]
pub(super) struct CallRows {
    begun: Vec<(RequestRow, Option<EndRow>)>,
    /// Where in `begun` the calls are whose end has not come.
    open: HashMap<CallId, usize>,
    /// Ends of calls whose rows are written.
    later: Vec<(TraceKey, u32, EndRow)>,
}

/// The half that is known when a call begins.
pub(super) struct RequestRow {
    pub(super) trace: TraceKey,
    pub(super) seq: u32,
    pub(super) sent_us: i64,
    pub(super) sent_unix_us: i64,
    pub(super) provider: Provider,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) loop_hint: Option<String>,
    pub(super) import_index: Option<u32>,
    pub(super) stored: StoredRequest,
}

/// The half that is known when it has ended.
pub(super) struct EndRow {
    pub(super) of: TraceNumber,
    pub(super) end_us: i64,
    pub(super) ending: Ending,
    pub(super) answered: Option<AnsweredRow>,
    /// `None`: they are made when somebody reads the call.
    pub(super) facts: Option<Box<CallFacts>>,
    /// Which of several upstreams was asked.
    pub(super) upstream: Option<AskedUpstream>,
}

/// What there is if a response head came.
pub(super) struct AnsweredRow {
    pub(super) status: u16,
    pub(super) head_us: i64,
    pub(super) headers: BlobId,
    pub(super) body: BlobId,
    pub(super) chunks: Vec<u8>,
}

const REQUEST_COLUMNS: &str = "trace, seq, sent_us, sent_unix_us, provider, method, path, loop_hint, import_index, \
     request_headers, request_skeleton, request_heads, request_blake3, request_size";
const END_COLUMNS: &str = "end_us, ending, error, status, head_us, headers, body, chunks, \
     upstream, superseded";

impl CallRows {
    pub(super) fn begin(&mut self, call: CallId, row: RequestRow) {
        self.open.insert(call, self.begun.len());
        self.begun.push((row, None));
    }

    pub(super) fn end(&mut self, call: CallId, (trace, seq): (TraceKey, u32), row: EndRow) {
        match self.open.remove(&call) {
            Some(at) => self.begun[at].1 = Some(row),
            None => self.later.push((trace, seq, row)),
        }
    }

    /// Writes what is gathered, and hands over the facts that were written.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
    ) -> rusqlite::Result<impl Iterator<Item = (TraceNumber, Box<CallFacts>)> + use<>> {
        self.open.clear();
        let begun = std::mem::take(&mut self.begun);
        if begun.iter().any(|(_, end)| end.is_some()) {
            let mut insert = connection.prepare_cached(&insert_sql(&all_columns()))?;
            for (request, end) in begun.iter().filter_map(|(request, end)| Some((request, end.as_ref()?))) {
                let mut binder = Binder::new(&mut insert);
                binder.request(request)?;
                binder.end(end)?;
                binder.execute()?;
            }
        }
        if begun.iter().any(|(_, end)| end.is_none()) {
            let mut insert = connection.prepare_cached(&insert_sql(REQUEST_COLUMNS))?;
            for (request, _) in begun.iter().filter(|(_, end)| end.is_none()) {
                let mut binder = Binder::new(&mut insert);
                binder.request(request)?;
                binder.execute()?;
            }
        }
        let later = std::mem::take(&mut self.later);
        if !later.is_empty() {
            let mut update = connection.prepare_cached(&update_sql(&end_columns()))?;
            for (trace, seq, end) in &later {
                let mut binder = Binder::new(&mut update);
                binder.end(end)?;
                binder.bind(trace.0)?;
                binder.bind(seq)?;
                binder.execute()?;
            }
        }
        let ends = begun.into_iter().filter_map(|(_, end)| end);
        let ends = ends.chain(later.into_iter().map(|(_, _, end)| end));
        Ok(ends.filter_map(|end| Some((end.of, end.facts?))))
    }
}

/// Replaces the facts of a call whose row is written.
pub(super) fn write_facts(
    connection: &Connection,
    (trace, seq): (TraceKey, u32),
    facts: &CallFacts,
) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(&update_sql(facts_row::WRITTEN))?;
    let mut binder = Binder::new(&mut update);
    facts_row::bind(facts, &mut |value| binder.bind(value))?;
    binder.bind(trace.0)?;
    binder.bind(seq)?;
    binder.execute()
}

fn end_columns() -> String {
    format!("{END_COLUMNS}, {}", facts_row::WRITTEN)
}

fn all_columns() -> String {
    format!("{REQUEST_COLUMNS}, {}", end_columns())
}

fn placeholders(columns: &str) -> String {
    vec!["?"; columns.split(',').count()].join(", ")
}

fn insert_sql(columns: &str) -> String {
    format!("INSERT INTO calls ({columns}) VALUES ({})", placeholders(columns))
}

fn update_sql(columns: &str) -> String {
    format!("UPDATE calls SET ({columns}) = ({}) WHERE trace = ? AND seq = ?", placeholders(columns))
}

/// Binds the parameters of a statement in their order.
struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    bound: usize,
}

impl<'a, 'c> Binder<'a, 'c> {
    fn new(statement: &'a mut Statement<'c>) -> Self {
        Self { statement, bound: 0 }
    }

    fn bind(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.bound += 1;
        self.statement.raw_bind_parameter(self.bound, value)
    }

    fn request(&mut self, row: &RequestRow) -> rusqlite::Result<()> {
        self.bind(row.trace.0)?;
        self.bind(row.seq)?;
        self.bind(row.sent_us)?;
        self.bind(row.sent_unix_us)?;
        self.bind(row.provider.as_str())?;
        self.bind(&row.method)?;
        self.bind(&row.path)?;
        self.bind(&row.loop_hint)?;
        self.bind(row.import_index)?;
        self.bind(row.stored.headers.0)?;
        self.bind(row.stored.skeleton.0)?;
        self.bind(&row.stored.heads)?;
        self.bind(&row.stored.digest.0[..])?;
        self.bind(row.stored.size as i64)
    }

    fn end(&mut self, row: &EndRow) -> rusqlite::Result<()> {
        let (word, error) = ending_columns(&row.ending);
        let answered = row.answered.as_ref();
        self.bind(row.end_us)?;
        self.bind(word)?;
        self.bind(error)?;
        self.bind(answered.map(|a| a.status))?;
        self.bind(answered.map(|a| a.head_us))?;
        self.bind(answered.map(|a| a.headers.0))?;
        self.bind(answered.map(|a| a.body.0))?;
        self.bind(answered.map(|a| &a.chunks[..]))?;
        self.bind(row.upstream.as_ref().map(|asked| &asked.url))?;
        let is_superseded = row.upstream.as_ref().is_some_and(|asked| asked.fate == AnswerFate::Superseded);
        self.bind(is_superseded.then_some(true))?;
        match &row.facts {
            Some(facts) => facts_row::bind(facts, &mut |value| self.bind(value)),
            None => facts_row::WRITTEN.split(',').try_for_each(|_| self.bind(None::<i64>)),
        }
    }

    fn execute(self) -> rusqlite::Result<()> {
        self.statement.raw_execute().map(|_| ())
    }
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
