//! Where the report of a load goes besides the terminal: JSON, and a page with plots.

use crate::commands::report_files::write;
use crate::exit::UsageError;
use looptape_page::report::Report;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Reports")]
pub(super) struct ReportFiles {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the report as a page with plots: one file, which asks no host for anything
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl ReportFiles {
    fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.report, &self.html].into_iter().flatten().map(PathBuf::as_path)
    }

    /// A run may take long: what cannot be written is said before it.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        for file in self.all() {
            let folder =
                file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if file.is_dir() {
                return Err(UsageError(format!("{} is a folder: name a file", file.display())));
            }
            if !folder.is_dir() {
                return Err(UsageError(format!("there is no folder {}: make it first", folder.display())));
            }
        }
        Ok(())
    }

    /// Writes what was asked for.
    pub(super) fn write(&self, report: &impl Serialize, page: impl FnOnce() -> Report) -> anyhow::Result<()> {
        if let Some(file) = &self.report {
            write(file, &(serde_json::to_string_pretty(report)? + "\n"))?;
        }
        if let Some(file) = &self.html {
            write(file, &page().text())?;
        }
        Ok(())
    }
}
