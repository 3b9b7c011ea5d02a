//! The trace that a replay leaves: what its client sent, what it got, and where that came from.
//!
//! The recording that is replayed never changes; all of this goes into a trace of its own. A call that is a
//! recorded one once more, request and answer byte for byte, is written as a reference to it. Without a child
//! trace (a database that cannot be written, or `--no-record`) a replay does everything else all the same.

use crate::flush::Flushes;
use crate::labels::labels;
use crate::mcp::passing::Passing;
use crate::mcp::recording::Book;
use crate::model::ModelCall;
use crate::observed::{SeenAnswer, observed};
use crate::passing_headers::is_not_recorded;
use crate::reply::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use looptape_core::TraceId;
use looptape_core::exchange::Ending;
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::mcp::ServerName;
use looptape_core::provider::Provider;
use looptape_core::redact::Credentials;
use looptape_core::replay::Provenance;
use looptape_core::tools::{ToolMessage, ToolSource};
use looptape_store::{
    BeginCall, CallEnd, CallTicket, Moment, RecordedCallRef, Recorder, RepeatTicket, RepeatedCall,
    RepeatedEnd, ToolReport, TraceHint, TraceKey,
};

/// Writes down the calls of one replay. Whoever opened the trace closes it.
#[derive(Clone, Debug)]
pub struct ChildTrace {
    recorder: Recorder,
    id: TraceId,
    recording: TraceKey,
    known: Credentials,
}

/// A call of the replay, as its client made it.
#[derive(Clone, Copy, Debug)]
pub struct ChildCall<'a> {
    pub provider: &'a Provider,
    pub method: &'a Method,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a Bytes,
    /// When it had been read.
    pub at: Moment,
}

impl<'a> ChildCall<'a> {
    pub fn of(call: &'a ModelCall, at: Moment) -> Self {
        let ModelCall { provider, method, path, headers, body } = call;
        Self { provider, method, path, headers, body, at }
    }
}

impl ChildTrace {
    /// Writes into the open trace `id`, a replay of `recording`. `known` are secrets that the client may know
    /// besides those that its calls carry.
    pub fn new(recorder: Recorder, id: TraceId, recording: TraceKey, known: Credentials) -> Self {
        Self { recorder, id, recording, known }
    }

    pub fn id(&self) -> &TraceId {
        &self.id
    }

    /// What becomes of a tool call.
    pub(crate) fn tool(&self, message: ToolMessage, source: ToolSource, at: Moment) {
        let (trace, labels, known) = (self.id.clone(), Labels::default(), self.known.clone());
        self.recorder.tool(ToolReport { trace, at, message, source, labels, known });
    }

    /// Where what is said between the agent and an MCP server is written down.
    pub(crate) fn book(&self, server: ServerName) -> Book {
        let (recorder, trace, known) = (self.recorder.clone(), self.id.clone(), self.known.clone());
        Book { recorder, trace, server, known }
    }

    /// A call begins, whose answer will come from `from`, if it is known whence.
    pub(crate) fn begin(&self, call: &ChildCall<'_>, from: impl Into<Option<Provenance>>) -> ChildTicket {
        let headers = || call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let ticket = self.recorder.begin(BeginCall {
            hint: TraceHint::Named(self.id.clone()),
            at: call.at,
            provider: call.provider.clone(),
            method: call.method.as_str().to_owned(),
            path: call.path.to_owned(),
            headers: RedactedHeaders::redact(headers().filter(|(name, _)| !is_not_recorded(name))),
            body: call.body.clone().into(),
            loop_hint: None,
            import_index: None,
            labels: labels(call.headers),
            credentials: self.credentials(call),
        });
        if let Some(from) = from.into() {
            ticket.came_from(from);
        }
        ChildTicket(Ticket::Own(ticket))
    }

    /// A call begins that is the recorded one `seq` byte for byte.
    pub(crate) fn repeat(&self, call: &ChildCall<'_>, seq: u32) -> ChildTicket {
        let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        ChildTicket(Ticket::Repeat(self.recorder.repeat(RepeatedCall {
            trace: self.id.clone(),
            of: RecordedCallRef { trace: self.recording, seq },
            at: call.at,
            provider: call.provider.clone(),
            headers: RedactedHeaders::redact(headers.filter(|(name, _)| !is_not_recorded(name))),
            credentials: self.credentials(call),
        })))
    }

    fn credentials(&self, call: &ChildCall<'_>) -> Credentials {
        let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut credentials = Credentials::of_request(headers, call.path);
        credentials.extend(&self.known);
        credentials
    }
}

/// A call that has begun. Dropping it records that the client went away before any response.
#[must_use = "a call that began must end"]
#[derive(Debug)]
pub(crate) struct ChildTicket(Ticket);

#[derive(Debug)]
enum Ticket {
    Own(CallTicket),
    Repeat(RepeatTicket),
}

/// Whether an answer is sent as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// Status, headers and body are the recorded ones.
    AsRecorded,
    /// Something in it is not.
    Other,
}

impl ChildTicket {
    /// The answer comes from somewhere else than was thought when the call began.
    pub(crate) fn came_from(&self, from: Provenance) {
        if let Ticket::Own(ticket) = &self.0 {
            ticket.came_from(from);
        }
    }

    /// Watches an answer on its way to the client, and ends the call with what passed of it.
    pub(crate) fn watch(
        self,
        response: Response<Body>,
        likeness: Likeness,
        flushes: Option<Flushes>,
    ) -> Response<Body> {
        observed(response, flushes, move |seen| self.answered(seen, likeness))
    }

    /// Watches the answer to a message to an MCP server.
    pub(crate) fn watch_mcp(self, response: Response<Body>, passing: Option<Passing>) -> Response<Body> {
        observed(response, None, move |mut seen| {
            if let Some(passing) = passing {
                seen.ending = passing.ended(&seen.as_answer());
            }
            self.answered(seen, Likeness::Other);
        })
    }

    /// There was no response.
    pub(crate) fn no_response(self, ending: Ending) {
        self.finish(CallEnd::NoResponse { at_mono_us: Moment::mono_us_now(), ending });
    }

    fn answered(self, seen: SeenAnswer, likeness: Likeness) {
        let is_whole = seen.ending == Ending::Complete && likeness == Likeness::AsRecorded;
        match self.0 {
            Ticket::Repeat(ticket) if is_whole => ticket.finish_as_recorded(RepeatedEnd {
                head_mono_us: seen.head_mono_us,
                end_mono_us: seen.end_mono_us,
                chunks: seen.chunks,
            }),
            ticket => Self(ticket).finish(CallEnd::Answered {
                status: seen.status,
                headers: seen.headers,
                head_mono_us: seen.head_mono_us,
                end_mono_us: seen.end_mono_us,
                body: seen.body.into_pieces(),
                chunks: seen.chunks,
                ending: seen.ending,
                cut: seen.cut,
            }),
        }
    }

    fn finish(self, end: CallEnd) {
        match self.0 {
            Ticket::Own(ticket) => ticket.finish(end),
            Ticket::Repeat(ticket) => ticket.finish(end),
        }
    }
}
