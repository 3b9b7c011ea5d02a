//! Replay: finding the recorded answer that belongs to a live request, or saying why there is none.
//!
//! - `components`, `fields`: what of a request is compared, and how each field counts.
//! - `masks`: what a harness measures of itself, left out at the last rung.
//! - `tape`, `recorded_body`, `timeline`: the recorded calls, indexed, and which of them ran at the same time.
//! - `live`, `options`, `replayer`: the decision, request by request.
//! - `classify`, `cause`, `difference`, `report`: why a request has no match, and how that is told.
//! - `summary`, `refusal`: what the whole replay came to, and what the refused client is told.
//! - `fork_point`: from where on a replay goes its own way.
//! - `provenance`: where each answer of a replay came from.
//!
//! Everything is pure: no sockets, no clock. The same tape and the same requests give the same decisions
//! and the same reports. Masks beyond these, near matches, rebinding and forks are not here yet.

mod cause;
mod classify;
pub mod components;
mod difference;
mod fields;
mod fork_point;
mod live;
mod masks;
mod options;
mod provenance;
mod recorded_body;
pub mod refusal;
mod replayer;
mod report;
mod side_calls;
mod summary;
mod tape;
mod timeline;

#[cfg(test)]
mod scenarios;

pub use components::{Component, Normalise, verbatim};
pub use difference::{Change, Difference, InlineDiff, Span};
pub use fork_point::NoSuchStep;
pub use live::LiveRequest;
pub use options::{Ambiguous, Attempts, ForkAt, Holes, OnMiss, Options, Rung};
pub use provenance::{AnswerSource, ModelKind, Provenance, WhyAsked, WhyRefused};
pub use recorded_body::{RecordedBody, RequestBodies};
pub use replayer::{CannotReplay, Choice, Decision, HasHoles, Replayer, Served};
pub use report::{DivergenceCode, Nearest, Report};
pub use side_calls::SideCall;
pub use summary::{BillingDifference, ServedCounts, Summary, Verdict, render_text};
pub use tape::{CallLabel, Completeness, EntryId, RecordedCall, RecordedOutcome, Tape};
