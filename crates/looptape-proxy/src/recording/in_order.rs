//! Several upstreams of one provider: where one fails, the next is asked, and the client sees one answer.
//!
//! Each upstream that is asked is an attempt of its own in the recording, with its URL and, if its host says so, the
//! provider whose it is. A failure that the client did not see is marked as superseded, so that a replay expects
//! none. [`looptape_core::failover`] decides who is asked.
//!
//! What has begun to reach the client is never taken back: an answer that breaks off later is one that broke off. A
//! body that is too large to keep is sent once. The last upstream's failure is passed on as it is.

use super::{Opened, RecordingOptions, RecordingProxy, ending_of, is_hop_by_hop, received};
use crate::address::Address;
use crate::connections::{self, NoAnswer};
use crate::passing_headers::forwarded;
use crate::recording::InFlight;
use crate::reply::{self, Abort, Body};
use crate::upload::{Outgoing, Pieces};
use crate::upstream::Upstream;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Limited};
use hyper::body::Incoming;
use looptape_core::derive::retry_after_ms;
use looptape_core::exchange::{Chunk, Ending};
use looptape_core::failover::{Health, Judged, Standing, judge};
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_store::{CallEnd, Moment};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much of a failure's body is recorded, and how long it may take: it is an error message.
const FAILURE_BYTES: usize = 1 << 20;
const FAILURE_TIME: Duration = Duration::from_secs(5);

/// How well the upstreams are, by provider: of those that have several, or one with a key of its own.
#[derive(Debug)]
pub(super) struct Conditions(BTreeMap<Provider, Condition>);

/// Of one provider's. A std mutex: held for one decision, never across an await.
#[derive(Debug)]
pub(super) struct Condition(Mutex<Health>);

impl Conditions {
    pub(super) fn of(options: &RecordingOptions) -> Self {
        let mut conditions = BTreeMap::new();
        for provider in options.upstreams.stated_providers() {
            let upstreams = options.upstreams.in_order(&provider);
            if upstreams.len() > 1 || upstreams.iter().any(|upstream| upstream.key().is_some()) {
                let health = Health::new(upstreams.len(), options.upstreams.failover.rules);
                conditions.insert(provider, Condition(Mutex::new(health)));
            }
        }
        Self(conditions)
    }

    pub(super) fn of_provider(&self, provider: &Provider) -> Option<&Condition> {
        self.0.get(provider)
    }
}

impl Condition {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call to one upstream, until it is known how that went. Dropped before, it says nothing of the upstream.
struct Asking<'a> {
    /// `None` once it is known.
    condition: Option<&'a Condition>,
    place: usize,
}

impl<'a> Asking<'a> {
    fn begin(condition: &'a Condition, place: usize) -> Self {
        condition.health().asks(place, now_us());
        Self { condition: Some(condition), place }
    }

    /// Says what came of it, and how the upstream stands if that has changed.
    fn heard(mut self, judged: Judged) -> Option<Standing> {
        let mut health = self.condition.take()?.health();
        let now_us = now_us();
        let changed = health.heard(self.place, now_us, judged);
        changed.then(|| health.standing(self.place, now_us))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(condition) = self.condition {
            condition.health().heard(self.place, now_us(), Judged::Unknown);
        }
    }
}

/// Why an upstream's answer is not the client's.
enum Failure {
    Answer(Box<Response<connections::Answer>>),
    None(NoAnswer),
    Silence(Duration),
}

impl RecordingProxy {
    /// Asks the provider's upstreams one after the other until one does not fail.
    pub(super) async fn forward_in_order(
        &self,
        request: Request<Incoming>,
        address: Address,
        provider: Provider,
        condition: &Condition,
    ) -> Result<Response<Body>, Abort> {
        let _in_flight = InFlight::enter(&self.tally);
        let (mut head, body) = request.into_parts();
        let flushes = head.extensions.remove();
        let (kept, outgoing) = received(body, head.extensions.remove()).await?;
        let mut outgoing = Some(outgoing);
        let upstreams = self.options.upstreams.in_order(&provider);
        let mut order = condition.health().order(now_us()).into_iter().peekable();
        while let Some(place) = order.next() {
            let Some(upstream) = upstreams.get(place) else { continue };
            let asking = Asking::begin(condition, place);
            let Ok(uri) = upstream.join(&address.path) else {
                let message = "with the upstream's base URL in front the path is too long";
                return Ok(reply::error(StatusCode::URI_TOO_LONG, "path_too_long", message));
            };
            let whose = upstream.provider_of(&provider);
            let mut opened =
                match self.open(&head, address.clone(), whose, Some(upstream), kept.clone()).await {
                    Ok(opened) => opened,
                    Err(refusal) => return Ok(refusal),
                };
            let body = match &kept {
                Some(body) => Either::Left(body.clone().into()),
                None => outgoing.take().unwrap_or_else(|| Either::Left(Pieces::default())),
            };
            // What cannot be sent again is not.
            let next = order.peek().copied().filter(|_| kept.is_some());
            let limit = self.options.upstreams.failover.answer_within.filter(|_| next.is_some());
            let sent = self.ask(request_for(&head, uri, body, upstream), limit).await;
            let judged = match &sent {
                Ok(response) => judge(response.status().as_u16(), retry_after_ms(&recorded(response))),
                Err(_) => Judged::Failed,
            };
            let standing = asking.heard(judged);
            let failure = match (sent, next) {
                (Ok(response), next) if !judged.is_failure() || next.is_none() => {
                    if let Some(files) = opened.files.take() {
                        Box::pin(files.seen()).await;
                    }
                    return Ok(self
                        .answer(response, opened.ticket, (opened.held, opened.passing), flushes)
                        .await);
                }
                (Err(Failure::None(error)), None) => {
                    opened.hear_nothing(!error.is_connect());
                    return Err(self.no_response(&error, opened.ticket, &upstream.url()));
                }
                (Ok(response), _) => Failure::Answer(Box::new(response)),
                (Err(failure), _) => failure,
            };
            let why = supersede(failure, opened).await;
            let next = next.and_then(|place| upstreams.get(place)).map(Upstream::url).unwrap_or_default();
            self.tally.remark(&format!("{} {why}: {next} was asked instead", upstream.url()));
            if let Some(Standing::Resting { .. }) = standing {
                self.tally.remark(&format!("{} failed too often and was given a rest", upstream.url()));
            }
        }
        Err(Abort { why: format!("no upstream of {provider} was left to ask") })
    }

