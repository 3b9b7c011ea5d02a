//! The writer thread: takes events in batches, one transaction each.
//!
//! A batch that fails is rolled back whole; every trace in it gets a gap with the cause, ids remembered
//! from it are forgotten, and the next batch is tried as if nothing had happened. So a full disk costs
//! what came while it was full, and says so.

use super::event::{Event, Moment, Restore, Source};
use super::handle::{RecorderReport, Shared};
use super::open_trace::{Closing, ClosingCause, TraceNumber};
use super::scrub::Scrubber;
use super::state::{CallsUnderWay, State, Waiting, cause};
use super::{Durability, RecorderOptions};
use crate::content::ContentCache;
use crate::database::{OpenError, open_to_write};
use crate::ids::TraceKey;
use crate::{PruneError, gc};
use looptape_core::cassette::Cassette;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What comes within this time of a batch's first event comes with it. Meanwhile nobody who hands an event
/// over has to wake the writer, which costs more than handing it over, and each commit writes some pages whatever it
/// holds; and calls that begin or end together are through before the writer wants a core too. With strict durability
/// somebody waits; with much in the queue there is nothing to wait for.
const GATHER_TIME: Duration = Duration::from_millis(16);
/// A batch is committed when it has this many events …
const BATCH_EVENTS: usize = 1024;
/// … or this long after its first event, whichever is first; at once if the queue is empty.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// How often idle traces are looked for …
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// … and sooner, when `1 / NEW_PART` of those that may wait has been opened.
const NEW_PART: u64 = 8;
/// After so long without an event, what can wait is done: compressing what was written in a hurry …
const QUIET_TIME: Duration = Duration::from_millis(100);
/// … if there is so much of it …
const WORTH_COMPRESSING_BYTES: usize = 256 << 10;
/// … or after so long in any case.
const LONG_QUIET_TIME: Duration = Duration::from_secs(30);
const LOCK_WAIT_AT_END: Duration = Duration::from_millis(100);
/// A recorder that ends compresses not more than this many times 256 KiB.
const MOST_STEPS_AT_END: usize = 256;

