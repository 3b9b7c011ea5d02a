//! Which recorded answer a live message to an MCP server gets.
//!
//! Messages match by server, method and parameters, compared as JSON: ids and what stands under `_meta` do not count.
//! Equal messages get their answers in recorded order. Each recorded tool call is served once; what only asks (lists,
//! resources, prompts, a new handshake) may be asked again, as agents do when they connect anew. A message that matches
//! only with volatile values masked is served, and counted apart.
//!
//! What was not recorded gets an error, never an answer of somebody else's. The first such message of a kind leads the
//! report.

use super::message::{Message, Unanswered};
use super::recorded::{Conversation, RecordedCall, Said};
use super::reply::{self, Part, What};
use super::report::{McpReport, ServerReport, Wanted};
use super::server::ServerName;
use super::session::ServerEnd;
use super::tool_call::TOOL_CALL;
use crate::canonical::{Encoder, Json, Place, Renaming, Rules, Treatment};
use crate::digest::Digest;
use crate::headers::RedactedHeaders;
use crate::redact;
use crate::replay::{DivergenceCode, Masking, Rung};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The recorded conversations of a trace.
#[derive(Debug)]
pub struct McpTape {
    servers: BTreeMap<ServerName, ServerTape>,
    masking: Masking,
    loosest: Rung,
}

#[derive(Debug, Default)]
struct ServerTape {
    conversations: Vec<Taped>,
    report: ServerReport,
}

#[derive(Debug)]
struct Taped {
    /// What the server said before the client had said anything.
    opening: Vec<Said>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    call: RecordedCall,
    key: Key,
    /// What the server said by itself between this message and the client's next.
    stream: Vec<Said>,
    /// The server ended by itself after this message.
    end: Option<ServerEnd>,
    served: u32,
}

/// By what messages are found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Asks {
        method: String,
        params: Digest,
    },
    /// An answer to a request of the server's.
    Replies {
        id: String,
    },
    Other(Digest),
}

/// A conversation of a live client.
#[derive(Clone, Debug)]
pub struct LiveSession {
    server: ServerName,
    nth: usize,
}

/// What happens when a live message has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reaction {
    pub parts: Vec<Part>,
    /// Status and headers of the recorded answer, for clients that speak HTTP.
    pub head: Option<(u16, RedactedHeaders)>,
    /// The recorded message.
    pub recorded: Option<Bytes>,
    /// The server ends by itself after this.
    pub end: Option<ServerEnd>,
}

/// Which recorded message a live one is.
struct Match {
    conversation: usize,
    entry: usize,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Equal,
    Masked,
    Again,
}

/// `_meta` is about the message itself: tokens, ids, spans.
static PARAMS: LazyLock<Rules> = LazyLock::new(|| Rules::compile([("/_meta", Treatment::Ignored)]));

impl McpTape {
    /// Of recorded conversations, compared as loosely as `loosest` allows.
    pub fn new(conversations: Vec<Conversation>, masking: Masking, loosest: Rung) -> Self {
        let mut servers: BTreeMap<ServerName, ServerTape> = BTreeMap::new();
        for conversation in conversations {
            let server = servers.entry(conversation.server.clone()).or_default();
            server.conversations.push(Taped::new(conversation));
        }
        Self { servers, masking, loosest }
    }

    /// Whether the recording holds nothing of any server.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// A client connects to a server; what that says first.
    pub fn open(&mut self, server: &ServerName) -> (LiveSession, Vec<Part>) {
        let taped = self.servers.entry(server.clone()).or_default();
        let nth = taped.report.sessions as usize;
        taped.report.sessions += 1;
        let opening = taped.conversations.get(nth).map(|conversation| {
            let since_us = conversation.opening.first().map_or(0, |said| said.at_us);
            reply::merge(Vec::new(), &conversation.opening, since_us, |_| None)
        });
        (LiveSession { server: server.clone(), nth }, opening.unwrap_or_default())
    }

