//! The answer that a diverged request gets: an error in the client's own wire format.
//!
//! Status 422 and [`HEADERS`] keep every known SDK from trying again; the body names the code and the
//! step, so that the agent's own log already says what happened.

use super::report::Report;
use crate::wire::Wire;
use serde_json::{Value, json};

/// The status of a refusal: no SDK retries it.
pub const STATUS: u16 = 422;

/// Headers to send beside the content type; the divergence code goes into `x-looptape-divergence`.
pub const HEADERS: &[(&str, &str)] = &[("x-should-retry", "false")];

/// The marker header, whose value is the divergence code.
pub const MARKER_HEADER: &str = "x-looptape-divergence";

/// The body of a refusal and its content type.
pub fn error_body(wire: Option<Wire>, report: &Report) -> (Vec<u8>, &'static str) {
    let message = format!(
        "looptape: the replay diverged ({}). {} The whole report is printed when the replay ends, and written by --report FILE.",
        report.code, report.message
    );
    let facts = json!({
        "code": report.code,
        "step": report.step,
        "lane": report.lane,
        "pointer": report.difference.as_ref().map(|difference| difference.pointer.as_str()),
        "root": report.root,
    });
    let error =
        OwnError { status: STATUS, kind: "replay_diverged", code: report.code.as_str(), message: &message };
    let mut body = error.body(wire);
    body["looptape"] = facts;
    (body.to_string().into_bytes(), "application/json")
}

/// The body of another error that looptape answers with in a provider's place.
pub fn own_error_body(wire: Option<Wire>, status: u16, kind: &str, message: &str) -> Vec<u8> {
    OwnError { status, kind, code: kind, message }.body(wire).to_string().into_bytes()
}

struct OwnError<'a> {
    status: u16,
    kind: &'a str,
    code: &'a str,
    message: &'a str,
}

impl OwnError<'_> {
    fn body(&self, wire: Option<Wire>) -> Value {
        let Self { status, kind, code, message } = self;
        match wire {
            Some(Wire::AnthropicMessages) => {
                json!({ "type": "error", "error": { "type": kind, "message": message } })
            }
            Some(Wire::GeminiGenerate) => {
                json!({ "error": { "code": status, "message": message, "status": "FAILED_PRECONDITION" } })
            }
            Some(Wire::OllamaChat | Wire::OllamaGenerate) => json!({ "error": message }),
            Some(Wire::CohereChatV1 | Wire::CohereChatV2) => json!({ "message": message }),
            // AWS clients take the kind from a header, else from here; they do not try this one again.
            Some(Wire::BedrockConverse | Wire::BedrockInvoke) => {
                json!({ "__type": "ValidationException", "message": message })
            }
            Some(Wire::OpenAiChat | Wire::OpenAiCompletions | Wire::OpenAiResponses) | None => {
                json!({ "error": { "message": message, "type": kind, "param": Value::Null, "code": code } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::report::DivergenceCode;
    use crate::replay::tape::CallLabel;

    #[test]
    fn every_wire_names_code_and_step() {
        let label = CallLabel { seq: 4, step: Some(3), lane: 1 };
        let report = Report::new(DivergenceCode::ModelDrift, Some(label), "Another model.".to_owned());
        let message_at = |wire| match wire {
            Some(Wire::OllamaChat | Wire::OllamaGenerate) => "/error",
            Some(Wire::CohereChatV1 | Wire::CohereChatV2 | Wire::BedrockConverse | Wire::BedrockInvoke) => {
                "/message"
            }
            _ => "/error/message",
        };
        for wire in Wire::ALL.into_iter().map(Some).chain([None]) {
            let message = message_at(wire);
            let (body, content_type) = error_body(wire, &report);
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(content_type, "application/json");
            let text = body.pointer(message).and_then(Value::as_str).unwrap();
            assert!(text.contains("MODEL_DRIFT") && text.contains("Another model."), "{text}");
            assert_eq!(body["looptape"]["step"], 3);
            assert_eq!(body["looptape"]["code"], "MODEL_DRIFT");
        }
    }
}
