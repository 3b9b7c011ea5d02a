//! Where a connection to an upstream leads: straight there, or through a proxy that the environment names.
//!
//! `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are read once, as curl reads them. Calls to an
//! https upstream go through a tunnel, others are handed to the proxy whole. No proxy of the environment
//! could reach an upstream on this machine, so there none is used. SOCKS proxies are refused.

use crate::reply::BodyError;
use crate::upstream::is_loopback;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tower_service::Service;

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Route {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<Matcher>,
}

impl Route {
    pub(crate) fn new(tcp: HttpConnector, to_proxy: HttpsConnector<HttpConnector>, proxies: Matcher) -> Self {
        Self { tcp, to_proxy, proxies: Arc::new(proxies) }
    }

    /// What a proxy that is handed the whole request wants to see in it.
    pub(crate) fn credentials_per_request(&self, to: &Uri) -> Option<HeaderValue> {
        let is_plain = to.scheme_str() == Some("http");
        is_plain.then(|| self.proxy(to)).flatten()?.basic_auth().cloned()
    }

    fn proxy(&self, to: &Uri) -> Option<Intercept> {
        if is_loopback(to.host()?) { None } else { self.proxies.intercept(to) }
    }
}

impl Service<Uri> for Route {
    type Response = Link;
    type Error = BodyError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, BodyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        // Neither connector has anything to wait for before it is asked.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Some(proxy) = self.proxy(&to) else {
            let connecting = self.tcp.call(to);
            return Box::pin(async { Ok(Link::straight(MaybeHttpsStream::Http(connecting.await?))) });
        };
        if to.scheme_str() == Some("https") {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            let connecting = tunnel.call(to);
            return Box::pin(async { Ok(Link::straight(connecting.await?)) });
        }
        let connecting = self.to_proxy.call(proxy.uri().clone());
        Box::pin(async { Ok(Link { stream: connecting.await?, speaks_to: Peer::Proxy }) })
    }
}

/// A connection.
pub(crate) struct Link {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    speaks_to: Peer,
}

/// Who reads what is written: a proxy wants the whole URL in each request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Upstream,
    Proxy,
}

impl Link {
    fn straight(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        Self { stream, speaks_to: Peer::Upstream }
    }
}

impl Connection for Link {
    /// Addresses are left out: they would be copied into each answer, and nobody reads them there.
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.speaks_to == Peer::Proxy)
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Link {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