    /// A live message has come; secrets in it are placeholders.
    pub fn react(&mut self, session: &LiveSession, message: &[u8]) -> Reaction {
        let live = Message::read(message);
        let unanswered = live.unanswered();
        let key = Key::of(&live, message);
        let Self { servers, masking, loosest } = self;
        let Some(server) = servers.get_mut(&session.server) else { return Reaction::default() };
        server.report.messages += 1;
        let found = server
            .equal(&key, session.nth)
            .map(Ok)
            .or_else(|| {
                let masked = (*loosest >= Rung::Masked).then(|| server.masked(&live, session.nth, masking));
                masked.flatten()
            })
            .or_else(|| server.again(&key, &live, session.nth).map(Ok));
        match found {
            Some(Ok(found)) => server.serve(&found, unanswered.as_ref()),
            Some(Err(code)) => server.refuse(&session.server, &live, unanswered.as_ref(), code),
            None => match unanswered {
                // A notification or a reply wants nothing.
                None => Reaction::default(),
                Some(request) if is_courtesy(&live) => said(request.result("{}")),
                Some(request) => {
                    let code = match server.holds(&key) {
                        true => DivergenceCode::Exhausted,
                        false => DivergenceCode::NeverRecorded,
                    };
                    server.refuse(&session.server, &live, Some(&request), code)
                }
            },
        }
    }

    /// What the replay came to.
    pub fn finish(self) -> McpReport {
        let servers = self.servers.into_iter().map(|(name, server)| {
            let entries = server.conversations.iter().flat_map(|conversation| &conversation.entries);
            let calls: Vec<&Entry> = entries.filter(|entry| entry.is_tool_call()).collect();
            let unused = calls.iter().filter(|entry| entry.served == 0);
            let unused = unused.map(|entry| Wanted::of(&Message::read(&entry.call.message))).collect();
            (name, ServerReport { recorded_tool_calls: calls.len(), unused, ..server.report })
        });
        McpReport { servers: servers.collect() }
    }
}

impl Taped {
    fn new(conversation: Conversation) -> Self {
        let Conversation { calls, stream, end, .. } = conversation;
        let entry = |call: RecordedCall| {
            let key = Key::of(&Message::read(&call.message), &call.message);
            Entry { call, key, stream: Vec::new(), end: None, served: 0 }
        };
        let mut entries: Vec<Entry> = calls.into_iter().map(entry).collect();
        let before = |entries: &[Entry], at_us: i64| {
            entries.partition_point(|entry| entry.call.at_us <= at_us).checked_sub(1)
        };
        let mut opening = Vec::new();
        for said in stream {
            match before(&entries, said.at_us) {
                Some(place) => entries[place].stream.push(said),
                None => opening.push(said),
            }
        }
        if let Some((at_us, end)) = end
            && let Some(place) = before(&entries, at_us)
        {
            entries[place].end = Some(end);
        }
        Self { opening, entries }
    }

    /// When the client answered the server's request of this id, by its place in this conversation.
    fn replied_us(&self, id: &str) -> Option<i64> {
        let is_it = |entry: &&Entry| matches!(&entry.key, Key::Replies { id: of } if of == id);
        self.entries.iter().find(is_it).map(|entry| entry.call.at_us)
    }
}

impl Entry {
    fn is_tool_call(&self) -> bool {
        matches!(&self.key, Key::Asks { method, .. } if method == TOOL_CALL)
    }
}

impl ServerTape {
    /// Places of entries, those of the `nth` conversation first, then in recorded order.
    fn places(&self, nth: usize) -> impl Iterator<Item = (usize, usize, &Entry)> {
        let own = self.conversations.get(nth).map(|conversation| (nth, conversation));
        let others = self.conversations.iter().enumerate().filter(move |(place, _)| *place != nth);
        own.into_iter().chain(others).flat_map(|(place, conversation)| {
            conversation.entries.iter().enumerate().map(move |(at, entry)| (place, at, entry))
        })
    }

