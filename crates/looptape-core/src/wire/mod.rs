//! Wire formats: how providers write requests and answers.
//!
//! Each format has a module that knows where its messages, tool calls, finish reason and usage are. All
//! of them yield the same few values below. Decoding never fails: what cannot be read is `None` or left
//! out, because recordings hold whatever clients and providers really sent.

mod anthropic;
pub mod content_encoding;
mod framing;
mod gemini;
mod lenient;
mod openai_chat;
mod openai_responses;
mod openai_usage;
mod response;
pub mod route;
pub mod sse;

use crate::usage::TokenUsage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request and response format that looptape understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wire {
    #[serde(rename = "openai.chat")]
    OpenAiChat,
    #[serde(rename = "openai.responses")]
    OpenAiResponses,
    #[serde(rename = "anthropic.messages")]
    AnthropicMessages,
    #[serde(rename = "gemini.generate")]
    GeminiGenerate,
}

/// Who speaks in a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
    Other(String),
}

/// One message of a conversation, in whatever format it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub parts: Vec<Part>,
}

/// One part of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    Text {
        text: String,
    },
    /// Reasoning; empty text where the provider keeps it encrypted.
    Reasoning {
        text: String,
    },
    ToolCall(ToolCall),
    ToolResult {
        call_id: Option<String>,
        name: Option<String>,
        content: Value,
        is_error: bool,
    },
    /// An image, a file, a server-side tool's block: named by its own type, kept as it is.
    Other {
        kind: String,
        value: Value,
    },
}

/// A tool call that a model asked its client to execute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's call id; Gemini often has none.
    pub id: Option<String>,
    pub name: String,
    /// Arguments parsed as JSON; a JSON string holding the raw text if they do not parse.
    pub arguments: Value,
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestView {
    pub model: Option<String>,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
    /// Upper bound on output tokens, where stated.
    pub max_output_tokens: Option<u64>,
    /// The system prompt, where the format keeps it apart from the messages.
    pub system: Vec<Part>,
    /// The history, in order, one per element of the format's message array.
    pub messages: Vec<Message>,
    /// Names of the tools offered.
    pub tools: Vec<String>,
    /// Responses API: the response that this one continues.
    pub previous_response_id: Option<String>,
}

/// What an answer says, decoded from a whole body or from a stream. Choice (candidate) 0 only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseView {
    pub response_model: Option<String>,
    pub response_id: Option<String>,
    /// Whether the body was a stream of events (observed, not asked for).
    pub stream: bool,
    /// The provider's own word.
    pub finish_reason: Option<String>,
    pub text: String,
    pub reasoning: String,
    /// Client-executed tool calls, in order of appearance.
    pub tool_calls: Vec<ToolCall>,
    /// Names of server-executed tool calls, in order of appearance.
    pub server_tool_calls: Vec<String>,
    pub usage: TokenUsage,
    /// The service tier that the answer names.
    pub service_tier: Option<String>,
    /// The provider's own price for this call in USD, where it states one (OpenRouter).
    pub stated_cost_usd: Option<f64>,
    /// An error object in the body, or an error event inside a stream.
    pub error: Option<ProviderError>,
    /// A stream that ended without its terminal event.
    pub truncated: bool,
    pub milestones: Milestones,
}

/// An error as the provider worded it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderError {
    /// The provider's type or code, `rate_limit_error` for example.
    pub kind: Option<String>,
    pub message: Option<String>,
}

/// Where things first appear in a streamed body: byte offsets (exclusive end of the event) into the
/// content-decoded body. The recording knows when each byte arrived, so these become times.
/// All `None` for an answer that was not streamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestones {
    pub first_event: Option<usize>,
    pub first_reasoning: Option<usize>,
    pub first_content: Option<usize>,
    pub first_tool_call: Option<usize>,
    /// The last non-empty output of any of the three kinds.
    pub last_output: Option<usize>,
}

impl Wire {
    pub const ALL: [Self; 4] =
        [Self::OpenAiChat, Self::OpenAiResponses, Self::AnthropicMessages, Self::GeminiGenerate];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai.chat",
            Self::OpenAiResponses => "openai.responses",
            Self::AnthropicMessages => "anthropic.messages",
            Self::GeminiGenerate => "gemini.generate",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.as_str() == name)
    }

    /// Reads a request body. `path` may carry a query; Gemini and Azure name the model in it.
    pub fn decode_request(self, path: &str, body: &Value) -> RequestView {
        match self {
            Self::OpenAiChat => openai_chat::decode_request(path, body),
            Self::OpenAiResponses => openai_responses::decode_request(path, body),
            Self::AnthropicMessages => anthropic::decode_request(path, body),
            Self::GeminiGenerate => gemini::decode_request(path, body),
        }
    }

    /// Reads a content-decoded answer, whole or streamed.
    pub fn decode_response(self, status: u16, content_type: Option<&str>, decoded: &[u8]) -> ResponseView {
        match self {
            Self::OpenAiChat => response::decode::<openai_chat::Answer>(status, content_type, decoded),
            Self::OpenAiResponses => {
                response::decode::<openai_responses::Answer>(status, content_type, decoded)
            }
            Self::AnthropicMessages => response::decode::<anthropic::Answer>(status, content_type, decoded),
            Self::GeminiGenerate => response::decode::<gemini::Answer>(status, content_type, decoded),
        }
    }
}

impl Milestones {
    /// The first output of any kind.
    pub fn first_output(&self) -> Option<usize> {
        [self.first_reasoning, self.first_content, self.first_tool_call].into_iter().flatten().min()
    }
}
