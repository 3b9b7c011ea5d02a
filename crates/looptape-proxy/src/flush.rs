//! Breaking off a response only after what came before it has left.
//!
//! An error from a response body makes the HTTP layer drop the connection together with everything that
//! it still buffers. A recorded or forwarded answer that broke off after three events must reach the client
//! as three events and then the break, so the error has to wait until the buffer is empty. The HTTP layer
//! flushes its connection when, and only when, it has written all that it buffered: so the connection
//! counts flushes, and a body waits for the next one before it fails.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Flushes of one connection. In the extensions of each of its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flushes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Flushes {
    fn happened(&self) {
        self.shared.count.fetch_add(1, Ordering::Release);
        // Held to take a list, never across an await.
        let waiting =
            std::mem::take(&mut *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Acquire)
    }

    fn wait(&self, waker: &Waker) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
    }
}

/// The wait of a body that is about to fail.
#[derive(Debug)]
pub(crate) struct BeforeBreak {
    flushes: Option<Flushes>,
    /// The count when the wait began.
    since: Option<u64>,
}

impl BeforeBreak {
    /// Without a connection to watch there is no wait.
    pub(crate) fn new(flushes: Option<Flushes>) -> Self {
        Self { flushes, since: None }
    }

    /// Ready once the connection was flushed after the first call.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(flushes) = &self.flushes else { return Poll::Ready(()) };
        let since = *self.since.get_or_insert_with(|| flushes.count());
        // Registered before looking, so that a flush in between is not missed.
        flushes.wait(cx.waker());
        if flushes.count() > since { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A connection that counts its flushes.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    flushes: Flushes,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S, flushes: Flushes) -> Self {
        Self { stream, flushes }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushes.happened();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
