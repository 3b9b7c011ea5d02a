//! Connections to upstreams that wait for their next call, and how new ones are opened.
//!
//! An HTTP/1.1 connection serves one call at a time. It comes back when the body of the answer has been read to its
//! end. A body that is dropped before closes it, and the upstream sees the call broken off, unless no more of the
//! body was to come than had arrived. An HTTP/2 connection is shared by all calls to its upstream. A request that was not sent because its connection had been closed
//! meanwhile is sent on another one; one that may have been sent is never sent again.
//!
//! No call waits for another call's connection, and nothing here limits their number.

use crate::reply::BodyError;
use crate::route::Route;
use crate::upload::Outgoing;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::TokioExecutor;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tower_service::Service;

/// How long an idle connection is kept. Servers that close idle connections early would break calls that
/// the agent's own client, which drops them after a few seconds, would not have lost.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);

/// How often they are looked through.
const LOOK_THROUGH: Duration = Duration::from_secs(5);

/// Idle connections kept for one upstream.
const IDLE_CONNECTIONS: usize = 256;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("the upstream cannot be reached")]
    Connect(#[source] BodyError),
    #[error("the connection to the upstream ended before its answer")]
    Broken(#[source] hyper::Error),
}

impl NoAnswer {
    /// Whether nothing can have been sent, because there was no connection.
    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

/// Idle connections. Those in use are with their calls.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    connector: HttpsConnector<Route>,
    // Locked to take one out or put one in, never across an await.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// In the order in which they were first asked; none is ever removed.
    upstreams: Vec<Upstream>,
    is_looked_through: bool,
}

/// The place of an upstream among [`Kept::upstreams`].
#[derive(Clone, Copy)]
struct Place(usize);

struct Upstream {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    idle: Vec<Idle>,
    shared: Option<http2::SendRequest<Outgoing>>,
}

struct Idle {
    connection: Single,
    since: Instant,
}

/// A connection, with the right to send on it.
enum Open {
    Single(Single),
    Shared(http2::SendRequest<Outgoing>),
}

/// An HTTP/1.1 connection.
struct Single {
    sender: http1::SendRequest<Outgoing>,
    /// Of its upstream.
    host: HeaderValue,
    form: Form,
}

/// How requests name what they are for: a proxy wants the whole URL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Path,
    Url,
}

impl Idle {
    fn is_usable(&self) -> bool {
        self.connection.sender.is_ready() && self.since.elapsed() < IDLE_CONNECTION
    }
}

impl Connections {
    pub(crate) fn new(connector: HttpsConnector<Route>) -> Self {
        Self(Arc::new(Shared { connector, kept: Mutex::default() }))
    }

    /// None of these, opened in the same way.
    pub(crate) fn others(&self) -> Self {
        Self::new(self.0.connector.clone())
    }

    /// Sends a request whose URI is absolute, on an idle connection or a new one.
    pub(crate) async fn send(&self, mut request: Request<Outgoing>) -> Result<Response<Answer>, NoAnswer> {
        let to = request.uri().clone();
        let place = self.0.kept().place_of(&to);
        while let Some(idle) = self.0.take(place) {
            match self.send_on(idle, place, request).await {
                Ok(answer) => return Ok(answer),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(NoAnswer::Broken(error.into_error())),
                },
            }
            *request.uri_mut() = to.clone();
        }
        // Most calls need none of this: in a box it does not make their future larger.
        let open = Box::pin(self.open(place, &to)).await?;
        self.send_on(open, place, request).await.map_err(|error| NoAnswer::Broken(error.into_error()))
    }

    async fn send_on(
        &self,
        on: Open,
        place: Place,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Answer>, TrySendError<Request<Outgoing>>> {
        let mut single = match on {
            Open::Single(single) => single,
            Open::Shared(mut sender) => {
                let answer = sender.try_send_request(request).await?;
                return Ok(answer.map(|body| Answer { body, lease: None }));
            }
        };
        if single.form == Form::Path {
            *request.uri_mut() = path_of(request.uri()).into();
        }
        request.headers_mut().entry(header::HOST).or_insert_with(|| single.host.clone());
        let answer = single.sender.try_send_request(request).await?;
        let lease = Lease { connection: single, place, of: self.clone() };
        Ok(answer.map(|body| Answer::new(body, lease)))
    }

    async fn open(&self, place: Place, to: &Uri) -> Result<Open, NoAnswer> {
        let mut connector = self.0.connector.clone();
        std::future::poll_fn(|cx| connector.poll_ready(cx)).await.map_err(NoAnswer::Connect)?;
        let stream = connector.call(to.clone()).await.map_err(NoAnswer::Connect)?;
        let connected = stream.connected();
        if connected.is_negotiated_h2() {
            let shaken = http2::handshake(TokioExecutor::new(), stream).await;
            let (mut sender, connection) = shaken.map_err(NoAnswer::Broken)?;
            tokio::spawn(connection);
            sender.ready().await.map_err(NoAnswer::Broken)?;
            return Ok(Open::Shared(self.0.kept().share(place, sender)));
        }
        let (sender, connection) = http1::handshake(stream).await.map_err(NoAnswer::Broken)?;
        tokio::spawn(connection);
        let form = if connected.is_proxied() { Form::Url } else { Form::Path };
        Ok(Open::Single(Single { sender, host: host_of(to), form }))
    }

    fn give_back(&self, connection: Single, place: Place) {
        let mut kept = self.0.kept();
        kept.put(place, connection);
        if !std::mem::replace(&mut kept.is_looked_through, true) {
            tokio::spawn(look_through(Arc::downgrade(&self.0)));
        }
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, place: Place) -> Option<Open> {
        self.kept().take(place)
    }
}

