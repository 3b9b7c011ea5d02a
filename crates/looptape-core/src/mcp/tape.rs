//! Which recorded answer a live message to an MCP server gets.
//!
//! Messages match by server, method and parameters, compared as JSON: ids and what stands under `_meta` do not count.
//! Equal messages get their answers in recorded order. Each recorded tool call is served once; what only asks (lists,
//! resources, prompts, a new handshake) may be asked again, as agents do when they connect anew. A message that matches
//! only with volatile values masked is served, and counted apart.
//!
//! What was not recorded gets an error, never an answer of somebody else's. The first such message of a kind leads the
//! report.

mod matching;

use super::drift::{Hints, Tools};
use super::message::{Message, Unanswered};
use super::own_answer;
use super::recorded::{Conversation, RecordedCall, Said};
use super::reply::{self, Meanwhile, Part, What};
use super::report::{McpReport, ServerReport, Wanted};
use super::server::ServerName;
use super::session::ServerEnd;
use super::tool_call::{McpToolCall, TOOL_CALL};
use crate::exchange::Ending;
use crate::headers::RedactedHeaders;
use crate::replay::{DivergenceCode, Masking, Provenance, Rung, WhyRefused};
use crate::tools::{ToolCallKey, is_name_of};
use bytes::Bytes;
use matching::{How, Key, Match};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// The tools that it offered, if anybody asked.
    offers: Option<Tools>,
    report: ServerReport,
}

#[derive(Debug)]
struct Taped {
    /// What the server said before the client had said anything.
    opening: Vec<Said>,
    entries: Vec<Entry>,
    /// When the agent asked its model, in order.
    model_asked_us: Arc<[i64]>,
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
    /// How the recorded answer ended, if it is one.
    pub ending: Option<Ending>,
    /// Where the answer comes from; `None`: nobody was asked anything.
    pub from: Option<Provenance>,
}

impl Reaction {
    /// What the server answers to the request, if it does.
    pub fn answer(&self) -> Option<&Bytes> {
        let answers = self.parts.iter().filter_map(|part| match &part.what {
            What::Answer(text) => Some(text),
            What::Stream(_) | What::AwaitClient { .. } | What::AwaitModel { .. } => None,
        });
        answers.filter(|text| matches!(Message::read(text), Message::Response { .. })).last()
    }

    /// An answer of somebody else's.
    pub fn own(answer: Option<Bytes>) -> Self {
        answer.map(said).unwrap_or_default()
    }
}

/// How a recorded tool call counts whose live counterpart somebody else answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// The agent is told what was recorded.
    Served,
    /// The agent is told something else.
    SetAside,
}

impl McpTape {
    /// Of recorded conversations, compared as loosely as `loosest` allows.
    pub fn new(conversations: Vec<Conversation>, masking: Masking, loosest: Rung) -> Self {
        let mut servers: BTreeMap<ServerName, ServerTape> = BTreeMap::new();
        for conversation in conversations {
            let server = servers.entry(conversation.server.clone()).or_default();
            if let Some(listed) = Tools::recorded([&conversation]) {
                server.offers.get_or_insert_default().extend(listed);
            }
            server.conversations.push(Taped::new(conversation));
        }
        Self { servers, masking, loosest }
    }

    /// The same beside the agent's calls to its model, which were sent at these times, in order.
    pub fn beside(mut self, model_asked_us: Arc<[i64]>) -> Self {
        for taped in self.servers.values_mut().flat_map(|server| &mut server.conversations) {
            taped.model_asked_us = model_asked_us.clone();
        }
        self
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
            reply::merge(Vec::new(), &conversation.opening, since_us, &conversation.meanwhile())
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
        match server.find((&key, &live), session.nth, (masking, *loosest)) {
            Some(Ok(found)) => server.serve(&found, unanswered.as_ref()),
            Some(Err(code)) => server.refuse(&session.server, &live, unanswered.as_ref(), code),
            None => match unanswered {
                // A notification or a reply wants nothing.
                None => Reaction::default(),
                Some(request) if is_courtesy(&live) => {
                    Reaction { from: Some(Provenance::SideCall), ..said(own_answer::result(&request, "{}")) }
                }
                Some(request) => {
                    let code = match server.holds(&key) {
                        true => DivergenceCode::Exhausted,
                        false if server.lacks_tool(message) => DivergenceCode::ToolsDrift,
                        false => DivergenceCode::NeverRecorded,
                    };
                    server.refuse(&session.server, &live, Some(&request), code)
                }
            },
        }
    }

