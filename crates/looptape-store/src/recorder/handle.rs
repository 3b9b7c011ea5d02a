//! What callers hold: a handle that never blocks, and a ticket for each call.

use super::event::{
    BeginCall, CallEnd, CallId, Committed, EndOfTrace, Event, Gap, GapOf, Moment, RepeatedCall, RepeatedEnd,
    Restore, Source, TraceHint, TraceSpec,
};
use super::files::Generation;
use super::spending::{Spender, Spent};
use super::tools::ToolReport;
use super::writer::Writer;
use super::{Durability, RecorderOptions};
use crate::OpenError;
use crate::gc::{PruneError, PruneReport, Retention};
use crate::ids::TraceKey;
use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use looptape_core::budget::{Change, Counted};
use looptape_core::cassette::{Cassette, CassetteError};
use looptape_core::exchange::Ending;
use looptape_core::facts::{AnswerFate, AskedUpstream};
use looptape_core::replay::{Environment, Provenance};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Events that may wait, whatever their size.
const QUEUE_EVENTS: usize = 65_536;

/// If so much waits, the writer is falling behind, and does not wait for more to come.
const MUCH_WAITING_BYTES: usize = 8 << 20;

/// A handle to the writer thread. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    queue: mpsc::SyncSender<(Event, usize)>,
    /// Bytes that wait in the queue.
    pub(super) waiting_bytes: AtomicUsize,
    limit_bytes: usize,
    next_call: AtomicU64,
    durability: Durability,
    /// Set when somebody waits for what was handed over.
    is_urgent: AtomicBool,
    /// The writer's, once it runs.
    writer: OnceLock<Thread>,
    /// Gaps that could not even be queued; the writer collects them.
    pub(super) overflow: Mutex<Vec<Gap>>,
    /// What was spent since the writer looked the last time.
    pub(super) spent: Mutex<Spent>,
    /// Of the contents of files that were handed over.
    pub(super) files: Generation,
}

/// The writer thread; consumed by [`RecorderThread::finish`].
#[must_use = "finish() waits until everything is on disk"]
pub struct RecorderThread {
    shared: Arc<Shared>,
    thread: JoinHandle<RecorderReport>,
}

/// Why a cassette's trace was not written down.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Cassette(#[from] CassetteError),
    #[error("its trace came about by `{0}`, which this looptape does not know: update looptape")]
    UnknownSource(String),
    #[error("the database did not take it: {0}")]
    Database(#[source] rusqlite::Error),
    #[error("the database is not written any more")]
    NoWriter,
}

/// What the writer says at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderReport {
    /// Calls whose end is on disk.
    pub calls: u64,
    /// What is missing and why, over all traces, whether or not it could be written down.
    pub gaps: BTreeMap<String, u64>,
}

/// What waits to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderHealth {
    pub waiting_bytes: usize,
    /// Beyond it calls are dropped from the recording.
    pub limit_bytes: usize,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RecorderThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecorderThread").finish_non_exhaustive()
    }
}

impl Recorder {
    /// Opens (or creates) the database and starts the writer.
    pub fn start(options: RecorderOptions) -> Result<(Self, RecorderThread), OpenError> {
        let (queue, events) = mpsc::sync_channel(QUEUE_EVENTS);
        let shared = Arc::new(Shared {
            queue,
            waiting_bytes: AtomicUsize::new(0),
            limit_bytes: options.queue_bytes,
            next_call: AtomicU64::new(1),
            durability: options.durability,
            is_urgent: AtomicBool::new(false),
            writer: OnceLock::new(),
            overflow: Mutex::default(),
            spent: Mutex::default(),
            files: Generation::default(),
        });
        let writer = Writer::open(options, shared.clone())?;
        let thread = std::thread::Builder::new()
            .name("looptape-writer".into())
            .spawn(move || writer.run(&events))
            .expect("the system can start a thread");
        shared.writer.get_or_init(|| thread.thread().clone());
        Ok((Self { shared: shared.clone() }, RecorderThread { shared, thread }))
    }

