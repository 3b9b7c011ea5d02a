//! A run: loops begin when they are due, and are carried through.

use crate::agents::{self, Agents};
use crate::budgets::Budgets;
use crate::call::Caller;
use crate::health::WAKE_UP_EVERY;
use crate::observer::{LoopId, Observer};
use crate::recordings::Recordings;
use crate::shared::{Live, Shared};
use crate::talking::Talking;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use looptape_core::budget::UnpricedCalls;
use looptape_core::cost::PriceBook;
use looptape_core::load::{
    Due, Ended, LoadError, LoadReport, LoopEnd, LoopEnding, LoopTrack, Material, Plans, Prices, Start, models,
};
use looptape_core::scenario::{OutageWindow, Scenario};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Drive<'a> {
    pub scenario: &'a Scenario,
    pub material: &'a Material,
    pub book: &'a PriceBook,
    /// When, for prices.
    pub at_unix_us: i64,
    /// When the run's clock shows 0.
    pub started: Instant,
    /// When the target is known to be down.
    pub outage: Option<OutageWindow>,
}

/// Who carries loops through.
#[derive(Clone, Debug)]
pub enum Loops<'a> {
    /// The driver: it sends what the scenario plans.
    Sent {
        caller: Caller,
        /// So many calls in a row without any answer, and the target counts as down.
        most_unanswered: u32,
        observer: Option<&'a dyn Observer>,
        /// Of recorded loops.
        recordings: Option<&'a dyn Recordings>,
        /// What its calls may cost.
        budgets: Option<&'a dyn Budgets>,
    },
    /// A command, once for each loop.
    Agents(&'a dyn Agents),
}

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Runs a scenario. `stop` ends it early: loops under way are broken off, and what ran until then is reported.
/// `tell` is told now and then how far it has come.
pub async fn drive(
    drive: Drive<'_>,
    loops: Loops<'_>,
    stop: impl Future<Output = ()>,
    tell: &mut dyn FnMut(Live),
) -> Result<LoadReport, LoadError> {
    let Drive { scenario, material, book, at_unix_us, .. } = drive;
    let planned = models(scenario, material)?;
    // Which models agents ask is known when they have asked.
    let models = match &loops {
        Loops::Sent { .. } => planned,
        Loops::Agents(_) => Vec::new(),
    };
    let prices = Prices::new(book, scenario.traffic.provider(), &models, at_unix_us);
    let budgets = match &loops {
        Loops::Sent { budgets, .. } => *budgets,
        Loops::Agents(_) => None,
    };
    let must_be_priced = budgets.is_some_and(|budgets| budgets.unpriced() == UnpricedCalls::Refused);
    if let (true, Some((model, _))) = (must_be_priced, prices.unpriced()) {
        return Err(LoadError::Unpriced { model: model.to_owned() });
    }
    let shared = Shared::new(&drive, prices.clone());
    let carried = match loops {
        Loops::Sent { caller, most_unanswered, observer, recordings, budgets } => {
            let talking = Talking::new(&drive, models, prices, caller);
            let talking = talking.told(observer).taking_from(recordings).held_to(budgets);
            Carried::Sent(Box::new(talking.giving_up_after(most_unanswered)))
        }
        Loops::Agents(agents) => Carried::ByAgents(agents),
    };
    Run { shared: &shared, plans: Plans::new(scenario, material), carried }.to_its_end(stop, tell).await;
    Ok(shared.into_report())
}

/// How loops are carried through.
enum Carried<'a> {
    Sent(Box<Talking<'a>>),
    ByAgents(&'a dyn Agents),
}

/// A loop that ran, and when it ended.
pub(crate) struct RanLoop {
    pub(crate) ended_us: u64,
    pub(crate) ending: LoopEnding,
    pub(crate) track: LoopTrack,
}

struct Run<'a> {
    shared: &'a Shared<'a>,
    plans: Plans<'a>,
    carried: Carried<'a>,
}

