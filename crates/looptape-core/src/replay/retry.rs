//! When a recorded request that failed is sent again: as the providers' SDKs do it, without their jitter.
//!
//! [`RetryPolicy`] decides; here is what it has to know of an outcome.

use crate::exchange::{Ending, Outcome};
use crate::headers::RedactedHeaders;
use crate::retry::{Failure, FailureKind, RetryPolicy};
use std::time::Duration;

/// How often the SDKs send a call again.
pub const MAX_RETRIES: u32 = RetryPolicy::SDK.max;

/// How long to wait before a call is sent again that was sent `retries` times more than once, of
/// `max_retries`; `None` if it is not.
pub fn wait_before_retry(outcome: &Outcome, retries: u32, max_retries: u32) -> Option<Duration> {
    let failure = match outcome {
        Outcome::InFlight | Outcome::NoResponse { ending: Ending::ClientGone, .. } => return None,
        Outcome::NoResponse { .. } => {
            Failure { kind: FailureKind::NoAnswer, should_retry: None, asked_for_us: None }
        }
        Outcome::Answered(answer) => Failure {
            kind: FailureKind::Status(answer.status),
            should_retry: answer.headers.get("x-should-retry").and_then(|word| word.parse().ok()),
            asked_for_us: asked_for_us(&answer.headers),
        },
    };
    let policy = RetryPolicy { max: max_retries, ..RetryPolicy::SDK.without_jitter() };
    policy.wait_us(failure, retries, 0.0).map(Duration::from_micros)
}

fn asked_for_us(headers: &RedactedHeaders) -> Option<u64> {
    let us = |name: &str, unit_s: f64| {
        let stated = headers.get(name)?.trim().parse::<f64>().ok()?;
        let wait = Duration::try_from_secs_f64(stated * unit_s).ok()?;
        u64::try_from(wait.as_micros()).ok()
    };
    us("retry-after-ms", 0.001).or_else(|| us("retry-after", 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Answer;
    use bytes::Bytes;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Outcome {
        let headers = RedactedHeaders::redact(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        let (body, chunks) = (Bytes::new(), Vec::new());
        Outcome::Answered(Answer {
            status,
            headers,
            body,
            chunks,
            head_us: 0,
            end_us: 0,
            ending: Ending::Complete,
        })
    }

    #[test]
    fn as_sdks_do() {
        let ms = |wait: Option<Duration>| wait.map(|wait| wait.as_millis());
        let first = |status, headers: &[(&str, &str)]| {
            ms(wait_before_retry(&answer(status, headers), 0, MAX_RETRIES))
        };
        assert_eq!(first(200, &[]), None);
        assert_eq!(first(400, &[]), None);
        assert_eq!(first(429, &[]), Some(500));
        assert_eq!(first(503, &[("retry-after", "2")]), Some(2_000));
        assert_eq!(first(429, &[("retry-after", "2"), ("retry-after-ms", "30")]), Some(30));
        assert_eq!(first(429, &[("retry-after", "3600")]), Some(500));
        assert_eq!(first(429, &[("retry-after", "-1")]), Some(500));
        assert_eq!(first(429, &[("x-should-retry", "false")]), None);
        assert_eq!(first(400, &[("x-should-retry", "true")]), Some(500));
        let again = |retries| ms(wait_before_retry(&answer(500, &[]), retries, MAX_RETRIES));
        assert_eq!([again(0), again(1), again(MAX_RETRIES)], [Some(500), Some(1_000), None]);
        let lost = |ending| ms(wait_before_retry(&Outcome::NoResponse { end_us: 0, ending }, 0, MAX_RETRIES));
        assert_eq!(lost(Ending::UpstreamReset { error: String::new() }), Some(500));
        assert_eq!(lost(Ending::ClientGone), None);
    }
}
