//! A replayed HTTP server: each message is a request, what the server says by itself one long answer.
//!
//! Sessions keep their recorded ids. A client that hangs up ends the answer it waited for, and nothing else.

use super::desk::{LiveCall, McpDesk, Reply, stream};
use super::passing::Passing;
use super::real_http::{HttpOpening, Opened, To};
use super::recording::Origin;
use crate::child_trace::{ChildCall, ChildTrace};
use crate::reply::{self, Abort, Body, BodyError};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use looptape_core::exchange::Ending;
use looptape_core::headers::RedactedHeaders;
use looptape_core::mcp::{LiveSession, Message, Part, Reaction, SESSION_HEADER, ServerName, What};
use looptape_store::Moment;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, mpsc};
use tokio::time::{Instant, sleep_until};

/// Messages that may wait for a client to take them.
const WAITING: usize = 256;

/// The key of a client whose session has no id yet, or never gets one.
const WITHOUT_ID: &str = "";

/// The recorded HTTP servers of a replay.
#[derive(Debug)]
pub(crate) struct HttpServers {
    desk: McpDesk,
    /// By server and session id.
    sessions: Mutex<BTreeMap<(ServerName, String), HttpSession>>,
}

#[derive(Debug)]
struct HttpSession {
    session: LiveSession,
    /// What the server said by itself while nobody listened.
    backlog: Vec<Bytes>,
    listener: Option<mpsc::Sender<Bytes>>,
    opening: HttpOpening,
    /// The server itself, once a call ran there.
    real: Arc<OnceCell<Result<Opened, String>>>,
}

/// A request, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posted<'a> {
    pub(crate) server: &'a ServerName,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}

/// What is to be done, and where the answer comes from.
struct Decided {
    origin: Origin,
    what: Decision,
}

enum Decision {
    Ready(Response<Body>),
    Reply(Key, Reply, Instant),
}

impl Decided {
    fn own(response: Response<Body>) -> Self {
        Self { what: Decision::Ready(response), origin: Origin::NOBODY }
    }
}

type Key = (ServerName, String);

impl HttpServers {
    pub(crate) fn new(desk: McpDesk) -> Self {
        Self { desk, sessions: Mutex::default() }
    }

    /// Answers a request to a recorded server, and writes down what was said.
    pub(crate) async fn written_down(
        &self,
        posted: Posted<'_>,
        child: Option<&ChildTrace>,
    ) -> Result<Response<Body>, Abort> {
        let at = Moment::now();
        let decided = self.decide(posted);
        let Some(child) = child else { return self.carry_out(posted, decided.what).await };
        let Posted { server, method, path, headers, body } = posted;
        let provider = server.provider();
        let call = ChildCall { provider: &provider, method, path, headers, body, at };
        // Written down before it is answered: a client may not wait for that.
        let ticket = child.begin(&call, decided.origin.from);
        let notebook = || Some(child.book(server.clone()).notebook());
        let passing = Passing::of((method.as_str(), body), at.mono_us, decided.origin.tool, notebook);
        match self.carry_out(posted, decided.what).await {
            Ok(response) => Ok(ticket.watch_mcp(response, passing)),
            Err(abort) => {
                ticket.no_response(Ending::UpstreamReset { error: abort.why.clone() });
                Err(abort)
            }
        }
    }

    fn decide(&self, posted: Posted<'_>) -> Decided {
        let id = posted.headers.get(SESSION_HEADER).and_then(|id| id.to_str().ok()).unwrap_or(WITHOUT_ID);
        let key = (posted.server.clone(), id.to_owned());
        match *posted.method {
            Method::POST => {
                let opened = self.with(&key, |http| {
                    http.opening.overhear(posted.body, posted.headers);
                    http.session.clone()
                });
                let Some(session) = opened else { return Decided::own(over()) };
                let reply = self.desk.react(posted.server, &session, posted.body);
                Decided { origin: reply.origin(), what: Decision::Reply(key, reply, Instant::now()) }
            }
            Method::GET => Decided::own(self.listen(&key)),
            Method::DELETE => Decided::own(reply::full(StatusCode::OK, "application/json", "{}")),
            _ => {
                let message = "an MCP server is asked by POST, GET and DELETE";
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Decided::own(reply::error(status, "method_not_allowed", message))
            }
        }
    }

