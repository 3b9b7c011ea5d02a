//! Decoding an answer: finds its framing and feeds a format's decoder with whole JSON values.
//!
//! A format implements [`AnswerDecoder`] once: for the whole answer, and for the events of a stream. What
//! is the same in all formats is here: framing, errors by status, when the first event came, whether a
//! stream was cut short.

use super::framing::{self, ArrayEnd, Framing};
use super::lenient;
use super::sse;
use super::{Milestones, Part, ProviderError, ResponseView};
use serde_json::Value;

/// What OpenAI and those who follow it send as the last event's data.
pub(super) const DONE: &str = "[DONE]";

/// How much of an error page is kept as its message.
const MESSAGE_CHARS: usize = 300;

/// A format's reading of an answer.
pub(super) trait AnswerDecoder: Default {
    /// Reads an answer that came as one JSON value.
    fn decode_whole(body: &Value) -> ResponseView;

    /// Takes the next event of a stream.
    fn take_event(&mut self, event: &StreamEvent<'_>);

    /// Gives what the events said. `ResponseView::truncated` is set where no event ended the answer.
    fn finish(self) -> ResponseView;
}

/// One event of a streamed answer, its data parsed.
#[derive(Debug)]
pub(super) struct StreamEvent<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) data: Payload,
    /// Exclusive end in the content-decoded body.
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) enum Payload {
    Json(Value),
    /// `[DONE]`
    Done,
}

impl StreamEvent<'_> {
    /// The event's type: as its data says, else by its name.
    pub(super) fn kind(&self) -> Option<&str> {
        match &self.data {
            Payload::Json(value) => lenient::text(value, "type").or(self.name),
            Payload::Done => self.name,
        }
    }
}

/// Kinds of output whose first appearance is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Reasoning,
    Content,
    ToolCall,
}

impl Milestones {
    /// Notes that an event ending at `end` carried output.
    pub(super) fn saw(&mut self, output: Output, end: usize) {
        let first = match output {
            Output::Reasoning => &mut self.first_reasoning,
            Output::Content => &mut self.first_content,
            Output::ToolCall => &mut self.first_tool_call,
        };
        first.get_or_insert(end);
        self.last_output = Some(end);
    }
}

impl ResponseView {
    /// The answer as the parts of the assistant message that a client sends back: its text, then its tool
    /// calls. Reasoning is left out, since clients differ in what they echo of it.
    pub fn as_parts(&self) -> Vec<Part> {
        let text = (!self.text.is_empty()).then(|| Part::Text { text: self.text.clone() });
        text.into_iter().chain(self.tool_calls.iter().cloned().map(Part::ToolCall)).collect()
    }
}

/// Decodes a content-decoded body.
pub(super) fn decode<D: AnswerDecoder>(status: u16, content_type: Option<&str>, body: &[u8]) -> ResponseView {
    let mut view = match framing::sniff(content_type, body) {
        Framing::Json => parse(body).map(|value| D::decode_whole(&value)).unwrap_or_default(),
        Framing::ServerSentEvents => decode_events::<D>(body),
        Framing::JsonArray if status >= 400 => decode_error_array::<D>(body),
        Framing::JsonArray => decode_array::<D>(body),
        Framing::Unknown => ResponseView::default(),
    };
    if status >= 400 && view.error.is_none() {
        view.error = error_of_failed_call(body);
    }
    view
}

fn parse(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()
}

fn decode_events<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let mut first_event = None;
    let mut decoder = D::default();
    for event in sse::events(body) {
        let end = event.range.end;
        first_event.get_or_insert(end);
        let data = match event.data.trim() {
            DONE => Payload::Done,
            text => match serde_json::from_str(text) {
                Ok(value) => Payload::Json(value),
                Err(_) => continue,
            },
        };
        decoder.take_event(&StreamEvent { name: event.name.as_deref(), data, end });
    }
    streamed(decoder, first_event)
}

fn decode_array<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let elements = framing::array_elements(body);
    let first_event = elements.whole.first().map(|range| range.end);
    let mut decoder = D::default();
    for range in elements.whole {
        if let Some(value) = parse(&body[range.clone()]) {
            decoder.take_event(&StreamEvent { name: None, data: Payload::Json(value), end: range.end });
        }
    }
    let mut view = streamed(decoder, first_event);
    view.truncated = view.truncated || (elements.end == ArrayEnd::CutShort && view.error.is_none());
    view
}

/// Gemini answers a refused streaming call with an array that holds one error.
fn decode_error_array<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let first = parse(body).and_then(|value| value.get(0).cloned());
    first.map(|value| D::decode_whole(&value)).unwrap_or_default()
}

fn streamed(decoder: impl AnswerDecoder, first_event: Option<usize>) -> ResponseView {
    let mut view = decoder.finish();
    view.stream = true;
    view.milestones.first_event = first_event;
    view.truncated = view.truncated && view.error.is_none();
    view
}

/// The error of a status of 400 and above that has no error object: a bare object (Mistral, FastAPI), or
/// a page of text.
fn error_of_failed_call(body: &[u8]) -> Option<ProviderError> {
    if let Some(value) = parse(body).filter(Value::is_object) {
        return Some(lenient::error_object(&value));
    }
    let text = String::from_utf8_lossy(body);
    let message: String = text.trim().chars().take(MESSAGE_CHARS).collect();
    (!message.is_empty()).then_some(ProviderError { kind: None, message: Some(message) })
}
