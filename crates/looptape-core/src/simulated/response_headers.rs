//! The headers of the simulated provider's answers: content type, request id, rate-limit figures.
//!
//! The figures are those of a bucket that was full before this request: a script has no memory.

use super::reply::{Ids, Reply};
use jiff::Timestamp;

pub(crate) type Headers = Vec<(&'static str, String)>;

/// The tier that the simulated account is on.
pub(crate) const REQUESTS_PER_MIN: u64 = 500;
pub(crate) const TOKENS_PER_MIN: u64 = 30_000;

/// What is left in the account's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remaining {
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
}

impl Remaining {
    fn after(reply: &Reply) -> Self {
        Self {
            requests: REQUESTS_PER_MIN - 1,
            tokens: TOKENS_PER_MIN.saturating_sub(reply.tokens.input + reply.tokens.output),
        }
    }
}

pub(crate) fn openai(reply: &Reply, content_type: &str) -> Headers {
    openai_of(&reply.ids, content_type, Remaining::after(reply))
}

pub(crate) fn openai_of(ids: &Ids, content_type: &str, remaining: Remaining) -> Headers {
    vec![
        ("content-type", content_type.to_owned()),
        ("x-request-id", ids.make("req_", 0)),
        ("openai-version", "2020-10-01".to_owned()),
        ("x-ratelimit-limit-requests", REQUESTS_PER_MIN.to_string()),
        ("x-ratelimit-limit-tokens", TOKENS_PER_MIN.to_string()),
        ("x-ratelimit-remaining-requests", remaining.requests.to_string()),
        ("x-ratelimit-remaining-tokens", remaining.tokens.to_string()),
        ("x-ratelimit-reset-requests", go_duration(refill_ms(remaining.requests, REQUESTS_PER_MIN))),
        ("x-ratelimit-reset-tokens", go_duration(refill_ms(remaining.tokens, TOKENS_PER_MIN))),
    ]
}

pub(crate) fn anthropic(reply: &Reply, content_type: &str) -> Headers {
    anthropic_of(&reply.ids, content_type, Remaining::after(reply), reply.unix_s)
}

pub(crate) fn anthropic_of(ids: &Ids, content_type: &str, remaining: Remaining, unix_s: i64) -> Headers {
    let reset_s = |left, limit| rfc3339(unix_s.saturating_add(refill_s(left, limit)));
    // Anthropic rounds what is left of tokens to thousands.
    let tokens = remaining.tokens / 1000 * 1000;
    vec![
        ("content-type", content_type.to_owned()),
        ("request-id", ids.make("req_", 0)),
        ("anthropic-ratelimit-requests-limit", REQUESTS_PER_MIN.to_string()),
        ("anthropic-ratelimit-requests-remaining", remaining.requests.to_string()),
        ("anthropic-ratelimit-requests-reset", reset_s(remaining.requests, REQUESTS_PER_MIN)),
        ("anthropic-ratelimit-tokens-limit", TOKENS_PER_MIN.to_string()),
        ("anthropic-ratelimit-tokens-remaining", tokens.to_string()),
        ("anthropic-ratelimit-tokens-reset", reset_s(remaining.tokens, TOKENS_PER_MIN)),
    ]
}

pub(crate) fn gemini(content_type: &str) -> Headers {
    vec![("content-type", content_type.to_owned()), ("vary", "Origin".to_owned())]
}

/// How long a continuously refilling bucket takes to be full again.
fn refill_ms(left: u64, per_min: u64) -> u64 {
    per_min.saturating_sub(left) * 60_000 / per_min
}

fn refill_s(left: u64, per_min: u64) -> i64 {
    i64::try_from(refill_ms(left, per_min).div_ceil(1000)).unwrap_or(i64::MAX)
}

/// A duration as Go prints it, at millisecond precision: `12ms`, `1.5s`, `6m0s`.
pub(crate) fn go_duration(ms: u64) -> String {
    let seconds = |ms: u64| {
        let fraction = format!("{:03}", ms % 1000);
        match fraction.trim_end_matches('0') {
            "" => format!("{}s", ms / 1000),
            digits => format!("{}.{digits}s", ms / 1000),
        }
    };
    match ms {
        0 => "0s".to_owned(),
        1..1000 => format!("{ms}ms"),
        1000..60_000 => seconds(ms),
        _ => format!("{}m{}", ms / 60_000, seconds(ms % 60_000)),
    }
}

fn rfc3339(unix_s: i64) -> String {
    Timestamp::from_second(unix_s).unwrap_or(Timestamp::MAX).to_string()
}
