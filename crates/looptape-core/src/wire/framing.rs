//! How an answer's body is framed: one JSON value, a row of them (one a line, or the elements of an array),
//! server-sent events, or Amazon's frames.
//!
//! The body decides, the content type only where the body cannot: recordings lose headers, and providers
//! send errors with whatever type is at hand.

use super::aws_event_stream;
use std::ops::Range;

/// The framing of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Json,
    /// A JSON array of answers (Gemini without `alt=sse`).
    JsonArray,
    /// One JSON value a line (Ollama, Cohere).
    JsonLines,
    ServerSentEvents,
    /// `application/vnd.amazon.eventstream` (Bedrock).
    AwsFrames,
    /// Empty, or none of these.
    Unknown,
}

/// Field names and the comment mark with which an event stream can begin.
const EVENT_STREAM_STARTS: &[&[u8]] = &[b"data:", b"event:", b":", b"id:", b"retry:"];

/// Finds out how a content-decoded body is framed. Where no content type tells, one value a line looks
/// like one value here: the reader finds out by reading (see [`begins_json_lines`]).
pub(super) fn sniff(content_type: Option<&str>, body: &[u8]) -> Framing {
    let is = |media_types: &[&str]| content_type.is_some_and(|stated| is_one_of(stated, media_types));
    if aws_event_stream::begins_frame(body) {
        return Framing::AwsFrames;
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match body.first() {
        Some(b'{') if is(&["application/x-ndjson", "application/stream+json", "application/jsonl"]) => {
            Framing::JsonLines
        }
        Some(b'{') => Framing::Json,
        Some(b'[') => Framing::JsonArray,
        _ if EVENT_STREAM_STARTS.iter().any(|start| body.starts_with(start)) => Framing::ServerSentEvents,
        _ if is(&["text/event-stream"]) => Framing::ServerSentEvents,
        _ if is(&["application/vnd.amazon.eventstream"]) => Framing::AwsFrames,
        _ => Framing::Unknown,
    }
}

fn is_one_of(content_type: &str, media_types: &[&str]) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_types.iter().any(|known| known.eq_ignore_ascii_case(media_type))
}

/// Whether a body that is no JSON value is a row of values, one a line: whether its first line is one.
pub(super) fn begins_json_lines(body: &[u8]) -> bool {
    let first = json_lines(body).next().unwrap_or_default();
    serde_json::from_slice::<serde::de::IgnoredAny>(&body[first]).is_ok()
}

/// The lines of a body that are not blank, without their ends.
pub(super) fn json_lines(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut position = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    std::iter::from_fn(move || {
        let rest = body.get(position..).filter(|rest| !rest.is_empty())?;
        let line_len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = position..position + rest[..line_len].trim_ascii_end().len();
        position += line_len + 1;
        Some(line)
    })
    .filter(|line| !line.is_empty())
}

/// The objects of a JSON array, found without parsing them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ArrayElements {
    /// Byte ranges of the objects that are whole.
    pub(super) whole: Vec<Range<usize>>,
    pub(super) end: ArrayEnd,
}

/// Whether the closing bracket came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ArrayEnd {
    Closed,
    #[default]
    CutShort,
}

