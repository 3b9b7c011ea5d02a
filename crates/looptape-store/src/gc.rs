//! Retention: deleting old traces, and the content that no trace refers to any more.
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
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;

/// What to keep. Traces that are being recorded always stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Traces that started before this go (µs since the Unix epoch).
    pub started_before_unix_us: Option<i64>,
    /// The oldest traces go until the database is not larger than this.
    pub max_bytes: Option<u64>,
}

/// What pruning did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Ids of the traces that went.
    pub traces: Vec<String>,
    pub bytes_before: u64,
    pub bytes_after: u64,
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
        report.bytes_after = if report.traces.is_empty() { report.bytes_before } else { used_bytes(&tx)? };
        tx.rollback()?;
        Ok(report)
    }

    pub fn prune(&mut self, retention: &Retention) -> rusqlite::Result<PruneReport> {
        prune(&mut self.connection, retention)
    }

    /// Deletes one trace, whatever it lacks. It must not be one that is being recorded.
    pub fn remove(&mut self, trace: &TraceRow) -> rusqlite::Result<()> {
        let gone = [(trace.key, trace.id.to_string())];
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
        connection.execute("DELETE FROM load_runs WHERE started_unix_us < ?1", [before])?;
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
    if !report.traces.is_empty() {
        give_back_free_pages(connection)?;
        // Busy readers keep the log from shrinking now; a later checkpoint does it.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    report.bytes_after = size_bytes(connection)?;
    Ok(report)
}

fn expired(tx: &Transaction<'_>, retention: &Retention) -> rusqlite::Result<Vec<(TraceKey, String)>> {
    let Some(before) = retention.started_before_unix_us else { return Ok(Vec::new()) };
    let mut old = ended_oldest_first(tx)?;
    let mut started = tx.prepare("SELECT started_unix_us FROM traces WHERE key = ?1")?;
    let mut keep = Vec::new();
    for (key, id) in old.drain(..) {
        if started.query_row([key.0], |r| r.get::<_, i64>(0))? < before {
            keep.push((key, id));
        }
    }
    Ok(keep)
}

/// All traces that are not being recorded.
fn ended_oldest_first(tx: &Transaction<'_>) -> rusqlite::Result<Vec<(TraceKey, String)>> {
    let mut statement = tx.prepare(
        "SELECT t.key, t.id, t.recorder, e.trace IS NOT NULL FROM traces t \
         LEFT JOIN trace_ends e ON e.trace = t.key ORDER BY t.started_unix_us, t.key",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let ended: bool = row.get(3)?;
        if ended || !Process::load(tx, row.get(2)?)?.is_alive() {
            found.push((TraceKey(row.get(0)?), row.get(1)?));
        }
    }
    Ok(found)
}

fn delete(
    connection: &mut Connection,
    traces: &[(TraceKey, String)],
    report: &mut PruneReport,
) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    delete_in(&tx, traces, report)?;
    tx.commit()
}

fn delete_in(
    tx: &Transaction<'_>,
    traces: &[(TraceKey, String)],
    report: &mut PruneReport,
) -> rusqlite::Result<()> {
    let mut statement = tx.prepare("DELETE FROM traces WHERE key = ?1")?;
    for (key, id) in traces {
        statement.execute([key.0])?;
        report.traces.push(id.clone());
    }
    sweep(tx)?;
    tx.execute("UPDATE settings SET value = value + 1 WHERE name = 'content_generation'", [])?;
    Ok(())
}

/// What goes next where the database is too large.
fn oldest_tenth(tx: &Transaction<'_>) -> rusqlite::Result<Vec<(TraceKey, String)>> {
    let mut all = ended_oldest_first(tx)?;
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
