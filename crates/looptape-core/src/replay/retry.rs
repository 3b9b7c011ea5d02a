//! When a call that failed is sent again: as the providers' SDKs do it, without their jitter.
//!
//! A provider's own word (`x-should-retry`) beats its status. The wait is what the answer asks for, if that is
//! a minute at most, else half a second, doubled each time, eight seconds at most.

use crate::exchange::{Ending, Outcome};
use crate::headers::RedactedHeaders;
use std::time::Duration;

/// How often the SDKs send a call again.
pub const MAX_RETRIES: u32 = 2;

const LONGEST_ASKED_FOR: Duration = Duration::from_secs(60);
const FIRST_WAIT_MS: u64 = 500;
const LONGEST_WAIT_MS: u64 = 8_000;

/// How long to wait before a call is sent again that was sent `retries` times more than once, of
/// `max_retries`; `None` if it is not.
pub fn wait_before_retry(outcome: &Outcome, retries: u32, max_retries: u32) -> Option<Duration> {
    if retries >= max_retries {
        return None;
    }
    let backoff = || Duration::from_millis((FIRST_WAIT_MS << retries.min(8)).min(LONGEST_WAIT_MS));
    match outcome {
        Outcome::InFlight => None,
        Outcome::NoResponse { ending, .. } => (*ending != Ending::ClientGone).then(backoff),
        Outcome::Answered(answer) => {
            let is_retryable = match answer.headers.get("x-should-retry") {
                Some("true") => true,
                Some("false") => false,
                _ => matches!(answer.status, 408 | 409 | 429 | 500..),
            };
            is_retryable.then(|| asked_for(&answer.headers).unwrap_or_else(backoff))
        }
    }
}

fn asked_for(headers: &RedactedHeaders) -> Option<Duration> {
    let seconds = |name: &str, unit_s: f64| {
        let stated = headers.get(name)?.trim().parse::<f64>().ok()?;
        Duration::try_from_secs_f64(stated * unit_s).ok()
    };
    let wait = seconds("retry-after-ms", 0.001).or_else(|| seconds("retry-after", 1.0));
    wait.filter(|wait| *wait <= LONGEST_ASKED_FOR)
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
