//! Answers that looptape gives in its own name, and the body type of all its answers.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use looptape_core::replay::refusal;
use looptape_core::wire::Wire;
use std::convert::Infallible;

/// Why a response body breaks off: hyper then closes the connection, as the upstream did.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Any response body.
pub type Body = BoxBody<Bytes, BodyError>;

/// Ends the connection without an answer: what a client sees when there is no server.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Abort {
    pub why: String,
}

/// No bytes.
pub(crate) fn empty() -> Body {
    Full::new(Bytes::new()).map_err(|never: Infallible| match never {}).boxed()
}

/// A response with a whole body.
pub fn full(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response =
        Response::new(Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed());
    *response.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// An error of looptape's own: no SDK retries it.
pub fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "error": { "type": "looptape_error", "code": code, "message": message } });
    let mut response = full(status, "application/json", body.to_string());
    response.headers_mut().insert("x-should-retry", header::HeaderValue::from_static("false"));
    response.headers_mut().insert("x-looptape-error", header::HeaderValue::from_static("1"));
    response
}

/// The same in the client's own wire format; with its body's bytes.
pub(crate) fn own_error(
    wire: Option<Wire>,
    status: StatusCode,
    kind: &str,
    message: &str,
) -> (Response<Body>, Bytes) {
    let message = format!("looptape: {message}");
    let body = Bytes::from(refusal::own_error_body(wire, status.as_u16(), kind, &message));
    let mut response = full(status, "application/json", body.clone());
    response.headers_mut().insert("x-should-retry", header::HeaderValue::from_static("false"));
    response.headers_mut().insert("x-looptape-error", header::HeaderValue::from_static("1"));
    (response, body)
}

/// The answer of a call that is not sent because of a budget.
pub(crate) fn over_budget(wire: Option<Wire>, message: &str) -> (Response<Body>, Bytes) {
    own_error(wire, StatusCode::PAYMENT_REQUIRED, "over_budget", message)
}

/// Whether a request asks for a WebSocket. An offer of HTTP/2 (`h2c`) may be ignored, and is.
pub(crate) fn wants_websocket(headers: &http::HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|u| u.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// A WebSocket upgrade that is not spoken here: clients fall back to HTTP.
pub fn upgrade_required() -> Response<Body> {
    let mut response = error(
        StatusCode::UPGRADE_REQUIRED,
        "websocket_unsupported",
        "looptape speaks HTTP here, not WebSocket: use the HTTP form of this API",
    );
    response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("HTTP/1.1"));
    response
}
