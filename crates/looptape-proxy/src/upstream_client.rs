//! The client that asks upstreams.
//!
//! An upstream sees the request as it came: the same path and query byte for byte, the same headers, none
//! added but `host`. It follows no redirects, decodes nothing and adds no time limits: those are the
//! agent's. Connections are kept for the next call; [`crate::route`] says where they lead.

use crate::connections::{Answer, Connections, NoAnswer};
use crate::reply::BodyError;
use crate::route::{Link, Route};
use crate::upload::Outgoing;
use http::{Request, Response, Uri, header};
use http_body_util::Either;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service as _;

/// How often a dead peer is asked for a sign of life, and how often in vain before it is given up.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// A peer that acknowledges nothing for this long is gone.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Sends of one request that an HTTP/2 upstream declines without having looked at it.
const DECLINED_SENDS: usize = 2;

/// Why the client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the trusted certificates of this system cannot be loaded")]
pub struct SetupError(#[source] std::io::Error);

/// Asks upstreams. Its connections are shared by all its calls.
pub(crate) struct UpstreamClient {
    connections: Connections,
    route: Route,
}

impl std::fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamClient").finish_non_exhaustive()
    }
}

impl UpstreamClient {
    /// With the proxies of the environment.
    pub(crate) fn new() -> Result<Self, SetupError> {
        Self::through(Matcher::from_system())
    }

    fn through(proxies: Matcher) -> Result<Self, SetupError> {
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = || HttpsConnectorBuilder::new().with_provider_and_platform_verifier(crypto.clone());
        let tls = || tls().map_err(SetupError);
        // A proxy is asked for its tunnel in HTTP/1.1, whatever is spoken through the tunnel.
        let route = Route::new(tcp(), tls()?.https_or_http().enable_http1().wrap_connector(tcp()), proxies);
        let connector = tls()?.https_or_http().enable_all_versions().wrap_connector(route.clone());
        Ok(Self { connections: Connections::new(connector), route })
    }

    /// The same client with connections of its own.
    pub(crate) fn with_own_connections(&self) -> Self {
        Self { connections: self.connections.others(), route: self.route.clone() }
    }

    /// Opens a connection to a host for whatever is spoken there.
    pub(crate) async fn connect(&self, to: Uri) -> Result<Link, BodyError> {
        self.route.clone().call(to).await
    }

    /// Sends a request whose URI is absolute. Dropping the future breaks the call off.
    pub(crate) async fn send(&self, mut request: Request<Outgoing>) -> Result<Response<Answer>, NoAnswer> {
        if let Some(credentials) = self.route.credentials_per_request(request.uri()) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, credentials);
        }
        // Only TLS negotiates HTTP/2.
        let declined_sends = if request.uri().scheme_str() == Some("https") { DECLINED_SENDS } else { 0 };
        for _ in 0..declined_sends {
            let Some(again) = copy(&request) else { break };
            match self.connections.send(std::mem::replace(&mut request, again)).await {
                Err(error) if was_declined(&error) => {}
                answer => return answer,
            }
        }
        self.connections.send(request).await
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}

/// The same request once more, if its body is at hand.
fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let Either::Left(body) = request.body() else { return None };
    let mut copy = Request::new(Either::Left(body.clone()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whether the upstream did not process the request and says so (RFC 9113, 8.7): it closes an idle
/// connection just as the request arrives, or refuses the stream.
fn was_declined(error: &NoAnswer) -> bool {
    let cause = error.source().and_then(std::error::Error::source);
    cause.and_then(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(|h2| {
        let goes_away = h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR);
        let refuses = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        h2.is_remote() && (goes_away || refuses)
    })
}

#[cfg(test)]
mod tests;
