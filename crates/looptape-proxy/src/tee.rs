//! A response body on its way to the client, observed.
//!
//! Pieces pass as they come; what is kept of them is a reference count and a time. However the body
//! ends (to its end, with an error, or dropped because the client hung up), its ticket is told once.

use crate::admission::HeldCall;
use crate::budgets::Seen;
use crate::connections::Answer;
use crate::flush::{BeforeBreak, Flushes};
use crate::hold::{self, Hold, Released};
use crate::kept_body::KeptBody;
use crate::mcp::passing::Passing;
use crate::recording::{CAPTURE_LIMIT_BYTES, InFlight};
use crate::reply::BodyError;
use crate::terminal;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use looptape_core::derive;
use looptape_core::exchange::{self, Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_store::{CallEnd, CallTicket, Moment};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What has been seen of a response, and the ticket to hand it to.
pub(crate) struct Capture {
    ticket: CallTicket,
    /// What a budget holds back for the call.
    held: Option<Box<HeldCall>>,
    /// What is watched of a message to an MCP server.
    mcp: Option<Passing>,
    status: u16,
    headers: RedactedHeaders,
    head_mono_us: i64,
    body: KeptBody,
    chunks: Vec<Chunk>,
    kept_bytes: usize,
    cut: Option<String>,
}

impl Capture {
    pub(crate) fn new(
        ticket: CallTicket,
        held: Option<HeldCall>,
        status: u16,
        headers: RedactedHeaders,
        head_mono_us: i64,
        announced: Option<u64>,
    ) -> Self {
        Self {
            ticket,
            held: held.map(Box::new),
            mcp: None,
            status,
            headers,
            head_mono_us,
            body: KeptBody::new(announced),
            chunks: Vec::new(),
            kept_bytes: 0,
            cut: None,
        }
    }

    /// The same of a message to an MCP server.
    pub(crate) fn of_mcp(self, mcp: Option<Passing>) -> Self {
        Self { mcp, ..self }
    }

    fn piece(&mut self, data: &Bytes) {
        if self.kept_bytes + data.len() > CAPTURE_LIMIT_BYTES {
            self.cut = Some("a response was larger than looptape keeps (256 MiB): its end is missing".into());
        }
        if data.is_empty() || self.cut.is_some() {
            return;
        }
        self.kept_bytes += data.len();
        let len = u32::try_from(data.len()).expect("a piece of a body is smaller than the capture limit");
        self.chunks.push(Chunk { at_us: Moment::mono_us_now(), len });
        self.body.push(data);
    }

    fn is_finished_stream(&self) -> bool {
        let is_stream = |kind: &str| kind.trim_start().starts_with("text/event-stream");
        if !self.headers.get("content-type").is_some_and(is_stream) {
            return false;
        }
        terminal::is_finished(&derive::decode_body(&self.headers, &self.body.to_bytes(), &[]).bytes)
    }

    /// Records an answer without a body, and waits for that as a [`Hold`] does.
    pub(crate) async fn commit_empty(self) {
        let (ticket, end) = self.end(Ending::Complete);
        let (tell, told) = tokio::sync::oneshot::channel();
        // Nobody listens any more if the client went away.
        ticket.finish_then(end, move |ok| {
            let _ = tell.send(ok);
        });
        // Committed or not, the writer gone, or too slow: the answer passes.
        let _ = tokio::time::timeout(hold::PATIENCE, told).await;
    }

    fn end(self, ending: Ending) -> (CallTicket, CallEnd) {
        if let Some(held) = self.held {
            let (status, headers, body) = (self.status, self.headers.clone(), self.body.to_bytes());
            held.answered(Seen { status, headers, body, ending: ending.clone() });
        }
        let end_us = Moment::mono_us_now();
        let ending = match self.mcp {
            None => ending,
            Some(passing) => {
                let (status, headers, head_us) = (self.status, self.headers.clone(), self.head_mono_us);
                let (body, chunks) = (self.body.to_bytes(), self.chunks.clone());
                passing.ended(&exchange::Answer { status, headers, body, chunks, head_us, end_us, ending })
            }
        };
        let end = CallEnd::Answered {
            status: self.status,
            headers: self.headers,
            head_mono_us: self.head_mono_us,
            end_mono_us: end_us,
            body: self.body.into_pieces(),
            chunks: self.chunks,
            ending,
            cut: self.cut,
        };
        (self.ticket, end)
    }
}

/// The body wrapper.
pub(crate) struct Tee {
    inner: Answer,
    /// `None` once the ticket has been told.
    capture: Option<Capture>,
    /// Bytes that the response head announced.
    expected: Option<u64>,
    seen: u64,
    /// With strict durability: keeps the end of the answer back until it is committed.
    hold: Option<Hold>,
    /// The upstream's error, until what came before it has reached the client.
    broken: Option<BodyError>,
    before_break: BeforeBreak,
    _in_flight: InFlight,
}

impl Tee {
    pub(crate) fn new(
        inner: Answer,
        capture: Capture,
        expected: Option<u64>,
        in_flight: InFlight,
        strict: bool,
        flushes: Option<Flushes>,
    ) -> Self {
        let hold = strict.then(|| Hold::new(expected, capture.headers.get("content-encoding")));
        Self {
            inner,
            capture: Some(capture),
            expected,
            seen: 0,
            hold,
            broken: None,
            before_break: BeforeBreak::new(flushes),
            _in_flight: in_flight,
        }
    }

    /// SDKs hang up at the terminal event, before the body's own end: they have their answer.
    fn client_has_the_end(&self) -> bool {
        self.hold.as_ref().is_none_or(Hold::has_let_go)
            && self.capture.as_ref().is_some_and(Capture::is_finished_stream)
    }

    fn finish(&mut self, ending: Ending) {
        if let Some(capture) = self.capture.take() {
            let (ticket, end) = capture.end(ending);
            match &mut self.hold {
                Some(hold) => ticket.finish_then(end, hold.committed()),
                None => ticket.finish(end),
            }
        }
    }

    /// What the upstream says next, observed.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let (Some(data), Some(capture)) = (frame.data_ref(), &mut self.capture) {
                    self.seen += data.len() as u64;
                    capture.piece(data);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.finish(Ending::UpstreamReset { error: error.to_string() });
                Some(Err(error.into()))
            }
            None => {
                self.finish(Ending::Complete);
                None
            }
        })
    }
}

