//! Load runs: what came of each, kept beside the traces of its loops.
//!
//! A report is kept as the JSON that it was printed as: what it means is no matter of the database. It has a short
//! transaction of its own, after its run.

use crate::OpenError;
use crate::codec::{decode, encode_alone};
use crate::database::open_to_write;
use crate::reader::{ReadError, Reader};
use rusqlite::{OptionalExtension, Row, params};
use std::path::Path;

/// What was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadRunKind {
    /// A scenario, once.
    Run,
    /// A search for the highest rate.
    Capacity,
    /// A scenario with several values.
    Vary,
}

/// A load run, without its report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadRunRow {
    pub id: String,
    pub kind: LoadRunKind,
    pub scenario: Option<String>,
    pub started_unix_us: i64,
}

/// Why a load run was not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the load run was not kept: {0}")]
    Write(#[from] rusqlite::Error),
}

impl LoadRunKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Capacity => "capacity",
            Self::Vary => "vary",
        }
    }

    /// Of a word; one that a later version may write is a run with another report.
    fn of_word(word: &str) -> Self {
        [Self::Capacity, Self::Vary].into_iter().find(|kind| kind.as_str() == word).unwrap_or(Self::Run)
    }
}

/// Keeps a load run in the database, which is made if there is none.
pub fn keep_load_run(database: &Path, row: &LoadRunRow, report: String) -> Result<(), KeepError> {
    let connection = open_to_write(database, "NORMAL")?;
    let (codec, size, stored) = encode_alone(report.into_bytes());
    connection.execute(
        "INSERT INTO load_runs (id, kind, scenario, started_unix_us, codec, size, report) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![row.id, row.kind.as_str(), row.scenario, row.started_unix_us, codec, size as i64, stored],
    )?;
    Ok(())
}

impl Reader {
    /// Load runs, the latest first.
    pub fn load_runs(&self, most: u32) -> Result<Vec<LoadRunRow>, ReadError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT id, kind, scenario, started_unix_us FROM load_runs ORDER BY key DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([most], row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// A load run with its report, by its id or the beginning of it.
    pub fn load_run(&self, id: &str) -> Result<Option<(LoadRunRow, String)>, ReadError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT id, kind, scenario, started_unix_us, codec, size, report FROM load_runs \
             WHERE substr(id, 1, length(?1)) = ?1 ORDER BY key DESC LIMIT 1",
        )?;
        let found = statement.query_row([id], |r| {
            Ok((row(r)?, r.get::<_, i64>(4)?, r.get::<_, i64>(5)?, r.get::<_, Vec<u8>>(6)?))
        });
        let Some((row, codec, size, stored)) = found.optional()? else { return Ok(None) };
        let damaged = || ReadError::DamagedLoadRun { id: row.id.clone() };
        let size = usize::try_from(size).map_err(|_| damaged())?;
        let report = decode(codec, size, &stored).ok_or_else(damaged)?;
        let report = String::from_utf8(report).map_err(|_| damaged())?;
        Ok(Some((row, report)))
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<LoadRunRow> {
    Ok(LoadRunRow {
        id: row.get(0)?,
        kind: LoadRunKind::of_word(&row.get::<_, String>(1)?),
        scenario: row.get(2)?,
        started_unix_us: row.get(3)?,
    })
}
