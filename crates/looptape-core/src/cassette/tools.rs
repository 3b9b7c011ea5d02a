//! `tools.json`: the tool calls of which somebody said what became of them. Their times stand with all others in
//! `timings.json`. A cassette without such calls has no such file.

use super::error::CassetteError;
use super::files::{self, FileName, Files, TIMINGS, TOOLS};
use super::json_text::{file_text, sorted};
use crate::tools::message::arguments_digest;
use crate::tools::{MeasuredTool, ToolEnd, ToolFacts, ToolSource};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Serialize, Deserialize)]
struct ToolsFile {
    tools: Vec<ToolFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ToolFile {
    /// Counted from 1.
    tool: u64,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    source: String,
    #[serde(default)]
    arguments: Value,
    /// Left out if its result never came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<ToolEnd>,
}

/// When one of them ran: a line of `timings.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToolTimes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_us: Option<i64>,
    started_us: i64,
    tool: u64,
}

/// Their file, and their times.
pub(super) fn write(tools: Vec<MeasuredTool>) -> (Option<Bytes>, Vec<ToolTimes>) {
    if tools.is_empty() {
        return (None, Vec::new());
    }
    let number = |facts: &ToolFacts| u64::from(facts.seq) + 1;
    let times = |tool: &MeasuredTool| ToolTimes {
        ended_us: tool.facts.ended_us,
        started_us: tool.facts.started_us,
        tool: number(&tool.facts),
    };
    let times = tools.iter().map(times).collect();
    let file = |tool: MeasuredTool| ToolFile {
        tool: number(&tool.facts),
        name: tool.facts.name,
        call_id: tool.facts.call_id,
        via: tool.facts.via,
        source: tool.facts.source.as_str().to_owned(),
        arguments: tool.arguments,
        end: tool.end,
    };
    let file = ToolsFile { tools: tools.into_iter().map(file).collect() };
    let file = serde_json::to_value(&file).expect("texts and JSON values are JSON");
    (Some(Bytes::from(file_text(&sorted(file)))), times)
}

/// What was written.
pub(super) fn read(files: &Files, times: &[ToolTimes]) -> Result<Vec<MeasuredTool>, CassetteError> {
    let name = FileName::top(TOOLS);
    if !files.contains_key(&name) {
        return Ok(Vec::new());
    }
    let invalid = |detail: String| CassetteError::invalid(&name, detail);
    let file: ToolsFile =
        serde_json::from_str(files::text(files, &name)?).map_err(|error| invalid(error.to_string()))?;
    let tool = |tool: ToolFile| {
        let seq = u32::try_from(tool.tool).ok().and_then(|number| number.checked_sub(1));
        let seq = seq.ok_or_else(|| invalid(format!("there is no tool call {}", tool.tool)))?;
        let own = times.iter().find(|times| times.tool == tool.tool);
        let own = own.ok_or_else(|| {
            CassetteError::invalid(TIMINGS, format!("tool call {} has no times", tool.tool))
        })?;
        let facts = ToolFacts {
            seq,
            name: tool.name,
            call_id: tool.call_id,
            arguments_digest: arguments_digest(&tool.arguments),
            via: tool.via,
            source: ToolSource::parse(&tool.source).unwrap_or(ToolSource::Measured),
            started_us: own.started_us,
            ended_us: own.ended_us,
            outcome: tool.end.as_ref().map(ToolEnd::outcome),
        };
        Ok(MeasuredTool { facts, arguments: tool.arguments, end: tool.end })
    };
    file.tools.into_iter().map(tool).collect()
}
