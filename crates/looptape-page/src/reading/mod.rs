//! What both the command line and the page show of a database, read once for both.
//!
//! Everything here loads from a [`looptape_store::Reader`] and hands the core what it makes its views of. It
//! lays nothing out and writes nothing.
//!
//! - `list`: many traces, a line each.
//! - `trace_view`, `step_detail`, `prompts`, `usage_gap`: one trace, and one of its steps.
//! - `diff`: two traces, of which `sides` reads each.
//! - `audit`: why a run cost what it cost; `baseline`: what it is compared with.
//! - `figures`: the metrics of many traces; `load_runs`: what came of load runs.

pub mod audit;
pub mod baseline;
pub mod diff;
pub mod figures;
pub mod list;
pub mod load_runs;
pub mod prompts;
mod sides;
pub mod step_detail;
pub mod trace_view;
pub mod usage_gap;
