//! Many recordings at one address.
//!
//! A request that names its trace (a `/t/TRACE` prefix, or the header) is answered by that trace's own
//! replay, as `replay TRACE -- CMD` would: each answer once, with everything that matching knows. One that
//! names none is looked for in all recordings by the digest of its bytes, and may come any number of times:
//! calls that were recorded with the same bytes are answered in recorded order, over and over.
//!
//! An exact repeat costs one digest and one look-up in a table that never changes. Nothing is parsed, no
//! secret is looked for and no lock is taken while an answer is sent. Only a request that misses is searched
//! for secrets, and compared with the few recorded ones of its size that hold placeholders.
//!
//! Captured calls are answered the same way: by the trace that the client's proxy settings name as their user, else by
//! their bytes.
//!
//! Answers are read from the database when they are first wanted and kept up to [`KEEP_BYTES`].

use super::recordings::Unreadable;
use super::sending::{self, Prepared};
use super::{Speed, TapeServer, refuse};
use crate::address;
use crate::flush::Flushes;
use crate::guard::Guard;
use crate::passing_headers;
use crate::reply::{self, Abort, Body};
use crate::server::Handler;
use bytes::Bytes;
use catalogue::{Catalogue, Shelved};
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use looptape_core::exchange::Outcome;
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_core::redact::{Binding, Credentials, Patterns, Vault, VaultKey, redact_body, redact_path};
use looptape_core::replay::{Report, Summary};
use looptape_core::wire::route;
use looptape_core::{Digest, TraceId, derive, redact};
use looptape_store::{CallBytes, CallOutline, TraceKey};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;
use tokio::time::Instant;

mod captured;
mod catalogue;

/// Answers kept in memory, in bytes.
const KEEP_BYTES: u64 = 256 << 20;

/// Opens the replay of the trace that a request names; the error is for the client.
pub type OpenTape = Box<dyn Fn(&str) -> Result<TapeServer, String> + Send + Sync>;

/// The handler.
pub struct TapeLibrary {
    catalogue: Catalogue,
    traces: Vec<TraceKey>,
    bytes: Arc<CallBytes>,
    kept_bytes: AtomicU64,
    providers: Vec<Provider>,
    patterns: Arc<Patterns>,
    guard: Guard,
    speed: Speed,
    vault_key: [u8; 32],
    open: Arc<OpenTape>,
    named: Mutex<HashMap<TraceId, Arc<Named>>>,
    tally: Tally,
}

/// The replay of a named trace; opened by its first request.
type Named = OnceCell<Arc<TapeServer>>;

impl std::fmt::Debug for TapeLibrary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TapeLibrary").field("calls", &self.catalogue.calls()).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Tally {
    served: AtomicU64,
    /// Requests that no recording holds, by endpoint.
    missed: Mutex<BTreeMap<String, u64>>,
}

/// What a library answered.
#[derive(Debug)]
pub struct LibraryReport {
    /// Recorded calls that could be asked for by their bytes.
    pub calls: usize,
    /// Requests that named no trace and were answered.
    pub served: u64,
    /// Those that no recording holds, by endpoint.
    pub missed: BTreeMap<String, u64>,
    /// The replays of the traces that were named.
    pub named: Vec<(TraceId, Summary)>,
    /// The first recorded bytes that could not be read.
    pub trouble: Option<String>,
}

/// How a library answers.
pub struct LibraryOptions {
    pub patterns: Arc<Patterns>,
    pub guard: Guard,
    pub speed: Speed,
    /// Random: under it the live requests' secrets are told apart.
    pub vault_key: [u8; 32],
    pub open: OpenTape,
}

impl std::fmt::Debug for LibraryOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LibraryOptions").field("speed", &self.speed).finish_non_exhaustive()
    }
}

