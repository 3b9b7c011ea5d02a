//! The recorded MCP servers of a replay, behind a lock.
//!
//! Secrets are taken out of live messages before they are compared, as they were when they were recorded; answers get
//! the live ones back.

use crate::tape_server::Speed;
use bytes::Bytes;
use looptape_core::mcp::{LiveSession, McpReport, McpTape, Part, Reaction, ServerName, What};
use looptape_core::redact::{Binding, Credentials, Patterns, Surroundings, Vault, VaultKey, redact_body};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Recorded servers, for any number of clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct McpDesk {
    state: Arc<Mutex<State>>,
    patterns: Arc<Patterns>,
    pub(super) speed: Speed,
}

#[derive(Debug)]
struct State {
    /// `None` once the replay was ended.
    tape: Option<McpTape>,
    vault: Vault,
    binding: Binding,
    /// Clients over HTTP, by server and session id.
    http: BTreeMap<(ServerName, String), HttpSession>,
}

#[derive(Debug)]
pub(super) struct HttpSession {
    pub(super) session: LiveSession,
    /// What the server said by itself while nobody listened.
    pub(super) backlog: Vec<Bytes>,
    pub(super) listener: Option<mpsc::Sender<Bytes>>,
}

impl McpDesk {
    /// `key` is random: under it the live messages' secrets are told apart.
    pub fn new(tape: McpTape, patterns: Arc<Patterns>, key: [u8; 32]) -> Self {
        let (vault, binding) = (Vault::new(VaultKey(key)), Binding::default());
        let state = State { tape: Some(tape), vault, binding, http: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), patterns, speed: Speed::AtOnce }
    }

    /// The same, with recorded time passing at `speed`.
    pub fn at_speed(self, speed: Speed) -> Self {
        Self { speed, ..self }
    }

    /// Ends the replay and sums it up; `None` if that was done before.
    pub fn finish(&self) -> Option<McpReport> {
        self.lock().tape.take().map(McpTape::finish)
    }

    /// A client connects; what the server says first. `None` once the replay is over.
    pub(super) fn open(&self, server: &ServerName) -> Option<(LiveSession, Vec<Part>)> {
        self.lock().tape.as_mut().map(|tape| tape.open(server))
    }

    /// A client says something.
    pub(super) fn react(&self, session: &LiveSession, message: &[u8]) -> Reaction {
        let mut state = self.lock();
        let State { tape, vault, binding, .. } = &mut *state;
        let Some(tape) = tape else { return Reaction::default() };
        let clean = redact_body(&self.patterns, vault, &Credentials::none(), message);
        let mut reaction = tape.react(session, &clean.bytes);
        if let Some(recorded) = reaction.recorded.as_ref().filter(|_| !clean.spans.is_empty()) {
            binding.extend(Binding::of_request(recorded, message, &clean));
        }
        if !binding.is_empty() {
            for part in &mut reaction.parts {
                if let What::Answer(text) | What::Stream(text) = &mut part.what {
                    *text = Bytes::from(binding.restore(text, Surroundings::Json).into_owned());
                }
            }
        }
        reaction
    }

    /// Does something with the state of a client over HTTP.
    pub(super) fn with_http<T>(
        &self,
        key: &(ServerName, String),
        open: bool,
        then: impl FnOnce(&mut HttpSession) -> T,
    ) -> Option<T> {
        let mut state = self.lock();
        let State { tape, http, .. } = &mut *state;
        if open && !http.contains_key(key) {
            let (session, parts) = tape.as_mut()?.open(&key.0);
            let backlog = parts.into_iter().filter_map(stream).collect();
            http.insert(key.clone(), HttpSession { session, backlog, listener: None });
        }
        http.get_mut(key).map(then)
    }

    /// A client over HTTP whose session got another id.
    pub(super) fn rename_http(&self, server: &ServerName, from: &str, to: &str) {
        let mut state = self.lock();
        if let Some(session) = state.http.remove(&(server.clone(), from.to_owned())) {
            state.http.insert((server.clone(), to.to_owned()), session);
        }
    }

    /// Held for one decision, never across an await. A panic inside one must not take the other clients with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a part says that belongs to the server's own stream.
pub(super) fn stream(part: Part) -> Option<Bytes> {
    match part.what {
        What::Stream(text) => Some(text),
        What::Answer(_) | What::AwaitClient { .. } => None,
    }
}
