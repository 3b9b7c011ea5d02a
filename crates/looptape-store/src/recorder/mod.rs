//! The way in: a bounded queue and one writer thread with group commits.
//!
//! Callers hand over events and never wait for the disk, unless they ask for durability. A full queue
//! drops the event and counts a gap of its trace; a failing disk does the same. The agent whose calls
//! are being recorded notices neither.

mod bodies;
mod call_rows;
mod event;
mod files;
mod gaps;
mod handle;
mod intake;
mod kept_facts;
mod known;
mod last_headers;
mod open_trace;
mod rope;
mod rows;
mod scrub;
mod spending;
mod state;
mod tools;
mod unnamed_ids;
mod watch;
mod writer;

pub use event::{
    BeginCall, CallEnd, EndOfTrace, Moment, RecordedCallRef, RepeatedCall, RepeatedEnd, Source, TraceHint,
    TraceSpec,
};
pub use files::FilesTicket;
pub use handle::{
    CallTicket, Recorder, RecorderHealth, RecorderReport, RecorderThread, RepeatTicket, RestoreError,
};
pub use rope::{Arriving, Rope};
pub use spending::Spender;
pub(crate) use tools::Said;
pub use tools::ToolReport;
pub use watch::{Watch, WatchedCall, WatchedRequest, WatchedTool, WatchedTrace};

use looptape_core::cost::PriceBook;
use looptape_core::labels::Labels;
use looptape_core::redact::Patterns;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How the recorder works.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    pub database: PathBuf,
    pub durability: Durability,
    /// Secrets that are looked for inside bodies, paths and header values.
    pub patterns: Arc<Patterns>,
    /// By which a trace that ends is summed up.
    pub prices: PriceBook,
    /// Whoever is told what is written down.
    pub watch: Option<Arc<dyn Watch>>,
    /// Bytes that may wait in the queue; beyond them calls are dropped and counted.
    pub queue_bytes: usize,
    /// A trace that the gateway opened by itself ends after this long without a call.
    pub idle_end: Duration,
    /// Of traces that nobody named, so many may wait for somebody to carry on; beyond it those end first
    /// that nobody has carried on from.
    pub most_unnamed: usize,
    /// Of traces that calls open, beside what their headers say.
    pub labels: Labels,
    /// How long a commit waits for another process's transaction before it is given up.
    pub lock_wait: Duration,
}

/// When a finished call counts as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Committed within milliseconds; survives a killed recorder but for those.
    Relaxed,
    /// Committed and synced before the client sees the end of the answer.
    Strict,
}

impl RecorderOptions {
    pub fn new(database: PathBuf, patterns: Arc<Patterns>) -> Self {
        Self {
            database,
            durability: Durability::Relaxed,
            patterns,
            prices: PriceBook::listed(),
            watch: None,
            queue_bytes: 192 << 20,
            idle_end: Duration::from_secs(600),
            most_unnamed: 8192,
            labels: Labels::default(),
            lock_wait: Duration::from_secs(30),
        }
    }
}
