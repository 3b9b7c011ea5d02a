//! The recorded MCP servers of a replay, behind a lock.
//!
//! Secrets are taken out of live messages before they are compared, as they were when they were recorded; answers get
//! the live ones back. Who answers a tool call is said by the policies for tools; a server that is asked itself is
//! somebody else's to reach ([`super::pipe`], [`super::real_http`]).

use super::real_http::RealHttp;
use super::recording::Origin;
use crate::tape_server::{Speed, TapedTools};
use bytes::Bytes;
use looptape_core::mcp::drift::Tools;
use looptape_core::mcp::{
    LiveSession, McpReport, McpTape, McpToolCall, Part, Reaction, Recalled, ServerName, What, tool_answer,
    tool_end, tool_refusal,
};
use looptape_core::redact::{
    self, Binding, Credentials, Patterns, Redacted, Surroundings, Vault, VaultKey, redact_body,
};
use looptape_core::replay::Provenance;
use looptape_core::tools::{DenyCode, LiveResult, ServerCall, ServerVerdict, ToolEnd, ToolError, ToolSource};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long an answer waits for the agent's call of its model that came before it when it was recorded.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Recorded servers, for any number of clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct McpDesk {
    state: Arc<Mutex<State>>,
    patterns: Arc<Patterns>,
    pub(super) speed: Speed,
    tools: Option<Arc<TapedTools>>,
    beyond: Beyond,
    /// How HTTP servers are reached, if they may be.
    pub(super) http: Option<Arc<RealHttp>>,
    /// How often the agent has asked its model.
    model_asked: watch::Sender<usize>,
}

/// What becomes of a tool call that the recording does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beyond {
    /// It is refused, whatever its server says of the tool.
    #[default]
    Refused,
    /// The replay goes on past the recording: it runs if its server says that it only reads.
    ReadersRun,
}

#[derive(Debug)]
struct State {
    /// `None` once the replay was ended.
    tape: Option<McpTape>,
    vault: Vault,
    binding: Binding,
}

/// What follows from a message of a client.
#[derive(Debug)]
pub(super) enum Reply {
    /// It is answered.
    React(Box<Reaction>, ToolSource),
    /// The server itself is asked.
    Run(Box<LiveCall>),
}

/// A tool call that runs at its server.
#[derive(Debug)]
pub(super) struct LiveCall {
    /// As the client wrote it.
    pub(super) line: Bytes,
    pub(super) call: McpToolCall,
    result: LiveResult,
    /// What the recording answers, if it does, and how the tool ended then.
    recorded: Option<(Reaction, ToolEnd)>,
}

impl LiveCall {
    /// Whether the agent gets what the server says.
    pub(super) fn is_kept(&self) -> bool {
        self.result != LiveResult::Compared || self.recorded.is_none()
    }

    /// Where its answer comes from.
    pub(super) fn origin(&self) -> Origin {
        match &self.recorded {
            Some((reaction, _)) if !self.is_kept() => {
                Origin { from: reaction.from, tool: ToolSource::Recorded }
            }
            _ => Origin { from: None, tool: ToolSource::Measured },
        }
    }
}

impl Reply {
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::Run(live) => live.origin(),
            Self::React(reaction, source) => {
                let tool = match reaction.from {
                    Some(Provenance::Refused(_)) => ToolSource::Denied,
                    _ => *source,
                };
                Origin { from: reaction.from, tool }
            }
        }
    }
}

impl McpDesk {
    /// `key` is random: under it the live messages' secrets are told apart.
    pub fn new(tape: McpTape, patterns: Arc<Patterns>, key: [u8; 32]) -> Self {
        let (vault, binding) = (Vault::new(VaultKey(key)), Binding::default());
        let state = State { tape: Some(tape), vault, binding };
        Self {
            state: Arc::new(Mutex::new(state)),
            patterns,
            speed: Speed::AtOnce,
            tools: None,
            beyond: Beyond::default(),
            http: None,
            model_asked: watch::Sender::new(0),
        }
    }

    /// The agent asks its model.
    pub(crate) fn model_is_asked(&self) {
        self.model_asked.send_modify(|calls| *calls += 1);
    }

    /// Waits until the agent has asked its model so often. An agent that now asks less often is not kept waiting for ever.
    pub(super) async fn until_model_is_asked(&self, calls: usize) {
        let mut asked = self.model_asked.subscribe();
        // It fails only if the desk is gone, and with it the replay.
        let _ = timeout(LONGEST_WAIT, asked.wait_for(|asked| *asked >= calls)).await;
    }

    /// The same, with recorded time passing at `speed`.
    pub fn at_speed(self, speed: Speed) -> Self {
        Self { speed, ..self }
    }

    /// The same, with tools answered as these policies say.
    pub fn consulting(self, tools: Arc<TapedTools>, beyond: Beyond) -> Self {
        Self { tools: Some(tools), beyond, ..self }
    }

    /// The same, reaching HTTP servers for calls that run.
    pub fn reaching(self, http: Option<RealHttp>) -> Self {
        Self { http: http.map(Arc::new), ..self }
    }

    /// Whether HTTP servers can be reached.
    pub fn reaches_servers(&self) -> bool {
        self.http.is_some()
    }

    /// Ends the replay and sums it up; `None` if that was done before.
    pub fn finish(&self) -> Option<McpReport> {
        let elsewhere = self.tools.as_ref().map(|tools| tools.settled()).unwrap_or_default();
        self.lock().tape.take().map(|tape| tape.finish(&elsewhere))
    }

    /// A client connects; what the server says first. `None` once the replay is over.
    pub(super) fn open(&self, server: &ServerName) -> Option<(LiveSession, Vec<Part>)> {
        self.lock().tape.as_mut().map(|tape| tape.open(server))
    }

