//! Recorded calls as conversations with servers again.
//!
//! Calls belong together by the id of their session, which HTTP servers hand out in a header and the recorder of a
//! stdio server writes into the same one. What the server said by itself comes after the message of the client that
//! was sent last before it.

use super::server::ServerName;
use super::session::ServerEnd;
use crate::derive;
use crate::exchange::{Answer, Ending, Exchange, Outcome};
use crate::headers::RedactedHeaders;
use crate::wire::sse;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The header that says to which session a call belongs.
pub const SESSION_HEADER: &str = "mcp-session-id";
/// Of a recorded stdio conversation's stream: how its server ended by itself.
pub const SERVER_END_HEADER: &str = "x-mcp-server-end";
/// The content type of what a stdio server said.
pub const LINES: &str = "application/x-ndjson";

/// One conversation with a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub server: ServerName,
    /// What the client said, in its order.
    pub calls: Vec<RecordedCall>,
    /// What the server said by itself, with its times.
    pub stream: Vec<Said>,
    /// When and how the server ended by itself, if it did.
    pub end: Option<(i64, ServerEnd)>,
}

/// A message of the server, with its time in µs on the trace's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub at_us: i64,
    /// As it was written; a line with its end.
    pub message: Bytes,
}

/// A message of the client, and what the server said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedCall {
    /// Its place in the trace.
    pub seq: u32,
    pub at_us: i64,
    pub message: Bytes,
    pub said: Vec<Said>,
    /// `None`: it was still open when the recording ended.
    pub ending: Option<Ending>,
    /// What an HTTP client is answered: status and headers, if a head came.
    pub head: Option<(u16, RedactedHeaders)>,
    pub end_us: Option<i64>,
}

impl RecordedCall {
    /// Whether the server ended before it answered.
    pub fn broke_off(&self) -> bool {
        matches!(self.ending, Some(Ending::UpstreamReset { .. } | Ending::UpstreamUnreachable { .. }))
    }
}

/// The conversations in a trace, in the order in which they began. Calls of other providers are passed over.
pub fn conversations(exchanges: impl IntoIterator<Item = Exchange>) -> Vec<Conversation> {
    let mut all: Vec<Conversation> = Vec::new();
    let mut known: BTreeMap<(ServerName, String), usize> = BTreeMap::new();
    for exchange in exchanges {
        let Some(server) = ServerName::of(&exchange.provider) else { continue };
        let key = (server.clone(), session_of(&exchange));
        let place = *known.entry(key).or_insert_with(|| {
            all.push(Conversation { server, calls: Vec::new(), stream: Vec::new(), end: None });
            all.len() - 1
        });
        all[place].add(exchange);
    }
    for conversation in &mut all {
        conversation.stream.sort_by_key(|said| said.at_us);
    }
    all
}

fn session_of(exchange: &Exchange) -> String {
    let answered = match &exchange.outcome {
        Outcome::Answered(answer) => answer.headers.get(SESSION_HEADER),
        _ => None,
    };
    exchange.request_headers.get(SESSION_HEADER).or(answered).unwrap_or_default().to_owned()
}

impl Conversation {
    fn add(&mut self, exchange: Exchange) {
        match exchange.method.as_str() {
            "POST" => self.calls.push(call(exchange)),
            "GET" => {
                let Outcome::Answered(answer) = exchange.outcome else { return };
                if answer.status < 400 {
                    let end = answer.headers.get(SERVER_END_HEADER).and_then(ServerEnd::parse);
                    self.end = end.map(|end| (answer.end_us, end)).or(self.end);
                    self.stream.extend(said(&answer));
                }
            }
            // Ends the session, which nothing here depends on.
            _ => {}
        }
    }
}

fn call(exchange: Exchange) -> RecordedCall {
    let message = derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]).bytes;
    let (said, ending, head, end_us) = match exchange.outcome {
        Outcome::InFlight => (Vec::new(), None, None, None),
        Outcome::NoResponse { ending, end_us } => (Vec::new(), Some(ending), None, Some(end_us)),
        Outcome::Answered(answer) => (
            said(&answer),
            Some(answer.ending.clone()),
            Some((answer.status, answer.headers)),
            Some(answer.end_us),
        ),
    };
    RecordedCall { seq: exchange.seq, at_us: exchange.sent_us, message, said, ending, head, end_us }
}

/// The messages in an answer: the pieces that a stdio server wrote, the events of a stream, or one document.
pub fn said(answer: &Answer) -> Vec<Said> {
    let lens: Vec<u32> = answer.chunks.iter().map(|chunk| chunk.len).collect();
    let decoded = derive::decode_body(&answer.headers, &answer.body, &lens);
    let kind = answer.headers.get("content-type").unwrap_or_default();
    if kind.starts_with(LINES) {
        return lines(answer);
    }
    let at_us = |end: usize| {
        let piece = decoded.piece_completing(end).and_then(|piece| answer.chunks.get(piece));
        piece.map_or(answer.end_us, |chunk| chunk.at_us)
    };
    if kind.starts_with("text/event-stream") {
        let events = sse::events(&decoded.bytes).filter(|event| !event.data.is_empty());
        return events
            .map(|event| Said {
                at_us: at_us(event.range.end),
                message: Bytes::copy_from_slice(event.data.as_bytes()),
            })
            .collect();
    }
    let is_empty = decoded.bytes.trim_ascii().is_empty();
    let whole =
        || Said { at_us: at_us(decoded.bytes.len()), message: Bytes::copy_from_slice(&decoded.bytes) };
    (!is_empty).then(whole).into_iter().collect()
}

fn lines(answer: &Answer) -> Vec<Said> {
    let mut at = 0;
    let mut said = Vec::with_capacity(answer.chunks.len());
    for chunk in &answer.chunks {
        let end = (at + chunk.len as usize).min(answer.body.len());
        said.push(Said { at_us: chunk.at_us, message: answer.body.slice(at..end) });
        at = end;
    }
    said
}
