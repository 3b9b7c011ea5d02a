//! Where the report of a replay, or of tests, goes besides the terminal: JSON, JUnit, Markdown, annotations of a CI
//! run.

use crate::render::junit::{self, Case, TestEnd};
use crate::render::{self, annotations};
use crate::test_report::{TestReport, TestResult, TestVerdict};
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the report as JUnit XML: one test case a trace
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print each cause as a GitHub annotation on stderr [default: only in a GitHub action]
    #[arg(long)]
    annotations: bool,
}

impl ReportArgs {
    /// Whether the report is wanted as JSON.
    pub(crate) fn has_json(&self) -> bool {
        self.report.is_some()
    }

    /// Writes what was asked for.
    pub(crate) fn write(&self, report: &Value, cases: &[Case<'_>]) -> anyhow::Result<()> {
        if let Some(file) = &self.report {
            write(file, &(serde_json::to_string_pretty(report)? + "\n"))?;
        }
        if let Some(file) = &self.junit {
            write(file, &junit::text(cases)?)?;
        }
        if self.annotations || is_github_action() {
            for line in cases.iter().flat_map(annotations::lines) {
                eprintln!("{line}");
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Reports")]
pub(crate) struct TestReportArgs {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the report as JUnit XML: one test case a test, and one for each gate over all of them
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as Markdown; in a GitHub action it is also added to the step's summary
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Print each failure as a GitHub annotation on stderr [default: only in a GitHub action]
    #[arg(long)]
    annotations: bool,
}

impl TestReportArgs {
    /// Writes what was asked for.
    pub(crate) fn write(&self, report: &TestReport) -> anyhow::Result<()> {
        let remarks: Vec<String> = report.tests.iter().map(remarks).collect();
        let cases: Vec<Case<'_>> =
            report.tests.iter().zip(&remarks).map(|(test, why)| test_case(test, why)).collect();
        if let Some(file) = &self.report {
            write(file, &(serde_json::to_string_pretty(report)? + "\n"))?;
        }
        if let Some(file) = &self.junit {
            write(file, &junit::of_tests(&cases, &report.gates)?)?;
        }
        if let Some(file) = &self.summary {
            write(file, &render::test_markdown::text(report))?;
        }
        if let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) {
            append(Path::new(&file), &render::test_markdown::text(report))?;
        }
        if self.annotations || is_github_action() {
            let failures = cases.iter().flat_map(annotations::lines);
            for line in failures
                .chain(annotations::of_gates(&report.gates))
                .chain(report.tests.iter().flat_map(stale))
            {
                eprintln!("{line}");
            }
        }
        Ok(())
    }
}

/// A divergence is told by its case; of other failures the replay's report is a remark.
fn remarks(test: &TestResult) -> String {
    let is_told = matches!(test.verdict, TestVerdict::Diverged(_) | TestVerdict::Unused(_));
    if is_told { render::tested::besides_replay(test) } else { render::tested::details(test) }
}

fn test_case<'a>(test: &'a TestResult, remarks: &'a str) -> Case<'a> {
    Case {
        trace: &test.name,
        agent: Some(&test.recording),
        exit: test.verdict.exit(),
        agent_code: test.ran.agent_exit_code,
        summary: test.ran.replay.as_ref(),
        remarks,
        test: Some(TestEnd {
            verdict: &test.verdict,
            took: Duration::from_micros(u64::try_from(test.duration_ms.us()).unwrap_or(0)),
        }),
    }
}

fn stale(test: &TestResult) -> Option<String> {
    let remarks = render::tested::remarks(test);
    test.stale.then(|| annotations::warning(&format!("test {}", test.name), &remarks.join("; ")))
}

/// To what other steps wrote.
fn append(file: &Path, text: &str) -> anyhow::Result<()> {
    let open = std::fs::File::options().append(true).create(true).open(file);
    let written = open.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written
        .with_context(|| format!("the summary cannot be added to {} (GITHUB_STEP_SUMMARY)", file.display()))
}

pub(super) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("the report cannot be written to {}", file.display()))
}

fn is_github_action() -> bool {
    std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true")
}
