//! The tape server: answers live requests from a recording.
//!
//! It has no upstream client, so it cannot reach the network, whatever it is asked. What to answer is
//! decided by the pure [`Replayer`]; here the recorded bytes are sent, in the recorded pieces and with the
//! recorded ending, at once or at the recorded pace (`sending`). They are read when they are needed
//! (`recordings`), so a long trace is served without being loaded. An exact repeat of a recorded request is
//! found by the digest of its body alone: nothing is parsed, and no secret is looked for.
//!
//! What the recording has no answer to is refused, or goes to a model, if the server has one. Without one its
//! type says so: [`NoModel`] has no values, so there is nothing that could be asked and no upstream client.

mod captured;
pub mod library;
mod recordings;
mod sending;
mod tools;

pub use recordings::{AtHand, Recordings, Unreadable};
pub use sending::Speed;
pub use tools::{LiveResults, ReadTools, TapedTools};

use crate::address;
use crate::asking;
use crate::child_trace::{ChildCall, ChildTicket, ChildTrace, Likeness};
use crate::control;
use crate::egress::EgressBlock;
use crate::flush::Flushes;
use crate::guard::Guard;
use crate::mcp::real_http::RealHttp;
use crate::mcp::streamable::{HttpServers, Posted};
use crate::mcp::{self, McpDesk};
use crate::model::{Model, ModelCall, NoModel};
use crate::reply::{self, Abort, Body};
use crate::server::Handler;
use crate::tool_calls;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use looptape_core::captured as captured_path;
use looptape_core::exchange::{Answer, Exchange, Outcome};
use looptape_core::headers::RedactedHeaders;
use looptape_core::mcp::ServerName;
use looptape_core::provider::Provider;
use looptape_core::redact::{Binding, Credentials, Patterns, Vault, VaultKey, redact_body, redact_path};
use looptape_core::replay::{
    Decision, EntryId, LiveRequest, Provenance, Replayer, Report, Rung, Served, SideCall, Summary, WhyAsked,
    WhyRefused, refusal,
};
use looptape_core::tools::ToolMessage;
use looptape_core::wire::{Wire, route};
use looptape_core::{Digest, derive};
use looptape_store::Moment;
use sending::Prepared;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The handler.
#[derive(Debug)]
pub struct TapeServer<M = NoModel> {
    tape: Arc<Mutex<State>>,
    recordings: Arc<dyn Recordings>,
    providers: Vec<Provider>,
    patterns: Arc<Patterns>,
    guard: Guard,
    speed: Speed,
    model: Option<M>,
    child: Option<ChildTrace>,
    /// What was asked for past the replay, and not as a call that could be compared.
    beyond: Arc<EgressBlock>,
    /// The recorded MCP servers, if there are any or the agent may have some.
    mcp: Option<McpServers>,
    tools: Option<Arc<TapedTools>>,
}

/// MCP servers, however they are spoken to.
#[derive(Debug)]
struct McpServers {
    desk: McpDesk,
    http: HttpServers,
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
        let providers = recorded.iter().map(|e| e.provider.clone()).collect();
        Self::reading(replayer, Arc::new(AtHand::new(recorded)), providers, patterns, guard, key)
    }

    /// The same for calls of these providers that are read when they are needed.
    pub fn reading(
        replayer: Replayer,
        recordings: Arc<dyn Recordings>,
        mut providers: Vec<Provider>,
        patterns: Arc<Patterns>,
        guard: Guard,
        key: [u8; 32],
    ) -> Self {
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
            recordings,
            providers,
            patterns,
            guard,
            speed: Speed::AtOnce,
            model: None,
            child: None,
            beyond: Arc::default(),
            mcp: None,
            tools: None,
        }
    }

    /// The same with a model to ask where the replayer decides to.
    pub fn asking<M: Model>(self, model: M) -> TapeServer<M> {
        let Self { tape, recordings, providers, patterns, guard, speed, model: _, child, .. } = self;
        let (beyond, mcp, tools, model) = (self.beyond, self.mcp, self.tools, Some(model));
        TapeServer { tape, recordings, providers, patterns, guard, speed, model, child, beyond, mcp, tools }
    }
}

impl<M> TapeServer<M> {
    /// The same, with what happens written down.
    pub fn leaving(self, child: Option<ChildTrace>) -> Self {
        Self { child, ..self }
    }

    /// The same, saying what these tools gave.
    pub fn with_tools(self, tools: Arc<TapedTools>) -> Self {
        Self { tools: Some(tools), ..self }
    }