pub(super) struct Writer {
    connection: Connection,
    options: RecorderOptions,
    shared: Arc<Shared>,
    state: State,
    idle_checked: Instant,
    /// How many traces had been opened then.
    opened_then: u64,
    last_batch: Instant,
    /// Not before this is anything done that can wait.
    tidy_after: Instant,
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
        let state = State::new(cache, scrubber, &options, shared.files.clone());
        let now = Instant::now();
        Ok(Self {
            connection,
            options,
            shared,
            state,
            idle_checked: now,
            opened_then: 0,
            last_batch: now,
            tidy_after: now + QUIET_TIME,
        })
    }

    pub(super) fn run(mut self, events: &Receiver<(Event, usize)>) -> RecorderReport {
        let (mut finishing, mut is_behind) = (false, false);
        while !finishing {
            let mut batch = Vec::new();
            match events.recv_timeout(self.patience()) {
                Ok(first) => {
                    if self.options.durability == Durability::Relaxed && !is_behind {
                        self.shared.gather(GATHER_TIME);
                    }
                    self.collect(first, events, &mut batch);
                    self.take_overflow(&mut batch);
                }
                Err(RecvTimeoutError::Timeout) => self.take_overflow(&mut batch),
                Err(RecvTimeoutError::Disconnected) => finishing = true,
            }
            self.take_spent();
            finishing |= batch.iter().any(|e| matches!(e, Event::Finish));
            is_behind = batch.len() >= BATCH_EVENTS || self.shared.is_much_waiting();
            match batch.is_empty() {
                true => self.tidy(),
                false => self.process(batch),
            }
            self.write_spent();
            self.close_idle();
            self.state.tell_gaps();
        }
        self.close_all();
        self.take_spent();
        self.write_spent();
        self.tidy_up();
        self.state.into_report()
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
            batch.extend(overflow.drain(..).map(Event::Gap));
        }
    }

    fn take_spent(&mut self) {
        if let Ok(mut spent) = self.shared.spent.lock()
            && !spent.is_empty()
        {
            self.state.add_spending(std::mem::take(&mut spent));
        }
    }

    /// Writes what was spent, if no batch has done so. Failure leaves it to the next one.
    fn write_spent(&mut self) {
        if self.state.has_unwritten_spending() {
            let _ = self.transaction(|_, _| Ok(()));
        }
    }

    fn process(&mut self, batch: Vec<Event>) {
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
        for Restore { cassette, source, told } in waiting.restores {
            told(self.restore(&cassette, source));
        }
        for done in waiting.flushes {
            // Whoever waited may have gone.
            let _ = done.send(());
        }
        self.last_batch = Instant::now();
        self.tidy_after = self.last_batch + QUIET_TIME;
    }

    /// How long to wait for the next event before something else is done.
    fn patience(&self) -> Duration {
        match self.state.uncompressed_bytes() >= WORTH_COMPRESSING_BYTES {
            true => self.tidy_after.saturating_duration_since(Instant::now()).min(IDLE_CHECK),
            false => IDLE_CHECK,
        }
    }

    /// Nothing came for a while: does a little of what can wait.
    fn tidy(&mut self) {
        let now = Instant::now();
        if now < self.tidy_after {
            return;
        }
        let waiting = self.state.uncompressed_bytes();
        let is_long = now.duration_since(self.last_batch) >= LONG_QUIET_TIME;
        let done = match is_long {
            _ if waiting >= WORTH_COMPRESSING_BYTES => self.tidy_some(),
            true if !self.state.is_tidy() => self.tidy_some(),
            true => gc::give_back_some_pages(&self.connection),
            false => Ok(()),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "recordings could not be made smaller: they stay as they are for now");
            self.tidy_after = now + LONG_QUIET_TIME;
        }
    }

    /// The recorder ends: does what can wait no longer, but not for long. The next one does the rest.
    fn tidy_up(&mut self) {
        // It is not worth waiting for others.
        let mut outcome = self.connection.busy_timeout(LOCK_WAIT_AT_END);
        for _ in 0..MOST_STEPS_AT_END {
            if outcome.is_err() || self.state.is_tidy() {
                break;
            }
            outcome = self.tidy_some();
        }
        if let Err(error) = outcome.and_then(|()| gc::give_back_free_pages(&self.connection)) {
            tracing::warn!(%error, "recordings could not be made smaller: they stay as they are for now");
        }
    }

    fn tidy_some(&mut self) -> rusqlite::Result<()> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.state.tidy_some(&tx)?;
        tx.commit()
    }

    /// Writes a cassette's trace down, in a transaction of its own.
    fn restore(&mut self, cassette: &Cassette, source: Source) -> rusqlite::Result<TraceKey> {
        let mut stored = Err(rusqlite::Error::QueryReturnedNoRows);
        let outcome = self.transaction(|connection, state| {
            stored = Ok(state.restore(connection, cassette, source)?);
            Ok(())
        });
        self.state.end_restoring();
        outcome.and(stored)
    }

    /// Runs `work` in one transaction and mends the memory if it fails.
    fn transaction(
        &mut self,
        work: impl FnOnce(&Connection, &mut State) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let state = &mut self.state;
        let outcome =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
                state.start_batch(&tx)?;
                work(&tx, state)?;
                state.seal(&tx)?;
                state.write_sums(&tx)?;
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
        let opened = self.state.opened_traces();
        let is_crowded = opened - self.opened_then > self.options.most_unnamed as u64 / NEW_PART;
        if self.idle_checked.elapsed() < IDLE_CHECK && !is_crowded {
            return;
        }
        (self.idle_checked, self.opened_then) = (Instant::now(), opened);
        let now = Moment::now();
        let limit = i64::try_from(self.options.idle_end.as_micros()).unwrap_or(i64::MAX);
        let idle = self.state.silent_since(now.mono_us - limit);
        self.close(idle, ClosingCause::Idle, now);
        let excess = self.state.unnamed_beyond(self.options.most_unnamed);
        self.close(excess, ClosingCause::Idle, now);
    }

    fn close_all(&mut self) {
        let open = self.state.all();
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
