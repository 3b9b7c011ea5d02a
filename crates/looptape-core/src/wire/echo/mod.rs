//! What a client sends back: an answer, and the results of its tool calls, as elements of the next request's
//! history.
//!
//! The rest of [`crate::wire`] reduces answers to the few values that all formats share. A client that carries
//! on must send more than that: reasoning with its signature, items with their ids, blocks of server-side
//! tools. So an answer is put together here from its raw JSON, whole or streamed, and what is not known is
//! kept. Left out is what providers refuse in a request: empty texts, and markers of a stream.
//!
//! Formats without an array of messages cannot be carried on like this, and neither can those that nobody
//! drives: for them there is `None`.

mod anthropic;
mod gemini;
mod ollama;
mod openai_chat;
mod openai_responses;
#[cfg(test)]
mod tests;

use super::framing::{self, Framing};
use super::{Wire, lenient, sse};
use serde_json::Value;

/// An answer's JSON: one value, or the values of a stream.
#[derive(Clone, Debug, PartialEq)]
enum Pieces {
    Whole(Value),
    Streamed(Vec<Value>),
}

/// The result of a tool call, as a client wrote it into a request.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenResult {
    /// The call that it answers, where the format says so.
    pub call_id: Option<String>,
    /// The tool, where the format says so.
    pub name: Option<String>,
    /// The element of the history, or the part of one, that is the result.
    value: Value,
}

impl Wire {
    /// Whether requests of this format can be carried on.
    pub fn can_be_carried_on(self) -> bool {
        matches!(
            self,
            Self::OpenAiChat
                | Self::OpenAiResponses
                | Self::AnthropicMessages
                | Self::GeminiGenerate
                | Self::OllamaChat
        )
    }

    /// The history of a request, as it stands there; `None` if there is none.
    pub fn history_of(self, request: &Value) -> Option<&Vec<Value>> {
        let (member, _) = self.history()?;
        lenient::object(request, "request").unwrap_or(request).get(member)?.as_array()
    }

    /// A request's history, to add to. A history that is one text or one object becomes a list of one.
    fn history_mut(self, request: &mut Value) -> Option<&mut Vec<Value>> {
        let (member, _) = self.history()?;
        let inner = if request.get("request").is_some_and(Value::is_object) {
            request.get_mut("request")?
        } else {
            request
        };
        let history = inner.get_mut(member)?;
        match history {
            Value::String(text) => *history = serde_json::json!([{ "role": "user", "content": text }]),
            Value::Object(_) => *history = Value::Array(vec![history.take()]),
            _ => {}
        }
        history.as_array_mut()
    }

    /// The results that one element of a history holds.
    pub fn written_results(self, element: &Value) -> Vec<WrittenResult> {
        match self {
            Self::OpenAiChat => openai_chat::results(element),
            Self::OpenAiResponses => openai_responses::results(element),
            Self::AnthropicMessages => anthropic::results(element),
            Self::GeminiGenerate => gemini::results(element),
            Self::OllamaChat => ollama::results(element),
            _ => Vec::new(),
        }
    }

    /// Carries a conversation on: `request` with the answer to it and the results of its calls appended, as
    /// a client of this format would. Results come with the id of the call that they answer now, in the
    /// order of the calls. `None` if the format has no way to, or the answer holds nothing to send back.
    pub fn carry_on(
        self,
        request: &Value,
        content_type: Option<&str>,
        answer: &[u8],
        results: Vec<(Option<String>, WrittenResult)>,
    ) -> Option<Value> {
        let pieces = pieces(content_type, answer)?;
        let mut next = request.clone();
        if self == Self::OpenAiResponses && openai_responses::is_kept_by_server(request) {
            return openai_responses::refer(next, &pieces, results);
        }
        let said = match self {
            Self::OpenAiChat => vec![openai_chat::message(&pieces)?],
            Self::OpenAiResponses => openai_responses::items(&pieces, request),
            Self::AnthropicMessages => vec![anthropic::message(&pieces)?],
            Self::GeminiGenerate => vec![gemini::content(&pieces)?],
            Self::OllamaChat => vec![ollama::message(&pieces)?],
            _ => return None,
        };
        let heard = match self {
            Self::OpenAiChat => openai_chat::answer_calls(results),
            Self::OpenAiResponses => openai_responses::answer_calls(results),
            Self::AnthropicMessages => anthropic::answer_calls(results),
            Self::GeminiGenerate => gemini::answer_calls(results),
            _ => ollama::answer_calls(results),
        };
        let history = self.history_mut(&mut next)?;
        history.extend(said);
        history.extend(heard);
        Some(next)
    }

    /// A request that names by id what it follows on the server, with other ids in place of the recorded
    /// ones; `None` if it names nothing, or nothing that has another id. Histories that are sent whole keep
    /// their ids: they only point at each other.
    pub fn refer_to(self, request: Value, ids: &[(String, String)]) -> Option<Value> {
        match self {
            Self::OpenAiResponses => openai_responses::refer_to(request, ids),
            _ => None,
        }
    }
}

/// The values of a content-decoded body; `None` if it is no JSON.
fn pieces(content_type: Option<&str>, body: &[u8]) -> Option<Pieces> {
    let of_ranges = |ranges: &mut dyn Iterator<Item = std::ops::Range<usize>>| {
        ranges.filter_map(|range| serde_json::from_slice(&body[range]).ok()).collect()
    };
    Some(match framing::sniff(content_type, body) {
        Framing::Json => match serde_json::from_slice(body) {
            Ok(whole) => Pieces::Whole(whole),
            Err(_) => Pieces::Streamed(of_ranges(&mut framing::json_lines(body))),
        },
        Framing::ServerSentEvents => {
            Pieces::Streamed(sse::events(body).filter_map(|e| serde_json::from_str(&e.data).ok()).collect())
        }
        Framing::JsonArray => {
            Pieces::Streamed(of_ranges(&mut framing::array_elements(body).whole.into_iter()))
        }
        Framing::JsonLines => Pieces::Streamed(of_ranges(&mut framing::json_lines(body))),
        Framing::AwsFrames | Framing::Unknown => return None,
    })
}

/// Sets a member of an object, or takes it away.
fn set(value: &mut Value, key: &str, to: Option<Value>) {
    if let Value::Object(members) = value {
        match to {
            Some(to) => drop(members.insert(key.to_owned(), to)),
            None => drop(members.shift_remove(key)),
        }
    }
}

/// Appends to a member that is text.
fn push_text(value: &mut Value, key: &str, piece: &str) {
    match value.get_mut(key) {
        Some(Value::String(text)) => text.push_str(piece),
        _ => set(value, key, Some(Value::from(piece))),
    }
}
