//! A run in virtual time: the same phases, loops, retries and figures as in real time, and nothing waits.
//!
//! A discrete-event simulation: the next thing that happens is taken from a heap, the clock jumps there, and what
//! follows from it is put back. The twin decides at once what becomes of a call, so a call is two events: it is sent,
//! it has ended.
//!
//! Invariants: the same scenario, material, prices and seed give the same report, byte for byte; memory grows with the
//! loops that run at once, not with all loops. What this leaves out: the client's own time, the network's, and the
//! machine's: between an answer and the next request there is what the traffic says, and nothing else.

mod ending;
mod providers;
#[cfg(test)]
mod tests;

use super::abort::Aborts;
use super::arrivals::{Arrivals, Due, Start};
use super::outage::ServedCall;
use super::plans::{Conversation, LoopPlan, Plans, Prompt, StepPlan};
use super::prices::Prices;
use super::report::{Ended, LoadReport, RunTime};
use super::tally::{LoopEnd, LoopEnding, Tally};
use super::track::{AttemptOutcome, LoopTrack, StepTrack, Used};
use super::{LoadError, Material};
use crate::budget::Exhausted;
use crate::cost::{PriceBook, Usd};
use crate::draws::Draws;
use crate::failover::Judged;
use crate::scenario::Scenario;
use crate::twin::{Ask, Caching, CallPlace, Delivery, InputLeaves};
use crate::usage::LeafTokens;
use crate::wire::Wire;
use ending::Ending;
use providers::{Asked, Providers, judged};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub at_us: u64,
    pub loops_ended: u64,
    pub loops_running: u32,
}

/// Loops between two reports of progress.
const PROGRESS_EVERY: u64 = 1 << 12;

/// Runs a scenario in virtual time, at the prices of a time. `progress` is told now and then how far it has come, and
/// may end it: what ran until then is reported.
pub fn simulate(
    scenario: &Scenario,
    material: &Material,
    book: &PriceBook,
    at_unix_us: i64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<LoadReport, LoadError> {
    let models = super::models(scenario, material)?;
    let prices = Prices::new(book, scenario.traffic.provider(), &models, at_unix_us);
    if let (Some(_), Some((model, _))) = (scenario.max_usd, prices.unpriced()) {
        return Err(LoadError::Unpriced { model: model.to_owned() });
    }
    let prices = match &scenario.failover {
        Some(failover) => {
            let provider = failover.provider.as_deref().unwrap_or(scenario.traffic.provider());
            let asked = |model: &String| failover.model.clone().unwrap_or_else(|| model.clone());
            let models: Vec<String> = models.iter().map(asked).collect();
            prices.and(book, provider, &models, at_unix_us)
        }
        None => prices,
    };
    let mut run = Run::new(scenario, material, &models, &prices);
    run.run_out(progress);
    Ok(run.tally.report(scenario, RunTime::Virtual, run.ended, &prices))
}

struct Run<'a> {
    scenario: &'a Scenario,
    plans: Plans<'a>,
    prices: &'a Prices,
    arrivals: Arrivals,
    providers: Providers,
    /// How many models the first provider has: those of the second come behind them.
    models: usize,
    jitter: Draws,
    tally: Tally,
    loops: Vec<Running>,
    free: Vec<u32>,
    events: BinaryHeap<Reverse<Event>>,
    planned: u64,
    loops_begun: u64,
    spent: Usd,
    aborts: Aborts,
    ended: Ended,
    now_us: u64,
}

/// Of one instant, what was planned first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at_us: u64,
    no: u64,
    slot: u32,
}

/// A loop under way.
struct Running {
    start: Start,
    plan: LoopPlan,
    loop_no: u64,
    /// The step that it is at, from 1.
    n: u32,
    step: StepPlan,
    prompt: Option<Prompt>,
    conversation: Conversation,
    /// When its phase stops it.
    cut_us: Option<u64>,
    next: Next,
    track: LoopTrack,
    attempts: StepTrack,
    /// Who has its call, and since when its client waits.
    asked: Asked,
    sent_us: u64,
    /// How the provider that has it will be judged.
    judged: Judged,
}

