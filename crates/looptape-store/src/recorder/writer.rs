//! The writer thread: takes events in batches, one transaction each.
//!
//! A batch that fails is rolled back whole; every trace in it gets a gap with the cause, ids remembered
//! from it are forgotten, and the next batch is tried as if nothing had happened. So a full disk costs
//! what came while it was full, and says so.

use super::event::{
    BeginCall, CallEnd, CallId, Committed, EndOfTrace, EndTold, Event, Moment, PruneTold, Source, TraceHint,
    TraceSpec,
};
use super::handle::{RecorderReport, Shared};
use super::known::KnownCalls;
use super::open_trace::{
    Closing, ClosingCause, OpenCall, OpenCalls, OpenTrace, OpenTraces, Origin, TraceNumber,
};
use super::scrub::Scrubber;
use super::{Durability, RecorderOptions};
use crate::content::{ContentCache, Freshness};
use crate::database::{OpenError, open_to_write};
use crate::ids::TraceKey;
use crate::liveness::Process;
use crate::{PruneError, Retention, facts_row, gc, reader};
use bytes::Bytes;
use looptape_core::assembly::LoopOutcome;
use looptape_core::exchange::{Answer, Chunk, Ending, Outcome};
use looptape_core::{Digest, TraceId, derive, varint};
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// A batch is committed when it has this many events …
const BATCH_EVENTS: usize = 512;
/// … or this long after its first event, whichever is first; at once if the queue is empty.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// How often idle traces are looked for when nothing happens.
const IDLE_CHECK: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    connection: Connection,
    options: RecorderOptions,
    shared: Arc<Shared>,
    state: State,
}

/// Everything but the connection, so that a transaction can borrow one and change the other.
struct State {
    cache: ContentCache,
    scrubber: Scrubber,
    process: Process,
    /// This recorder's row, once committed.
    recorder: Option<i64>,
    traces: OpenTraces,
    /// Those that take no more calls and have no closing row.
    closing: BTreeSet<TraceNumber>,
    calls: OpenCalls,
    known: KnownCalls,
    report: RecorderReport,
    /// What the transaction under way has made: undone if it fails.
    batch: Batch,
}

#[derive(Default)]
struct Batch {
    opened: Vec<TraceNumber>,
    registered: bool,
    begun: Vec<CallId>,
    touched: BTreeSet<TraceNumber>,
    closed: Vec<TraceNumber>,
    ended: u64,
}

impl Writer {
    pub(super) fn open(options: RecorderOptions, shared: Arc<Shared>) -> Result<Self, OpenError> {
        let synchronous = match options.durability {
            Durability::Relaxed => "NORMAL",
            Durability::Strict => "FULL",
        };
        let connection = open_to_write(&options.database, synchronous)?;
        connection
            .busy_timeout(options.lock_wait)
            .map_err(|source| OpenError::Sqlite { path: options.database.clone(), source })?;
        let cache = ContentCache::new()
            .map_err(|source| OpenError::Create { path: options.database.clone(), source })?;
        let scrubber = Scrubber::new(options.patterns.clone());
        let state = State {
            cache,
            scrubber,
            process: Process::current(),
            recorder: None,
            traces: OpenTraces::default(),
            closing: BTreeSet::new(),
            calls: OpenCalls::new(),
            known: KnownCalls::default(),
            report: RecorderReport::default(),
            batch: Batch::default(),
        };
        Ok(Self { connection, options, shared, state })
    }

    pub(super) fn run(mut self, events: &Receiver<(Event, usize)>) -> RecorderReport {
        let mut finishing = false;
        while !finishing {
            let mut batch = Vec::new();
            match events.recv_timeout(IDLE_CHECK) {
                Ok(first) => {
                    self.collect(first, events, &mut batch);
                    self.take_overflow(&mut batch);
                }
                Err(RecvTimeoutError::Timeout) => self.take_overflow(&mut batch),
                Err(RecvTimeoutError::Disconnected) => finishing = true,
            }
            finishing |= batch.iter().any(|e| matches!(e, Event::Finish));
            self.process(batch);
            self.close_idle();
        }
        self.close_all();
        self.state.report
    }

