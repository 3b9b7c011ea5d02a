//! Strict durability: the end of an answer waits for its commit, and nothing before the end does.
//!
//! What is the end? For an event stream, its terminal event: clients stop reading there. For a body of
//! known length, its last byte. For any other body, its end. If the commit fails, the end passes all the
//! same, and so it does if the commit takes too long: recording never harms the agent.

use crate::reply::BodyError;
use crate::terminal::TerminalSearch;
use bytes::Bytes;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// The end waits no longer than this for its commit, whatever holds that up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Pieces on their way, and those that wait.
pub(crate) struct Hold {
    expected: Option<u64>,
    passed: u64,
    free: VecDeque<Bytes>,
    held: VecDeque<Bytes>,
    holding: bool,
    terminal: TerminalSearch,
    commit: Option<Commit>,
    ended: Option<Result<(), BodyError>>,
}

/// A commit that is waited for.
struct Commit {
    told: oneshot::Receiver<bool>,
    patience: Pin<Box<Sleep>>,
}

/// What may go to the client.
pub(crate) enum Released {
    Piece(Bytes),
    Failed(BodyError),
    End,
    NeedMore,
}

impl Hold {
    /// For a body of `expected` bytes, if that is known, in this `content-encoding`.
    pub(crate) fn new(expected: Option<u64>, content_encoding: Option<&str>) -> Self {
        Self {
            expected,
            passed: 0,
            free: VecDeque::new(),
            held: VecDeque::new(),
            holding: false,
            terminal: TerminalSearch::new(content_encoding),
            commit: None,
            ended: None,
        }
    }

    /// What to call when the commit is done; the answer's end waits for it.
    pub(crate) fn committed(&mut self) -> impl FnOnce(bool) + Send + 'static {
        let (tell, told) = oneshot::channel();
        self.commit = Some(Commit { told, patience: Box::pin(tokio::time::sleep(PATIENCE)) });
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
            None => self.free.push_back(data),
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
            // Committed or not, the writer gone, or too slow: the end passes.
            if Pin::new(&mut commit.told).poll(cx).is_pending() {
                ready!(commit.patience.as_mut().poll(cx));
            }
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

    /// Whether the client has all that it waits for.
    pub(crate) fn has_let_go(&self) -> bool {
        self.held.is_empty() && self.free.is_empty()
    }

    /// Where in `data` the part begins that must wait.
    fn end_within(&mut self, data: &[u8]) -> Option<usize> {
        let Some(expected) = self.expected else { return self.terminal.find(data) };
        let reached = self.passed + data.len() as u64 >= expected && !data.is_empty();
        reached.then(|| data.len() - 1)
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

    #[tokio::test]
    async fn only_the_terminal_event_waits() {
        let mut hold = Hold::new(None, None);
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

    #[tokio::test]
    async fn only_the_last_byte_of_a_known_length_waits() {
        let mut hold = Hold::new(Some(6), None);
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
