//! Which of a provider's ordered upstreams gets a call, and when the next one does.
//!
//! The first one that is well is asked; if its answer is a failure, the next. An upstream that failed several times
//! in a row rests: it is passed over until its rest is over. Then one call, and no other, is sent there to see
//! (half-open). If that fails too it rests twice as long, up to [`LONGEST_REST`] times; if not, it is back at once.
//!
//! Invariants: nobody is left without an upstream: those that rest come last, the one that rests least first. At most
//! one call at a time probes an upstream. Times are µs on a clock that the caller has.
//!
//! It does not send anything, and does not know what an upstream is: upstreams are places in a list.

/// How upstreams are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailoverRules {
    /// Failures in a row after which an upstream rests; at least 1.
    pub failures: u32,
    /// How long it rests at first.
    pub rest_us: u64,
}

/// A rest grows to so many times the first one.
pub const LONGEST_REST: u64 = 8;

impl Default for FailoverRules {
    fn default() -> Self {
        Self { failures: 3, rest_us: 30_000_000 }
    }
}

/// How a call to an upstream went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It answered, whatever it said.
    Well,
    /// It could not be reached, broke off, is overloaded, or has an error of its own.
    Failed,
    /// It refuses more calls for this long.
    AsksToWait { wait_us: u64 },
    /// The client went away before there was anything to judge.
    Unknown,
}

/// Judges an answer's status. What the client did wrong is wrong everywhere.
pub fn judge(status: u16, retry_after_ms: Option<u64>) -> Judged {
    match (status, retry_after_ms) {
        (429 | 503, Some(ms)) => Judged::AsksToWait { wait_us: ms.saturating_mul(1000) },
        (429 | 500.., _) => Judged::Failed,
        _ => Judged::Well,
    }
}

impl Judged {
    /// Whether the next upstream is asked.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::AsksToWait { .. })
    }
}

/// How well the upstreams of one provider are.
#[derive(Clone, Debug)]
pub struct Health {
    rules: FailoverRules,
    upstreams: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// So many calls in a row failed.
    Well {
        failures: u32,
    },
    Resting {
        until_us: u64,
        rest_us: u64,
    },
    /// One call is under way to see whether it is well again.
    Probed {
        rest_us: u64,
    },
}

/// What one upstream's condition comes to, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Well,
    Resting { for_us: u64 },
    Probed,
}

impl Health {
    pub fn new(upstreams: usize, rules: FailoverRules) -> Self {
        Self { rules, upstreams: vec![Condition::Well { failures: 0 }; upstreams] }
    }

    /// The upstreams for a call that starts now, in the order in which they are to be asked. Whoever asks one says so
    /// ([`Health::asks`]) and how it went ([`Health::heard`]).
    pub fn order(&self, now_us: u64) -> Vec<usize> {
        let (mut usable, mut resting) = (Vec::new(), Vec::new());
        for (place, condition) in self.upstreams.iter().enumerate() {
            match *condition {
                Condition::Well { .. } => usable.push(place),
                Condition::Resting { until_us, .. } if until_us <= now_us => usable.push(place),
                Condition::Resting { until_us, .. } => resting.push((until_us, place)),
                Condition::Probed { .. } => resting.push((u64::MAX, place)),
            }
        }
        resting.sort_unstable();
        usable.into_iter().chain(resting.into_iter().map(|(_, place)| place)).collect()
    }

    /// A call is sent to the upstream at `place`.
    pub fn asks(&mut self, place: usize, now_us: u64) {
        if let Some(condition) = self.upstreams.get_mut(place)
            && let Condition::Resting { until_us, rest_us } = *condition
            && until_us <= now_us
        {
            *condition = Condition::Probed { rest_us };
        }
    }

    /// What came of it. Says whether the upstream's standing has changed.
    pub fn heard(&mut self, place: usize, now_us: u64, judged: Judged) -> bool {
        let Some(condition) = self.upstreams.get_mut(place) else { return false };
        let first = self.rules.rest_us;
        let rest = |rest_us: u64| Condition::Resting { until_us: now_us.saturating_add(rest_us), rest_us };
        let longer = |rest_us: u64| rest(rest_us.saturating_mul(2).min(first.saturating_mul(LONGEST_REST)));
        let before = *condition;
        *condition = match (judged, before) {
            (Judged::Well, _) => Condition::Well { failures: 0 },
            // It says itself when it is to be asked again; that is no reason for longer rests later.
            (Judged::AsksToWait { wait_us }, _) => {
                Condition::Resting { until_us: now_us.saturating_add(wait_us), rest_us: first }
            }
            (Judged::Failed, Condition::Well { failures }) if failures + 1 < self.rules.failures.max(1) => {
                Condition::Well { failures: failures + 1 }
            }
            (Judged::Failed, Condition::Well { .. }) => rest(first),
            (Judged::Failed, Condition::Probed { rest_us }) => longer(rest_us),
            // Asked as the last resort: its rest goes on.
            (Judged::Failed, resting @ Condition::Resting { .. }) => resting,
            // The next call may see.
            (Judged::Unknown, Condition::Probed { rest_us }) => {
                Condition::Resting { until_us: now_us, rest_us }
            }
            (Judged::Unknown, other) => other,
        };
        std::mem::discriminant(&before) != std::mem::discriminant(condition)
    }

