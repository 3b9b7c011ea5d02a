//! One test, run to its verdict.
//!
//! Nothing that goes wrong with a test ends the others: it becomes that test's verdict.

use super::place::{Opened, TestPlace};
use super::record::Recordings;
use crate::child::environment::Variables;
use crate::child::process::{ChildOutput, Interruption, Program};
use crate::child::surroundings::SurroundingsArgs;
use crate::commands::agent_replay::{self, AgentRan, AgentReplay, Books, Prices, Record};
use crate::commands::gates::{Score, billed, observations};
use crate::commands::judge::{Judged, judged};
use crate::commands::resend::{Report, ResendArgs, Resending};
use crate::commands::sources::ModelPlan;
use crate::config::Config;
use crate::exit::Exit;
use crate::replay_trace::ReplayStore;
use crate::session::Global;
use crate::test_entry::{Agent, Drive, Test};
use crate::test_report::{Ran, TestVerdict};
use looptape_core::gates::Conditions;
use looptape_core::labels::Labels;
use looptape_core::replay::comparison::Verdict as Judgement;
use looptape_core::replay::{Holes, ModelKind, Options, Rung, Summary};
use looptape_proxy::tape_server::Speed;

/// What every run needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench<'a> {
    pub(super) global: &'a Global,
    pub(super) config: &'a Config,
    /// For gates of single tests.
    pub(super) conditions: &'a Conditions,
    /// What was recorded before.
    pub(super) recordings: &'a Recordings,
}

/// One run of a test.
#[derive(Debug)]
pub(super) struct OneRun {
    pub(super) verdict: TestVerdict,
    pub(super) ran: Ran,
    /// When the recording was made, if that is known.
    pub(super) recorded_unix_us: Option<i64>,
}

impl Bench<'_> {
    /// Runs a test once; not one whose cassette could not be recorded.
    pub(super) fn run(&self, test: &Test) -> OneRun {
        let run = match self.recordings.get(test.recording.path()) {
            Some(Err(why)) => Err(anyhow::anyhow!("{why}")),
            Some(Ok(_)) | None => self.try_run(test),
        };
        run.unwrap_or_else(|error| OneRun {
            verdict: TestVerdict::Broken(format!("{error:#}")),
            ran: Ran::default(),
            recorded_unix_us: None,
        })
    }

    fn try_run(&self, test: &Test) -> anyhow::Result<OneRun> {
        let place = TestPlace::new()?;
        let opened = place.open(self.global, self.config, test)?;
        let recorded_unix_us = opened.trace.row.happened_unix_us();
        if opened.trace.facts.is_empty() {
            let verdict = TestVerdict::ProvesNothing("the recording holds no calls".to_owned());
            return Ok(OneRun { verdict, ran: Ran::default(), recorded_unix_us });
        }
        let books = match test.sources.asked(self.config)? {
            Some(ModelKind::Live) => ReplayStore::start(self.global, self.config, Labels::default())?,
            Some(ModelKind::Mock) | None => None,
        };
        // What was spent before is in the user's database.
        let plan = match &books {
            Some(_) => test.sources.plan(self.config, &self.global.reader()?)?,
            None => test.sources.plan(self.config, &opened.reader)?,
        };
        let run = RunOfTest { bench: self, test, place: &place, opened: &opened, plan: plan.as_ref() };
        let (verdict, ran) = match &test.drive {
            Drive::Agent(agent) => run.with_agent(agent, books)?,
            Drive::TeacherForced => run.without_agent(&ResendArgs::once(), books)?,
            Drive::Free => run.without_agent(&ResendArgs::once_freely(), books)?,
        };
        let (verdict, ran) = self.by_gates(test, verdict, ran);
        Ok(OneRun { verdict, ran, recorded_unix_us })
    }

    /// The figures of a run, and what its test's own gates say of them.
    fn by_gates(&self, test: &Test, verdict: TestVerdict, mut ran: Ran) -> (TestVerdict, Ran) {
        let observations = observations(ran.metrics.iter(), [ran.score], ran.spent);
        ran.figures = observations.summaries();
        let own =
            Conditions { gates: test.gates.clone(), regressions: None, unknown: self.conditions.unknown };
        ran.gates = own.judge(&observations);
        let failed: Vec<String> = ran.gates.failures().map(|gate| gate.gate.clone()).collect();
        let verdict = match verdict {
            TestVerdict::Passed if !failed.is_empty() => {
                let gates = if failed.len() == 1 { "a gate" } else { "gates" };
                TestVerdict::GateFailed(format!("{gates} failed: {}", failed.join(", ")))
            }
            verdict => verdict,
        };
        (verdict, ran)
    }
}