    /// Fills a batch: what is there already, and what comes within [`BATCH_TIME`] while more waits.
    fn collect(&self, first: (Event, usize), events: &Receiver<(Event, usize)>, batch: &mut Vec<Event>) {
        let started = Instant::now();
        let mut next = Some(first);
        while let Some((event, size)) = next.take() {
            self.shared.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            batch.push(event);
            if batch.len() < BATCH_EVENTS && started.elapsed() < BATCH_TIME {
                next = events.try_recv().ok();
            }
        }
    }

    fn take_overflow(&self, batch: &mut Vec<Event>) {
        if let Ok(mut overflow) = self.shared.overflow.lock() {
            batch.extend(overflow.gaps.drain(..).map(|(call, hint, reason)| Event::Gap {
                call,
                hint,
                reason,
            }));
        }
    }

    fn process(&mut self, batch: Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        let mut rest = VecDeque::from(batch);
        let mut waiting = Waiting::default();
        let outcome = self.transaction(|connection, state| {
            while let Some(event) = rest.pop_front() {
                state.apply(connection, event, &mut waiting)?;
            }
            state.close(connection, CallsUnderWay::Awaited)
        });
        if let Err(error) = &outcome {
            let reason = cause(error);
            rest.into_iter().for_each(|event| self.state.lose(event, &reason, &mut waiting));
        }
        waiting.committed.into_iter().for_each(|tell| tell(outcome.is_ok()));
        if outcome.is_ok() {
            waiting.ended.into_iter().for_each(|(told, what)| told(what));
        }
        for (retention, told) in waiting.prunes {
            told(gc::prune(&mut self.connection, &retention).map_err(PruneError));
        }
        for done in waiting.flushes {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }

    /// Runs `work` in one transaction and mends the memory if it fails.
    fn transaction(
        &mut self,
        work: impl FnOnce(&Connection, &mut State) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let state = &mut self.state;
        state.batch = Batch::default();
        let outcome =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
                if state.cache.refresh(&tx)? == Freshness::Void {
                    state.traces.values_mut().for_each(OpenTrace::forget_content);
                }
                work(&tx, state)?;
                state.write_gaps(&tx)?;
                tx.commit()
            });
        match &outcome {
            Ok(()) => state.committed(),
            Err(error) => state.rolled_back(error),
        }
        outcome
    }

    /// Closes traces that the gateway opened and that have been silent for long.
    fn close_idle(&mut self) {
        let now = Moment::now();
        let limit = i64::try_from(self.options.idle_end.as_micros()).unwrap_or(i64::MAX);
        let idle: Vec<TraceNumber> = self
            .state
            .traces
            .iter()
            .filter(|(_, t)| t.opened_by_call && t.open_calls == 0)
            .filter(|(_, t)| now.mono_us - t.last_activity_mono_us > limit)
            .map(|(number, _)| number)
            .collect();
        self.close(idle, ClosingCause::Idle, now);
    }

    fn close_all(&mut self) {
        let open: Vec<TraceNumber> = self.state.traces.iter().map(|(number, _)| number).collect();
        self.close(open, ClosingCause::RecorderEnds, Moment::now());
    }

    fn close(&mut self, traces: Vec<TraceNumber>, cause: ClosingCause, at: Moment) {
        if traces.is_empty() {
            return;
        }
        // Failure is in the traces' gaps and in the report.
        let _ = self.transaction(|connection, state| {
            for number in traces {
                state.stop_taking_calls(Some(number), Closing::new(at, cause));
            }
            state.close(
                connection,
                match cause {
                    ClosingCause::RecorderEnds => CallsUnderWay::GivenUp,
                    ClosingCause::Idle | ClosingCause::Stated => CallsUnderWay::Awaited,
                },
            )
        });
    }
}

/// Who is to be told when the batch is over, and what is to be done outside its transaction.
#[derive(Default)]
struct Waiting {
    committed: Vec<Committed>,
    ended: Vec<(EndTold, EndOfTrace)>,
    prunes: Vec<(Retention, PruneTold)>,
    flushes: Vec<SyncSender<()>>,
}