/// Splits an array of objects, whole or cut short. Anything between the objects is skipped.
pub(super) fn array_elements(body: &[u8]) -> ArrayElements {
    let mut elements = ArrayElements::default();
    let mut depth = 0usize;
    let mut start = 0;
    let mut position = 0;
    while let Some(&byte) = body.get(position) {
        match byte {
            b'"' => position = string_end(body, position),
            b'{' | b'[' => {
                if depth == 1 && byte == b'{' {
                    start = position;
                }
                depth += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                match (depth, byte) {
                    (1, b'}') => elements.whole.push(start..position + 1),
                    (0, b']') => {
                        elements.end = ArrayEnd::Closed;
                        return elements;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        position += 1;
    }
    elements
}

/// The position of the quote that closes the string opened at `open`, or the body's length.
fn string_end(body: &[u8], open: usize) -> usize {
    let mut position = open + 1;
    while let Some(found) = body.get(position..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        position += found;
        if body[position] == b'"' {
            return position;
        }
        position += 2;
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn the_body_decides_before_the_content_type() {
        let sse = Some("text/event-stream; charset=utf-8");
        let json = Some("application/json");
        for (content_type, body, expected) in [
            (json, "{}", Framing::Json),
            (sse, "{\"error\":{}}", Framing::Json),
            (None, " \r\n{}", Framing::Json),
            (None, "\u{feff}{}", Framing::Json),
            (json, "data: {}\n\n", Framing::ServerSentEvents),
            (None, "event: x\n\n", Framing::ServerSentEvents),
            (None, ": OPENROUTER PROCESSING\n\n", Framing::ServerSentEvents),
            (sse, "", Framing::ServerSentEvents),
            (json, "[{}", Framing::JsonArray),
            (Some("application/x-ndjson"), "{}", Framing::JsonLines),
            (Some("application/stream+json; charset=utf-8"), "{}\n{}", Framing::JsonLines),
            (Some("application/vnd.amazon.eventstream"), "", Framing::AwsFrames),
            (None, "", Framing::Unknown),
            (None, "<html>", Framing::Unknown),
        ] {
            assert_eq!(sniff(content_type, body.as_bytes()), expected, "{content_type:?} {body}");
        }
    }

    #[test]
    fn lines_of_json() {
        let body = "\u{feff}{\"a\":1}\r\n\n{\"b\":2}\n{\"c\"";
        let lines: Vec<&str> = json_lines(body.as_bytes()).map(|line| &body[line]).collect();
        assert_eq!(lines, ["{\"a\":1}", "{\"b\":2}", "{\"c\""]);
        assert!(begins_json_lines(body.as_bytes()));
        for not_lines in ["", "{\n\"a\":1}\n", "<html>\n"] {
            assert!(!begins_json_lines(not_lines.as_bytes()), "{not_lines}");
        }
    }

    fn split(body: &str) -> (Vec<&str>, ArrayEnd) {
        let found = array_elements(body.as_bytes());
        (found.whole.into_iter().map(|range| &body[range]).collect(), found.end)
    }

    #[test]
    fn arrays_are_split_at_their_objects() {
        assert_eq!(split(r#"[{"a":[1,{"b":2}]},"#), (vec![r#"{"a":[1,{"b":2}]}"#], ArrayEnd::CutShort));
        assert_eq!(split("[{}\r\n,\r\n{}]\n"), (vec!["{}", "{}"], ArrayEnd::Closed));
        assert_eq!(split(r#"[{"a":"}\"]"},{"b":"#), (vec![r#"{"a":"}\"]"}"#], ArrayEnd::CutShort));
        assert_eq!(split("[]"), (vec![], ArrayEnd::Closed));
        assert_eq!(split(r#"[{"a":"\"#), (vec![], ArrayEnd::CutShort));
    }

    proptest! {
        #[test]
        fn every_prefix_yields_the_objects_that_are_whole(
            texts in proptest::collection::vec(r#"[ -~\n]{0,12}"#, 0..5), cut in 0.0..1.0f64) {
            let values: Vec<Value> = texts.iter().map(|t| json!({"t": t, "n": [{"k": t}]})).collect();
            let body = serde_json::to_string_pretty(&values).unwrap();
            let all = array_elements(body.as_bytes());
            prop_assert_eq!(all.end, ArrayEnd::Closed);
            let read: Vec<Value> =
                all.whole.iter().map(|r| serde_json::from_str(&body[r.clone()]).unwrap()).collect();
            prop_assert_eq!(read, values);
            let length = (body.len() as f64 * cut) as usize;
            let expected: Vec<_> = all.whole.into_iter().filter(|r| r.end <= length).collect();
            prop_assert_eq!(array_elements(&body.as_bytes()[..length]).whole, expected);
        }
    }
}
