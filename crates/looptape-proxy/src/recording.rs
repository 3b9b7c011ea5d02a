//! The recording proxy: forwards a call, and tells the recorder what passed.
//!
//! What the client and the upstream see is what they would see without it: bodies untouched, streams
//! passed on piece by piece, failures as failures of the connection. If the client disconnects, the call
//! to the upstream is dropped with it and recorded as that.

mod captured;
mod in_order;

use self::in_order::Conditions;
use crate::address::{self, Address};
use crate::admission::{Candidate, HeldCall};
use crate::budgets::SharedBudget;
use crate::connections::{self, NoAnswer};
use crate::control;
use crate::files_at_calls::{FilesAtCalls, Look};
use crate::flush::Flushes;
use crate::forward_proxy::Target;
use crate::guard::Guard;
use crate::mcp::called_tool::Notebook;
use crate::mcp::passing::Passing;
use crate::mcp::{self, recording::Book};
use crate::pages::{self, Pages};
use crate::passing_headers::{forwarded, is_hop_by_hop, is_not_recorded, remove_hop_by_hop};
use crate::reply::{self, Abort, Body};
use crate::server::Handler;
use crate::stated::Stated;
use crate::tee::{Capture, Tee};
use crate::telemetry::Telemetry;
use crate::tool_calls;
use crate::upload::{LastBody, Outgoing, Upload};
use crate::upstream::{Upstream, Upstreams};
use crate::upstream_client::{SetupError, UpstreamClient};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Either};
use hyper::body::Incoming;
use looptape_core::TraceId;
use looptape_core::exchange::Ending;
use looptape_core::headers::RedactedHeaders;
use looptape_core::mcp::ServerName;
use looptape_core::provider::Provider;
use looptape_core::redact::Credentials;
use looptape_core::tools::ToolSource;
use looptape_core::wire::route;
use looptape_store::workspace::Snapshots;
use looptape_store::{BeginCall, CallEnd, CallTicket, Durability, Moment, Recorder, Rope, TraceHint};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Bodies beyond this size pass through without being kept.
pub(crate) const CAPTURE_LIMIT_BYTES: usize = 256 << 20;

/// What the proxy needs to know.
#[derive(Debug)]
pub struct RecordingOptions {
    pub upstreams: Upstreams,
    pub guard: Guard,
    /// The trace of calls that say nothing else: the enclosing run's.
    pub run: Option<TraceId>,
    /// Secrets that the agent may know besides those that its calls carry.
    pub known: Credentials,
    /// What calls may cost; `None`: they pass unasked.
    pub budget: Option<SharedBudget>,
    /// What answers `GET /metrics`.
    pub telemetry: Option<Arc<Telemetry>>,
}

/// The handler.
#[derive(Debug)]
pub struct RecordingProxy {
    options: Arc<RecordingOptions>,
    providers: Arc<[Provider]>,
    client: UpstreamClient,
    recorder: Recorder,
    tally: Arc<Tally>,
    /// From where recorded traces are handed out, if they are.
    database: Option<PathBuf>,
    /// What is kept of the agent's files, if that is.
    files: Option<FilesAtCalls>,
    /// What browsers are served, if anything.
    pages: Option<Arc<dyn Pages>>,
    /// How well the upstreams are of which another can stand in.
    conditions: Arc<Conditions>,
}

/// What has happened so far, for summaries and health checks.
#[derive(Debug, Default)]
pub struct Tally {
    /// Calls that were forwarded.
    pub calls: AtomicU64,
    /// Calls under way.
    pub in_flight: AtomicUsize,
    /// Set when the server drains.
    pub draining: Arc<AtomicBool>,
    /// What whoever started the recording should know, by message.
    remarks: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    /// Upstreams that could not be reached, requests that were refused: message and how often.
    pub fn remarks(&self) -> Vec<(String, u64)> {
        self.remarks.lock().map(|r| r.iter().map(|(m, n)| (m.clone(), *n)).collect()).unwrap_or_default()
    }