    /// A client says something.
    pub(super) fn react(&self, server: &ServerName, session: &LiveSession, message: &[u8]) -> Reply {
        let mut state = self.lock();
        let state = &mut *state;
        let done = |reaction| Reply::React(Box::new(reaction), ToolSource::Recorded);
        let Some(tape) = &mut state.tape else { return done(Reaction::default()) };
        let clean = redact_body(&self.patterns, &mut state.vault, &Credentials::none(), message);
        match self.verdict(tape, server, session, &clean.bytes) {
            None | Some((_, ServerVerdict::Recorded)) => {
                let reaction = tape.react(session, &clean.bytes);
                done(state.restored(reaction, message, &clean))
            }
            Some((call, ServerVerdict::Static(end))) => {
                tape.recall(session, &clean.bytes, Recalled::SetAside);
                let answer = tool_answer(message, &end, tape.hints(server, &call.key.name));
                Reply::React(Box::new(Reaction::own(answer)), ToolSource::Static)
            }
            Some((_, ServerVerdict::Deny(why))) => {
                tape.recall(session, &clean.bytes, Recalled::SetAside);
                let answer = tool_refusal(message, DenyCode::Denied.as_str(), &why);
                Reply::React(Box::new(Reaction::own(answer)), ToolSource::Denied)
            }
            Some((call, ServerVerdict::Run(result))) => {
                let how = match result {
                    LiveResult::Compared => Recalled::Served,
                    LiveResult::Kept => Recalled::SetAside,
                };
                let recorded = tape.recall(session, &clean.bytes, how).map(|reaction| {
                    let end = end_of(reaction.answer());
                    (state.restored(reaction, message, &clean), end)
                });
                let line = Bytes::from([message.trim_ascii(), b"\n"].concat());
                Reply::Run(Box::new(LiveCall { line, call, result, recorded }))
            }
        }
    }

    /// Who answers a message, if it calls a tool.
    fn verdict(
        &self,
        tape: &McpTape,
        server: &ServerName,
        session: &LiveSession,
        message: &[u8],
    ) -> Option<(McpToolCall, ServerVerdict)> {
        let tools = self.tools.as_ref()?;
        let call = McpToolCall::of(message)?;
        let reads_only = self.beyond == Beyond::ReadersRun && tape.hints(server, &call.key.name).reads_only;
        let is_recorded = tape.answers(session, message);
        let asked = ServerCall { server: server.as_str(), call: &call.key, is_recorded, reads_only };
        let verdict = tools.at_server(&asked);
        Some((call, verdict))
    }

    /// A call that ran is over: it is compared, and this is what the client is told.
    pub(super) fn settle(&self, live: LiveCall, said: Result<Bytes, &str>) -> Vec<Part> {
        let end = match &said {
            Ok(line) => {
                let mut state = self.lock();
                let clean = redact_body(&self.patterns, &mut state.vault, &Credentials::none(), line);
                end_of(Some(&Bytes::copy_from_slice(&clean.bytes)))
            }
            Err(why) => gone(why),
        };
        let is_kept = live.is_kept();
        let LiveCall { line, call, recorded, .. } = live;
        let (recorded, recorded_end) = recorded.unzip();
        if let Some(tools) = &self.tools {
            tools.ended_at_server(&call.key, recorded_end, &end);
        }
        match recorded {
            Some(reaction) if !is_kept => reaction.parts,
            _ => {
                let refusal = |why| tool_answer(&line, &gone(why), Default::default());
                Reaction::own(said.map_or_else(refusal, Some)).parts
            }
        }
    }

    /// Whether a client that asks for a server's tools gets the server asked too, since one of them runs live.
    pub(super) fn compares_tools_of(&self, server: &ServerName) -> bool {
        let Some(tools) = &self.tools else { return false };
        let state = self.lock();
        let offers = state.tape.as_ref().and_then(|tape| tape.offers(server));
        let is_live = |tool: &str| tools.policies().is_live_at(server.as_str(), tool);
        offers.is_some_and(|offers| offers.names().any(is_live))
    }

    /// A server itself was asked, and perhaps said what it offers.
    pub(super) fn note_started(&self, server: &ServerName, now: Option<&Tools>) {
        if let Some(tape) = &mut self.lock().tape {
            tape.note_started(server, now);
        }
    }

    /// Held for one decision, never across an await. A panic inside one must not take the other clients with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A recorded answer with the live message's own secrets.
    fn restored(&mut self, mut reaction: Reaction, message: &[u8], clean: &Redacted<'_>) -> Reaction {
        if let Some(recorded) = reaction.recorded.as_ref().filter(|_| !clean.spans.is_empty()) {
            self.binding.extend(Binding::of_request(recorded, message, clean));
        }
        if !self.binding.is_empty() {
            for part in &mut reaction.parts {
                if let What::Answer(text) | What::Stream(text) = &mut part.what {
                    *text = Bytes::from(self.binding.restore(text, Surroundings::Json).into_owned());
                }
            }
        }
        reaction
    }
}

/// How a tool ended, by its server's answer; secrets are placeholders.
fn end_of(answer: Option<&Bytes>) -> ToolEnd {
    tool_end(answer.map(|answer| redact::normalise(answer)).as_deref())
}

fn gone(why: &str) -> ToolEnd {
    let message = format!("the tool runs live in this replay, and its server gave no result: {why}");
    ToolEnd::Aborted { error: ToolError { message: Some(message), ..ToolError::default() } }
}

/// What a part says that belongs to the server's own stream.
pub(super) fn stream(part: Part) -> Option<Bytes> {
    match part.what {
        What::Stream(text) => Some(text),
        What::Answer(_) | What::AwaitClient { .. } | What::AwaitModel { .. } => None,
    }
}
