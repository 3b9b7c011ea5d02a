//! A conversation with a stdio server, written down while it goes on.
//!
//! Each message becomes a call of its trace as soon as it is seen; see [`looptape_core::mcp`] for the form. Whoever
//! passes the messages on may vanish at any time: then the conversation ends there, and says so.

use super::called_tool::{CalledTool, Notebook};
use super::frame::{Frame, Frames, NotAFrame};
use crate::reply::{self, Body};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use looptape_core::TraceId;
use looptape_core::exchange::Ending;
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::mcp::session::{Calls, End, Opening, Over, ServerEnd, Session};
use looptape_core::mcp::{LINES, SERVER_END_HEADER, SESSION_HEADER, ServerName};
use looptape_core::redact::Credentials;
use looptape_core::replay::Provenance;
use looptape_core::tools::ToolSource;
use looptape_store::{BeginCall, CallEnd, CallTicket, Moment, Recorder, TraceHint};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where a conversation is written down.
#[derive(Clone, Debug)]
pub struct Book {
    pub recorder: Recorder,
    pub trace: TraceId,
    pub server: ServerName,
    /// Secrets that the agent or the server may know.
    pub known: Credentials,
}

impl Book {
    pub(super) fn notebook(&self) -> Notebook {
        let Self { recorder, trace, server, known } = self.clone();
        Notebook { recorder, trace, server, known }
    }
}

/// A conversation that is being written down.
#[derive(Debug)]
#[must_use = "finish() ends the calls that are open"]
pub struct RecordedSession {
    session: Session<Writer>,
    client_closed: bool,
    over: Option<Over>,
    last_us: i64,
}

#[derive(Debug)]
struct Writer {
    book: Book,
    session: String,
    origin: Origin,
}

/// Where the answer to a message comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// In a replay, where it is known.
    pub(crate) from: Option<Provenance>,
    /// What a tool call counts as.
    pub(crate) tool: ToolSource,
}

impl Origin {
    /// The server itself.
    const SERVER: Self = Self { from: None, tool: ToolSource::Measured };
    /// Nobody: nothing was asked of the server.
    pub(super) const NOBODY: Self = Self { from: None, tool: ToolSource::Recorded };
}

/// Conversations of this process so far: their numbers tell them apart.
static CONVERSATIONS: AtomicU32 = AtomicU32::new(0);

impl RecordedSession {
    /// A conversation begins.
    pub fn begin(book: Book) -> Self {
        let nth = CONVERSATIONS.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = Writer { book, session: format!("stdio-{nth}"), origin: Origin::SERVER };
        let at_us = Moment::mono_us_now();
        Self { session: Session::begin(writer, at_us), client_closed: false, over: None, last_us: at_us }
    }

    /// Something happened in it.
    pub fn add(&mut self, at_us: i64, frame: &Frame) {
        self.last_us = at_us;
        match frame {
            Frame::Client(bytes) => self.session.client_wrote(bytes, at_us),
            Frame::Server(bytes) => self.session.server_wrote(bytes, at_us),
            Frame::ClientClosed => self.client_closed = true,
            Frame::ServerEnded(end) if self.client_closed && is_what_was_asked(*end) => {
                self.over = Some(Over::Client);
            }
            Frame::ServerEnded(end) => self.over = Some(Over::Server(*end)),
            Frame::Lost(bytes) => self.session.lacks(*bytes),
            // Of a replay alone.
            Frame::Ask(_) | Frame::Told(_) | Frame::Gone(_) => {}
        }
    }

    /// The client said something whose answer comes from there.
    pub(crate) fn client_said(&mut self, at_us: i64, message: &[u8], origin: Origin) {
        self.last_us = at_us;
        self.session.calls_mut().origin = origin;
        self.session.client_wrote(message, at_us);
    }

    /// It is over.
    pub fn finish(self) {
        let over = match (self.over, self.client_closed) {
            (Some(over), _) => over,
            (None, true) => Over::Client,
            (None, false) => Over::Unknown,
        };
        self.session.finish(over, self.last_us);
    }
}

/// Whether a server that was to end did so, and did not fall over in the meantime.
fn is_what_was_asked(end: ServerEnd) -> bool {
    /// Hang-up, interrupt, kill, terminate.
    const ASK: [i32; 4] = [1, 2, 9, 15];
    match end {
        ServerEnd::Code(code) => code == 0 || ASK.contains(&(code - 128)),
        ServerEnd::Signal(signal) => ASK.contains(&signal),
    }
}

