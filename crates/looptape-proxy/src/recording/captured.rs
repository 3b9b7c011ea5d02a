//! Calls that were captured on their way to a host: forwarded there, or to where `--upstream` sends that provider's
//! calls, and recorded with their whole URL.
//!
//! This is the one place where a request names the host that it is forwarded to. Only the child of a run that was
//! asked to capture its egress is told of the listener, and it could go there by itself.

use super::{Reached, RecordingProxy};
use crate::address::Address;
use crate::forward_proxy::{Captures, Opaque, Target};
use crate::reply::{self, Abort, Body};
use http::{Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use looptape_core::provider_host;

impl Captures for RecordingProxy {
    async fn captured(&self, request: Request<Incoming>, target: &Target) -> Result<Response<Body>, Abort> {
        if reply::wants_websocket(request.headers()) {
            self.tally
                .remark(&format!("a WebSocket to {target} was refused (426): it would not be recorded"));
            return Ok(reply::upgrade_required());
        }
        let path_and_query = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let url = target.url(path_and_query);
        let provider = provider_host::of_host(&target.host());
        let upstream = self.options.upstreams.of_captured(&provider);
        let uri = upstream.map_or_else(|| url.parse::<Uri>(), |upstream| upstream.join(path_and_query));
        let Ok(uri) = uri else {
            let message = "with its host in front the path is too long";
            return Ok(reply::error(StatusCode::URI_TOO_LONG, "path_too_long", message));
        };
        let host =
            request.headers().get(header::HOST).filter(|host| host.as_bytes() != target.host().as_bytes());
        let reached = match upstream {
            Some(upstream) => Reached::Upstream(upstream),
            None => Reached::Host { target, named: host.cloned() },
        };
        let trace = self.options.run.clone();
        let address = Address { token: None, trace, provider: Some(provider.clone()), path: url };
        self.forward(request, address, provider, reached, uri).await
    }

    async fn opaque(&self, mut connection: Opaque, target: &Target) {
        let Ok(to) = target.to_string().parse() else { return };
        self.tally.remark(&format!(
            "something that is not HTTP went to {}: it was passed on, and not recorded",
            target.host_and_port()
        ));
        match self.client.connect(to).await {
            Ok(link) => {
                // However it ends, both sides have seen it.
                let _ = tokio::io::copy_bidirectional(&mut connection, &mut TokioIo::new(link)).await;
            }
            Err(error) => {
                self.tally.remark(&format!("{} cannot be reached: {error}", target.host_and_port()))
            }
        }
    }

    fn distrusted(&self, target: &Target, error: &std::io::Error) {
        self.tally.remark(&format!(
            "a client of {} broke off before it sent anything ({error}): it may not trust the run's certificate \
             (docs/egress.md says how clients are told of it)",
            target.host_and_port()
        ));
    }
}
