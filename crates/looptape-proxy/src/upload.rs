//! A request body on its way in: read whole, because the recording wants it before the upstream is asked,
//! unless it is larger than what is kept. Then it passes as it comes.

use crate::recording::CAPTURE_LIMIT_BYTES;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Memory that the announced length of a body is believed for, before any of it is there.
const BELIEVED_BYTES: u64 = 1 << 20;

/// A body as it goes upstream.
pub(crate) type Outgoing = Either<Full<Bytes>, Unkept>;

/// A body as it was received.
pub(crate) enum Upload {
    Whole(Bytes),
    TooLarge(Unkept),
    /// The client broke off.
    Broken,
}

impl Upload {
    /// What is kept is a copy of the body's own size: a piece is a part of the buffer that the connection reads
    /// into, and would keep all of that for as long as it waits to be written.
    pub(crate) async fn read(mut body: Incoming) -> Self {
        let announced = body.size_hint().lower().min(BELIEVED_BYTES) as usize;
        let mut whole = Vec::with_capacity(announced);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Self::Broken };
            let Ok(data) = frame.into_data() else { continue };
            whole.extend_from_slice(&data);
            if whole.len() > CAPTURE_LIMIT_BYTES {
                return Self::TooLarge(Unkept { begun: Some(whole.into()), rest: body });
            }
        }
        Self::Whole(whole.into())
    }
}

/// A body that is not kept: what was read of it, then the rest.
pub(crate) struct Unkept {
    begun: Option<Bytes>,
    rest: Incoming,
}

impl Body for Unkept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.begun.take() {
            Some(begun) => Poll::Ready(Some(Ok(Frame::data(begun)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (begun, rest) = (self.begun.as_ref().map_or(0, Bytes::len) as u64, self.rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(begun + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(begun + upper);
        }
        hint
    }
}
