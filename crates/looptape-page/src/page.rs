//! The page as a service: the document, its assets, and the API beneath them, all below `/ui`.
//!
//! It only reads. Requests that do more need the [`WriteToken`], which is printed in the terminal and nowhere else.

use crate::api::{self, Failure};
use crate::assets;
use crate::opened::Opened;
use crate::readers::Readers;
use crate::replays::{Replays, RunsReplays};
use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::middleware::map_response;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Collected};
use looptape_core::cost::PriceBook;
use looptape_core::gates::Conditions;
use looptape_core::replay::MaskKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tower_service::Service;

/// In which header a request presents the token.
pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-looptape-page-token");

/// What has to be presented to do more than read.
#[derive(Clone)]
pub struct WriteToken(Arc<str>);

impl WriteToken {
    /// From words that nobody can guess.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl std::fmt::Debug for WriteToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteToken")
    }
}

/// What the user's configuration says of what is shown.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub prices: PriceBook,
    /// What figures must hold.
    pub conditions: Conditions,
    /// Kinds of volatile values that a comparison does not tolerate.
    pub not_masked: Vec<MaskKind>,
}

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) readers: Arc<Readers>,
    pub(crate) opened: Arc<Opened>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) token: Option<WriteToken>,
    /// Where replays can be started.
    pub(crate) replays: Option<Arc<Replays>>,
}

/// What a page may do beyond reading, and what has to be presented for it.
#[derive(Debug)]
pub struct Writing {
    pub token: WriteToken,
    pub replays: Arc<dyn RunsReplays>,
}

/// The page. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Page {
    router: Router,
    replays: Option<Arc<Replays>>,
}

impl Page {
    /// The page of a database, which need not be there yet. Where nothing is said of writing it only reads.
    pub fn new(database: PathBuf, rules: Rules, writing: Option<Writing>) -> Self {
        let readers = Arc::new(Readers::new(database, rules.prices.clone()));
        let (token, replays) = match writing {
            Some(Writing { token, replays }) => (Some(token), Some(Arc::new(Replays::new(replays)))),
            None => (None, None),
        };
        let (rules, opened) = (Arc::new(rules), Arc::default());
        let router = Self::router(Shared { readers, opened, rules, token, replays: replays.clone() });
        Self { router, replays }
    }

    /// Ends what the page started: replays that run are told to stop, and are waited for until each has written down how
    /// it ended, for no longer than `limit`. How many did not.
    pub async fn finish(&self, limit: Duration) -> usize {
        match &self.replays {
            Some(replays) => replays.finish(limit).await,
            None => 0,
        }
    }

    /// Answers a request for a path below `/ui`. Answers are whole: nothing here streams.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Bytes>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let Ok(response) = self.router.clone().call(request.map(Body::new)).await;
        let (head, body) = response.into_parts();
        // What handlers answer is in memory: its end cannot fail to come.
        let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        Response::from_parts(head, body)
    }

    fn router(shared: Shared) -> Router {
        Router::new()
            .nest("/ui/api", api::router(shared))
            .route(
                "/ui/assets/page.js",
                get(async || asset("text/javascript; charset=utf-8", &assets::SCRIPT)),
            )
            .route("/ui/assets/page.css", get(async || asset("text/css; charset=utf-8", &assets::STYLE)))
            .route("/ui/assets/{*other}", get(async || StatusCode::NOT_FOUND))
            .route("/ui", get(document))
            .route("/ui/", get(document))
            .route("/ui/{*place}", get(document))
            .layer(map_response(guarded))
    }
}

fn asset(kind: &'static str, content: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(content.as_bytes())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Which view a place means, the browser decides.
async fn document(uri: Uri) -> Response<Body> {
    if uri.path().starts_with("/ui/api/") {
        return Failure::UnknownPath.into_response();
    }
    let mut response = Response::new(Body::from(assets::document(uri.path())));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What a browser is told about every answer: nothing is to be guessed, framed, passed on or fetched from elsewhere.
async fn guarded(mut response: Response<Body>) -> Response<Body> {
    const RULES: [(HeaderName, &str); 6] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in RULES {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Proof that a request presents the token: a handler that takes one cannot be called without.
#[derive(Debug)]
pub(crate) struct MayWrite;

impl FromRequestParts<Shared> for MayWrite {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Response<Body>> {
        let given = parts.headers.get(&TOKEN_HEADER).map(HeaderValue::as_bytes);
        match (&shared.token, given) {
            (Some(token), Some(given)) if token.is(given) => Ok(Self),
            (Some(_), _) => Err(Failure::TokenMissing.into_response()),
            (None, _) => Err(Failure::ReadOnly.into_response()),
        }
    }
}
