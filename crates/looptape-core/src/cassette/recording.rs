//! What a cassette holds.

use crate::TraceId;
use crate::assembly::{LoopOutcome, Timing};
use crate::exchange::Exchange;
use crate::facts::AskedUpstream;
use crate::labels::Labels;
use crate::replay::{Environment, Provenance};
use std::collections::BTreeMap;

/// A trace, without its calls. Which process recorded it is not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct TapedTrace {
    pub id: TraceId,
    /// What brought it into being: record, serve, import, replay.
    pub source: String,
    pub name: Option<String>,
    pub labels: Labels,
    pub command: Vec<String>,
    /// The trace that it was made from.
    pub parent: Option<TapedParent>,
    pub started_unix_us: i64,
    /// What the times of its calls are worth.
    pub timing: Timing,
    /// When an import happened, where its file says so.
    pub happened_unix_us: Option<i64>,
    pub byte_exact: bool,
    /// Where its run took place.
    pub environment: Option<Environment>,
    /// `None` if it was never closed.
    pub end: Option<TapedEnd>,
    /// What the recording lacks, and how often.
    pub gaps: BTreeMap<String, u64>,
}

/// What a trace was made from, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapedParent {
    pub trace: TraceId,
    pub why: String,
}

/// How a trace ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapedEnd {
    /// µs since its start.
    pub ended_us: i64,
    /// It fell silent; nobody ended it.
    pub idle: bool,
    pub exit_code: Option<i32>,
    /// Why the run was broken off, if it was.
    pub aborted: Option<String>,
    pub outcome: Option<LoopOutcome>,
}

/// One call of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TapedCall {
    pub exchange: Exchange,
    /// An explicit loop name.
    pub loop_hint: Option<String>,
    /// For imports: its place in the file.
    pub import_index: Option<u32>,
    /// For replays: where its answer came from.
    pub provenance: Option<Provenance>,
    /// Which of several upstreams was asked.
    pub upstream: Option<AskedUpstream>,
}