/// What a loop does next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Send,
    /// Its call goes to another provider.
    Forward,
    /// Its call ends, like this.
    End(Ending),
    /// It is stopped, without a call under way.
    Stop,
}

const JITTER: u64 = 0x6a69_7474;

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, material: &'a Material, models: &[String], prices: &'a Prices) -> Self {
        Self {
            scenario,
            plans: Plans::new(scenario, material),
            prices,
            arrivals: Arrivals::new(&scenario.phases, material.times_us(), scenario.seed),
            providers: Providers::new(scenario),
            models: models.len(),
            jitter: Draws::new(scenario.seed).at(JITTER),
            tally: Tally::new(scenario.phases.len(), models.len()).with_outage(scenario.simulated_outage()),
            loops: Vec::new(),
            free: Vec::new(),
            events: BinaryHeap::new(),
            planned: 0,
            loops_begun: 0,
            spent: Usd::ZERO,
            aborts: Aborts::new(&scenario.aborting),
            ended: Ended::Completed,
            now_us: 0,
        }
    }

    fn run_out(&mut self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) {
        let mut told = 0;
        loop {
            let own_us = self.events.peek().map(|Reverse(event)| event.at_us);
            let due_us = self.arrivals.next_us().filter(|_| self.ended == Ended::Completed);
            match (own_us, due_us) {
                (None, None) => break,
                // Of one instant what runs comes first: what starts as another ends does not run beside it.
                (Some(own), due) if due.is_none_or(|due| own <= due) => self.step(),
                (_, Some(due)) => self.take_due(due),
                (Some(_), None) => self.step(),
            }
            if self.ended == Ended::Completed
                && let Some(ended) = self.aborts.judge(self.now_us, &self.tally, self.prices)
            {
                self.ended = ended;
            }
            let loops_ended = self.loops_begun - u64::from(self.tally.running());
            if loops_ended >= told + PROGRESS_EVERY {
                told = loops_ended;
                let so_far =
                    Progress { at_us: self.now_us, loops_ended, loops_running: self.tally.running() };
                if progress(so_far).is_break() && self.ended == Ended::Completed {
                    self.ended = Ended::Interrupted { at_s: self.now_us as f64 / 1e6 };
                }
            }
        }
    }

    fn take_due(&mut self, at_us: u64) {
        self.now_us = at_us;
        match self.arrivals.take(at_us) {
            Some(Due::Loop(start)) => self.begin(start),
            Some(Due::Dropped { phase, at_us }) => self.tally.loop_dropped(phase, at_us),
            Some(Due::Begins { phase, at_us }) => self.tally.phase_begins(phase, at_us),
            Some(Due::Ended { phase, at_us }) => self.tally.phase_over(phase, at_us),
            None => {}
        }
    }

    fn begin(&mut self, start: Start) {
        self.loops_begun += 1;
        self.tally.loop_started(start.phase, start.at_us, start.at_us);
        let plan = self.plans.plan(&start);
        let step = self.plans.step(&plan, 1);
        let running = Running {
            start,
            plan,
            loop_no: self.loops_begun,
            n: 1,
            step,
            prompt: None,
            conversation: self.plans.conversation(&plan),
            cut_us: self.arrivals.cut_us(start.phase),
            next: Next::Send,
            track: LoopTrack::default(),
            attempts: StepTrack::begin(step.model, step.history),
            asked: Asked { place: 0, then: None },
            sent_us: start.at_us,
            judged: Judged::Well,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.loops[slot as usize] = running;
                slot
            }
            None => {
                self.loops.push(running);
                u32::try_from(self.loops.len() - 1).expect("there are a million virtual users at most")
            }
        };
        self.plan_request(start.at_us, slot);
    }

    /// A loop sends its next request then, unless its phase stops it before.
    fn plan_request(&mut self, at_us: u64, slot: u32) {
        match self.loops[slot as usize].cut_us.filter(|cut_us| *cut_us < at_us) {
            Some(cut_us) => self.plan(cut_us.max(self.now_us), slot, Next::Stop),
            None => self.plan(at_us, slot, Next::Send),
        }
    }

    fn plan(&mut self, at_us: u64, slot: u32, next: Next) {
        self.loops[slot as usize].next = next;
        self.planned += 1;
        self.events.push(Reverse(Event { at_us, no: self.planned, slot }));
    }

    /// The next thing that happens to a loop.
    fn step(&mut self) {
        let Some(Reverse(Event { at_us, slot, .. })) = self.events.pop() else { return };
        self.now_us = at_us;
        match self.loops[slot as usize].next {
            Next::Send if self.ended == Ended::Completed => self.send(slot),
            Next::Forward => self.forward(slot),
            Next::Send | Next::Stop => self.end_loop(slot, LoopEnding::Stopped),
            Next::End(ending) => self.end_call(slot, &ending),
        }
    }

    fn send(&mut self, slot: u32) {
        let asked = self.providers.choose(self.now_us);
        let running = &mut self.loops[slot as usize];
        (running.asked, running.sent_us) = (asked, self.now_us);
        match self.ask(slot) {
            Some(ending) => {
                let phase = self.loops[slot as usize].start.phase;
                self.tally.call_began(phase, self.now_us);
                self.plan_end(slot, ending);
            }
            None => self.end_loop(slot, LoopEnding::Stopped),
        }
    }

    /// The provider that has a loop's call failed, and the next one gets it.
    fn forward(&mut self, slot: u32) {
        let running = &mut self.loops[slot as usize];
        self.providers.heard(running.asked, self.now_us, running.judged);
        running.asked = running.asked.next().unwrap_or(running.asked);
        let sent_us = running.sent_us;
        match self.ask(slot) {
            Some(ending) => self.plan_end(slot, ending),
            None => self.end_call(slot, &Ending::given_up(sent_us, self.now_us)),
        }
    }

    fn plan_end(&mut self, slot: u32, ending: Ending) {
        let running = &self.loops[slot as usize];
        let is_given_up =
            matches!(ending.attempt.outcome, AttemptOutcome::Stopped | AttemptOutcome::TimedOut);
        let goes_on = running.judged.is_failure() && !is_given_up && running.asked.next().is_some();
        let next = if goes_on { Next::Forward } else { Next::End(ending) };
        self.plan(ending.attempt.end_us, slot, next);
    }

    /// What becomes of a loop's call at the provider that has it now; `None`: it cannot be paid.
    fn ask(&mut self, slot: u32) -> Option<Ending> {
        let traffic = &self.scenario.traffic;
        let running = &mut self.loops[slot as usize];
        let step = running.step;
        let prompt = running.conversation.prompt(&running.plan, running.n, step.input);
        running.prompt = Some(prompt);
        let is_marked = traffic.wire == Wire::AnthropicMessages;
        let ask = Ask {
            at_us: self.now_us,
            place: CallPlace {
                loop_key: running.plan.loop_key,
                loop_no: running.loop_no,
                step: running.n,
                attempt: running.attempts.attempts() + 1,
            },
            prompt: prompt.parts(),
            caching: match is_marked {
                true => Caching::Marked { parts: prompt.parts().len() },
                false => Caching::Automatic,
            },
            max_output_tokens: traffic.max_output_tokens,
            output_tokens: step.output_tokens,
            delivery: if traffic.stream { Delivery::Streamed } else { Delivery::Whole },
        };
        let asked = running.asked;
        let verdict = self.providers.ask(asked, &ask);
        let undisturbed = self.providers.undisturbed(&ask, &verdict);
        let patience_us = self.scenario.retry.policy.timeout_us;
        let ending = Ending::of(&verdict, running.sent_us, traffic, &step).within(patience_us);
        let ending = match running.cut_us.filter(|cut_us| *cut_us < ending.attempt.end_us) {
            Some(cut_us) => ending.stopped(cut_us),
            None => ending,
        };
        let model = step.model + asked.place * self.models;
        if !self.fits_budget(model, &ending) {
            return None;
        }
        let judged = judged(&verdict);
        if judged == Judged::Well {
            // Known as soon as it answers; what fails is known when it has failed.
            self.providers.heard(asked, self.now_us, judged);
        }
        let running = &mut self.loops[slot as usize];
        running.judged = judged;
        running.attempts.served_by(model);
        if let (Some(leaves), Used::Tokens(used)) = (undisturbed, &ending.attempt.used) {
            self.served(model, step.model, used, leaves);
        }
        Some(ending)
    }

    fn served(&mut self, model: usize, first_model: usize, used: &LeafTokens, leaves: InputLeaves) {
        let would_have_used = LeafTokens {
            uncached_input: leaves.uncached,
            cache_read: leaves.cache_read,
            cache_write_5m: leaves.cache_write,
            ..*used
        };
        let call = ServedCall { at_us: self.now_us, model, first_model, used: *used, would_have_used };
        self.tally.call_served(&call, self.prices);
    }

    /// Whether a call can be paid; if not, the run ends.
    fn fits_budget(&mut self, model: usize, ending: &Ending) -> bool {
        let Some(max_usd) = self.scenario.max_usd else { return true };
        let cost = match &ending.attempt.used {
            Used::Nothing | Used::Unknown => Usd::ZERO,
            Used::Tokens(leaves) | Used::AtLeast(leaves) => {
                self.prices.cost(model, leaves).map_or(Usd::ZERO, |leaves| leaves.total())
            }
        };
        let fits = self.spent + cost <= max_usd;
        match fits {
            true => self.spent += cost,
            false => {
                let limit = Exhausted::run(max_usd);
                self.ended = Ended::OverBudget { at_s: self.now_us as f64 / 1e6, limit };
            }
        }
        fits
    }

    fn end_call(&mut self, slot: u32, ending: &Ending) {
        let running = &mut self.loops[slot as usize];
        let outcome = ending.attempt.outcome;
        self.tally.call_ended(running.start.phase, self.now_us, &ending.attempt);
        running.attempts.attempt(&ending.attempt, self.prices);
        let judged = match outcome {
            AttemptOutcome::Stopped | AttemptOutcome::TimedOut => Judged::Unknown,
            _ => running.judged,
        };
        if running.judged != Judged::Well {
            self.providers.heard(running.asked, self.now_us, judged);
        }
        if outcome == AttemptOutcome::Stopped {
            return self.end_loop(slot, LoopEnding::Stopped);
        }
        let Some(failure) = ending.failure() else { return self.end_step(slot) };
        let retries = running.attempts.retries();
        let place = self.jitter.at(running.plan.loop_key).at(u64::from(running.n));
        let wait_us = self.scenario.retry.policy.wait_us(failure, retries, place.unit(u64::from(retries)));
        match wait_us {
            Some(wait_us) => {
                self.tally.retried(self.now_us);
                self.plan_request(self.now_us.saturating_add(wait_us), slot);
            }
            None => self.end_loop(slot, LoopEnding::Failed),
        }
    }

    /// A step was answered: the next one follows, or the loop has ended.
    fn end_step(&mut self, slot: u32) {
        let running = &mut self.loops[slot as usize];
        let end = running.attempts.finish(self.prices);
        running.track.step(&end);
        self.tally.step_ended(running.start.phase, self.now_us, &end, self.prices);
        if let Some(prompt) = &running.prompt {
            running.conversation.answered(prompt, end.output_tokens);
        }
        running.attempts = StepTrack::default();
        if running.n == running.plan.steps {
            return self.end_loop(slot, LoopEnding::Succeeded);
        }
        let at_us = self.now_us.saturating_add(running.step.then_us);
        running.n += 1;
        running.step = self.plans.step(&running.plan, running.n);
        running.attempts = StepTrack::begin(running.step.model, running.step.history);
        self.plan_request(at_us, slot);
    }

    fn end_loop(&mut self, slot: u32, ending: LoopEnding) {
        let running = &mut self.loops[slot as usize];
        let start = running.start;
        if running.attempts.attempts() > 0 {
            let end = running.attempts.finish(self.prices);
            running.track.step(&end);
            self.tally.step_ended(start.phase, self.now_us, &end, self.prices);
        }
        self.tally.loop_ended(&LoopEnd {
            phase: start.phase,
            scheduled_us: start.at_us,
            ended_us: self.now_us,
            ending,
            track: running.track,
        });
        let think_us = self.plans.think_us(&running.plan);
        self.free.push(slot);
        self.arrivals.ended(start, self.now_us, think_us);
    }
}
