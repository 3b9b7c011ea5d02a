//! Where the report of a replay goes besides the terminal: JSON, JUnit, annotations of a CI run.

use crate::render::annotations;
use crate::render::junit::{self, Case};
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};

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

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("the report cannot be written to {}", file.display()))
}

fn is_github_action() -> bool {
    std::env::var("GITHUB_ACTIONS").is_ok_and(|value| value == "true")
}
