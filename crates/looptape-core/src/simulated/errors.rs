//! Answers that refuse: each format's own error body, with the headers that clients act on.

use super::conversation::Conversation;
use super::reply::Ids;
use super::response_headers::{self, Headers, Remaining, TOKENS_PER_MIN};
use super::script::Rejection;
use super::{Format, SimChunk, SimEnding, SimRequest, SimResponse};
use serde_json::{Value, json};

/// A path of no known format.
pub(crate) fn not_found(path: &str) -> SimResponse {
    let message = format!("the simulated provider does not know the path {path}");
    plain(404, Format::OpenAiChat, "invalid_request_error", &message)
}

pub(crate) fn wrong_method(format: Format, method: &str) -> SimResponse {
    plain(405, format, "invalid_request_error", &format!("use POST, not {method}"))
}

pub(crate) fn bad_request(format: Format, message: &str) -> SimResponse {
    plain(400, format, "invalid_request_error", message)
}

/// The refusal that a script asks for.
pub(crate) fn rejected(
    format: Format,
    rejection: Rejection,
    conversation: &Conversation,
    request: &SimRequest<'_>,
) -> SimResponse {
    let Rejection::RateLimited { retry_after_s } = rejection;
    let ids = Ids::of(request);
    let none = Remaining { requests: response_headers::REQUESTS_PER_MIN - 1, tokens: 0 };
    let json = "application/json";
    match format {
        Format::OpenAiChat | Format::OpenAiResponses => {
            let mut headers = response_headers::openai_of(&ids, json, none);
            headers.push(("retry-after", retry_after_s.to_string()));
            answer(429, headers, &openai_rate_limit(conversation, retry_after_s))
        }
        Format::AnthropicMessages => {
            let mut headers = response_headers::anthropic_of(&ids, json, none, request.unix_s);
            headers.push(("retry-after", retry_after_s.to_string()));
            let message = format!(
                "This request would exceed your organization's rate limit of {TOKENS_PER_MIN} input tokens per minute."
            );
            let mut body = error_body(format, 429, "rate_limit_error", &message);
            body["request_id"] = json!(ids.make("req_", 0));
            answer(429, headers, &body)
        }
        Format::GeminiGenerate => {
            let message =
                format!("Resource has been exhausted (e.g. check quota). Please retry in {retry_after_s}s.");
            let mut body = error_body(format, 429, "RESOURCE_EXHAUSTED", &message);
            body["error"]["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{retry_after_s}s"),
            }]);
            answer(429, response_headers::gemini("application/json; charset=UTF-8"), &body)
        }
    }
}

/// OpenAI's message states the figures of a refilling bucket: the wait is
/// (used + requested − limit) / (limit / 60) seconds.
fn openai_rate_limit(conversation: &Conversation, retry_after_s: u32) -> Value {
    let requested = conversation.input_tokens.min(TOKENS_PER_MIN);
    let used = TOKENS_PER_MIN + u64::from(retry_after_s) * TOKENS_PER_MIN / 60 - requested;
    json!({ "error": {
        "message": format!(
            "Rate limit reached for {} in organization org-simulated on tokens per min (TPM): Limit {TOKENS_PER_MIN}, \
             Used {used}, Requested {requested}. Please try again in {}.",
            conversation.model,
            response_headers::go_duration(u64::from(retry_after_s) * 1000),
        ),
        "type": "tokens",
        "param": null,
        "code": "rate_limit_exceeded",
    }})
}

fn plain(status: u16, format: Format, kind: &str, message: &str) -> SimResponse {
    let headers = vec![("content-type", "application/json".to_owned())];
    answer(status, headers, &error_body(format, status, kind, message))
}

fn error_body(format: Format, status: u16, kind: &str, message: &str) -> Value {
    match format {
        Format::OpenAiChat | Format::OpenAiResponses => {
            json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
        }
        Format::AnthropicMessages => {
            json!({ "type": "error", "error": { "type": kind, "message": message } })
        }
        Format::GeminiGenerate => {
            let kind = if status == 400 { "INVALID_ARGUMENT" } else { kind };
            json!({ "error": { "code": status, "message": message, "status": kind } })
        }
    }
}

fn answer(status: u16, headers: Headers, body: &Value) -> SimResponse {
    let chunks = vec![SimChunk { delay_us: 0, bytes: body.to_string().into_bytes() }];
    SimResponse { status, headers, chunks, ending: SimEnding::Complete }
}
