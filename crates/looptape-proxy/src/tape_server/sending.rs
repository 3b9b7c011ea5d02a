//! A recorded answer on its way to a client: the recorded bytes in the recorded pieces, with the recorded
//! ending, at once or at the recorded pace.
//!
//! Times count from the moment at which the live request had been read, as the recorded ones do. A client
//! that hangs up while an answer waits ends the wait. Errors that SDKs try again carry the recorded wait,
//! divided by the speed; at speed 0 they say "at once", else every replay of a 429 would take its wait again.

use crate::flush::{BeforeBreak, Flushes};
use crate::reply::{Abort, Body, BodyError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use looptape_core::exchange::{Answer, Ending};
use looptape_core::headers::{REDACTED, string_to_latin1};
use looptape_core::redact::{Binding, Surroundings};
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How fast recorded time passes in a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// Nothing waits.
    #[default]
    AtOnce,
    /// So many times as fast as recorded; more than 0.
    Times(f64),
}

/// The longest wait: a day. Beyond it lies damage, or a speed of almost nothing.
const MOST_US: f64 = 86_400e6;

impl Speed {
    /// Speed 0 is "at once". `None` for what is no speed.
    pub fn new(times: f64) -> Option<Self> {
        match times {
            0.0 => Some(Self::AtOnce),
            times if times > 0.0 && times.is_finite() => Some(Self::Times(times)),
            _ => None,
        }
    }

    /// How long a recorded time lasts.
    pub(crate) fn scaled(self, recorded_us: i64) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::Times(times) => {
                let us = (recorded_us.max(0) as f64 / times).min(MOST_US);
                Duration::from_micros(us as u64)
            }
        }
    }
}

/// An answer, ready to be sent any number of times.
#[derive(Debug)]
pub(crate) struct Prepared {
    status: StatusCode,
    headers: HeaderMap,
    pieces: Arc<[Piece]>,
    /// Of all pieces.
    bytes: u64,
    /// From the request to the answer's head, and to its end.
    head_us: i64,
    end_us: i64,
    /// Whether it ends as a body ends, or breaks off.
    whole: bool,
}

#[derive(Clone, Debug)]
struct Piece {
    /// From the request to its arrival.
    after_us: i64,
    bytes: Bytes,
}

impl Prepared {
    /// `answer` came to a request that was sent at `sent_us`. Live secrets take the places of their
    /// placeholders.
    pub(crate) fn new(answer: &Answer, sent_us: i64, binding: &Binding) -> Self {
        let (pieces, changed) = pieces(answer, sent_us, binding);
        let bytes: u64 = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
        let mut headers = HeaderMap::new();
        for (name, value) in answer.headers.iter().filter(|(_, value)| *value != REDACTED) {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = string_to_latin1(value);
            let value = HeaderValue::from_bytes(&binding.restore(&value, Surroundings::Plain));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        if changed && headers.contains_key(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        Self {
            status: StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK),
            headers,
            pieces: pieces.into(),
            bytes,
            head_us: answer.head_us - sent_us,
            end_us: answer.end_us - sent_us,
            whole: answer.ending == Ending::Complete,
        }
    }

    /// Whether clients try again: then its headers say when, which depends on the speed.
    pub(crate) fn is_retryable(&self) -> bool {
        is_retryable(self.status)
    }

    /// About how much memory it takes.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.bytes + (self.pieces.len() * size_of::<Piece>()) as u64 + 512
    }

    /// Sends it, from its recorded time on. `sending` is dropped just before the client can see the end.
    pub(crate) async fn send<S: Send + Sync + Unpin + 'static>(
        &self,
        speed: Speed,
        arrived: Instant,
        sending: S,
        flushes: Option<Flushes>,
    ) -> Response<Body> {
        if let Speed::Times(_) = speed {
            sleep_until(arrived + speed.scaled(self.head_us)).await;
        }
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        if is_retryable(self.status) {
            scale_retry_after(response.headers_mut(), speed);
        }
        let headers = response.headers();
        let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let body = RecordedBody {
            pieces: self.pieces.clone(),
            next: 0,
            left: self.bytes,
            end_us: self.end_us,
            whole: self.whole,
            length,
            pace: match speed {
                Speed::AtOnce => None,
                Speed::Times(_) => Some(Pace { speed, arrived, sleep: None }),
            },
            sending: Some(sending),
            before_break: BeforeBreak::new(flushes),
        };
        response.map(|()| body.boxed())
    }
}

/// Ends the connection as a call without a response ended, at its recorded time.
pub(crate) async fn no_response(speed: Speed, arrived: Instant, recorded_us: i64) -> Abort {
    if let Speed::Times(_) = speed {
        sleep_until(arrived + speed.scaled(recorded_us)).await;
    }
    Abort { why: "the recorded call got no response".into() }
}

