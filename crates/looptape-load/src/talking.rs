//! Loops that the driver carries through itself: it sends what the scenario plans, waits for answers, and tries failed
//! calls again as the scenario's client does.

use crate::budgets::Budgets;
use crate::call::{Asked, Called, Caller, RETRY_COUNT, Sending};
use crate::observer::{LoopId, ObservedCall, ObservedEnd, ObservedStart, Observer};
use crate::recordings::{RecordedRequest, Recordings};
use crate::run::{Drive, RanLoop};
use crate::shared::Shared;
use bytes::Bytes;
use looptape_core::budget::{
    OutputBound, OverBudget, PRESUMED_OUTPUT_TOKENS, Prospect, Settlement, WorstCase, worst_case,
};
use looptape_core::cost::Usd;
use looptape_core::draws::Draws;
use looptape_core::exchange::{Ending, Outcome};
use looptape_core::load::{
    AttemptEnd, AttemptOutcome, Ended, Heard, LoopEnding, LoopPlan, LoopTrack, Plans, Prices, Start,
    StepPlan, StepTrack, Talk, TalkRequest, Used,
};
use looptape_core::provider::Provider;
use looptape_core::retry::Failure;
use looptape_core::usage::LeafTokens;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// The place of what is drawn here, beside what others draw from the same seed: the same as in virtual time.
const JITTER: u64 = 0x6a69_7474;

/// What those loops share besides what all do.
pub(crate) struct Talking<'a> {
    plans: Plans<'a>,
    models: Vec<String>,
    prices: Prices,
    provider: Provider,
    caller: Caller,
    recordings: Option<&'a dyn Recordings>,
    jitter: Draws,
    budgets: Option<&'a dyn Budgets>,
    unanswered: Cell<u32>,
    most_unanswered: u32,
    observer: Option<&'a dyn Observer>,
}

/// A loop under way.
struct Running<'a> {
    shared: &'a Shared<'a>,
    start: Start,
    id: LoopId,
    plan: LoopPlan,
    talk: Talk,
    until: Option<Instant>,
    track: LoopTrack,
}

impl Running<'_> {
    fn now_us(&self) -> u64 {
        self.shared.clock.now_us()
    }

    /// Waits, unless the loop's time is over before: then `false`.
    async fn wait(&self, us: u64) -> bool {
        self.shared.wait(self.until, us).await
    }
}

/// How a step ended.
enum StepEnding {
    Answered,
    Over(LoopEnding),
}

impl<'a> Talking<'a> {
    pub(crate) fn new(drive: &Drive<'a>, models: Vec<String>, prices: Prices, caller: Caller) -> Self {
        let scenario = drive.scenario;
        let provider =
            Provider::parse(scenario.traffic.provider()).expect("the names of providers are valid");
        Self {
            plans: Plans::new(scenario, drive.material),
            models,
            prices,
            provider,
            caller,
            recordings: None,
            jitter: Draws::new(scenario.seed).at(JITTER),
            budgets: None,
            unanswered: Cell::new(0),
            most_unanswered: u32::MAX,
            observer: None,
        }
    }

