//! When loops begin: the phases of a scenario as one stream of starts, in order of time.
//!
//! Real and virtual time ask alike: when is something due ([`Arrivals::next_us`]), what is it ([`Arrivals::take`]), and
//! they tell when a loop has ended ([`Arrivals::ended`]), for closed executors start the next one then.
//!
//! Invariants: starts come in order of time; the same scenario and seed give the same starts, as long as loops end at
//! the same times; an open executor's arrivals do not depend on how loops end, only whether they are started or
//! dropped does. Memory grows with the virtual users, not with the loops.

use crate::draws::Draws;
use crate::scenario::{Executor, Phase, Spacing};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// A loop that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The phase's place in the scenario.
    pub phase: usize,
    /// 0, 1, 2, … in its phase.
    pub index: u64,
    /// When it is due: latency counts from here.
    pub at_us: u64,
    /// The virtual user of a closed executor.
    user: Option<u32>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Loop(Start),
    /// A loop that was offered while as many ran as may.
    Dropped {
        phase: usize,
        at_us: u64,
    },
    /// A phase begins.
    Begins {
        phase: usize,
        at_us: u64,
    },
    /// A phase is over: no more loops of it will begin.
    Ended {
        phase: usize,
        at_us: u64,
    },
}

/// All phases.
#[derive(Clone, Debug)]
pub struct Arrivals {
    phases: Vec<Running>,
    due: BinaryHeap<Reverse<Event>>,
    events: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at_us: u64,
    /// Of one instant, what was planned first comes first.
    no: u64,
    phase: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Begin,
    Arrival,
    User(u32),
    End,
}

/// A phase under way.
#[derive(Clone, Debug)]
struct Running {
    phase: Phase,
    draws: Draws,
    begun_us: u64,
    /// Loops that were started or dropped.
    offered: u64,
    running: u32,
    /// The integral of the rate up to the next arrival.
    passed: f64,
    /// Which users have a loop under way.
    busy: Vec<bool>,
    left: Left,
    is_over: bool,
    /// The workload file's own times.
    times_us: Arc<[u64]>,
}

/// Loops that are left to do.
#[derive(Clone, Debug)]
enum Left {
    Unlimited,
    Shared(u64),
    /// By user.
    Each(Vec<u64>),
}

/// The place of what is drawn here, beside what others draw from the same seed.
const ARRIVALS: u64 = 0x6172_7269;

impl Arrivals {
    /// `times_us` are those of the workload's file, in rising order; empty without one.
    pub fn new(phases: &[Phase], times_us: Arc<[u64]>, seed: u64) -> Self {
        let draws = Draws::new(seed).at(ARRIVALS);
        let running = |(at, phase): (usize, &Phase)| Running {
            phase: phase.clone(),
            draws: draws.at(at as u64),
            begun_us: 0,
            offered: 0,
            running: 0,
            passed: 0.0,
            busy: Vec::new(),
            left: Left::Unlimited,
            is_over: false,
            times_us: times_us.clone(),
        };
        let phases: Vec<Running> = phases.iter().enumerate().map(running).collect();
        let mut arrivals = Self { phases, due: BinaryHeap::new(), events: 0 };
        for at in 0..arrivals.phases.len() {
            let start_us = arrivals.phases[at].phase.start_us.or((at == 0).then_some(0));
            start_us.into_iter().for_each(|us| arrivals.plan(us, at, What::Begin));
        }
        arrivals
    }

    /// When the next thing is due; `None`: nothing is, unless a loop ends.
    pub fn next_us(&self) -> Option<u64> {
        self.due.peek().map(|Reverse(event)| event.at_us)
    }

    /// Whether all phases are over: no more loops will begin, whatever is still due.
    pub fn are_over(&self) -> bool {
        self.phases.iter().all(|phase| phase.is_over)
    }

    /// Until when the loops of a phase that has begun may run; `None`: as long as they take.
    pub fn cut_us(&self, phase: usize) -> Option<u64> {
        let Running { phase, begun_us, .. } = &self.phases[phase];
        let has_max_duration =
            matches!(phase.executor, Executor::SharedIterations { .. } | Executor::PerVuIterations { .. });
        let graceful_us = phase.graceful_stop_us.or(has_max_duration.then_some(0))?;
        Some(begun_us.saturating_add(phase.executor.longest_us()?).saturating_add(graceful_us))
    }

    /// Takes what is due next, if that is not after `now_us`.
    pub fn take(&mut self, now_us: u64) -> Option<Due> {
        while self.next_us().is_some_and(|at_us| at_us <= now_us) {
            let Reverse(event) = self.due.pop()?;
            if let Some(due) = self.happen(event) {
                return Some(due);
            }
        }
        None
    }

    /// A loop has ended; its user thinks for so long before it starts another.
    pub fn ended(&mut self, start: Start, now_us: u64, think_us: u64) {
        let running = &mut self.phases[start.phase];
        running.running -= 1;
        if running.running == 0 && running.left.is_nothing() {
            self.plan(now_us, start.phase, What::End);
        }
        if let Some(user) = start.user {
            let next_us = now_us.saturating_add(think_us);
            let running = &mut self.phases[start.phase];
            running.busy[user as usize] = false;
            if running.wants(user, next_us) {
                self.plan(next_us, start.phase, What::User(user));
            }
        }
    }

    fn plan(&mut self, at_us: u64, phase: usize, what: What) {
        self.events += 1;
        self.due.push(Reverse(Event { at_us, no: self.events, phase, what }));
    }

