//! Loops that a command carries through: it is started once for each, and its calls pass a recorder.
//!
//! What the command is, and how it is started, is somebody else's business ([`Agents`]). Its exit code says how its loop
//! ended; figures are those of the calls that were recorded, assembled as those of any trace.

use crate::observer::{LoopId, ObservedStart};
use crate::run::RanLoop;
use crate::shared::Shared;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use looptape_core::budget::Exhausted;
use looptape_core::cost::Usd;
use looptape_core::facts::CallFacts;
use looptape_core::load::{Ended, LoopEnding, LoopTrack, RecordedSteps, Start};
use looptape_core::tools::ToolFacts;
use tokio::time::Instant;

/// Whoever starts the command.
pub trait Agents: std::fmt::Debug {
    /// Runs it for one loop. If `over` comes first it is ended, and everything that it started.
    fn run<'a>(&'a self, start: ObservedStart, over: LocalBoxFuture<'a, ()>) -> LocalBoxFuture<'a, AgentRan>;

    /// How many calls of all of them are under way.
    fn calls_under_way(&self) -> u32;

    /// The limit on the whole run, or on more than it, because of which a call was refused.
    fn exhausted(&self) -> Option<Exhausted>;
}

/// A command that ran for a loop.
#[derive(Clone, Debug)]
pub struct AgentRan {
    pub ending: AgentEnding,
    /// When it ended: what is known of it may be known later.
    pub ended: std::time::Instant,
    /// Its recorded calls, in the order in which they started. Their time begins when the loop was due.
    pub facts: Vec<CallFacts>,
    /// What was measured of its tools, in the order in which it was told.
    pub tools: Vec<ToolFacts>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEnding {
    Exited {
        code: i32,
        /// The last line that it printed.
        last_words: String,
    },
    /// It was told to.
    Stopped {
        /// Why it may still run.
        trouble: Option<String>,
    },
    /// There is no such command: nothing can run.
    NotFound { error: String },
    /// This time it could not be started, or what became of it cannot be told.
    Lost { error: String },
}

/// So many commands in a row that ended with an error before they asked a model, and the run ends.
pub const MOST_IN_VAIN: u32 = 10;

pub(crate) async fn run_loop(
    shared: &Shared<'_>,
    agents: &dyn Agents,
    start: Start,
    id: LoopId,
    until: Option<Instant>,
) -> RanLoop {
    if shared.is_over() {
        // Nobody would tell it any more.
        let (ended_us, track) = (shared.clock.now_us(), LoopTrack::default());
        return RanLoop { ended_us, ending: LoopEnding::Stopped, track };
    }
    let observed = ObservedStart { id, phase: start.phase, scheduled_us: start.at_us };
    let ran = agents.run(observed, shared.over(until).boxed_local()).await;
    let ended_us = shared.clock.us_at(ran.ended);
    let track = count(shared, &start, &ran);
    let ending = match ran.ending {
        AgentEnding::Stopped { .. } => LoopEnding::Stopped,
        AgentEnding::Exited { code: 0, .. } => {
            shared.counts.in_vain.set(0);
            LoopEnding::Succeeded
        }
        AgentEnding::Exited { code, last_words } => {
            let said = if last_words.is_empty() { String::new() } else { format!(": {last_words}") };
            failed(shared, &ran.facts, MOST_IN_VAIN, format!("it ended with code {code}{said}"));
            LoopEnding::Failed
        }
        AgentEnding::Lost { error } => {
            failed(shared, &ran.facts, MOST_IN_VAIN, error);
            LoopEnding::Failed
        }
        AgentEnding::NotFound { error } => {
            failed(shared, &ran.facts, 1, error);
            LoopEnding::Failed
        }
    };
    RanLoop { ended_us, ending, track }
}

/// What shows between the ends of loops.
pub(crate) fn look(shared: &Shared<'_>, agents: &dyn Agents) {
    shared.tally.borrow_mut().calls_at_once(agents.calls_under_way());
    if let Some(limit) = agents.exhausted() {
        shared.end(Ended::OverBudget { at_s: shared.clock.now_s(), limit });
    }
}

/// Tells the tally what passed the recorder.
fn count(shared: &Shared<'_>, start: &Start, ran: &AgentRan) -> LoopTrack {
    let mut track = LoopTrack::default();
    let mut prices = shared.prices.borrow_mut();
    let mut tally = shared.tally.borrow_mut();
    let counts = &shared.counts;
    let recorded = RecordedSteps {
        facts: &ran.facts,
        tools: &ran.tools,
        due_us: start.at_us,
        book: shared.book,
        at_unix_us: shared.at_unix_us,
    };
    let (steps, beside) = recorded.ends(&mut prices);
    for step in steps {
        for attempt in &step.attempts {
            tally.call_passed(start.phase, attempt);
        }
        (1..step.attempts.len()).for_each(|retry| tally.retried(step.attempts[retry].sent_us));
        counts.calls.set(counts.calls.get() + step.attempts.len() as u64);
        counts.retries.set(counts.retries.get() + step.attempts.len() as u64 - 1);
        counts.spent.set(counts.spent.get() + step.end.usd());
        let ended_us = step.attempts.iter().map(|attempt| attempt.end_us).max().unwrap_or(start.at_us);
        track.step(&step.end);
        tally.step_ended(start.phase, ended_us, &step.end, &prices);
    }
    counts.spent.set(counts.spent.get() + beside.cost.usd().unwrap_or(Usd::ZERO));
    LoopTrack { beside, ..track }
}

/// A loop came to an error; if it made no call, it is one in vain.
fn failed(shared: &Shared<'_>, facts: &[CallFacts], most: u32, error: String) {
    let in_vain = if facts.is_empty() { shared.counts.in_vain.get() + 1 } else { 0 };
    shared.counts.in_vain.set(in_vain);
    if in_vain >= most {
        shared.end(Ended::CommandFailed { at_s: shared.clock.now_s(), loops: in_vain, error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Drive, Loops, drive};
    use looptape_core::cost::PriceBook;
    use looptape_core::load::{LoadReport, Material};
    use looptape_core::scenario;

    /// Commands of which each ends as its number says.
    struct Scripted(fn(u64) -> AgentEnding);

    impl std::fmt::Debug for Scripted {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Scripted")
        }
    }

    impl Agents for Scripted {
        fn run<'a>(
            &'a self,
            start: ObservedStart,
            _: LocalBoxFuture<'a, ()>,
        ) -> LocalBoxFuture<'a, AgentRan> {
            let ending = (self.0)(start.id.0);
            let ended = std::time::Instant::now();
            async move { AgentRan { ending, ended, facts: Vec::new(), tools: Vec::new() } }.boxed_local()
        }

        fn calls_under_way(&self) -> u32 {
            0
        }

        fn exhausted(&self) -> Option<Exhausted> {
            None
        }
    }

