//! Serves the simulated provider on a loopback port.
//!
//! All that it adds to [`looptape_core::simulated`] is the outside world: the socket, the clock, the
//! waiting between pieces, and the count of how often each request came. That count grows by one small
//! entry for each different request and is kept as long as the server lives.
//!
//! A client that hangs up ends the sending of its own answer, nothing else. The server listens on
//! loopback only, checks no keys and never connects to anything.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use looptape_core::Digest;
use looptape_core::simulated::{Script, SimChunk, SimEnding, SimRequest, SimResponse, respond};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;

/// How long a stopping server waits for answers that are on their way.
const DRAIN: Duration = Duration::from_secs(5);

/// The simulated provider's server; [`SimulatedServer::start`] is the way in.
#[derive(Debug)]
pub struct SimulatedServer;

/// A running server. Dropping it ends the server at once; [`SimulatedServerHandle::stop`] lets answers finish.
#[must_use = "dropping the handle ends the server"]
#[derive(Debug)]
pub struct SimulatedServerHandle {
    addr: SocketAddr,
    calls: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl SimulatedServer {
    /// Starts a server on a free loopback port; returns its origin, `http://127.0.0.1:PORT`, and its handle.
    pub async fn start(script: Script) -> std::io::Result<(String, SimulatedServerHandle)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let calls = Arc::new(AtomicU64::new(0));
        let player = Arc::new(Player { script, seen: Mutex::default(), calls: Arc::clone(&calls) });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, player, stopped));
        Ok((format!("http://{addr}"), SimulatedServerHandle { addr, calls, stop, accepting }))
    }
}

impl SimulatedServerHandle {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many requests were answered or are being answered, rejections included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Accepts no more connections, lets running answers finish for up to five seconds, and returns the
    /// number of calls.
    pub async fn stop(mut self) -> u64 {
        // The accepting task holds the receiver until it ends, and it may have ended already.
        let _ = self.stop.send(true);
        if tokio::time::timeout(DRAIN, &mut self.accepting).await.is_err() {
            self.accepting.abort();
        }
        self.calls()
    }
}

impl Drop for SimulatedServerHandle {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The script with what the server remembers.
#[derive(Debug)]
struct Player {
    script: Script,
    /// A std mutex: it is held for one map operation, never across an await.
    seen: Mutex<HashMap<Digest, u32>>,
    calls: Arc<AtomicU64>,
}

impl Player {
    fn answer(&self, method: &str, path: &str, body: &[u8]) -> SimResponse {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let occurrence = self.occurrence(path, body);
        let unix_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        respond(&self.script, &SimRequest { method, path, body, occurrence, unix_s })
    }

    /// How often this request came before.
    fn occurrence(&self, path: &str, body: &[u8]) -> u32 {
        let key = Digest::of_parts(&[path.as_bytes(), body]);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(key).or_insert(0);
        let before = *count;
        *count = count.saturating_add(1);
        before
    }
}

/// Accepts until told to stop, then waits for the open connections. Connections die with this task.
async fn accept(listener: TcpListener, player: Arc<Player>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    connections.spawn(serve(socket, Arc::clone(&player), stopped.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(socket: TcpStream, player: Arc<Player>, mut stopped: watch::Receiver<bool>) {
    // Pieces must leave as they are written; a socket that refuses the option still works.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&player), request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    // The result of a connection says only that a client hung up: that is the client's right.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(
    player: Arc<Player>,
    request: Request<Incoming>,
) -> Result<Response<PacedBody>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
    let mut simulated = player.answer(head.method.as_str(), path, &body);
    // An answer in one piece comes with its head, as it does from a real provider: some SDKs hang up on a
    // refusal whose body is not there yet.
    if let [only] = simulated.chunks.as_mut_slice() {
        tokio::time::sleep(Duration::from_micros(std::mem::take(&mut only.delay_us))).await;
    }
    Ok(into_http(simulated))
}

pub(crate) fn into_http(simulated: SimResponse) -> Response<PacedBody> {
    let status = StatusCode::from_u16(simulated.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(PacedBody::new(simulated.chunks, simulated.ending));
    *response.status_mut() = status;
    for (name, value) in simulated.headers {
        if let Ok(value) = http::HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A body that sends each piece after its delay. A body of one piece has a known length.
pub(crate) struct PacedBody {
    pieces: std::vec::IntoIter<SimChunk>,
    /// The piece that is waiting for its time.
    next: Option<(Pin<Box<Sleep>>, Bytes)>,
    size_bytes: Option<u64>,
}

impl PacedBody {
    fn new(chunks: Vec<SimChunk>, SimEnding::Complete: SimEnding) -> Self {
        let size_bytes = match chunks.as_slice() {
            [only] => u64::try_from(only.bytes.len()).ok(),
            _ => None,
        };
        Self { pieces: chunks.into_iter(), next: None, size_bytes }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.next.is_none() {
            let Some(piece) = self.pieces.next() else { return Poll::Ready(None) };
            let wait = tokio::time::sleep(Duration::from_micros(piece.delay_us));
            self.next = Some((Box::pin(wait), Bytes::from(piece.bytes)));
        }
        if let Some((wait, _)) = &mut self.next {
            ready!(wait.as_mut().poll(cx));
        }
        Poll::Ready(self.next.take().map(|(_, bytes)| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.pieces.as_slice().is_empty()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self.size_bytes {
            Some(size_bytes) if !self.is_end_stream() => hyper::body::SizeHint::with_exact(size_bytes),
            Some(_) => hyper::body::SizeHint::with_exact(0),
            None => hyper::body::SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
