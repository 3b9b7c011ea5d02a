//! What a caller is told, as `docs/tools.md` has it.

use super::call::ToolEnd;
use super::turn::Turn;
use serde::{Deserialize, Serialize};

/// The answer to a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum ToolVerdict {
    /// The tool does not run: this is what it gives.
    Answer(ToolAnswer),
    /// The tool runs.
    Run,
    /// The tool does not run: the call fails.
    Deny { code: DenyCode, message: String },
    /// There is nothing to do.
    Noted,
}

impl ToolVerdict {
    /// The same, given without waiting for others.
    pub(super) fn at_once(self) -> Self {
        match self {
            Self::Answer(answer) => Self::Answer(ToolAnswer { turn: None, ..answer }),
            other => other,
        }
    }
}

/// What a tool is said to give.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolAnswer {
    #[serde(flatten)]
    pub end: ToolEnd,
    pub from: AnswerFrom,
    /// The recorded call's step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<u32>,
    /// Of a recorded call: when it is given.
    #[serde(skip)]
    pub turn: Option<Turn>,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFrom {
    /// From a measured call: what its caller reported.
    Tool,
    /// From the model traffic: what the model was told.
    History,
    /// From `looptape.toml`.
    Static,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DenyCode {
    /// The recording does not hold it.
    NeverRecorded,
    /// It was recorded, but not once more.
    Exhausted,
    /// Several recorded calls may be it, which ended differently.
    Ambiguous,
    /// The policy says so.
    Denied,
}

impl DenyCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverRecorded => "NEVER_RECORDED",
            Self::Exhausted => "EXHAUSTED",
            Self::Ambiguous => "AMBIGUOUS",
            Self::Denied => "DENIED",
        }
    }
}
