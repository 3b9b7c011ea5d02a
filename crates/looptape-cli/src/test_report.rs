//! What came of `looptape test`: the one value of which the text, the JSON, JUnit, Markdown and annotations are made.
//!
//! Invariants: tests are in the order in which they were chosen, whatever ended first; a test passed only if calls
//! were made and answered; everything that a machine or a clock makes different from run to run is in fields of its
//! own (`duration_ms`, `elapsed_ms`, `age_days`).

use crate::commands::Score;
use crate::exit::Exit;
use crate::test_entry::{Mode, Test};
use looptape_core::gates::{GateReport, Summary as FigureSummary};
use looptape_core::metrics::{Ms, TraceMetrics};
use looptape_core::replay::Summary;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// All tests.
#[derive(Debug, Serialize)]
pub(crate) struct TestReport {
    pub(crate) format: u32,
    pub(crate) exit_code: u8,
    pub(crate) counts: Counts,
    pub(crate) elapsed_ms: Ms,
    /// Of all tests together.
    pub(crate) gates: GateReport,
    /// The figures that gates are judged by; a later run can take them for its baseline.
    pub(crate) figures: BTreeMap<&'static str, FigureSummary>,
    /// What a reader of the figures should know.
    pub(crate) notes: Vec<String>,
    pub(crate) tests: Vec<TestResult>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// Passed, but not at the first try.
    pub(crate) flaky: u32,
    /// Not run, because the run was broken off.
    pub(crate) not_run: u32,
    /// Of recordings older than wanted.
    pub(crate) stale: u32,
}

/// One test.
#[derive(Debug, Serialize)]
pub(crate) struct TestResult {
    pub(crate) name: String,
    pub(crate) tags: BTreeSet<String>,
    /// The cassette or the trace, as it was written.
    pub(crate) recording: String,
    pub(crate) mode: Mode,
    #[serde(flatten)]
    pub(crate) verdict: TestVerdict,
    /// How often it was run: more than once only if it failed.
    pub(crate) runs: u32,
    pub(crate) duration_ms: Ms,
    /// Whether the recording was made by this run.
    pub(crate) recorded: Recorded,
    pub(crate) age_days: Option<f64>,
    pub(crate) stale: bool,
    /// What there is to do it again by hand.
    pub(crate) again: String,
    #[serde(flatten)]
    pub(crate) ran: Ran,
}

/// Where a test's recording comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Recorded {
    Before,
    /// There was none.
    New,
    /// In the place of an earlier one.
    Again,
}

/// What came of replaying.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Ran {
    /// Calls that were made.
    pub(crate) calls: u64,
    pub(crate) recorded_calls: usize,
    pub(crate) agent_exit_code: Option<i32>,
    pub(crate) guarantee: Option<String>,
    pub(crate) score: Score,
    /// Of this test alone.
    pub(crate) gates: GateReport,
    pub(crate) figures: BTreeMap<&'static str, FigureSummary>,
    pub(crate) replay: Option<Summary>,
    /// Without an agent: answers that were not the recorded ones, a line each.
    pub(crate) differences: String,
    /// The end of what the agent wrote.
    pub(crate) output: String,
    /// What the figures are made of.
    #[serde(skip)]
    pub(crate) metrics: Vec<TraceMetrics>,
    /// Live calls, if there could be any: what they cost, and whether that may be more.
    #[serde(skip)]
    pub(crate) spent: Option<(looptape_core::cost::Usd, bool)>,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub(crate) enum TestVerdict {
    Passed,
    /// The run went another way than the recorded one.
    Diverged(String),
    /// The agent's exit code, or a time that was over.
    AgentFailed(String),
    /// The verify command says no.
    VerifyFailed(String),
    /// No call was made, so nothing was tested.
    ProvesNothing(String),
    /// Recorded calls were left unused.
    Unused(String),
    /// A gate of this test failed, or a budget was too small.
    GateFailed(String),
    /// It could not be run.
    Broken(String),
    NotRun,
    Interrupted,
}

impl TestVerdict {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            // What was not run says nothing: whatever ended the run does.
            Self::Passed | Self::NotRun => Exit::Success,
            Self::Diverged(_) => Exit::Diverged,
            Self::AgentFailed(_) | Self::VerifyFailed(_) | Self::ProvesNothing(_) | Self::Broken(_) => {
                Exit::Failure
            }
            Self::Unused(_) => Exit::Unused,
            Self::GateFailed(_) => Exit::Gate,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self, Self::Passed | Self::NotRun)
    }

    /// For people, in one line.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Diverged(why)
            | Self::AgentFailed(why)
            | Self::VerifyFailed(why)
            | Self::ProvesNothing(why)
            | Self::Unused(why)
            | Self::GateFailed(why)
            | Self::Broken(why) => why,
            Self::Passed => "passed",
            Self::NotRun => "not run: an earlier test ended the run",
            Self::Interrupted => "interrupted",
        }
    }

    /// As one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Diverged(_) => "diverged",
            Self::AgentFailed(_) => "agent failed",
            Self::VerifyFailed(_) => "verify failed",
            Self::ProvesNothing(_) => "proves nothing",
            Self::Unused(_) => "calls unused",
            Self::GateFailed(_) => "gate failed",
            Self::Broken(_) => "broken",
            Self::NotRun => "not run",
            Self::Interrupted => "interrupted",
        }
    }
}

impl TestResult {
    /// Of a test that was not run to its end.
    pub(crate) fn without_run(test: &Test, verdict: TestVerdict, again: String) -> Self {
        Self {
            name: test.name.clone(),
            tags: test.tags.clone(),
            recording: test.recording.label(),
            mode: test.drive.mode(),
            verdict,
            runs: 0,
            duration_ms: Ms::ZERO,
            recorded: Recorded::Before,
            age_days: None,
            stale: false,
            again,
            ran: Ran::default(),
        }
    }

    pub(crate) fn is_flaky(&self) -> bool {
        self.verdict == TestVerdict::Passed && self.runs > 1
    }
}

impl Counts {
    pub(crate) fn of(tests: &[TestResult]) -> Self {
        let count = |is: fn(&TestResult) -> bool| tests.iter().filter(|test| is(test)).count() as u32;
        Self {
            passed: count(|test| test.verdict == TestVerdict::Passed),
            failed: count(|test| test.verdict.is_failure()),
            flaky: count(TestResult::is_flaky),
            not_run: count(|test| test.verdict == TestVerdict::NotRun),
            stale: count(|test| test.stale),
        }
    }
}

/// What all tests and the gates of all of them come to. Strongest first: interrupted; diverged; failed in any other
/// way; recorded calls unused; gates.
pub(crate) fn exit(tests: &[TestResult], gates: &GateReport) -> Exit {
    let exits: BTreeSet<u8> = tests.iter().map(|test| test.verdict.exit().code()).collect();
    let strongest = [Exit::Interrupted, Exit::Diverged, Exit::Failure, Exit::Unused, Exit::Gate];
    let is_whole = tests.iter().all(|test| test.verdict != TestVerdict::NotRun);
    match strongest.into_iter().find(|exit| exits.contains(&exit.code())) {
        Some(exit) => exit,
        // Ctrl-C came between two tests.
        None if !is_whole => Exit::Interrupted,
        None if !gates.passed => Exit::Gate,
        None => Exit::Success,
    }
}
