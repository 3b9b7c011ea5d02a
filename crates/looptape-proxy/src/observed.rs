//! A response body that is watched on its way to the client.
//!
//! Pieces pass as they come. When the body has ended, however that came about (its end, a break, a client that
//! hung up), whoever watches is told once what passed. A client that hangs up after the event that ends a
//! stream for it has its whole answer.

use crate::flush::{BeforeBreak, Flushes};
use crate::kept_body::KeptBody;
use crate::recording::CAPTURE_LIMIT_BYTES;
use crate::reply::{Body, BodyError};
use crate::terminal;
use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use looptape_core::derive;
use looptape_core::exchange::{Answer, Chunk, Ending};
use looptape_core::headers::RedactedHeaders;
use looptape_store::Moment;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What passed of an answer.
#[derive(Debug)]
pub(crate) struct SeenAnswer {
    pub(crate) status: u16,
    pub(crate) headers: RedactedHeaders,
    pub(crate) head_mono_us: i64,
    pub(crate) end_mono_us: i64,
    pub(crate) body: KeptBody,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) ending: Ending,
    /// Why `body` lacks bytes that passed, if it does.
    pub(crate) cut: Option<String>,
}

impl SeenAnswer {
    /// The same as what is read of recordings.
    pub(crate) fn as_answer(&self) -> Answer {
        Answer {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.to_bytes(),
            chunks: self.chunks.clone(),
            head_us: self.head_mono_us,
            end_us: self.end_mono_us,
            ending: self.ending.clone(),
        }
    }
}

type Tell = Box<dyn FnOnce(SeenAnswer) + Send + Sync>;

/// Watches the body of `response`; `tell` is told once how it was. What breaks off does so after what came
/// before has left, if that is known from `flushes`.
pub(crate) fn observed<B>(
    response: Response<B>,
    flushes: Option<Flushes>,
    tell: impl FnOnce(SeenAnswer) + Send + Sync + 'static,
) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    let (parts, inner) = response.into_parts();
    let watch = Watch::new(parts.status.as_u16(), &parts.headers, Box::new(tell));
    let body = Observed {
        is_at_end: inner.is_end_stream(),
        inner,
        watch: Some(watch),
        expected: length(&parts.headers),
        broken: None,
        before_break: BeforeBreak::new(flushes),
    };
    Response::from_parts(parts, body.boxed())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

struct Watch {
    seen: SeenAnswer,
    seen_bytes: usize,
    tell: Tell,
}

impl Watch {
    fn new(status: u16, headers: &HeaderMap, tell: Tell) -> Self {
        let recorded = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let head_mono_us = Moment::mono_us_now();
        let seen = SeenAnswer {
            status,
            headers: RedactedHeaders::redact(recorded),
            head_mono_us,
            end_mono_us: head_mono_us,
            body: KeptBody::new(length(headers)),
            chunks: Vec::new(),
            ending: Ending::Complete,
            cut: None,
        };
        Self { seen, seen_bytes: 0, tell }
    }

    fn piece(&mut self, data: &Bytes) {
        self.seen_bytes += data.len();
        if self.seen_bytes > CAPTURE_LIMIT_BYTES {
            let reason = "a response was larger than looptape keeps (256 MiB): its end is missing";
            self.seen.cut.get_or_insert_with(|| reason.to_owned());
        }
        if data.is_empty() || self.seen.cut.is_some() {
            return;
        }
        let len = u32::try_from(data.len()).expect("a piece of a body is smaller than the capture limit");
        self.seen.chunks.push(Chunk { at_us: Moment::mono_us_now(), len });
        self.seen.body.push(data);
    }

    /// SDKs hang up at the terminal event, before the body's own end: they have their answer.
    fn is_finished_stream(&self) -> bool {
        let is_stream = |kind: &str| kind.trim_start().starts_with("text/event-stream");
        if !self.seen.headers.get("content-type").is_some_and(is_stream) {
            return false;
        }
        let body = self.seen.body.to_bytes();
        terminal::is_finished(&derive::decode_body(&self.seen.headers, &body, &[]).bytes)
    }

    fn end(mut self, ending: Ending) {
        self.seen.end_mono_us = Moment::mono_us_now();
        self.seen.ending = ending;
        (self.tell)(self.seen);
    }
}

struct Observed<B> {
    inner: B,
    /// Whether a server would not ask for more.
    is_at_end: bool,
    /// `None` once it was told.
    watch: Option<Watch>,
    /// Bytes that the head announced.
    expected: Option<u64>,
    /// The error, until what came before it has reached the client.
    broken: Option<BodyError>,
    before_break: BeforeBreak,
}

impl<B> Observed<B> {
    fn end(&mut self, ending: Ending) {
        if let Some(watch) = self.watch.take() {
            watch.end(ending);
        }
    }
}

impl<B> HttpBody for Observed<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
    Self: Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.broken.is_none() {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let (Some(data), Some(watch)) = (frame.data_ref(), &mut this.watch) {
                        watch.piece(data);
                    }
                    this.is_at_end = this.inner.is_end_stream();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => {
                    let error: BodyError = error.into();
                    this.end(Ending::UpstreamReset { error: error.to_string() });
                    this.broken = Some(error);
                }
                None => {
                    this.end(Ending::Complete);
                    return Poll::Ready(None);
                }
            }
        }
        ready!(this.before_break.poll(cx));
        Poll::Ready(this.broken.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for Observed<B> {
    fn drop(&mut self) {
        let Some(watch) = &self.watch else { return };
        // A server need not poll past the last announced byte.
        let all = self.is_at_end || self.expected.is_some_and(|expected| watch.seen_bytes as u64 >= expected);
        let ending = if all || watch.is_finished_stream() { Ending::Complete } else { Ending::ClientGone };
        self.end(ending);
    }
}