    pub fn durability(&self) -> Durability {
        self.shared.durability
    }

    /// How full the queue is.
    pub fn health(&self) -> RecorderHealth {
        RecorderHealth {
            waiting_bytes: self.shared.waiting_bytes.load(Ordering::Relaxed),
            limit_bytes: self.shared.limit_bytes,
        }
    }

    /// Opens a trace before its first call.
    pub fn open_trace(&self, spec: TraceSpec) {
        self.shared.send_waiting(Event::OpenTrace(Box::new(spec)));
    }

    /// Says where an open trace's run takes place; a later word replaces an earlier one.
    pub fn describe_environment(&self, id: TraceId, environment: Environment) {
        self.shared.send_waiting(Event::Environment { id, environment: Box::new(environment) });
    }

    /// Writes the closing row of a trace, if it is open.
    pub fn close_trace(&self, id: TraceId, at: Moment, exit_code: Option<i32>, aborted: Option<String>) {
        self.shared.send_waiting(Event::CloseTrace { id, at, exit_code, aborted });
    }

    /// A call starts. Never blocks; if the queue is full the call will be missing from its trace.
    pub fn begin(&self, begin: BeginCall) -> CallTicket {
        let call = self.shared.next_call.fetch_add(1, Ordering::Relaxed);
        let size = begin.body.fresh_bytes() + 512;
        let hint = begin.hint.clone();
        let lost = Arc::new(AtomicBool::new(false));
        let event = Event::Begin { call, begin: Box::new(begin), lost: lost.clone() };
        if !self.shared.try_send(event, size) {
            lost.store(true, Ordering::Relaxed);
            let reason = "the recording queue was full: a call is missing".to_owned();
            self.shared.gap(Gap { call, hint: hint.clone(), of: GapOf::Part, reason });
        }
        CallTicket { shared: self.shared.clone(), call, hint, lost, open: true, upstream: None }
    }

    /// A call of a replay starts that repeats a recorded one. Never blocks, as [`Recorder::begin`].
    pub fn repeat(&self, repeat: RepeatedCall) -> RepeatTicket {
        let call = self.shared.next_call.fetch_add(1, Ordering::Relaxed);
        let hint = TraceHint::Named(repeat.trace.clone());
        let lost = Arc::new(AtomicBool::new(false));
        let event = Event::Repeat { call, repeat: Box::new(repeat), lost: lost.clone() };
        if !self.shared.try_send(event, 512) {
            lost.store(true, Ordering::Relaxed);
            let reason = "the recording queue was full: a call is missing".to_owned();
            self.shared.gap(Gap { call, hint: hint.clone(), of: GapOf::Part, reason });
        }
        RepeatTicket(CallTicket { shared: self.shared.clone(), call, hint, lost, open: true, upstream: None })
    }

    /// Somebody says what becomes of a tool call. Never blocks; if the queue is full it will be missing from its trace.
    pub fn tool(&self, report: ToolReport) {
        let (hint, size) = (TraceHint::Named(report.trace.clone()), report.size_bytes());
        if !self.shared.try_send(Event::Tool(Box::new(report)), size) {
            let call = self.shared.next_call.fetch_add(1, Ordering::Relaxed);
            let reason = "the recording queue was full: a tool call is missing".to_owned();
            self.shared.gap(Gap { call, hint, of: GapOf::Part, reason });
        }
    }

    /// Calls under a budget cost something, or hold something back: it is written down with the writer's next batch,
    /// within a second. Never blocks for longer than an addition takes, and loses nothing while the disk is full.
    pub fn note_spending(&self, spender: Spender, changes: BTreeMap<Counted, Change>) {
        if let Ok(mut spent) = self.shared.spent.lock() {
            spent.add(spender, changes);
        }
    }

    /// Waits until everything handed over so far is committed or given up.
    pub fn flush(&self) {
        self.shared.flush();
    }

    pub(super) fn generation(&self) -> &Generation {
        &self.shared.files
    }

