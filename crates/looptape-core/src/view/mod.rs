//! What `show` and `ls` print: the JSON contract, as types.
//!
//! Invariants: `format` is raised when a field changes its meaning or goes; adding one does not. Unknown
//! figures are null. Times and durations are milliseconds with microsecond precision. Model steps, tool calls
//! and plain calls are entries of one list, in the order in which they started; a tool call has the number of
//! the step that asked for it and a `sub` of its own (one that no step asked for has neither), a plain call has no number.
//!
//! What this does not do: lay out text (the command line does) or read bodies (the caller's `contents` does).

mod build;
#[cfg(test)]
mod tests;
pub mod tracks;

use crate::assembly::{Lane, LoopNumber, LoopOutcome, StepNumber};
use crate::composition::Composition;
use crate::cost::Usd;
use crate::facts::AttemptState;
use crate::metrics::{Ms, TraceMetrics};
use crate::replay::{AnswerSource, Provenance};
use crate::tools::{ToolEnd, ToolError, ToolSource};
use crate::trace_id::TraceId;
use crate::usage::TokenUsage;
use crate::wire::{Message, ToolCall};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;

pub use crate::tools::ToolOutcome;
pub use build::{ls_row, step_view, trace_view};

/// Version of the JSON of `show`.
pub const FORMAT: u32 = 1;

/// What is known about a trace apart from its calls.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceMeta {
    pub id: TraceId,
    pub name: Option<String>,
    pub agent: Option<String>,
    pub agent_version: Option<String>,
    pub tags: Vec<String>,
    /// `None` for an import that holds no times.
    pub started_unix_us: Option<i64>,
    pub status: TraceStatus,
    pub status_reasons: Vec<String>,
    pub parent: Option<ParentTrace>,
}

/// Whether a trace holds everything that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceStatus {
    Complete,
    Incomplete,
    Aborted,
    Recording,
}

/// The trace that this one was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParentTrace {
    pub trace: TraceId,
    pub why: String,
}

/// What the body of one call says, as far as a view shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallContent {
    /// The interaction's place in the file that it was imported from.
    pub import_index: Option<u32>,
    /// In a replay: where the answer came from.
    pub provenance: Option<Provenance>,
    /// The answer's text.
    pub text: Option<String>,
    /// The tool calls that the answer asks for, in order.
    pub tool_calls: Vec<ToolCall>,
    /// The tool results that the request carries after its last assistant turn, in order.
    pub tool_results: Vec<ToolResult>,
    /// The request's history, where it is to be shown.
    pub messages: Option<Vec<Message>>,
    /// What its input tokens consist of, where that is to be shown.
    pub composition: Option<Composition>,
}

/// A tool's result as a request carries it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    pub call_id: Option<String>,
    pub name: Option<String>,
    pub content: Value,
    pub is_error: bool,
}

/// `show TRACE --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceView {
    pub format: u32,
    pub trace: TraceHead,
    pub steps: Vec<EntryView>,
}

/// The trace itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceHead {
    pub id: TraceId,
    pub name: Option<String>,
    pub agent: Option<String>,
    pub agent_version: Option<String>,
    pub tags: Vec<String>,
    /// RFC 3339, UTC.
    pub started_at: Option<String>,
    pub status: TraceStatus,
    pub status_reasons: Vec<String>,
    pub parent: Option<ParentTrace>,
    pub metrics: TraceMetrics,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Llm,
    Tool,
    Other,
}

/// A model step, a tool call or a plain call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntryView {
    pub step: Option<StepNumber>,
    pub sub: Option<u32>,
    pub kind: EntryKind,
    #[serde(rename = "loop")]
    pub loop_number: Option<LoopNumber>,
    pub lane: Option<Lane>,
    /// Of a plain call: the step whose tool made it, where that was captured and is certain.
    pub parent_step: Option<StepNumber>,
    pub provider: Option<String>,
    pub wire: Option<&'static str>,
    pub endpoint: Option<String>,
    pub model: Option<String>,
    pub response_model: Option<String>,
    pub stream: Option<bool>,
    pub import_index: Option<u32>,
    /// In a replay: where the answer of the last attempt came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<AnswerSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<ReplayedView>,
    /// Since the trace's start.
    pub started_ms: Option<Ms>,
    /// All attempts, backoff included; a tool call's is as measured, or inferred, an upper bound.
    pub duration_ms: Option<Ms>,
    pub ttft_ms: Option<Ms>,
    pub tpot_ms: Option<f64>,
    pub finish_reason: Option<String>,
    pub text: Option<String>,
    pub tool_calls: Vec<ToolCall>,
    pub usage: Option<TokenUsage>,
    pub cost: Option<CostView>,
    /// What the input tokens of the last attempt consist of: estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composition: Option<Composition>,
    pub tool: Option<ToolView>,
    pub attempts: Vec<AttemptView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<Message>>,
}

