//! A simulated provider: what it answers, without the server that sends it.
//!
//! [`respond`] is a pure function of a [`Script`] and one request. It speaks OpenAI Chat Completions,
//! OpenAI Responses, Anthropic Messages and Gemini, streamed or not, well enough that the official SDKs
//! complete their tool loops against it. Usage grows with the history, so costs and cache ratios can be
//! computed from its answers.
//!
//! Invariants: the same script and the same request give the same bytes; time and repetition are part of
//! the request ([`SimRequest::unix_s`], [`SimRequest::occurrence`]). Nothing of an earlier request is
//! remembered: what a conversation has reached is read from the history that the client sends.
//!
//! [`respond`] knows no latency beyond a fixed [`Pace`], no limits beyond the rejections that a script names, and no
//! faults. [`MockProvider`] has all of them: it writes the same formats as a [`crate::twin::Twin`] decides. Neither
//! checks keys.

mod after_recording;
mod anthropic;
mod conversation;
mod errors;
mod gemini;
mod json_arguments;
mod mock;
mod openai_chat;
mod openai_responses;
mod places;
mod reply;
mod response_headers;
pub(crate) mod sample_text;
mod says;
mod script;
mod script_file;
mod served;
mod sim_time;
mod stream;

pub use after_recording::{AfterRecording, PlayedCall};
pub use mock::{
    AtPlace, Client, Decided, Heard, MockAnswer, MockClock, MockDesk, MockKind, MockProvider, MockSent,
    SEEDED_UNIX_S, Thought, WISH_HEADER,
};
pub use says::{Generated, Says};
pub use script::{Pace, PlannedCall, PromptCache, Rejection, Script, Turn};
pub use sim_time::SimTime;

use crate::wire::Wire;
use conversation::Conversation;
use reply::{Ids, Reply};
use serde_json::Value;

/// One request, as the server received it.
#[derive(Clone, Copy, Debug)]
pub struct SimRequest<'a> {
    pub method: &'a str,
    /// Path and query. Whatever stands before the format's own path is ignored, so any prefix works.
    pub path: &'a str,
    /// The body, content encoding removed.
    pub body: &'a [u8],
    /// How many requests with this path and body came before: 0 for the first.
    pub occurrence: u32,
    /// The wall clock, seconds since the Unix epoch.
    pub unix_s: i64,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimResponse {
    pub status: u16,
    /// Names in lower case. Framing (`content-length`, `transfer-encoding`) is the server's business.
    pub headers: Vec<(&'static str, String)>,
    /// The body in the pieces in which it is to be sent; never empty pieces.
    pub chunks: Vec<SimChunk>,
    pub ending: SimEnding,
}

/// One piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimChunk {
    /// How long to wait before sending it, after the one before it (the first: after the head).
    pub delay_us: u64,
    pub carries: Carries,
    pub bytes: Vec<u8>,
}

/// What a piece of a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Something of what the model says: about a token.
    Output,
    /// What the format needs around it.
    Frame,
}

/// What the server does after the last chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimEnding {
    /// The body ends as its framing promises.
    Complete,
    /// The connection is closed, though more was promised; `missing_bytes` of a body whose length was stated.
    Cut { missing_bytes: u64 },
}

impl SimResponse {
    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|c| c.bytes.iter().copied()).collect()
    }
}

/// Answers one request by the script.
pub fn respond(script: &Script, request: &SimRequest<'_>) -> SimResponse {
    let Some(endpoint) = Endpoint::of(request.path) else {
        return errors::not_found(request.path);
    };
    if request.method != "POST" {
        return errors::wrong_method(endpoint.format, request.method);
    }
    let body = match endpoint.body(request.body) {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let conversation = Conversation::read(&endpoint, &body);
    let turn = script.turn_for(&conversation);
    if let Some(rejection) = turn.rejection(request.occurrence) {
        let refused = errors::Refused {
            format: endpoint.format,
            model: &conversation.model,
            ids: Ids::of(request),
            standings: script::account(script::TOKENS_PER_MIN),
            unix_s: request.unix_s,
        };
        return refused.answer(&rejection.refusal(&conversation));
    }
    render(&Reply::scripted(script, &turn, &conversation, request), &conversation, &body)
}

/// Writes a reply in the format that was asked for.
fn render(reply: &Reply, conversation: &Conversation, body: &Value) -> SimResponse {
    match conversation.format {
        Format::OpenAiChat => openai_chat::render(reply, conversation, body),
        Format::OpenAiResponses => openai_responses::render(reply, conversation, body),
        Format::AnthropicMessages => anthropic::render(reply, conversation),
        Format::GeminiGenerate => gemini::render(reply, conversation),
    }
}

/// The formats that the simulated provider speaks: the ones that agents are written against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    OpenAiChat,
    OpenAiResponses,
    AnthropicMessages,
    GeminiGenerate,
}

impl Format {
    pub(crate) fn wire(self) -> Wire {
        match self {
            Self::OpenAiChat => Wire::OpenAiChat,
            Self::OpenAiResponses => Wire::OpenAiResponses,
            Self::AnthropicMessages => Wire::AnthropicMessages,
            Self::GeminiGenerate => Wire::GeminiGenerate,
        }
    }
}

/// Which format a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    format: Format,
    framing: Framing,
    /// The model, where the path names it.
    model: Option<String>,
}

/// How a streamed answer is framed, and who decides whether there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The request body's `stream` decides; streams are server-sent events.
    BodyDecides,
    /// One JSON document.
    Whole,
    /// Server-sent events.
    Events,
    /// A JSON array, element by element.
    Array,
}

impl Endpoint {
    /// The JSON object of a request, or what the provider says where it is none.
    fn body(&self, bytes: &[u8]) -> Result<Value, SimResponse> {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(body @ Value::Object(_)) => Ok(body),
            Ok(_) => Err(errors::bad_request(self.format, "the request body is not a JSON object")),
            Err(e) => Err(errors::bad_request(self.format, &format!("the request body is not JSON: {e}"))),
        }
    }

    fn of(path_and_query: &str) -> Option<Self> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let plain = |format| Some(Self { format, framing: Framing::BodyDecides, model: None });
        if path.ends_with("/chat/completions") {
            return plain(Format::OpenAiChat);
        }
        if path.ends_with("/responses") {
            return plain(Format::OpenAiResponses);
        }
        if path.ends_with("/messages") {
            return plain(Format::AnthropicMessages);
        }
        let (model, verb) = path.rsplit_once("/models/")?.1.split_once(':')?;
        let framing = match verb {
            "generateContent" => Framing::Whole,
            "streamGenerateContent" if query.split('&').any(|p| p == "alt=sse") => Framing::Events,
            "streamGenerateContent" => Framing::Array,
            _ => return None,
        };
        Some(Self { format: Format::GeminiGenerate, framing, model: Some(model.to_owned()) })
    }
}

#[cfg(test)]
mod json_arguments_tests;
#[cfg(test)]
mod mock_tests;
#[cfg(test)]
mod tests;
