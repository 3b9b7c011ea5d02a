//! What callers say of a tool call, as `docs/tools.md` has it.
//!
//! Members that are not known are passed over: a newer caller may say more.

use super::call::{ToolEnd, ToolError, ToolOutcome};
use crate::canonical;
use crate::lineage::parsed_arguments;
use serde::Deserialize;
use serde_json::Value;

/// A message, read.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolMessage {
    pub call: ToolCallKey,
    pub run: Option<String>,
    pub via: Option<String>,
    /// `false` only if the caller says that the tool only reads.
    pub may_write: bool,
    /// What the caller can do with a recorded result.
    pub hands: Hands,
    /// How long ago it was when this was sent.
    pub ago_us: u64,
    pub phase: Phase,
}

/// By what a call is known.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCallKey {
    pub name: String,
    /// Parsed, where they came as a text of JSON.
    pub arguments: Value,
    pub call_id: Option<String>,
    /// 1, 2, …: which of several calls with the same name and arguments.
    pub occurrence: Option<u32>,
}

/// What a caller can do with a recorded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    /// Give it to the agent, as the tool would have.
    Give,
    /// The same for what it reported itself. Of the model traffic's results the replay tells the model.
    GiveMeasured,
    /// Keep the tool from running, and no more: the replay tells the model the result.
    Refuse,
}

/// What is said of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// The caller is there, and asks before each run of these tools.
    Ready {
        tools: Vec<String>,
    },
    Ask,
    Started,
    Ended {
        end: ToolEnd,
        duration_us: Option<u64>,
    },
}

/// Why a message was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableMessage {
    #[error("the body is not a JSON object of a tool call ({0}): see docs/tools.md")]
    Json(String),
    #[error("`name` is empty: write the tool's name, as the model knows it")]
    NoName,
    #[error("`occurrence` counts from 1")]
    NoOccurrence,
    #[error("`ended` wants an `outcome`: ok, null, error, timeout or aborted")]
    NoOutcome,
}

