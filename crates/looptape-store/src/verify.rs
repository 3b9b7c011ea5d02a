//! Checking that everything recorded can still be read, bit for bit.
//!
//! Every blob is decoded and hashed, every chain is followed to its beginning, every request body is put
//! together and compared with the digest that was taken when it was recorded.

use crate::bundles::{Entry, RecentBundles};
use crate::ids::{BlobId, NodeId, TraceKey};
use crate::old_content::OldContent;
use crate::reader::{ReadError, Reader, TraceFilter, TraceOrigin};
use looptape_core::Digest;
use serde::de::IgnoredAny;
use std::collections::HashSet;
use std::fmt;

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub blobs: u64,
    pub nodes: u64,
    pub traces: u64,
    pub exchanges: u64,
    pub load_runs: u64,
    pub damage: Vec<Damage>,
}

/// One thing that cannot be read as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// SQLite's own check of the file.
    File { detail: String },
    /// Contents that were written together and that do not decode.
    Bundle { id: i64 },
    /// Content that does not decode, or whose hash differs.
    Blob { id: i64, digest: String },
    /// A chain node whose parent or piece is missing.
    Node { id: i64 },
    /// A snapshot of files of which something is missing.
    Files { trace: String, path: String },
    /// A call that cannot be put together again.
    Exchange { trace: String, seq: u32, detail: String },
    /// A measured tool call whose row does not decode.
    Tool { trace: String, seq: u32 },
    /// A load run whose report cannot be read.
    LoadRun { id: String },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { detail } => write!(f, "the database file: {detail}"),
            Self::Bundle { id } => write!(f, "the contents from row {id} on cannot be read"),
            Self::Blob { id, digest } => {
                write!(f, "content {} (row {id}) does not match its hash", &digest[..12])
            }
            Self::Node { id } => write!(f, "chain node {id} points to something that is not there"),
            Self::Files { trace, path } => write!(f, "trace {trace}: of its files {path} is missing"),
            Self::Tool { trace, seq } => {
                write!(f, "trace {trace}, measured tool call {seq}: it cannot be read")
            }
            Self::LoadRun { id } => write!(f, "load run {id}: its report cannot be read"),
            Self::Exchange { trace, seq, detail } => write!(f, "trace {trace}, call {seq}: {detail}"),
        }
    }
}

