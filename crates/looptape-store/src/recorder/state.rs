//! What the writer knows, and what each event does to it.
//!
//! An event has two halves: what it changes in memory, and what it writes. A transaction that fails takes
//! the written half back ([`State::rolled_back`]) and never reaches some events ([`State::lose`]); their
//! memory half happens all the same, so that a trace is ended by its end even if the disk was full then.

use super::RecorderOptions;
use super::call_rows::{AnsweredRow, CallRows, EndRow, RequestRow, encode_chunks};
use super::event::{
    BeginCall, CallEnd, CallId, Committed, EndOfTrace, EndTold, Event, Gap, GapOf, Moment, PruneTold,
    Restore, Source, TraceHint, TraceSpec,
};
use super::files::{self, Files, FilesEvent, Generation, Place};
use super::gaps::Gaps;
use super::handle::RecorderReport;
use super::intake::Intake;
use super::kept_facts::KeptFacts;
use super::known::KnownCalls;
use super::open_trace::{
    Closing, ClosingCause, OpenCall, OpenCalls, OpenRequest, OpenTrace, OpenTraces, Origin, TraceNumber,
};
use super::rows::{insert_end, insert_gaps, insert_trace, relabel, store_environment};
use super::scrub::Scrubber;
use super::spending::{Spent, UnwrittenSpending};
use super::tools::OpenTools;
use super::unnamed_ids::UnnamedIds;
use super::watch::{Watch, WatchedCall, WatchedRequest, WatchedTrace};
use crate::content::{ContentCache, Freshness};
use crate::ids::TraceKey;
use crate::liveness::Process;
use crate::{Retention, reader};
use bytes::Bytes;
use looptape_core::assembly::LoopOutcome;
use looptape_core::cost::PriceBook;
use looptape_core::exchange::{Answer, Chunk, Outcome};
use looptape_core::facts::{AskedUpstream, CallFacts};
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use looptape_core::replay::Environment;
use looptape_core::{TraceId, derive};
use rusqlite::Connection;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

mod repeats;
mod restore;
mod tools;

/// Everything but the connection, so that a transaction can borrow one and change the other.
pub(super) struct State {
    cache: ContentCache,
    prices: PriceBook,
    watch: Option<Arc<dyn Watch>>,
    intake: Intake,
    labels: Labels,
    process: Process,
    /// This recorder's row, once committed.
    recorder: Option<i64>,
    traces: OpenTraces,
    unnamed_ids: UnnamedIds,
    /// Those that take no more calls and have no closing row.
    closing: BTreeSet<TraceNumber>,
    calls: OpenCalls,
    /// Calls of which it is known that no end will come, before their beginning has.
    ended_early: HashSet<CallId>,
    gaps: Gaps,
    spending: UnwrittenSpending,
    known: KnownCalls,
    kept_facts: KeptFacts,
    files: Files,
    tools: OpenTools,
    /// Calls whose end is on disk.
    ended: u64,
    /// A cassette's trace, while it is written.
    restoring: Option<restore::Restoring>,
    /// What the transaction under way has made: undone if it fails.
    batch: Batch,
}

#[derive(Default)]
pub(super) struct Batch {
    rows: CallRows,
    opened: Vec<TraceNumber>,
    registered: bool,
    begun: Vec<CallId>,
    started_tools: Vec<(TraceNumber, String)>,
    touched: BTreeSet<TraceNumber>,
    closed: Vec<TraceNumber>,
    ended: u64,
}

/// Who is to be told when the batch is over, and what is to be done outside its transaction.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) committed: Vec<Committed>,
    pub(super) ended: Vec<(EndTold, EndOfTrace)>,
    pub(super) prunes: Vec<(Retention, PruneTold)>,
    pub(super) restores: Vec<Restore>,
    pub(super) flushes: Vec<SyncSender<()>>,
}

/// What becomes of calls of a trace that is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallsUnderWay {
    /// It is closed when they have ended.
    Awaited,
    /// It is closed now: their ends will be missing.
    GivenUp,
}

