//! Who is asked in virtual time: the twin, or two of them, of which the second is asked where the first one fails, as by a
//! gateway ([`crate::failover`]).

use crate::failover::{Health, Judged, judge};
use crate::scenario::Scenario;
use crate::twin::{Ask, InputLeaves, SharedCache, Twin, TwinSpec, Verdict};

/// The providers of a run.
#[derive(Clone, Debug)]
pub(super) enum Providers {
    One(Box<Twin>),
    Two(Box<Pair>),
}

#[derive(Clone, Debug)]
pub(super) struct Pair {
    twins: [Twin; 2],
    health: Health,
    cache: SharedCache,
}

/// Which of them, and whether another one is asked if it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// 0 for the first provider.
    pub(super) place: usize,
    pub(super) then: Option<usize>,
}

impl Asked {
    /// Who is asked next.
    pub(super) fn next(self) -> Option<Self> {
        self.then.map(|place| Self { place, then: None })
    }
}

/// The second provider draws other numbers.
const SECOND: u64 = 0x7365_636f;

impl Providers {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let first = Twin::new(scenario.twin.clone(), scenario.seed);
        let Some(failover) = &scenario.failover else { return Self::One(Box::new(first)) };
        let like_first =
            || TwinSpec { faults: Vec::new(), limits: Default::default(), ..scenario.twin.clone() };
        let second = Twin::new(failover.twin.clone().unwrap_or_else(like_first), scenario.seed ^ SECOND);
        let (health, cache) = (Health::new(2, failover.rules), SharedCache::new(scenario.twin.cache));
        Self::Two(Box::new(Pair { twins: [first, second], health, cache }))
    }

    /// Who gets a call that is sent now.
    pub(super) fn choose(&self, now_us: u64) -> Asked {
        match self {
            Self::One(_) => Asked { place: 0, then: None },
            Self::Two(pair) => {
                let order = pair.health.order(now_us);
                Asked { place: order[0], then: order.get(1).copied() }
            }
        }
    }

    pub(super) fn ask(&mut self, asked: Asked, ask: &Ask<'_>) -> Verdict {
        match self {
            Self::One(twin) => twin.ask(ask),
            Self::Two(pair) => {
                pair.health.asks(asked.place, ask.at_us);
                pair.twins[asked.place].ask(ask)
            }
        }
    }

    /// How the input of a served call would have been split if one provider had served them all.
    pub(super) fn undisturbed(&mut self, ask: &Ask<'_>, verdict: &Verdict) -> Option<InputLeaves> {
        match (self, verdict) {
            (Self::Two(pair), Verdict::Served(service)) => Some(pair.cache.served(ask, service)),
            _ => None,
        }
    }

    /// It is known what became of a call.
    pub(super) fn heard(&mut self, asked: Asked, now_us: u64, judged: Judged) {
        if let Self::Two(pair) = self {
            pair.health.heard(asked.place, now_us, judged);
        }
    }
}

/// As the gateway judges it.
pub(super) fn judged(verdict: &Verdict) -> Judged {
    match verdict {
        Verdict::Served(_) => Judged::Well,
        Verdict::Dropped { .. } => Judged::Failed,
        Verdict::Refused(refusal) => judge(refusal.status(), refusal.retry_after_us().map(|us| us / 1000)),
    }
}
