//! What passes between a client and a server, on its way to whoever writes it down.
//!
//! A bounded queue lies in between: whoever tells never waits. What does not fit is counted and told later.

use super::Gateway;
use looptape_core::mcp::ServerName;
use looptape_proxy::mcp::frame::Frame;
use looptape_proxy::mcp::link::{Link, LinkError};
use looptape_proxy::mcp::recording::{Book, RecordedSession};
use looptape_store::Moment;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Pieces that may wait, each of 64 KiB at most.
const QUEUE: usize = 1024;

/// Where what passes is told. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    queue: mpsc::Sender<(i64, Frame)>,

    lost_bytes: Arc<AtomicU64>,
}

impl Tap {
    fn new() -> (Self, mpsc::Receiver<(i64, Frame)>) {
        let (queue, frames) = mpsc::channel(QUEUE);
        (Self { queue, lost_bytes: Arc::default() }, frames)
    }

    /// Never waits.
    pub(crate) fn tell(&self, frame: Frame) {
        let at_us = Moment::mono_us_now();
        let lost = self.lost_bytes.swap(0, Ordering::Relaxed);
        let told = lost == 0 || self.queue.try_send((at_us, Frame::Lost(lost))).is_ok();
        let bytes = match &frame {
            Frame::Client(bytes) | Frame::Server(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let sent = told && self.queue.try_send((at_us, frame)).is_ok();
        if !told || !sent {
            let lost = if told { 0 } else { lost };
            self.lost_bytes.fetch_add(lost + bytes, Ordering::Relaxed);
        }
    }
}

/// Whoever writes it down, on a thread of its own.
#[derive(Debug)]
#[must_use = "finish() waits until it is written down"]
pub(crate) struct Scribe(JoinHandle<()>);

impl Scribe {
    /// Tells the looptape over this process.
    pub(crate) fn for_gateway(gateway: Gateway, server: ServerName) -> std::io::Result<(Tap, Self)> {
        let (tap, frames) = Tap::new();
        let work = move || {
            let told = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(send(&gateway, &server, frames)),
                Err(error) => Err(LinkError::Broken(error.to_string())),
            };
            if let Err(error) = told {
                anstream::eprintln!("looptape: the MCP server {server} runs, and is not recorded: {error}");
            }
        };
        Ok((tap, Self(thread(work)?)))
    }

    /// Writes into an open trace of this process's own.
    pub(crate) fn for_book(book: Book) -> std::io::Result<(Tap, Self)> {
        let (tap, mut frames) = Tap::new();
        let work = move || {
            let mut session = RecordedSession::begin(book);
            while let Some((at_us, frame)) = frames.blocking_recv() {
                session.add(at_us, &frame);
                if matches!(frame, Frame::ServerEnded(_)) {
                    break;
                }
            }
            session.finish();
        };
        Ok((tap, Self(thread(work)?)))
    }

    /// Waits until everything is written down: up to the server's end, or until all taps are gone.
    pub(crate) fn finish(self) {
        // A panic of it was reported when it happened.
        let _ = self.0.join();
    }
}

fn thread(work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("looptape-mcp-tap".into()).spawn(work)
}

async fn send(
    gateway: &Gateway,
    server: &ServerName,
    mut frames: mpsc::Receiver<(i64, Frame)>,
) -> Result<(), LinkError> {
    let mut link = Link::open(&gateway.url, &gateway.trace, server).await?;
    while let Some((at_us, frame)) = frames.recv().await {
        // If it cannot be sent, looptape's answer says why. Nothing comes after the server's end.
        let sent = link.send(at_us, &frame).await;
        if sent.is_err() || matches!(frame, Frame::ServerEnded(_)) {
            break;
        }
    }
    link.finish().await
}