impl State {
    /// `labels`: of traces that calls open, beside what the calls say.
    pub(super) fn new(
        cache: ContentCache,
        scrubber: Scrubber,
        options: &RecorderOptions,
        files: Generation,
    ) -> Self {
        Self {
            cache,
            prices: options.prices.clone(),
            watch: options.watch.clone(),
            labels: options.labels.clone(),
            intake: Intake::new(scrubber),
            process: Process::current(),
            recorder: None,
            traces: OpenTraces::default(),
            unnamed_ids: UnnamedIds::default(),
            closing: BTreeSet::new(),
            calls: OpenCalls::default(),
            ended_early: HashSet::new(),
            gaps: Gaps::default(),
            spending: UnwrittenSpending::default(),
            known: KnownCalls::default(),
            kept_facts: KeptFacts::default(),
            files: Files::new(files),
            tools: OpenTools::default(),
            ended: 0,
            restoring: None,
            batch: Batch::default(),
        }
    }

    pub(super) fn into_report(self) -> RecorderReport {
        RecorderReport { calls: self.ended, gaps: self.gaps.into_total() }
    }

    /// A transaction has begun.
    pub(super) fn start_batch(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.cache.refresh(connection)? == Freshness::Void {
            self.intake.forget();
            self.files.lose_contents();
        }
        Ok(())
    }

    /// Traces that calls opened and that have been silent since then.
    pub(super) fn silent_since(&self, mono_us: i64) -> Vec<TraceNumber> {
        let is_silent =
            |t: &OpenTrace| t.opened_by_call && t.open_calls == 0 && t.last_activity_mono_us < mono_us;
        self.traces.iter().filter(|(_, t)| is_silent(t)).map(|(number, _)| number).collect()
    }

    /// Of the traces that nobody named, those beyond `most`: first those that nobody has carried on from,
    /// then the ones that have been silent for longest.
    pub(super) fn unnamed_beyond(&self, most: usize) -> Vec<TraceNumber> {
        let is_waiting = |t: &OpenTrace| t.is_unnamed && t.open_calls == 0 && t.closing.is_none();
        let waiting = self.traces.iter().filter(|(_, t)| is_waiting(t));
        let mut waiting: Vec<_> =
            waiting.map(|(number, t)| (t.next_seq > 1, t.last_activity_mono_us, number)).collect();
        let excess = waiting.len().saturating_sub(most);
        if excess > 0 {
            waiting.sort_unstable();
        }
        waiting.into_iter().take(excess).map(|(.., number)| number).collect()
    }

    pub(super) fn all(&self) -> Vec<TraceNumber> {
        self.traces.iter().map(|(number, _)| number).collect()
    }