    async fn carry_out(&self, posted: Posted<'_>, what: Decision) -> Result<Response<Body>, Abort> {
        let (key, reply, arrived) = match what {
            Decision::Ready(response) => return Ok(response),
            Decision::Reply(key, reply, arrived) => (key, reply, arrived),
        };
        self.compare_tools(&key, posted).await;
        let reaction = match reply {
            Reply::React(reaction, _) => *reaction,
            Reply::Run(live) => self.run(&key, posted, *live).await,
        };
        self.respond(key, reaction, arrived).await
    }

    /// A client that asks for the tools of a server of which one runs live: the server is asked too.
    async fn compare_tools(&self, key: &Key, posted: Posted<'_>) {
        let lists =
            matches!(Message::read(posted.body), Message::Request { method, .. } if method == "tools/list");
        if lists && self.desk.compares_tools_of(posted.server) {
            // Why it cannot be asked is said when a tool of its is to run.
            let _ = self.open(key, posted).await;
        }
    }

    /// Opens the conversation with the server itself, once.
    async fn open(&self, key: &Key, posted: Posted<'_>) -> Result<Opened, String> {
        let http = self.desk.http.as_ref().ok_or("this replay reaches no HTTP servers")?;
        let known = self.with(key, |http| (http.real.clone(), http.opening.clone()));
        let Some((real, opening)) = known else { return Err("the replay has ended".to_owned()) };
        let open = || http.open(&self.desk, to(posted), &opening);
        real.get_or_init(open).await.clone()
    }

    /// A call runs at the server itself; what the client is told.
    async fn run(&self, key: &Key, posted: Posted<'_>, live: LiveCall) -> Reaction {
        let answer = match (self.open(key, posted).await, &self.desk.http) {
            (Ok(opened), Some(http)) => http.call(to(posted), &opened, &live.line).await,
            (Err(why), _) => Err(why),
            (Ok(_), None) => Err("this replay reaches no HTTP servers".to_owned()),
        };
        if live.call.id.is_none() {
            return Reaction::default();
        }
        let said = match &answer {
            Ok(line) => Ok(line.clone()),
            Err(why) => Err(why.as_str()),
        };
        let parts = self.desk.settle(live, said);
        // Progress before a recorded answer needs a stream.
        let head = (parts.len() > 1)
            .then(|| (200, RedactedHeaders::redact([("content-type", &b"text/event-stream"[..])])));
        Reaction { parts, head, ..Reaction::default() }
    }