impl Tee {
    /// The same with strict durability: the end waits for its commit.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(hold) = &mut self.hold else { return self.poll_inner(cx) };
            match ready!(hold.poll_released(cx)) {
                Released::Piece(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Released::Failed(error) => return Poll::Ready(Some(Err(error))),
                Released::End => return Poll::Ready(None),
                Released::NeedMore => {}
            }
            let next = ready!(self.poll_inner(cx));
            let Some(hold) = &mut self.hold else { return Poll::Ready(next) };
            match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => hold.push(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => hold.fail(error),
                None => hold.end(),
            }
        }
    }
}

impl Body for Tee {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.broken.is_none() {
            let next = ready!(if this.hold.is_some() { this.poll_held(cx) } else { this.poll_inner(cx) });
            match next {
                Some(Err(error)) => this.broken = Some(error),
                other => return Poll::Ready(other),
            }
        }
        ready!(this.before_break.poll(cx));
        Poll::Ready(this.broken.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.hold.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.expected {
            Some(expected) if self.hold.is_some() => SizeHint::with_exact(expected),
            _ => self.inner.size_hint(),
        }
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        // A server need not poll past the last announced byte, nor a body that it knows to be empty.
        let whole = self.expected.is_some_and(|n| self.seen >= n) || self.inner.is_end_stream();
        let complete = whole || self.client_has_the_end();
        self.finish(if complete { Ending::Complete } else { Ending::ClientGone });
    }
}
