//! The tape server: answers live requests from a recording.
//!
//! It has no upstream client, so it cannot reach the network, whatever it is asked. What to answer is
//! decided by the pure [`Replayer`]; here the recorded bytes are sent, in the recorded pieces and with the
//! recorded ending. Nothing waits: errors that SDKs retry say "at once", else every replay of a 429 would
//! take its recorded wait again.

use crate::address;
use crate::flush::{BeforeBreak, Flushes};
use crate::guard::Guard;
use crate::reply::{self, Abort, Body, BodyError};
use crate::server::Handler;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use looptape_core::derive;
use looptape_core::exchange::{Answer, Ending, Exchange, Outcome};
use looptape_core::headers::{REDACTED, RedactedHeaders, string_to_latin1};
use looptape_core::provider::Provider;
use looptape_core::redact::{
    Binding, Credentials, Patterns, Surroundings, Vault, VaultKey, redact_body, redact_path,
};
use looptape_core::replay::{Decision, EntryId, LiveRequest, Replayer, Report, SideCall, Summary, refusal};
use looptape_core::wire::{Wire, route};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// The handler.
#[derive(Debug)]
pub struct TapeServer {
    tape: Arc<Mutex<State>>,
    /// Recorded calls by their sequence number.
    recorded: HashMap<u32, Exchange>,
    providers: Vec<Provider>,
    patterns: Arc<Patterns>,
    guard: Guard,
}

#[derive(Debug)]
struct State {
    /// `None` once the replay was ended.
    replayer: Option<Replayer>,
    vault: Vault,
    /// Live secrets for recorded placeholders; in memory only.
    binding: Binding,
    /// Requests that came, refused ones included.
    requests: u64,
}

impl TapeServer {
    /// A server for `recorded`, the calls from which `replayer`'s tape was made. `key` is random: under it
    /// the live requests' secrets are told apart.
    pub fn new(
        replayer: Replayer,
        recorded: Vec<Exchange>,
        patterns: Arc<Patterns>,
        guard: Guard,
        key: [u8; 32],
    ) -> Self {
        let mut providers: Vec<Provider> = recorded.iter().map(|e| e.provider.clone()).collect();
        providers.sort();
        providers.dedup();
        let state = State {
            replayer: Some(replayer),
            vault: Vault::new(VaultKey(key)),
            binding: Binding::default(),
            requests: 0,
        };
        Self {
            tape: Arc::new(Mutex::new(state)),
            recorded: recorded.into_iter().map(|e| (e.seq, e)).collect(),
            providers,
            patterns,
            guard,
        }
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// Ends the replay and sums it up; `None` if that was done before.
    pub fn finish(&self) -> Option<Summary> {
        self.lock().replayer.take().map(Replayer::finish)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.tape)
    }
}

/// Decisions are made one at a time, and never across an await. A panic inside one is a bug that must not
/// take the other requests with it.
fn lock(tape: &Mutex<State>) -> MutexGuard<'_, State> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handler for TapeServer {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Abort> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |p| p.as_str());
        let has_header = |name: &str| head.headers.contains_key(name);
        let address = match address::parse(head.method.as_str(), target, &self.providers, &has_header) {
            Ok(address) => address,
            Err(error) => {
                return Ok(reply::error(StatusCode::BAD_REQUEST, "invalid_trace_id", &error.to_string()));
            }
        };
        if let Err(refusal) = self.guard.check(&head.headers, address.token.as_deref()) {
            return Ok(reply::error(StatusCode::FORBIDDEN, "refused", &refusal.to_string()));
        }
        if reply::wants_websocket(&head.headers) {
            return Ok(reply::upgrade_required());
        }
        let Ok(body) = body.collect().await else {
            return Err(Abort { why: "the client went away while sending".into() });
        };
        let provider = address.provider.unwrap_or(Provider::OPENAI);
        let live = Live {
            method: head.method.as_str(),
            path: &address.path,
            headers: head.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect(),
            body: body.to_bytes(),
            wire: route::identify(&provider, head.method.as_str(), &address.path),
            provider,
        };
        self.answer(&live, head.extensions.get::<Flushes>().cloned())
    }
}

/// A live request, read.
struct Live<'a> {
    provider: Provider,
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a [u8])>,
    body: Bytes,
    wire: Option<Wire>,
}

