//! Pages: what is served to browsers below `/ui`, by somebody who is handed in.
//!
//! Who may ask is checked here as for everything else ([`crate::guard`]); what is answered is not known here. Pages are
//! asked without the token that may stand in front of their path. Nothing of them is recorded or forwarded.

use crate::address;
use crate::guard::{Guard, Refusal};
use crate::reply::{self, Abort, Body};
use crate::server::Handler;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
pub use hyper::body::Incoming;
use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

/// Answers requests below `/ui`, each answer whole.
pub trait Pages: Debug + Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>>;
}

/// Whether a path, without the token in front of it, is one of the pages'.
pub(crate) fn is_page(path: &str) -> bool {
    path.strip_prefix("/ui").is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// Asks the pages for a path of theirs.
pub(crate) async fn answer(pages: &dyn Pages, path: &str, mut request: Request<Incoming>) -> Response<Body> {
    // The path was one before its token was taken off.
    if let Ok(path) = PathAndQuery::try_from(path) {
        *request.uri_mut() = Uri::from(path);
    }
    let answer = pages.answer(request).await;
    answer.map(|body| Full::new(body).map_err(|never: Infallible| match never {}).boxed())
}

/// What a refused request is told.
pub(crate) fn refuse(refusal: &Refusal) -> Response<Body> {
    let status = match refusal {
        Refusal::Token => StatusCode::UNAUTHORIZED,
        Refusal::Host { .. } | Refusal::Origin { .. } => StatusCode::FORBIDDEN,
    };
    reply::error(status, "refused", &refusal.to_string())
}

/// A listener that serves pages and nothing else.
#[derive(Debug)]
pub struct PageServer {
    pages: Arc<dyn Pages>,
    guard: Guard,
}

impl PageServer {
    pub fn new(pages: Arc<dyn Pages>, guard: Guard) -> Self {
        Self { pages, guard }
    }
}

impl Handler for PageServer {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Abort> {
        let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let (token, path) = address::without_token(target);
        if let Err(refusal) = self.guard.check(request.headers(), token.as_deref()) {
            return Ok(refuse(&refusal));
        }
        if is_page(&path) {
            return Ok(answer(&*self.pages, &path, request).await);
        }
        if path == "/" {
            let mut there = reply::full(StatusCode::FOUND, "text/plain", "the page is at /ui\n");
            let place = token.map_or("/ui".to_owned(), |token| format!("/k/{token}/ui"));
            there
                .headers_mut()
                .extend(HeaderValue::try_from(place).ok().map(|place| (header::LOCATION, place)));
            return Ok(there);
        }
        Ok(reply::error(StatusCode::NOT_FOUND, "unknown_path", "the page is at /ui"))
    }
}

#[cfg(test)]
mod tests {
    use super::is_page;

    #[test]
    fn which_paths_are_pages() {
        for path in ["/ui", "/ui/", "/ui?x=1", "/ui/trace/last?step=3"] {
            assert!(is_page(path), "{path}");
        }
        for path in ["/", "/uid", "/v1/ui", "/openai/ui"] {
            assert!(!is_page(path), "{path}");
        }
    }
}
