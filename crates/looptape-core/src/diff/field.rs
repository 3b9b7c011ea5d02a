//! The fields by which two steps are compared.

use serde::Serialize;
use std::fmt;

/// What of a step differs. The names are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The wire format.
    Format,
    Provider,
    Model,
    /// The system prompt.
    System,
    /// The tools offered.
    Tools,
    Parameters,
    /// What is new in the request.
    Messages,
    /// What the model thought, where that is known.
    Reasoning,
    /// What the model said.
    Answer,
    /// The tools that it asked for, with their arguments.
    ToolCalls,
    FinishReason,
    Error,
    /// How often it was tried, and with which outcome.
    Attempts,
    /// What the tools gave back.
    ToolResults,
    /// Token counts.
    Usage,
    Cost,
    /// The body of a call that is no model step.
    Request,
    /// Its answer.
    Response,
}

impl Field {
    pub const ALL: [Self; 18] = [
        Self::Format,
        Self::Provider,
        Self::Model,
        Self::System,
        Self::Tools,
        Self::Parameters,
        Self::Messages,
        Self::Reasoning,
        Self::Answer,
        Self::ToolCalls,
        Self::FinishReason,
        Self::Error,
        Self::Attempts,
        Self::ToolResults,
        Self::Usage,
        Self::Cost,
        Self::Request,
        Self::Response,
    ];

    /// The name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::System => "system",
            Self::Tools => "tools",
            Self::Parameters => "parameters",
            Self::Messages => "messages",
            Self::Reasoning => "reasoning",
            Self::Answer => "answer",
            Self::ToolCalls => "tool_calls",
            Self::FinishReason => "finish_reason",
            Self::Error => "error",
            Self::Attempts => "attempts",
            Self::ToolResults => "tool_results",
            Self::Usage => "usage",
            Self::Cost => "cost",
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    /// As people say it.
    pub fn words(self) -> &'static str {
        match self {
            Self::System => "system prompt",
            Self::Tools => "tools offered",
            Self::ToolCalls => "tool call",
            Self::FinishReason => "finish reason",
            Self::ToolResults => "tool result",
            other => other.as_str(),
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
