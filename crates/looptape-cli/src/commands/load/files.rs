//! Where the report of a load goes besides the terminal: JSON, a page with plots, the forms of k6 and Locust.

use super::Run;
use crate::commands::report_files::write;
use crate::exit::UsageError;
use looptape_core::load::{RunTime, k6, locust};
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
    /// Write a summary in the form of k6: what its handleSummary() gets
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vary", "find_capacity"])]
    k6_summary: Option<PathBuf>,
    /// Write a summary in the form of `k6 run --summary-export`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vary", "find_capacity"])]
    k6_export: Option<PathBuf>,
    /// Write PREFIX_stats.csv, _stats_history.csv, _failures.csv and _exceptions.csv in the form of Locust
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["vary", "find_capacity"])]
    locust_csv: Option<PathBuf>,
}

impl ReportFiles {
    fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.report, &self.html, &self.k6_summary, &self.k6_export]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    /// A run may take long: what cannot be written is said before it.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        if let Some(folder) = self.all().find(|file| file.is_dir()) {
            return Err(UsageError(format!("{} is a folder: name a file", folder.display())));
        }
        let parents = self.all().chain(self.locust_csv.as_deref()).filter_map(Path::parent);
        match parents.into_iter().find(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            Some(none) => Err(UsageError(format!("there is no folder {}: make it first", none.display()))),
            None => Ok(()),
        }
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

    /// Writes a run as other tools do. It began at this time, in seconds.
    pub(super) fn write_as_others(&self, run: &Run, began_unix_s: u64) -> anyhow::Result<()> {
        let (report, gates) = (&run.report, run.gates());
        let form: [(_, fn(_, _) -> serde_json::Value); 2] =
            [(&self.k6_summary, k6::summary), (&self.k6_export, k6::export)];
        for (file, form) in form {
            if let Some(file) = file {
                write(file, &(serde_json::to_string_pretty(&form(report, gates))? + "\n"))?;
            }
        }
        if let Some(prefix) = &self.locust_csv {
            // Virtual time begins at 0, so that the same seed gives the same bytes.
            let began_unix_s = if report.time == RunTime::Virtual { 0 } else { began_unix_s };
            for file in locust::files(report, began_unix_s) {
                let mut path = prefix.clone().into_os_string();
                path.push(file.ending);
                write(Path::new(&path), &file.text)?;
            }
        }
        Ok(())
    }
}