    /// The same, with recorded time passing at `speed`.
    pub fn at_speed(self, speed: Speed) -> Self {
        Self { speed, mcp: self.mcp.map(|mcp| McpServers::new(mcp.desk.at_speed(speed))), ..self }
    }

    /// The same where nobody speaks to MCP servers.
    pub fn without_mcp(self) -> Self {
        Self { mcp: None, ..self }
    }

    /// The same, answering for MCP servers too.
    pub fn with_mcp(self, desk: McpDesk) -> Self {
        Self { mcp: Some(McpServers::new(desk)), ..self }
    }

    /// The same, reaching these MCP servers over HTTP for tools that run live.
    pub fn reaching(self, http: Option<RealHttp>) -> Self {
        Self { mcp: self.mcp.map(|mcp| McpServers::new(mcp.desk.reaching(http))), ..self }
    }

    /// Whether it reaches MCP servers over HTTP.
    pub fn reaches_servers(&self) -> bool {
        self.mcp.as_ref().is_some_and(|mcp| mcp.desk.reaches_servers())
    }

    /// The same, remembering there what is asked for past the replay.
    pub fn noting(self, beyond: Arc<EgressBlock>) -> Self {
        Self { beyond, ..self }
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// The first recorded bytes that could not be read: a replay that met them proves nothing.
    pub fn trouble(&self) -> Option<String> {
        let unread = || {
            Some(format!("the recorded tool calls cannot be read: {}", self.tools.as_ref()?.report().err()?))
        };
        self.recordings.trouble().or_else(unread)
    }

    /// Ends the replay and sums it up; `None` if that was done before.
    pub fn finish(&self) -> Option<Summary> {
        let mut replayer = self.lock().replayer.take()?;
        if let Some(tools) = &self.tools {
            tools.leave_out_of(&mut replayer);
        }
        let summary = replayer.finish();
        let summary = match self.mcp.as_ref().and_then(|mcp| mcp.desk.finish()) {
            Some(mcp) => summary.with_mcp(mcp),
            None => summary,
        };
        let tools = self.tools.as_ref().and_then(|tools| tools.report().ok());
        Some(summary.with_tools(tools.filter(|report| !report.is_empty())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.tape)
    }
}

impl McpServers {
    fn new(desk: McpDesk) -> Self {
        Self { http: HttpServers::new(desk.clone()), desk }
    }
}

/// Decisions are made one at a time, and never across an await. A panic inside one is a bug that must not
/// take the other requests with it.
fn lock(tape: &Mutex<State>) -> MutexGuard<'_, State> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Model> Handler for TapeServer<M> {
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
        if let (Some(mcp), Some(server)) =
            (&self.mcp, control::own_path(&address.path).and_then(mcp::server_in))
        {
            return Ok(mcp::pipe::serve(&mcp.desk, self.child.as_ref(), &server, request));
        }
        if let Some(tools) = &self.tools
            && control::own_path(&address.path).is_some_and(tool_calls::is_path)
        {
            return Ok(Box::pin(self.tool(tools, request)).await);
        }
        let provider = address.provider.unwrap_or(Provider::OPENAI);
        self.take(request.into_parts(), provider, captured_path::without_slash(&address.path)).await
    }
}

impl<M: Model> TapeServer<M> {
    /// Reads a request to its end, and answers it.
    async fn take(
        &self,
        (head, body): (Parts, Incoming),
        provider: Provider,
        path: &str,
    ) -> Result<Response<Body>, Abort> {
        let Ok(body) = body.collect().await else {
            return Err(Abort { why: "the client went away while sending".into() });
        };
        let body = body.to_bytes();
        if let (Some(mcp), Some(server)) = (&self.mcp, ServerName::of(&provider)) {
            let (method, headers, body) = (&head.method, &head.headers, &body);
            let posted = Posted { server: &server, method, path, headers, body };
            return Box::pin(mcp.http.written_down(posted, self.child.as_ref())).await;
        }
        let wire = route::identify(&provider, head.method.as_str(), path);
        let body = match &self.tools {
            Some(tools) => tools.told(wire, body, &*self.recordings),
            None => body,
        };
        let live = Live {
            method: &head.method,
            path,
            headers: &head.headers,
            body,
            wire,
            provider,
            arrived: Instant::now(),
            at: Moment::now(),
        };
        if let (Some(mcp), Some(_)) = (&self.mcp, live.wire) {
            mcp.desk.model_is_asked();
        }
        self.answer(&live, head.extensions.get::<Flushes>().cloned()).await
    }
}

