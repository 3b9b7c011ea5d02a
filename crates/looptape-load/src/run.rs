//! A run: loops begin when they are due, and are carried through.

use crate::call::{Called, Caller, Sending};
use crate::health::{Health, WAKE_UP_EVERY};
use crate::observer::{LoopId, ObservedCall, ObservedEnd, ObservedStart, Observer};
use crate::spending::Spending;
use crate::target::Target;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use looptape_core::cost::{PriceBook, Usd};
use looptape_core::draws::Draws;
use looptape_core::exchange::{Ending, Outcome};
use looptape_core::load::{
    Arrivals, AttemptOutcome, Due, Ended, Heard, LoadError, LoadReport, LoopEnd, LoopEnding, LoopPlan,
    LoopTrack, Material, Plans, Prices, RunTime, Start, StepPlan, StepTrack, Talk, TalkRequest, Tally, Used,
    Wanted, models,
};
use looptape_core::provider::Provider;
use looptape_core::scenario::Scenario;
use looptape_core::usage::LeafTokens;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

/// What is run, and against what.
#[derive(Debug)]
pub struct Drive<'a> {
    pub scenario: &'a Scenario,
    pub material: &'a Material,
    pub book: &'a PriceBook,
    /// When, for prices.
    pub at_unix_us: i64,
    pub target: Target,
    /// So many calls in a row without any answer, and the target counts as down.
    pub most_unanswered: u32,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Live {
    pub at_us: u64,
    pub loops_ended: u64,
    pub loops_running: u32,
    pub calls: u64,
    pub retries: u64,
    pub spent: Usd,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the HTTP client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// The place of what is drawn here, beside what others draw from the same seed: the same as in virtual time.
const JITTER: u64 = 0x6a69_7474;

/// Runs a scenario. `stop` ends it early: loops under way are broken off, and what ran until then is reported.
/// `observer` is told of every loop and call, `tell` now and then how far it has come.
pub async fn drive(
    drive: Drive<'_>,
    observer: Option<&dyn Observer>,
    stop: impl Future<Output = ()>,
    tell: &mut dyn FnMut(Live),
) -> Result<LoadReport, DriveError> {
    let Drive { scenario, material, book, at_unix_us, target, most_unanswered } = drive;
    let models = models(scenario, material)?;
    let prices = Prices::new(book, scenario.traffic.provider(), &models, at_unix_us);
    if let (Some(_), Some((model, _))) = (scenario.max_usd, prices.unpriced()) {
        return Err(LoadError::Unpriced { model: model.to_owned() }.into());
    }
    let traffic = &scenario.traffic;
    let provider = Provider::parse(traffic.provider()).expect("the names of providers are valid");
    let caller = Caller::new(target, traffic.wire, provider, traffic.stream)?;
    let run = Run {
        scenario,
        plans: Plans::new(scenario, material),
        models: &models,
        prices: &prices,
        caller,
        observer,
        jitter: Draws::new(scenario.seed).at(JITTER),
        most_unanswered,
        tally: RefCell::new(Tally::new(scenario.phases.len(), models.len())),
        arrivals: RefCell::new(Arrivals::new(&scenario.phases, material.times_us(), scenario.seed)),
        health: RefCell::new(Health::new()),
        spending: RefCell::new(Spending::new(scenario.max_usd)),
        ended: RefCell::new(Ended::Completed),
        broken_off: Notify::new(),
        counts: Counts::default(),
    };
    run.to_its_end(stop, tell).await;
    let Run { tally, ended, health, .. } = run;
    let report = tally.into_inner().report(scenario, RunTime::Real, ended.into_inner(), &prices);
    Ok(LoadReport { client: Some(health.into_inner().finish()), ..report })
}

/// All that the loops of a run share. They run on one thread, so nothing is locked; nothing is borrowed across an await.
struct Run<'a> {
    scenario: &'a Scenario,
    plans: Plans<'a>,
    models: &'a [String],
    prices: &'a Prices,
    caller: Caller,
    observer: Option<&'a dyn Observer>,
    jitter: Draws,
    most_unanswered: u32,
    tally: RefCell<Tally>,
    arrivals: RefCell<Arrivals>,
    health: RefCell<Health>,
    spending: RefCell<Spending>,
    ended: RefCell<Ended>,
    /// Loops under way are broken off.
    broken_off: Notify,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    begun: Cell<u64>,
    calls: Cell<u64>,
    retries: Cell<u64>,
    unanswered: Cell<u32>,
}

/// A loop under way.
struct Running {
    start: Start,
    id: LoopId,
    plan: LoopPlan,
    talk: Talk,
    until: Option<Instant>,
    track: LoopTrack,
}

/// How a step ended.
enum StepEnding {
    Answered,
    Over(LoopEnding),
}