/// How a replay came by an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayedView {
    /// The recorded call whose answer was served, by its place in the recording.
    pub recorded_seq: Option<u32>,
    /// How well the request matched that call's.
    pub rung: Option<u8>,
    /// Why no recorded answer was served: a divergence code, `FORK`, `OVER_BUDGET`, `CANNOT_ASK`.
    pub reason: Option<&'static str>,
}

/// What an entry cost, all its attempts together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostView {
    pub usd: Usd,
    pub price_source: String,
    pub price_version: Option<Cow<'static, str>>,
    /// The true cost may be larger: some attempt's is not known in full.
    pub at_least: bool,
}

/// A tool call and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolView {
    pub name: String,
    pub call_id: Option<String>,
    pub arguments: Option<Value>,
    pub result: Option<Value>,
    /// `None` where no result was seen.
    pub outcome: Option<ToolOutcome>,
    pub source: ToolKnown,
    /// Who executed it, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Its place among the measured calls of the trace.
    #[serde(skip)]
    pub measured: Option<usize>,
    /// Its result's place among those of the request that carries it.
    #[serde(skip)]
    pub told_at: Option<usize>,
    /// The call, by its `seq`, whose request first told the model of the result.
    #[serde(skip)]
    pub told_by: Option<u32>,
}

impl ToolView {
    /// How it ended, as the model was told; `None` where no result was seen.
    pub fn told_end(&self) -> Option<ToolEnd> {
        let result = self.result.clone().unwrap_or_default();
        let message = || match &result {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let error = || ToolError { message: message(), ..ToolError::default() };
        Some(match self.outcome? {
            ToolOutcome::Ok => ToolEnd::Ok { result, form: None },
            ToolOutcome::Null => ToolEnd::Null,
            ToolOutcome::Error => ToolEnd::Error { error: error() },
            ToolOutcome::Timeout => ToolEnd::Timeout { error: error() },
            ToolOutcome::Aborted => ToolEnd::Aborted { error: error() },
        })
    }
}

/// How a tool call is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolKnown {
    /// From the model's answer and the request that carries the result: its time is an upper bound.
    Inferred,
    /// Somebody said what became of it.
    Seen(ToolSource),
}

impl Serialize for ToolKnown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Inferred => "inferred",
            Self::Seen(source) => source.as_str(),
        })
    }
}

/// One HTTP exchange.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptView {
    pub attempt: u32,
    /// The call's place among those of the trace: its `seq`.
    pub call: u32,
    pub status: Option<u16>,
    pub state: AttemptState,
    pub retry_layer: Option<crate::assembly::RetryLayer>,
    /// Of a provider with several upstreams, the one that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    pub retry_after_ms: Option<u64>,
    /// Time lost between the attempt before and this one.
    pub backoff_ms: Option<Ms>,
    pub started_ms: Option<Ms>,
    pub duration_ms: Option<Ms>,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// One row of `ls --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LsRow {
    pub id: TraceId,
    pub name: Option<String>,
    pub agent: Option<String>,
    pub agent_version: Option<String>,
    pub started_at: Option<String>,
    pub status: TraceStatus,
    pub outcome: LoopOutcome,
    /// The models that were asked for, in the order of the steps.
    pub models: Vec<String>,
    pub steps: u32,
    /// Model calls as the client sent them, retries included.
    pub llm_calls: u32,
    pub tool_calls: u32,
    pub attempts: u32,
    pub retry_rate: Option<f64>,
    pub duration_ms: Option<Ms>,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    pub tags: Vec<String>,
}

impl TraceStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Aborted => "aborted",
            Self::Recording => "recording",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Complete, Self::Incomplete, Self::Aborted, Self::Recording]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}
