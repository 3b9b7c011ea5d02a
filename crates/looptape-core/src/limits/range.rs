//! How exactly calls show a limit: the limits under which as many of them would have been let in, and refused, as were.
//!
//! A candidate is a bucket as the twin has it, given the calls that were let in at their times. It is too low where it
//! would have refused one of them, and too high where it would have let in one that was refused. The more calls come
//! near a limit, the nearer together are the lowest and the highest that are neither.

use super::{Demand, Limit, Limited, Limiter, Limits};
use serde::Serialize;

/// A call, as a limit sees it. Times are µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriedCall {
    pub at_us: u64,
    pub ends_us: u64,
    pub demand: Demand,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    LetIn,
    RefusedBy(Limited),
    /// By another one, or by none.
    RefusedOtherwise,
}

/// From the lowest to the highest limit that the calls allow; outside of it more than one call in twenty, of those that
/// were let in or of those that were refused, would have fared otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LimitRange {
    pub low: u64,
    pub high: u64,
    /// Calls that fare under the named limit (without one: in the middle) as they did, of so many.
    pub agree: u64,
    pub of: u64,
}

/// So many calls in a hundred may have fared otherwise: clocks differ, and some were counted differently.
const STRAYS_PERCENT: u64 = 5;

/// The range of one limit; `None` if it refused nothing, or let in nothing. `calls` in order of time; `named` is what the
/// provider says.
pub fn range(which: Limited, calls: &[TriedCall], named: Option<u64>) -> Option<LimitRange> {
    let counts = if which == Limited::Requests { &[true, false][..] } else { &[true][..] };
    let ranges = counts
        .iter()
        .filter_map(|count_refused| Trial { which, calls, count_refused: *count_refused }.range(named));
    ranges.max_by_key(|range| range.agree)
}

/// Calls, to be held against candidates.
#[derive(Clone, Copy)]
struct Trial<'a> {
    which: Limited,
    calls: &'a [TriedCall],
    /// Whether a refused call counts as one.
    count_refused: bool,
}

/// Calls that would have fared otherwise.
#[derive(Clone, Copy, Debug, Default)]
struct Strays {
    /// Let in, and would have been refused.
    let_in: u64,
    /// Refused, and would have been let in.
    refused: u64,
}

impl Trial<'_> {
    fn range(&self, named: Option<u64>) -> Option<LimitRange> {
        let count = |fate: Fate| self.calls.iter().filter(|call| call.fate == fate).count() as u64;
        let (let_in, refused) = (count(Fate::LetIn), count(Fate::RefusedBy(self.which)));
        if let_in == 0 || refused == 0 {
            return None;
        }
        let may_stray = |of: u64| of * STRAYS_PERCENT / 100;
        let low = lowest(|limit| self.strays(limit).let_in <= may_stray(let_in))?;
        let high = lowest(|limit| self.strays(limit).refused > may_stray(refused))?.saturating_sub(1).max(1);
        let (low, high) = (low.min(high), low.max(high));
        let Strays { let_in: one, refused: other } = self.strays(named.unwrap_or(low + (high - low) / 2));
        let of = let_in + refused;
        Some(LimitRange { low, high, agree: of.saturating_sub(one + other), of })
    }

    fn strays(&self, limit: u64) -> Strays {
        let Ok(limit) = Limit::new(limit) else { return Strays::default() };
        let mut limiter = Limiter::new(&self.only(limit));
        let mut strays = Strays::default();
        for call in self.calls {
            let is_refused = limiter.check(call.at_us, &call.demand).is_some();
            match call.fate {
                Fate::LetIn => {
                    strays.let_in += u64::from(is_refused);
                    limiter.admit(call.at_us, &call.demand, call.ends_us);
                }
                Fate::RefusedBy(which) => {
                    strays.refused += u64::from(which == self.which && !is_refused);
                    limiter.refused(call.at_us);
                }
                Fate::RefusedOtherwise => limiter.refused(call.at_us),
            }
        }
        strays
    }

    fn only(&self, limit: Limit) -> Limits {
        let mut limits = Limits { count_refused: self.count_refused, ..Limits::default() };
        let place = match self.which {
            Limited::Requests => &mut limits.rpm,
            Limited::Tokens => &mut limits.tpm,
            Limited::InputTokens => &mut limits.itpm,
            Limited::OutputTokens => &mut limits.otpm,
            Limited::Concurrent => &mut limits.concurrent,
        };
        *place = Some(limit);
        limits
    }
}

