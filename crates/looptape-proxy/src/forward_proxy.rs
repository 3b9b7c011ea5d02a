//! A forward proxy in front of another handler: for what a child's HTTP clients ask of hosts to which no base URL
//! leads.
//!
//! Clients that honour `HTTPS_PROXY` ask for a tunnel (`CONNECT host:port`), or send a whole URL. Either nothing is
//! let out and who tried is remembered ([`Beyond::Refused`]), or each call is read and handed over
//! ([`Beyond::Captured`]): the tunnel's end is then here, with a certificate of the run's own authority, and what
//! happens to the call is the other handler's business. In both, requests for this very listener are ordinary
//! requests, whichever way they came.
//!
//! It has no client of its own. It does not see what clients send that do not heed the variables.

mod proxy_user;
mod target;
mod tunnel;

pub use proxy_user::ProxyUser;
pub use target::Target;
pub use tunnel::Opaque;

use crate::certificates::CertificateAuthority;
use crate::egress::EgressBlock;
use crate::reply::{self, Abort, Body};
use crate::server::{Draining, Handler, serve};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tunnel::Tunnel;

/// A handler that knows what to do with calls that were captured on their way to a host.
pub trait Captures: Handler {
    /// A call to `target`; only path and query of the request's own URI count. Who asked for it through the proxy, if
    /// that was said, is in its extensions ([`ProxyUser`]).
    fn captured(
        &self,
        request: Request<Incoming>,
        target: &Target,
    ) -> impl Future<Output = Result<Response<Body>, Abort>> + Send;

    /// A connection to `target` on which something else than HTTP is spoken.
    fn opaque(&self, connection: Opaque, target: &Target) -> impl Future<Output = ()> + Send;

    /// A client broke the handshake off: most likely it does not trust the run's certificate authority.
    fn distrusted(&self, target: &Target, error: &std::io::Error);
}

/// What becomes of calls to other hosts.
#[derive(Clone, Debug)]
pub enum Beyond {
    /// They are refused, and remembered.
    Refused(Arc<EgressBlock>),
    /// They are read; this authority vouches for their hosts.
    Captured(Arc<CertificateAuthority>),
}

/// The handler.
#[derive(Debug)]
pub struct ForwardProxy<H> {
    inner: Arc<H>,
    own: SocketAddr,
    beyond: Beyond,
}

impl<H> ForwardProxy<H> {
    /// In front of `inner`, which is served at `own`.
    pub fn new(inner: Arc<H>, own: SocketAddr, beyond: Beyond) -> Self {
        Self { inner, own, beyond }
    }
}

impl<H: Captures> Handler for ForwardProxy<H> {
    async fn handle(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Abort> {
        // Most requests are for this listener: in a box the others do not make their future larger.
        if request.method() == Method::CONNECT {
            return Ok(self.tunnel(request));
        }
        match Target::of_url(request.uri()) {
            Some(target) if !target.is(self.own) => match &self.beyond {
                Beyond::Refused(block) => Ok(block.refuse(&request)),
                Beyond::Captured(_) => {
                    if let Some(user) = ProxyUser::of(request.headers()) {
                        request.extensions_mut().insert(user);
                    }
                    Box::pin(self.inner.captured(request, &target)).await
                }
            },
            Some(_) | None => self.inner.handle(request).await,
        }
    }

    fn draining(&self) -> Arc<AtomicBool> {
        self.inner.draining()
    }
}

impl<H: Captures> ForwardProxy<H> {
    /// Answers a request for a tunnel. The connection goes on as the tunnel once the answer is sent.
    fn tunnel(&self, mut request: Request<Incoming>) -> Response<Body> {
        let draining: Option<Draining> = request.extensions_mut().remove();
        let (Some(target), Some(draining)) = (Target::of_tunnel(request.uri()), draining) else {
            let message = "CONNECT wants host:port";
            return reply::error(StatusCode::BAD_REQUEST, "invalid_target", message);
        };
        let inner = self.inner.clone();
        if target.is(self.own) {
            spawn(&mut request, move |connection| serve(connection, inner, draining));
            return Response::new(reply::empty());
        }
        match &self.beyond {
            Beyond::Refused(block) => block.refuse(&request),
            Beyond::Captured(authority) => {
                let user = ProxyUser::of(request.headers());
                let tunnel = Tunnel { inner, authority: authority.clone(), target, user, draining };
                spawn(&mut request, move |connection| tunnel.serve(connection));
                Response::new(reply::empty())
            }
        }
    }
}

/// A client's connection, once a tunnel begins on it.
type Connection = TokioIo<upgrade::Upgraded>;

fn spawn<F: Future<Output = ()> + Send + 'static>(
    request: &mut Request<Incoming>,
    serve: impl FnOnce(Connection) -> F + Send + 'static,
) {
    let begun = upgrade::on(request);
    tokio::spawn(async move {
        // A client that has gone meanwhile wants no tunnel.
        if let Ok(connection) = begun.await {
            serve(TokioIo::new(connection)).await;
        }
    });
}
