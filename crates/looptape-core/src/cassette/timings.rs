//! `timings.json`: what a clock said, one line a call, so that a second recording changes it and little else.
//!
//! Times are µs since the trace's start. The pieces of an answer are pairs of their length and the µs since the
//! piece before, the first since the head.

use super::error::CassetteError;
use super::files::{FileName, TIMINGS};
use super::recording::TapedCall;
use super::tools::ToolTimes;
use crate::exchange::{Chunk, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// When one call's parts happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CallTimes {
    pub(super) sent_us: i64,
    pub(super) sent_unix_us: i64,
    pub(super) head_us: Option<i64>,
    pub(super) end_us: Option<i64>,
    pub(super) chunks: Vec<Chunk>,
}

/// A line. Members in order of their names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TimesFile {
    call: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chunks: Vec<(u32, i64)>,
    /// How far the wall clock had gone beyond the monotonic one when it was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    drift_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_us: Option<i64>,
    sent_us: i64,
}

#[derive(Debug, Deserialize)]
struct TimingsFile {
    calls: Vec<TimesFile>,
    #[serde(default)]
    ended_us: Option<i64>,
    #[serde(default)]
    tools: Vec<ToolTimes>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl TimesFile {
    pub(super) fn of(call: &TapedCall, started_unix_us: i64) -> Self {
        let exchange = &call.exchange;
        let (head_us, end_us, chunks) = match &exchange.outcome {
            Outcome::InFlight => (None, None, &[][..]),
            Outcome::NoResponse { end_us, .. } => (None, Some(*end_us), &[][..]),
            Outcome::Answered(answer) => (Some(answer.head_us), Some(answer.end_us), &answer.chunks[..]),
        };
        let mut before = head_us.unwrap_or_default();
        let chunks = chunks.iter().map(|chunk| {
            let since = chunk.at_us.wrapping_sub(std::mem::replace(&mut before, chunk.at_us));
            (chunk.len, since)
        });
        Self {
            call: u64::from(exchange.seq) + 1,
            chunks: chunks.collect(),
            drift_us: exchange.sent_unix_us.wrapping_sub(started_unix_us).wrapping_sub(exchange.sent_us),
            end_us,
            head_us,
            sent_us: exchange.sent_us,
        }
    }

    fn read(self, started_unix_us: i64) -> CallTimes {
        let mut at_us = self.head_us.unwrap_or_default();
        let chunks = self.chunks.into_iter().map(|(len, since)| {
            at_us = at_us.wrapping_add(since);
            Chunk { at_us, len }
        });
        CallTimes {
            sent_us: self.sent_us,
            sent_unix_us: started_unix_us.wrapping_add(self.sent_us).wrapping_add(self.drift_us),
            head_us: self.head_us,
            end_us: self.end_us,
            chunks: chunks.collect(),
        }
    }
}

/// The file's text.
pub(super) fn text(calls: &[TimesFile], tools: &[ToolTimes], ended_us: Option<i64>) -> Vec<u8> {
    let calls = lines(calls);
    let tools = if tools.is_empty() { String::new() } else { format!(",\n  \"tools\": {}", lines(tools)) };
    let ended_us = ended_us.map_or("null".to_owned(), |us| us.to_string());
    format!("{{\n  \"calls\": {calls},\n  \"ended_us\": {ended_us}{tools}\n}}\n").into_bytes()
}

/// An array with one line for each element.
fn lines(all: &[impl Serialize]) -> String {
    let lines: Vec<String> =
        all.iter().map(|times| serde_json::to_string(times).expect("numbers are JSON")).collect();
    match lines.as_slice() {
        [] => "[]".to_owned(),
        lines => format!("[\n    {}\n  ]", lines.join(",\n    ")),
    }
}

/// What [`read`] finds.
pub(super) type Times = (BTreeMap<u32, CallTimes>, Vec<ToolTimes>, Option<i64>);

/// The times of all calls by their `seq`, of all tool calls, and of the trace's end.
pub(super) fn read(text: &str, started_unix_us: i64) -> Result<Times, CassetteError> {
    let name = FileName::top(TIMINGS);
    let file: TimingsFile =
        serde_json::from_str(text).map_err(|error| CassetteError::invalid(&name, error))?;
    let mut times = BTreeMap::new();
    for call in file.calls {
        let seq = call.call.checked_sub(1).and_then(|seq| u32::try_from(seq).ok());
        let seq =
            seq.ok_or_else(|| CassetteError::invalid(&name, format!("there is no call {}", call.call)))?;
        times.insert(seq, call.read(started_unix_us));
    }
    Ok((times, file.tools, file.ended_us))
}