/// A call that has begun; what it does, if it is a tool's.
#[derive(Debug)]
struct OpenCall {
    ticket: CallTicket,
    tool: Option<CalledTool>,
}

impl Calls for Writer {
    type Call = OpenCall;

    fn begin(&mut self, opening: Opening, at_us: i64) -> OpenCall {
        let tool = match &opening {
            Opening::Message(line) => {
                CalledTool::of(line, at_us, self.origin.tool, || Some(self.book.notebook()))
            }
            Opening::Stream => None,
        };
        let (method, body) = match opening {
            Opening::Message(line) => ("POST", line),
            Opening::Stream => ("GET", Bytes::new()),
        };
        let now = Moment::now();
        let headers = [(SESSION_HEADER, self.session.as_bytes()), ("content-type", LINES.as_bytes())];
        let ticket = self.book.recorder.begin(BeginCall {
            hint: TraceHint::Named(self.book.trace.clone()),
            at: Moment { unix_us: now.unix_us - (now.mono_us - at_us), mono_us: at_us },
            provider: self.book.server.provider(),
            method: method.to_owned(),
            path: "/".to_owned(),
            headers: RedactedHeaders::redact(headers),
            body: body.into(),
            loop_hint: None,
            import_index: None,
            labels: Labels::default(),
            credentials: self.book.known.clone(),
        });
        if let Some(from) = self.origin.from {
            ticket.came_from(from);
        }
        OpenCall { ticket, tool }
    }

    fn end(&mut self, OpenCall { ticket: call, tool }: OpenCall, end: End) {
        if let Some(tool) = tool {
            tool.ended(&end);
        }
        let answered = |status, headers: Vec<(&str, &[u8])>, head_mono_us, end_mono_us| CallEnd::Answered {
            status,
            headers: RedactedHeaders::redact(headers),
            head_mono_us,
            end_mono_us,
            body: Vec::new(),
            chunks: Vec::new(),
            ending: Ending::Complete,
            cut: None,
        };
        call.finish(match end {
            End::Nothing { at_us, ending } => CallEnd::NoResponse { at_mono_us: at_us, ending },
            End::Accepted { at_us } => answered(202, Vec::new(), at_us, at_us),
            End::Answered { lines, chunks: at, end_us, ending: how, server, cut: lacks } => {
                let server = server.map(|end| end.to_string());
                let mut head: Vec<(&str, &[u8])> = vec![("content-type", LINES.as_bytes())];
                head.extend(server.as_ref().map(|end| (SERVER_END_HEADER, end.as_bytes())));
                let head_us = at.first().map_or(end_us, |chunk| chunk.at_us);
                let mut end = answered(200, head, head_us, end_us);
                if let CallEnd::Answered { body, chunks, ending, cut, .. } = &mut end {
                    (*body, *chunks, *ending, *cut) = (lines, at, how, lacks);
                }
                end
            }
        });
    }
}

/// Writes down what a shim sends, until it stops.
pub(crate) async fn take(book: Book, request: Request<Incoming>) -> Response<Body> {
    // In a task of its own: a shim that is killed drops the request, and what it sent is still worth its record.
    let taken = tokio::spawn(write_down(book, request.into_body()));
    match taken.await {
        Ok(Ok(())) => reply::full(StatusCode::OK, "application/json", r#"{"status":"recorded"}"#),
        Ok(Err(error)) => reply::error(StatusCode::BAD_REQUEST, "invalid_body", &error.to_string()),
        Err(_) => {
            let message = "the conversation could not be written down: this is a bug";
            reply::error(StatusCode::INTERNAL_SERVER_ERROR, "panicked", message)
        }
    }
}

async fn write_down(book: Book, mut body: Incoming) -> Result<(), NotAFrame> {
    let mut session = RecordedSession::begin(book);
    let mut frames = Frames::default();
    let mut read = Ok(());
    // A piece that cannot be read ends it as a broken connection does.
    while let Some(Ok(piece)) = body.frame().await {
        let Ok(piece) = piece.into_data() else { continue };
        match frames.add(&piece) {
            Ok(frames) => frames.iter().for_each(|(at_us, frame)| session.add(*at_us, frame)),
            Err(error) => {
                read = Err(error);
                break;
            }
        }
    }
    session.finish();
    read
}
