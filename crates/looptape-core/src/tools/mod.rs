//! Tools: what is measured of them while an agent is recorded, and what they are said to have given while it is
//! replayed.
//!
//! The protocol is in `docs/tools.md`; [`message`] reads it. A call that was executed under looptape's eyes becomes a
//! [`MeasuredTool`], whose [`ToolFacts`] are what assembly and metrics need. [`ToolDesk`] is a replay's side: it answers
//! from what was recorded ([`RecordedTool`]: measured, or only carried by the model traffic), as the [`ToolPolicies`] say.
//! Where a caller can keep a tool from running but give nothing in its place, as the hooks of coding agents, the recorded
//! result is put into the agent's next requests ([`told`]).
//!
//! Invariants: a recorded result is served once; a call that may write is never told to run unless a policy says so;
//! the same recording and the same messages give the same answers.
//!
//! What this does not do: run tools, read clocks, or link calls to steps (see [`crate::assembly`]).

mod call;
mod desk;
pub mod message;
mod policy;
mod report;
mod search;
pub mod told;
mod turn;
mod verdict;

pub use call::{MeasuredTool, ToolEnd, ToolError, ToolFacts, ToolOutcome, ToolSource};
pub use desk::{LiveResult, RecordedTool, ServerCall, ServerVerdict, ToolDesk};
pub use message::{Hands, Phase, ToolCallKey, ToolMessage, UnreadableMessage, is_name_of};
pub use policy::{ToolEntry, ToolEntryError, ToolPolicies, ToolPolicy};
pub use report::{ToolDrift, ToolMask, ToolRefusal, ToolsReport};
pub use turn::Turn;
pub use verdict::{AnswerFrom, DenyCode, ToolAnswer, ToolVerdict};
