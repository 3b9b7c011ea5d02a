//! Tool calls that somebody reports: rows of their own, beside the calls to the model.
//!
//! A report that a tool has started makes a row, so that a tool that never ends leaves evidence; the report of its end
//! fills that row. One that only says the end makes both at once. Everything is cleaned of secrets first.

use super::event::Moment;
use super::open_trace::TraceNumber;
use super::scrub::Scrubber;
use crate::codec;
use crate::ids::TraceKey;
use foldhash::HashMap;
use looptape_core::TraceId;
use looptape_core::labels::Labels;
use looptape_core::redact::{Credentials, Vault};
use looptape_core::tools::message::arguments_digest;
use looptape_core::tools::{MeasuredTool, Phase, ToolEnd, ToolFacts, ToolMessage, ToolOutcome, ToolSource};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What somebody says of a tool call.
#[derive(Debug)]
pub struct ToolReport {
    pub trace: TraceId,
    /// When it was said.
    pub at: Moment,
    /// `Started` or `Ended`; an `Ask` is nothing that happened.
    pub message: ToolMessage,
    pub source: ToolSource,
    /// Of a trace that it opens.
    pub labels: Labels,
    /// Secrets that the agent knows.
    pub known: Credentials,
}

impl ToolReport {
    /// Bytes that it takes while it waits, about.
    pub(super) fn size_bytes(&self) -> usize {
        let end = match &self.message.phase {
            Phase::Ended { end, .. } => end.shown().map_or(0, |shown| shown.to_string().len()),
            Phase::Ready { .. } | Phase::Ask | Phase::Started => 0,
        };
        self.message.call.arguments.to_string().len() + end + 256
    }
}

/// Calls of open traces that have started, by how their callers tell them apart.
#[derive(Default)]
pub(super) struct OpenTools(HashMap<(TraceNumber, String), Started>);

/// A tool that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    pub(super) seq: u32,
    pub(super) at_us: i64,
}

impl OpenTools {
    pub(super) fn start(&mut self, trace: TraceNumber, run: &str, started: Started) {
        self.0.insert((trace, run.to_owned()), started);
    }

    pub(super) fn end(&mut self, trace: TraceNumber, run: &str) -> Option<Started> {
        self.0.remove(&(trace, run.to_owned()))
    }

    /// The trace is over.
    pub(super) fn forget(&mut self, trace: TraceNumber) {
        self.0.retain(|(of, _), _| *of != trace);
    }
}

/// What is written down of a call beside its facts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) arguments: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<ToolEnd>,
}

/// All texts of a call, for one look at them.
#[derive(Serialize, Deserialize)]
struct Texts {
    name: String,
    call_id: Option<String>,
    via: Option<String>,
    said: Said,
}

/// A call as it is stored, from a report; its `seq` and times are the caller's to know.
pub(super) fn clean(
    scrubber: &Scrubber,
    vault: &mut Vault,
    report: ToolReport,
    (seq, started_us, ended_us): (u32, i64, Option<i64>),
) -> MeasuredTool {
    let ToolMessage { call, via, phase, .. } = report.message;
    let end = match phase {
        Phase::Ended { end, .. } => Some(end),
        Phase::Ready { .. } | Phase::Ask | Phase::Started => None,
    };
    let texts =
        Texts { name: call.name, call_id: call.call_id, via, said: Said { arguments: call.arguments, end } };
    let Texts { name, call_id, via, said } = texts.clean(scrubber, vault, &report.known);
    let facts = ToolFacts {
        seq,
        name,
        call_id,
        arguments_digest: arguments_digest(&said.arguments),
        via,
        source: report.source,
        started_us,
        ended_us,
        outcome: said.end.as_ref().map(ToolEnd::outcome),
    };
    MeasuredTool { facts, arguments: said.arguments, end: said.end }
}

/// A call that was stored once, cleaned as this database wants it.
pub(super) fn cleaned(scrubber: &Scrubber, vault: &mut Vault, tool: MeasuredTool) -> MeasuredTool {
    let MeasuredTool { facts, arguments, end } = tool;
    let ToolFacts { name, call_id, via, .. } = facts;
    let texts = Texts { name, call_id, via, said: Said { arguments, end } };
    let Texts { name, call_id, via, said } = texts.clean(scrubber, vault, &Credentials::none());
    let arguments_digest = arguments_digest(&said.arguments);
    let facts = ToolFacts { name, call_id, via, arguments_digest, ..facts };
    MeasuredTool { facts, arguments: said.arguments, end: said.end }
}

impl Texts {
    fn clean(self, scrubber: &Scrubber, vault: &mut Vault, known: &Credentials) -> Self {
        let text = serde_json::to_string(&self).expect("texts and JSON values are JSON");
        let clean = scrubber.text(vault, known, text);
        // A placeholder in the place of a number's digits is no JSON: then nothing is kept of what was said.
        serde_json::from_str(&clean).unwrap_or_else(|_| Self {
            name: scrubber.text(vault, known, self.name),
            call_id: None,
            via: None,
            said: Said { arguments: Value::Null, end: None },
        })
    }
}

/// Writes a call's row, in the place of what was known when it started.
pub(super) fn write(connection: &Connection, trace: TraceKey, tool: MeasuredTool) -> rusqlite::Result<()> {
    let MeasuredTool { facts, arguments, end } = tool;
    let said = Said { arguments, end };
    let (codec, size, said) =
        codec::encode_alone(serde_json::to_vec(&said).expect("texts and JSON values are JSON"));
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO tool_calls (trace, seq, name, call_id, arguments_digest, via, source, started_us, \
             ended_us, outcome, codec, size, said) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            trace.0,
            facts.seq,
            facts.name,
            facts.call_id,
            facts.arguments_digest,
            facts.via,
            facts.source.as_str(),
            facts.started_us,
            facts.ended_us,
            facts.outcome.map(ToolOutcome::as_str),
            codec,
            size as i64,
            said,
        ])?;
    Ok(())
}
