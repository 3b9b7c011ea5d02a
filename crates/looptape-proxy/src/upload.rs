//! A request body on its way in: read whole, because the recording wants it before the upstream is asked,
//! unless it is larger than what is kept. Then it passes as it comes.

use crate::recording::CAPTURE_LIMIT_BYTES;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Memory that the announced length of a body is believed for, before any of it is there.
const BELIEVED_BYTES: u64 = 1 << 20;

/// Longer bodies fill the buffers that they stand in.
const COPIED_BYTES: usize = 64 << 10;

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
    pub(crate) async fn read(mut body: Incoming) -> Self {
        let mut first: Option<Bytes> = None;
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Self::Broken };
            let Ok(data) = frame.into_data() else { continue };
            match (first.take(), joined.is_empty()) {
                // Most bodies come in one piece.
                (None, true) => first = Some(data),
                (begun, _) => {
                    if let Some(begun) = begun {
                        let announced = body.size_hint().lower().min(BELIEVED_BYTES) as usize;
                        joined.reserve(begun.len() + data.len() + announced);
                        joined.extend_from_slice(&begun);
                    }
                    joined.extend_from_slice(&data);
                }
            }
            if joined.len() > CAPTURE_LIMIT_BYTES {
                return Self::TooLarge(Unkept { begun: Some(joined.freeze()), rest: body });
            }
        }
        Self::Whole(first.map_or_else(|| joined.freeze(), own))
    }
}

/// A body that came in one piece is a part of the buffer that the connection reads into. However short, it
/// would keep that in memory for as long as it waits to be written.
fn own(body: Bytes) -> Bytes {
    if body.len() > COPIED_BYTES { body } else { Bytes::copy_from_slice(&body) }
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