impl<M> TapeServer<M> {
    /// Says what a tool gave. What is compared with the recording is cleaned as that was.
    async fn tool(&self, tools: &TapedTools, request: Request<Incoming>) -> Response<Body> {
        let at = Moment::now();
        let taken = tool_calls::body(request).await.and_then(|body| {
            let vault = &mut self.lock().vault;
            let clean = redact_body(&self.patterns, vault, &Credentials::none(), &body);
            Ok(ToolMessage::parse(&clean.bytes)?)
        });
        match taken {
            Ok(message) => tool_calls::answer(&tools.take(message, at, self.child.as_ref()).await),
            Err(not_taken) => not_taken.response(),
        }
    }
}

/// A live request, read.
struct Live<'a> {
    provider: Provider,
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
    body: Bytes,
    wire: Option<Wire>,
    arrived: Instant,
    /// The same on the clocks of recordings.
    at: Moment,
}

impl Live<'_> {
    fn as_child_call(&self) -> ChildCall<'_> {
        let Self { provider, method, path, headers, body, at, .. } = self;
        ChildCall { provider, method, path, headers, body, at: *at }
    }
}

/// What to do, decided under the lock; done outside it.
enum Plan {
    Serve(Box<Serve>),
    Ask(WhyAsked),
    SideCall(&'static SideCall),
    Refuse(Box<Report>),
    Over,
}

/// A recorded answer to be served.
struct Serve {
    serving: Serving,
    seq: u32,
    rung: Rung,
    request: RequestLikeness,
    binding: Binding,
}

/// How a live request differs from the recorded one that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestLikeness {
    /// In nothing but its headers.
    SameBytes,
    Other,
}

impl<M: Model> TapeServer<M> {
    async fn answer(&self, live: &Live<'_>, flushes: Option<Flushes>) -> Result<Response<Body>, Abort> {
        match self.plan_repeat(live).unwrap_or_else(|| self.plan(live)) {
            Plan::Serve(serve) => self.serve(live, *serve, flushes).await,
            Plan::Ask(why) => self.ask(live, why, flushes).await,
            Plan::SideCall(call) => Ok(self.own(live, Provenance::SideCall, neutral(call))),
            Plan::Refuse(report) => {
                let from = Provenance::Refused(WhyRefused::Diverged(report.code));
                Ok(self.own(live, from, refuse(live.wire, &report)))
            }
            Plan::Over => Ok(over()),
        }
    }

    /// An answer of looptape's own.
    fn own(&self, live: &Live<'_>, from: Provenance, response: Response<Body>) -> Response<Body> {
        let ticket = self.child.as_ref().map(|child| child.begin(&live.as_child_call(), from));
        watched(ticket, response, Likeness::Other)
    }

    async fn ask(
        &self,
        live: &Live<'_>,
        why: WhyAsked,
        flushes: Option<Flushes>,
    ) -> Result<Response<Body>, Abort> {
        // A replayer that decides to ask was told that there is somebody.
        let Some(model) = &self.model else { return Ok(over()) };
        let call = ModelCall {
            provider: live.provider.clone(),
            method: live.method.clone(),
            path: captured_path::path_at_host(live.path).to_owned(),
            headers: live.headers.clone(),
            body: live.body.clone(),
        };
        asking::ask_for(model, self.child.as_ref(), (call, live.at), why, flushes).await
    }

    /// The plan for a request whose very bytes were recorded. Such a body holds no secret that the
    /// recording does not hold, so there is nothing to look for in it.
    fn plan_repeat(&self, live: &Live<'_>) -> Option<Plan> {
        let body = Digest::of(&live.body);
        let mut state = self.lock();
        let replayer = state.replayer.as_mut()?;
        let served = replayer.repeat(live.method.as_str(), live.path, body)?;
        let same_path = replayer.tape().path(served.entry) == live.path;
        let request = if same_path { RequestLikeness::SameBytes } else { RequestLikeness::Other };
        state.requests += 1;
        Some(self.served(served, request, state.binding.clone()))
    }