/// A test under way.
struct RunOfTest<'a> {
    bench: &'a Bench<'a>,
    test: &'a Test,
    place: &'a TestPlace,
    opened: &'a Opened,
    plan: Option<&'a ModelPlan<'a>>,
}

impl RunOfTest<'_> {
    fn options(&self) -> Options {
        let test = self.test;
        let rungs = [Rung::Bytes, Rung::Canonical, Rung::Renamed, Rung::Masked];
        let options = Options {
            max_rung: rungs[usize::from(test.max_rung.min(3))],
            holes: if test.allow_incomplete { Holes::Allow } else { Holes::Refuse },
            ..Options::default()
        };
        test.sources.options(options)
    }

    fn why(&self) -> String {
        self.plan.map_or_else(|| self.test.sources.why(), ModelPlan::why)
    }

    fn store(&self) -> anyhow::Result<Option<ReplayStore>> {
        ReplayStore::start(&self.place.global, self.bench.config, Labels::default())
    }

    fn with_agent(&self, agent: &Agent, books: Option<ReplayStore>) -> anyhow::Result<(TestVerdict, Ran)> {
        let Self { test, place, opened, .. } = *self;
        let config = self.bench.config.with_tools(&agent.tool_policies);
        let replay = AgentReplay {
            config: &config,
            reader: &opened.reader,
            trace: &opened.trace,
            options: self.options(),
            speed: Speed::AtOnce,
            surroundings: SurroundingsArgs {
                block_egress: agent.block_egress,
                sandbox: agent.sandbox,
                clock: agent.clock,
            },
            place: place.of_agent(test),
            upstreams: &[],
            prices: Prices::OnlyOfLiveCalls,
        };
        let program = Program {
            command: &agent.command,
            output: ChildOutput::Captured(place.output()?),
            folder: Some(&test.folder),
            limit: Some(agent.timeout),
            tools: agent.tools,
        };
        let mut variables: Variables = agent.env.clone().into_iter().collect();
        variables.push(place.temporary_variable());
        let books = books.map_or(Books::WithTheReplay, Books::Elsewhere);
        let record = Record { store: self.store()?, why: self.why(), books };
        match replay.run(program, variables, self.plan, record)? {
            Err(not_started) => Ok((TestVerdict::Broken(not_started.message), Ran::default())),
            Ok(ran) => self.agent_ran(agent, ran),
        }
    }

    fn agent_ran(&self, agent: &Agent, ran: AgentRan) -> anyhow::Result<(TestVerdict, Ran)> {
        let exit = ran.exit(self.test.allow_unused);
        let AgentRan { child, summary, requests, own, guarantee, money, .. } = ran;
        let verdict = match (exit, child.interrupted) {
            (_, Some(interruption)) if interruption != Interruption::OutOfTime => TestVerdict::Interrupted,
            (Exit::Diverged, _) => TestVerdict::Diverged(cause(&summary)),
            (_, Some(_)) => {
                let limit = agent.timeout.as_secs();
                TestVerdict::AgentFailed(format!("the agent did not end within {limit} s, and was stopped"))
            }
            (Exit::Child(code), _) => TestVerdict::AgentFailed(format!("the agent ended with code {code}")),
            _ if requests == 0 => TestVerdict::ProvesNothing(NO_CALLS.to_owned()),
            (Exit::Unused, _) => TestVerdict::Unused(unused(&summary)),
            (Exit::Gate, _) => {
                TestVerdict::GateFailed("live calls were refused because of max_usd".to_owned())
            }
            _ => TestVerdict::Passed,
        };
        let own = own.map(|own| own.as_str().to_owned());
        let Opened { reader, trace, .. } = self.opened;
        let metrics = agent_replay::metrics(reader, trace, &summary, (own.as_deref(), Speed::AtOnce))?;
        let (verdict, score) = self.judged(verdict, own.as_deref())?;
        let ran = Ran {
            calls: requests,
            recorded_calls: summary.recorded_calls,
            agent_exit_code: Some(child.code),
            guarantee: Some(guarantee),
            score,
            replay: Some(summary),
            output: self.place.end_of_output(),
            metrics: vec![metrics],
            spent: money.live.map(billed),
            ..Ran::default()
        };
        Ok((verdict, ran))
    }

    /// What the verify command says of a run that has passed so far.
    fn judged(&self, verdict: TestVerdict, own: Option<&str>) -> anyhow::Result<(TestVerdict, Score)> {
        let Some(command) = &self.test.verify else { return Ok((verdict, Score::NotAsked)) };
        if verdict != TestVerdict::Passed {
            return Ok((verdict, Score::NotGiven));
        }
        let database = self.place.global.database()?;
        let trace = own.unwrap_or(self.opened.trace.row.id.as_str());
        let output = self.place.output_path();
        let variables = [("LOOPTAPE_OUTPUT", output.as_os_str())];
        let run =
            Judged { trace, database: &database, folder: Some(&self.test.folder), variables: &variables };
        Ok(match judged(command, run) {
            Judgement::NotAsked => (verdict, Score::NotAsked),
            Judgement::Pass { score } => (verdict, Score::of(score)),
            Judgement::Fail { score, exit_code } => (
                TestVerdict::VerifyFailed(format!("`{command}` ended with code {exit_code}")),
                Score::of(score),
            ),
            Judgement::Broken { why } => (TestVerdict::VerifyFailed(why), Score::NotGiven),
        })
    }

    fn without_agent(
        &self,
        args: &ResendArgs,
        books: Option<ReplayStore>,
    ) -> anyhow::Result<(TestVerdict, Ran)> {
        let Self { opened, .. } = *self;
        let store = self.store()?;
        let resending = Resending {
            global: &self.place.global,
            config: self.bench.config,
            reader: &opened.reader,
            traces: &[opened.trace.row.label()],
            args,
            options: self.options(),
            speed: Speed::AtOnce,
            plan: self.plan,
            why: self.why(),
            store: store.as_ref(),
            progress: Default::default(),
        };
        if let Some(plan) = self.plan {
            plan.kept_by(books.as_ref().or(store.as_ref()))?;
        }
        let report = resending.run();
        let exit = report.as_ref().map_or(Exit::Failure, |report| report.exit(&resending));
        drop(resending);
        [store, books].into_iter().flatten().for_each(|store| drop(store.finish()));
        let report = report?;
        let [run] = &report.figures().runs[..] else {
            anyhow::bail!("the recording was not sent once: this is a bug")
        };
        let calls = match &report {
            Report::Resent(resent) => resent.calls as u64,
            Report::Free(_) => u64::from(run.steps),
        };
        let remarks = report.remarks(run);
        let first = || remarks.lines().next().unwrap_or("the answers are not the recorded ones").to_owned();
        let verdict = match exit {
            Exit::Interrupted => TestVerdict::Interrupted,
            _ if calls == 0 => TestVerdict::ProvesNothing("no recorded call could be sent".to_owned()),
            Exit::Success => TestVerdict::Passed,
            Exit::Diverged => TestVerdict::Diverged(run.replay.as_ref().map_or_else(first, cause)),
            _ => TestVerdict::AgentFailed(first()),
        };
        let metrics = report.metrics(self.plan).into_iter().cloned().collect();
        let (verdict, score) = self.judged(verdict, run.child.as_deref())?;
        let ran = Ran {
            calls,
            recorded_calls: opened.trace.facts.len(),
            score,
            replay: run.replay.clone(),
            differences: remarks,
            metrics,
            spent: self.plan.and_then(ModelPlan::spending).map(billed),
            ..Ran::default()
        };
        Ok((verdict, ran))
    }
}

const NO_CALLS: &str =
    "no model call reached the replay. Does the program take its base URL from the environment?";

/// The first cause of a divergence, in one line.
fn cause(summary: &Summary) -> String {
    match summary.divergences.first() {
        None => "the run went another way".to_owned(),
        Some(report) => {
            let step = report.step.map_or(String::new(), |step| format!(" at step {step}"));
            format!("{}{step}: {}", report.code, report.message)
        }
    }
}

fn unused(summary: &Summary) -> String {
    let (unused, all) = (summary.unused.len(), summary.recorded_calls);
    format!("{unused} of {all} recorded calls were left unused (allow_unused = true accepts that)")
}
