//! Checking that everything recorded can still be read, bit for bit.
//!
//! Every blob is decoded and hashed, every chain is followed to its beginning, every request body is put
//! together and compared with the digest that was taken when it was recorded.

use crate::content::read_blob;
use crate::ids::{BlobId, TraceKey};
use crate::packs::RecentPacks;
use crate::reader::{ReadError, Reader};
use looptape_core::Digest;
use std::fmt;

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub blobs: u64,
    pub nodes: u64,
    pub traces: u64,
    pub exchanges: u64,
    pub damage: Vec<Damage>,
}

/// One thing that cannot be read as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// SQLite's own check of the file.
    File { detail: String },
    /// Content that does not decode, or whose hash differs.
    Blob { id: i64, digest: String },
    /// A chain node whose parent or piece is missing.
    Node { id: i64 },
    /// A call that cannot be put together again.
    Exchange { trace: String, seq: u32, detail: String },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { detail } => write!(f, "the database file: {detail}"),
            Self::Blob { id, digest } => {
                write!(f, "content {} (row {id}) does not match its hash", &digest[..12])
            }
            Self::Node { id } => write!(f, "chain node {id} points to something that is not there"),
            Self::Exchange { trace, seq, detail } => write!(f, "trace {trace}, call {seq}: {detail}"),
        }
    }
}

impl Reader {
    /// Checks the whole database. `progress` is told (done, total) now and then.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, ReadError> {
        let mut report = VerifyReport::default();
        let total = self.count("blobs")? + self.count("nodes")? + self.count("exchanges")?;
        report.damage.extend(self.check_file()?);
        self.verify_blobs(&mut report, |done| progress(done, total))?;
        self.verify_nodes(&mut report)?;
        let before = report.blobs + report.nodes;
        for row in self.traces(&Default::default())? {
            self.verify_trace(row.key, &row.label(), &mut report)?;
            progress(before + report.exchanges, total);
        }
        Ok(report)
    }

    /// Checks one trace.
    pub fn verify_one(&self, key: TraceKey, label: &str) -> Result<VerifyReport, ReadError> {
        let mut report = VerifyReport::default();
        self.verify_trace(key, label, &mut report)?;
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

    fn verify_blobs(
        &self,
        report: &mut VerifyReport,
        mut progress: impl FnMut(u64),
    ) -> Result<(), ReadError> {
        let mut packs = RecentPacks::default();
        let mut statement = self.connection().prepare("SELECT id, digest FROM blobs ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, digest): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let content = read_blob(self.connection(), &mut packs, BlobId(id))?;
            if content.is_none_or(|c| Digest::of(&c).0[..] != digest) {
                let hex = digest.iter().map(|b| format!("{b:02x}")).collect();
                report.damage.push(Damage::Blob { id, digest: hex });
            }
            report.blobs += 1;
            if report.blobs.is_multiple_of(1000) {
                progress(report.blobs);
            }
        }
        Ok(())
    }

    fn verify_nodes(&self, report: &mut VerifyReport) -> Result<(), ReadError> {
        report.nodes = self.count("nodes")?;
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
        Ok(())
    }

    fn count(&self, table: &'static str) -> Result<u64, ReadError> {
        let count: i64 =
            self.connection().query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0))?;
        Ok(count.unsigned_abs())
    }
}
