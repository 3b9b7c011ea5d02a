//! Strict durability: the end of an answer waits for its commit, and nothing before the end does.
//!
//! What is the end? For an event stream, its terminal event: clients stop reading there. For a body of
//! known length, its last byte. For any other body, its end. If the commit fails, the end passes all the
//! same: recording never harms the agent.

use crate::reply::BodyError;
use bytes::Bytes;
use memchr::memmem;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// Beginnings of events after which clients expect nothing more. Searched in raw bytes: at worst, text
/// that quotes one of them waits for the end of its answer.
const TERMINAL: &[&[u8]] = &[
    b"data: [DONE]",
    b"data:[DONE]",
    b"event: message_stop",
    b"event: response.completed",
    b"event: response.incomplete",
    b"event: response.failed",
    b"event: error",
];

/// The longest marker less one byte: a marker may be split over two pieces.
const OVERLAP: usize = 27;

/// Pieces on their way, and those that wait.
pub(crate) struct Hold {
    expected: Option<u64>,
    passed: u64,
    free: VecDeque<Bytes>,
    held: VecDeque<Bytes>,
    holding: bool,
    /// The last bytes that passed, for markers split over pieces.
    tail: Vec<u8>,
    commit: Option<oneshot::Receiver<bool>>,
    ended: Option<Result<(), BodyError>>,
}

/// What may go to the client.
pub(crate) enum Released {
    Piece(Bytes),
    Failed(BodyError),
    End,
    NeedMore,
}

impl Hold {
    pub(crate) fn new(expected: Option<u64>) -> Self {
        Self {
            expected,
            passed: 0,
            free: VecDeque::new(),
            held: VecDeque::new(),
            holding: false,
            tail: Vec::new(),
            commit: None,
            ended: None,
        }
    }

    /// What to call when the commit is done; the answer's end waits for it.
    pub(crate) fn committed(&mut self) -> impl FnOnce(bool) + Send + 'static {
        let (tell, told) = oneshot::channel();
        self.commit = Some(told);
        // Nobody listens any more if the client went away.
        move |ok| {
            let _ = tell.send(ok);
        }
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if self.holding {
            self.held.push_back(data);
            return;
        }
        let keep_from = self.end_within(&data);
        self.passed += data.len() as u64;
        match keep_from {
            None => {
                self.remember_tail(&data);
                self.free.push_back(data);
            }
            Some(at) => {
                self.holding = true;
                if at > 0 {
                    self.free.push_back(data.slice(..at));
                }
                self.held.push_back(data.slice(at..));
            }
        }
    }

    pub(crate) fn end(&mut self) {
        self.ended = Some(Ok(()));
    }

    pub(crate) fn fail(&mut self, error: BodyError) {
        self.ended = Some(Err(error));
    }

    pub(crate) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<Released> {
        if let Some(piece) = self.free.pop_front() {
            return Poll::Ready(Released::Piece(piece));
        }
        if self.ended.is_none() {
            return Poll::Ready(Released::NeedMore);
        }
        if let Some(commit) = &mut self.commit {
            // Committed or not, or the writer gone: the end passes.
            let _ = ready!(Pin::new(commit).poll(cx));
            self.commit = None;
        }
        if let Some(piece) = self.held.pop_front() {
            return Poll::Ready(Released::Piece(piece));
        }
        Poll::Ready(match self.ended.take() {
            Some(Err(error)) => {
                self.ended = Some(Ok(()));
                Released::Failed(error)
            }
            other => {
                self.ended = other;
                Released::End
            }
        })
    }

    /// Where in `data` the part begins that must wait.
    fn end_within(&self, data: &[u8]) -> Option<usize> {
        if let Some(expected) = self.expected {
            let reached = self.passed + data.len() as u64 >= expected && !data.is_empty();
            return reached.then(|| data.len() - 1);
        }
        let mut window = self.tail.clone();
        window.extend_from_slice(data);
        let at = TERMINAL.iter().filter_map(|marker| memmem::find(&window, marker)).min()?;
        // A marker that began in an earlier piece: that part is gone, the rest of it waits.
        Some(at.saturating_sub(self.tail.len()))
    }

    fn remember_tail(&mut self, data: &[u8]) {
        self.tail.extend_from_slice(data);
        let excess = self.tail.len().saturating_sub(OVERLAP);
        self.tail.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn drain(hold: &mut Hold) -> Vec<u8> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut out = Vec::new();
        while let Poll::Ready(Released::Piece(piece)) = hold.poll_released(&mut cx) {
            out.extend_from_slice(&piece);
        }
        out
    }

    #[test]
    fn only_the_terminal_event_waits() {
        let mut hold = Hold::new(None);
        hold.push(Bytes::from_static(b"data: {\"a\":1}\n\nda"));
        assert_eq!(drain(&mut hold), b"data: {\"a\":1}\n\nda");
        hold.push(Bytes::from_static(b"ta: [DONE]\n\n"));
        assert_eq!(drain(&mut hold), b"");
        let committed = hold.committed();
        hold.end();
        assert_eq!(drain(&mut hold), b"");
        committed(false);
        assert_eq!(drain(&mut hold), b"ta: [DONE]\n\n");
    }

    #[test]
    fn only_the_last_byte_of_a_known_length_waits() {
        let mut hold = Hold::new(Some(6));
        hold.push(Bytes::from_static(b"abc"));
        assert_eq!(drain(&mut hold), b"abc");
        hold.push(Bytes::from_static(b"def"));
        assert_eq!(drain(&mut hold), b"de");
        let committed = hold.committed();
        hold.end();
        assert_eq!(drain(&mut hold), b"");
        committed(true);
        assert_eq!(drain(&mut hold), b"f");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(hold.poll_released(&mut cx), Poll::Ready(Released::End)));
    }
}
