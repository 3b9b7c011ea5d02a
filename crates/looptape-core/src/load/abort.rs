//! Gates that end a run as soon as they fail.
//!
//! They are judged now and then on the figures so far: every two seconds, and in long runs each time that the run has
//! become a sixty-fourth longer, so that it does not spend its time on that. A figure that is not known yet ends nothing.

use super::prices::Prices;
use super::report::Ended;
use super::tally::Tally;
use crate::gates::{Conditions, GateVerdict, Observations};
use crate::scenario::AbortingGate;

/// The gates, and when they are judged next.
#[derive(Clone, Debug)]
pub struct Aborts {
    gates: Vec<AbortingGate>,
    next_us: u64,
}

const EVERY_US: u64 = 2_000_000;

/// A run becomes so much longer, as a share of it, before its gates are judged again.
const SHARE: u64 = 64;

impl Aborts {
    pub fn new(gates: &[AbortingGate]) -> Self {
        Self { gates: gates.to_vec(), next_us: EVERY_US }
    }

    /// When to ask next; `None`: never.
    pub fn next_us(&self) -> Option<u64> {
        (!self.gates.is_empty()).then_some(self.next_us)
    }

    /// The first gate that fails on what was told until now, if it is time to judge.
    pub fn judge(&mut self, now_us: u64, tally: &Tally, prices: &Prices) -> Option<Ended> {
        self.next_us().filter(|next_us| *next_us <= now_us)?;
        self.next_us = now_us + EVERY_US.max(now_us / SHARE);
        let is_due = |one: &&AbortingGate| one.delay_us <= now_us;
        let gates: Vec<_> = self.gates.iter().filter(is_due).map(|one| one.gate).collect();
        if gates.is_empty() {
            return None;
        }
        let observations = Observations::of(tally.so_far(prices));
        let report = Conditions { gates, ..Conditions::default() }.judge(&observations);
        let failed = report.gates.into_iter().find(|result| result.verdict == GateVerdict::Failed)?;
        Some(Ended::GateFailed { at_s: now_us as f64 / 1e6, gate: failed.gate, figure: failed.figure })
    }
}
