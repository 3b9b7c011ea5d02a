//! Listening, accepting, serving, draining.
//!
//! Connections are served where the server was started, or each on one of several [`Lanes`].
//!
//! A handler gets each request and answers, or aborts the connection. When a client disconnects, the
//! handler's future (or the body it returned) is dropped at once; what that means is the handler's
//! business. Draining stops accepting, lets requests under way end, and gives up after a time. What a handler
//! makes of a connection that it took over (`CONNECT`) is served and drained in the same way: [`Draining`] is in
//! the extensions of such a request.

use crate::flush::{Counted, Flushes};
use crate::lanes::Lanes;
use crate::reply::{Abort, Body};
use crate::upload::LastBody;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a server does with requests.
pub trait Handler: Send + Sync + 'static {
    fn handle(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Abort>> + Send;

    /// What the server sets when it begins to drain: for health checks on connections that are still open.
    fn draining(&self) -> Arc<AtomicBool> {
        Arc::default()
    }
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{listen} is already in use: stop what listens there, or choose another port with --listen {}:0 for any free one", listen.ip())]
    InUse { listen: SocketAddr },
    #[error("cannot listen on {listen}: {source}")]
    Other { listen: SocketAddr, source: std::io::Error },
}

/// A running server.
#[derive(Debug)]
#[must_use = "a server is stopped by drain()"]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    draining: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

/// Binds `listen`.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(listen).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => ListenError::InUse { listen },
        _ => ListenError::Other { listen, source },
    })
}

impl Server {
    /// Serves `listener` with `handler` on the current runtime.
    pub fn start(listener: TcpListener, handler: Arc<impl Handler>) -> std::io::Result<Self> {
        Self::on(listener, vec![Place { runtime: Handle::current(), handler }])
    }

    /// Serves `listener` on `lanes`, on each with a handler of its own. Accepts on the current runtime.
    pub fn start_on<H: Handler>(
        lanes: &Lanes,
        listener: TcpListener,
        handler: impl Fn() -> H,
    ) -> std::io::Result<Self> {
        let place = |runtime: &Handle| Place { runtime: runtime.clone(), handler: Arc::new(handler()) };
        Self::on(listener, lanes.runtimes().map(place).collect())
    }

    fn on(listener: TcpListener, places: Vec<Place<impl Handler>>) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let draining = places.first().map(|place| place.handler.draining()).unwrap_or_default();
        let accepting = tokio::spawn(accept(listener, places, stopped));
        Ok(Self { address, stop, draining, accepting })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and waits for requests under way, at most `limit`. Says whether all of them ended.
    pub async fn drain(self, limit: Duration) -> bool {
        self.draining.store(true, Ordering::Relaxed);
        // Nobody listens any more if nothing is left to be ended.
        let _ = self.stop.send(true);
        if self.accepting.await.is_err() {
            return false;
        }
        // Each connection holds a receiver for as long as it lives.
        tokio::time::timeout(limit, self.stop.closed()).await.is_ok()
    }
}

/// Where connections can be served, and by whom.
struct Place<H> {
    runtime: Handle,
    handler: Arc<H>,
}

impl<H> Place<H> {
    /// Connections that it serves, and their requests: each holds the handler.
    fn load(&self) -> usize {
        Arc::strong_count(&self.handler)
    }
}

async fn accept(listener: TcpListener, places: Vec<Place<impl Handler>>, mut stopped: watch::Receiver<bool>) {
    let of_connections = stopped.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => hand_over(stream, &places, of_connections.clone()),
                // Out of file descriptors: wait for some to be closed rather than spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            _ = stopped.changed() => return,
        }
    }
}

/// Gives a connection to the place with the fewest. One that cannot be moved there is closed.
fn hand_over(stream: TcpStream, places: &[Place<impl Handler>], stopped: watch::Receiver<bool>) {
    // Streamed tokens are small writes: waiting to fill a packet would delay each of them.
    let _ = stream.set_nodelay(true);
    let Some(place) = places.iter().min_by_key(|place| place.load()) else { return };
    // Each runtime watches its own connections.
    let Ok(stream) = stream.into_std() else { return };
    let handler = place.handler.clone();
    place.runtime.spawn(async move {
        if let Ok(stream) = TcpStream::from_std(stream) {
            serve(stream, handler, Draining(stopped)).await;
        }
    });
}

/// Tells a connection that its server drains, and the server that the connection still lives.
#[derive(Clone)]
pub(crate) struct Draining(watch::Receiver<bool>);

/// Waits until the server drains, and then for one turn of the runtime: a connection that is new to it does not know
/// of what has arrived before that.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error says that the server is gone.
    let _ = stopped.changed().await;
    tokio::task::yield_now().await;
}

/// Serves one connection to its end.
pub(crate) async fn serve<S>(stream: S, handler: Arc<impl Handler>, draining: Draining)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (flushes, last_body) = (Flushes::default(), LastBody::default());
    let stream = Counted::new(stream, flushes.clone());
    let Draining(mut stopped) = draining.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let handler = handler.clone();
        request.extensions_mut().insert(flushes.clone());
        request.extensions_mut().insert(last_body.clone());
        if request.method() == Method::CONNECT {
            request.extensions_mut().insert(draining.clone());
        }
        async move { handler.handle(request).await }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    // A connection that breaks has been recorded as such by its handler.
    tokio::select! {
        // What has arrived is read before the end is looked at: a request that came before it is served.
        biased;
        _ = connection.as_mut() => return,
        () = told(&mut stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
