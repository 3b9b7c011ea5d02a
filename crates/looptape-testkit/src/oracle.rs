//! Compares a decoded model call with what the corpus expects of it.
//!
//! Every difference is one readable line, so that a test over hundreds of calls can print them all at
//! once. Statuses are compared where the interactions are read: decoded views have none.

use crate::corpus::{ExpectedCall, ExpectedUsage};
use looptape_core::usage::TokenUsage;
use looptape_core::wire::{RequestView, ResponseView, Wire};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Debug;

/// What is not as expected; empty if all is.
pub fn differences(
    expected: &ExpectedCall,
    wire: Wire,
    request: &RequestView,
    response: &ResponseView,
) -> Vec<String> {
    let mut found = Differences(Vec::new());
    found.compare("wire", &Some(wire.as_str()), &expected.wire.as_deref());
    found.compare("request model", &request.model, &expected.request_model);
    found.compare("response model", &response.response_model, &expected.response_model);
    found.compare("stream requested", &request.stream, &expected.stream_requested);
    found.compare("stream", &response.stream, &expected.stream);
    let finish_reason = expected.finish_reason.as_ref().filter(|v| !v.is_null()).map(word);
    found.compare("finish_reason", &response.finish_reason, &finish_reason);
    let tools: Vec<&str> = response.tool_calls.iter().map(|call| call.name.as_str()).collect();
    found.compare("tool_names", &tools, &expected.tool_names.iter().map(String::as_str).collect());
    found.text(&response.text, expected);
    found.usage(&response.usage, &expected.usage);
    found.0
}

/// A provider's word; numbers where it writes an enum as one.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + Debug>(&mut self, what: &str, got: &T, expected: &T) {
        if got != expected {
            self.0.push(format!("{what}: got {got:?}, expected {expected:?}"));
        }
    }

    fn text(&mut self, text: &str, expected: &ExpectedCall) {
        if sha256_hex(text.as_bytes()) != expected.text_sha256 {
            let start: String = text.chars().take(80).collect();
            self.0.push(format!(
                "text: got {} bytes, expected {}; got text begins {start:?}",
                text.len(),
                expected.text_bytes
            ));
        }
    }

    fn usage(&mut self, got: &TokenUsage, expected: &ExpectedUsage) {
        let cache_write = match (got.cache_write_5m, got.cache_write_1h) {
            (None, None) => None,
            (short, long) => Some(short.unwrap_or(0) + long.unwrap_or(0)),
        };
        self.compare("usage.input_total", &got.input_total, &expected.input_total);
        self.compare("usage.cache_read", &got.cache_read, &expected.input_cached_read);
        self.compare("usage.cache_write", &cache_write, &expected.input_cache_write);
        self.compare("usage.output_total", &got.output_total, &expected.output_total);
        self.compare("usage.reasoning", &got.reasoning, &expected.reasoning);
    }
}

/// SHA-256 in lower-case hex, as the corpus writes it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use looptape_core::wire::ToolCall;
    use serde_json::json;

    fn expected() -> ExpectedCall {
        let call = json!({
            "wire": "openai.chat", "status": 200, "provider": "openai", "request_model": "m", "response_model": "m-1",
            "response_id": "r", "stream": true, "stream_requested": true, "n_messages": 1,
            "n_tool_results_in_request": 0, "n_tools_offered": 1, "previous_response_id": null,
            "finish_reason": "tool_calls", "tool_calls": 1, "tool_names": ["search"], "server_tool_calls": 0,
            "server_tool_names": [], "n_choices": 1, "text_chars": 2, "text_bytes": 2,
            "text_sha256": "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
            "reasoning_text_chars": 0, "usage_raw": null, "usage_total_gap": 0, "error": null,
            "usage": {"input_total": 10, "input_cached_read": 4, "input_cache_write": 3, "output_total": 5,
                      "reasoning": null},
        });
        serde_json::from_value(call).unwrap()
    }

    fn views() -> (RequestView, ResponseView) {
        let request = RequestView { model: Some("m".into()), stream: true, ..RequestView::default() };
        let call = ToolCall { id: None, name: "search".into(), arguments: json!({}) };
        let usage = TokenUsage {
            cache_read: Some(4),
            cache_write_5m: Some(1),
            cache_write_1h: Some(2),
            input_total: Some(10),
            output_total: Some(5),
            ..TokenUsage::default()
        };
        let response = ResponseView {
            response_model: Some("m-1".into()),
            stream: true,
            finish_reason: Some("tool_calls".into()),
            text: "hi".into(),
            tool_calls: vec![call],
            usage,
            ..ResponseView::default()
        };
        (request, response)
    }

    #[test]
    fn an_equal_call_has_no_differences() {
        let (request, response) = views();
        assert_eq!(differences(&expected(), Wire::OpenAiChat, &request, &response), [""; 0]);
    }

    #[test]
    fn every_difference_is_found() {
        let response = ResponseView { text: "ho".into(), ..ResponseView::default() };
        let found = differences(&expected(), Wire::GeminiGenerate, &RequestView::default(), &response);
        let names: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(
            names,
            [
                "wire",
                "request model",
                "response model",
                "stream requested",
                "stream",
                "finish_reason",
                "tool_names",
                "text",
                "usage.input_total",
                "usage.cache_read",
                "usage.cache_write",
                "usage.output_total",
            ]
        );
    }

    #[test]
    fn a_finish_reason_may_be_a_number() {
        let (request, mut response) = views();
        response.finish_reason = Some("1".into());
        let expected = ExpectedCall { finish_reason: Some(json!(1)), ..expected() };
        assert_eq!(differences(&expected, Wire::OpenAiChat, &request, &response), [""; 0]);
    }
}
