//! Answers that refuse: each format's own error body, with the headers that clients act on.

use super::reply::Ids;
use super::response_headers::{self, Headers};
use super::{Carries, Format, SimChunk, SimEnding, SimResponse};
use crate::limits::{Blocked, Limited, Standings};
use crate::twin::{Refusal, RefusalWhy};
use serde_json::{Value, json};

/// A path of no known format.
pub(crate) fn not_found(path: &str) -> SimResponse {
    let message = format!("the simulated provider does not know the path {path}");
    plain(404, Format::OpenAiChat, &message)
}

pub(crate) fn wrong_method(format: Format, method: &str) -> SimResponse {
    plain(405, format, &format!("use POST, not {method}"))
}

pub(crate) fn bad_request(format: Format, message: &str) -> SimResponse {
    plain(400, format, message)
}

/// What a refusal is about.
pub(crate) struct Refused<'a> {
    pub(crate) format: Format,
    pub(crate) model: &'a str,
    pub(crate) ids: Ids,
    pub(crate) standings: Standings,
    pub(crate) unix_s: i64,
}

impl Refused<'_> {
    /// The answer that the provider gives.
    pub(crate) fn answer(&self, refusal: &Refusal) -> SimResponse {
        let status = refusal.status_in(self.format.wire());
        let wait_us = refusal.retry_after_us();
        let error = match refusal.why {
            RefusalWhy::Limit(blocked) => self.limited(&blocked),
            RefusalWhy::NoQuota => no_quota(self.format),
            RefusalWhy::Fault { status: 429, retry_after_us } => self.limited(&self.made_up(retry_after_us)),
            RefusalWhy::Fault { .. } | RefusalWhy::Overloaded => {
                error_body(self.format, status, kind(self.format, status), message(self.format, status))
            }
        };
        let mut headers = self.headers();
        if let Some(wait_us) = wait_us {
            headers.extend(retry_after(self.format, wait_us));
        }
        answer(status, headers, &self.identified(error))
    }

    fn headers(&self) -> Headers {
        let json = "application/json";
        match self.format {
            Format::OpenAiChat | Format::OpenAiResponses => {
                response_headers::openai_of(&self.ids, json, &self.standings)
            }
            Format::AnthropicMessages => {
                response_headers::anthropic_of(&self.ids, json, &self.standings, self.unix_s)
            }
            Format::GeminiGenerate => response_headers::gemini("application/json; charset=UTF-8"),
        }
    }

    fn identified(&self, mut error: Value) -> Value {
        if self.format == Format::AnthropicMessages {
            error["request_id"] = json!(self.ids.make("req_", 0));
        }
        error
    }

    fn limited(&self, blocked: &Blocked) -> Value {
        match self.format {
            Format::OpenAiChat | Format::OpenAiResponses => openai_limit(self.model, blocked),
            Format::AnthropicMessages => anthropic_limit(blocked),
            Format::GeminiGenerate => gemini_limit(self.model, blocked),
        }
    }

    /// Figures for a 429 that a script asks for: those that give its wait.
    fn made_up(&self, retry_after_us: Option<u64>) -> Blocked {
        let limit = self.standings.tokens.map_or(30_000, |standing| standing.limit);
        let wait_us = retry_after_us.unwrap_or(1_000_000);
        let requested = limit / 10;
        let used = limit - requested + wait_us.saturating_mul(limit) / 60_000_000;
        Blocked { which: Limited::Tokens, limit, used, requested, wait_us: Some(wait_us) }
    }
}

/// OpenAI's message states the figures of a refilling bucket: the wait is
/// (used + requested − limit) / (limit / 60) seconds.
fn openai_limit(model: &str, blocked: &Blocked) -> Value {
    let Blocked { limit, used, requested, .. } = blocked;
    let (kind, what) = match blocked.which {
        Limited::Requests => ("requests", "requests per min (RPM)"),
        Limited::Concurrent => ("requests", "concurrent requests"),
        Limited::Tokens | Limited::InputTokens | Limited::OutputTokens => ("tokens", "tokens per min (TPM)"),
    };
    let message = match blocked.wait_us {
        Some(wait_us) => format!(
            "Rate limit reached for {model} in organization org-simulated on {what}: Limit {limit}, Used {used}, \
             Requested {requested}. Please try again in {}.",
            response_headers::go_duration(wait_us.div_ceil(1000)),
        ),
        None => format!(
            "Request too large for {model} in organization org-simulated on {what}: Limit {limit}, Requested \
             {requested}. The input or output tokens must be reduced in order to run successfully."
        ),
    };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": "rate_limit_exceeded" } })
}

fn anthropic_limit(blocked: &Blocked) -> Value {
    let what = match blocked.which {
        Limited::Requests => "requests",
        Limited::Tokens => "tokens",
        Limited::InputTokens => "input tokens",
        Limited::OutputTokens => "output tokens",
        Limited::Concurrent => {
            let message =
                "Number of concurrent connections has exceeded your rate limit. Please try again later.";
            return error_body(Format::AnthropicMessages, 429, "rate_limit_error", message);
        }
    };
    let message = format!(
        "This request would exceed your organization's rate limit of {} {what} per minute.",
        in_thousands(blocked.limit)
    );
    error_body(Format::AnthropicMessages, 429, "rate_limit_error", &message)
}

