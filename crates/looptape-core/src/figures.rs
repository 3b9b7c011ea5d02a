//! Figures as people read them, wherever sentences are made.

use crate::metrics::Ms;

/// `950`, `12.3k`, `1.2M`.
pub fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..999_950 => format!("{:.1}k", n as f64 / 1e3),
        _ => format!("{:.1}M", n as f64 / 1e6),
    }
}

/// `7 %`; small shares that are not nothing are `<1 %`.
pub fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "<1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// `1 step`, `2 steps`.
pub fn plural(n: u32, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `0.4 ms`, `123 ms`, `1.23 s`, `2m03s`, `1h02m`, `12d04h`.
pub fn duration(duration: Ms) -> String {
    let ms = duration.as_f64();
    let whole_s = (duration.us() + 500_000) / 1_000_000;
    match ms {
        _ if ms <= 0.0 => "0 ms".to_owned(),
        _ if ms < 10.0 => format!("{ms:.1} ms"),
        _ if ms < 999.5 => format!("{ms:.0} ms"),
        _ if ms < 59_995.0 => format!("{:.2} s", ms / 1000.0),
        _ if whole_s < 3600 => format!("{}m{:02}s", whole_s / 60, whole_s % 60),
        _ if whole_s < 172_800 => format!("{}h{:02}m", whole_s / 3600, whole_s / 60 % 60),
        _ => format!("{}d{:02}h", whole_s / 86_400, whole_s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares() {
        assert_eq!([count(9_999), count(12_345), count(1_234_567)], ["9999", "12.3k", "1.2M"]);
        assert_eq!(
            [percent(0.0), percent(0.004), percent(0.456), percent(1.0)],
            ["0 %", "<1 %", "46 %", "100 %"]
        );
        assert_eq!([plural(1, "retry", "retries"), plural(0, "retry", "retries")], ["1 retry", "0 retries"]);
    }

    #[test]
    fn durations() {
        let shown = |us| duration(Ms::from_us(us));
        assert_eq!([0, 420, 123_400].map(shown), ["0 ms", "0.4 ms", "123 ms"]);
        assert_eq!([999_600, 1_234_000, 59_996_000].map(shown), ["1.00 s", "1.23 s", "1m00s"]);
        assert_eq!([123_000_000, 3_720_000_000, 1_051_200_000_000].map(shown), ["2m03s", "1h02m", "12d04h"]);
    }
}