    /// For large events whose sender may wait: it is sent when half of the queue is free, so that calls find room
    /// in it. `false`: the writer is gone.
    pub(super) fn send_when_room(&self, event: Event, size: usize) -> bool {
        while self.shared.waiting_bytes.load(Ordering::Relaxed) + size > self.shared.limit_bytes / 2
            && self.shared.waiting_bytes.load(Ordering::Relaxed) > 0
        {
            if !self.shared.flush() {
                return false;
            }
        }
        self.shared.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        self.shared.queue.send((event, size)).is_ok()
    }

    /// Somebody says that a trace is over, and how it turned out. Never blocks. `told` is called once the
    /// answer is on disk; it is dropped uncalled if the queue is full or the disk fails.
    pub fn end_trace(
        &self,
        id: TraceId,
        at: Moment,
        outcome: Option<LoopOutcome>,
        told: impl FnOnce(EndOfTrace) + Send + 'static,
    ) {
        self.shared.try_send(Event::EndTrace { id, at, outcome, told: Box::new(told) }, 0);
        self.shared.hurry();
    }

    /// Writes a cassette's trace down as it is, and waits until it is on disk: all of it or nothing.
    pub fn restore(&self, cassette: Cassette) -> Result<TraceKey, RestoreError> {
        let source = Source::parse(&cassette.trace().source)
            .ok_or_else(|| RestoreError::UnknownSource(cassette.trace().source.clone()))?;
        // Everything that can be wrong with it is found before the writer is busy with it.
        cassette.calls().try_for_each(|call| call.map(|_| ()))?;
        let (tell, told) = mpsc::sync_channel(1);
        let told_by = Box::new(move |stored| {
            // Nobody waits any more if this thread was ended.
            let _ = tell.send(stored);
        });
        self.shared.send_waiting(Event::Restore(Box::new(Restore { cassette, source, told: told_by })));
        told.recv().map_err(|_| RestoreError::NoWriter)?.map_err(RestoreError::Database)
    }

    /// Deletes what `retention` does not keep, in the writer's turn: no call is written meanwhile, and what
    /// comes waits in the queue.
    pub fn prune(
        &self,
        retention: Retention,
        told: impl FnOnce(Result<PruneReport, PruneError>) + Send + 'static,
    ) {
        self.shared.send_waiting(Event::Prune { retention, told: Box::new(told) });
    }
}

impl RecorderThread {
    /// Writes what is queued, closes the traces that are open, and ends the thread.
    pub fn finish(self) -> RecorderReport {
        self.shared.send_waiting(Event::Finish);
        self.thread.join().unwrap_or_else(|_| RecorderReport {
            calls: 0,
            gaps: BTreeMap::from([("the writer thread panicked: this is a bug".to_owned(), 1)]),
        })
    }
}

impl Shared {
    pub(super) fn is_much_waiting(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) >= MUCH_WAITING_BYTES
    }

    fn try_send(&self, event: Event, size: usize) -> bool {
        let before = self.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        if before + size <= self.limit_bytes.max(size) && self.queue.try_send((event, size)).is_ok() {
            return true;
        }
        self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
        false
    }

    /// Waits until what is queued was dealt with; `false`: the writer is gone.
    fn flush(&self) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.send_waiting(Event::Flush(done));
        wait.recv().is_ok()
    }

    /// For rare events whose sender may wait. A writer that is gone is no reason to fail.
    fn send_waiting(&self, event: Event) {
        let _ = self.queue.send((event, 0));
        self.hurry();
    }

    /// Somebody waits for what was handed over: the writer gathers no more.
    fn hurry(&self) {
        self.is_urgent.store(true, Ordering::Release);
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// For the writer's thread: waits so long for more to come, unless somebody waits for what is there.
    pub(super) fn gather(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_urgent.swap(false, Ordering::Acquire) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
    }

    fn gap(&self, gap: Gap) {
        if let Err(mpsc::TrySendError::Full((Event::Gap(gap), _))) = self.queue.try_send((Event::Gap(gap), 0))
        {
            // The lock is held for a push; the writer takes it once a batch.
            if let Ok(mut overflow) = self.overflow.lock() {
                overflow.push(gap);
            }
        }
    }
}

