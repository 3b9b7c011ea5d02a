//! What came of a load run, kept in the database: the page shows it, beside the traces of its loops.

use super::kept::RunId;
use crate::place;
use crate::session::Global;
use anyhow::Context;
use looptape_store::{LoadRunKind, LoadRunRow, keep_load_run};
use serde::Serialize;

/// A run that is to be kept.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub(super) id: &'a RunId,
    pub(super) kind: LoadRunKind,
    pub(super) scenario: Option<&'a str>,
    pub(super) started_unix_us: i64,
}

impl Stored<'_> {
    /// Keeps the report, in a database that is made if there is none.
    pub(super) fn keep(self, global: &Global, report: &impl Serialize) -> anyhow::Result<()> {
        let database = global.database()?;
        place::prepare(&database)?;
        let report = serde_json::to_string(report).context("its report is no JSON")?;
        let row = LoadRunRow {
            id: self.id.to_string(),
            kind: self.kind,
            scenario: self.scenario.map(str::to_owned),
            started_unix_us: self.started_unix_us,
        };
        Ok(keep_load_run(&database, &row, report)?)
    }
}