impl TapeLibrary {
    /// A library of the calls of these traces, in the order in which equal calls are to be served.
    pub fn new(
        traces: impl IntoIterator<Item = (TraceKey, Vec<CallOutline>)>,
        bytes: Arc<CallBytes>,
        options: LibraryOptions,
    ) -> Self {
        let (traces, outlines): (Vec<TraceKey>, Vec<Vec<CallOutline>>) = traces.into_iter().unzip();
        let (catalogue, providers) = Catalogue::new(outlines);
        Self {
            catalogue,
            traces,
            bytes,
            kept_bytes: AtomicU64::new(0),
            providers,
            patterns: options.patterns,
            guard: options.guard,
            speed: options.speed,
            vault_key: options.vault_key,
            open: Arc::new(options.open),
            named: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// How many calls can be asked for by their bytes.
    pub fn calls(&self) -> usize {
        self.catalogue.calls()
    }

    /// Ends all replays and sums up.
    pub fn finish(&self) -> LibraryReport {
        let mut named: Vec<(TraceId, Summary)> =
            lock(&self.named).drain().filter_map(|(id, tape)| Some((id, tape.get()?.finish()?))).collect();
        named.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        LibraryReport {
            calls: self.catalogue.calls(),
            served: self.tally.served.load(Ordering::Relaxed),
            missed: lock(&self.tally.missed).clone(),
            named,
            trouble: self.bytes.trouble(),
        }
    }
}

/// Held to look something up, never across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By this header a request names its trace.
static TRACE_HEADER: HeaderName = HeaderName::from_static("x-looptape-trace");

impl Handler for TapeLibrary {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Abort> {
        let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let has_header = |name: &str| request.headers().contains_key(name);
        let address = match address::parse(request.method().as_str(), target, &self.providers, &has_header) {
            Ok(address) => address,
            Err(error) => {
                return Ok(reply::error(StatusCode::BAD_REQUEST, "invalid_trace_id", &error.to_string()));
            }
        };
        if let Err(refusal) = self.guard.check(request.headers(), address.token.as_deref()) {
            return Ok(reply::error(StatusCode::FORBIDDEN, "refused", &refusal.to_string()));
        }
        if reply::wants_websocket(request.headers()) {
            return Ok(reply::upgrade_required());
        }
        let by_header = || TraceId::parse(&passing_headers::text(request.headers(), &TRACE_HEADER)?).ok();
        if let Some(own) = address.path.strip_prefix("/_looptape/") {
            return Ok(self.own(request.method(), own));
        }
        match address.trace.clone().or_else(by_header) {
            Some(trace) => self.by_name(trace, request).await,
            None => self.by_bytes(address.provider, &address.path, request).await,
        }
    }
}

impl TapeLibrary {
    /// `POST /_looptape/v1/traces/ID/end` ends the replay of a named trace: its next request begins anew.
    fn own(&self, method: &Method, path: &str) -> Response<Body> {
        let ended = path.strip_prefix("v1/traces/").and_then(|rest| rest.strip_suffix("/end"));
        let Some(id) = ended.and_then(|id| TraceId::parse(id).ok()) else {
            let message = "looptape knows POST /_looptape/v1/traces/<id>/end here";
            return reply::error(StatusCode::NOT_FOUND, "unknown_path", message);
        };
        if method != Method::POST {
            return reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use POST");
        }
        let named = lock(&self.named).remove(&id);
        match named.and_then(|tape| tape.get()?.finish()) {
            Some(summary) => {
                let body = serde_json::json!({ "trace": id, "replay": summary });
                reply::full(StatusCode::OK, "application/json", body.to_string())
            }
            None => {
                let message = format!("no replay of `{id}` is under way");
                reply::error(StatusCode::NOT_FOUND, "not_replayed", &message)
            }
        }
    }

    async fn by_name(&self, id: TraceId, request: Request<Incoming>) -> Result<Response<Body>, Abort> {
        match self.opened(id).await {
            Ok(tape) => tape.handle(request).await,
            Err(message) => Ok(reply::error(StatusCode::NOT_FOUND, "no_such_trace", message.as_str())),
        }
    }

    /// The replay of a trace, begun if this is its first request.
    async fn opened(&self, id: TraceId) -> Result<Arc<TapeServer>, String> {
        let named = lock(&self.named).entry(id.clone()).or_default().clone();
        let open = self.open.clone();
        let opened = named.get_or_try_init(|| async {
            let name = id.to_string();
            let opened = tokio::task::spawn_blocking(move || open(&name)).await;
            opened.unwrap_or_else(|_| Err("opening the trace failed: this is a bug".into())).map(Arc::new)
        });
        opened.await.cloned()
    }

    async fn by_bytes(
        &self,
        provider: Option<Provider>,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Abort> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return Err(Abort { why: "the client went away while sending".into() });
        };
        let body = body.to_bytes();
        let arrived = Instant::now();
        let method = head.method.as_str();
        let exact = Digest::of(&body);
        let mut binding = Binding::default();
        let mut found = self.catalogue.next(method, path, exact);
        if found.is_none() {
            let headers = || head.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
            let by_name = RedactedHeaders::redact(headers());
            let credentials = Credentials::of_request(headers(), path);
            found = self.by_redacted_bytes(method, path, &by_name, &credentials, &body, &mut binding);
        }
        let Some(call) = found else {
            let provider = provider.unwrap_or(Provider::OPENAI);
            let path = path.split('?').next().unwrap_or_default();
            let endpoint = format!("{method} {path}");
            *lock(&self.tally.missed).entry(endpoint.clone()).or_default() += 1;
            let report = Report::not_among(self.catalogue.calls(), endpoint);
            return Ok(refuse(route::identify(&provider, method, path), &report));
        };
        self.tally.served.fetch_add(1, Ordering::Relaxed);
        let flushes = head.extensions.get::<Flushes>().cloned();
        match self.prepared(call, &binding) {
            Ok(Answered::With(answer)) => Ok(answer.send(self.speed, arrived, (), flushes).await),
            Ok(Answered::Not { recorded_us }) => {
                Err(sending::no_response(self.speed, arrived, recorded_us).await)
            }
            Err(unreadable) => {
                let message = format!("the recorded answer cannot be served: {unreadable}");
                Ok(reply::error(StatusCode::UNPROCESSABLE_ENTITY, "damaged_recording", &message))
            }
        }
    }

    /// The call whose request is this one once secrets are placeholders; the live secrets are bound to them.
    fn by_redacted_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &RedactedHeaders,
        credentials: &Credentials,
        body: &Bytes,
        binding: &mut Binding,
    ) -> Option<&Shelved> {
        let decoded = derive::decode_body(headers, body, &[]).bytes;
        let path = redact_path(&self.patterns, credentials, path);
        let mut vault = Vault::new(VaultKey(self.vault_key));
        let clean = redact_body(&self.patterns, &mut vault, credentials, &decoded);
        if clean.spans.is_empty() {
            return self.catalogue.next(method, &path, Digest::of(&decoded));
        }
        let normalised = redact::normalise(&clean.bytes);
        let recorded = |call: &Shelved| self.bytes.request_body(self.traces[call.trace], call.seq);
        let call = self.catalogue.next_with_secrets(method, &path, &normalised, &recorded)?;
        *binding = Binding::of_request(&recorded(call), &decoded, &clean);
        Some(call)
    }