    fn remark(&self, message: &str) {
        // Held for one insertion, never across an await.
        if let Ok(mut remarks) = self.remarks.lock() {
            *remarks.entry(message.to_owned()).or_default() += 1;
        }
    }
}

impl RecordingProxy {
    pub fn new(mut options: RecordingOptions, recorder: Recorder) -> Result<Self, SetupError> {
        options.upstreams.secrets().for_each(|secret| options.known.add(secret));
        let providers = options.upstreams.stated_providers().into();
        let conditions = Arc::new(Conditions::of(&options));
        let (options, client) = (Arc::new(options), UpstreamClient::new()?);
        let (tally, database, files, pages) = (Arc::default(), None, None, None);
        Ok(Self { options, providers, client, recorder, tally, database, files, pages, conditions })
    }

    /// The same, handing out recorded traces from this database to whoever may talk to it.
    pub fn handing_out(self, database: PathBuf) -> Self {
        Self { database: Some(database), ..self }
    }

    /// The same, serving these pages below `/ui`.
    pub fn showing(self, pages: Arc<dyn Pages>) -> Self {
        Self { pages: Some(pages), ..self }
    }

    /// The same, looking at the agent's files whenever it asks a model.
    pub fn looking_at(self, files: Snapshots) -> Self {
        Self { files: Some(FilesAtCalls::new(files)), ..self }
    }

    /// The same proxy with connections of its own to the upstreams: for another lane.
    pub fn with_own_connections(&self) -> Self {
        Self {
            options: self.options.clone(),
            providers: self.providers.clone(),
            client: self.client.with_own_connections(),
            recorder: self.recorder.clone(),
            tally: self.tally.clone(),
            database: self.database.clone(),
            files: self.files.clone(),
            pages: self.pages.clone(),
            conditions: self.conditions.clone(),
        }
    }

    pub fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    fn health(&self) -> Response<Body> {
        let draining = self.tally.draining.load(Ordering::Relaxed);
        let (status, word) =
            if draining { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ok") };
        let body = serde_json::json!({
            "status": word,
            "calls": self.tally.calls.load(Ordering::Relaxed),
            "in_flight": self.tally.in_flight.load(Ordering::Relaxed),
            "version": env!("CARGO_PKG_VERSION"),
        });
        reply::full(status, "application/json", body.to_string())
    }
}

impl Handler for RecordingProxy {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<Body>, Abort> {
        if request.uri().path() == "/healthz" {
            return Ok(match self.options.guard.check_sender(request.headers()) {
                Ok(()) => self.health(),
                Err(refusal) => pages::refuse(&refusal),
            });
        }
        let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let has_header = |name: &str| request.headers().contains_key(name);
        let address = match address::parse(request.method().as_str(), target, &self.providers, &has_header) {
            Ok(address) => address,
            Err(error) => {
                return Ok(reply::error(StatusCode::BAD_REQUEST, "invalid_trace_id", &error.to_string()));
            }
        };
        if let Err(refusal) = self.options.guard.check(request.headers(), address.token.as_deref()) {
            return Ok(pages::refuse(&refusal));
        }
        if let Some(pages) = &self.pages
            && address.provider.is_none()
            && pages::is_page(&address.path)
        {
            let answering = pages::answer(&**pages, &address.path, request);
            return Ok(Box::pin(answering).await);
        }
        if let Some(telemetry) = &self.options.telemetry
            && address.provider.is_none()
            && address.path == "/metrics"
            && request.method() == Method::GET
        {
            return Ok(telemetry.scrape(&self.recorder, self.tally.in_flight.load(Ordering::Relaxed)));
        }
        if let Some(own_path) = control::own_path(&address.path) {
            if let Some(server) = mcp::server_in(own_path) {
                return Ok(Box::pin(self.take_mcp(server, address.trace, request)).await);
            }
            if tool_calls::is_path(own_path) {
                return Ok(Box::pin(self.tool(request, address.trace)).await);
            }
            // Most requests are not of these: in a box it does not make their future larger.
            let database = self.database.as_deref();
            return Ok(Box::pin(control::answer(&self.recorder, database, own_path, request)).await);
        }
        if reply::wants_websocket(request.headers()) {
            self.tally
                .remark("a WebSocket was refused (426): it is not recorded, the client has to use HTTP");
            return Ok(reply::upgrade_required());
        }
        if address.leaves_its_base() {
            let message = "a path with `.` or `..` segments could leave the upstream's base URL";
            return Ok(reply::error(StatusCode::BAD_REQUEST, "path_not_allowed", message));
        }
        let Some(provider) = address.provider.clone() else {
            return Ok(unknown_path(&address));
        };
        if let Some(condition) = self.conditions.of_provider(&provider) {
            // Most providers have one upstream: in a box it does not make the future of their calls larger.
            return Box::pin(self.forward_in_order(request, address, provider, condition)).await;
        }
        let Some(upstream) = self.options.upstreams.get(&provider) else {
            let message = format!(
                "no upstream is known for `{provider}`: start looptape with --upstream {provider}=URL"
            );
            return Ok(reply::error(StatusCode::BAD_GATEWAY, "no_upstream", &message));
        };
        let Ok(uri) = upstream.join(&address.path) else {
            let message = "with the upstream's base URL in front the path is too long";
            return Ok(reply::error(StatusCode::URI_TOO_LONG, "path_too_long", message));
        };
        self.forward(request, address, provider, Reached::Upstream(upstream), uri).await
    }

