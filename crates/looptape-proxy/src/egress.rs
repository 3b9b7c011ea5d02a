//! What a replay lets nobody out to, and who tried.
//!
//! A replayed program whose HTTP clients honour `HTTP_PROXY` and its like asks a [`crate::forward_proxy`] for every
//! host that is not loopback, for a tunnel (`CONNECT host:port`) or for a whole URL. What is refused is remembered
//! here. What goes past the proxy variables is not seen.

use crate::reply::{self, Body};
use http::{HeaderValue, Request, Response, StatusCode};
use looptape_core::replay::{DivergenceCode, refusal};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Hosts that were asked for in vain.
#[derive(Debug, Default)]
pub struct EgressBlock {
    /// How often each `host:port` was asked for.
    tried: Mutex<BTreeMap<String, u32>>,
}

impl EgressBlock {
    /// Somebody asked for this `host:port` in vain.
    pub fn note(&self, host: String) {
        // Held to count, never across an await.
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner).entry(host).or_default() += 1;
    }

    /// Refuses a request to a proxy, and remembers what it was for.
    pub(crate) fn refuse<B>(&self, request: &Request<B>) -> Response<Body> {
        let host = wanted(request);
        self.note(host.clone());
        blocked(&host)
    }

    /// The hosts that were asked for, and how often.
    pub fn tried(&self) -> BTreeMap<String, u32> {
        // Held to count, never across an await.
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a client is told whose way out is blocked.
pub(crate) fn blocked(host: &str) -> Response<Body> {
    let message = format!("looptape: {host} is out of reach: this replay blocks egress");
    let code = DivergenceCode::LiveEgressBlocked.as_str();
    let mut response = reply::error(StatusCode::FORBIDDEN, code, &message);
    response.headers_mut().insert(refusal::MARKER_HEADER, HeaderValue::from_static(code));
    response
}

/// The `host:port` that a request to a proxy is for.
fn wanted<B>(request: &Request<B>) -> String {
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
        return host.unwrap_or("an unnamed host").to_owned();
    };
    // Whoever puts a password into a URL does not want it in a report.
    let host = authority.host();
    let port = match (authority.port_u16(), uri.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, _) => 443,
    };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_with_their_port_and_without_passwords() {
        let wanted = |method: &str, uri: &str| {
            wanted(&Request::builder().method(method).uri(uri).header("host", "h").body(()).unwrap())
        };
        assert_eq!(wanted("CONNECT", "api.openai.com:443"), "api.openai.com:443");
        assert_eq!(wanted("POST", "http://me:secret@example.com/v1?key=x"), "example.com:80");
        assert_eq!(wanted("GET", "https://example.com/"), "example.com:443");
        assert_eq!(wanted("CONNECT", "[::1]:8443"), "[::1]:8443");
        assert_eq!(wanted("GET", "/path"), "h");
    }
}