/// The pieces to send, live secrets in the place of their placeholders; whether any changed.
fn pieces(answer: &Answer, sent_us: i64, binding: &Binding) -> (Vec<Piece>, bool) {
    let mut at = 0;
    let mut pieces: Vec<Piece> = answer
        .chunks
        .iter()
        .map(|chunk| {
            let from = at;
            at = (at + chunk.len as usize).min(answer.body.len());
            Piece { after_us: chunk.at_us - sent_us, bytes: answer.body.slice(from..at) }
        })
        .filter(|piece| !piece.bytes.is_empty())
        .collect();
    if at < answer.body.len() {
        pieces.push(Piece { after_us: answer.end_us - sent_us, bytes: answer.body.slice(at..) });
    }
    if binding.is_empty() {
        return (pieces, false);
    }
    let mut changed = false;
    for piece in &mut pieces {
        if let Cow::Owned(restored) = binding.restore(&piece.bytes, Surroundings::Json) {
            changed |= restored != *piece.bytes;
            piece.bytes = restored.into();
        }
    }
    (pieces, changed)
}

fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 409 | 429 | 500..)
}

/// Tells clients to wait as long as recorded time lasts now. Whole seconds are rounded up, for those that
/// know nothing finer.
fn scale_retry_after(headers: &mut HeaderMap, speed: Speed) {
    let number = |name: &str| -> Option<f64> {
        headers.get(name)?.to_str().ok()?.trim().parse().ok().filter(|n| (0.0..1e9).contains(n))
    };
    let seconds = number("retry-after");
    let recorded_ms = number("retry-after-ms").or(seconds.map(|seconds| seconds * 1000.0));
    let (ms, seconds) = match speed {
        Speed::AtOnce => (Some(1.0), headers.contains_key(header::RETRY_AFTER).then_some(0.0)),
        Speed::Times(times) => (recorded_ms.map(|ms| ms / times), seconds.map(|s| (s / times).ceil())),
    };
    let mut set = |name: HeaderName, value: Option<f64>| {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from(value.round() as u64));
        }
    };
    set(HeaderName::from_static("retry-after-ms"), ms.map(|ms| ms.max(1.0)));
    set(header::RETRY_AFTER, seconds);
}

/// A recorded body on its way out.
struct RecordedBody<S> {
    pieces: Arc<[Piece]>,
    next: usize,
    /// Bytes of the pieces from `next` on.
    left: u64,
    end_us: i64,
    whole: bool,
    length: Option<u64>,
    /// `None` if nothing waits.
    pace: Option<Pace>,
    /// Dropped just before the client can see the end.
    sending: Option<S>,
    /// What came before a break reaches the client before the break does.
    before_break: BeforeBreak,
}

/// The recorded times of a body, in this replay.
struct Pace {
    speed: Speed,
    arrived: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Ready once so much recorded time has passed since the request.
    fn poll(&mut self, recorded_us: i64, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.arrived + self.speed.scaled(recorded_us);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx)
    }
}

impl<S> RecordedBody<S> {
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let recorded_us = self.pieces.get(self.next).map_or(self.end_us, |piece| piece.after_us);
        self.pace.as_mut().map_or(Poll::Ready(()), |pace| pace.poll(recorded_us, cx))
    }
}

impl<S: Unpin> HttpBody for RecordedBody<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.poll_pace(cx));
        let piece = self.pieces.get(self.next).map(|piece| piece.bytes.clone());
        if self.next + 1 >= self.pieces.len() {
            self.sending = None;
        }
        match piece {
            Some(bytes) => {
                self.next += 1;
                self.left -= bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            None if self.whole => Poll::Ready(None),
            None => {
                ready!(self.before_break.poll(cx));
                self.whole = true;
                Poll::Ready(Some(Err("the recorded answer broke off here".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // At a pace the end has a time of its own.
        self.next == self.pieces.len() && self.whole && self.pace.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) if self.whole => SizeHint::with_exact(length.min(self.left)),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds() {
        assert_eq!(Speed::new(0.0), Some(Speed::AtOnce));
        assert_eq!(Speed::new(2.5), Some(Speed::Times(2.5)));
        for no in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Speed::new(no), None);
        }
        assert_eq!(Speed::Times(10.0).scaled(1_000_000), Duration::from_millis(100));
        assert_eq!(Speed::Times(1.0).scaled(-5), Duration::ZERO);
        assert_eq!(Speed::Times(f64::MIN_POSITIVE).scaled(1), Duration::from_secs(86_400));
    }

    #[test]
    fn waits_of_clients_are_scaled() {
        let scaled = |recorded: &[(&'static str, &'static str)], speed| {
            let mut headers: HeaderMap = recorded
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            scale_retry_after(&mut headers, speed);
            let get = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            (get("retry-after-ms"), get("retry-after"))
        };
        let s = |text: &str| Some(text.to_owned());
        assert_eq!(scaled(&[], Speed::AtOnce), (s("1"), None));
        assert_eq!(scaled(&[("retry-after", "20")], Speed::AtOnce), (s("1"), s("0")));
        assert_eq!(scaled(&[], Speed::Times(1.0)), (None, None), "the client's own wait stays its own");
        assert_eq!(scaled(&[("retry-after", "20")], Speed::Times(1.0)), (s("20000"), s("20")));
        assert_eq!(scaled(&[("retry-after", "20")], Speed::Times(8.0)), (s("2500"), s("3")));
        let both = [("retry-after", "2"), ("retry-after-ms", "1500")];
        assert_eq!(scaled(&both, Speed::Times(10.0)), (s("150"), s("1")));
        assert_eq!(scaled(&[("retry-after", "Wed, 21 Oct 2026")], Speed::Times(1.0)).0, None);
    }
}