    async fn respond(&self, key: Key, reaction: Reaction, arrived: Instant) -> Result<Response<Body>, Abort> {
        let last = Last::of(&reaction);
        let Reaction { parts, head, end, recorded, .. } = reaction;
        if end.is_some() || (recorded.is_some() && head.is_none() && parts.is_empty()) {
            if last == Last::Wait {
                // It never answered. A client that has enough of waiting ends this.
                std::future::pending::<()>().await;
            }
            return Err(Abort { why: "the recorded MCP server broke off here".into() });
        }
        let first = parts.iter().take_while(|part| !matches!(part.what, What::Answer(_)));
        for part in first {
            if let What::AwaitModel { calls } = part.what {
                self.desk.until_model_is_asked(calls).await;
            }
        }
        let (answers, by_itself): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| matches!(part.what, What::Answer(_)));
        self.with(&key, |http| http.hear(by_itself.into_iter().filter_map(stream)));
        let (status, recorded) =
            head.unwrap_or((if answers.is_empty() { 202 } else { 200 }, RedactedHeaders::default()));
        if let Some(given) = recorded.get(SESSION_HEADER).filter(|given| *given != key.1) {
            self.rename(&key, given);
        }
        let last_us = answers.last().map_or(0, |part| part.after_us);
        let is_stream =
            recorded.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let form = if is_stream { Form::Events } else { Form::Whole };
        let body = match (form, last) {
            (Form::Whole, Last::End) => {
                let wait = self.desk.speed.scaled(last_us);
                if !wait.is_zero() {
                    sleep_until(arrived + wait).await;
                }
                whole(answers)
            }
            (form, last) => paced(&self.desk, answers, arrived, (form, last)),
        };
        Ok(with_head(status, &recorded, body))
    }

    /// Opens the stream of what the server says by itself.
    fn listen(&self, key: &Key) -> Response<Body> {
        let (say, mut said) = mpsc::channel(WAITING);
        let opened = self.with(key, |http| {
            for text in http.backlog.drain(..) {
                // More than fits was never taken by a client either.
                let _ = say.try_send(text);
            }
            http.listener = Some(say);
        });
        if opened.is_none() {
            return over();
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
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        response
    }

    /// Does something with the state of a client, which connects if it is new. `None` once the replay is over.
    fn with<T>(&self, key: &Key, then: impl FnOnce(&mut HttpSession) -> T) -> Option<T> {
        let mut sessions = self.sessions();
        if !sessions.contains_key(key) {
            let (session, parts) = self.desk.open(&key.0)?;
            let backlog = parts.into_iter().filter_map(stream).collect();
            let (opening, real) = (HttpOpening::default(), Arc::default());
            sessions.insert(key.clone(), HttpSession { session, backlog, listener: None, opening, real });
        }
        sessions.get_mut(key).map(then)
    }

    /// A client whose session got another id.
    fn rename(&self, from: &Key, to: &str) {
        let mut sessions = self.sessions();
        if let Some(session) = sessions.remove(from) {
            sessions.insert((from.0.clone(), to.to_owned()), session);
        }
    }

    /// Held for one decision, never across an await.
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<Key, HttpSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpSession {
    /// The server says something by itself.
    fn hear(&mut self, said: impl Iterator<Item = Bytes>) {
        match &self.listener {
            Some(listener) if !listener.is_closed() => said.for_each(|text| {
                // A client that does not take what it asked for misses it.
                let _ = listener.try_send(text);
            }),
            _ => self.backlog.extend(said),
        }
    }
}

fn to(posted: Posted<'_>) -> To<'_> {
    To { server: posted.server, path: posted.path, headers: posted.headers }
}

fn over() -> Response<Body> {
    reply::error(StatusCode::UNPROCESSABLE_ENTITY, "replay_over", "the replay has ended")
}

fn whole(answers: Vec<Part>) -> Body {
    let texts = answers.into_iter().filter_map(|part| match part.what {
        What::Answer(text) => Some(text),
        What::Stream(_) | What::AwaitClient { .. } | What::AwaitModel { .. } => None,
    });
    http_body_util::Full::new(Bytes::from(texts.collect::<Vec<_>>().concat()))
        .map_err(|never| match never {})
        .boxed()
}

/// How messages stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Events,
    Whole,
}

/// What comes after the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    End,
    /// The connection breaks.
    Break,
    /// Nothing, for as long as the client waits: it waited in vain when this was recorded.
    Wait,
}

impl Last {
    fn of(reaction: &Reaction) -> Self {
        match &reaction.ending {
            Some(Ending::ClientGone) if reaction.answer().is_none() => Self::Wait,
            Some(Ending::UpstreamReset { .. } | Ending::UpstreamUnreachable { .. }) => Self::Break,
            Some(Ending::ClientGone | Ending::Complete) | None => Self::End,
        }
    }
}

fn paced(desk: &McpDesk, answers: Vec<Part>, arrived: Instant, how: (Form, Last)) -> Body {
    let (sender, body) = Channel::<Bytes, BodyError>::new(WAITING);
    tokio::spawn(send(desk.clone(), answers, arrived, how, sender));
    body.boxed()
}

async fn send(
    desk: McpDesk,
    answers: Vec<Part>,
    arrived: Instant,
    (form, last): (Form, Last),
    mut sender: Sender<Bytes, BodyError>,
) {
    for part in answers {
        let wait = desk.speed.scaled(part.after_us);
        if !wait.is_zero() {
            sleep_until(arrived + wait).await;
        }
        let What::Answer(text) = part.what else { continue };
        let piece = if form == Form::Events { event(&text) } else { text };
        if sender.send_data(piece).await.is_err() {
            return;
        }
    }
    match last {
        Last::End => {}
        Last::Break => sender.abort("the recorded MCP server broke off here".into()),
        // The runtime that this waits in ends with the replay.
        Last::Wait => std::future::pending().await,
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
