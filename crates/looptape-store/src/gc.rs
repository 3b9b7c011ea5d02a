//! Retention: deleting old traces and load runs, and the content that no trace refers to any more.
//!
//! One transaction marks and sweeps, so that no recorder can refer to content that is about to go; the
//! content generation is raised in it, which voids the ids that other processes remember.

use crate::OpenError;
use crate::TraceRow;
use crate::bundles::{self, Live};
use crate::database::open_to_write;
use crate::ids::TraceKey;
use crate::liveness::Process;
use crate::old_content;
use crate::reader;
use looptape_core::budget::Day;
use looptape_core::varint;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};
use std::path::Path;

/// What to keep. Traces that are being recorded always stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Traces and load runs that started before this go (µs since the Unix epoch).
    pub started_before_unix_us: Option<i64>,
    /// The oldest traces and load runs go until the database is not larger than this.
    pub max_bytes: Option<u64>,
}

/// What pruning did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Ids of the traces that went.
    pub traces: Vec<String>,
    /// Ids of the load runs that went.
    pub load_runs: Vec<String>,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl PruneReport {
    pub fn is_empty(&self) -> bool {
        self.traces.is_empty() && self.load_runs.is_empty()
    }
}

/// Something that may go.
#[derive(Clone, Debug)]
struct Old {
    started_unix_us: i64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Trace { key: TraceKey, id: String },
    LoadRun { id: String },
}

/// Why pruning failed. What was deleted before stays deleted; nothing is half deleted.
#[derive(Debug, thiserror::Error)]
#[error("old traces could not be deleted: {0}")]
pub struct PruneError(#[source] pub(crate) rusqlite::Error);

/// A connection for pruning.
#[derive(Debug)]
pub struct Maintenance {
    connection: Connection,
}

impl Maintenance {
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.exists() {
            return Err(OpenError::Missing { path: path.into() });
        }
        Ok(Self { connection: open_to_write(path, "NORMAL")? })
    }

    /// What [`Maintenance::prune`] would do: it is done, and rolled back. Recorders wait meanwhile.
    pub fn foresee(&mut self, retention: &Retention) -> rusqlite::Result<PruneReport> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut report = PruneReport { bytes_before: size_bytes(&tx)?, ..PruneReport::default() };
        let old = expired(&tx, retention)?;
        if !old.is_empty() {
            delete_in(&tx, &old, &mut report)?;
        }
        if let Some(max) = retention.max_bytes {
            while used_bytes(&tx)? > max {
                let some = oldest_tenth(&tx)?;
                if some.is_empty() {
                    break;
                }
                delete_in(&tx, &some, &mut report)?;
            }
        }
        report.bytes_after = if report.is_empty() { report.bytes_before } else { used_bytes(&tx)? };
        tx.rollback()?;
        Ok(report)
    }

    pub fn prune(&mut self, retention: &Retention) -> rusqlite::Result<PruneReport> {
        prune(&mut self.connection, retention)
    }

    /// Deletes one trace, whatever it lacks. It must not be one that is being recorded.
    pub fn remove(&mut self, trace: &TraceRow) -> rusqlite::Result<()> {
        let what = What::Trace { key: trace.key, id: trace.id.to_string() };
        let gone = [Old { started_unix_us: trace.started_unix_us, what }];
        delete(&mut self.connection, &gone, &mut PruneReport::default())
    }
}

