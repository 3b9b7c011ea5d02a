//! The headers of the simulated provider's answers: content type, request id, rate-limit figures.
//!
//! Figures are those of the account's limits; a limit that does not exist has no header.

use super::reply::{Ids, Reply};
use crate::limits::{Standing, Standings};
use jiff::Timestamp;

pub(crate) type Headers = Vec<(&'static str, String)>;

pub(crate) fn openai(reply: &Reply, content_type: &str) -> Headers {
    openai_of(&reply.ids, content_type, &reply.standings)
}

pub(crate) fn openai_of(ids: &Ids, content_type: &str, standings: &Standings) -> Headers {
    let mut headers = vec![
        ("content-type", content_type.to_owned()),
        ("x-request-id", ids.make("req_", 0)),
        ("openai-version", "2020-10-01".to_owned()),
    ];
    // An account with Anthropic's limits still tells the tighter of them.
    let tokens = standings.tokens.or(standings.input_tokens).or(standings.output_tokens);
    let figures = [
        (
            standings.requests,
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
        ),
        (tokens, ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]),
    ];
    for (standing, [limit, remaining, reset]) in figures {
        if let Some(standing) = standing {
            headers.push((limit, standing.limit.to_string()));
            headers.push((remaining, standing.remaining.to_string()));
            headers.push((reset, go_duration(standing.reset_us / 1000)));
        }
    }
    headers
}

pub(crate) fn anthropic(reply: &Reply, content_type: &str) -> Headers {
    anthropic_of(&reply.ids, content_type, &reply.standings, reply.unix_s)
}

pub(crate) fn anthropic_of(ids: &Ids, content_type: &str, standings: &Standings, unix_s: i64) -> Headers {
    let mut headers = vec![("content-type", content_type.to_owned()), ("request-id", ids.make("req_", 0))];
    let names = |limit, remaining, reset| [limit, remaining, reset];
    let figures = [
        (
            standings.requests,
            names(
                "anthropic-ratelimit-requests-limit",
                "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-reset",
            ),
        ),
        (
            together(standings).map(rounded),
            names(
                "anthropic-ratelimit-tokens-limit",
                "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-reset",
            ),
        ),
        (
            standings.input_tokens.map(rounded),
            names(
                "anthropic-ratelimit-input-tokens-limit",
                "anthropic-ratelimit-input-tokens-remaining",
                "anthropic-ratelimit-input-tokens-reset",
            ),
        ),
        (
            standings.output_tokens.map(rounded),
            names(
                "anthropic-ratelimit-output-tokens-limit",
                "anthropic-ratelimit-output-tokens-remaining",
                "anthropic-ratelimit-output-tokens-reset",
            ),
        ),
    ];
    for (standing, [limit, remaining, reset]) in figures {
        if let Some(standing) = standing {
            let reset_s = i64::try_from(standing.reset_us.div_ceil(1_000_000)).unwrap_or(i64::MAX);
            headers.push((limit, standing.limit.to_string()));
            headers.push((remaining, standing.remaining.to_string()));
            headers.push((reset, rfc3339(unix_s.saturating_add(reset_s))));
        }
    }
    headers
}

/// Anthropic states input and output together too.
fn together(standings: &Standings) -> Option<Standing> {
    match (standings.input_tokens, standings.output_tokens) {
        (Some(input), Some(output)) => Some(Standing {
            limit: input.limit + output.limit,
            remaining: input.remaining + output.remaining,
            reset_us: input.reset_us.max(output.reset_us),
        }),
        (input, output) => standings.tokens.or(input).or(output),
    }
}

/// Anthropic rounds what is left of tokens to thousands.
fn rounded(standing: Standing) -> Standing {
    Standing { remaining: standing.remaining / 1000 * 1000, ..standing }
}

pub(crate) fn gemini(content_type: &str) -> Headers {
    vec![("content-type", content_type.to_owned()), ("vary", "Origin".to_owned())]
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