/// What becomes of calls of a trace that is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallsUnderWay {
    /// It is closed when they have ended.
    Awaited,
    /// It is closed now: their ends will be missing.
    GivenUp,
}

impl State {
    /// Does what an event says.
    fn apply(
        &mut self,
        connection: &Connection,
        event: Event,
        waiting: &mut Waiting,
    ) -> rusqlite::Result<()> {
        match event {
            Event::OpenTrace(spec) => {
                let number = self.add_trace(*spec, false);
                self.ensure_row(connection, number)?;
            }
            Event::Begin { call, begin, lost } => {
                if let Err(error) = self.begin(connection, call, *begin) {
                    lost.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Event::End { call, end, committed } => {
                waiting.committed.extend(committed);
                self.end(connection, call, *end)?;
            }
            other => self.remember(other, waiting),
        }
        Ok(())
    }

    /// The part of a batch that its failed transaction did not get to: what only memory holds still
    /// happens, calls are gaps.
    fn lose(&mut self, event: Event, reason: &str, waiting: &mut Waiting) {
        match event {
            Event::OpenTrace(spec) => {
                self.add_trace(*spec, false);
            }
            Event::Begin { call, begin, lost } => {
                lost.store(true, Ordering::Relaxed);
                if let TraceHint::Named(id) = &begin.hint
                    && self.traces.of_id(id).is_none()
                {
                    self.add_trace(spec_of_call(id.clone(), &begin), true);
                }
                self.gap(call, &begin.hint, reason);
            }
            Event::End { call, committed, .. } => {
                waiting.committed.extend(committed);
                let open = self.calls.remove(&call);
                if let Some(trace) = open.and_then(|open| self.traces.get_mut(open.trace)) {
                    trace.open_calls = trace.open_calls.saturating_sub(1);
                    trace.gap(reason);
                }
            }
            other => self.remember(other, waiting),
        }
    }

    /// Events that change memory only, whatever becomes of the transaction.
    fn remember(&mut self, event: Event, waiting: &mut Waiting) {
        match event {
            Event::CloseTrace { id, at, exit_code, aborted } => {
                let closing = Closing { at, cause: ClosingCause::Stated, exit_code, aborted };
                self.stop_taking_calls(self.traces.of_id(&id), closing);
            }
            Event::EndTrace { id, at, outcome, told } => {
                waiting.ended.push((told, self.end_trace(&id, at, outcome)));
            }
            Event::Outcome { call, outcome } => self.outcome(call, outcome),
            Event::Gap { call, hint, reason } => self.gap(call, &hint, &reason),
            Event::Flush(done) => waiting.flushes.push(done),
            Event::Prune { retention, told } => waiting.prunes.push((retention, told)),
            Event::OpenTrace(_) | Event::Begin { .. } | Event::End { .. } | Event::Finish => {}
        }
    }

    fn add_trace(&mut self, spec: TraceSpec, by_call: bool) -> TraceNumber {
        let mut vault = self.scrubber.vault();
        let spec = self.scrubber.spec(&mut vault, spec);
        self.traces.add(OpenTrace::new(spec, by_call, vault))
    }

    /// The trace's row, written now if it is not there.
    fn ensure_row(
        &mut self,
        connection: &Connection,
        number: TraceNumber,
    ) -> rusqlite::Result<Option<TraceKey>> {
        let Some(trace) = self.traces.get(number) else { return Ok(None) };
        self.batch.touched.insert(number);
        if let Some(key) = trace.key {
            return Ok(Some(key));
        }
        let recorder = match self.recorder {
            Some(recorder) => recorder,
            None => {
                let recorder = self.process.register(connection, trace.spec.started.unix_us)?;
                self.recorder = Some(recorder);
                self.batch.registered = true;
                recorder
            }
        };
        let key = insert_trace(connection, recorder, &trace.spec)?;
        self.batch.opened.push(number);
        if let Some(trace) = self.traces.get_mut(number) {
            trace.key = Some(key);
        }
        Ok(Some(key))
    }

    fn begin(&mut self, connection: &Connection, call: CallId, begin: BeginCall) -> rusqlite::Result<()> {
        let live = derive::request(&begin.provider, &begin.method, &begin.path, &begin.headers, &begin.body);
        let (number, origin) = self.trace_of(&begin, &live);
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };

        let clean = self.scrubber.request(&mut trace.vault, &begin);
        if let Some(reason) = clean.left_out {
            trace.gap(reason);
        }
        let (mut facts, live) = match &clean.body {
            Some(body) => {
                let clean =
                    derive::request(&begin.provider, &begin.method, &clean.path, &clean.headers, body);
                (clean, Some(live))
            }
            None => (live, None),
        };
        let body = clean.body.as_ref().unwrap_or(&begin.body);
        let stored = self.cache.put_body(connection, body, trace.recent.iter())?;
        let headers = self.cache.put_like(connection, &clean.headers.encode(), trace.last_headers[0])?;
        trace.last_headers[0] = Some(headers);

        facts.seq = trace.next_seq;
        facts.sent_us = begin.at.mono_us - trace.spec.started.mono_us;
        facts.loop_hint =
            begin.loop_hint.map(|hint| self.scrubber.text(&mut trace.vault, &begin.credentials, hint));
        connection
            .prepare_cached(
                "INSERT INTO exchanges (trace, seq, sent_us, sent_unix_us, provider, method, path, loop_hint, \
                 import_index, request_headers, request_skeleton, request_heads, request_digest, request_size) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                key.0,
                facts.seq,
                facts.sent_us,
                begin.at.unix_us,
                begin.provider.as_str(),
                begin.method,
                clean.path,
                facts.loop_hint,
                begin.import_index,
                headers.0,
                stored.skeleton.0,
                stored.encode_heads(),
                &Digest::of(body).0[..],
                body.len() as i64
            ])?;
        trace.next_seq += 1;
        trace.open_calls += 1;
        trace.last_activity_mono_us = begin.at.mono_us;
        trace.remember(stored);
        self.batch.begun.push(call);
        self.calls
            .insert(call, OpenCall { trace: number, origin, facts, live, credentials: begin.credentials });
        Ok(())
    }

