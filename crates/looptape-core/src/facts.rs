//! Facts: what is derived from one exchange and kept beside it, so that lists and metrics need not
//! decode bodies again.
//!
//! Facts are a pure function of the exchange's bytes, stamped with [`DERIVATION`]; when a decoder
//! improves the number grows and they are computed anew. They are never the truth.

use crate::provider::Provider;
use crate::usage::TokenUsage;
use crate::wire::Wire;
use serde::{Deserialize, Serialize};

/// Version of the derivation. Raise it whenever a decoder, digest or rule here changes its result.
pub const DERIVATION: u32 = 4;

/// What one HTTP exchange was. Times are µs on the trace's monotonic clock; `None` is "did not happen"
/// or "not known", never 0.
#[derive(Clone, Debug, PartialEq)]
pub struct CallFacts {
    /// Order in which the calls of the trace started, from 0.
    pub seq: u32,
    pub kind: CallKind,
    pub provider: Provider,
    /// Method and path without query: `POST /v1/chat/completions`.
    pub endpoint: String,
    pub model: Option<String>,
    pub response_model: Option<String>,
    pub service_tier: Option<String>,
    /// Whether the answer was (or, unanswered, was asked to be) a stream.
    pub stream: bool,
    pub finish_reason: Option<String>,
    pub sent_us: i64,
    pub head_us: Option<i64>,
    pub first_event_us: Option<i64>,
    pub first_reasoning_us: Option<i64>,
    pub first_content_us: Option<i64>,
    pub first_tool_call_us: Option<i64>,
    pub last_output_us: Option<i64>,
    pub end_us: Option<i64>,
    pub status: Option<u16>,
    pub state: AttemptState,
    /// `x-stainless-retry-count`, where the SDK sends it.
    pub retry_count: Option<u32>,
    /// `retry-after-ms` or `retry-after` of the answer, in ms.
    pub retry_after_ms: Option<u64>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub usage: TokenUsage,
    /// The provider's own price in USD, where it states one.
    pub stated_cost_usd: Option<f64>,
    /// Canonical digest of the whole request: equal for the same request sent again.
    pub request_digest: i64,
    pub lineage: Lineage,
    pub response_id: Option<String>,
    pub previous_response_id: Option<String>,
    /// Tool calls that the answer asks the client to execute, in order.
    pub asks: Vec<AskedTool>,
    /// Call ids of the tool results that this request carries after its last assistant turn
    /// (a tool's name where the format has no id).
    pub carries: Vec<String>,
    /// An explicit loop name (`x-looptape-loop`).
    pub loop_hint: Option<String>,
    /// Which of several upstreams was asked; `None` where there is one.
    pub upstream: Option<AskedUpstream>,
}

/// One of a provider's ordered upstreams, and what became of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedUpstream {
    /// Its base URL.
    pub url: String,
    pub fate: AnswerFate,
}

/// Whether the client saw an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFate {
    #[default]
    PassedOn,
    /// It was a failure, and the next upstream was asked instead.
    Superseded,
}

/// Whether an exchange is a step of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// A model call in a known format.
    Llm(Wire),
    /// Anything else that passed through: embeddings, model lists, unknown paths.
    Other,
}

/// How an attempt ended, under the names of the JSON contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    Complete,
    /// The provider reported an error inside a stream that had begun with 200.
    StreamError,
    UpstreamReset,
    UpstreamUnreachable,
    ClientGone,
    InFlight,
}

/// Short digests by which an answer and the request that echoes it find each other. They are taken over
/// what was said (roles, text, tool calls, tool results), not over how a client wrote it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The request's whole history.
    pub history: i64,
    /// The history up to the end of its last assistant turn; `None` if it holds no assistant turn: a root.
    pub echo: Option<i64>,
    /// The last assistant turn alone.
    pub last_turn: Option<i64>,
    /// The history up to that turn: a request that was answered by it, in whatever words, has this `history`.
    pub before_turn: Option<i64>,
    /// The history with this call's answer appended: a child's `echo` equals it.
    pub answer_history: Option<i64>,
    /// This call's answer alone: a child's `last_turn` equals it.
    pub answer_turn: Option<i64>,
    /// How many turns the history has; a shorter history than the parent's is a trim.
    pub turns: u32,
}

/// A tool call as far as linking needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedTool {
    pub id: Option<String>,
    pub name: String,
    /// Canonical digest of the arguments; `None` if the facts were derived before it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<i64>,
}

impl AttemptState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::StreamError => "stream_error",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::ClientGone => "client_gone",
            Self::InFlight => "in_flight",
        }
    }
}

impl CallFacts {
    /// Whether the call brought a usable answer: a 2xx that came whole.
    pub fn succeeded(&self) -> bool {
        self.state == AttemptState::Complete && self.status.is_some_and(|s| (200..300).contains(&s))
    }

    /// Whether the client never saw this answer, because another upstream was asked instead.
    pub fn is_superseded(&self) -> bool {
        self.upstream.as_ref().is_some_and(|asked| asked.fate == AnswerFate::Superseded)
    }
}
