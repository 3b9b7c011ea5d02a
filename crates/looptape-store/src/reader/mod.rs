//! The way out: finding traces, and reading what was recorded.
//!
//! A reader has its own connection and never writes. What is found damaged is an error that names it,
//! never a panic and never silently left out.

mod bodies;
mod files;
mod find;
mod list;
mod load;
mod models;
mod outline;
mod replayed;
mod scan;
mod spending;
mod summary;
mod taped;
mod tools;

pub use bodies::RequestTail;
pub(crate) use files::mark_snapshots;
pub use files::{RecordedWorkspace, Snapshot, StoredTrees};
pub use find::FindError;
pub(crate) use find::row as trace_row;
pub use list::{Direction, OrderBy, RunCost, TagFilter, TraceFilter, TraceOrder, TraceOrigin};
pub(crate) use load::decode_chunks;
pub use load::{RecordedTrace, Response};
pub use models::ModelInUse;
pub use outline::{CallOutline, OutlineEnd};
pub use scan::ScannedTrace;
pub(crate) use summary::{sum_up, sum_up_rows};
pub use taped::Surroundings;
pub(crate) use tools::facts as tool_facts;

use crate::OpenError;
use crate::database::open_to_read;
use crate::ids::TraceKey;
use bodies::Bodies;
use looptape_core::assembly::{LoopOutcome, Timing};
use looptape_core::cost::PriceBook;
use looptape_core::labels::Labels;
use looptape_core::replay::Environment;
use looptape_core::workspace::TreeError;
use looptape_core::{Digest, TraceId};
use rusqlite::{Connection, OptionalExtension};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// A reading connection.
pub struct Reader {
    connection: Connection,
    bodies: RefCell<Bodies>,
    prices: PriceBook,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Why something recorded cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("reading the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "call {seq} of the trace is damaged: its {what} cannot be read. Run `looptape verify` to see what else is"
    )]
    Damaged { seq: u32, what: &'static str },
    #[error(
        "a folder of a snapshot ({digest:?}) is missing or damaged. Run `looptape verify` to see what else is"
    )]
    NoFolder { digest: Digest },
    #[error("a folder of a snapshot ({digest:?}) cannot be read: {source}")]
    Folder { digest: Digest, source: TreeError },
    #[error("measured tool call {seq} of the trace is damaged. Run `looptape verify` to see what else is")]
    DamagedTool { seq: u32 },
    #[error("the report of load run {id} is damaged")]
    DamagedLoadRun { id: String },
}

/// A trace's own row and what belongs to it, without its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRow {
    pub key: TraceKey,
    pub id: TraceId,
    /// 1 for the first trace of this id.
    pub run: u32,
    /// Whether a newer trace has the same id.
    pub superseded: bool,
    pub source: String,
    pub name: Option<String>,
    pub agent: Option<String>,
    pub agent_version: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub command: Vec<String>,
    /// The id of the trace that this one was made from, and why.
    pub parent: Option<(String, String)>,
    /// When it was opened; of an import, when it was imported.
    pub started_unix_us: i64,
    /// What the times of its calls are worth.
    pub timing: Timing,
    /// When an import happened, where its file says so.
    pub happened_unix_us: Option<i64>,
    pub byte_exact: bool,
    pub end: Option<TraceEnd>,
    pub status: TraceStatus,
}

/// A closing row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEnd {
    pub ended_us: i64,
    /// It fell silent; nobody ended it.
    pub idle: bool,
    pub exit_code: Option<i32>,
    /// How it turned out, if somebody said so.
    pub outcome: Option<LoopOutcome>,
}

/// Whether a recording is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceStatus {
    Complete,
    /// It ended, but something is missing.
    Incomplete(Vec<String>),
    /// It never ended: its recorder is gone. What it holds is a prefix, unless there are reasons beside
    /// that one.
    Aborted(Vec<String>),
    Recording,
}

impl TraceStatus {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete(_) => "incomplete",
            Self::Aborted(_) => "aborted",
            Self::Recording => "recording",
        }
    }

    pub fn reasons(&self) -> &[String] {
        match self {
            Self::Incomplete(reasons) | Self::Aborted(reasons) => reasons,
            Self::Complete | Self::Recording => &[],
        }
    }
}

impl TraceRow {
    /// The shortest name that finds this very trace: its id, with the run number if a newer run has it too.
    pub fn label(&self) -> String {
        match self.superseded {
            true => format!("{}#{}", self.id, self.run),
            false => self.id.to_string(),
        }
    }
}

impl TraceRow {
    /// What people call it.
    pub fn labels(&self) -> Labels {
        Labels {
            agent: self.agent.clone(),
            agent_version: self.agent_version.clone(),
            tags: self.tags.clone(),
        }
    }
}

impl Reader {
    /// Opens the database at `path`, which must exist. Costs are at listed prices.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (bodies, prices) = (RefCell::default(), PriceBook::listed());
        Ok(Self { connection: open_to_read(path)?, bodies, prices })
    }

    /// The same with costs at these prices.
    pub fn priced_by(self, prices: PriceBook) -> Self {
        Self { prices, ..self }
    }

    /// What the costs of this reader's traces are made with.
    pub fn prices(&self) -> &PriceBook {
        &self.prices
    }

    /// A reader of the same database with a connection of its own.
    pub fn another(&self) -> Result<Self, OpenError> {
        let another = Self::open(Path::new(self.connection.path().unwrap_or_default()))?;
        Ok(another.priced_by(self.prices.clone()))
    }

    /// A number that is another one whenever another connection has written since this reader looked last.
    pub fn change_mark(&self) -> Result<i64, ReadError> {
        Ok(self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// Where a trace's run took place, if that was recorded.
    pub fn environment(&self, trace: TraceKey) -> Result<Option<Environment>, ReadError> {
        let text: Option<String> = self
            .connection
            .prepare_cached("SELECT environment FROM trace_environment WHERE trace = ?1")?
            .query_row([trace.0], |row| row.get(0))
            .optional()?;
        // What a newer version wrote may not be readable; it then masks nothing.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}