    async fn run(ends: fn(u64) -> AgentEnding) -> LoadReport {
        let text = "[[phase]]\nexecutor = 'per-vu-iterations'\nvus = 1\niterations = 30\n";
        let (scenario, material) = (scenario::read(text, &[]).unwrap(), Material::default());
        let drives = Drive {
            scenario: &scenario,
            material: &material,
            book: &PriceBook::default(),
            at_unix_us: 0,
            started: std::time::Instant::now(),
            outage: None,
        };
        drive(drives, Loops::Agents(&Scripted(ends)), std::future::pending(), &mut |_| {}).await.unwrap()
    }

    fn well() -> AgentEnding {
        AgentEnding::Exited { code: 0, last_words: String::new() }
    }

    fn lost() -> AgentEnding {
        AgentEnding::Lost { error: "too many open files".to_owned() }
    }

    #[tokio::test]
    async fn a_command_that_was_lost_is_a_failed_loop_and_the_run_goes_on() {
        let report = run(|no| if no % 3 == 0 { lost() } else { well() }).await;
        let loops = report.total.stats.loops;
        assert_eq!((report.ended, loops.failure, loops.success), (Ended::Completed, 10, 20));
    }

    #[tokio::test]
    async fn so_many_in_a_row_end_the_run_and_a_missing_command_does_at_once() {
        let report = run(|_| lost()).await;
        let Ended::CommandFailed { loops, error, .. } = report.ended else { panic!("{:?}", report.ended) };
        assert_eq!((loops, error.as_str()), (MOST_IN_VAIN, "too many open files"));
        let report = run(|_| AgentEnding::NotFound { error: "no such".to_owned() }).await;
        assert!(matches!(report.ended, Ended::CommandFailed { loops: 1, .. }), "{:?}", report.ended);
    }
}
