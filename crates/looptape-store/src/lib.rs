//! The recording database: the only place with SQL.
//!
//! [`Recorder`] is the way in: a bounded queue, one writer thread, group commits. It never blocks its
//! caller and never fails it: what cannot be written is counted as a gap of its trace.
//! [`Reader`] is the way out. [`Maintenance`] verifies and prunes.
//!
//! Several processes may record into one database at once: transactions are short and every connection
//! waits for its turn. Rows are only added while recording; only pruning deletes.

mod bundles;
pub mod cassettes;
mod codec;
mod content;
mod database;
mod facts_row;
mod gc;
mod ids;
mod liveness;
mod load_runs;
mod old_content;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;
mod trace_bytes;
mod verify;
pub mod workspace;

pub use database::{OpenError, open_private};
pub use gc::{Maintenance, PruneError, PruneReport, Retention};
pub use ids::{Selector, TraceKey};
pub use load_runs::{KeepError, LoadRunKind, LoadRunRow, keep_load_run};
pub use reader::{
    CallOutline, Direction, FindError, ModelInUse, OrderBy, OutlineEnd, ReadError, Reader, RecordedTrace,
    RecordedWorkspace, RequestTail, Response, RunCost, ScannedTrace, Snapshot, StoredTrees, Surroundings,
    TagFilter, TraceFilter, TraceOrder, TraceOrigin, TraceRow, TraceStatus,
};
pub use recorder::{
    Arriving, BeginCall, CallEnd, CallTicket, Durability, EndOfTrace, FilesTicket, Moment, RecordedCallRef,
    Recorder, RecorderHealth, RecorderOptions, RecorderReport, RecorderThread, RepeatTicket, RepeatedCall,
    RepeatedEnd, RestoreError, Rope, Source, Spender, ToolReport, TraceHint, TraceSpec, Watch, WatchedCall,
    WatchedRequest, WatchedTool, WatchedTrace,
};
pub use trace_bytes::{CallBytes, TraceBytes};
pub use verify::{Damage, VerifyReport};
