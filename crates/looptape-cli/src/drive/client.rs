//! One request to a replay's server, and what came back.

use super::{SentBody, is_sent_again};
use bytes::Bytes;
use http_body_util::BodyExt;
use looptape_core::captured;
use looptape_core::exchange::{Answer, Chunk, Ending, Exchange, Outcome};
use looptape_core::headers::{RedactedHeaders, string_to_latin1};
use looptape_core::replay::retry::wait_before_retry;
use std::time::Instant;

/// Sends requests to one server. Times are µs since it was made.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    origin: String,
    started: Instant,
    started_unix_us: i64,
}

/// A request like a recorded one.
#[derive(Debug)]
pub(crate) struct Like<'a> {
    pub(crate) recorded: &'a Exchange,
    /// Its body, without content encoding; `None` if it is the recorded one.
    pub(crate) body: Option<Bytes>,
    /// How often this request was sent before; `None` leaves the recorded count.
    pub(crate) retries: Option<u32>,
}

/// What SDKs count their retries in.
const RETRY_COUNT: &str = "x-stainless-retry-count";

impl Client {
    /// Over `http`, which many clients may share.
    pub(crate) fn new(http: reqwest::Client, origin: String) -> Self {
        let started_unix_us = crate::session::now_unix_us();
        Self { http, origin, started: Instant::now(), started_unix_us }
    }

    /// Connections. Nothing but the replay's own servers is ever asked, so a proxy of the environment is not
    /// either.
    pub(crate) fn connections() -> anyhow::Result<reqwest::Client> {
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Ok(builder.build()?)
    }

    /// µs since this client was made.
    pub(crate) fn now_us(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    pub(crate) fn started_unix_us(&self) -> i64 {
        self.started_unix_us
    }

    /// Sends a request and reads its answer to the end, however that is. Dropping the future breaks the call
    /// off.
    pub(crate) async fn send(&self, like: Like<'_>) -> Exchange {
        let sent_us = self.now_us();
        let Like { recorded, body, retries } = like;
        let sent_body = if body.is_none() { SentBody::AsRecorded } else { SentBody::Another };
        let request_body = body.unwrap_or_else(|| recorded.request_body.clone());
        let outcome = match recorded.method.parse() {
            Ok(method) => {
                let below = format!("{}/{}", self.origin, recorded.provider);
                let url = captured::below(&below, &recorded.path);
                let mut request = self.http.request(method, url).body(request_body.clone());
                for (name, value) in recorded.request_headers.iter() {
                    if let (RETRY_COUNT, Some(retries)) = (name, retries) {
                        request = request.header(name, retries);
                    } else if is_sent_again((name, value), sent_body) {
                        request = request.header(name, string_to_latin1(value));
                    }
                }
                self.outcome(request).await
            }
            Err(_) => self.nothing(Ending::UpstreamUnreachable {
                error: format!("`{}` is no HTTP method", recorded.method),
            }),
        };
        Exchange {
            seq: recorded.seq,
            sent_us,
            sent_unix_us: self.started_unix_us.saturating_add(sent_us),
            provider: recorded.provider.clone(),
            method: recorded.method.clone(),
            path: recorded.path.clone(),
            request_headers: recorded.request_headers.clone(),
            request_body,
            outcome,
        }
    }

    /// Sends a request, and again where it fails in a way that SDKs try again; all attempts.
    pub(crate) async fn send_with_retries(
        &self,
        recorded: &Exchange,
        body: Option<Bytes>,
        max_retries: u32,
    ) -> Vec<Exchange> {
        let mut attempts = Vec::new();
        for retries in 0.. {
            let attempt = self.send(Like { recorded, body: body.clone(), retries: Some(retries) }).await;
            let wait = wait_before_retry(&attempt.outcome, retries, max_retries);
            attempts.push(attempt);
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break,
            }
        }
        attempts
    }

    fn nothing(&self, ending: Ending) -> Outcome {
        Outcome::NoResponse { end_us: self.now_us(), ending }
    }

    async fn outcome(&self, request: reqwest::RequestBuilder) -> Outcome {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return self.nothing(Ending::UpstreamReset { error: error.to_string() }),
        };
        let head_us = self.now_us();
        let status = response.status().as_u16();
        let headers =
            RedactedHeaders::redact(response.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())));
        let mut stream = http::Response::<reqwest::Body>::from(response).into_body();
        let (mut body, mut chunks) = (Vec::new(), Vec::new());
        let ending = loop {
            match stream.frame().await {
                None => break Ending::Complete,
                Some(Err(error)) => break Ending::UpstreamReset { error: error.to_string() },
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) else { continue };
                    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    chunks.push(Chunk { at_us: self.now_us(), len });
                    body.extend_from_slice(data);
                }
            }
        };
        let (body, end_us) = (Bytes::from(body), self.now_us());
        Outcome::Answered(Answer { status, headers, body, chunks, head_us, end_us, ending })
    }
}