/// A call that has begun. Dropping it records that the client went away before any response.
#[must_use = "a call that began must end"]
#[derive(Debug)]
pub struct CallTicket {
    shared: Arc<Shared>,
    call: CallId,
    hint: TraceHint,
    lost: Arc<AtomicBool>,
    open: bool,
    upstream: Option<AskedUpstream>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl CallTicket {
    /// The call says how its trace turned out; it stands unless a later one says otherwise. Never blocks.
    pub fn state_outcome(&self, outcome: LoopOutcome) {
        self.shared.try_send(Event::Outcome { call: self.call, outcome }, 0);
    }

    /// Tells to which trace the call belongs, as soon as that is decided; `told` is dropped uncalled if the queue is
    /// full. Never blocks.
    pub fn tell_trace(&self, told: impl FnOnce(Option<TraceId>) + Send + 'static) {
        self.shared.try_send(Event::TellTrace { call: self.call, told: Box::new(told) }, 0);
        self.shared.hurry();
    }

    /// Where the answer comes from, in a replay. Never blocks.
    pub fn came_from(&self, provenance: Provenance) {
        self.shared.try_send(Event::Provenance { call: self.call, provenance }, 0);
    }

    pub(super) fn call(&self) -> CallId {
        self.call
    }

    /// Says something of the call. Never blocks: where the queue is full it is not said.
    pub(super) fn tell(&self, event: Event) {
        self.shared.try_send(event, 0);
    }

    /// Of several upstreams, this one is asked.
    pub fn at(mut self, url: String) -> Self {
        self.upstream = Some(AskedUpstream { url, fate: AnswerFate::PassedOn });
        self
    }

    /// The call ended. Never blocks.
    pub fn finish(mut self, end: CallEnd) {
        self.send(end, None);
    }

    /// The call ended as a failure that the client does not see: another upstream is asked instead. Never blocks.
    pub fn finish_superseded(mut self, end: CallEnd) {
        if let Some(asked) = &mut self.upstream {
            asked.fate = AnswerFate::Superseded;
        }
        self.send(end, None);
    }

    /// The call ended; `committed` is told whether its end reached the disk. Never blocks.
    pub fn finish_then(mut self, end: CallEnd, committed: impl FnOnce(bool) + Send + 'static) {
        self.send(end, Some(Box::new(committed)));
    }

    /// Notes that the recording of this call lacks something that passed. Never blocks.
    pub fn lacks(&self, reason: &str) {
        self.gap(GapOf::Part, reason);
    }

    fn gap(&self, of: GapOf, reason: &str) {
        let (call, hint, reason) = (self.call, self.hint.clone(), reason.to_owned());
        self.shared.gap(Gap { call, hint, of, reason });
    }

    fn send(&mut self, end: CallEnd, committed: Option<Committed>) {
        self.open = false;
        let committed = match committed {
            Some(tell) if self.lost.load(Ordering::Relaxed) => {
                tell(false);
                None
            }
            other => other,
        };
        if self.lost.load(Ordering::Relaxed) {
            return;
        }
        let size = end.size_bytes() + 256;
        // A callback that is dropped with its event means: not committed. Its owner sees a closed channel.
        let (end, upstream) = (Box::new(end), self.upstream.take());
        if !self.shared.try_send(Event::End { call: self.call, end, upstream, committed }, size) {
            self.gap(GapOf::End, "the recording queue was full: an answer is missing");
        }
    }
}

/// A call that repeats a recorded one and has begun. Dropping it is as dropping a [`CallTicket`].
#[must_use = "a call that began must end"]
#[derive(Debug)]
pub struct RepeatTicket(CallTicket);

impl RepeatTicket {
    /// The recorded answer was sent to its end. Never blocks.
    pub fn finish_as_recorded(mut self, end: RepeatedEnd) {
        self.0.open = false;
        if self.0.lost.load(Ordering::Relaxed) {
            return;
        }
        let size = end.chunks.len() * 16 + 128;
        let event = Event::EndRepeat { call: self.0.call, end: Box::new(end) };
        if !self.0.shared.try_send(event, size) {
            self.0.gap(GapOf::End, "the recording queue was full: an answer is missing");
        }
    }