    async fn ask(
        &self,
        request: Request<Outgoing>,
        limit: Option<Duration>,
    ) -> Result<Response<connections::Answer>, Failure> {
        let sent = self.client.send(request);
        match limit {
            None => sent.await.map_err(Failure::None),
            Some(limit) => match tokio::time::timeout(limit, sent).await {
                Ok(sent) => sent.map_err(Failure::None),
                Err(_) => Err(Failure::Silence(limit)),
            },
        }
    }
}

impl Opened {
    fn hear_nothing(&mut self, was_connected: bool) {
        if let Some(held) = self.held.take() {
            held.unanswered(was_connected);
        }
    }
}

fn request_for(
    head: &http::request::Parts,
    uri: http::Uri,
    body: Outgoing,
    upstream: &Upstream,
) -> Request<Outgoing> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = forwarded(head.headers.clone());
    if let Some(key) = upstream.key() {
        key.put_into(request.headers_mut());
    }
    request
}

fn recorded(response: &Response<connections::Answer>) -> RedactedHeaders {
    let headers = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    RedactedHeaders::redact(headers.filter(|(name, _)| !is_hop_by_hop(name)))
}

/// Records a failure that the client does not see. Says what it was.
async fn supersede(failure: Failure, mut opened: Opened) -> String {
    match failure {
        Failure::None(error) => {
            opened.hear_nothing(!error.is_connect());
            let (ending, what) = ending_of(&error);
            opened
                .ticket
                .finish_superseded(CallEnd::NoResponse { at_mono_us: Moment::mono_us_now(), ending });
            what
        }
        Failure::Silence(limit) => {
            opened.hear_nothing(true);
            let error = format!("no answer within {} s", limit.as_secs_f64());
            let (at_mono_us, ending) =
                (Moment::mono_us_now(), Ending::UpstreamReset { error: error.clone() });
            opened.ticket.finish_superseded(CallEnd::NoResponse { at_mono_us, ending });
            format!("gave {error}")
        }
        Failure::Answer(response) => {
            let what = format!("answered {}", response.status().as_u16());
            supersede_answer(*response, opened).await;
            what
        }
    }
}

async fn supersede_answer(response: Response<connections::Answer>, opened: Opened) {
    let head_mono_us = Moment::mono_us_now();
    let (status, headers) = (response.status().as_u16(), recorded(&response));
    let body = Limited::new(response.into_body(), FAILURE_BYTES).collect();
    let (body, ending, cut) = match tokio::time::timeout(FAILURE_TIME, body).await {
        Ok(Ok(whole)) => (whole.to_bytes(), Ending::Complete, None),
        Ok(Err(error)) => (Bytes::new(), Ending::UpstreamReset { error: error.to_string() }, None),
        Err(_) => {
            let cut = "the body of an upstream's failure did not come to an end: it is missing";
            (Bytes::new(), Ending::Complete, Some(cut.to_owned()))
        }
    };
    if let Some(held) = opened.held {
        let (headers, body, ending) = (headers.clone(), body.clone(), ending.clone());
        held.answered(crate::budgets::Seen { status, headers, body, ending });
    }
    let end_mono_us = Moment::mono_us_now();
    let len = u32::try_from(body.len()).expect("it is limited to a megabyte");
    let chunks = if len == 0 { Vec::new() } else { vec![Chunk { at_us: end_mono_us, len }] };
    opened.ticket.finish_superseded(CallEnd::Answered {
        status,
        headers,
        head_mono_us,
        end_mono_us,
        body: vec![body],
        chunks,
        ending,
        cut,
    });
}

fn now_us() -> u64 {
    Moment::mono_us_now().unsigned_abs()
}
