//! Calls that come through this address as their client's proxy. Nothing here reaches a host.

use super::{TapeLibrary, lock};
use crate::egress;
use crate::forward_proxy::{Captures, Opaque, ProxyUser, Target};
use crate::reply::{self, Abort, Body};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use looptape_core::{TraceId, provider_host};

impl Captures for TapeLibrary {
    /// `http://TRACE:TOKEN@host:port` as a client's proxy names the trace; the password counts where a token is wanted.
    async fn captured(&self, request: Request<Incoming>, target: &Target) -> Result<Response<Body>, Abort> {
        let user = request.extensions().get::<ProxyUser>().cloned();
        if let Err(refusal) = self.guard.check_token(user.as_ref().map(|user| user.password.as_str())) {
            let message = format!("{refusal}; as a proxy, as its password");
            return Ok(reply::error(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "refused", &message));
        }
        if reply::wants_websocket(request.headers()) {
            self.refused(target);
            return Ok(egress::blocked(&target.host_and_port()));
        }
        match user.map(|user| TraceId::parse(&user.name)) {
            Some(Ok(trace)) => match self.opened(trace).await {
                Ok(tape) => tape.captured(request, target).await,
                Err(message) => Ok(reply::error(StatusCode::NOT_FOUND, "no_such_trace", message.as_str())),
            },
            Some(Err(error)) => {
                Ok(reply::error(StatusCode::BAD_REQUEST, "invalid_trace_id", &error.to_string()))
            }
            None => {
                let url = target.url(request.uri().path_and_query().map_or("/", |path| path.as_str()));
                self.by_bytes(Some(provider_host::of_host(&target.host())), &url, request).await
            }
        }
    }

    async fn opaque(&self, _: Opaque, target: &Target) {
        self.refused(target);
    }

    fn distrusted(&self, target: &Target, _: &std::io::Error) {
        self.refused(target);
    }
}

impl TapeLibrary {
    /// Counts what cannot be answered at all.
    fn refused(&self, target: &Target) {
        *lock(&self.tally.missed).entry(format!("CONNECT {}", target.host_and_port())).or_default() += 1;
    }
}