    fn plan(&self, live: &Live<'_>) -> Plan {
        let headers = || live.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let by_name = RedactedHeaders::redact(headers());
        let credentials = Credentials::of_request(headers(), live.path);
        let decoded = derive::decode_body(&by_name, &live.body, &[]).bytes;
        let path = redact_path(&self.patterns, &credentials, live.path);

        let mut state = self.lock();
        let state = &mut *state;
        state.requests += 1;
        let clean = redact_body(&self.patterns, &mut state.vault, &credentials, &decoded);
        let clean_body = Bytes::copy_from_slice(&clean.bytes);
        let lineage = || {
            let headers = without_encoding(&by_name);
            derive::request(&live.provider, live.method.as_str(), &path, &headers, &clean_body).lineage
        };
        let request = LiveRequest {
            wire: live.wire,
            method: live.method.as_str(),
            path: &path,
            body: &clean_body,
            lineage: &lineage,
        };
        let Some(replayer) = &mut state.replayer else { return Plan::Over };
        match replayer.next(&request) {
            Decision::Serve(served) => {
                if !clean.spans.is_empty() {
                    let recorded = self.recordings.request_body(served.label.seq);
                    state.binding.extend(Binding::of_request(&recorded, &decoded, &clean));
                }
                self.served(served, RequestLikeness::Other, state.binding.clone())
            }
            Decision::SideCall(call) => Plan::SideCall(call),
            Decision::Diverged(report) => Plan::Refuse(report),
            Decision::Ask(why) => Plan::Ask(why),
        }
    }

    fn served(&self, served: Served, request: RequestLikeness, binding: Binding) -> Plan {
        let serving = Serving { tape: self.tape.clone(), entry: served.entry };
        let (seq, rung) = (served.label.seq, served.rung);
        Plan::Serve(Box::new(Serve { serving, seq, rung, request, binding }))
    }

    /// The answer with live values in the place of recorded ones, if that is wanted and there are any. A
    /// request that was recorded byte for byte gets the recorded bytes.
    fn rebound(&self, answer: &Answer, rung: Rung) -> Option<Answer> {
        if rung == Rung::Bytes {
            return None;
        }
        let rebinding = self.lock().replayer.as_ref()?.rebinding();
        let rebound = rebinding.apply(answer)?;
        self.lock().replayer.as_mut()?.note_rebound(&rebound.places);
        Some(rebound.answer)
    }

    async fn serve(
        &self,
        live: &Live<'_>,
        serve: Serve,
        flushes: Option<Flushes>,
    ) -> Result<Response<Body>, Abort> {
        let Serve { serving, seq, rung, request, binding } = serve;
        let ticket = self.child.as_ref().map(|child| match request {
            RequestLikeness::SameBytes => child.repeat(&live.as_child_call(), seq),
            RequestLikeness::Other => {
                child.begin(&live.as_child_call(), Provenance::Cached { recorded_seq: seq, rung })
            }
        });
        let response = match self.recordings.response(seq) {
            Ok(response) => response,
            Err(unreadable) => {
                let message = format!("the recorded answer cannot be served: {unreadable}");
                return Ok(reply::error(StatusCode::UNPROCESSABLE_ENTITY, "damaged_recording", &message));
            }
        };
        match response.outcome {
            Outcome::Answered(answer) => {
                let rebound = self.rebound(&answer, rung);
                let recorded = rebound.as_ref().unwrap_or(&answer);
                let prepared = Prepared::new(recorded, response.sent_us, &binding);
                let likeness = match binding.is_empty() && rebound.is_none() && !prepared.is_retryable() {
                    true => Likeness::AsRecorded,
                    false => Likeness::Other,
                };
                let response = prepared.send(self.speed, live.arrived, serving, flushes).await;
                Ok(watched(ticket, response, likeness))
            }
            Outcome::NoResponse { end_us, ending } => {
                let recorded_us = end_us - response.sent_us;
                let abort = sending::no_response(self.speed, live.arrived, recorded_us).await;
                if let Some(ticket) = ticket {
                    ticket.no_response(ending);
                }
                Err(abort)
            }
            Outcome::InFlight => Err(Abort { why: "the recorded call has no end".into() }),
        }
    }
}

/// An answer on its way, watched if the replay is written down. (It waits for its own breaks.)
fn watched(ticket: Option<ChildTicket>, response: Response<Body>, likeness: Likeness) -> Response<Body> {
    match ticket {
        Some(ticket) => ticket.watch(response, likeness, None),
        None => response,
    }
}

fn over() -> Response<Body> {
    reply::error(StatusCode::UNPROCESSABLE_ENTITY, "replay_over", "the replay has ended")
}

/// The body is decoded already.
fn without_encoding(headers: &RedactedHeaders) -> RedactedHeaders {
    headers.without(|name| name == "content-encoding")
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
