//! What all loops of a run share. They run on one thread, so nothing is locked; nothing is borrowed across an await.

use crate::clock::Clock;
use crate::health::Health;
use crate::run::Drive;
use crate::seen::Seen;
use looptape_core::cost::{PriceBook, Usd};
use looptape_core::load::{Aborts, Arrivals, Ended, LoadReport, Prices, RunTime, Tally};
use looptape_core::metrics::Percentile;
use looptape_core::scenario::Scenario;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    pub at_us: u64,
    pub loops_ended: u64,
    pub loops_running: u32,
    /// Of the loops that have ended, in ms.
    pub loop_p95: Option<Percentile>,
    pub calls: u64,
    pub retries: u64,
    pub spent: Usd,
}

pub(crate) struct Shared<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) book: &'a PriceBook,
    /// When, for prices.
    pub(crate) at_unix_us: i64,
    pub(crate) prices: RefCell<Prices>,
    pub(crate) clock: Clock,
    pub(crate) tally: RefCell<Tally>,
    pub(crate) arrivals: RefCell<Arrivals>,
    pub(crate) health: RefCell<Health>,
    pub(crate) aborts: RefCell<Aborts>,
    ended: RefCell<Ended>,
    /// Loops under way are broken off.
    broken_off: Notify,
    pub(crate) counts: Counts,
    pub(crate) seen: Seen,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) begun: Cell<u64>,
    pub(crate) calls: Cell<u64>,
    pub(crate) retries: Cell<u64>,
    pub(crate) spent: Cell<Usd>,
    /// Loops in a row whose command ended with an error and made no call.
    pub(crate) in_vain: Cell<u32>,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(drive: &Drive<'a>, prices: Prices) -> Self {
        let Drive { scenario, material, book, at_unix_us, started, outage } = *drive;
        let tally = Tally::new(scenario.phases.len(), prices.len()).with_outage(outage);
        Self {
            scenario,
            book,
            at_unix_us,
            clock: Clock::new(started),
            tally: RefCell::new(tally),
            prices: RefCell::new(prices),
            arrivals: RefCell::new(Arrivals::new(&scenario.phases, material.times_us(), scenario.seed)),
            health: RefCell::new(Health::new()),
            aborts: RefCell::new(Aborts::new(&scenario.aborting)),
            ended: RefCell::new(Ended::Completed),
            broken_off: Notify::new(),
            counts: Counts::default(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.ended.borrow() != Ended::Completed
    }

    /// No more loops begin. The first reason stays.
    pub(crate) fn end(&self, why: Ended) {
        let mut ended = self.ended.borrow_mut();
        if *ended == Ended::Completed {
            *ended = why;
        }
    }

    /// Whether what is under way is broken off by how it ended.
    pub(crate) fn breaks_off(&self) -> bool {
        self.ended.borrow().breaks_off()
    }

    pub(crate) fn break_off(&self) {
        self.broken_off.notify_waiters();
    }

    pub(crate) fn into_report(self) -> LoadReport {
        let limits = self.seen.limits();
        let Self { scenario, prices, tally, health, ended, .. } = self;
        let (ended, prices) = (ended.into_inner(), prices.into_inner());
        let report = tally.into_inner().report(scenario, RunTime::Real, ended, &prices);
        LoadReport { client: Some(health.into_inner().finish()), limits, ..report }
    }

    pub(crate) fn live(&self) -> Live {
        let tally = self.tally.borrow();
        let running = tally.running();
        Live {
            at_us: self.clock.now_us(),
            loops_ended: self.counts.begun.get() - u64::from(running),
            loops_running: running,
            loop_p95: tally.loop_p95(),
            calls: self.counts.calls.get(),
            retries: self.counts.retries.get(),
            spent: self.counts.spent.get(),
        }
    }

    /// Waits, unless the loop's time is over before: then `false`.
    pub(crate) async fn wait(&self, until: Option<Instant>, us: u64) -> bool {
        if self.is_over() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_micros(us)) => !self.is_over(),
            () = self.over(until) => false,
        }
    }

    /// Until a loop's time is over, or all loops are broken off.
    pub(crate) async fn over(&self, until: Option<Instant>) {
        let broken_off = self.broken_off.notified();
        match until {
            None => broken_off.await,
            Some(until) => tokio::select! {
                () = broken_off => {}
                () = tokio::time::sleep_until(until) => {}
            },
        }
    }
}
