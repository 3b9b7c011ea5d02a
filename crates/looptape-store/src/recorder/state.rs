//! What the writer knows, and what each event does to it.
//!
//! An event has two halves: what it changes in memory, and what it writes. A transaction that fails takes
//! the written half back ([`State::rolled_back`]) and never reaches some events ([`State::lose`]); their
//! memory half happens all the same, so that a trace is ended by its end even if the disk was full then.

use super::RecorderOptions;
use super::call_rows::CallRows;
use super::event::{
    CallId, Committed, EndOfTrace, EndTold, Event, Gap, GapOf, PruneTold, Restore, TraceHint,
};
use super::files::{Files, Generation};
use super::gaps::Gaps;
use super::handle::RecorderReport;
use super::intake::Intake;
use super::kept_facts::KeptFacts;
use super::known::KnownCalls;
use super::open_trace::{Closing, ClosingCause, OpenCalls, OpenTraces, TraceNumber};
use super::rows::insert_gaps;
use super::scrub::Scrubber;
use super::spending::{Spent, UnwrittenSpending};
use super::tools::OpenTools;
use super::unnamed_ids::UnnamedIds;
use super::watch::Watch;
use crate::Retention;
use crate::content::{ContentCache, Freshness};
use crate::liveness::Process;
use looptape_core::cost::PriceBook;
use looptape_core::labels::Labels;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

mod calls;
mod files;
mod repeats;
mod restore;
mod tools;
mod traces;

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
    ended_early: foldhash::HashSet<CallId>,
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
            ended_early: foldhash::HashSet::default(),
            gaps: Gaps::default(),
            spending: UnwrittenSpending::default(),
            known: KnownCalls::new(options.idle_end),
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

    /// Tells whoever watches what is missing, if anything has come to it.
    pub(super) fn tell_gaps(&mut self) {
        if let (Some(watch), Some(total)) = (&self.watch, self.gaps.news()) {
            watch.gaps(total);
        }
    }

    /// Writes what is still gathered.
    pub(super) fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.write_rows(connection)?;
        self.cache.seal(connection)
    }

    /// Writes the rows of calls that are gathered; what their traces will be summed up by is kept.
    fn write_rows(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for (trace, facts) in self.batch.rows.write(connection)? {
            self.kept_facts.add(trace, *facts);
        }
        Ok(())
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
            None if hint == TraceHint::Lineage => {
                self.known.lost_one();
                self.gaps.add_unplaced(&reason);
            }
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
