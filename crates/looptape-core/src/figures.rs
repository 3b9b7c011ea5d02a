//! Figures as people read them, wherever sentences are made.

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
}
