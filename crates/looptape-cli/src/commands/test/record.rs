//! Recording what tests replay: `--record-missing` and `--update`. Nothing else ever records.
//!
//! A recording is made in the user's database, as `record` makes it, and exported from there. What fails, makes no
//! call or has gaps replaces no cassette.

use super::place::TestPlace;
use crate::child::environment::Variables;
use crate::child::process::{ChildOutput, Ended, Interruption, Program};
use crate::commands::budget::{BudgetArgs, parse_usd};
use crate::commands::export;
use crate::commands::record::{self, Plan, Recorded as RecordedRun};
use crate::config::Config;
use crate::session::{Global, find, new_trace_id, progress};
use crate::test_entry::{Agent, Drive, Test, TestRecording};
use crate::test_report::Recorded;
use anyhow::{Context, bail};
use looptape_core::cassette::Cassette;
use looptape_core::cost::Usd;
use looptape_core::labels::Labels;
use looptape_store::{Durability, Moment, Source, Surroundings, TraceSpec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// What is recorded before tests are run.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Recording")]
pub(super) struct RecordArgs {
    /// First record the chosen tests whose cassettes are not there: with the provider, a key, and at its price
    #[arg(long, conflicts_with = "update")]
    record_missing: bool,
    /// First record the chosen tests again, in place of their cassettes
    #[arg(long)]
    update: bool,
    /// Where a provider's calls go when a test is recorded; repeatable
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<String>,
    /// The most that each recording may cost, in US dollars [default: run of [budgets] in looptape.toml]
    #[arg(long, value_name = "USD", value_parser = parse_usd)]
    max_usd: Option<Usd>,
}

/// What became of each cassette that was to be recorded.
pub(super) type Recordings = BTreeMap<PathBuf, Result<Recorded, String>>;

impl RecordArgs {
    /// Records what is wanted, one after the other: a provider's limits are not the tests' business.
    pub(super) fn record(
        &self,
        global: &Global,
        config: &Config,
        tests: &[Test],
    ) -> anyhow::Result<Recordings> {
        let wanted: Vec<(&Test, &Agent, &Path, Recorded)> =
            tests.iter().filter_map(|test| self.wanted(test)).collect();
        let mut recordings = Recordings::new();
        let bar = progress(global, wanted.len() as u64, "recordings");
        for (test, agent, path, recorded) in wanted {
            if !recordings.contains_key(path) {
                bar.suspend(|| global.say(&format!("looptape: recording {}", test.name)));
                let made = self.one(global, config, (test, agent, path));
                if made.as_ref().err().is_some_and(|error| error.is::<Interrupted>()) {
                    return made.map(|()| recordings);
                }
                recordings
                    .insert(path.to_owned(), made.map(|()| recorded).map_err(|error| format!("{error:#}")));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(recordings)
    }

    /// What records a test's cassette, if that is wanted and can be done.
    fn wanted<'a>(&self, test: &'a Test) -> Option<(&'a Test, &'a Agent, &'a Path, Recorded)> {
        let (TestRecording::Cassette { path, .. }, Drive::Agent(agent)) = (&test.recording, &test.drive)
        else {
            return None;
        };
        match (path.exists(), self.update) {
            (true, true) => Some((test, agent, path, Recorded::Again)),
            (false, true) => Some((test, agent, path, Recorded::New)),
            (false, false) if self.record_missing => Some((test, agent, path, Recorded::New)),
            _ => None,
        }
    }

    fn one(
        &self,
        global: &Global,
        config: &Config,
        (test, agent, path): (&Test, &Agent, &Path),
    ) -> anyhow::Result<()> {
        if path.exists() && !looptape_store::cassettes::is_cassette(path) {
            bail!(
                "{} is another tool's recording: name a cassette of looptape, or remove it",
                path.display()
            );
        }
        let place = TestPlace::new()?;
        let id = new_trace_id()?;
        let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
        spec.name = Some(test.name.clone());
        spec.command = agent.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        spec.labels = Labels { agent: Some(agent_name(test, agent)), ..Labels::default() };
        let mut told: Variables = agent.env.clone().into_iter().collect();
        told.push(place.temporary_variable());
        let plan = Plan {
            spec,
            budget: Some(BudgetArgs::of_run(self.max_usd)),
            upstreams: record::upstreams(config, &self.upstreams)?,
            durability: Durability::Relaxed,
            program: Program {
                command: &agent.command,
                output: ChildOutput::Captured(place.output()?),
                folder: Some(&test.folder),
                limit: Some(agent.timeout),
                tools: agent.tools,
            },
            told,
            surroundings: place.of_agent(test).environment(),
            egress: agent.capture_egress,
            workspace: None,
        };
        let quiet = Global { quiet: true, ..global.clone() };
        let recorded = record::record(&quiet, config, plan)?;
        must_be_whole(&recorded).with_context(|| failed(&place))?;
        let reader = global.reader()?;
        let files = reader.cassette(&find(&reader, id.as_str())?, Surroundings::Kept, |_, _| {})?;
        export::write(Cassette::open(files)?, path, None)?;
        Ok(())
    }
}

/// Ctrl-C while a test was recorded.
#[derive(Debug, thiserror::Error)]
#[error("interrupted while a test was recorded: its cassette is as it was")]
pub(super) struct Interrupted;

/// A recording that is worth keeping: the agent ended well, called, and nothing is missing.
fn must_be_whole(recorded: &RecordedRun) -> anyhow::Result<()> {
    match &recorded.child {
        Err(not_started) => bail!("{}", not_started.message),
        Ok(Ended { interrupted: Some(Interruption::OutOfTime), .. }) => {
            bail!("its time was over (`timeout`)")
        }
        Ok(Ended { interrupted: Some(_), .. }) => return Err(Interrupted.into()),
        Ok(Ended { code: 0, .. }) => {}
        Ok(Ended { code, .. }) => bail!("the agent ended with code {code}"),
    }
    if let Some((reason, times)) = recorded.report.gaps.first_key_value() {
        bail!("the recording is incomplete: {reason} ({times} ×)");
    }
    if recorded.tally.calls.load(Ordering::Relaxed) == 0 {
        bail!("the agent made no model call");
    }
    Ok(())
}

/// The agent's own words say more than its code.
fn failed(place: &TestPlace) -> String {
    let output = place.end_of_output();
    let last: Vec<&str> = output.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    match last.is_empty() {
        true => "it was not recorded".to_owned(),
        false => {
            let words: Vec<&str> = last.into_iter().rev().collect();
            format!("it was not recorded (the agent: {})", words.join(" / "))
        }
    }
}

/// A shell is not the agent.
fn agent_name(test: &Test, agent: &Agent) -> String {
    let of_command = record::program_name(&agent.command).filter(|name| name != "sh");
    of_command.unwrap_or_else(|| test.name.clone())
}
