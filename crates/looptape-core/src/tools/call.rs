//! A tool call that was executed, or answered, under looptape's eyes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a tool call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    Ok,
    /// It returned no value.
    Null,
    Error,
    Timeout,
    /// It was broken off, or its result never came.
    Aborted,
}

/// The same with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ToolEnd {
    Ok {
        #[serde(default)]
        result: Value,
        /// How the caller turns the result into its own value again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        form: Option<String>,
    },
    Null,
    Error {
        #[serde(default)]
        error: ToolError,
    },
    Timeout {
        #[serde(default)]
        error: ToolError,
    },
    Aborted {
        #[serde(default)]
        error: ToolError,
    },
}

/// What a failed call said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolError {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of a call: whether the tool ran, and if not, who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolSource {
    /// It ran and was measured.
    Measured,
    /// In a replay: answered from the recording.
    Recorded,
    /// In a replay: answered by `looptape.toml`.
    Static,
    /// In a replay: refused.
    Denied,
}

/// What assembly and metrics need of a call. Times are µs on the trace's monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolFacts {
    /// Order in which the calls of the trace became known, from 0.
    pub seq: u32,
    pub name: String,
    pub call_id: Option<String>,
    /// Canonical digest of the arguments.
    pub arguments_digest: i64,
    pub via: Option<String>,
    pub source: ToolSource,
    pub started_us: i64,
    /// `None`: its result never came.
    pub ended_us: Option<i64>,
    /// `None`: its result never came.
    pub outcome: Option<ToolOutcome>,
}

/// The same with all that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredTool {
    pub facts: ToolFacts,
    pub arguments: Value,
    /// `None`: its result never came.
    pub end: Option<ToolEnd>,
}

impl ToolOutcome {
    pub const ALL: [Self; 5] = [Self::Ok, Self::Null, Self::Error, Self::Timeout, Self::Aborted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Null => "null",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Aborted => "aborted",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// Whether the tool gave what it was called for.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::Timeout | Self::Aborted)
    }
}

impl ToolEnd {
    pub fn outcome(&self) -> ToolOutcome {
        match self {
            Self::Ok { .. } => ToolOutcome::Ok,
            Self::Null => ToolOutcome::Null,
            Self::Error { .. } => ToolOutcome::Error,
            Self::Timeout { .. } => ToolOutcome::Timeout,
            Self::Aborted { .. } => ToolOutcome::Aborted,
        }
    }

    /// What a model is told of it: the result, or the error's message.
    pub fn shown(&self) -> Option<Value> {
        match self {
            Self::Ok { result, .. } => Some(result.clone()),
            Self::Null => Some(Value::Null),
            Self::Error { error } | Self::Timeout { error } | Self::Aborted { error } => {
                error.message.clone().map(Value::String)
            }
        }
    }
}

impl ToolSource {
    pub const ALL: [Self; 4] = [Self::Measured, Self::Recorded, Self::Static, Self::Denied];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Recorded => "recorded",
            Self::Static => "static",
            Self::Denied => "denied",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }
}
