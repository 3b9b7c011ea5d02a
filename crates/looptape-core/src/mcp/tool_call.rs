//! A call of a tool: what its message asks for, and what the server's answer says came of it.

use super::message::Message;
use crate::tools::{ToolCallKey, ToolEnd, ToolError};
use serde_json::{Map, Value};

/// The method of a call.
pub(super) const TOOL_CALL: &str = "tools/call";

/// What a message asks of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct McpToolCall {
    pub key: ToolCallKey,
    /// As it was written; `None`: it wants no answer.
    pub id: Option<String>,
}

impl McpToolCall {
    /// `None` if the message is no call of a tool.
    pub fn of(message: &[u8]) -> Option<Self> {
        let message = Message::read(message);
        let (Message::Request { method, params, .. } | Message::Notification { method, params }) = &message
        else {
            return None;
        };
        if method != TOOL_CALL {
            return None;
        }
        let params: Value = serde_json::from_str((*params)?).ok()?;
        // Some clients say which call of the model it is.
        let call_id = params["_meta"]["claudecode/toolUseId"].as_str().map(str::to_owned);
        let name = params.get("name")?.as_str().filter(|name| !name.is_empty())?.to_owned();
        let arguments = params.get("arguments").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let key = ToolCallKey { name, arguments, call_id, occurrence: None };
        Some(Self { key, id: message.unanswered().map(|request| request.id) })
    }

    /// Whether this is its answer.
    pub fn is_answered_by(&self, message: &[u8]) -> bool {
        match (Message::read(message), &self.id) {
            (Message::Response { id, .. }, Some(own)) => id == own,
            _ => false,
        }
    }
}

/// What came of a call, by the server's answer; `None`: there is none.
pub fn tool_end(answer: Option<&[u8]>) -> ToolEnd {
    let Some(Message::Response { result, .. }) = answer.map(Message::read) else { return never_came() };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    match result.map(parsed).map_err(parsed) {
        Ok(Value::Null) => ToolEnd::Null,
        Ok(result) if result["isError"] == true => {
            ToolEnd::Error { error: ToolError { message: Some(text_of(&result)), ..ToolError::default() } }
        }
        Ok(result) => ToolEnd::Ok { result, form: None },
        Err(error) => ToolEnd::Error {
            error: ToolError {
                kind: error.get("code").map(Value::to_string),
                message: error["message"].as_str().map(str::to_owned),
                form: None,
            },
        },
    }
}

fn never_came() -> ToolEnd {
    ToolEnd::Aborted {
        error: ToolError { message: Some("its result never came".to_owned()), ..ToolError::default() },
    }
}

/// The texts of a result.
fn text_of(result: &Value) -> String {
    let texts = result["content"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::ToolOutcome;

    #[test]
    fn every_way_to_end_is_told_apart() {
        for (answer, outcome) in [
            (r#"{"id":1,"result":{"content":[{"type":"text","text":"5"}]}}"#, ToolOutcome::Ok),
            (r#"{"id":1,"result":null}"#, ToolOutcome::Null),
            (r#"{"id":1,"result":{"isError":true,"content":[{"text":"no"}]}}"#, ToolOutcome::Error),
            (r#"{"id":1,"error":{"code":-32602,"message":"no"}}"#, ToolOutcome::Error),
            (r#"{"method":"notifications/progress"}"#, ToolOutcome::Aborted),
        ] {
            assert_eq!(tool_end(Some(answer.as_bytes())).outcome(), outcome, "{answer}");
        }
        assert_eq!(tool_end(None).outcome(), ToolOutcome::Aborted);
    }

    #[test]
    fn only_calls_of_tools_are_such() {
        let line =
            br#"{"id":1,"method":"tools/call","params":{"name":"t","_meta":{"claudecode/toolUseId":"x"}}}"#;
        let McpToolCall { key, id } = McpToolCall::of(line).unwrap();
        assert_eq!((key.name.as_str(), key.call_id.as_deref(), id.as_deref()), ("t", Some("x"), Some("1")));
        assert_eq!(key.arguments, serde_json::json!({}));
        let no_id = McpToolCall::of(br#"{"method":"tools/call","params":{"name":"t"}}"#).unwrap();
        assert!(no_id.id.is_none() && !no_id.is_answered_by(br#"{"id":1,"result":{}}"#));
        for other in [r#"{"id":1,"method":"tools/list"}"#, r#"{"id":1,"method":"tools/call"}"#, "x"] {
            assert!(McpToolCall::of(other.as_bytes()).is_none(), "{other}");
        }
    }
}
