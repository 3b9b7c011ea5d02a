//! Wire formats: how providers write requests and answers.
//!
//! Each format has a module that knows where its messages, tool calls, finish reason and usage are. All
//! of them yield the same few values below. Decoding never fails: what cannot be read is `None` or left
//! out, because recordings hold whatever clients and providers really sent.

mod anthropic;
mod aws_event_stream;
mod bedrock_converse;
mod bedrock_invoke;
mod cohere_v1;
mod cohere_v2;
pub mod content_encoding;
mod content_text;
mod echo;
mod framing;
mod gemini;
mod lenient;
mod ollama;
mod openai_chat;
mod openai_completions;
mod openai_responses;
mod openai_usage;
mod partial_calls;
mod plain_message;
mod response;
pub mod route;
pub mod sse;
#[cfg(test)]
mod test_events;

pub(crate) use content_text::content_text;
pub use echo::WrittenResult;

use crate::usage::TokenUsage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request and response format that looptape understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wire {
    #[serde(rename = "openai.chat")]
    OpenAiChat,
    #[serde(rename = "openai.completions")]
    OpenAiCompletions,
    #[serde(rename = "openai.responses")]
    OpenAiResponses,
    #[serde(rename = "anthropic.messages")]
    AnthropicMessages,
    #[serde(rename = "gemini.generate")]
    GeminiGenerate,
    #[serde(rename = "ollama.chat")]
    OllamaChat,
    #[serde(rename = "ollama.generate")]
    OllamaGenerate,
    #[serde(rename = "cohere.v1.chat")]
    CohereChatV1,
    #[serde(rename = "cohere.v2.chat")]
    CohereChatV2,
    #[serde(rename = "bedrock.converse")]
    BedrockConverse,
    #[serde(rename = "bedrock.invoke")]
    BedrockInvoke,
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
    /// What the model says where it refuses, in formats that keep that apart from its text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refusal: String,
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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

/// Reads one message out of a request's JSON.
pub type ReadMessage = fn(&Value) -> Message;

impl Wire {
    pub const ALL: [Self; 11] = [
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiResponses,
        Self::AnthropicMessages,
        Self::GeminiGenerate,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::CohereChatV1,
        Self::CohereChatV2,
        Self::BedrockConverse,
        Self::BedrockInvoke,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai.chat",
            Self::OpenAiCompletions => "openai.completions",
            Self::OpenAiResponses => "openai.responses",
            Self::AnthropicMessages => "anthropic.messages",
            Self::GeminiGenerate => "gemini.generate",
            Self::OllamaChat => "ollama.chat",
            Self::OllamaGenerate => "ollama.generate",
            Self::CohereChatV1 => "cohere.v1.chat",
            Self::CohereChatV2 => "cohere.v2.chat",
            Self::BedrockConverse => "bedrock.converse",
            Self::BedrockInvoke => "bedrock.invoke",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.as_str() == name)
    }

    /// Whether answers may come without ids for their tool calls: clients then make some up, so an id says
    /// nothing about which answer is echoed.
    pub fn has_made_up_call_ids(self) -> bool {
        matches!(self, Self::GeminiGenerate | Self::OllamaChat | Self::CohereChatV1)
    }

    /// Whether a streamed answer shows all of the model's reasoning, and not a summary of it.
    pub fn streams_all_reasoning(self) -> bool {
        matches!(self, Self::OpenAiChat | Self::OllamaChat | Self::OllamaGenerate | Self::CohereChatV2)
    }

    /// Reads a request body. `path` may carry a query; some formats name the model in the path, so that it
    /// is known although the body is not (then give `Value::Null`).
    pub fn decode_request(self, path: &str, body: &Value) -> RequestView {
        match self {
            Self::OpenAiChat => openai_chat::decode_request(path, body),
            Self::OpenAiCompletions => openai_completions::decode_request(path, body),
            Self::OpenAiResponses => openai_responses::decode_request(path, body),
            Self::AnthropicMessages => anthropic::decode_request(path, body),
            Self::GeminiGenerate => gemini::decode_request(path, body),
            Self::OllamaChat => ollama::decode_chat_request(body),
            Self::OllamaGenerate => ollama::decode_generate_request(body),
            Self::CohereChatV1 => cohere_v1::decode_request(body),
            Self::CohereChatV2 => cohere_v2::decode_request(body),
            Self::BedrockConverse => bedrock_converse::decode_request(path, body),
            Self::BedrockInvoke => bedrock_invoke::decode_request(path, body),
        }
    }

    /// The member of a request's body that holds its history, and how one element of it is read: in these
    /// formats the messages of [`RequestView`] are the elements of that array, one by one. `None` for
    /// formats that say things elsewhere too.
    pub fn history(self) -> Option<(&'static str, ReadMessage)> {
        match self {
            Self::OpenAiChat => Some(("messages", openai_chat::decode_message)),
            Self::OpenAiResponses => Some(("input", openai_responses::decode_message)),
            Self::AnthropicMessages => Some(("messages", anthropic::decode_message)),
            Self::GeminiGenerate => Some(("contents", gemini::decode_message)),
            Self::OllamaChat => Some(("messages", ollama::decode_message)),
            Self::CohereChatV2 => Some(("messages", cohere_v2::decode_message)),
            Self::BedrockConverse => Some(("messages", bedrock_converse::decode_message)),
            Self::OpenAiCompletions | Self::OllamaGenerate | Self::CohereChatV1 | Self::BedrockInvoke => None,
        }
    }

    /// Reads an element of the history that says what most say, as its [`ReadMessage`] would; `None` if it
    /// says anything else.
    pub fn read_plain_message(self, element: &[u8]) -> Option<Message> {
        match self {
            Self::OpenAiChat => plain_message::of_openai_chat(element),
            Self::AnthropicMessages => plain_message::of_anthropic(element),
            _ => None,
        }
    }

    /// Reads a content-decoded answer, whole or streamed.
    pub fn decode_response(self, status: u16, content_type: Option<&str>, decoded: &[u8]) -> ResponseView {
        let decode = match self {
            Self::OpenAiChat => response::decode::<openai_chat::Answer>,
            Self::OpenAiCompletions => response::decode::<openai_completions::Answer>,
            Self::OpenAiResponses => response::decode::<openai_responses::Answer>,
            Self::AnthropicMessages => response::decode::<anthropic::Answer>,
            Self::GeminiGenerate => response::decode::<gemini::Answer>,
            Self::OllamaChat | Self::OllamaGenerate => response::decode::<ollama::Answer>,
            Self::CohereChatV1 => response::decode::<cohere_v1::Answer>,
            Self::CohereChatV2 => response::decode::<cohere_v2::Answer>,
            Self::BedrockConverse => response::decode::<bedrock_converse::Answer>,
            Self::BedrockInvoke => response::decode::<bedrock_invoke::Answer>,
        };
        decode(status, content_type, decoded)
    }

    /// Adds to a decoded answer what only its headers say (Bedrock). Names are asked for in lower case.
    pub fn add_headers<'h>(self, view: &mut ResponseView, header: impl Fn(&str) -> Option<&'h str>) {
        if matches!(self, Self::BedrockConverse | Self::BedrockInvoke) {
            bedrock_invoke::add_headers(view, header);
        }
    }
}

impl Milestones {
    /// The first output of any kind.
    pub fn first_output(&self) -> Option<usize> {
        [self.first_reasoning, self.first_content, self.first_tool_call].into_iter().flatten().min()
    }
}
