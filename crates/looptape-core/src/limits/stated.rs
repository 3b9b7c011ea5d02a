//! What providers say of their limits: in the headers of answers, and in the bodies of refusals.

use super::{Limited, Standing};
use crate::headers::RedactedHeaders;
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

/// A limit as an answer states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) which: Limited,
    pub(super) limit: u64,
    pub(super) figures: Figures,
}

/// What is said beside the limit itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figures {
    Nothing,
    /// OpenAI's headers: exact to a unit and a millisecond.
    Standing(Standing),
    /// OpenAI's refusals.
    Refused {
        used: u64,
        requested: u64,
        wait_ms: u64,
    },
}

/// What the headers of an answer state.
pub(super) fn in_headers(headers: &RedactedHeaders) -> Vec<Stated> {
    let number = |name: &str| headers.get(name)?.trim().parse::<u64>().ok();
    let openai = [("requests", Limited::Requests), ("tokens", Limited::Tokens)];
    let openai = openai.into_iter().filter_map(|(name, which)| {
        let limit = number(&format!("x-ratelimit-limit-{name}"))?;
        let remaining = number(&format!("x-ratelimit-remaining-{name}"));
        let reset_us = headers.get(&format!("x-ratelimit-reset-{name}")).and_then(go_duration_us);
        let figures = match (remaining, reset_us) {
            (Some(remaining), Some(reset_us)) => Figures::Standing(Standing { limit, remaining, reset_us }),
            _ => Figures::Nothing,
        };
        Some(Stated { which, limit, figures })
    });
    let by_side = number("anthropic-ratelimit-input-tokens-limit").is_some();
    let anthropic = [
        ("requests", Limited::Requests),
        ("input-tokens", Limited::InputTokens),
        ("output-tokens", Limited::OutputTokens),
        // Input and output together: a limit of its own only where they are not stated apart.
        ("tokens", Limited::Tokens),
    ];
    let anthropic = anthropic
        .into_iter()
        .filter(|(_, which)| !by_side || *which != Limited::Tokens)
        .filter_map(|(name, which)| {
            let limit = number(&format!("anthropic-ratelimit-{name}-limit"))?;
            Some(Stated { which, limit, figures: Figures::Nothing })
        });
    openai.chain(anthropic).collect()
}

/// What the body of a 429 states.
pub(super) fn in_refusal(body: &[u8]) -> Option<Stated> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = &body["error"];
    by_quota(&error["details"]).or_else(|| in_message(error["message"].as_str()?))
}

/// Whether an answer says that the account is used up, which says nothing about its limits.
pub(super) fn is_about_quota(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("insufficient_quota")
}

/// Whether an answer says that there are too many calls at the same time.
pub(super) fn is_about_concurrency(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("concurrent connections") || text.contains("concurrent requests")
}

fn in_message(message: &str) -> Option<Stated> {
    static OPENAI: LazyLock<Regex> = LazyLock::new(|| {
        let figures =
            r"Limit (\d+)(?:, Used (\d+))?, Requested (\d+)\.(?: Please try again in ([0-9hms.]+[hms]))?";
        Regex::new(&format!(r"on (?:[a-z ]+ )?\(?(TPM|RPM)\)?: {figures}")).expect("a valid pattern")
    });
    static ANTHROPIC: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"rate limit (?:for your organization )?of ([\d,]+) (input tokens|output tokens|tokens|requests) per minute")
            .expect("a valid pattern")
    });
    if let Some(found) = OPENAI.captures(message) {
        let figure = |place: usize| found.get(place)?.as_str().parse::<u64>().ok();
        let which = if &found[1] == "TPM" { Limited::Tokens } else { Limited::Requests };
        let wait_us = found.get(5).and_then(|wait| go_duration_us(wait.as_str()));
        let figures = match (figure(3), figure(4), wait_us) {
            (Some(used), Some(requested), Some(wait_us)) => {
                Figures::Refused { used, requested, wait_ms: wait_us / 1000 }
            }
            _ => Figures::Nothing,
        };
        return Some(Stated { which, limit: figure(2)?, figures });
    }
    let found = ANTHROPIC.captures(message)?;
    let which = match &found[2] {
        "input tokens" => Limited::InputTokens,
        "output tokens" => Limited::OutputTokens,
        "tokens" => Limited::Tokens,
        _ => Limited::Requests,
    };
    Some(Stated { which, limit: found[1].replace(',', "").parse().ok()?, figures: Figures::Nothing })
}

/// Gemini's details.
fn by_quota(details: &Value) -> Option<Stated> {
    let violations = details.as_array()?.iter().find_map(|detail| detail["violations"].as_array())?;
    let violation = violations.first()?;
    let limit = &violation["quotaValue"];
    let limit = limit.as_u64().or_else(|| limit.as_str()?.parse().ok())?;
    let metric = violation["quotaMetric"].as_str().or(violation["quotaId"].as_str())?.to_ascii_lowercase();
    let which = if metric.contains("token") { Limited::Tokens } else { Limited::Requests };
    Some(Stated { which, limit, figures: Figures::Nothing })
}

/// A duration as Go prints it: `12ms`, `1.5s`, `6m0s`.
pub(super) fn go_duration_us(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total_us = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total_us += value
            * match &rest[digits..unit] {
                "h" => 3.6e9,
                "m" => 6e7,
                "s" => 1e6,
                "ms" => 1e3,
                "µs" | "us" => 1.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (total_us.is_finite() && !text.trim().is_empty()).then_some(total_us.round() as u64)
}