fn gemini_limit(model: &str, blocked: &Blocked) -> Value {
    let metric = match blocked.which {
        Limited::Requests | Limited::Concurrent => "generate_content_paid_tier_requests",
        Limited::Tokens | Limited::InputTokens | Limited::OutputTokens => {
            "generate_content_paid_tier_input_token_count"
        }
    };
    let wait = blocked.wait_us.map(|wait_us| format!("{}s", wait_us.div_ceil(1_000_000)));
    let retry = wait.as_ref().map_or(String::new(), |wait| format!(" Please retry in {wait}."));
    let message = format!("Resource has been exhausted (e.g. check quota).{retry}");
    let mut body = error_body(Format::GeminiGenerate, 429, "RESOURCE_EXHAUSTED", &message);
    let retry_info =
        wait.map(|wait| json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait }));
    let failure = json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{
            "quotaMetric": format!("generativelanguage.googleapis.com/{metric}"),
            "quotaDimensions": { "location": "global", "model": model },
            "quotaValue": blocked.limit.to_string(),
        }],
    });
    let details = retry_info.into_iter().chain([failure]).collect();
    body["error"]["details"] = Value::Array(details);
    body
}

/// The account's credit is used up. Anthropic has no 429 for that.
fn no_quota(format: Format) -> Value {
    let message = match format {
        Format::AnthropicMessages => {
            "Your credit balance is too low to access the API. Please go to Plans & Billing to upgrade or purchase credits."
        }
        _ => "You exceeded your current quota, please check your plan and billing details.",
    };
    match format {
        Format::OpenAiChat | Format::OpenAiResponses => {
            let code = "insufficient_quota";
            json!({ "error": { "message": message, "type": code, "param": null, "code": code } })
        }
        Format::AnthropicMessages => error_body(format, 400, "invalid_request_error", message),
        Format::GeminiGenerate => error_body(format, 429, "RESOURCE_EXHAUSTED", message),
    }
}

/// What clients wait for. Seconds are rounded up, so that whoever waits so long is let in; OpenAI states the
/// milliseconds too. Gemini says it in the body only.
fn retry_after(format: Format, wait_us: u64) -> Headers {
    let seconds = ("retry-after", wait_us.div_ceil(1_000_000).to_string());
    match format {
        Format::OpenAiChat | Format::OpenAiResponses => {
            vec![("retry-after-ms", wait_us.div_ceil(1000).to_string()), seconds]
        }
        Format::AnthropicMessages => vec![seconds],
        Format::GeminiGenerate => Vec::new(),
    }
}

/// An error inside a stream, as the piece that says it; `number` is its place among numbered events.
pub(crate) fn in_stream(format: Format, number: usize) -> Value {
    let status = if format == Format::AnthropicMessages { 529 } else { 500 };
    let (kind, message) = (kind(format, status), message(format, status));
    match format {
        Format::OpenAiResponses => json!({
            "type": "error", "sequence_number": number, "code": "server_error", "message": message, "param": null,
        }),
        _ => error_body(format, status, kind, message),
    }
}

fn plain(status: u16, format: Format, message: &str) -> SimResponse {
    let headers = vec![("content-type", "application/json".to_owned())];
    answer(status, headers, &error_body(format, status, kind(format, status), message))
}

fn error_body(format: Format, status: u16, kind: &str, message: &str) -> Value {
    match format {
        Format::OpenAiChat | Format::OpenAiResponses => {
            let code = if status == 401 { json!("invalid_api_key") } else { Value::Null };
            json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
        }
        Format::AnthropicMessages => {
            json!({ "type": "error", "error": { "type": kind, "message": message } })
        }
        Format::GeminiGenerate => {
            json!({ "error": { "code": status, "message": message, "status": kind } })
        }
    }
}

/// The format's own word for a status.
fn kind(format: Format, status: u16) -> &'static str {
    match (format, status) {
        (Format::OpenAiChat | Format::OpenAiResponses, 500..) => "server_error",
        (Format::OpenAiChat | Format::OpenAiResponses, 401) => "authentication_error",
        (Format::OpenAiChat | Format::OpenAiResponses, _) => "invalid_request_error",
        (Format::AnthropicMessages, 401) => "authentication_error",
        (Format::AnthropicMessages, 403) => "permission_error",
        (Format::AnthropicMessages, 404) => "not_found_error",
        (Format::AnthropicMessages, 413) => "request_too_large",
        (Format::AnthropicMessages, 504) => "timeout_error",
        (Format::AnthropicMessages, 529) => "overloaded_error",
        (Format::AnthropicMessages, 500..) => "api_error",
        (Format::AnthropicMessages, _) => "invalid_request_error",
        (Format::GeminiGenerate, 401) => "UNAUTHENTICATED",
        (Format::GeminiGenerate, 403) => "PERMISSION_DENIED",
        (Format::GeminiGenerate, 404) => "NOT_FOUND",
        (Format::GeminiGenerate, 503) => "UNAVAILABLE",
        (Format::GeminiGenerate, 504) => "DEADLINE_EXCEEDED",
        (Format::GeminiGenerate, 500..) => "INTERNAL",
        (Format::GeminiGenerate, _) => "INVALID_ARGUMENT",
    }
}

fn message(format: Format, status: u16) -> &'static str {
    match (format, status) {
        (_, 401) => "The simulated provider refuses this key.",
        (_, 403) => "The simulated provider does not allow this.",
        (_, 408 | 504) => "The request timed out. Please try again.",
        (_, 413) => "The request exceeds the maximum size.",
        (Format::AnthropicMessages, 529 | 503) => "Overloaded",
        (_, 529 | 503) => "The model is overloaded. Please try again later.",
        (_, 500..) => "The server had an error while processing your request.",
        _ => "The simulated provider refuses this request, as its script says.",
    }
}

/// 30,000
fn in_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn answer(status: u16, headers: Headers, body: &Value) -> SimResponse {
    let chunks =
        vec![SimChunk { delay_us: 0, carries: Carries::Output, bytes: body.to_string().into_bytes() }];
    SimResponse { status, headers, chunks, ending: SimEnding::Complete }
}
