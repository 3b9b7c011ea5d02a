//! What an outage did: how long it took until all was as before, which loops were lost, what it cost where another provider
//! stood in.
//!
//! - **As before** is it from the first loop on that was due after the outage and begins twenty in a row, in the order in
//!   which they were due, of which at least as large a share succeeded as before it, less five points, and of which no more
//!   than a quarter took longer than the p95 of those before. The time to recover is from the outage's end to when that
//!   loop was due.
//! - **Lost** are loops that failed, or were dropped, from the outage's beginning on, if they were due before all was as
//!   before.
//! - **The lost cache** costs what calls cost more, from the outage's beginning on, than if one prompt cache had seen all
//!   served calls, at the prices of who served them. **Other prices** are the rest of what they cost more than the first
//!   provider would have been paid, with that cache. So the two sum to the whole difference exactly.
//!
//! Before and after want twenty loops each; what is not known is null.

use super::prices::Prices;
use super::tally::{LoopEnd, LoopEnding};
use crate::cost::Usd;
use crate::metrics::{Ms, Sampler, Scale};
use crate::scenario::OutageWindow;
use crate::usage::LeafTokens;
use serde::Serialize;

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OutageReport {
    pub from_s: f64,
    pub until_s: f64,
    /// From its end until all was as before; `None`: it never was in this run, or it is not known.
    pub recovered_after_s: Option<f64>,
    pub loops_lost: u32,
    /// Of the loops before it, the share that succeeded.
    pub success_before: Option<f64>,
    pub stood_in: Option<StoodIn>,
}

/// What another provider did and cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StoodIn {
    /// Calls that it served.
    pub calls: u64,
    /// Of all served calls from the outage's beginning on: what was not read from a cache any more, at the prices of who
    /// served it.
    pub lost_cache_usd: Option<f64>,
    /// What the other prices made of it.
    pub other_prices_usd: Option<f64>,
}

/// Collects it.
#[derive(Clone, Debug)]
pub(super) struct OutageTally {
    window: OutageWindow,
    before: Sampler,
    before_ended: u32,
    before_succeeded: u32,
    /// Lost loops that were due before the outage's end.
    lost: u32,
    /// Loops that were due after it, within a bound.
    after: Vec<After>,
    stood_in: Option<StoodIn>,
}

/// A loop that was due after an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct After {
    due_us: u64,
    /// `None`: it failed or was dropped.
    took_us: Option<u64>,
}

/// A call that was served, as it was and as it would have been.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServedCall {
    pub(super) at_us: u64,
    /// Who served it, and who would have.
    pub(super) model: usize,
    pub(super) first_model: usize,
    pub(super) used: LeafTokens,
    /// With a cache that all served calls went through.
    pub(super) would_have_used: LeafTokens,
}

/// Loops that have to be as before, and loops that say what before was.
const IN_A_ROW: usize = 20;
/// More loops after the outage are not looked at.
const MOST_AFTER: usize = 1 << 17;
const FEWER_SUCCEED: f64 = 0.05;
const SLOW_SHARE: f64 = 0.25;

impl OutageTally {
    pub(super) fn new(window: OutageWindow) -> Self {
        Self {
            window,
            before: Sampler::new(Scale::Ms),
            before_ended: 0,
            before_succeeded: 0,
            lost: 0,
            after: Vec::new(),
            stood_in: None,
        }
    }

    pub(super) fn loop_ended(&mut self, end: &LoopEnd) {
        let is_success = end.ending == LoopEnding::Succeeded;
        if end.ending == LoopEnding::Stopped {
            return;
        }
        if end.ended_us < self.window.from_us {
            self.before_ended += 1;
            self.before_succeeded += u32::from(is_success);
            if is_success {
                self.before.add_ms(Ms::from_us(i64::try_from(end.took_us()).unwrap_or(i64::MAX)));
            }
        } else if end.scheduled_us < self.window.until_us {
            self.lost += u32::from(!is_success);
        } else {
            self.add_after(After { due_us: end.scheduled_us, took_us: is_success.then(|| end.took_us()) });
        }
    }

    pub(super) fn loop_dropped(&mut self, at_us: u64) {
        if at_us >= self.window.until_us {
            self.add_after(After { due_us: at_us, took_us: None });
        } else if at_us >= self.window.from_us {
            self.lost += 1;
        }
    }

    fn add_after(&mut self, after: After) {
        if self.after.len() < MOST_AFTER {
            self.after.push(after);
        }
    }

