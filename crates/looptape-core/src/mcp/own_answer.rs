//! Answers in looptape's own name to a message of an MCP client.

use super::drift::Hints;
use super::message::{Message, Unanswered};
use crate::tools::{ToolEnd, ToolError};
use bytes::Bytes;
use serde_json::{Value, json};

/// Errors that servers and SDKs know: a request that took too long, and a connection that was closed.
const TIMED_OUT: i32 = -32001;
const CLOSED: i32 = -32000;
/// Of the range that the protocol leaves to servers.
const REFUSED: i32 = -32050;

/// A result, as it is written.
pub(super) fn result(request: &Unanswered, result: &str) -> Bytes {
    Bytes::from(format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}\n", request.id))
}

fn error(request: &Unanswered, error: &Value) -> Bytes {
    Bytes::from(format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}\n", request.id))
}

/// A request is refused; `code` is a divergence's or `DENIED`.
pub(super) fn refusal(request: &Unanswered, code: &str, message: &str) -> Bytes {
    let message = format!("looptape: {code}: {message} The replay's report says more.");
    error(request, &json!({ "code": REFUSED, "message": message, "data": { "looptape": code } }))
}

/// What is answered to a call of a tool that is said to have ended like this, as a server says it; `None` if the message
/// wants no answer. `hints`: what the server said of the tool.
pub fn tool_answer(call: &[u8], end: &ToolEnd, hints: Hints) -> Option<Bytes> {
    Message::read(call).unanswered().map(|request| of_end(&request, end, hints))
}

/// What is answered to a call that is refused; `None` if the message wants no answer.
pub fn tool_refusal(call: &[u8], code: &str, message: &str) -> Option<Bytes> {
    Message::read(call).unanswered().map(|request| refusal(&request, code, message))
}

fn of_end(request: &Unanswered, end: &ToolEnd, hints: Hints) -> Bytes {
    let told = |ToolError { message, .. }: &ToolError, otherwise: &str| {
        message.clone().unwrap_or_else(|| otherwise.to_owned())
    };
    let text = |text: String| json!([{ "type": "text", "text": text }]);
    let own = |value: Value| result(request, &value.to_string());
    match end {
        ToolEnd::Ok { result: value, .. } if value["content"].is_array() => own(value.clone()),
        ToolEnd::Ok { result: value, .. } => {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let mut whole = json!({ "content": text(shown), "isError": false });
            if hints.is_structured {
                // Servers put what is no object into one.
                let wrapped = || json!({ "result": value });
                whole["structuredContent"] = if value.is_object() { value.clone() } else { wrapped() };
            }
            own(whole)
        }
        ToolEnd::Null => own(json!({ "content": [], "isError": false })),
        ToolEnd::Error { error } => {
            own(json!({ "content": text(told(error, "the tool failed")), "isError": true }))
        }
        ToolEnd::Timeout { error: of } => {
            error(request, &json!({ "code": TIMED_OUT, "message": told(of, "the tool timed out") }))
        }
        ToolEnd::Aborted { error: of } => {
            error(request, &json!({ "code": CLOSED, "message": told(of, "the tool was broken off") }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tool_end;
    use crate::tools::ToolOutcome;

    #[test]
    fn ends_are_said_as_servers_say_them() {
        let request = Unanswered { id: "7".to_owned(), progress_token: None };
        let error = || ToolError { message: Some("no".to_owned()), ..ToolError::default() };
        let ok = |result: Value| ToolEnd::Ok { result, form: None };
        let said = |end: &ToolEnd, is_structured| {
            let hints = Hints { is_structured, ..Hints::default() };
            String::from_utf8(of_end(&request, end, hints).to_vec()).unwrap().trim_end().to_owned()
        };
        let all = [
            said(&ok(json!("sunny")), false),
            said(&ok(json!(5)), true),
            said(&ok(json!({ "n": 5 })), true),
            said(&ok(json!({ "content": [], "isError": true })), true),
            said(&ToolEnd::Null, false),
            said(&ToolEnd::Error { error: error() }, false),
            said(&ToolEnd::Timeout { error: ToolError::default() }, false),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        {"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"sunny"}],"isError":false}}
        {"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"5"}],"isError":false,"structuredContent":{"result":5}}}
        {"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"{\"n\":5}"}],"isError":false,"structuredContent":{"n":5}}}
        {"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}
        {"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":false}}
        {"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"no"}],"isError":true}}
        {"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"the tool timed out"}}
        "#);
        let aborted = of_end(&request, &ToolEnd::Aborted { error: error() }, Hints::default());
        assert_eq!(tool_end(Some(&aborted)).outcome(), ToolOutcome::Error, "a client sees an error");
    }
}
