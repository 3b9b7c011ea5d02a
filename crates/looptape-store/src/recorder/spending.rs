//! What calls under a budget cost, on its way to the database.
//!
//! Sums, not events: they are handed over beside the queue and written with whatever transaction succeeds next, so a
//! full queue or a full disk loses nothing of them while the process lives.

use super::event::Moment;
use looptape_core::TraceId;
use looptape_core::budget::{Change, Counted};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// Who spends: one process, by a random number. Its own figures it knows better than the database does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spender(pub(crate) i64);

impl Spender {
    /// One that nobody else is.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let mut bytes = [0u8; 8];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        Self(i64::from_le_bytes(bytes))
    }
}

/// Changes by who spent, and on what.
#[derive(Debug, Default)]
pub(super) struct Spent(BTreeMap<(Spender, Counted), Change>);

impl Spent {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, spender: Spender, changes: BTreeMap<Counted, Change>) {
        for (counted, change) in changes {
            self.add_one((spender, counted), change);
        }
    }

    fn add_one(&mut self, of: (Spender, Counted), change: Change) {
        let sum = self.0.entry(of).or_default();
        sum.spent += change.spent;
        sum.unaccounted += change.unaccounted;
        sum.held += change.held;
    }
}

/// What is not written yet.
#[derive(Debug, Default)]
pub(super) struct UnwrittenSpending {
    waiting: Spent,
    /// Traces that the transaction under way ends, and when they ended.
    closing: Vec<(TraceId, i64)>,
    /// Whether anything was ever spent here: else there is nothing to close.
    was_used: bool,
}

impl UnwrittenSpending {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn add(&mut self, spent: Spent) {
        self.was_used = true;
        for (of, change) in spent.0 {
            self.waiting.add_one(of, change);
        }
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        for ((spender, counted), change) in &self.waiting.0 {
            connection
                .prepare_cached(
                    "INSERT INTO spending (day, trace, closed_unix_us, spender, spent, unaccounted, held) \
                     VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET spent = spent + excluded.spent, \
                     unaccounted = unaccounted + excluded.unaccounted, held = held + excluded.held",
                )?
                .execute(params![
                    counted.day.number(),
                    counted.trace.as_ref().map_or("", TraceId::as_str),
                    spender.0,
                    change.spent,
                    change.unaccounted,
                    change.held,
                ])?;
        }
        for (trace, at_unix_us) in &self.closing {
            connection
                .prepare_cached(
                    "UPDATE OR IGNORE spending SET closed_unix_us = ?2 WHERE trace = ?1 AND closed_unix_us = 0",
                )?
                .execute(params![trace.as_str(), at_unix_us])?;
        }
        Ok(())
    }

    /// A transaction has written what was waiting.
    pub(super) fn written(&mut self) {
        self.waiting.0.clear();
        self.closing.clear();
    }

    /// A transaction failed: traces that it closed are open again.
    pub(super) fn not_written(&mut self) {
        self.closing.clear();
    }

    /// A trace is over: what comes under the same name begins anew.
    pub(super) fn close(&mut self, trace: &TraceId, at: Moment) {
        if self.was_used {
            self.closing.push((trace.clone(), at.unix_us));
        }
    }
}
