//! Recorded traces as people read them: loaded, measured, and made into the values of which text, JSON and the page are
//! made. The command line and the page ask here, so that both show the same.
//!
//! - `trace_view`, `prompts`, `usage_gap`: one trace, step by step.
//! - `diff`: two traces, of which `sides` reads each.
//! - `audit`: why a run cost what it cost; `baseline`: what it is compared with.
//! - `figures`: the metrics of many traces.

pub mod audit;
pub mod baseline;
pub mod diff;
pub mod figures;
pub mod prompts;
mod sides;
pub mod trace_view;
pub mod usage_gap;
