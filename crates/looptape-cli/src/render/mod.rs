//! Text for people: what the verbs print when `--json` is not asked for.
//!
//! Invariant: recorded text is hostile. Nothing of it reaches a terminal except through
//! [`terminal_text`], which leaves no control character in it.
//!
//! What this does not do: compute. Every figure comes from the core's views.

pub(crate) mod annotations;
pub(crate) mod ascii;
pub(crate) mod audit;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
mod driven;
pub(crate) mod exported;
pub(crate) mod figures;
pub(crate) mod files;
pub(crate) mod freed;
pub(crate) mod gates;
pub(crate) mod groups;
pub(crate) mod imported;
pub(crate) mod junit;
pub(crate) mod learned;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod load_capacity;
pub(crate) mod load_runs;
pub(crate) mod load_vary;
pub(crate) mod ls;
pub(crate) mod mcp;
pub(crate) mod mock;
pub(crate) mod models;
pub(crate) mod prices;
pub(crate) mod pruned;
pub(crate) mod recorded;
pub(crate) mod replayed;
pub(crate) mod resent;
mod sparkline;
pub(crate) mod stats;
mod stats_use;
pub(crate) mod step;
pub(crate) mod style;
mod table;
pub(crate) mod terminal_text;
pub(crate) mod test_markdown;
pub(crate) mod tested;
pub(crate) mod timeline;
pub(crate) mod verified;