impl Run<'_> {
    async fn to_its_end(&self, stop: impl Future<Output = ()>, tell: &mut dyn FnMut(Live)) {
        let shared = self.shared;
        let mut running = FuturesUnordered::new();
        let [mut wake_up, mut telling] = [WAKE_UP_EVERY, TELL_EVERY].map(tokio::time::interval);
        wake_up.set_missed_tick_behavior(MissedTickBehavior::Delay);
        telling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        while !shared.is_over() {
            self.take_due(&mut |start, id| running.push(self.run_loop(start, id)));
            let next_us = shared.arrivals.borrow().next_us();
            let nothing_begins = next_us.is_none() || shared.arrivals.borrow().are_over();
            if nothing_begins && running.is_empty() {
                break;
            }
            let due = shared.clock.instant(next_us.unwrap_or(0));
            tokio::select! {
                () = &mut stop => shared.end(Ended::Interrupted { at_s: shared.clock.now_s() }),
                () = tokio::time::sleep_until(due), if next_us.is_some() => {}
                Some(()) = running.next() => {}
                at = wake_up.tick() => self.woke_up(at.elapsed()),
                _ = telling.tick() => tell(shared.live()),
            }
        }
        tell(shared.live());
        // What may not go on says so itself; what is paid for goes on to the end of its call, unless it is told to stop too.
        let mut goes_on = !shared.breaks_off();
        if !goes_on {
            shared.break_off();
        }
        loop {
            tokio::select! {
                ended = running.next() => if ended.is_none() { break },
                () = &mut stop, if goes_on => {
                    goes_on = false;
                    shared.break_off();
                }
            }
        }
    }

    fn woke_up(&self, late: Duration) {
        let shared = self.shared;
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        shared.health.borrow_mut().woke_up(late_us);
        let now_us = shared.clock.now_us();
        if let Carried::ByAgents(agents) = &self.carried {
            agents::look(shared, *agents);
        }
        let failed =
            shared.aborts.borrow_mut().judge(now_us, &shared.tally.borrow(), &shared.prices.borrow());
        failed.into_iter().for_each(|why| shared.end(why));
    }

    fn take_due(&self, begin: &mut dyn FnMut(Start, LoopId)) {
        let shared = self.shared;
        let now_us = shared.clock.now_us();
        loop {
            let due = shared.arrivals.borrow_mut().take(now_us);
            let mut tally = shared.tally.borrow_mut();
            match due {
                Some(Due::Loop(start)) => {
                    tally.loop_started(start.phase, start.at_us, now_us);
                    shared.health.borrow_mut().loop_began(now_us.saturating_sub(start.at_us));
                    drop(tally);
                    // Counted where the tally counts it: a loop may begin to run a little later.
                    shared.counts.begun.set(shared.counts.begun.get() + 1);
                    begin(start, LoopId(shared.counts.begun.get()));
                }
                Some(Due::Dropped { phase, at_us }) => tally.loop_dropped(phase, at_us),
                Some(Due::Begins { phase, at_us }) => tally.phase_begins(phase, at_us),
                Some(Due::Ended { phase, .. }) => tally.phase_over(phase, now_us),
                None => return,
            }
        }
    }

    async fn run_loop(&self, start: Start, id: LoopId) {
        let shared = self.shared;
        let until = shared.arrivals.borrow().cut_us(start.phase).map(|us| shared.clock.instant(us));
        let plan = self.plans.plan(&start);
        let RanLoop { ended_us, ending, track } = match &self.carried {
            Carried::Sent(talking) => talking.run_loop(shared, start, id, plan, until).await,
            Carried::ByAgents(agents) => agents::run_loop(shared, *agents, start, id, until).await,
        };
        shared.tally.borrow_mut().loop_ended(&LoopEnd {
            phase: start.phase,
            scheduled_us: start.at_us,
            ended_us,
            ending,
            track,
        });
        if let Carried::Sent(talking) = &self.carried {
            talking.tell_end(id, ended_us, ending);
        }
        shared.arrivals.borrow_mut().ended(start, ended_us, self.plans.think_us(&plan));
    }
}
