//! Requests that say which loop they are of, for `reqwest`.

use crate::connection::LOOPTAPE;
use crate::loops::headers;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Middleware, Next, Result};

/// A middleware for `reqwest_middleware::ClientBuilder`: requests to looptape say which loop and trace they are of,
/// requests to others carry the W3C trace context alone, if they have none of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct InLoop;

#[async_trait::async_trait]
impl Middleware for InLoop {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        if let Some(looptape) = &*LOOPTAPE {
            let is_own = looptape.is_at(request.url());
            for (name, value) in &headers() {
                let is_wanted = is_own || (name == "traceparent" && !request.headers().contains_key(name));
                if is_wanted {
                    request.headers_mut().insert(name, value.clone());
                }
            }
        }
        next.run(request, extensions).await
    }
}