impl Kept {
    /// Where the upstream of an absolute URI is, from now on.
    fn place_of(&mut self, to: &Uri) -> Place {
        let (scheme, authority) = (to.scheme(), to.authority());
        let is_it = |u: &Upstream| u.authority.as_ref() == authority && u.scheme.as_ref() == scheme;
        // There are few: those that were configured.
        Place(self.upstreams.iter().position(is_it).unwrap_or_else(|| {
            let (scheme, authority) = (scheme.cloned(), authority.cloned());
            self.upstreams.push(Upstream { scheme, authority, idle: Vec::new(), shared: None });
            self.upstreams.len() - 1
        }))
    }

    fn take(&mut self, place: Place) -> Option<Open> {
        let upstream = self.upstreams.get_mut(place.0)?;
        // The latest first, so that those that are not needed grow old.
        if let Some(at) = upstream.idle.iter().rposition(Idle::is_usable) {
            return Some(Open::Single(upstream.idle.swap_remove(at).connection));
        }
        upstream.shared.take_if(|shared| shared.is_closed());
        upstream.shared.clone().map(Open::Shared)
    }

    fn put(&mut self, place: Place, connection: Single) {
        let Some(upstream) = self.upstreams.get_mut(place.0) else { return };
        if upstream.idle.len() < IDLE_CONNECTIONS && !connection.sender.is_closed() {
            upstream.idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Keeps a new connection for all, unless another call was faster.
    fn share(&mut self, place: Place, new: http2::SendRequest<Outgoing>) -> http2::SendRequest<Outgoing> {
        let Some(upstream) = self.upstreams.get_mut(place.0) else { return new };
        upstream.shared.take_if(|shared| shared.is_closed());
        upstream.shared.get_or_insert(new).clone()
    }

    fn drop_unusable(&mut self) {
        for upstream in &mut self.upstreams {
            upstream.idle.retain(Idle::is_usable);
        }
    }

    fn has_idle(&self) -> bool {
        self.upstreams.iter().any(|upstream| !upstream.idle.is_empty())
    }
}

/// Closes connections that nobody has needed for long, until there are none.
async fn look_through(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(LOOK_THROUGH).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut kept = shared.kept();
        kept.drop_unusable();
        if !kept.has_idle() {
            kept.is_looked_through = false;
            return;
        }
    }
}

fn path_of(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// The `host` header for a URI: without the port if that is its scheme's own.
fn host_of(uri: &Uri) -> HeaderValue {
    let host = uri.host().unwrap_or_default();
    let text = match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(80), Some("http")) | (Some(443), Some("https")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    };
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("a URI's host is a header's value too")
}

/// The body of an answer; at its end its connection is free for the next call.
pub(crate) struct Answer {
    body: Incoming,
    /// `None` if its connection is shared, or has gone back.
    lease: Option<Lease>,
}

struct Lease {
    connection: Single,
    place: Place,
    of: Connections,
}

impl Answer {
    fn new(body: Incoming, lease: Lease) -> Self {
        let mut answer = Self { body, lease: Some(lease) };
        if answer.body.is_end_stream() {
            answer.release();
        }
        answer
    }

    fn release(&mut self) {
        if let Some(Lease { connection, place, of }) = self.lease.take() {
            of.give_back(connection, place);
        }
    }
}

impl Drop for Answer {
    /// Many clients hang up at the event that ends a stream for them, just before its end. Whether the connection
    /// can be used again shows when it is looked for.
    fn drop(&mut self) {
        if let Some(Lease { connection, place, of }) = self.lease.take() {
            of.0.kept().put(place, connection);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &next {
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.release(),
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
