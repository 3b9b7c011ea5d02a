//! One JSON-RPC message, read as far as recording and replay need it.
//!
//! What stands in it is borrowed as it was written: ids are compared and put in place of each other as raw text, so
//! that nothing of a message is written anew but its id.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// A message of either side.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request { id: &'a str, method: Cow<'a, str>, params: Option<&'a str> },
    /// Wants none. A call without an id is one too.
    Notification { method: Cow<'a, str>, params: Option<&'a str> },
    /// Answers a request of the other side.
    Response { id: &'a str, result: Result<&'a str, &'a str> },
    /// No message of the protocol.
    Unreadable,
}

/// The id and the method of a request, kept while its answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// As it was written.
    pub id: String,
    /// The token under which its progress is told, as it was written.
    pub progress_token: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A member that is there, be it null.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Reads a message; whitespace around it does not matter.
    pub fn read(bytes: &'a [u8]) -> Self {
        let Some((_, envelope)) = envelope(bytes) else { return Self::Unreadable };
        let params = envelope.params.map(RawValue::get);
        match (envelope.method, envelope.id.map(RawValue::get)) {
            (Some(method), Some(id)) => Self::Request { id, method, params },
            (Some(method), None) => Self::Notification { method, params },
            (None, Some(id)) => match (envelope.result, envelope.error) {
                (_, Some(error)) => Self::Response { id, result: Err(error.get()) },
                (Some(result), None) => Self::Response { id, result: Ok(result.get()) },
                (None, None) => Self::Unreadable,
            },
            (None, None) => Self::Unreadable,
        }
    }

    /// A request as long as it waits for its answer.
    pub fn unanswered(&self) -> Option<Unanswered> {
        let Self::Request { id, params, .. } = self else { return None };
        let meta = params.and_then(|params| serde_json::from_str::<Params<'_>>(params).ok()?.meta);
        let meta = meta.and_then(|meta| serde_json::from_str::<Meta<'_>>(meta.get()).ok());
        let progress_token = meta.and_then(|meta| meta.progress_token).map(|token| token.get().to_owned());
        Some(Unanswered { id: (*id).to_owned(), progress_token })
    }

    /// The token of the request whose progress it tells.
    pub fn tells_progress_of(&self) -> Option<&'a str> {
        match self {
            Self::Notification { method, params: Some(params) } if method == "notifications/progress" => {
                Some(serde_json::from_str::<Params<'_>>(params).ok()?.progress_token?.get())
            }
            _ => None,
        }
    }
}

/// A message with another id: everything else stays as it was written.
pub(super) fn with_id(message: &[u8], id: &str) -> Option<Vec<u8>> {
    let (text, envelope) = envelope(message)?;
    Some(replaced(text, &range_in(text, envelope.id?.get())?, id))
}

/// A message about progress under another token.
pub(super) fn with_progress_token(message: &[u8], token: &str) -> Option<Vec<u8>> {
    let (text, envelope) = envelope(message)?;
    let params = serde_json::from_str::<Params<'_>>(envelope.params?.get()).ok()?;
    Some(replaced(text, &range_in(text, params.progress_token?.get())?, token))
}

fn envelope(bytes: &[u8]) -> Option<(&str, Envelope<'_>)> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some((text, serde_json::from_str(text).ok()?))
}

fn replaced(text: &str, range: &Range<usize>, by: &str) -> Vec<u8> {
    [&text[..range.start], by, &text[range.end..]].concat().into_bytes()
}

/// Where a part of a text stands in it.
fn range_in(text: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let range = start..start + part.len();
    text.get(range.clone()).is_some_and(|there| there == part).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_apart() {
        let kind = |text: &str| match Message::read(text.as_bytes()) {
            Message::Request { id, method, .. } => format!("request {id} {method}"),
            Message::Notification { method, .. } => format!("notification {method}"),
            Message::Response { id, result: Ok(value) } => format!("result {id} {value}"),
            Message::Response { id, result: Err(value) } => format!("error {id} {value}"),
            Message::Unreadable => "unreadable".to_owned(),
        };
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, "request 7 ping"),
            (r#" {"method":"tools/call","id":"a\"b","params":{}} "#, r#"request "a\"b" tools/call"#),
            (r#"{"method":"notifications/initialized"}"#, "notification notifications/initialized"),
            (r#"{"method":"tools/call","params":{}}"#, "notification tools/call"),
            (r#"{"id":1,"result":{"a":1}}"#, r#"result 1 {"a":1}"#),
            (r#"{"id":1,"result":null}"#, "result 1 null"),
            (r#"{"id":1,"error":{"code":-1}}"#, r#"error 1 {"code":-1}"#),
            (r#"{"id":1}"#, "unreadable"),
            ("Server listening on stdio", "unreadable"),
            ("[]", "unreadable"),
            ("{", "unreadable"),
            ("", "unreadable"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        assert!(matches!(Message::read(b"\xff{}"), Message::Unreadable));
    }

    #[test]
    fn nothing_is_written_anew_but_the_id() {
        let answer =
            br#"{"result":{"n":1.0, "id":3,"big":123456789012345678901234567890},"id": 3 ,"jsonrpc":"2.0"}"#;
        let other = with_id(answer, "\"x\"").unwrap();
        let expected =
            r#"{"result":{"n":1.0, "id":3,"big":123456789012345678901234567890},"id": "x" ,"jsonrpc":"2.0"}"#;
        assert_eq!(String::from_utf8(other).unwrap(), expected);
        let progress = br#"{"method":"notifications/progress","params":{"progress":1,"progressToken":4}}"#;
        assert_eq!(Message::read(progress).tells_progress_of(), Some("4"));
        let other = with_progress_token(progress, "99").unwrap();
        assert_eq!(Message::read(&other).tells_progress_of(), Some("99"));
    }

    #[test]
    fn a_request_knows_its_progress_token() {
        let request =
            br#"{"id":1,"method":"tools/call","params":{"_meta":{"progressToken":"t"},"name":"x"}}"#;
        let unanswered = Message::read(request).unanswered().unwrap();
        assert_eq!(unanswered, Unanswered { id: "1".into(), progress_token: Some("\"t\"".into()) });
    }
}