/// What to do, decided under the lock; done outside it.
enum Plan<'a> {
    Serve { entry: EntryId, recorded: &'a Exchange, binding: Binding },
    SideCall(&'static SideCall),
    Refuse(Box<Report>),
    Over,
}

impl TapeServer {
    fn answer(&self, live: &Live<'_>, flushes: Option<Flushes>) -> Result<Response<Body>, Abort> {
        match self.plan(live) {
            Plan::Serve { entry, recorded, binding } => {
                let served = Serving { tape: self.tape.clone(), entry };
                serve(recorded, &binding, served, flushes)
            }
            Plan::SideCall(call) => Ok(neutral(call)),
            Plan::Refuse(report) => Ok(refuse(live.wire, &report)),
            Plan::Over => {
                Ok(reply::error(StatusCode::UNPROCESSABLE_ENTITY, "replay_over", "the replay has ended"))
            }
        }
    }

    fn plan(&self, live: &Live<'_>) -> Plan<'_> {
        let by_name = RedactedHeaders::redact(live.headers.iter().copied());
        let credentials = Credentials::of_request(live.headers.iter().copied(), live.path);
        let decoded = derive::decode_body(&by_name, &live.body, &[]).bytes;
        let path = redact_path(&self.patterns, &credentials, live.path);

        let mut state = self.lock();
        let state = &mut *state;
        state.requests += 1;
        let clean = redact_body(&self.patterns, &mut state.vault, &credentials, &decoded);
        let clean_body = Bytes::copy_from_slice(&clean.bytes);
        let lineage = || {
            derive::request(&live.provider, live.method, &path, &without_encoding(&by_name), &clean_body)
                .lineage
        };
        let request = LiveRequest {
            wire: live.wire,
            method: live.method,
            path: &path,
            body: &clean_body,
            lineage: &lineage,
        };
        let Some(replayer) = &mut state.replayer else { return Plan::Over };
        match replayer.next(&request) {
            Decision::Serve(served) => {
                let Some(recorded) = self.recorded.get(&served.label.seq) else { return Plan::Over };
                if !clean.spans.is_empty() {
                    let body = derive::decode_body(&recorded.request_headers, &recorded.request_body, &[]);
                    state.binding.extend(Binding::of_request(&body.bytes, &decoded, &clean));
                }
                Plan::Serve { entry: served.entry, recorded, binding: state.binding.clone() }
            }
            Decision::SideCall(call) => Plan::SideCall(call),
            Decision::Diverged(report) => Plan::Refuse(report),
            // Cached replay never decides to go live, and there is nothing here that could.
            Decision::Live => Plan::Over,
        }
    }
}

/// The body is decoded already.
fn without_encoding(headers: &RedactedHeaders) -> RedactedHeaders {
    headers.clone().without(|name| name == "content-encoding")
}

/// Tells the replayer when an answer has been sent, however that ends.
#[derive(Debug)]
struct Serving {
    tape: Arc<Mutex<State>>,
    entry: EntryId,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(replayer) = &mut lock(&self.tape).replayer {
            replayer.finished(self.entry);
        }
    }
}

fn serve(
    recorded: &Exchange,
    binding: &Binding,
    serving: Serving,
    flushes: Option<Flushes>,
) -> Result<Response<Body>, Abort> {
    let Outcome::Answered(answer) = &recorded.outcome else {
        return Err(Abort { why: "the recorded call got no response".into() });
    };
    let (pieces, changed) = pieces(answer, binding);
    let total: u64 = pieces.iter().map(|p| p.len() as u64).sum();
    let whole = answer.ending == Ending::Complete;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    for (name, value) in answer.headers.iter().filter(|(_, value)| *value != REDACTED) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = string_to_latin1(value);
        let value = HeaderValue::from_bytes(&binding.restore(&value, Surroundings::Plain));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    if changed && headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(total));
    }
    if is_retryable(answer.status) {
        headers.insert("retry-after-ms", HeaderValue::from_static("1"));
        if headers.contains_key(header::RETRY_AFTER) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
        }
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let before_break = BeforeBreak::new(flushes);
    let body = RecordedBody { pieces, whole, length, serving: Some(serving), before_break };
    Ok(response.map(|()| body.boxed()))
}

/// The pieces to send, live secrets in the place of their placeholders; whether any changed.
fn pieces(answer: &Answer, binding: &Binding) -> (VecDeque<Bytes>, bool) {
    let mut at = 0;
    let mut pieces: VecDeque<Bytes> = answer
        .chunks
        .iter()
        .map(|chunk| {
            let from = at;
            at = (at + chunk.len as usize).min(answer.body.len());
            answer.body.slice(from..at)
        })
        .filter(|piece| !piece.is_empty())
        .collect();
    if at < answer.body.len() {
        pieces.push_back(answer.body.slice(at..));
    }
    if binding.is_empty() {
        return (pieces, false);
    }
    let mut changed = false;
    for piece in &mut pieces {
        if let std::borrow::Cow::Owned(restored) = binding.restore(piece, Surroundings::Json) {
            changed |= restored != *piece;
            *piece = restored.into();
        }
    }
    (pieces, changed)
}

fn is_retryable(status: u16) -> bool {
    matches!(status, 408 | 409 | 429 | 500..)
}

fn neutral(call: &SideCall) -> Response<Body> {
    let status = StatusCode::from_u16(call.status).unwrap_or(StatusCode::OK);
    reply::full(status, "application/json", call.body)
}

fn refuse(wire: Option<Wire>, report: &Report) -> Response<Body> {
    let (body, content_type) = refusal::error_body(wire, report);
    let status = StatusCode::from_u16(refusal::STATUS).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
    let mut response = reply::full(status, content_type, body);
    for (name, value) in refusal::HEADERS {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    if let Ok(code) = HeaderValue::from_str(&report.code.to_string()) {
        response.headers_mut().insert(refusal::MARKER_HEADER, code);
    }
    response
}

/// A recorded body on its way out.
struct RecordedBody {
    pieces: VecDeque<Bytes>,
    /// Whether it ends as a body ends, or breaks off.
    whole: bool,
    length: Option<u64>,
    /// Dropped just before the client can see the end.
    serving: Option<Serving>,
    /// What came before a break reaches the client before the break does.
    before_break: BeforeBreak,
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = self.pieces.pop_front();
        if self.pieces.is_empty() {
            self.serving = None;
        }
        match next {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.whole => Poll::Ready(None),
            None => {
                ready!(self.before_break.poll(cx));
                self.whole = true;
                Poll::Ready(Some(Err("the recorded answer broke off here".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.whole
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) if self.whole => {
                SizeHint::with_exact(length.min(self.pieces.iter().map(|p| p.len() as u64).sum()))
            }
            _ => SizeHint::default(),
        }
    }
}