impl Reader {
    /// Checks the whole database. `progress` is told (done, total) now and then.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, ReadError> {
        let mut report = VerifyReport::default();
        // Bundles have many contents each, and are counted by what they hold once they are read.
        let total = self.count("bundles")? + self.count("blobs")? + self.count("calls")?;
        report.damage.extend(self.check_file()?);
        let bundles = self.verify_bundles(&mut report, |done| progress(done, total))?;
        self.verify_old_contents(&mut report, |done| progress(bundles + done, total))?;
        self.verify_old_nodes(&mut report)?;
        let before = total - self.count("calls")?;
        let mut seen = HashSet::new();
        let of_any_origin = TraceFilter { origin: TraceOrigin::All, ..TraceFilter::default() };
        for row in self.traces(&of_any_origin)? {
            self.verify_trace(row.key, &row.label(), &mut report)?;
            self.verify_files(row.key, &row.label(), &mut seen, &mut report)?;
            progress(before + report.exchanges, total);
        }
        self.verify_load_runs(&mut report)?;
        Ok(report)
    }

    /// Checks one trace.
    pub fn verify_one(&self, key: TraceKey, label: &str) -> Result<VerifyReport, ReadError> {
        let mut report = VerifyReport::default();
        self.verify_trace(key, label, &mut report)?;
        self.verify_files(key, label, &mut HashSet::new(), &mut report)?;
        Ok(report)
    }

    /// SQLite's own quick check of the file.
    pub fn check_file(&self) -> Result<Vec<Damage>, ReadError> {
        let mut statement = self.connection().prepare("PRAGMA quick_check(20)")?;
        let lines: Vec<String> = statement.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").map(|detail| Damage::File { detail }).collect())
    }

    /// The schema's version.
    pub fn schema_version(&self) -> Result<u32, ReadError> {
        Ok(self.connection().query_row("PRAGMA user_version", [], |r| r.get(0))?)
    }

    /// Every content and node in bundles; returns how many bundles there are.
    fn verify_bundles(
        &self,
        report: &mut VerifyReport,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, ReadError> {
        let mut recent = RecentBundles::default();
        let mut statement = self.connection().prepare("SELECT id FROM bundles ORDER BY id")?;
        let ids: Vec<i64> = statement.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
        for (done, &id) in ids.iter().enumerate() {
            match recent.of(self.connection(), id)? {
                None => report.damage.push(Damage::Bundle { id }),
                Some(bundle) => {
                    for (id, entry) in bundle.iter() {
                        self.verify_entry(&mut recent, id, entry, report)?;
                    }
                }
            }
            progress(done as u64 + 1);
        }
        Ok(ids.len() as u64)
    }

    fn verify_entry(
        &self,
        recent: &mut RecentBundles,
        id: i64,
        entry: &Entry,
        report: &mut VerifyReport,
    ) -> Result<(), ReadError> {
        let connection = self.connection();
        if let Some(content) = entry.content() {
            report.blobs += 1;
            if recent.content(connection, BlobId(id))?.is_none() {
                report.damage.push(Damage::Blob { id, digest: content.digest.to_hex() });
            }
        }
        if let Some((parent, content)) = entry.node(id) {
            report.nodes += 1;
            let is_there = recent.digest(connection, content)?.is_some()
                && (parent == NodeId::EMPTY || recent.node(connection, parent)?.is_some());
            if !is_there {
                report.damage.push(Damage::Node { id });
            }
        }
        Ok(())
    }

    fn verify_old_contents(
        &self,
        report: &mut VerifyReport,
        mut progress: impl FnMut(u64),
    ) -> Result<(), ReadError> {
        let mut old = OldContent::default();
        let mut statement = self.connection().prepare("SELECT id, digest FROM blobs ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut done = 0;
        while let Some(row) = rows.next()? {
            let (id, digest): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            if old.content(self.connection(), BlobId(id))?.is_none() {
                let hex = digest.iter().map(|b| format!("{b:02x}")).collect();
                report.damage.push(Damage::Blob { id, digest: hex });
            }
            report.blobs += 1;
            done += 1;
            if done % 1000 == 0 {
                progress(done);
            }
        }
        Ok(())
    }

    fn verify_old_nodes(&self, report: &mut VerifyReport) -> Result<(), ReadError> {
        report.nodes += self.count("nodes")?;
        let mut statement = self.connection().prepare(
            "SELECT n.id FROM nodes n WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.id = n.blob) \
             OR n.parent >= n.id OR (n.parent != 0 AND NOT EXISTS (SELECT 1 FROM nodes p WHERE p.id = n.parent))",
        )?;
        for id in statement.query_map([], |r| r.get(0))? {
            report.damage.push(Damage::Node { id: id? });
        }
        Ok(())
    }

    fn verify_trace(&self, key: TraceKey, label: &str, report: &mut VerifyReport) -> Result<(), ReadError> {
        report.traces += 1;
        for seq in self.seqs(key)? {
            report.exchanges += 1;
            match self.exchange(key, seq) {
                Ok(_) => {}
                Err(ReadError::Damaged { seq, what }) => report.damage.push(Damage::Exchange {
                    trace: label.to_owned(),
                    seq,
                    detail: format!("its {what} cannot be read"),
                }),
                Err(error) => return Err(error),
            }
        }
        match self.measured_tools(key) {
            Ok(_) => {}
            Err(ReadError::DamagedTool { seq }) => {
                report.damage.push(Damage::Tool { trace: label.to_owned(), seq });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn verify_load_runs(&self, report: &mut VerifyReport) -> Result<(), ReadError> {
        for run in self.load_runs(u32::MAX)? {
            report.load_runs += 1;
            match self.load_run(&run.id) {
                Ok(Some((_, text))) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => {}
                Ok(None) => report.load_runs -= 1,
                Ok(Some(_)) | Err(ReadError::DamagedLoadRun { .. }) => {
                    report.damage.push(Damage::LoadRun { id: run.id });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The files of a trace's snapshots. `seen` are digests of those that are there.
    fn verify_files(
        &self,
        key: TraceKey,
        label: &str,
        seen: &mut HashSet<Digest>,
        report: &mut VerifyReport,
    ) -> Result<(), ReadError> {
        let Some(workspace) = self.workspace(key)? else { return Ok(()) };
        for root in workspace.snapshots.into_iter().filter_map(|snapshot| snapshot.root.ok()) {
            if let Some(path) = self.missing_file(root, seen)? {
                report.damage.push(Damage::Files { trace: label.to_owned(), path });
            }
        }
        Ok(())
    }

    fn count(&self, table: &'static str) -> Result<u64, ReadError> {
        let count: i64 =
            self.connection().query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0))?;
        Ok(count.unsigned_abs())
    }
}