    fn prepared(&self, call: &Shelved, binding: &Binding) -> Result<Answered, Unreadable> {
        if let (Some(kept), true) = (call.kept.get(), binding.is_empty()) {
            return Ok(Answered::With(kept.clone()));
        }
        let response = self.bytes.response(self.traces[call.trace], call.seq);
        let response = response.map_err(|e| Unreadable(e.to_string()))?;
        Ok(match response.outcome {
            Outcome::Answered(answer) => {
                let prepared = Arc::new(Prepared::new(&answer, response.sent_us, binding));
                self.keep(call, &prepared, binding);
                Answered::With(prepared)
            }
            Outcome::NoResponse { end_us, .. } => Answered::Not { recorded_us: end_us - response.sent_us },
            Outcome::InFlight => Answered::Not { recorded_us: 0 },
        })
    }

    /// Keeps what holds no live secret, as long as there is room.
    fn keep(&self, call: &Shelved, prepared: &Arc<Prepared>, binding: &Binding) {
        let size = prepared.size_bytes();
        if binding.is_empty()
            && self.kept_bytes.load(Ordering::Relaxed) + size <= KEEP_BYTES
            && call.kept.set(prepared.clone()).is_ok()
        {
            self.kept_bytes.fetch_add(size, Ordering::Relaxed);
        }
    }
}

enum Answered {
    With(Arc<Prepared>),
    Not { recorded_us: i64 },
}