    /// Whether the recording has an answer to a live message.
    pub fn answers(&self, session: &LiveSession, message: &[u8]) -> bool {
        let live = Message::read(message);
        let key = Key::of(&live, message);
        let server = self.servers.get(&session.server);
        let found =
            server.and_then(|server| server.find((&key, &live), session.nth, (&self.masking, self.loosest)));
        found.is_some()
    }

    /// What the recording answers to a live message that somebody else answers as well; it counts as made. `None` if
    /// there is no answer to it, or more than one; nothing is refused.
    pub fn recall(&mut self, session: &LiveSession, message: &[u8], how: Recalled) -> Option<Reaction> {
        let live = Message::read(message);
        let key = Key::of(&live, message);
        let Self { servers, masking, loosest } = self;
        let server = servers.get_mut(&session.server)?;
        server.report.messages += 1;
        let found = server.find((&key, &live), session.nth, (masking, *loosest))?.ok()?;
        let reaction = server.answer(&found, live.unanswered().as_ref());
        match how {
            Recalled::Served => server.count(&found),
            Recalled::SetAside => server.entry_mut(&found).served += 1,
        }
        Some(reaction)
    }

    /// What a server said of one of its tools when it was recorded.
    pub fn hints(&self, server: &ServerName, tool: &str) -> Hints {
        let offers = self.servers.get(server).and_then(|server| server.offers.as_ref());
        offers.map(|offers| offers.hints(tool)).unwrap_or_default()
    }

    /// The tools that a server offered when it was recorded, if that is known.
    pub fn offers(&self, server: &ServerName) -> Option<&Tools> {
        self.servers.get(server)?.offers.as_ref()
    }

    /// The server itself was asked, and did or did not say what tools it offers now.
    pub fn note_started(&mut self, server: &ServerName, now: Option<&Tools>) {
        let Some(taped) = self.servers.get_mut(server) else { return };
        taped.report.started = true;
        if let (Some(then), Some(now)) = (&taped.offers, now) {
            taped.report.drift.get_or_insert_with(|| then.drift(now));
        }
    }

