//! What is no proper answer: errors, answers that broke off, refusals; and why proper ones ended.

use crate::exchange::{Ending, Outcome};
use crate::wire::{ProviderError, ResponseView, Wire};
use std::fmt;

/// A call that brought no proper answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// A status of 400 and above, or an error inside a stream.
    Error { status: u16, error: ProviderError },
    /// There is an answer, but not all of it.
    BrokenOff { how: &'static str },
    /// There is none.
    NoResponse { how: &'static str },
}

impl Failure {
    /// `view` is the answer as its wire format reads it, if one does.
    pub(super) fn of(outcome: &Outcome, view: Option<&ResponseView>) -> Option<Self> {
        let answer = match outcome {
            Outcome::Answered(answer) => answer,
            Outcome::NoResponse { ending, .. } => return Some(Self::NoResponse { how: how(ending) }),
            Outcome::InFlight => return Some(Self::NoResponse { how: "no end was recorded" }),
        };
        let error = view.and_then(|view| view.error.clone());
        if answer.status >= 400 || error.is_some() {
            return Some(Self::Error { status: answer.status, error: error.unwrap_or_default() });
        }
        if !came_whole(&answer.ending) {
            return Some(Self::BrokenOff { how: how(&answer.ending) });
        }
        let cut_short = view.is_some_and(|view| view.truncated);
        cut_short.then_some(Self::BrokenOff { how: "the stream has no last event" })
    }

    /// Whether both failed in the same way; messages name request ids and times, so they do not count.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error { status: a, error: ea }, Self::Error { status: b, error: eb }) => {
                a == b && ea.kind == eb.kind
            }
            (Self::BrokenOff { .. }, Self::BrokenOff { .. })
            | (Self::NoResponse { .. }, Self::NoResponse { .. }) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { status, error } => {
                write!(f, "status {status}")?;
                if let Some(kind) = &error.kind {
                    write!(f, " {kind}")?;
                }
                error.message.as_ref().map_or(Ok(()), |message| write!(f, " ({message})"))
            }
            Self::BrokenOff { how } => write!(f, "an answer that broke off ({how})"),
            Self::NoResponse { how } => write!(f, "no response ({how})"),
        }
    }
}

pub(super) fn came_whole(ending: &Ending) -> bool {
    *ending == Ending::Complete
}

fn how(ending: &Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::UpstreamReset { .. } => "the connection was reset",
        Ending::UpstreamUnreachable { .. } => "the provider could not be reached",
        Ending::ClientGone => "the agent hung up",
    }
}

/// What a refusing answer says, or the reason that it gives; `None` if it does not refuse.
pub(super) fn refusal(wire: Wire, view: &ResponseView) -> Option<String> {
    if !view.refusal.is_empty() {
        return Some(view.refusal.clone());
    }
    let reason = view.finish_reason.as_deref()?;
    let says_so = match wire {
        Wire::AnthropicMessages | Wire::BedrockInvoke | Wire::BedrockConverse => {
            matches!(reason, "refusal" | "guardrail_intervened" | "content_filtered")
        }
        // The reasons for which Google withholds an answer (FinishReason, BlockedReason).
        Wire::GeminiGenerate => {
            let withheld =
                ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"];
            withheld.contains(&reason) || reason.starts_with("blocked:")
        }
        Wire::CohereChatV1 | Wire::CohereChatV2 => reason == "ERROR_TOXIC",
        _ => matches!(reason, "content_filter" | "refusal"),
    };
    says_so.then(|| reason.to_owned())
}

/// Why an answer ended, in the words of no provider. That it ended by asking for tools is not kept: some
/// providers say `stop` then, and the calls are compared themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Unstated,
    Done,
    LengthLimit,
    Other(String),
}

impl End {
    pub(super) fn of(view: &ResponseView) -> Self {
        let Some(reason) = view.finish_reason.as_deref() else { return Self::Unstated };
        match reason.to_ascii_lowercase().as_str() {
            "stop" | "end_turn" | "stop_sequence" | "completed" | "complete" | "eos" | "eos_token"
            | "tool_calls" | "tool_call" | "tool_use" | "function_call" => Self::Done,
            "length" | "max_tokens" | "incomplete" | "model_length" | "model_context_window_exceeded" => {
                Self::LengthLimit
            }
            _ => Self::Other(reason.to_owned()),
        }
    }
}
