//! Times as recorders write them: moments in several notations, durations as Go writes them.
//!
//! A moment without a zone is UTC, as every recorder that leaves the zone out means it. What cannot be read
//! is not known; it is no reason to refuse a recording.

use super::{CallTimes, document::Node};
use jiff::{Timestamp, civil, fmt::rfc2822, tz::TimeZone};

/// The times of an interaction that says when it was noted down.
pub(super) fn recorded_at(interaction: &Node) -> CallTimes {
    let recorded_at = interaction.get_some("recorded_at").and_then(Node::text);
    CallTimes { started_unix_us: recorded_at.as_deref().and_then(unix_us), ..CallTimes::default() }
}

/// µs since the Unix epoch: of `2024-02-14T06:53:36.314Z`, `2024-02-14 06:53:36 +02:00`,
/// `2024-02-14 06:53:36 GMT`, `2024-02-14T06:53:36`, `Wed, 14 Feb 2024 06:53:36 GMT`.
pub(super) fn unix_us(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.contains(',') {
        return rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_microsecond());
    }
    let (moment, zone) = split_zone(text);
    match zone {
        "" | "Z" | "z" | "UTC" | "GMT" => {
            let local: civil::DateTime = moment.parse().ok()?;
            local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_microsecond())
        }
        offset => format!("{moment}{offset}").parse::<Timestamp>().ok().map(Timestamp::as_microsecond),
    }
}

/// Date and time, and what follows them.
fn split_zone(text: &str) -> (&str, &str) {
    // A date has dashes of its own, so offsets are looked for behind it.
    let time = text.find(['T', 't', ' ']).map_or(text.len(), |at| at + 1);
    let zone = text[time..].find([' ', '+', '-', 'Z', 'z', 'U', 'G']).map_or(text.len(), |at| time + at);
    (&text[..zone], text[zone..].trim())
}

/// µs of a duration as Go prints it (`1.5s`, `160.745167ms`, `1m2s`, `-5µs`), or of a bare count of ns.
/// `None` for what is neither, and for durations that are not positive: they were never measured.
pub(super) fn go_duration_us(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(ns) = text.parse::<i64>() {
        return Some(ns / 1_000).filter(|us| *us > 0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total_us = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total_us += amount * unit_us(&rest[..unit])?;
        rest = &rest[unit..];
    }
    positive_us(total_us)
}

fn unit_us(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-3,
        "us" | "µs" | "μs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3_600e6,
        _ => return None,
    })
}

/// µs of a count of ms, with the same rule for what is not positive.
pub(super) fn ms_us(text: &str) -> Option<i64> {
    positive_us(text.trim().parse::<f64>().ok()? * 1e3)
}

/// Whole µs; nothing below one, and nothing beyond a year, is a duration of a call.
fn positive_us(us: f64) -> Option<i64> {
    const YEAR_US: f64 = 366.0 * 86_400e6;
    (1.0..YEAR_US).contains(&us).then(|| us.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let expected = 1_707_893_616_000_000;
        for text in [
            "2024-02-14T06:53:36Z",
            "2024-02-14T06:53:36",
            "2024-02-14 06:53:36",
            "2024-02-14 06:53:36 GMT",
            "2024-02-14 06:53:36 UTC",
            "2024-02-14 06:53:36.000000000 Z",
            "2024-02-14T08:53:36+02:00",
            "2024-02-14 08:53:36 +02:00",
            "2024-02-14 01:53:36.000 -0500",
            "Wed, 14 Feb 2024 06:53:36 GMT",
        ] {
            assert_eq!(unix_us(text), Some(expected), "{text}");
        }
        assert_eq!(unix_us("2024-02-14T06:53:36.314159Z"), Some(expected + 314_159));
        for text in ["", "yesterday", "2024-13-01T00:00:00Z", "12:30", "1707893616"] {
            assert_eq!(unix_us(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, us) in [
            ("1.588085084s", 1_588_085),
            ("160.745167ms", 160_745),
            ("1m2.5s", 62_500_000),
            ("1h0m0s", 3_600_000_000),
            ("250µs", 250),
            ("1588085084", 1_588_085),
        ] {
            assert_eq!(go_duration_us(text), Some(us), "{text}");
        }
        for text in ["", "0s", "-5ms", "5", "s", "1.5", "1 s", "1.2.3s", "9e9h", "999999h"] {
            assert_eq!(go_duration_us(text), None, "{text}");
        }
        assert_eq!(
            [ms_us("694.5"), ms_us("-1"), ms_us("NaN"), ms_us("x")],
            [Some(694_500), None, None, None]
        );
    }
}