    /// Does what an event says.
    pub(super) fn apply(
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
            Event::Environment { id, environment } => self.describe(connection, &id, &environment)?,
            Event::End { call, end, upstream, committed } => {
                waiting.committed.extend(committed);
                self.end(connection, call, *end, upstream)?;
            }
            Event::Repeat { call, repeat, lost } => {
                if let Err(error) = self.begin_repeat(connection, call, *repeat) {
                    lost.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Event::EndRepeat { call, end } => self.end_repeat(connection, call, &end)?,
            Event::Tool(report) => self.tool(connection, *report)?,
            Event::Provenance { call, provenance } => self.provenance(connection, call, &provenance)?,
            Event::Files(event) => self.files(connection, *event)?,
            other => self.remember(other, waiting),
        }
        Ok(())
    }

    /// The part of a batch that its failed transaction did not get to: what only memory holds still
    /// happens, calls are gaps.
    pub(super) fn lose(&mut self, event: Event, reason: &str, waiting: &mut Waiting) {
        match event {
            Event::OpenTrace(spec) => {
                self.add_trace(*spec, false);
            }
            Event::Begin { call, begin, lost } => {
                lost.store(true, Ordering::Relaxed);
                if let TraceHint::Named(id) = &begin.hint
                    && self.traces.of_id(id).is_none()
                {
                    self.add_trace(self.spec_of_call(id.clone(), &begin), true);
                }
                let (hint, reason) = (begin.hint, reason.to_owned());
                self.gap(Gap { call, hint, of: GapOf::Part, reason });
            }
            Event::Repeat { call, repeat, lost } => {
                lost.store(true, Ordering::Relaxed);
                let (hint, reason) = (TraceHint::Named(repeat.trace), reason.to_owned());
                self.gap(Gap { call, hint, of: GapOf::Part, reason });
            }
            Event::EndRepeat { call, .. } => self.lose_end(call, reason),
            Event::Tool(report) => self.lose_tool(*report, reason),
            Event::End { call, committed, .. } => {
                waiting.committed.extend(committed);
                self.lose_end(call, reason);
            }
            Event::Files(event) => self.files.lose(&event),
            other => self.remember(other, waiting),
        }
    }

    fn lose_end(&mut self, call: CallId, reason: &str) {
        if let Some(open) = self.calls.remove(&call)
            && let Some(trace) = self.traces.get_mut(open.trace)
        {
            trace.open_calls = trace.open_calls.saturating_sub(1);
            self.gaps.add(open.trace, reason);
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
            Event::TellTrace { call, told } => told(self.trace_of_call(call)),
            Event::Gap(gap) => self.gap(gap),
            Event::Flush(done) => waiting.flushes.push(done),
            Event::Prune { retention, told } => waiting.prunes.push((retention, told)),
            Event::Restore(restore) => waiting.restores.push(*restore),
            // Without it, masks by environment are left out: nothing is missing of what passed.
            Event::Environment { .. } => {}
            Event::OpenTrace(_)
            | Event::Begin { .. }
            | Event::End { .. }
            | Event::Repeat { .. }
            | Event::EndRepeat { .. }
            | Event::Tool(_)
            | Event::Provenance { .. }
            | Event::Files(_)
            | Event::Finish => {}
        }
    }

    fn add_trace(&mut self, spec: TraceSpec, by_call: bool) -> TraceNumber {
        let mut vault = self.intake.scrubber.vault();
        let spec = self.intake.scrubber.spec(&mut vault, spec);
        self.traces.add(OpenTrace::new(spec, by_call, vault, self.gaps.unplaced()))
    }

    /// The trace that a call opens.
    fn spec_of_call(&self, id: TraceId, begin: &BeginCall) -> TraceSpec {
        let mut spec = TraceSpec::new(id, Source::Serve, begin.at);
        spec.labels.clone_from(&begin.labels);
        spec.labels.add(&self.labels);
        spec
    }

    /// Adds what a call says of its trace.
    fn relabel(
        &mut self,
        connection: &Connection,
        number: TraceNumber,
        begin: &mut BeginCall,
    ) -> rusqlite::Result<()> {
        let labels = std::mem::take(&mut begin.labels);
        let Some(trace) = self.traces.get_mut(number).filter(|_| !labels.is_empty()) else { return Ok(()) };
        if trace.said.as_ref() == Some(&labels) {
            return Ok(());
        }
        let clean = self.intake.scrubber.labels(&mut trace.vault, &begin.credentials, labels.clone());
        let is_new = trace.spec.labels.add(&clean);
        if let Some(key) = trace.key.filter(|_| is_new || trace.may_lack_labels) {
            relabel(connection, key, &trace.spec)?;
        }
        (trace.said, trace.may_lack_labels) = (Some(labels), false);
        Ok(())
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

    fn describe(
        &mut self,
        connection: &Connection,
        id: &TraceId,
        environment: &Environment,
    ) -> rusqlite::Result<()> {
        let Some(number) = self.traces.of_id(id) else { return Ok(()) };
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let text = serde_json::to_string(environment).expect("an environment is texts and a date");
        let clean = self.intake.scrubber.text(&mut trace.vault, &Credentials::none(), text);
        store_environment(connection, key, &clean)
    }

    fn files(&mut self, connection: &Connection, event: FilesEvent) -> rusqlite::Result<()> {
        match event {
            FilesEvent::Awaited { call } => self.files.await_files(call, &self.calls, &self.traces),
            FilesEvent::Contents { generation, contents } => {
                self.files.put_contents(connection, &mut self.cache, generation, &contents)?;
            }
            FilesEvent::Folder { trace, folder } => {
                let Some(number) = self.traces.of_id(&trace) else { return Ok(()) };
                let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
                let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
                let scrub = (&self.intake.scrubber, &mut trace.vault);
                files::store_folder(connection, key, scrub, folder)?;
            }
            FilesEvent::Snapshot { of, generation, taken_mono_us, root } => {
                let (key, at, started_mono_us) = match self.files.place(&of) {
                    Place::Known { key, at, started_mono_us } => (key, at, started_mono_us),
                    Place::Nowhere => return Ok(()),
                    Place::Of { id, at } => {
                        let Some(number) = self.traces.of_id(&id) else { return Ok(()) };
                        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
                        let Some(trace) = self.traces.get(number) else { return Ok(()) };
                        (key, at, trace.spec.started.mono_us)
                    }
                };
                let place = (key, at, taken_mono_us - started_mono_us);
                self.files.store(connection, place, generation, &root)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, connection: &Connection, call: CallId, mut begin: BeginCall) -> rusqlite::Result<()> {
        self.watch_request(&begin);
        let incoming = self.intake.read(&begin);
        let (number, origin) = self.trace_of(&begin, &incoming.facts);
        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
        self.relabel(connection, number, &mut begin)?;
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };

        let clean = self.intake.clean(&mut trace.vault, &begin, incoming);
        if let Some(reason) = clean.left_out {
            self.gaps.add(number, reason);
        }
        let mut facts = clean.facts;
        facts.seq = trace.next_seq;
        facts.sent_us = begin.at.mono_us - trace.spec.started.mono_us;
        let scrubber = &self.intake.scrubber;
        let hint = begin.loop_hint.clone();
        facts.loop_hint = hint.map(|hint| scrubber.text(&mut trace.vault, &begin.credentials, hint));
        let stored = self.intake.put(connection, &mut self.cache, &begin, clean.content)?;
        let row = RequestRow {
            trace: key,
            seq: facts.seq,
            sent_us: facts.sent_us,
            sent_unix_us: begin.at.unix_us,
            provider: begin.provider,
            method: begin.method,
            path: clean.path,
            loop_hint: facts.loop_hint.clone(),
            import_index: begin.import_index,
            stored,
        };
        self.batch.rows.begin(call, row);

        trace.next_seq += 1;
        trace.last_activity_mono_us = begin.at.mono_us;
        self.batch.begun.push(call);
        if self.ended_early.remove(&call) {
            return Ok(());
        }
        trace.open_calls += 1;
        let (seq, live) = (facts.seq, clean.live.map(Box::new));
        let request = OpenRequest::Read { facts: Box::new(facts), live, credentials: begin.credentials };
        self.calls.insert(call, OpenCall { trace: number, origin, seq, request });
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
                None => (self.unnamed_ids.next(begin.at), Origin::Unnamed(None)),
            },
        };
        let number = self.add_trace(self.spec_of_call(id, begin), true);
        if let Some(trace) = self.traces.get_mut(number) {
            trace.is_unnamed = origin != Origin::Named;
        }
        (number, origin)
    }

    fn end(
        &mut self,
        connection: &Connection,
        call: CallId,
        end: CallEnd,
        upstream: Option<AskedUpstream>,
    ) -> rusqlite::Result<()> {
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
                    self.gaps.add(open.trace, &reason);
                }
                let body = join(body);
                let sender = open.request.sender();
                let clean = self.intake.clean_answer(&mut trace.vault, sender, headers, body, chunks);
                if let Some(reason) = clean.left_out {
                    self.gaps.add(open.trace, reason);
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
        trace.last_activity_mono_us = Moment::mono_us_now();
        let (end_us, ending, answered) = match &outcome {
            Outcome::NoResponse { end_us, ending } => (*end_us, ending.clone(), None),
            Outcome::Answered(answer) => {
                let (provider, _) = open.request.sender();
                let (headers, body) =
                    self.intake.put_answer(connection, &mut self.cache, provider, answer)?;
                let chunks = encode_chunks(answer.head_us, &answer.chunks);
                let row =
                    AnsweredRow { status: answer.status, head_us: answer.head_us, headers, body, chunks };
                (answer.end_us, answer.ending.clone(), Some(row))
            }
            Outcome::InFlight => return Ok(()),
        };
        let place = (key, open.seq);
        let row = |facts, upstream| EndRow { end_us, ending, answered, facts, upstream };
        self.batch.ended += 1;
        // The facts of a repeated call whose answer was not the recorded one are made when it is read.
        let OpenRequest::Read { facts: request, live, .. } = &open.request else {
            self.batch.rows.end(call, place, row(None, upstream));
            return Ok(());
        };
        let facts = CallFacts { upstream: upstream.clone(), ..derive::call(request, &outcome) };
        self.watch_call(open.trace, &facts);
        let echo = match live {
            Some(live) => derive::answer_echo(live, &outcome),
            None => facts.lineage.answer_history,
        };
        match open.origin {
            _ if facts.succeeded() => self.known.answered(open.trace, echo, &facts),
            Origin::Unnamed(placed) => self.known.failed(open.trace, &facts, placed),
            Origin::Named => {}
        }
        let facts = self.kept_facts.add(open.trace, facts);
        self.batch.rows.end(call, place, row(Some(facts), upstream));
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

    fn watch_request(&self, begin: &BeginCall) {
        if let Some(watch) = self.watch.as_ref().filter(|watch| watch.wants_requests()) {
            watch.request(&WatchedRequest {
                at_unix_us: begin.at.unix_us,
                provider: &begin.provider,
                method: &begin.method,
                path: &begin.path,
                headers: &begin.headers,
                body: &begin.body,
            });
        }
    }

    fn watch_call(&self, trace: TraceNumber, facts: &CallFacts) {
        if let (Some(watch), Some(trace)) = (&self.watch, self.traces.get(trace)) {
            let (trace, trace_started_unix_us) = (&trace.spec.id, trace.spec.started.unix_us);
            watch.call(&WatchedCall { trace, trace_started_unix_us, facts });
        }
    }

    /// Tells whoever watches what is missing, if anything has come to it.
    pub(super) fn tell_gaps(&mut self) {
        if let (Some(watch), Some(total)) = (&self.watch, self.gaps.news()) {
            watch.gaps(total);
        }
    }

    fn trace_of_call(&self, call: CallId) -> Option<TraceId> {
        Some(self.traces.get(self.calls.get(&call)?.trace)?.spec.id.clone())
    }

    fn outcome(&mut self, call: CallId, outcome: LoopOutcome) {
        if let Some(trace) = self.calls.get(&call).and_then(|c| self.traces.get_mut(c.trace)) {
            trace.outcome = Some(outcome);
        }
    }

    pub(super) fn stop_taking_calls(&mut self, number: Option<TraceNumber>, closing: Closing) {
        if let Some(number) = number {
            self.traces.close(number, closing);
            self.closing.insert(number);
        }
    }

    /// Writes what is still gathered.
    pub(super) fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.batch.rows.write(connection)?;
        self.cache.seal(connection)
    }

    /// What waits to be compressed.
    pub(super) fn uncompressed_bytes(&self) -> usize {
        self.cache.uncompressed_bytes()
    }

    /// Whether nothing waits until there is time for it.
    pub(super) fn is_tidy(&self) -> bool {
        self.cache.is_tidy()
    }

    /// Does a little of what waits, in a transaction of its own.
    pub(super) fn tidy_some(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.cache.tidy_some(connection)
    }

    /// Writes the closing rows of traces that take no more calls.
    pub(super) fn close(
        &mut self,
        connection: &Connection,
        under_way: CallsUnderWay,
    ) -> rusqlite::Result<()> {
        if !self.closing.is_empty() {
            self.batch.rows.write(connection)?;
        }
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
        let is_restoring = self.is_restoring(number);
        let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
        let Some(closing) = trace.closing.clone() else { return Ok(()) };
        if trace.opened_by_call {
            self.gaps.doubt(number, &trace.unplaced_before);
        }
        if trace.open_calls > 0 {
            let reason = "calls had not ended when the recording stopped";
            self.gaps.add_many(number, reason, trace.open_calls as u64);
        }
        // What a restored trace cost was paid elsewhere.
        if closing.cause != ClosingCause::RecorderEnds && !is_restoring {
            self.spending.close(&trace.spec.id, closing.at);
        }
        let end = trace.end(&closing);
        insert_end(connection, key, &end, closing.aborted.as_deref())?;
        let spec = &trace.spec;
        let metrics =
            match self.kept_facts.all_of(number, trace.next_seq).filter(|_| spec.source != Source::Replay) {
                Some(facts) => {
                    let span = end.span(spec.timing);
                    let times = (span, spec.happened_unix_us());
                    Some(reader::sum_up(connection, key, facts, times, &self.prices)?)
                }
                None => reader::sum_up_rows(connection, &reader::trace_row(connection, key)?, &self.prices)?,
            };
        if let Some(watch) = &self.watch {
            let (id, agent) = (&spec.id, spec.agent());
            watch.trace(&WatchedTrace { id, agent, metrics: metrics.as_ref() });
        }
        self.batch.closed.push(number);
        Ok(())
    }

    fn gap(&mut self, gap: Gap) {
        let Gap { call, hint, of, reason } = gap;
        let open = self.calls.get(&call).map(|c| c.trace);
        match (of, open) {
            (GapOf::Part, _) => {}
            (GapOf::End, Some(trace)) => {
                self.calls.remove(&call);
                if let Some(trace) = self.traces.get_mut(trace) {
                    trace.open_calls = trace.open_calls.saturating_sub(1);
                }
            }
            (GapOf::End, None) => {
                self.ended_early.insert(call);
            }
        }
        let number = open.or_else(|| match &hint {
            TraceHint::Named(id) => self.traces.of_id(id),
            TraceHint::Lineage => None,
        });
        match number.filter(|number| self.traces.get(*number).is_some()) {
            Some(number) => self.gaps.add(number, &reason),
            None if hint == TraceHint::Lineage => self.gaps.add_unplaced(&reason),
            None => self.gaps.add_elsewhere(&reason),
        }
    }

    /// What calls under a budget cost, to be written with the next transaction that succeeds.
    pub(super) fn add_spending(&mut self, spent: Spent) {
        self.spending.add(spent);
    }

    pub(super) fn has_unwritten_spending(&self) -> bool {
        !self.spending.is_empty()
    }

    /// Writes what belongs to no single event: gaps, and what was spent.
    pub(super) fn write_sums(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.spending.write(connection)?;
        self.write_gaps(connection)
    }

    fn write_gaps(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for (number, reasons) in self.gaps.iter() {
            let Some(key) = self.traces.get(number).and_then(|t| t.key) else { continue };
            insert_gaps(connection, key, reasons)?;
        }
        Ok(())
    }

    pub(super) fn committed(&mut self) {
        // Taken whole, so that a transaction that fails to begin undoes nothing of this one.
        let batch = std::mem::take(&mut self.batch);
        self.ended += batch.ended;
        let traces = &self.traces;
        self.gaps.written(|number| traces.get(number).is_none_or(|t| t.key.is_some()));
        self.spending.written();
        for number in batch.closed {
            self.closing.remove(&number);
            self.kept_facts.forget(number);
            self.tools.forget(number);
            if self.traces.remove(number).is_some_and(|t| t.open_calls > 0) {
                self.calls.retain(|_, c| c.trace != number);
            }
        }
    }

    /// The transaction failed: what it wrote is gone, so what was remembered of it goes too.
    pub(super) fn rolled_back(&mut self, error: &rusqlite::Error) {
        let batch = std::mem::take(&mut self.batch);
        let reason = cause(error);
        tracing::warn!(%error, "a batch of recordings could not be written");
        self.cache.forget();
        self.intake.forget();
        self.files.rolled_back();
        self.spending.not_written();
        if batch.registered {
            self.recorder = None;
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
        for (number, run) in &batch.started_tools {
            self.tools.end(*number, run);
        }
        for number in batch.touched {
            if let Some(trace) = self.traces.get_mut(number) {
                (trace.said, trace.may_lack_labels) = (None, true);
            }
            self.gaps.add(number, &reason);
        }
        self.gaps.add_elsewhere(&reason);
    }
}

fn join(pieces: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(pieces) {
        Ok([only]) => only,
        Err(pieces) => pieces.concat().into(),
    }
}

/// Why a transaction failed, in words that stay the same, so that gaps of one cause are one row.
pub(super) fn cause(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => "the disk was full: calls are missing".into(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            "the database stayed locked by another process: calls are missing".into()
        }
        _ => format!("the database could not be written ({error}): calls are missing"),
    }
}
