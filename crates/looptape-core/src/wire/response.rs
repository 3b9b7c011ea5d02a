//! Decoding an answer: finds its framing and feeds a format's decoder with the whole answer or with events.
//!
//! A format implements [`AnswerDecoder`] once: for the whole answer, and for the events of a stream. What
//! is the same in all formats is here: framing, errors by status, when the first event came, whether a
//! stream was cut short.

use super::aws_event_stream::{self, Frame};
use super::framing::{self, ArrayEnd, Framing};
use super::lenient;
use super::sse;
use super::{Milestones, Part, ProviderError, ResponseView};
use serde::Deserialize;
use serde_json::Value;

/// What OpenAI and those who follow it send as the last event's data.
pub(super) const DONE: &str = "[DONE]";

/// How much of an error page is kept as its message.
const MESSAGE_CHARS: usize = 300;

/// A format's reading of an answer.
pub(super) trait AnswerDecoder: Default {
    /// Reads an answer that came as one JSON value and says what most answers say, as
    /// [`AnswerDecoder::decode_whole`] would; `None` if it says anything else.
    fn decode_plain(_body: &[u8]) -> Option<ResponseView> {
        None
    }

    /// Reads an answer that came as one JSON value.
    fn decode_whole(body: &Value) -> ResponseView;

    /// Takes the next event of a stream.
    fn take_event(&mut self, event: &StreamEvent<'_>);

    /// Gives what the events said. `ResponseView::truncated` is set where no event ended the answer.
    fn finish(self) -> ResponseView;
}

/// One event of a streamed answer.
#[derive(Debug)]
pub(super) struct StreamEvent<'a> {
    pub(super) name: Option<&'a str>,
    /// As it came: JSON, or [`DONE`], or cut short.
    pub(super) data: &'a str,
    /// Exclusive end in the content-decoded body.
    pub(super) end: usize,
}

impl StreamEvent<'_> {
    /// The event's data, if it is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_str(self.data).ok()
    }

    /// The event's data, if it fits a type of the format's own.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.data).ok()
    }

    /// Whether this is OpenAI's mark of the end.
    pub(super) fn is_done(&self) -> bool {
        self.data.trim() == DONE
    }

    /// The event's type: as its data says, else by its name.
    pub(super) fn kind<'s>(&'s self, data: &'s Value) -> &'s str {
        lenient::text(data, "type").or(self.name).unwrap_or_default()
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
        Framing::Json => decode_value::<D>(body),
        Framing::ServerSentEvents => decode_events::<D>(body),
        Framing::JsonArray | Framing::JsonLines if status >= 400 => decode_error_row::<D>(body),
        Framing::JsonArray => decode_array::<D>(body),
        Framing::JsonLines => decode_lines::<D>(body),
        Framing::AwsFrames => decode_frames::<D>(body),
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

fn decode_value<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    if let Some(plain) = D::decode_plain(body) {
        return plain;
    }
    match parse(body) {
        Some(value) => D::decode_whole(&value),
        None if framing::begins_json_lines(body) => decode_lines::<D>(body),
        None => ResponseView::default(),
    }
}

fn decode_events<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let mut first_event = None;
    let mut decoder = D::default();
    for event in sse::events(body) {
        let end = event.range.end;
        first_event.get_or_insert(end);
        decoder.take_event(&StreamEvent { name: event.name.as_deref(), data: &event.data, end });
    }
    streamed(decoder, first_event)
}

fn decode_lines<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let mut first_event = None;
    let mut decoder = D::default();
    for line in framing::json_lines(body) {
        let end = line.end;
        first_event.get_or_insert(end);
        decoder.take_event(&StreamEvent { name: None, data: &String::from_utf8_lossy(&body[line]), end });
    }
    streamed(decoder, first_event)
}

fn decode_array<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let elements = framing::array_elements(body);
    let first_event = elements.whole.first().map(|range| range.end);
    let mut decoder = D::default();
    for range in elements.whole {
        let end = range.end;
        decoder.take_event(&StreamEvent { name: None, data: &String::from_utf8_lossy(&body[range]), end });
    }
    let mut view = streamed(decoder, first_event);
    view.truncated = view.truncated || (elements.end == ArrayEnd::CutShort && view.error.is_none());
    view
}

fn decode_frames<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let (mut first_event, mut error) = (None, None);
    let mut decoder = D::default();
    for frame in aws_event_stream::frames(body) {
        let (name, end) = (frame.header(":event-type"), frame.end);
        first_event.get_or_insert(end);
        let data = String::from_utf8_lossy(frame.payload);
        match error_of_frame(&frame, &data) {
            Some(failed) => error = error.or(Some(failed)),
            None => decoder.take_event(&StreamEvent { name, data: &data, end }),
        }
    }
    let mut view = streamed(decoder, first_event);
    view.error = view.error.or(error);
    view.truncated = view.truncated && view.error.is_none();
    view
}