#[derive(Deserialize)]
struct Written {
    phase: WrittenPhase,
    name: String,
    #[serde(default)]
    arguments: Value,
    call_id: Option<String>,
    occurrence: Option<u32>,
    #[serde(default)]
    tools: Vec<String>,
    gives: Option<WrittenHands>,
    run: Option<String>,
    via: Option<String>,
    writes: Option<bool>,
    ago_us: Option<u64>,
    outcome: Option<ToolOutcome>,
    #[serde(default)]
    result: Value,
    form: Option<String>,
    error: Option<ToolError>,
    duration_us: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenPhase {
    Ready,
    Ask,
    Started,
    Ended,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenHands {
    Any,
    Measured,
    Nothing,
}

impl ToolMessage {
    pub fn parse(body: &[u8]) -> Result<Self, UnreadableMessage> {
        let written: Written =
            serde_json::from_slice(body).map_err(|error| UnreadableMessage::Json(error.to_string()))?;
        if written.name.is_empty() {
            return Err(UnreadableMessage::NoName);
        }
        if written.occurrence == Some(0) {
            return Err(UnreadableMessage::NoOccurrence);
        }
        let call = ToolCallKey {
            name: written.name,
            arguments: parsed_arguments(&written.arguments).into_owned(),
            call_id: written.call_id.filter(|id| !id.is_empty()),
            occurrence: written.occurrence,
        };
        let phase = match written.phase {
            WrittenPhase::Ready => Phase::Ready { tools: written.tools },
            WrittenPhase::Ask => Phase::Ask,
            WrittenPhase::Started => Phase::Started,
            WrittenPhase::Ended => {
                let outcome = written.outcome.ok_or(UnreadableMessage::NoOutcome)?;
                let end = end(outcome, written.result, written.form, written.error.unwrap_or_default());
                Phase::Ended { end, duration_us: written.duration_us }
            }
        };
        Ok(Self {
            call,
            run: written.run,
            via: written.via,
            may_write: written.writes.unwrap_or(true),
            hands: match written.gives {
                None | Some(WrittenHands::Any) => Hands::Give,
                Some(WrittenHands::Measured) => Hands::GiveMeasured,
                Some(WrittenHands::Nothing) => Hands::Refuse,
            },
            ago_us: written.ago_us.unwrap_or(0),
            phase,
        })
    }
}

fn end(outcome: ToolOutcome, result: Value, form: Option<String>, error: ToolError) -> ToolEnd {
    match outcome {
        ToolOutcome::Ok => ToolEnd::Ok { result, form },
        ToolOutcome::Null => ToolEnd::Null,
        ToolOutcome::Error => ToolEnd::Error { error },
        ToolOutcome::Timeout => ToolEnd::Timeout { error },
        ToolOutcome::Aborted => ToolEnd::Aborted { error },
    }
}

impl ToolCallKey {
    /// Equal for arguments that are equal as JSON.
    pub fn arguments_digest(&self) -> i64 {
        arguments_digest(&self.arguments)
    }
}

/// The digest by which arguments are compared.
pub fn arguments_digest(arguments: &Value) -> i64 {
    canonical::digest_of_value(&parsed_arguments(arguments)).short()
}

/// Whether a tool that a model knows as `asked` is `own`: gateways of tools put a name of their own before it
/// (`mcp__server__search`), and write what providers do not take otherwise (`get_sum` for `get-sum`).
pub fn is_name_of(asked: &str, own: &str) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'_' };
    let Some(before) = asked.len().checked_sub(own.len()) else { return false };
    let (prefix, end) = asked.as_bytes().split_at(before);
    end.iter().map(|byte| plain(*byte)).eq(own.bytes().map(plain))
        && prefix.last().is_none_or(|last| matches!(last, b'_' | b'.' | b'/' | b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ToolMessage, UnreadableMessage> {
        ToolMessage::parse(body.as_bytes())
    }

    #[test]
    fn a_whole_message() {
        let message = parse(
            r#"{"phase":"ended","name":"f","arguments":{"b":1,"a":2},"call_id":"c","run":"r","via":"python","writes":false,
                "outcome":"error","error":{"type":"KeyError","message":"x"},"duration_us":7,"ago_us":1,"later":true}"#,
        )
        .unwrap();
        let error = ToolError { kind: Some("KeyError".into()), message: Some("x".into()), form: None };
        assert_eq!(message.phase, Phase::Ended { end: ToolEnd::Error { error }, duration_us: Some(7) });
        assert!(!message.may_write);
        let same = parse(r#"{"phase":"ask","name":"f","arguments":"{\"a\":2.0,\"b\":1}"}"#).unwrap();
        assert_eq!(same.call.arguments_digest(), message.call.arguments_digest(), "equal as JSON");
        assert_eq!((same.call.call_id, same.may_write), (None, true));
    }

    #[test]
    fn a_caller_that_can_only_refuse() {
        let ready = parse(r#"{"phase":"ready","name":"claude-code","tools":["Bash"]}"#).unwrap();
        assert_eq!(ready.phase, Phase::Ready { tools: vec!["Bash".to_owned()] });
        let ask = parse(r#"{"phase":"ask","name":"Bash","gives":"nothing"}"#).unwrap();
        assert_eq!((ask.phase, ask.hands), (Phase::Ask, Hands::Refuse));
    }

    #[test]
    fn what_is_no_message() {
        assert_eq!(parse(r#"{"phase":"ask","name":""}"#), Err(UnreadableMessage::NoName));
        assert_eq!(
            parse(r#"{"phase":"ask","name":"f","occurrence":0}"#),
            Err(UnreadableMessage::NoOccurrence)
        );
        assert_eq!(parse(r#"{"phase":"ended","name":"f"}"#), Err(UnreadableMessage::NoOutcome));
        for bad in ["", "[]", "{", r#"{"name":"f"}"#, r#"{"phase":"begin","name":"f"}"#, "\u{0}\u{1}"] {
            assert!(matches!(parse(bad), Err(UnreadableMessage::Json(_))), "{bad}");
        }
    }
}