    pub(super) fn call_served(&mut self, call: &ServedCall, prices: &Prices) {
        let stood_in = self.stood_in.get_or_insert(StoodIn {
            calls: 0,
            lost_cache_usd: Some(0.0),
            other_prices_usd: Some(0.0),
        });
        stood_in.calls += u64::from(call.model != call.first_model);
        if call.at_us < self.window.from_us {
            return;
        }
        let cost = |model, used| prices.cost(model, used).map(|leaves| leaves.total());
        let more = |than: Option<Usd>, usd: Option<Usd>| Some(usd?.as_f64() - than?.as_f64());
        let undisturbed = cost(call.model, &call.would_have_used);
        let add = |sum: &mut Option<f64>, usd: Option<f64>| *sum = sum.zip(usd).map(|(sum, usd)| sum + usd);
        add(&mut stood_in.lost_cache_usd, more(undisturbed, cost(call.model, &call.used)));
        let by_first = cost(call.first_model, &call.would_have_used);
        add(&mut stood_in.other_prices_usd, more(by_first, undisturbed));
    }

    pub(super) fn finish(mut self) -> OutageReport {
        self.after.sort_unstable();
        let recovered = self.recovered();
        let before_recovery = recovered.unwrap_or(self.after.len());
        let lost = self.after[..before_recovery].iter().filter(|one| one.took_us.is_none()).count();
        let after_s = |at: usize| (self.after[at].due_us - self.window.until_us) as f64 / 1e6;
        OutageReport {
            from_s: self.window.from_us as f64 / 1e6,
            until_s: self.window.until_us as f64 / 1e6,
            recovered_after_s: recovered.map(|at| if at == 0 { 0.0 } else { after_s(at) }),
            loops_lost: self.lost + u32::try_from(lost).unwrap_or(u32::MAX),
            success_before: self.success_before(),
            stood_in: self.stood_in,
        }
    }

    fn success_before(&self) -> Option<f64> {
        let is_enough = self.before_ended as usize >= IN_A_ROW;
        is_enough.then(|| f64::from(self.before_succeeded) / f64::from(self.before_ended))
    }

    /// The place of the first loop from which on all is as before.
    fn recovered(&self) -> Option<usize> {
        let succeed = self.success_before()? - FEWER_SUCCEED;
        let usual_ms = self.before.clone().finish().p95()?.value;
        let is_slow = |one: &After| one.took_us.is_none_or(|us| us as f64 / 1e3 > usual_ms);
        let is_as_before = |row: &[After]| {
            let share = |n: usize| n as f64 / row.len() as f64;
            share(row.iter().filter(|one| one.took_us.is_some()).count()) >= succeed
                && share(row.iter().filter(|one| is_slow(one)).count()) <= SLOW_SHARE
        };
        // The first of them is as before itself: else it would begin in the middle of what the outage left.
        let begins = |row: &[After]| row[0].took_us.is_some() && is_as_before(row);
        self.after.windows(IN_A_ROW).position(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::LoopTrack;

    const S: u64 = 1_000_000;

    fn tally(loops: &[(u64, u64, LoopEnding)]) -> OutageReport {
        let mut tally = OutageTally::new(OutageWindow { from_us: 100 * S, until_us: 160 * S });
        for (due_s, took_s, ending) in loops {
            let (scheduled_us, ended_us) = (due_s * S, (due_s + took_s) * S);
            let track = LoopTrack::default();
            tally.loop_ended(&LoopEnd { phase: 0, scheduled_us, ended_us, ending: *ending, track });
        }
        tally.finish()
    }

    fn steady(from_s: u64, until_s: u64) -> impl Iterator<Item = (u64, u64, LoopEnding)> {
        (from_s..until_s).map(|due_s| (due_s, 2, LoopEnding::Succeeded))
    }

    #[test]
    fn all_is_as_before_when_twenty_in_a_row_are() {
        let failed = |due_s| (due_s, 1, LoopEnding::Failed);
        let slow = |due_s| (due_s, 30, LoopEnding::Succeeded);
        let loops: Vec<_> = steady(0, 98)
            .chain((100..160).map(failed))
            .chain((160..165).map(failed))
            .chain((165..180).map(slow))
            .chain(steady(180, 240))
            .collect();
        let report = tally(&loops);
        // Five of twenty may be slow: the row begins with the last five slow ones.
        assert_eq!((report.recovered_after_s, report.loops_lost), (Some(15.0), 60 + 5));
        assert_eq!(report.success_before, Some(1.0));
    }

    #[test]
    fn an_outage_that_nobody_felt_is_over_at_once() {
        let report = tally(&steady(0, 300).collect::<Vec<_>>());
        assert_eq!((report.recovered_after_s, report.loops_lost), (Some(0.0), 0));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let never: Vec<_> =
            steady(0, 98).chain((98..300).map(|due_s| (due_s, 1, LoopEnding::Failed))).collect();
        assert_eq!(tally(&never).recovered_after_s, None);
        assert_eq!(
            tally(&steady(150, 300).collect::<Vec<_>>()).recovered_after_s,
            None,
            "nothing was before"
        );
    }
}