/// The error that a frame is, if it is one: modelled (an exception) or not.
fn error_of_frame(frame: &Frame<'_>, payload: &str) -> Option<ProviderError> {
    let kind = frame.header(":exception-type").or_else(|| frame.header(":error-code"));
    let is_error = matches!(frame.header(":message-type"), Some("exception" | "error"));
    if !is_error && kind.is_none() {
        return None;
    }
    let stated = parse(payload.as_bytes()).map(|value| lenient::error_object(&value)).unwrap_or_default();
    let message = stated.message.or_else(|| frame.header(":error-message").map(str::to_owned));
    Some(ProviderError { kind: kind.map(str::to_owned).or(stated.kind), message })
}

/// Gemini answers a refused streaming call with an array that holds one error, Ollama with a line.
fn decode_error_row<D: AnswerDecoder>(body: &[u8]) -> ResponseView {
    let first =
        parse(body).and_then(|value| if value.is_array() { value.get(0).cloned() } else { Some(value) });
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

#[cfg(test)]
mod tests {
    use super::super::Wire;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn failed_calls_always_have_an_error() {
        for (body, kind, message) in [
            ("{\"message\":\"m\",\"type\":\"t\"}", Some("t"), Some("m")),
            ("{\"detail\":\"d\"}", None, Some("d")),
            ("{\"error\":\"e\"}", None, Some("e")),
            (" <html>bad gateway</html>\n", None, Some("<html>bad gateway</html>")),
        ] {
            for wire in Wire::ALL {
                let error = wire.decode_response(502, None, body.as_bytes()).error.unwrap();
                assert_eq!((error.kind.as_deref(), error.message.as_deref()), (kind, message), "{body}");
            }
        }
        assert_eq!(Wire::OpenAiChat.decode_response(502, None, b"").error, None);
    }

    #[test]
    fn an_empty_event_stream_is_a_truncated_one() {
        for wire in Wire::ALL {
            let view = wire.decode_response(200, Some("text/event-stream"), b"");
            assert_eq!(view, ResponseView { stream: true, truncated: true, ..ResponseView::default() });
            assert_eq!(wire.decode_response(200, None, b""), ResponseView::default());
        }
    }

    /// Words of the formats, so that arbitrary JSON reaches what reads them.
    const WORDS: &[&str] = &[
        "type",
        "role",
        "content",
        "text",
        "thinking",
        "messages",
        "input",
        "contents",
        "parts",
        "choices",
        "delta",
        "message",
        "index",
        "tool_calls",
        "function",
        "function_call",
        "custom",
        "name",
        "arguments",
        "id",
        "call_id",
        "usage",
        "prompt_tokens",
        "prompt_tokens_details",
        "cached_tokens",
        "x_groq",
        "cost",
        "error",
        "code",
        "response",
        "output",
        "item",
        "output_index",
        "status",
        "summary",
        "content_block",
        "partial_json",
        "tool_use",
        "candidates",
        "functionCall",
        "functionResponse",
        "args",
        "usageMetadata",
        "finishReason",
        "promptFeedback",
        "tools",
        "system",
        "functionDeclarations",
        "response.completed",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "message_start",
        "message_delta",
        "content_block_start",
        "content_block_delta",
        "input_json_delta",
        "output_text",
        "reasoning",
        "assistant",
        "tool",
        "custom_tool_call",
        "function_call_output",
    ];

    fn any_json() -> impl Strategy<Value = Value> {
        let word = || proptest::sample::select(WORDS).prop_map(str::to_owned);
        let leaf = prop_oneof![
            4 => word().prop_map(Value::from),
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            1 => Just(json!(0)),
            1 => any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 48, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((word(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn no_json_is_too_strange(values in proptest::collection::vec(any_json(), 1..6), status in 100..600u16) {
            let events: String = values.iter().map(|v| format!("data: {v}\n\n")).collect();
            let array = Value::from(values.clone()).to_string();
            for wire in Wire::ALL {
                for value in &values {
                    wire.decode_request("/v1/models/m:generateContent", value);
                    let whole = wire.decode_response(status, None, value.to_string().as_bytes());
                    prop_assert_eq!(whole.stream, value.is_array() && status < 400);
                }
                let view = wire.decode_response(status, None, events.as_bytes());
                prop_assert!(view.stream && view.milestones.last_output.is_none_or(|n| n <= events.len()));
                prop_assert!(view.milestones.last_output >= view.milestones.first_output());
                wire.decode_response(status, None, array.as_bytes());
            }
        }

        #[test]
        fn no_bytes_are_too_strange(start in proptest::sample::select(vec!["", "data: ", "{", "[", "[{\"", "data: {\""]),
                                    bytes in proptest::collection::vec(any::<u8>(), 0..100), status in 100..600u16) {
            let body = [start.as_bytes(), &bytes].concat();
            for wire in Wire::ALL {
                wire.decode_response(status, Some("text/event-stream"), &body);
            }
        }
    }
}
