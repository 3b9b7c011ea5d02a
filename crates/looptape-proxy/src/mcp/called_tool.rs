//! What a recorded server's tools did, as measured tool calls of the trace: so they are linked to the model step that
//! asked for them, and their times are known.

use super::recording::Book;
use looptape_core::labels::Labels;
use looptape_core::mcp::Message;
use looptape_core::mcp::session::End;
use looptape_core::tools::{Hands, Phase, ToolCallKey, ToolEnd, ToolError, ToolMessage, ToolSource};
use looptape_store::{Moment, ToolReport};
use serde_json::Value;

/// A tool call under way.
#[derive(Debug)]
pub(super) struct CalledTool {
    call: ToolCallKey,
    began_us: i64,
}

impl CalledTool {
    /// `None` if the message is no call of a tool.
    pub(super) fn of(line: &[u8], at_us: i64) -> Option<Self> {
        let (Message::Request { method, params, .. } | Message::Notification { method, params }) =
            Message::read(line)
        else {
            return None;
        };
        if method != "tools/call" {
            return None;
        }
        let params: Value = serde_json::from_str(params?).ok()?;
        // Some clients say which call of the model it is.
        let call_id = params["_meta"]["claudecode/toolUseId"].as_str().map(str::to_owned);
        let name = params.get("name")?.as_str().filter(|name| !name.is_empty())?.to_owned();
        let arguments =
            params.get("arguments").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        Some(Self { call: ToolCallKey { name, arguments, call_id, occurrence: None }, began_us: at_us })
    }

    /// It is over.
    pub(super) fn report(self, book: &Book, how: &End) {
        let (end, end_us) = match how {
            End::Answered { lines, end_us, .. } => {
                (lines.last().map_or_else(never_came, |line| of_answer(line)), *end_us)
            }
            // A call without an id wants no result.
            End::Accepted { at_us } | End::Nothing { at_us, .. } => (never_came(), *at_us),
        };
        let now = Moment::now();
        let at = Moment { unix_us: now.unix_us - (now.mono_us - end_us), mono_us: end_us };
        let message = ToolMessage {
            call: self.call,
            run: None,
            via: Some(format!("mcp:{}", book.server)),
            may_write: true,
            hands: Hands::Give,
            ago_us: 0,
            phase: Phase::Ended { end, duration_us: u64::try_from(end_us - self.began_us).ok() },
        };
        let (trace, known) = (book.trace.clone(), book.known.clone());
        let source = ToolSource::Measured;
        book.recorder.tool(ToolReport { trace, at, message, source, labels: Labels::default(), known });
    }
}

fn never_came() -> ToolEnd {
    ToolEnd::Aborted {
        error: ToolError { message: Some("its result never came".to_owned()), ..ToolError::default() },
    }
}

fn of_answer(line: &[u8]) -> ToolEnd {
    let Message::Response { result, .. } = Message::read(line) else { return never_came() };
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

/// The texts of a result.
fn text_of(result: &Value) -> String {
    let texts = result["content"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use looptape_core::tools::ToolOutcome;

    #[test]
    fn every_way_to_end_is_told_apart() {
        for (answer, outcome) in [
            (r#"{"id":1,"result":{"content":[{"type":"text","text":"5"}]}}"#, ToolOutcome::Ok),
            (r#"{"id":1,"result":null}"#, ToolOutcome::Null),
            (r#"{"id":1,"result":{"isError":true,"content":[{"text":"no"}]}}"#, ToolOutcome::Error),
            (r#"{"id":1,"error":{"code":-32602,"message":"no"}}"#, ToolOutcome::Error),
            (r#"{"method":"notifications/progress"}"#, ToolOutcome::Aborted),
        ] {
            assert_eq!(of_answer(answer.as_bytes()).outcome(), outcome, "{answer}");
        }
    }

    #[test]
    fn only_calls_of_tools_are_such() {
        let line =
            br#"{"id":1,"method":"tools/call","params":{"name":"t","_meta":{"claudecode/toolUseId":"x"}}}"#;
        let tool = CalledTool::of(line, 0).unwrap();
        assert_eq!((tool.call.name.as_str(), tool.call.call_id.as_deref()), ("t", Some("x")));
        assert_eq!(tool.call.arguments, serde_json::json!({}));
        for other in [r#"{"id":1,"method":"tools/list"}"#, r#"{"id":1,"method":"tools/call"}"#, "x"] {
            assert!(CalledTool::of(other.as_bytes(), 0).is_none(), "{other}");
        }
    }
}