    /// Which trace a call belongs to; opens one if there is none.
    fn trace_of(&mut self, begin: &BeginCall, live: &derive::RequestFacts) -> (TraceNumber, Origin) {
        let (id, origin) = match &begin.hint {
            TraceHint::Named(id) => match self.traces.of_id(id) {
                Some(number) => return (number, Origin::Named),
                None => (id.clone(), Origin::Named),
            },
            TraceHint::Lineage => match self.known.place(live, |number| self.traces.takes_calls(number)) {
                Some((number, placed)) => return (number, Origin::Unnamed(Some(placed))),
                None => (random_id(), Origin::Unnamed(None)),
            },
        };
        (self.add_trace(spec_of_call(id, begin), true), origin)
    }

    fn end(&mut self, connection: &Connection, call: CallId, end: CallEnd) -> rusqlite::Result<()> {
        let Some(open) = self.calls.remove(&call) else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(open.trace) else { return Ok(()) };
        self.batch.touched.insert(open.trace);
        let Some(key) = trace.key else { return Ok(()) };
        trace.open_calls = trace.open_calls.saturating_sub(1);
        let start = trace.spec.started.mono_us;
        let outcome = match end {
            CallEnd::NoResponse { at_mono_us, ending } => {
                Outcome::NoResponse { end_us: at_mono_us - start, ending }
            }
            CallEnd::Answered { status, headers, head_mono_us, end_mono_us, body, chunks, ending, cut } => {
                if let Some(reason) = cut {
                    trace.gap(&reason);
                }
                let body = join(body);
                let clean = self.scrubber.answer(&mut trace.vault, &open.credentials, headers, body, chunks);
                if let Some(reason) = clean.left_out {
                    trace.gap(reason);
                }
                Outcome::Answered(Answer {
                    status,
                    headers: clean.headers,
                    body: clean.body,
                    chunks: clean.chunks.into_iter().map(|c| Chunk { at_us: c.at_us - start, ..c }).collect(),
                    head_us: head_mono_us - start,
                    end_us: end_mono_us - start,
                    ending,
                })
            }
        };
        trace.last_activity_mono_us = Moment::now().mono_us;
        insert_answer(connection, &mut self.cache, trace, key, open.facts.seq, &outcome)?;
        let facts = derive::call(&open.facts, &outcome);
        facts_row::insert(connection, key, &facts)?;
        let echo = match &open.live {
            Some(live) => derive::answer_echo(live, &outcome),
            None => facts.lineage.answer_history,
        };
        match open.origin {
            _ if facts.succeeded() => self.known.answered(open.trace, echo, &facts),
            Origin::Unnamed(placed) => self.known.failed(open.trace, facts.request_digest, placed),
            Origin::Named => {}
        }
        self.batch.ended += 1;
        Ok(())
    }