    /// What the replay came to. `elsewhere` are tool calls that were answered before they reached a server.
    pub fn finish(self, elsewhere: &[ToolCallKey]) -> McpReport {
        let mut elsewhere: Vec<&ToolCallKey> = elsewhere.iter().collect();
        let servers = self.servers.into_iter().map(|(name, server)| {
            let entries = server.conversations.iter().flat_map(|conversation| &conversation.entries);
            let calls: Vec<&Entry> = entries.filter(|entry| entry.is_tool_call()).collect();
            let not_made = calls.iter().filter(|entry| entry.served == 0);
            let (by_hooks, unused): (Vec<&Entry>, Vec<&Entry>) =
                not_made.partition(|entry| entry.was_answered_by(&mut elsewhere));
            let unused = unused.iter().map(|entry| Wanted::of(&Message::read(&entry.call.message))).collect();
            let answered_by_hooks = u32::try_from(by_hooks.len()).unwrap_or(u32::MAX);
            let recorded_tool_calls = calls.len();
            (name, ServerReport { recorded_tool_calls, unused, answered_by_hooks, ..server.report })
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
        Self { opening, entries, model_asked_us: Arc::default() }
    }

    fn meanwhile(&self) -> Meanwhile<'_, impl Fn(&str) -> Option<i64>> {
        Meanwhile { replied: |id: &str| self.replied_us(id), model_asked_us: &self.model_asked_us }
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

    /// Whether one of `elsewhere` is this call, one of the same arguments if there is one; it is taken out.
    fn was_answered_by(&self, elsewhere: &mut Vec<&ToolCallKey>) -> bool {
        let Some(McpToolCall { key, .. }) = McpToolCall::of(&self.call.message) else { return false };
        let is_same = |call: &&ToolCallKey| is_name_of(&call.name, &key.name);
        let digest = key.arguments_digest();
        let exact = elsewhere.iter().position(|call| is_same(call) && call.arguments_digest() == digest);
        let found = exact.or_else(|| elsewhere.iter().position(is_same));
        found.map(|at| elsewhere.swap_remove(at)).is_some()
    }
}

impl ServerTape {
    fn serve(&mut self, found: &Match, live: Option<&Unanswered>) -> Reaction {
        let reaction = self.answer(found, live);
        self.count(found);
        reaction
    }

    fn answer(&self, found: &Match, live: Option<&Unanswered>) -> Reaction {
        let conversation = &self.conversations[found.conversation];
        let entry = &conversation.entries[found.entry];
        let call = &entry.call;
        let first_time = found.how != How::Again;
        let stream: &[Said] = if first_time { &entry.stream } else { &[] };
        let rung = if found.how == How::Masked { Rung::Masked } else { Rung::Canonical };
        let parts = match live {
            Some(live) if call.ending.is_none() => {
                let code = DivergenceCode::IncompleteRecording;
                said(own_answer::refusal(live, code.as_str(), UNFINISHED)).parts
            }
            live => {
                let answer = reply::answer(call, live);
                let answer = reply::after_the_model(answer, call, &conversation.model_asked_us);
                reply::merge(answer, stream, call.at_us, &conversation.meanwhile())
            }
        };
        Reaction {
            parts,
            head: call.head.clone(),
            recorded: Some(call.message.clone()),
            end: entry.end.filter(|_| first_time),
            ending: call.ending.clone(),
            from: Some(Provenance::Cached { recorded_seq: call.seq, rung }),
        }
    }

    fn count(&mut self, found: &Match) {
        let first_time = found.how != How::Again;
        let entry = self.entry_mut(found);
        entry.served += 1;
        let is_tool_call = entry.is_tool_call();
        self.report.served += u32::from(first_time);
        self.report.again += u32::from(!first_time);
        self.report.masked += u32::from(found.how == How::Masked);
        self.report.tool_calls += u32::from(is_tool_call);
    }

    fn entry_mut(&mut self, found: &Match) -> &mut Entry {
        &mut self.conversations[found.conversation].entries[found.entry]
    }

    /// Whether a message calls a tool that the server is known not to have offered.
    fn lacks_tool(&self, message: &[u8]) -> bool {
        let called = McpToolCall::of(message);
        let offers = self.offers.as_ref();
        called.is_some_and(|called| offers.is_some_and(|offers| !offers.holds(&called.key.name)))
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
            DivergenceCode::ToolsDrift => {
                let offered = self.offers.as_ref().map(Tools::list).unwrap_or_default();
                format!(
                    "The agent called a tool that the MCP server {name} did not offer when it was recorded: \
                     {wanted}. It offered {offered}, and it was not started."
                )
            }
            _ => format!("{wanted} was not recorded of the MCP server {name}, which was not started."),
        };
        let refusal = request.map(|request| said(own_answer::refusal(request, code.as_str(), &message)));
        let offered = self.offers.as_ref().zip(wanted.name.as_deref());
        let hints = offered.map(|(offers, tool)| offers.hints(tool)).unwrap_or_default();
        self.report.refused((code, hints), message, wanted, nearest);
        let from = Some(Provenance::Refused(WhyRefused::Diverged(code)));
        Reaction { from, ..refusal.unwrap_or_default() }
    }
}

const UNFINISHED: &str = "The recording ends before the MCP server's answer.";

/// What needs no recording to be answered: nothing depends on it.
fn is_courtesy(live: &Message<'_>) -> bool {
    matches!(live, Message::Request { method, .. } if method == "ping" || method == "logging/setLevel")
}

fn said(message: Bytes) -> Reaction {
    let part = Part { after_us: 0, what: What::Answer(message) };
    Reaction { parts: vec![part], ..Reaction::default() }
}

#[cfg(test)]
mod tests;