    fn draining(&self) -> Arc<AtomicBool> {
        self.tally.draining.clone()
    }
}

/// Where a call goes.
enum Reached<'a> {
    Upstream(&'a Upstream),
    /// A host that the call itself names, by this `host` header if that says something else than its URL.
    Host {
        target: &'a Target,
        named: Option<HeaderValue>,
    },
}

impl Reached<'_> {
    /// For people.
    fn origin(&self) -> String {
        match self {
            Self::Upstream(upstream) => upstream.url(),
            Self::Host { target, .. } => target.to_string(),
        }
    }
}

impl RecordingProxy {
    /// Writes down what a shim in an MCP server's place sends.
    async fn take_mcp(
        &self,
        server: ServerName,
        in_path: Option<TraceId>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let TraceHint::Named(trace) = self.hint(&Stated::by(request.headers()), in_path) else {
            let message = "say of which trace the conversation is: POST /t/TRACE/_looptape/v1/mcp/SERVER";
            return reply::error(StatusCode::BAD_REQUEST, "no_trace", message);
        };
        let known = self.options.known.clone();
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        mcp::recording::take(Book { recorder: self.recorder.clone(), trace, server, known }, request).await
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        address: Address,
        provider: Provider,
        reached: Reached<'_>,
        uri: Uri,
    ) -> Result<Response<Body>, Abort> {
        let _in_flight = InFlight::enter(&self.tally);
        let (mut head, body) = request.into_parts();
        let (kept, outgoing) = received(body, head.extensions.remove()).await?;
        let Opened { ticket, held, passing, files } =
            match self.open(&head, address, provider, None, kept).await {
                Ok(opened) => opened,
                Err(refusal) => return Ok(refusal),
            };
        let flushes = head.extensions.remove();
        let mut request = Request::new(outgoing);
        *request.method_mut() = head.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = forwarded(head.headers);
        if let Reached::Host { named: Some(host), .. } = &reached {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        match self.client.send(request).await {
            Ok(response) => {
                if let Some(files) = files {
                    // What the agent does with the answer changes them: it gets it when they have been looked at.
                    Box::pin(files.seen()).await;
                }
                Ok(self.answer(response, ticket, (held, passing), flushes).await)
            }
            Err(error) => {
                if let Some(held) = held {
                    held.unanswered(!error.is_connect());
                }
                Err(self.no_response(&error, ticket, &reached.origin()))
            }
        }
    }

    /// Tells the recorder that a call begins, and asks the budget; a call that is over it is refused.
    async fn open(
        &self,
        head: &http::request::Parts,
        address: Address,
        provider: Provider,
        one_of: Option<&Upstream>,
        kept: Option<Rope>,
    ) -> Result<Opened, Response<Body>> {
        let is_kept = kept.is_some();
        let kept = kept.unwrap_or_default();
        let stated = Stated::by(&head.headers);
        let outcome = stated.outcome();
        let files = self
            .files
            .as_ref()
            .filter(|_| route::identify(&provider, head.method.as_str(), &address.path).is_some());
        let begin = self.begin(head, stated, address, provider, kept, Moment::now());
        let passing = self.passing(&begin);
        let candidate = self.options.budget.as_ref().map(|budget| {
            let body = begin.body.to_bytes();
            Candidate::new(budget, head, (&begin.provider, &begin.path, &body), begin.hint.clone())
        });
        let mut ticket = self.recorder.begin(begin);
        if let Some(upstream) = one_of {
            ticket = ticket.at(upstream.url());
        }
        let files = files.map(|files| files.look(&ticket));
        if let Some(outcome) = outcome {
            ticket.state_outcome(outcome);
        }
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        if !is_kept {
            ticket.lacks("a request was larger than looptape keeps (256 MiB): its body is missing");
        }
        let mut held = None;
        if let Some(candidate) = candidate {
            // Most gateways have no budget: in a box it does not make the future of their calls larger.
            let (admitted, its_ticket) = Box::pin(candidate.admit(ticket)).await?;
            (held, ticket) = (Some(admitted), its_ticket);
        }
        Ok(Opened { ticket, held, passing, files })
    }

    fn begin(
        &self,
        head: &http::request::Parts,
        stated: Stated<'_>,
        address: Address,
        provider: Provider,
        body: Rope,
        at: Moment,
    ) -> BeginCall {
        let headers = || head.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
        let mut credentials = Credentials::of_request(headers(), &address.path);
        credentials.extend(&self.options.known);
        BeginCall {
            hint: self.hint(&stated, address.trace),
            at,
            provider,
            method: head.method.as_str().to_owned(),
            path: address.path,
            headers: RedactedHeaders::redact(headers().filter(|(name, _)| !is_not_recorded(name))),
            body,
            loop_hint: stated.of_loop.map(str::to_owned),
            import_index: None,
            labels: stated.labels,
            credentials,
        }
    }

    /// What is watched of a message to an MCP server.
    fn passing(&self, begin: &BeginCall) -> Option<Passing> {
        let server = ServerName::of(&begin.provider)?;
        let notebook = || {
            let TraceHint::Named(trace) = &begin.hint else { return None };
            let (recorder, trace, known) = (self.recorder.clone(), trace.clone(), begin.credentials.clone());
            Some(Notebook { recorder, trace, server, known })
        };
        let message = begin.body.to_bytes();
        Passing::of((&begin.method, &message), begin.at.mono_us, ToolSource::Measured, notebook)
    }

    /// Takes what is said of a tool call.
    async fn tool(&self, request: Request<Incoming>, in_path: Option<TraceId>) -> Response<Body> {
        let at = Moment::now();
        let stated = Stated::by(request.headers());
        let trace = match self.hint(&stated, in_path) {
            TraceHint::Named(id) => Some(id),
            TraceHint::Lineage => None,
        };
        let of = tool_calls::Of { trace, labels: stated.labels, known: self.options.known.clone(), at };
        let taken = tool_calls::body(request).await;
        let taken = taken.and_then(|body| tool_calls::record(&self.recorder, &body, of));
        taken.unwrap_or_else(|not_taken| {
            self.tally.remark(not_taken.remark());
            not_taken.response()
        })
    }

    /// Which trace a call belongs to, by the order of precedence of ARCHITECTURE.md.
    fn hint(&self, stated: &Stated<'_>, in_path: Option<TraceId>) -> TraceHint {
        let parsed = |text: &str| TraceId::parse(text).ok();
        let named = stated
            .trace
            .and_then(parsed)
            .or(in_path)
            .or_else(|| TraceId::from_traceparent(stated.traceparent?))
            .or_else(|| self.options.run.clone())
            .or_else(|| stated.session().and_then(parsed));
        named.map_or(TraceHint::Lineage, TraceHint::Named)
    }

    async fn answer(
        &self,
        response: Response<connections::Answer>,
        ticket: CallTicket,
        (held, passing): (Option<HeldCall>, Option<Passing>),
        flushes: Option<Flushes>,
    ) -> Response<Body> {
        let head_mono_us = Moment::mono_us_now();
        let (mut parts, body) = response.into_parts();
        let headers = parts.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
        let recorded = RedactedHeaders::redact(headers.filter(|(name, _)| !is_hop_by_hop(name)));
        remove_hop_by_hop(&mut parts.headers);
        parts.extensions = http::Extensions::new();
        // The connection to the client has its own version.
        parts.version = http::Version::HTTP_11;
        let in_flight = InFlight::enter(&self.tally);
        let expected = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let status = parts.status.as_u16();
        let capture = Capture::new(ticket, held, status, recorded, head_mono_us, expected).of_mcp(passing);
        let strict = self.recorder.durability() == Durability::Strict;
        if strict && body.is_end_stream() {
            // The head is the end: servers do not ask for such a body at all.
            Box::pin(capture.commit_empty()).await;
            return Response::from_parts(parts, reply::empty());
        }
        let tee = Tee::new(body, capture, expected, in_flight, strict, flushes);
        Response::from_parts(parts, tee.boxed())
    }

    fn no_response(&self, error: &NoAnswer, ticket: CallTicket, origin: &str) -> Abort {
        let (ending, what) = ending_of(error);
        let why = format!("{origin} {what}");
        self.tally.remark(&why);
        ticket.finish(CallEnd::NoResponse { at_mono_us: Moment::mono_us_now(), ending });
        Abort { why }
    }
}

/// A call that the recorder knows of and the budget lets through.
struct Opened {
    ticket: CallTicket,
    held: Option<HeldCall>,
    passing: Option<Passing>,
    files: Option<Look>,
}

/// A request's body: what is kept of it, and what goes on.
async fn received(body: Incoming, last: Option<LastBody>) -> Result<(Option<Rope>, Outgoing), Abort> {
    match Upload::read(body, last).await {
        Upload::Whole(body) => Ok((Some(body.clone()), Either::Left(body.into()))),
        Upload::TooLarge(body) => Ok((None, Either::Right(body))),
        // The client broke off while sending: nothing went upstream, and nobody is there to answer.
        Upload::Broken => Err(Abort { why: "the client went away while sending".into() }),
    }
}

/// How a call ended that has no answer, also for people.
fn ending_of(error: &NoAnswer) -> (Ending, String) {
    let cause = innermost(error);
    match error.is_connect() {
        true => {
            let what = format!("cannot be reached: {cause}");
            (Ending::UpstreamUnreachable { error: cause }, what)
        }
        false => {
            let what = format!("broke the connection before answering: {cause}");
            (Ending::UpstreamReset { error: cause }, what)
        }
    }
}

/// Counts a call as under way for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Tally>);

impl InFlight {
    fn enter(tally: &Arc<Tally>) -> Self {
        tally.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(tally.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unknown_path(address: &Address) -> Response<Body> {
    let message = format!(
        "looptape does not know which provider {} belongs to: put the provider in front of the path, for example /openai/v1 or /anthropic",
        address.path
    );
    reply::error(StatusCode::NOT_FOUND, "unknown_path", &message)
}

/// The most specific message of an error's chain.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