    /// It ended in another way. Never blocks.
    pub fn finish(self, end: CallEnd) {
        self.0.finish(end);
    }
}

impl Drop for CallTicket {
    fn drop(&mut self) {
        if self.open {
            let at_mono_us = Moment::mono_us_now();
            self.send(CallEnd::NoResponse { at_mono_us, ending: Ending::ClientGone }, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use looptape_core::headers::RedactedHeaders;
    use looptape_core::labels::Labels;
    use looptape_core::provider::Provider;
    use looptape_core::redact::{Credentials, Patterns};

    fn begin(recorder: &Recorder, hint: TraceHint) -> CallTicket {
        recorder.begin(BeginCall {
            hint,
            at: Moment::now(),
            provider: Provider::OPENAI,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            headers: RedactedHeaders::default(),
            body: Bytes::from_static(b"{}").into(),
            loop_hint: None,
            import_index: None,
            labels: Labels::default(),
            credentials: Credentials::none(),
        })
    }

    fn start() -> (tempfile::TempDir, Recorder, RecorderThread) {
        let folder = tempfile::tempdir().unwrap();
        let options = RecorderOptions::new(folder.path().join("t.db"), Arc::new(Patterns::builtin()));
        let (recorder, thread) = Recorder::start(options).unwrap();
        (folder, recorder, thread)
    }

    fn ended(recorder: &Recorder, id: &TraceId) -> EndOfTrace {
        let (told, wait) = mpsc::channel();
        recorder.end_trace(id.clone(), Moment::now(), None, move |what| told.send(what).unwrap());
        wait.recv().unwrap()
    }

    /// A call whose end found the queue full is not under way for ever; one that lacks a piece is.
    #[test]
    fn a_dropped_end_does_not_keep_its_trace_open() {
        let (_folder, recorder, thread) = start();
        for (of, name, expected) in
            [(GapOf::End, "a", EndOfTrace::Ended), (GapOf::Part, "b", EndOfTrace::WhenCallsEnd)]
        {
            let id = TraceId::parse(name).unwrap();
            let mut ticket = begin(&recorder, TraceHint::Named(id.clone()));
            ticket.gap(of, "dropped");
            assert_eq!(ended(&recorder, &id), expected);
            ticket.open = of == GapOf::Part;
        }
        drop(recorder);
        let report = thread.finish();
        assert_eq!(report.gaps, BTreeMap::from([("dropped".to_owned(), 2)]));
    }

    /// The writer may hear of the lost end first.
    #[test]
    fn an_end_may_be_lost_before_its_beginning_is_seen() {
        let (_folder, recorder, thread) = start();
        let id = TraceId::parse("a").unwrap();
        let hint = TraceHint::Named(id.clone());
        let call = recorder.shared.next_call.load(Ordering::Relaxed);
        recorder.shared.gap(Gap { call, hint: hint.clone(), of: GapOf::End, reason: "dropped".into() });
        let mut ticket = begin(&recorder, hint);
        ticket.open = false;
        assert_eq!(ended(&recorder, &id), EndOfTrace::Ended);
        drop((ticket, recorder));
        assert_eq!(thread.finish().gaps.len(), 1);
    }

    /// A call that nobody can place makes every trace doubtful, and is one call.
    #[test]
    fn a_gap_of_nobody_knows_which_trace_counts_once() {
        let (_folder, recorder, thread) = start();
        let tickets: Vec<CallTicket> = (0..3).map(|_| begin(&recorder, TraceHint::Lineage)).collect();
        recorder.flush();
        recorder.shared.gap(Gap {
            call: 999,
            hint: TraceHint::Lineage,
            of: GapOf::Part,
            reason: "dropped".into(),
        });
        recorder.flush();
        drop((tickets, recorder));
        assert_eq!(thread.finish().gaps, BTreeMap::from([("dropped".to_owned(), 1)]));
    }
}