    /// Somebody says that a trace is over.
    fn end_trace(&mut self, id: &TraceId, at: Moment, outcome: Option<LoopOutcome>) -> EndOfTrace {
        let number = self.traces.of_id(id);
        let Some(trace) = number.and_then(|n| self.traces.get_mut(n)) else { return EndOfTrace::NotOpen };
        trace.outcome = outcome.or(trace.outcome);
        if !trace.opened_by_call {
            return EndOfTrace::WithItsRun;
        }
        let open_calls = trace.open_calls;
        self.stop_taking_calls(number, Closing::new(at, ClosingCause::Stated));
        if open_calls > 0 { EndOfTrace::WhenCallsEnd } else { EndOfTrace::Ended }
    }

    fn outcome(&mut self, call: CallId, outcome: LoopOutcome) {
        if let Some(trace) = self.calls.get(&call).and_then(|c| self.traces.get_mut(c.trace)) {
            trace.outcome = Some(outcome);
        }
    }

    fn stop_taking_calls(&mut self, number: Option<TraceNumber>, closing: Closing) {
        if let Some(number) = number {
            self.traces.close(number, closing);
            self.closing.insert(number);
        }
    }

    /// Writes the closing rows of traces that take no more calls.
    fn close(&mut self, connection: &Connection, under_way: CallsUnderWay) -> rusqlite::Result<()> {
        for number in self.closing.clone() {
            let open_calls = self.traces.get(number).map_or(0, |t| t.open_calls);
            if open_calls == 0 || under_way == CallsUnderWay::GivenUp {
                self.close_trace(connection, number)?;
            }
        }
        Ok(())
    }

    fn close_trace(&mut self, connection: &Connection, number: TraceNumber) -> rusqlite::Result<()> {
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let Some(closing) = trace.closing.clone() else { return Ok(()) };
        if trace.open_calls > 0 {
            *trace.gaps.entry("calls had not ended when the recording stopped".into()).or_default() +=
                trace.open_calls as u64;
        }
        connection
            .prepare_cached(
                "INSERT INTO trace_ends (trace, ended_us, idle, exit_code, aborted, outcome) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                key.0,
                trace.ended_us(&closing),
                closing.cause == ClosingCause::Idle,
                closing.exit_code,
                closing.aborted,
                trace.outcome.map(LoopOutcome::as_str),
            ])?;
        reader::store_trace_facts(connection, &reader::trace_row(connection, key)?)?;
        self.batch.closed.push(number);
        Ok(())
    }

    fn gap(&mut self, call: CallId, hint: &TraceHint, reason: &str) {
        let number = self.calls.get(&call).map(|c| c.trace).or_else(|| match hint {
            TraceHint::Named(id) => self.traces.of_id(id),
            TraceHint::Lineage => None,
        });
        if let Some(trace) = number.and_then(|number| self.traces.get_mut(number)) {
            return trace.gap(reason);
        }
        *self.report.gaps.entry(reason.to_owned()).or_default() += 1;
        if *hint == TraceHint::Lineage {
            // Nobody knows any more which trace it belonged to: none of them can claim to be whole.
            self.traces.values_mut().filter(|t| t.opened_by_call).for_each(|t| t.gap(reason));
        }
    }

    fn write_gaps(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for (_, trace) in self.traces.iter().filter(|(_, t)| !t.gaps.is_empty()) {
            let Some(key) = trace.key else { continue };
            for (reason, &count) in &trace.gaps {
                connection
                    .prepare_cached(
                        "INSERT INTO trace_gaps (trace, reason, count) VALUES (?1, ?2, ?3) \
                         ON CONFLICT (trace, reason) DO UPDATE SET count = count + excluded.count",
                    )?
                    .execute(params![key.0, reason, count as i64])?;
            }
        }
        Ok(())
    }

    fn committed(&mut self) {
        self.report.calls += self.batch.ended;
        for trace in self.traces.values_mut().filter(|t| t.key.is_some()) {
            for (reason, count) in std::mem::take(&mut trace.gaps) {
                *self.report.gaps.entry(reason).or_default() += count;
            }
        }
        for number in std::mem::take(&mut self.batch.closed) {
            self.closing.remove(&number);
            if self.traces.remove(number).is_some_and(|t| t.open_calls > 0) {
                self.calls.retain(|_, c| c.trace != number);
            }
        }
    }

    /// The transaction failed: what it wrote is gone, so what was remembered of it goes too.
    fn rolled_back(&mut self, error: &rusqlite::Error) {
        let batch = std::mem::take(&mut self.batch);
        let reason = cause(error);
        tracing::warn!(%error, "a batch of recordings could not be written");
        self.cache.forget();
        if batch.registered {
            self.recorder = None;
        }
        for trace in self.traces.values_mut() {
            trace.forget_content();
        }
        for number in &batch.opened {
            if let Some(trace) = self.traces.get_mut(*number) {
                trace.key = None;
            }
        }
        for call in &batch.begun {
            if let Some(call) = self.calls.remove(call)
                && let Some(trace) = self.traces.get_mut(call.trace)
            {
                trace.open_calls = trace.open_calls.saturating_sub(1);
            }
        }
        for number in &batch.touched {
            if let Some(trace) = self.traces.get_mut(*number) {
                trace.gap(&reason);
            }
        }
        *self.report.gaps.entry(reason).or_default() += 1;
    }
}