    fn holds(&self, key: &Key) -> bool {
        self.places(0).any(|(.., entry)| entry.key == *key)
    }

    fn equal(&self, key: &Key, nth: usize) -> Option<Match> {
        let found = self.places(nth).find(|(.., entry)| entry.served == 0 && entry.key == *key);
        found.map(|(conversation, entry, _)| Match { conversation, entry, how: How::Equal })
    }

    /// The unserved message that differs in volatile values only; ambiguous if there are several with different answers.
    fn masked(
        &self,
        live: &Message<'_>,
        nth: usize,
        masking: &Masking,
    ) -> Option<Result<Match, DivergenceCode>> {
        let (Message::Request { method, params, .. } | Message::Notification { method, params }) = live
        else {
            return None;
        };
        let wanted = comparable(*params);
        let alike = |entry: &Entry| {
            let recorded = Message::read(&entry.call.message);
            let (Message::Request { method: recorded, params, .. }
            | Message::Notification { method: recorded, params }) = recorded
            else {
                return false;
            };
            recorded == *method && masking.stand_ins(&comparable(params), &wanted).is_some()
        };
        let mut found = self.places(nth).filter(|(.., entry)| entry.served == 0 && alike(entry));
        let (conversation, at, first) = found.next()?;
        let answer =
            |entry: &Entry| entry.call.said.iter().map(|said| said.message.clone()).collect::<Vec<_>>();
        if found.any(|(.., entry)| entry.key != first.key && answer(entry) != answer(first)) {
            return Some(Err(DivergenceCode::Ambiguous));
        }
        Some(Ok(Match { conversation, entry: at, how: How::Masked }))
    }

    /// A message that was served before and may be asked again. A handshake may say of the client what it likes.
    fn again(&self, key: &Key, live: &Message<'_>, nth: usize) -> Option<Match> {
        let (Message::Request { method, .. } | Message::Notification { method, .. }) = live else {
            return None;
        };
        if method == TOOL_CALL {
            return None;
        }
        let is_handshake = method.starts_with("initialize") || method == "notifications/initialized";
        let fits = |entry: &Entry| match &entry.key {
            key_there if key_there == key => true,
            Key::Asks { method: there, .. } => is_handshake && there == method,
            _ => false,
        };
        let all: Vec<_> = self.places(nth).filter(|(.., entry)| fits(entry)).collect();
        let first_unserved = all.iter().find(|(.., entry)| entry.served == 0);
        let (conversation, entry, found) = first_unserved.or(all.last())?;
        let how = if found.served == 0 { How::Equal } else { How::Again };
        Some(Match { conversation: *conversation, entry: *entry, how })
    }

    fn serve(&mut self, found: &Match, live: Option<&Unanswered>) -> Reaction {
        let conversation = &self.conversations[found.conversation];
        let entry = &conversation.entries[found.entry];
        let (call, is_tool_call) = (&entry.call, entry.is_tool_call());
        let answer = reply::answer(call, live);
        let first_time = found.how != How::Again;
        let stream: &[Said] = if first_time { &entry.stream } else { &[] };
        let reaction = Reaction {
            parts: reply::merge(answer, stream, call.at_us, |id| conversation.replied_us(id)),
            head: call.head.clone(),
            recorded: Some(call.message.clone()),
            end: entry.end.filter(|_| first_time),
        };
        let is_unfinished = call.ending.is_none() && live.is_some();
        self.conversations[found.conversation].entries[found.entry].served += 1;
        self.report.served += u32::from(first_time);
        self.report.again += u32::from(!first_time);
        self.report.masked += u32::from(found.how == How::Masked);
        self.report.tool_calls += u32::from(is_tool_call);
        if is_unfinished && let Some(live) = live {
            return Reaction {
                parts: said(live.error(DivergenceCode::IncompleteRecording, UNFINISHED)).parts,
                ..reaction
            };
        }
        reaction
    }

