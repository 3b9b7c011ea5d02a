//! A body that sends each piece at its time.

use crate::reply::Abort;
use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use looptape_core::simulated::{SimChunk, SimEnding, SimResponse};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A response whose pieces leave at their time after `asked`.
pub(crate) fn into_http(simulated: SimResponse, asked: Instant) -> Response<PacedBody> {
    let status = StatusCode::from_u16(simulated.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(PacedBody::new(simulated.chunks, simulated.ending, asked));
    *response.status_mut() = status;
    for (name, value) in simulated.headers {
        if let Ok(value) = http::HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The body. One of a single piece has a known length.
pub(crate) struct PacedBody {
    pieces: std::vec::IntoIter<SimChunk>,
    ending: SimEnding,
    /// When the next piece is due, counted from the one before it.
    due: Instant,
    waiting: Option<Pin<Box<Sleep>>>,
    size_bytes: Option<u64>,
    is_flushed: bool,
}

impl PacedBody {
    fn new(chunks: Vec<SimChunk>, ending: SimEnding, asked: Instant) -> Self {
        let missing_bytes = match ending {
            SimEnding::Complete => 0,
            SimEnding::Cut { missing_bytes } => missing_bytes,
        };
        let size_bytes = match chunks.as_slice() {
            [only] if missing_bytes > 0 || ending == SimEnding::Complete => {
                u64::try_from(only.bytes.len()).ok().map(|sent| sent.saturating_add(missing_bytes))
            }
            [] if missing_bytes > 0 => Some(missing_bytes),
            _ => None,
        };
        Self { pieces: chunks.into_iter(), ending, due: asked, waiting: None, size_bytes, is_flushed: false }
    }

    /// A body that is cut ends with an error. What was written before it must leave first, and a connection is
    /// flushed when its body has nothing: so the error comes one turn later.
    fn end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        match self.ending {
            SimEnding::Complete => Poll::Ready(None),
            SimEnding::Cut { .. } if !self.is_flushed => {
                self.is_flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            SimEnding::Cut { .. } => {
                self.ending = SimEnding::Complete;
                Poll::Ready(Some(Err(Abort { why: "the script closes the connection here".to_owned() })))
            }
        }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        if self.waiting.is_none() {
            let Some(delay_us) = self.pieces.as_slice().first().map(|next| next.delay_us) else {
                return self.end(cx);
            };
            if delay_us > 0 {
                self.due += Duration::from_micros(delay_us);
                self.waiting = Some(Box::pin(tokio::time::sleep_until(self.due)));
            }
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        let next = self.pieces.next();
        Poll::Ready(next.map(|piece| Ok(Frame::data(Bytes::from(piece.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.ending == SimEnding::Complete && self.pieces.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.size_bytes {
            Some(_) if self.is_end_stream() => SizeHint::with_exact(0),
            Some(size_bytes) => SizeHint::with_exact(size_bytes),
            None => SizeHint::default(),
        }
    }
}