/// Deletes what `retention` does not keep, and gives the space back.
pub(crate) fn prune(connection: &mut Connection, retention: &Retention) -> rusqlite::Result<PruneReport> {
    let mut report = PruneReport { bytes_before: size_bytes(connection)?, ..PruneReport::default() };
    let old = {
        let tx = connection.transaction()?;
        expired(&tx, retention)?
    };
    if !old.is_empty() {
        delete(connection, &old, &mut report)?;
    }
    if let Some(before) = retention.started_before_unix_us {
        let day = Day::of_unix_us(before).number();
        connection.execute("DELETE FROM spending WHERE day < ?1", [day])?;
    }
    if let Some(max) = retention.max_bytes {
        while used_bytes(connection)? > max {
            let some = {
                let tx = connection.transaction()?;
                oldest_tenth(&tx)?
            };
            if some.is_empty() {
                break;
            }
            delete(connection, &some, &mut report)?;
        }
    }
    if !report.is_empty() {
        give_back_free_pages(connection)?;
        // Busy readers keep the log from shrinking now; a later checkpoint does it.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    report.bytes_after = size_bytes(connection)?;
    Ok(report)
}

fn expired(tx: &Transaction<'_>, retention: &Retention) -> rusqlite::Result<Vec<Old>> {
    let Some(before) = retention.started_before_unix_us else { return Ok(Vec::new()) };
    let mut old = oldest_first(tx)?;
    old.retain(|old| old.started_unix_us < before);
    Ok(old)
}

/// All load runs, and all traces that are not being recorded.
fn oldest_first(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Old>> {
    let mut all = ended_traces(tx)?;
    let mut statement =
        tx.prepare("SELECT started_unix_us, id FROM load_runs ORDER BY started_unix_us, key")?;
    let run =
        |row: &Row<'_>| Ok(Old { started_unix_us: row.get(0)?, what: What::LoadRun { id: row.get(1)? } });
    for run in statement.query_map([], run)? {
        all.push(run?);
    }
    all.sort_by_key(|old| old.started_unix_us);
    Ok(all)
}

fn ended_traces(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Old>> {
    let mut statement = tx.prepare(
        "SELECT t.key, t.id, t.started_unix_us, t.recorder, e.trace IS NOT NULL FROM traces t \
         LEFT JOIN trace_ends e ON e.trace = t.key ORDER BY t.started_unix_us, t.key",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let ended: bool = row.get(4)?;
        if ended || !Process::load(tx, row.get(3)?)?.is_alive() {
            let what = What::Trace { key: TraceKey(row.get(0)?), id: row.get(1)? };
            found.push(Old { started_unix_us: row.get(2)?, what });
        }
    }
    Ok(found)
}

fn delete(connection: &mut Connection, old: &[Old], report: &mut PruneReport) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    delete_in(&tx, old, report)?;
    tx.commit()
}

fn delete_in(tx: &Transaction<'_>, old: &[Old], report: &mut PruneReport) -> rusqlite::Result<()> {
    let mut trace = tx.prepare("DELETE FROM traces WHERE key = ?1")?;
    let mut load_run = tx.prepare("DELETE FROM load_runs WHERE id = ?1")?;
    let traces_before = report.traces.len();
    for Old { what, .. } in old {
        match what {
            What::Trace { key, id } => {
                trace.execute([key.0])?;
                report.traces.push(id.clone());
            }
            What::LoadRun { id } => {
                load_run.execute([id])?;
                report.load_runs.push(id.clone());
            }
        }
    }
    // Nothing but traces refers to contents.
    if report.traces.len() == traces_before {
        return Ok(());
    }
    sweep(tx)?;
    tx.execute("UPDATE settings SET value = value + 1 WHERE name = 'content_generation'", [])?;
    Ok(())
}

/// What goes next where the database is too large.
fn oldest_tenth(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Old>> {
    let mut all = oldest_first(tx)?;
    all.truncate(all.len().div_ceil(10));
    Ok(all)
}

/// Deletes nodes and contents that nothing refers to.
fn sweep(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut live = referred_to(tx)?;
    bundles::keep_only(tx, &mut live)?;
    old_content::keep_only(tx, &live.nodes, &live.contents)
}

/// What the calls themselves refer to, and the files that were looked at.
fn referred_to(tx: &Transaction<'_>) -> rusqlite::Result<Live> {
    let mut live = Live::default();
    let mut statement =
        tx.prepare("SELECT request_heads, request_headers, request_skeleton, headers, body FROM calls")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut heads = row.get_ref(0)?.as_bytes()?;
        while let Some(head) = varint::read(&mut heads) {
            live.nodes.extend(i64::try_from(head));
        }
        for column in 1..=4 {
            live.contents.extend(row.get::<_, Option<i64>>(column)?);
        }
    }
    reader::mark_snapshots(tx, &mut live.contents)?;
    Ok(live)
}

/// Gives the space of all free pages back.
pub(crate) fn give_back_free_pages(connection: &Connection) -> rusqlite::Result<()> {
    vacuum(connection, "PRAGMA incremental_vacuum")
}

/// Gives the space of some free pages back, so that whoever waits need not wait long.
pub(crate) fn give_back_some_pages(connection: &Connection) -> rusqlite::Result<()> {
    vacuum(connection, "PRAGMA incremental_vacuum(500)")
}

/// Each step of the pragma frees one page, so it is stepped to its end.
fn vacuum(connection: &Connection, pragma: &'static str) -> rusqlite::Result<()> {
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |r| r.get(0))?;
    if free == 0 {
        return Ok(());
    }
    let mut statement = connection.prepare(pragma)?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// The file's size once free pages are given back.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.query_row(name, [], |r| r.get::<_, i64>(0));
    let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
    Ok((pages * pragma("PRAGMA page_size")?).unsigned_abs())
}

fn size_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.query_row(name, [], |r| r.get::<_, i64>(0));
    Ok((pragma("PRAGMA page_count")? * pragma("PRAGMA page_size")?).unsigned_abs())
}
