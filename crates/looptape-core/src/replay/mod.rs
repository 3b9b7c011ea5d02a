//! Replay: finding the recorded answer that belongs to a live request, or saying why there is none.
//!
//! - `components`, `fields`: what of a request is compared, and how each field counts.
//! - `masks`, `environment`: values that differ from run to run, tolerated at their own spans.
//! - `tape`, `recorded_body`, `timeline`: the recorded calls, indexed, and which of them ran at the same time.
//! - `live`, `options`, `replayer`: the decision, request by request.
//! - `classify`, `unanswerable`, `cause`, `difference`, `report`: why a request gets no answer, and how that is
//!   told.
//! - `learn`: masks found by replaying two recordings of one program against each other.
//! - `answers`: how an answer that was asked for again compares with the recorded one.
//! - `schedule`, `retry`, `driven`: recorded requests sent again, and what came of it.
//! - `comparison`: one task, several models, in one table.
//! - `free_run`: a loop that a model drives by itself, with the recording's tools.
//! - `references`: requests that point at things by their ids, and which id stands for which.
//! - `summary`, `refusal`: what the whole replay came to, and what the refused client is told.
//! - `fork_point`, `forked_request`: from where on a replay goes its own way, and what it then asks.
//! - `provenance`: where each answer of a replay came from.
//!
//! Everything is pure: no sockets, no clock. The same tape and the same requests give the same decisions
//! and the same reports. Rebinding is not here.

pub mod answers;
mod cause;
mod classify;
pub mod comparison;
pub mod components;
mod difference;
pub mod driven;
mod environment;
pub(crate) mod fields;
mod fork_point;
mod forked_request;
pub mod free_run;
pub mod learn;
mod live;
mod masks;
mod near;
mod next_step;
mod options;
mod provenance;
mod recorded_body;
mod references;
pub mod refusal;
mod replayer;
mod report;
pub mod report_text;
pub mod retry;
pub mod run_figures;
pub mod schedule;
mod side_calls;
mod summary;
mod tape;
mod timeline;
mod tool_results;
mod unanswerable;

#[cfg(test)]
mod scenarios;

pub use crate::text_diff::{Change, InlineDiff, Span};
pub use components::{Component, Normalise, verbatim};
pub use difference::Difference;
pub use environment::{Environment, GitState, LocalDate};
pub use fork_point::NoSuchStep;
pub use forked_request::{ForkedRequest, Forking, KnownCall, NotForkable};
pub use live::LiveRequest;
pub(crate) use masks::Pair;
pub use masks::{ConfiguredMask, MaskEntry, MaskEntryError, MaskKind, Masking, Run, UnknownMaskKind};
pub use options::{Ambiguous, Attempts, EditBudget, ForkAt, Holes, OnMiss, Options, Rebind, Rung};
pub use provenance::{AnswerSource, ModelKind, Provenance, WhyAsked, WhyRefused};
pub use recorded_body::{RecordedBody, RequestBodies};
pub use replayer::{CannotReplay, Choice, Decision, HasHoles, Replayer, Served};
pub use report::{DivergenceCode, Nearest, Report};
pub use side_calls::{SideCall, SideCallEntry, SideCallEntryError, SideCalls};
pub use summary::{BillingDifference, MaskUse, Rebound, ServedCounts, Summary, Verdict, render_text};
pub use tape::{CallLabel, Completeness, EntryId, RecordedCall, RecordedOutcome, Tape};