/// The trace that a call opens.
fn spec_of_call(id: TraceId, begin: &BeginCall) -> TraceSpec {
    let mut spec = TraceSpec::new(id, Source::Serve, begin.at);
    spec.agent = begin.agent.clone();
    spec
}

/// Why a transaction failed, in words that stay the same, so that gaps of one cause are one row.
fn cause(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "the disk was full: calls are missing".into(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            "the database stayed locked by another process: calls are missing".into()
        }
        _ => format!("the database could not be written ({error}): calls are missing"),
    }
}

fn insert_trace(connection: &Connection, recorder: i64, spec: &TraceSpec) -> rusqlite::Result<TraceKey> {
    let to_json = |value: serde_json::Result<String>| value.expect("strings and maps of strings are JSON");
    connection
        .prepare_cached(
            "INSERT INTO traces (id, run, recorder, source, name, agent, tags, command, parent, parent_why, \
             started_unix_us, started_mono_us, byte_exact) \
             VALUES (?1, (SELECT coalesce(max(run), 0) + 1 FROM traces WHERE id = ?1), \
             ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
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
        ])?;
    Ok(TraceKey(connection.last_insert_rowid()))
}

fn insert_answer(
    connection: &Connection,
    cache: &mut ContentCache,
    trace: &mut OpenTrace,
    key: TraceKey,
    seq: u32,
    outcome: &Outcome,
) -> rusqlite::Result<()> {
    let (end_us, ending, answer) = match outcome {
        Outcome::InFlight => return Ok(()),
        Outcome::NoResponse { end_us, ending } => (*end_us, ending, None),
        Outcome::Answered(answer) => (answer.end_us, &answer.ending, Some(answer)),
    };
    let (word, error) = ending_columns(ending);
    let (headers, body) = match answer {
        Some(answer) => {
            let headers = cache.put_like(connection, &answer.headers.encode(), trace.last_headers[1])?;
            trace.last_headers[1] = Some(headers);
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
            seq,
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
pub(crate) fn encode_chunks(head_us: i64, chunks: &[Chunk]) -> Vec<u8> {
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

fn join(pieces: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(pieces) {
        Ok([only]) => only,
        Err(pieces) => pieces.concat().into(),
    }
}

/// A new id for a trace that nobody named.
fn random_id() -> TraceId {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    TraceId::from_random(bytes)
}
