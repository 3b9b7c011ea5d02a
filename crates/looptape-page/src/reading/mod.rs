//! What both the command line and the page show of a database, read once for both.
//!
//! Everything here loads from a [`looptape_store::Reader`] and hands the core what it makes its views of. It
//! lays nothing out and writes nothing.
//!
//! - `list`: many traces, and what is usual among them; `search`: those in which something was said.
//! - `open_trace`: a trace that is looked at page by page.
//! - `trace_view`, `step_detail`, `prompts`, `usage_gap`: one trace, and one of its steps.
//! - `heat`: what the messages of a prompt cost. `curl`: a request as a command.
//! - `cut_texts`: long texts, cut and found again.
//! - `diff`: two traces, of which `sides` reads each.
//! - `audit`: why a run cost what it cost; `baseline`: what it is compared with.
//! - `figures`: the metrics of many traces; `load_runs`: what came of load runs.

pub mod audit;
pub mod baseline;
pub mod curl;
pub mod cut_texts;
pub mod diff;
pub mod figures;
pub mod heat;
pub mod list;
pub mod load_runs;
pub mod open_trace;
pub mod prompts;
pub mod search;
mod sides;
pub mod step_detail;
pub mod trace_view;
pub mod usage_gap;