    pub fn standing(&self, place: usize, now_us: u64) -> Standing {
        match self.upstreams.get(place) {
            Some(Condition::Resting { until_us, .. }) => {
                Standing::Resting { for_us: until_us.saturating_sub(now_us) }
            }
            Some(Condition::Probed { .. }) => Standing::Probed,
            Some(Condition::Well { .. }) | None => Standing::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000;

    fn health() -> Health {
        Health::new(3, FailoverRules { failures: 2, rest_us: 10 * S })
    }

    #[test]
    fn one_that_fails_twice_rests_and_is_probed_once() {
        let mut health = health();
        assert!(!health.heard(0, 0, Judged::Failed));
        assert_eq!(health.order(0), [0, 1, 2]);
        assert!(health.heard(0, S, Judged::Failed));
        assert_eq!(health.order(S), [1, 2, 0], "it is the last resort");
        assert_eq!(health.standing(0, 2 * S), Standing::Resting { for_us: 9 * S });
        assert_eq!(health.order(11 * S), [0, 1, 2], "its rest is over");
        health.asks(0, 11 * S);
        assert_eq!(health.order(11 * S), [1, 2, 0], "another call does not probe it too");
        assert!(health.heard(0, 12 * S, Judged::Failed));
        assert_eq!(health.order(31 * S), [1, 2, 0], "it rests twice as long");
        assert_eq!(health.order(32 * S), [0, 1, 2]);
        health.asks(0, 32 * S);
        assert!(health.heard(0, 33 * S, Judged::Well));
        assert_eq!((health.order(33 * S), health.standing(0, 0)), (vec![0, 1, 2], Standing::Well));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut health = health();
        for judged in [Judged::Failed, Judged::Well, Judged::Failed] {
            health.heard(0, 0, judged);
        }
        assert_eq!(health.order(0), [0, 1, 2]);
    }

    #[test]
    fn one_that_asks_to_wait_rests_for_so_long() {
        let mut health = health();
        health.heard(1, 0, Judged::AsksToWait { wait_us: 3 * S });
        assert_eq!((health.order(2 * S), health.order(3 * S)), (vec![0, 2, 1], vec![0, 1, 2]));
    }

    #[test]
    fn a_probe_whose_client_went_away_says_nothing() {
        let mut health = health();
        for _ in 0..2 {
            health.heard(0, 0, Judged::Failed);
        }
        health.asks(0, 10 * S);
        health.heard(0, 10 * S, Judged::Unknown);
        assert_eq!(health.order(10 * S), [0, 1, 2], "the next call sees");
    }

    #[test]
    fn statuses() {
        let judged =
            [(200, None), (400, None), (401, None), (404, None), (429, None), (500, None), (529, None)]
                .map(|(status, wait)| judge(status, wait).is_failure());
        assert_eq!(judged, [false, false, false, false, true, true, true]);
        assert_eq!(judge(429, Some(1500)), Judged::AsksToWait { wait_us: 1_500_000 });
        assert_eq!(judge(500, Some(1500)), Judged::Failed);
    }

    proptest! {
        /// Whatever happens: every upstream is in the order once, and rests end.
        #[test]
        fn nobody_is_left_out(events in prop::collection::vec((0..3_usize, 0..5_u8, 0..20_u64), 0..60)) {
            let (mut health, mut now) = (health(), 0);
            for (place, what, later) in events {
                now += later * S;
                match what {
                    0 => health.asks(place, now),
                    1 => { health.heard(place, now, Judged::Well); }
                    2 => { health.heard(place, now, Judged::Unknown); }
                    3 => { health.heard(place, now, Judged::AsksToWait { wait_us: 5 * S }); }
                    _ => { health.heard(place, now, Judged::Failed); }
                }
                let mut order = health.order(now);
                order.sort_unstable();
                prop_assert_eq!(order, vec![0, 1, 2]);
            }
            for place in 0..3 {
                if let Standing::Resting { for_us } = health.standing(place, now) {
                    prop_assert!(for_us <= 10 * S * LONGEST_REST);
                }
            }
        }
    }
}