impl Run<'_> {
    async fn to_its_end(&self, stop: impl Future<Output = ()>, tell: &mut dyn FnMut(Live)) {
        let mut running = FuturesUnordered::new();
        let [mut wake_up, mut telling] = [WAKE_UP_EVERY, TELL_EVERY].map(tokio::time::interval);
        wake_up.set_missed_tick_behavior(MissedTickBehavior::Delay);
        telling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            if *self.ended.borrow() != Ended::Completed {
                break;
            }
            self.take_due(&mut |start| running.push(self.run_loop(start)));
            let next_us = self.arrivals.borrow().next_us();
            let nothing_begins = next_us.is_none() || self.arrivals.borrow().are_over();
            if nothing_begins && running.is_empty() {
                break;
            }
            let due = self.caller.instant(next_us.unwrap_or(0));
            tokio::select! {
                () = &mut stop => {
                    *self.ended.borrow_mut() = Ended::Interrupted { at_s: self.at_s() };
                }
                () = tokio::time::sleep_until(due), if next_us.is_some() => {}
                Some(()) = running.next() => {}
                at = wake_up.tick() => {
                    let late_us = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.health.borrow_mut().woke_up(late_us);
                }
                _ = telling.tick() => tell(self.live()),
            }
        }
        tell(self.live());
        // What may not go on says so itself; what is paid for goes on to the end of its call.
        if matches!(*self.ended.borrow(), Ended::Interrupted { .. } | Ended::TargetDown { .. }) {
            self.broken_off.notify_waiters();
        }
        while running.next().await.is_some() {}
    }

    fn take_due(&self, begin: &mut dyn FnMut(Start)) {
        let now_us = self.caller.now_us();
        loop {
            let due = self.arrivals.borrow_mut().take(now_us);
            let mut tally = self.tally.borrow_mut();
            match due {
                Some(Due::Loop(start)) => {
                    tally.loop_started(start.phase, start.at_us, now_us);
                    self.health.borrow_mut().loop_began(now_us.saturating_sub(start.at_us));
                    drop(tally);
                    begin(start);
                }
                Some(Due::Dropped { phase, at_us }) => tally.loop_dropped(phase, at_us),
                Some(Due::Begins { phase, .. }) => tally.phase_begins(phase, now_us),
                Some(Due::Ended { phase, .. }) => tally.phase_over(phase, now_us),
                None => return,
            }
        }
    }

    fn live(&self) -> Live {
        let running = self.tally.borrow().running();
        Live {
            at_us: self.caller.now_us(),
            loops_ended: self.counts.begun.get() - u64::from(running),
            loops_running: running,
            calls: self.counts.calls.get(),
            retries: self.counts.retries.get(),
            spent: self.spending.borrow().spent(),
        }
    }

    fn at_s(&self) -> f64 {
        self.caller.now_us() as f64 / 1e6
    }

    fn is_over(&self) -> bool {
        *self.ended.borrow() != Ended::Completed
    }

    async fn run_loop(&self, start: Start) {
        self.counts.begun.set(self.counts.begun.get() + 1);
        let id = LoopId(self.counts.begun.get());
        if let Some(observer) = self.observer {
            observer.loop_began(&ObservedStart { id, phase: start.phase, scheduled_us: start.at_us });
        }
        let plan = self.plans.plan(&start);
        let first = self.plans.step(&plan, 1);
        let system_tokens = self.plans.conversation(&plan).system_tokens();
        let talk = Talk::new(&self.scenario.traffic, &self.models[first.model], &plan, system_tokens);
        let until = self.arrivals.borrow().cut_us(start.phase).map(|us| self.caller.instant(us));
        let mut running = Running { start, id, plan, talk, until, track: LoopTrack::default() };
        let ending = self.steps(&mut running).await;
        let ended_us = self.caller.now_us();
        let Running { track, .. } = running;
        self.tally.borrow_mut().loop_ended(&LoopEnd {
            phase: start.phase,
            scheduled_us: start.at_us,
            ended_us,
            ending,
            track,
        });
        if let Some(observer) = self.observer {
            observer.loop_ended(&ObservedEnd { id, ended_us, ending });
        }
        self.arrivals.borrow_mut().ended(start, ended_us, self.plans.think_us(&plan));
    }

    async fn steps(&self, running: &mut Running) -> LoopEnding {
        for n in 1..=running.plan.steps {
            if self.is_over() {
                return LoopEnding::Stopped;
            }
            let step = self.plans.step(&running.plan, n);
            let is_last = n == running.plan.steps;
            match self.step(running, n, &step, if is_last { Wanted::Answer } else { Wanted::ToolCall }).await
            {
                StepEnding::Over(ending) => return ending,
                StepEnding::Answered if is_last => {}
                StepEnding::Answered => {
                    if !self.wait(running, step.then_us).await {
                        return LoopEnding::Stopped;
                    }
                }
            }
        }
        LoopEnding::Succeeded
    }

    /// Sends a step's request, and again where the client would.
    async fn step(&self, running: &mut Running, n: u32, step: &StepPlan, wanted: Wanted) -> StepEnding {
        let phase = running.start.phase;
        let TalkRequest { path, body } = running.talk.request(n, step, wanted);
        let body = Bytes::from(body);
        let planned = LeafTokens {
            uncached_input: body.len() as u64 / 4,
            output_visible: step.output_tokens,
            ..LeafTokens::default()
        };
        let mut attempts = StepTrack::begin(step.model, self.caller.now_us());
        let ending = loop {
            let Some((called, attempt, failure)) =
                self.attempt(running, (&path, &body), &planned, &mut attempts, step.model).await
            else {
                break StepEnding::Over(LoopEnding::Stopped);
            };
            if attempt == AttemptOutcome::Stopped {
                break StepEnding::Over(LoopEnding::Stopped);
            }
            let Some(failure) = failure else {
                self.counts.unanswered.set(0);
                if let Some(said) = &called.said {
                    running.talk.answered(said);
                }
                break StepEnding::Answered;
            };
            if self.is_down(&called) {
                break StepEnding::Over(LoopEnding::Failed);
            }
            let retries = attempts.retries();
            let place = self.jitter.at(running.plan.loop_key).at(u64::from(n));
            let wait_us =
                self.scenario.retry.policy.wait_us(failure, retries, place.unit(u64::from(retries)));
            let Some(wait_us) = wait_us else { break StepEnding::Over(LoopEnding::Failed) };
            self.counts.retries.set(self.counts.retries.get() + 1);
            self.tally.borrow_mut().retried(self.caller.now_us());
            if !self.wait(running, wait_us).await {
                break StepEnding::Over(LoopEnding::Stopped);
            }
        };
        if attempts.attempts() > 0 {
            let now_us = self.caller.now_us();
            let end = attempts.finish(now_us, self.prices);
            running.track.step(&end);
            self.tally.borrow_mut().step_ended(phase, now_us, &end, self.prices);
        }
        ending
    }

    /// One attempt; `None` if there is no money left for it, or the run is over.
    async fn attempt(
        &self,
        running: &Running,
        (path, body): (&str, &Bytes),
        planned: &LeafTokens,
        attempts: &mut StepTrack,
        model: usize,
    ) -> Option<(Called, AttemptOutcome, Option<looptape_core::retry::Failure>)> {
        if self.is_over() {
            return None;
        }
        let at_most = LeafTokens {
            output_visible: self.scenario.traffic.max_output_tokens.unwrap_or(planned.output_visible),
            ..*planned
        };
        let reserved = match self.spending.borrow_mut().reserve(self.prices, model, &at_most) {
            Ok(reserved) => reserved,
            Err(max_usd) => {
                *self.ended.borrow_mut() = Ended::OverBudget { at_s: self.at_s(), max_usd };
                return None;
            }
        };
        let phase = running.start.phase;
        self.counts.calls.set(self.counts.calls.get() + 1);
        self.tally.borrow_mut().call_began(phase, self.caller.now_us());
        let sent_us = self.caller.now_us();
        let retries = attempts.attempts();
        let sending = Sending {
            path,
            body: body.clone(),
            retries,
            patience: Duration::from_micros(self.scenario.retry.policy.timeout_us),
        };
        let called = self.caller.call(sending, self.over(running.until)).await;
        let heard = Heard {
            outcome: &called.outcome,
            facts: &called.facts,
            given_up: called.given_up,
            planned: *planned,
        };
        let (end, failure) = (heard.attempt(), heard.failure());
        let used = match &end.used {
            Used::Nothing => None,
            Used::Tokens(leaves) | Used::AtLeast(leaves) => Some(*leaves),
        };
        self.spending.borrow_mut().settle(reserved, self.prices, model, used.as_ref());
        self.tally.borrow_mut().call_ended(phase, self.caller.now_us(), &end);
        attempts.attempt(&end, self.prices);
        if let Some(observer) = self.observer {
            observer.call_ended(ObservedCall {
                of: running.id,
                sent_us,
                path: path.to_owned(),
                headers: self.caller.headers(retries),
                body: body.clone(),
                outcome: called.outcome.clone(),
            });
        }
        Some((called, end.outcome, failure))
    }

    /// Whether one call too many had no answer at all: then the run ends.
    fn is_down(&self, called: &Called) -> bool {
        let Outcome::NoResponse { ending, .. } = &called.outcome else {
            self.counts.unanswered.set(0);
            return false;
        };
        let calls = self.counts.unanswered.get() + 1;
        self.counts.unanswered.set(calls);
        if calls < self.most_unanswered {
            return false;
        }
        let error = match ending {
            Ending::UpstreamUnreachable { error } | Ending::UpstreamReset { error } => error.clone(),
            Ending::ClientGone | Ending::Complete => "it gave no answer in time".to_owned(),
        };
        *self.ended.borrow_mut() = Ended::TargetDown { at_s: self.at_s(), calls, error };
        true
    }

    /// Waits, unless the loop's time is over before: then `false`.
    async fn wait(&self, running: &Running, us: u64) -> bool {
        if self.is_over() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_micros(us)) => !self.is_over(),
            () = self.over(running.until) => false,
        }
    }

    /// Until a loop's time is over, or all loops are broken off.
    async fn over(&self, until: Option<Instant>) {
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