    /// The same, with somebody who is told of every loop and call.
    pub(crate) fn told(self, observer: Option<&'a dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// The same, sending what was recorded of recorded loops; without a recording they have their sizes only.
    pub(crate) fn taking_from(self, recordings: Option<&'a dyn Recordings>) -> Self {
        Self { recordings, ..self }
    }

    /// The same, sending nothing that does not fit into these.
    pub(crate) fn held_to(self, budgets: Option<&'a dyn Budgets>) -> Self {
        Self { budgets, ..self }
    }

    /// The same, ending the run after so many calls in a row without any answer.
    pub(crate) fn giving_up_after(self, most_unanswered: u32) -> Self {
        Self { most_unanswered, ..self }
    }

    pub(crate) async fn run_loop(
        &self,
        shared: &Shared<'_>,
        start: Start,
        id: LoopId,
        plan: LoopPlan,
        until: Option<Instant>,
    ) -> RanLoop {
        if let Some(observer) = self.observer {
            observer.loop_began(&ObservedStart { id, phase: start.phase, scheduled_us: start.at_us });
        }
        let first = self.plans.step(&plan, 1);
        let system_tokens = self.plans.conversation(&plan).system_tokens();
        let talk = Talk::new(&shared.scenario.traffic, &self.models[first.model], &plan, system_tokens);
        let mut running = Running { shared, start, id, plan, talk, until, track: LoopTrack::default() };
        let ending = self.steps(&mut running).await;
        RanLoop { ended_us: shared.clock.now_us(), ending, track: running.track }
    }

    pub(crate) fn tell_end(&self, id: LoopId, ended_us: u64, ending: LoopEnding) {
        if let Some(budgets) = self.budgets {
            budgets.loop_ended(id);
        }
        if let Some(observer) = self.observer {
            observer.loop_ended(&ObservedEnd { id, ended_us, ending });
        }
    }

    async fn steps(&self, running: &mut Running<'_>) -> LoopEnding {
        for n in 1..=running.plan.steps {
            if running.shared.is_over() {
                return LoopEnding::Stopped;
            }
            let step = self.plans.step(&running.plan, n);
            let is_last = n == running.plan.steps;
            match self.step(running, n, &step).await {
                StepEnding::Over(ending) => return ending,
                StepEnding::Answered if is_last => {}
                StepEnding::Answered => {
                    if !running.wait(step.then_us).await {
                        return LoopEnding::Stopped;
                    }
                }
            }
        }
        LoopEnding::Succeeded
    }

    /// What a step asks: what was recorded, where there is a recording, else what was made up.
    fn asked(&self, running: &mut Running<'_>, n: u32, step: &StepPlan) -> Result<Asked, String> {
        let traffic = &running.shared.scenario.traffic;
        let recorded = self.plans.recorded(&running.plan, n, traffic.wire);
        if let (Some(recordings), Some(recorded)) = (self.recordings, recorded) {
            let RecordedRequest { provider, path, mut headers, body, max_output_tokens } =
                recordings.request(recorded.at)?;
            headers.retain(|(name, _)| name != RETRY_COUNT);
            let (tokens, calls) = (recorded.output_tokens, recorded.tool_calls);
            let wish = Some(format!("output_tokens={tokens}, tool_calls={calls}"));
            let (wire, stream) = (recorded.at.wire, recorded.stream);
            return Ok(Asked { wire, provider, stream, path, headers, body, max_output_tokens, wish });
        }
        let TalkRequest { path, body, max_output_tokens } = running.talk.request(n, step);
        Ok(Asked {
            wire: traffic.wire,
            provider: self.provider.clone(),
            stream: traffic.stream,
            path,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::from(body),
            max_output_tokens,
            wish: None,
        })
    }

    /// Sends a step's request, and again where the client would.
    async fn step(&self, running: &mut Running<'_>, n: u32, step: &StepPlan) -> StepEnding {
        let phase = running.start.phase;
        let asked = match self.asked(running, n, step) {
            Ok(asked) => asked,
            Err(error) => {
                let at_s = running.shared.clock.now_s();
                running.shared.end(Ended::RecordingUnreadable { at_s, error });
                return StepEnding::Over(LoopEnding::Stopped);
            }
        };
        let planned = LeafTokens {
            uncached_input: asked.body.len() as u64 / 4,
            output_visible: step.output_tokens,
            ..LeafTokens::default()
        };
        let mut attempts = StepTrack::begin(step.model, step.history);
        let ending = loop {
            let attempt = self.attempt(running, &asked, &planned, &mut attempts, step.model).await;
            let (called, attempt, failure) = match attempt {
                Ok(attempt) => attempt,
                Err(ending) => break StepEnding::Over(ending),
            };
            if attempt == AttemptOutcome::Stopped {
                break StepEnding::Over(LoopEnding::Stopped);
            }
            let Some(failure) = failure else {
                self.unanswered.set(0);
                if let Some(said) = &called.said {
                    running.talk.answered(said);
                }
                break StepEnding::Answered;
            };
            if self.is_down(running.shared, &called) {
                break StepEnding::Over(LoopEnding::Failed);
            }
            let retries = attempts.retries();
            let place = self.jitter.at(running.plan.loop_key).at(u64::from(n));
            let wait_us = running.shared.scenario.retry.policy.wait_us(
                failure,
                retries,
                place.unit(u64::from(retries)),
            );
            let Some(wait_us) = wait_us else { break StepEnding::Over(LoopEnding::Failed) };
            running.shared.counts.retries.set(running.shared.counts.retries.get() + 1);
            running.shared.tally.borrow_mut().retried(running.now_us());
            if !running.wait(wait_us).await {
                break StepEnding::Over(LoopEnding::Stopped);
            }
        };
        if attempts.attempts() > 0 {
            let now_us = running.now_us();
            let end = attempts.finish(&self.prices);
            running.track.step(&end);
            running.shared.tally.borrow_mut().step_ended(phase, now_us, &end, &self.prices);
        }
        ending
    }

    /// One attempt; `Err` is how the loop ends if there is no money left for it, or the run is over.
    async fn attempt(
        &self,
        running: &Running<'_>,
        asked: &Asked,
        planned: &LeafTokens,
        attempts: &mut StepTrack,
        model: usize,
    ) -> Result<(Called, AttemptOutcome, Option<Failure>), LoopEnding> {
        if running.shared.is_over() {
            return Err(LoopEnding::Stopped);
        }
        let held = match self.budgets {
            None => None,
            Some(budgets) => {
                let most = self.at_most(running.shared, asked, planned, model);
                Some(budgets.admit(running.id, most).await.map_err(|why| refused(running.shared, &why))?)
            }
        };
        if running.shared.is_over() {
            // Meanwhile.
            held.into_iter().for_each(|held| held.settle(Settlement::Nothing));
            return Err(LoopEnding::Stopped);
        }
        let phase = running.start.phase;
        running.shared.counts.calls.set(running.shared.counts.calls.get() + 1);
        running.shared.tally.borrow_mut().call_began(phase, running.now_us());
        let sent_us = running.now_us();
        let retries = attempts.attempts();
        let patience = Duration::from_micros(running.shared.scenario.retry.policy.timeout_us);
        let sending = Sending { asked, retries, patience, clock: running.shared.clock };
        let called = self.caller.call(sending, running.shared.over(running.until)).await;
        let heard = Heard {
            outcome: &called.outcome,
            facts: &called.facts,
            given_up: called.given_up,
            is_unreadable: called.is_unreadable,
        };
        let (end, failure) = (heard.attempt(), heard.failure());
        let settlement = self.settlement(&called, &end, model);
        if let Settlement::Exactly(usd) | Settlement::AtLeast(usd) = settlement {
            running.shared.counts.spent.set(running.shared.counts.spent.get() + usd);
        }
        held.into_iter().for_each(|held| held.settle(settlement));
        running.shared.tally.borrow_mut().call_ended(phase, running.now_us(), &end);
        attempts.attempt(&end, &self.prices);
        running.shared.seen.call(asked, self.prices.model(model), &called, planned);
        if let Some(observer) = self.observer {
            observer.call_ended(ObservedCall {
                of: running.id,
                sent_us,
                provider: asked.provider.clone(),
                path: asked.path.clone(),
                headers: asked.headers(retries),
                body: asked.body.clone(),
                outcome: called.outcome.clone(),
            });
        }
        Ok((called, end.outcome, failure))
    }

    /// What a call came to: one that broke off may have been billed for more than is known, if it was begun at all.
    fn settlement(&self, called: &Called, end: &AttemptEnd, model: usize) -> Settlement {
        let cost =
            |leaves: &LeafTokens| self.prices.cost(model, leaves).map_or(Usd::ZERO, |leaves| leaves.total());
        match &end.used {
            Used::Tokens(leaves) => Settlement::Exactly(cost(leaves)),
            Used::AtLeast(leaves) => Settlement::AtLeast(cost(leaves)),
            Used::Unknown => Settlement::AtLeast(Usd::ZERO),
            Used::Nothing => match &called.outcome {
                Outcome::NoResponse { ending: Ending::UpstreamReset { .. }, .. } => {
                    Settlement::AtLeast(Usd::ZERO)
                }
                _ => Settlement::Nothing,
            },
        }
    }

    /// The most that a call could cost.
    fn at_most(&self, shared: &Shared<'_>, asked: &Asked, planned: &LeafTokens, model: usize) -> WorstCase {
        let prospect = Prospect {
            provider: &asked.provider,
            method: "POST",
            path: &asked.path,
            body: &asked.body,
            at_unix_us: shared.at_unix_us,
        };
        let most = worst_case(&prospect, shared.book);
        if !matches!(most, WorstCase::Unknown { .. }) {
            return most;
        }
        // Not by its name in the request: by the price that the run's figures have for it.
        let (output_tokens, output) = match asked.max_output_tokens {
            Some(stated) => (stated, OutputBound::Stated),
            None => (PRESUMED_OUTPUT_TOKENS, OutputBound::Presumed),
        };
        let input_tokens = asked.body.len() as u64;
        let leaves = LeafTokens { uncached_input: input_tokens, output_visible: output_tokens, ..*planned };
        match self.prices.cost(model, &leaves) {
            Some(cost) => WorstCase::AtMost { usd: cost.total(), input_tokens, output_tokens, output },
            None => most,
        }
    }

    /// Whether one call too many had no answer at all: then the run ends.
    fn is_down(&self, shared: &Shared<'_>, called: &Called) -> bool {
        let Outcome::NoResponse { ending, .. } = &called.outcome else {
            self.unanswered.set(0);
            return false;
        };
        let calls = self.unanswered.get() + 1;
        self.unanswered.set(calls);
        if calls < self.most_unanswered {
            return false;
        }
        let error = match ending {
            Ending::UpstreamUnreachable { error } | Ending::UpstreamReset { error } => error.clone(),
            Ending::ClientGone | Ending::Complete => "it gave no answer in time".to_owned(),
        };
        shared.end(Ended::TargetDown { at_s: shared.clock.now_s(), calls, error });
        true
    }
}

/// How a loop ends of which a call does not fit into a budget: with the run, unless the budget is the loop's own.
fn refused(shared: &Shared<'_>, why: &OverBudget) -> LoopEnding {
    let Some(limit) = why.exhausted() else { return LoopEnding::Failed };
    shared.end(Ended::OverBudget { at_s: shared.clock.now_s(), limit });
    LoopEnding::Stopped
}
