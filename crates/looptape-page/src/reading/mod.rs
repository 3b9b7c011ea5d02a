//! What both the command line and the page show of a database, read once for both.
//!
//! Everything here loads from a [`looptape_store::Reader`] and hands the core what it makes its views of. It
//! lays nothing out and writes nothing.

pub mod list;
pub mod prompts;
pub mod step_detail;
pub mod trace_view;
pub mod usage_gap;
