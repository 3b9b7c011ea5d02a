//! A request body on its way in: read whole, because the recording wants it before the upstream is asked,
//! unless it is larger than what is kept. Then it passes as it comes.
//!
//! While it is read it is compared with the one before it on its connection, which is remembered for that: what the
//! two share is kept once, and goes upstream from there.

use crate::recording::CAPTURE_LIMIT_BYTES;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either};
use hyper::body::Incoming;
use looptape_store::{Arriving, Rope};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// Memory that the announced length of a body is believed for, before any of it is there.
const BELIEVED_BYTES: u64 = 1 << 20;
/// A shorter body is copied sooner than compared with the one before it.
const WORTH_COMPARING_BYTES: usize = 4 << 10;
/// Bytes that all connections together hold of their latest bodies. Beyond it a body is taken as if it were its
/// connection's first.
const MOST_HELD_BYTES: usize = 32 << 20;

/// A body as it goes upstream.
pub(crate) type Outgoing = Either<Pieces, Unkept>;

/// A body as it was received.
pub(crate) enum Upload {
    Whole(Rope),
    TooLarge(Unkept),
    /// The client broke off.
    Broken,
}

impl Upload {
    /// What is kept is a copy, or the memory of the connection's body before: a piece that arrives is a part of the
    /// buffer that the connection reads into, and would keep all of that for as long as it waits to be written.
    pub(crate) async fn read(mut body: Incoming, last: Option<LastBody>) -> Self {
        let announced = body.size_hint().lower().min(BELIEVED_BYTES) as usize;
        let last = last.filter(|_| announced >= WORTH_COMPARING_BYTES);
        let mut whole = Arriving::after(last.as_ref().and_then(LastBody::get), announced);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Self::Broken };
            let Ok(data) = frame.into_data() else { continue };
            whole.push(&data);
            if whole.len() > CAPTURE_LIMIT_BYTES {
                return Self::TooLarge(Unkept { begun: Some(whole.end().into()), rest: body });
            }
        }
        let whole = whole.end();
        if let Some(last) = last {
            last.set(whole.clone());
        }
        Self::Whole(whole)
    }
}

/// The latest body of one connection. In the extensions of each of its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastBody(Arc<Mutex<Option<Held>>>);

impl LastBody {
    fn get(&self) -> Option<Rope> {
        Some(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.body.clone())
    }

    fn set(&self, body: Rope) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Held::new(body);
    }
}

/// A body that counts towards [`MOST_HELD_BYTES`].
#[derive(Debug)]
struct Held {
    body: Rope,
}

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

impl Held {
    fn new(body: Rope) -> Option<Self> {
        let held = Self { body };
        let before = HELD_BYTES.fetch_add(held.body.len(), Ordering::Relaxed);
        (before + held.body.len() <= MOST_HELD_BYTES).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD_BYTES.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}

/// A body that is there. A copy of it begins at the beginning of what is left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    body: Rope,
    /// The piece that is sent next.
    next: usize,
    sent: usize,
}

impl From<Rope> for Pieces {
    fn from(body: Rope) -> Self {
        Self { body, next: 0, sent: 0 }
    }
}

impl From<Bytes> for Pieces {
    fn from(body: Bytes) -> Self {
        Rope::from(body).into()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.body.pieces().get(self.next).filter(|piece| !piece.is_empty()).cloned();
        self.next += 1;
        self.sent += piece.as_ref().map_or(0, Bytes::len);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.body.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.body.len() - self.sent) as u64)
    }
}

/// A body that is not kept: what was read of it, then the rest.
pub(crate) struct Unkept {
    begun: Option<Pieces>,
    rest: Incoming,
}

impl Body for Unkept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(begun) = &mut self.begun
            && let Poll::Ready(Some(Ok(piece))) = Pin::new(begun).poll_frame(cx)
        {
            return Poll::Ready(Some(Ok(piece)));
        }
        self.begun = None;
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.begun.as_ref().is_none_or(Body::is_end_stream) && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let begun = self.begun.as_ref().and_then(|begun| begun.size_hint().exact()).unwrap_or(0);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(begun + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(begun + upper);
        }
        hint
    }
}
