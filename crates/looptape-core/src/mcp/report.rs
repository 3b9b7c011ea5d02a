//! What a replay of MCP servers came to: what was served of each, and what was asked that it does not hold.

use super::drift::{Drift, Hints};
use super::message::Message;
use super::server::ServerName;
use super::tool_call::TOOL_CALL;
use crate::replay::{Difference, DivergenceCode, Report};
use crate::text_diff::beginning;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Characters of parameters that a report shows.
const SHOWN_CHARS: usize = 400;

/// Of all servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct McpReport {
    pub servers: BTreeMap<ServerName, ServerReport>,
}

/// Of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    /// Clients that connected.
    pub sessions: u32,
    /// Messages that came from them.
    pub messages: u32,
    /// Messages that were recorded ones.
    pub served: u32,
    /// Of these, those that matched only with volatile values masked.
    pub masked: u32,
    /// Messages that were served before and asked again: lists, resources, handshakes.
    pub again: u32,
    /// Tool calls that were served, of those that were recorded.
    pub tool_calls: u32,
    pub recorded_tool_calls: usize,
    /// Recorded tool calls that nobody made.
    pub unused: Vec<Wanted>,
    /// Recorded tool calls that did not reach the server: hooks in the agent's framework were answered before.
    #[serde(default)]
    pub answered_by_hooks: u32,
    /// Whether the server itself was asked, for live calls.
    #[serde(default)]
    pub started: bool,
    /// How the tools that it offers now differ from the recorded ones, if it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Vec<Drift>>,
    #[serde(skip)]
    pub(super) refused: Vec<Report>,
}

/// What a message asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub method: String,
    /// The tool, resource or prompt that it names.
    pub name: Option<String>,
    /// As text, cut if it is long.
    pub params: Option<String>,
}

impl Wanted {
    pub fn of(message: &Message<'_>) -> Self {
        let (method, params) = match message {
            Message::Request { method, params, .. } | Message::Notification { method, params } => {
                (method.clone().into_owned(), *params)
            }
            Message::Response { .. } => return Self { method: "an answer".to_owned(), ..Self::default() },
            Message::Unreadable => return Self { method: "no message".to_owned(), ..Self::default() },
        };
        let mut params: Value = params.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if let Some(members) = params.as_object_mut() {
            members.shift_remove("_meta");
        }
        let named = ["name", "uri"].iter().find_map(|key| Some(params.get(key)?.as_str()?.to_owned()));
        let shown = params.get("arguments").filter(|_| named.is_some()).unwrap_or(&params);
        let params = (!shown.is_null()).then(|| beginning(&shown.to_string(), SHOWN_CHARS));
        Self { method, name: named, params }
    }

    /// Whether it asks the same thing with other parameters.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.method == other.method && self.name == other.name
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name}", self.method),
            None => f.write_str(&self.method),
        }
    }
}

impl ServerReport {
    pub(super) fn refused(
        &mut self,
        (code, hints): (DivergenceCode, Hints),
        message: String,
        wanted: Wanted,
        nearest: Option<String>,
    ) {
        if let Some(known) =
            self.refused.iter_mut().find(|known| known.code == code && known.message == message)
        {
            known.requests += 1;
            return;
        }
        let difference = match (code, &nearest) {
            (DivergenceCode::NeverRecorded, Some(nearest)) => {
                Some(Difference::of_texts(String::new(), Some(nearest), wanted.params.as_deref()))
            }
            _ => None,
        };
        let mut report = Report::new(code, None, message);
        report.endpoint = wanted.to_string();
        report.difference = difference;
        report.next_step = next_step(code);
        if let Some(tool) = report_tool(&wanted, code) {
            report.next_step += &how_to_run(tool, hints);
        }
        self.refused.push(report);
    }
}

/// The tool of a call that was not recorded.
fn report_tool(wanted: &Wanted, code: DivergenceCode) -> Option<&str> {
    let is_missing = code == DivergenceCode::NeverRecorded && wanted.method == TOOL_CALL;
    wanted.name.as_deref().filter(|_| is_missing)
}

fn how_to_run(tool: &str, hints: Hints) -> String {
    let says = match (hints.reads_only, hints.destroys) {
        (true, _) => "; the server says that it only reads",
        (_, true) => "; the server says that it may destroy something",
        _ => "",
    };
    format!(" `writes = false` under [tools.{tool}] in looptape.toml lets it run{says}.")
}

fn next_step(code: DivergenceCode) -> String {
    match code {
        DivergenceCode::NeverRecorded => {
            "The agent asked its tool server for something else than it did then: look at what led there, above or in \
             `looptape show`. If it is meant, record the run again."
                .to_owned()
        }
        DivergenceCode::ToolsDrift => {
            "The agent expects other tools than the recorded server had: `looptape mcp --check` compares the server's \
             tools with the recorded ones. If they are meant, record the run again."
                .to_owned()
        }
        code => code.next_step().to_owned(),
    }
}

impl McpReport {
    /// What went another way, as divergences of the replay.
    pub(crate) fn divergences(&self) -> Vec<Report> {
        let refused = self.servers.values().flat_map(|server| server.refused.iter().cloned());
        let unused =
            self.servers.iter().filter(|(_, server)| !server.unused.is_empty()).map(|(name, server)| {
                let calls: Vec<String> = server.unused.iter().map(Wanted::to_string).collect();
                let noun = if calls.len() == 1 { "call" } else { "calls" };
                let message = format!(
                    "{} recorded {noun} of the MCP server {name} not made: {}.",
                    calls.len(),
                    calls.join(", ")
                );
                Report::new(DivergenceCode::UnusedRecording, None, message)
            });
        refused.chain(unused).collect()
    }

    /// A line for each server that was spoken to, and one for each change of its tools.
    pub fn lines(&self) -> Vec<String> {
        let spoken_to = self.servers.iter().filter(|(_, server)| server.sessions > 0);
        let of_server = |(name, server): (&ServerName, &ServerReport)| {
            let how = if server.started { "started for live calls" } else { "not started" };
            let drift = server.drift.iter().flatten().map(|drift| format!("  its tools changed: {drift}"));
            std::iter::once(format!("MCP server {name}, {how}: {server}")).chain(drift).collect::<Vec<_>>()
        };
        spoken_to.flat_map(of_server).collect()
    }
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, tool_calls, recorded_tool_calls, masked, again, .. } = self;
        write!(f, "{tool_calls} of {recorded_tool_calls} recorded tool calls served, ")?;
        if self.answered_by_hooks > 0 {
            write!(f, "{} answered by tool hooks, ", self.answered_by_hooks)?;
        }
        write!(f, "{messages} messages")?;
        let more = [(*masked, "with volatile values masked"), (*again, "asked again")];
        let more: Vec<String> = more
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, how)| format!("{count} {how}"))
            .collect();
        if more.is_empty() { Ok(()) } else { write!(f, " ({})", more.join(", ")) }
    }
}
