//! Single calls, as they passed: heads, bytes, and the request as a command.

use super::{Asked, Failure};
use crate::page::Shared;
use crate::reading::curl::curl;
use crate::reading::open_trace::OpenTrace;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use looptape_core::derive;
use looptape_core::exchange::{Ending, Exchange, Outcome};
use looptape_core::headers::RedactedHeaders;
use looptape_store::Reader;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A call's heads. Credentials were never stored.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallHead {
    call: u32,
    provider: String,
    method: String,
    path: String,
    /// ms since the Unix epoch.
    sent_unix_ms: f64,
    /// ms since the trace's start.
    sent_ms: f64,
    request: MessageHead,
    /// null: no response head came.
    response: Option<ResponseHead>,
    /// How it ended; null: it has not.
    #[schema(value_type = Option<Object>)]
    ending: Option<Ending>,
    /// When it ended, ms since the trace's start.
    end_ms: Option<f64>,
}

/// Headers and the size of what came after them.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageHead {
    headers: Vec<(String, String)>,
    bytes: usize,
    /// Whether the body is text.
    is_text: bool,
}

/// What came back.
#[derive(Serialize, ToSchema)]
pub(crate) struct ResponseHead {
    status: u16,
    #[serde(flatten)]
    message: MessageHead,
    /// When the head came, ms since the trace's start.
    head_ms: f64,
    /// In how many pieces the body came.
    pieces: usize,
}

/// A call's heads, and how it ended
#[utoipa::path(
    get, path = "/traces/{trace}/calls/{call}",
    params(("trace" = String, Path), ("call" = u32, Path, description = "`call` of an attempt")),
    responses((status = 200, body = CallHead), (status = 404))
)]
pub(crate) async fn head(
    State(shared): State<Shared>,
    Path((trace, call)): Path<(String, u32)>,
) -> Result<Json<CallHead>, Failure> {
    let read = move |reader: &Reader, open: &OpenTrace| Ok(head_of(&exchange(reader, open, call)?));
    shared.read_trace(trace, read).await.map(Json)
}

/// Which part of a body.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct BodyQuery {
    /// The first byte.
    from: usize,
    /// How many bytes; all if it is not said.
    length: Option<usize>,
    /// With the content encoding (gzip, br, …) undone.
    decoded: bool,
}

/// The exact bytes of a call's request or response
#[utoipa::path(
    get, path = "/traces/{trace}/calls/{call}/{which}",
    params(
        ("trace" = String, Path),
        ("call" = u32, Path),
        ("which" = String, Path, description = "request or response"),
        BodyQuery
    ),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 404))
)]
pub(crate) async fn body(
    State(shared): State<Shared>,
    Path((trace, call, which)): Path<(String, u32, String)>,
    Asked(query): Asked<BodyQuery>,
) -> Result<Response<Body>, Failure> {
    let name = format!("call-{call}-{which}");
    let read = move |reader: &Reader, open: &OpenTrace| {
        let exchange = exchange(reader, open, call)?;
        let (headers, body) = match (which.as_str(), exchange.outcome) {
            ("request", _) => (exchange.request_headers, exchange.request_body),
            ("response", Outcome::Answered(answer)) => (answer.headers, answer.body),
            ("response", _) => return Err(Failure::Invalid(format!("call {call} got no response"))),
            (other, _) => {
                return Err(Failure::Invalid(format!("`{other}` is neither request nor response")));
            }
        };
        let body = if query.decoded { derive::decode_body(&headers, &body, &[]).bytes } else { body };
        Ok(part(body, query.from, query.length))
    };
    let bytes = shared.read_trace(trace, read).await?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // A browser that comes here by a link must not show what some provider sent as a page of this origin.
    let attachment = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    headers.extend(attachment.ok().map(|value| (header::CONTENT_DISPOSITION, value)));
    Ok(response)
}

/// A call's request as a command for a shell, with `$API_KEY` in the place of credentials
#[utoipa::path(
    get, path = "/traces/{trace}/calls/{call}/curl",
    params(("trace" = String, Path), ("call" = u32, Path)),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404))
)]
pub(crate) async fn as_curl(
    State(shared): State<Shared>,
    Path((trace, call)): Path<(String, u32)>,
) -> Result<String, Failure> {
    let read = move |reader: &Reader, open: &OpenTrace| {
        let exchange = exchange(reader, open, call)?;
        let asked = open.call(call).and_then(|facts| facts.upstream.as_ref()).map(|asked| asked.url.clone());
        let public = || exchange.provider.default_upstream().map(str::to_owned);
        let base = asked.or_else(public).unwrap_or_else(|| "$BASE_URL".to_owned());
        Ok(curl(&exchange, &base))
    };
    shared.read_trace(trace, read).await
}

fn exchange(reader: &Reader, open: &OpenTrace, call: u32) -> Result<Exchange, Failure> {
    if open.call(call).is_none() {
        return Err(Failure::Invalid(format!("trace {} has no call {call}", open.row().label())));
    }
    Ok(reader.exchange(open.row().key, call)?)
}

fn part(body: Bytes, from: usize, length: Option<usize>) -> Bytes {
    let from = from.min(body.len());
    let end = from.saturating_add(length.unwrap_or(usize::MAX)).min(body.len());
    body.slice(from..end)
}

fn head_of(exchange: &Exchange) -> CallHead {
    let ms = |us: i64| us as f64 / 1000.0;
    let (response, ending, end_us) = match &exchange.outcome {
        Outcome::InFlight => (None, None, None),
        Outcome::NoResponse { end_us, ending } => (None, Some(ending.clone()), Some(*end_us)),
        Outcome::Answered(answer) => {
            let message = message(&answer.headers, &answer.body);
            let (head_ms, pieces) = (ms(answer.head_us), answer.chunks.len());
            let head = ResponseHead { status: answer.status, message, head_ms, pieces };
            (Some(head), Some(answer.ending.clone()), Some(answer.end_us))
        }
    };
    CallHead {
        call: exchange.seq,
        provider: exchange.provider.to_string(),
        method: exchange.method.clone(),
        path: exchange.path.clone(),
        sent_unix_ms: ms(exchange.sent_unix_us),
        sent_ms: ms(exchange.sent_us),
        request: message(&exchange.request_headers, &exchange.request_body),
        response,
        ending,
        end_ms: end_us.map(ms),
    }
}

fn message(headers: &RedactedHeaders, body: &Bytes) -> MessageHead {
    let headers = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    MessageHead { headers: headers.collect(), bytes: body.len(), is_text: std::str::from_utf8(body).is_ok() }
}