    fn happen(&mut self, event: Event) -> Option<Due> {
        let Event { at_us, phase, what, .. } = event;
        match what {
            What::Begin => Some(self.begin(phase, at_us)),
            What::Arrival => Some(self.arrive(phase, at_us)),
            What::User(user) => self.start_of(phase, user, at_us).map(Due::Loop),
            What::End => self.end(phase, at_us),
        }
    }

    fn begin(&mut self, phase: usize, at_us: u64) -> Due {
        let running = &mut self.phases[phase];
        running.begun_us = at_us;
        running.left = Left::of(&running.phase.executor);
        let users = running.users();
        running.busy = vec![false; users.iter().map(|(_, user)| *user as usize + 1).max().unwrap_or(0)];
        let longest_us = running.phase.executor.longest_us();
        for (after_us, user) in users {
            self.plan(at_us.saturating_add(after_us), phase, What::User(user));
        }
        self.plan_arrival(phase, at_us);
        longest_us.into_iter().for_each(|us| self.plan(at_us.saturating_add(us), phase, What::End));
        Due::Begins { phase, at_us }
    }

    /// Plans an open executor's next arrival; past the last of a file's, its phase is over.
    fn plan_arrival(&mut self, phase: usize, now_us: u64) {
        let running = &mut self.phases[phase];
        match running.next_arrival_us() {
            Some(at_us) => self.plan(at_us, phase, What::Arrival),
            None if running.phase.executor == Executor::FileTimes => self.plan(now_us, phase, What::End),
            None => {}
        }
    }

    fn arrive(&mut self, phase: usize, at_us: u64) -> Due {
        let running = &mut self.phases[phase];
        let index = running.offered;
        let most = match running.phase.executor {
            Executor::ArrivalRate { max_vus, .. } => max_vus,
            _ => u32::MAX,
        };
        let is_full = running.running >= most;
        running.offered += 1;
        running.running += u32::from(!is_full);
        self.plan_arrival(phase, at_us);
        match is_full {
            true => Due::Dropped { phase, at_us },
            false => Due::Loop(Start { phase, index, at_us, user: None }),
        }
    }

    /// A virtual user starts a loop, unless it runs one already, or may not any more.
    fn start_of(&mut self, phase: usize, user: u32, at_us: u64) -> Option<Start> {
        let running = &mut self.phases[phase];
        if running.busy[user as usize] || !running.wants(user, at_us) {
            return None;
        }
        running.busy[user as usize] = true;
        running.left.take(user);
        let index = running.offered;
        running.offered += 1;
        running.running += 1;
        Some(Start { phase, index, at_us, user: Some(user) })
    }

    fn end(&mut self, phase: usize, at_us: u64) -> Option<Due> {
        if std::mem::replace(&mut self.phases[phase].is_over, true) {
            return None;
        }
        let follows = self.phases.get(phase + 1).is_some_and(|next| next.phase.start_us.is_none());
        if follows {
            self.plan(at_us, phase + 1, What::Begin);
        }
        Some(Due::Ended { phase, at_us })
    }
}

impl Running {
    /// When users come, after the phase's start.
    fn users(&self) -> Vec<(u64, u32)> {
        match &self.phase.executor {
            Executor::Vus { vus } => vus.rises().into_iter().map(|(us, unit)| (us, unit - 1)).collect(),
            Executor::SharedIterations { vus, .. } | Executor::PerVuIterations { vus, .. } => {
                (0..*vus).map(|user| (0, user)).collect()
            }
            Executor::ArrivalRate { .. } | Executor::FileTimes => Vec::new(),
        }
    }

    /// Whether a user is to start a loop at this time.
    fn wants(&self, user: u32, at_us: u64) -> bool {
        let after_us = at_us - self.begun_us;
        let is_in_time = self.phase.executor.longest_us().is_none_or(|longest| after_us < longest);
        let is_there = match &self.phase.executor {
            Executor::Vus { vus } => vus.at(after_us) >= f64::from(user) + 1.0,
            _ => true,
        };
        !self.is_over && is_in_time && is_there && self.left.has_some(user)
    }

    /// When the next loop of an open executor comes; each call goes one further.
    fn next_arrival_us(&mut self) -> Option<u64> {
        match &self.phase.executor {
            Executor::ArrivalRate { rate_per_s, spacing, .. } => {
                match spacing {
                    Spacing::Constant => self.passed = self.offered as f64,
                    Spacing::Poisson => self.passed += -(-self.draws.unit(self.offered)).ln_1p(),
                }
                rate_per_s.when_area(self.passed).map(|us| self.begun_us.saturating_add(us))
            }
            Executor::FileTimes => {
                let place = usize::try_from(self.offered).ok()?;
                self.times_us.get(place).map(|us| self.begun_us.saturating_add(*us))
            }
            _ => None,
        }
    }
}

impl Left {
    fn of(executor: &Executor) -> Self {
        match executor {
            Executor::SharedIterations { iterations, .. } => Self::Shared(*iterations),
            Executor::PerVuIterations { vus, iterations, .. } => Self::Each(vec![*iterations; *vus as usize]),
            _ => Self::Unlimited,
        }
    }

    fn has_some(&self, user: u32) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Shared(left) => *left > 0,
            Self::Each(left) => left[user as usize] > 0,
        }
    }

    fn take(&mut self, user: u32) {
        match self {
            Self::Unlimited => {}
            Self::Shared(left) => *left -= 1,
            Self::Each(left) => left[user as usize] -= 1,
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::Unlimited => false,
            Self::Shared(left) => *left == 0,
            Self::Each(left) => left.iter().all(|left| *left == 0),
        }
    }
}

#[cfg(test)]
mod tests;