    fn refuse(
        &mut self,
        name: &ServerName,
        live: &Message<'_>,
        request: Option<&Unanswered>,
        code: DivergenceCode,
    ) -> Reaction {
        let wanted = Wanted::of(live);
        let nearest = self.nearest(live);
        let message = match code {
            _ if self.conversations.is_empty() => {
                format!("The recording holds nothing of the MCP server {name}, and it was not started.")
            }
            DivergenceCode::Exhausted => format!(
                "{wanted} was made of the MCP server {name} more often than it was recorded, and the server was not started."
            ),
            DivergenceCode::Ambiguous => format!(
                "Several recorded calls of {wanted} of the MCP server {name} differ from this one in volatile values \
                 only, and had different answers."
            ),
            _ => format!("{wanted} was not recorded of the MCP server {name}, which was not started."),
        };
        let refusal = request.map(|request| said(request.error(code, &message)));
        self.report.refused(code, message, wanted, nearest);
        refusal.unwrap_or_default()
    }

    /// The parameters of the recorded message of the same method, and tool, that comes next.
    fn nearest(&self, live: &Message<'_>) -> Option<String> {
        let wanted = Wanted::of(live);
        let like = |(.., entry): &(usize, usize, &Entry)| {
            Wanted::of(&Message::read(&entry.call.message)).is_like(&wanted)
        };
        let all: Vec<_> = self.places(0).filter(like).collect();
        let next = all.iter().find(|(.., entry)| entry.served == 0).or(all.last())?;
        Wanted::of(&Message::read(&next.2.call.message)).params
    }
}

const UNFINISHED: &str = "The recording ends before the MCP server's answer.";

/// What needs no recording to be answered: nothing depends on it.
fn is_courtesy(live: &Message<'_>) -> bool {
    matches!(live, Message::Request { method, .. } if method == "ping" || method == "logging/setLevel")
}

fn said(message: String) -> Reaction {
    let part = Part { after_us: 0, what: What::Answer(Bytes::from(message + "\n")) };
    Reaction { parts: vec![part], ..Reaction::default() }
}

impl Unanswered {
    fn result(&self, result: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.id)
    }

    /// An error of looptape's own.
    fn error(&self, code: DivergenceCode, message: &str) -> String {
        /// Of the range that the protocol leaves to servers.
        const NOT_RECORDED: i32 = -32050;
        let message = format!("looptape: {code}: {message} The replay's report says more.");
        let error =
            serde_json::json!({ "code": NOT_RECORDED, "message": message, "data": { "looptape": code } });
        format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, self.id)
    }
}

impl Key {
    fn of(message: &Message<'_>, bytes: &[u8]) -> Self {
        match message {
            Message::Request { method, params, .. } | Message::Notification { method, params } => {
                Self::Asks { method: method.clone().into_owned(), params: digest(*params) }
            }
            Message::Response { id, .. } => Self::Replies { id: (*id).to_owned() },
            Message::Unreadable => Self::Other(Digest::of(bytes.trim_ascii())),
        }
    }
}

/// Parameters that are missing are empty ones.
fn digest(params: Option<&str>) -> Digest {
    let text = params.unwrap_or("{}");
    let normal = redact::normalise(text.as_bytes());
    let Some(json) = Json::parse(&normal) else { return Digest::of(&normal) };
    let mut encoder = Encoder::new(&PARAMS, Renaming::Off);
    encoder.push(&json, Place::ROOT, "");
    encoder.finish_item()
}

/// The same as a text in which volatile values can be found.
fn comparable(params: Option<&str>) -> String {
    let normal = redact::normalise(params.unwrap_or("{}").as_bytes());
    let mut value: serde_json::Value = serde_json::from_slice(&normal).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.shift_remove("_meta");
    }
    value.sort_all_objects();
    value.to_string()
}

#[cfg(test)]
mod tests;
