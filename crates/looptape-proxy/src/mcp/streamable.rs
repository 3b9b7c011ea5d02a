//! A replayed HTTP server: each message is a request, what the server says by itself one long answer.
//!
//! Sessions keep their recorded ids. A client that hangs up ends the answer it waited for, and nothing else.

use super::desk::{McpDesk, stream};
use crate::reply::{self, Abort, Body, BodyError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use looptape_core::headers::RedactedHeaders;
use looptape_core::mcp::{Part, Reaction, SESSION_HEADER, ServerName, What};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Messages that may wait for a client to take them.
const WAITING: usize = 256;

/// The key of a client whose session has no id yet, or never gets one.
const WITHOUT_ID: &str = "";

/// Answers a request to a recorded server.
pub(crate) async fn answer(
    desk: &McpDesk,
    server: &ServerName,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response<Body>, Abort> {
    let id = headers.get(SESSION_HEADER).and_then(|id| id.to_str().ok()).unwrap_or(WITHOUT_ID);
    let key = (server.clone(), id.to_owned());
    match *method {
        Method::POST => say(desk, key, body).await,
        Method::GET => Ok(listen(desk, &key)),
        Method::DELETE => Ok(reply::full(StatusCode::OK, "application/json", "{}")),
        _ => {
            let message = "an MCP server is asked by POST, GET and DELETE";
            Ok(reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message))
        }
    }
}

async fn say(desk: &McpDesk, key: (ServerName, String), body: &Bytes) -> Result<Response<Body>, Abort> {
    let arrived = Instant::now();
    let Some(session) = desk.with_http(&key, true, |http| http.session.clone()) else {
        return Ok(reply::error(StatusCode::UNPROCESSABLE_ENTITY, "replay_over", "the replay has ended"));
    };
    let Reaction { parts, head, end, recorded } = desk.react(&session, body);
    if end.is_some() || (recorded.is_some() && head.is_none() && parts.is_empty()) {
        return Err(Abort { why: "the recorded MCP server broke off here".into() });
    }
    let (answers, by_itself): (Vec<Part>, Vec<Part>) =
        parts.into_iter().partition(|part| matches!(part.what, What::Answer(_)));
    let listener = desk.with_http(&key, false, |http| {
        let said: Vec<Bytes> = by_itself.into_iter().filter_map(stream).collect();
        match &http.listener {
            Some(listener) if !listener.is_closed() => said.into_iter().for_each(|text| {
                // A client that does not take what it asked for misses it.
                let _ = listener.try_send(text);
            }),
            _ => http.backlog.extend(said),
        }
    });
    debug_assert!(listener.is_some(), "the session was opened above");
    let (status, recorded) =
        head.unwrap_or((if answers.is_empty() { 202 } else { 200 }, RedactedHeaders::default()));
    if let Some(given) = recorded.get(SESSION_HEADER).filter(|given| *given != key.1) {
        desk.rename_http(&key.0, &key.1, given);
    }
    let last_us = answers.last().map_or(0, |part| part.after_us);
    let is_stream = recorded.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let body = match is_stream {
        true => paced(desk, answers, arrived),
        false => {
            let wait = desk.speed.scaled(last_us);
            if !wait.is_zero() {
                sleep_until(arrived + wait).await;
            }
            whole(answers)
        }
    };
    Ok(with_head(status, &recorded, body))
}

/// Opens the stream of what the server says by itself.
fn listen(desk: &McpDesk, key: &(ServerName, String)) -> Response<Body> {
    let (say, mut said) = mpsc::channel(WAITING);
    let opened = desk.with_http(key, true, |http| {
        for text in http.backlog.drain(..) {
            // More than fits was never taken by a client either.
            let _ = say.try_send(text);
        }
        http.listener = Some(say);
    });
    if opened.is_none() {
        return reply::error(StatusCode::UNPROCESSABLE_ENTITY, "replay_over", "the replay has ended");
    }
    let (mut sender, body) = Channel::<Bytes, BodyError>::new(WAITING);
    tokio::spawn(async move {
        while let Some(text) = said.recv().await {
            if sender.send_data(event(&text)).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn whole(answers: Vec<Part>) -> Body {
    let texts = answers.into_iter().filter_map(|part| match part.what {
        What::Answer(text) => Some(text),
        What::Stream(_) | What::AwaitClient { .. } => None,
    });
    http_body_util::Full::new(Bytes::from(texts.collect::<Vec<_>>().concat()))
        .map_err(|never| match never {})
        .boxed()
}

fn paced(desk: &McpDesk, answers: Vec<Part>, arrived: Instant) -> Body {
    let (sender, body) = Channel::<Bytes, BodyError>::new(WAITING);
    tokio::spawn(send_events(desk.clone(), answers, arrived, sender));
    body.boxed()
}

async fn send_events(
    desk: McpDesk,
    answers: Vec<Part>,
    arrived: Instant,
    mut sender: Sender<Bytes, BodyError>,
) {
    for part in answers {
        let wait = desk.speed.scaled(part.after_us);
        if !wait.is_zero() {
            sleep_until(arrived + wait).await;
        }
        let What::Answer(text) = part.what else { continue };
        if sender.send_data(event(&text)).await.is_err() {
            return;
        }
    }
}

fn event(message: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(message);
    let data: String = text.trim_end().lines().map(|line| format!("data: {line}\n")).collect();
    Bytes::from(format!("event: message\n{data}\n"))
}

fn with_head(status: u16, recorded: &RedactedHeaders, body: Body) -> Response<Body> {
    /// Others are about the recorded connection or the recorded bytes.
    const KEPT: &[&str] = &["content-type", SESSION_HEADER, "mcp-protocol-version"];
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    for name in KEPT {
        if let Some(value) = recorded.get(name).and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    if !response.headers().contains_key(http::header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}
