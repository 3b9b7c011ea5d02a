//! Calls that were captured on their way to a host: answered from the recording, or refused and reported. Nothing
//! here reaches the host.

use super::TapeServer;
use crate::egress;
use crate::forward_proxy::{Captures, Opaque, Target};
use crate::model::Model;
use crate::reply::{self, Abort, Body};
use http::{Request, Response};
use hyper::body::Incoming;
use looptape_core::provider_host;

impl<M: Model> Captures for TapeServer<M> {
    async fn captured(&self, request: Request<Incoming>, target: &Target) -> Result<Response<Body>, Abort> {
        if reply::wants_websocket(request.headers()) {
            self.beyond.note(target.host_and_port());
            return Ok(egress::blocked(&target.host_and_port()));
        }
        let (head, body) = request.into_parts();
        let url = target.url(head.uri.path_and_query().map_or("/", |path| path.as_str()));
        self.take((head, body), provider_host::of_host(&target.host()), &url).await
    }

    async fn opaque(&self, _: Opaque, target: &Target) {
        self.beyond.note(target.host_and_port());
    }

    fn distrusted(&self, target: &Target, _: &std::io::Error) {
        self.beyond.note(target.host_and_port());
    }
}