/// The lowest limit of which something holds that holds of all higher ones too.
fn lowest(holds: impl Fn(u64) -> bool) -> Option<u64> {
    let mut high = 1;
    while !holds(high) {
        high = high.checked_mul(2).filter(|limit| *limit <= Limit::MOST)?;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;
    use proptest::prelude::*;

    const S: u64 = 1_000_000;

    /// Calls at random times, as this limit treats them.
    fn tried(which: Limited, limit: u64, count: u64, gap_us: u64, seed: u64) -> Vec<TriedCall> {
        let draws = Draws::new(seed);
        let trial = Trial { which, calls: &[], count_refused: true };
        let mut limiter = Limiter::new(&trial.only(Limit::new(limit).unwrap()));
        let mut at_us = 0;
        let one = |n: u64| {
            at_us += (draws.unit(n) * 2.0 * gap_us as f64) as u64;
            let input_tokens = 200 + draws.at(1).number(n) % 600;
            let demand = Demand { input_tokens, output_tokens: 100, ..Demand::default() };
            let ends_us = at_us + S;
            let fate = match limiter.check(at_us, &demand) {
                Some(_) => {
                    limiter.refused(at_us);
                    Fate::RefusedBy(which)
                }
                None => {
                    limiter.admit(at_us, &demand, ends_us);
                    Fate::LetIn
                }
            };
            TriedCall { at_us, ends_us, demand, fate }
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn the_limit_is_within_the_range_and_the_range_is_narrow() {
        for (which, limit, gap_us) in [
            (Limited::Requests, 300, S / 10),
            (Limited::Tokens, 60_000, S / 4),
            (Limited::InputTokens, 40_000, S / 4),
        ] {
            let calls = tried(which, limit, 2000, gap_us, 7);
            let range = range(which, &calls, Some(limit)).unwrap();
            assert!(range.low <= limit && limit <= range.high, "{which:?}: {range:?}");
            let width = (range.high - range.low) as f64 / limit as f64;
            assert!(width < 0.05, "{which:?}: {range:?}");
            assert_eq!(range.agree, range.of, "{which:?}");
        }
    }

    #[test]
    fn a_limit_that_was_not_reached_has_no_range() {
        assert_eq!(range(Limited::Requests, &tried(Limited::Requests, 1000, 100, S, 1), Some(1000)), None);
        assert_eq!(range(Limited::Requests, &[], None), None);
    }

    #[test]
    fn calls_that_fared_otherwise_are_counted() {
        let mut calls = tried(Limited::Requests, 120, 600, S / 5, 3);
        let refused = calls.iter().position(|call| call.fate != Fate::LetIn).unwrap();
        calls[refused].fate = Fate::RefusedOtherwise;
        let range = range(Limited::Requests, &calls, Some(60)).unwrap();
        assert!(range.agree < range.of && range.low > 60, "another limit is named than they show: {range:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn whatever_the_limit_it_is_in_its_range(limit in 20u64..2000, seed in 0u64..1000) {
            let gap_us = 60 * S / (limit * 3);
            let calls = tried(Limited::Requests, limit, limit * 6, gap_us, seed);
            if let Some(range) = range(Limited::Requests, &calls, Some(limit)) {
                prop_assert!(range.low <= limit && limit <= range.high, "{:?}", range);
                prop_assert_eq!(range.agree, range.of);
            }
        }
    }
}
