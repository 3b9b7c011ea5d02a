//! Serves the simulated provider: a script ([`SimulatedServer::start`]) or the mock with its twin
//! ([`SimulatedServer::start_mock`]).
//!
//! All that it adds to [`looptape_core::simulated`] is the outside world: the socket, the clock, the
//! waiting between pieces, and what is remembered from one request to the next. Pieces leave at their time after
//! the request, not after the piece before them: waits do not add up to more than they should.
//!
//! A client that hangs up ends the sending of its own answer, nothing else. The server checks no keys and never
//! connects to anything.

mod mock_player;
mod paced_body;
mod script_player;

pub use mock_player::{MockPlayer, MockTally};
pub(crate) use paced_body::into_http;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use looptape_core::simulated::{Script, SimResponse};
use paced_body::PacedBody;
use script_player::ScriptPlayer;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

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
        Self::serve(listener, Arc::new(ScriptPlayer::new(script)))
    }

    /// Serves the mock provider on `listener`; returns as [`SimulatedServer::start`] does.
    pub fn start_mock(
        listener: TcpListener,
        player: Arc<MockPlayer>,
    ) -> std::io::Result<(String, SimulatedServerHandle)> {
        Self::serve(listener, player)
    }

    fn serve(
        listener: TcpListener,
        player: Arc<impl Player>,
    ) -> std::io::Result<(String, SimulatedServerHandle)> {
        let addr = listener.local_addr()?;
        let calls = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, player, Arc::clone(&calls), stopped));
        Ok((format!("http://{addr}"), SimulatedServerHandle { addr, calls, stop, accepting }))
    }
}

/// Whoever answers.
trait Player: Send + Sync + 'static {
    fn play(&self, request: &Received<'_>) -> Played;
}

/// A request as it came.
struct Received<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

/// What is to be sent.
enum Played {
    Answer(SimResponse),
    /// Nothing: the connection is closed.
    Closed,
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the script closes the connection here")]
    Scripted,
    #[error(transparent)]
    Request(#[from] hyper::Error),
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

/// Accepts until told to stop, then waits for the open connections. Connections die with this task.
async fn accept(
    listener: TcpListener,
    player: Arc<impl Player>,
    calls: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    connections.spawn(serve(socket, Arc::clone(&player), Arc::clone(&calls), stopped.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(
    socket: TcpStream,
    player: Arc<impl Player>,
    calls: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
) {
    // Pieces must leave as they are written; a socket that refuses the option still works.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&player), Arc::clone(&calls), request));
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
    player: Arc<impl Player>,
    calls: Arc<AtomicU64>,
    request: Request<Incoming>,
) -> Result<Response<PacedBody>, NoAnswer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    calls.fetch_add(1, Ordering::Relaxed);
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
    let received = Received { method: head.method.as_str(), path, headers: &head.headers, body: &body };
    let asked = Instant::now();
    let Played::Answer(mut simulated) = player.play(&received) else { return Err(NoAnswer::Scripted) };
    // An answer in one piece comes with its head, as it does from a real provider: some SDKs hang up on a
    // refusal whose body is not there yet.
    if let [only] = simulated.chunks.as_mut_slice() {
        let wait = Duration::from_micros(std::mem::take(&mut only.delay_us));
        if !wait.is_zero() {
            tokio::time::sleep_until(asked + wait).await;
        }
    }
    Ok(into_http(simulated, asked))
}

#[cfg(test)]
mod tests;
