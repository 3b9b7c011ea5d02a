//! What numbers are counted in, and how one of them is written. The script that draws plots writes them the same way.

use looptape_core::cost::Usd;
use looptape_core::figures::{duration, percent};
use looptape_core::metrics::Ms;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds since the start.
    Time,
    /// Milliseconds.
    Duration,
    /// Things.
    Count,
    /// Things, of which there are parts: rates.
    Rate,
    /// Dollars.
    Usd,
    /// A part of one.
    Share,
}

impl Unit {
    pub(super) fn written(self, value: f64) -> String {
        match self {
            _ if value.is_infinite() => "∞".to_owned(),
            Self::Time => clock(value),
            Self::Duration => duration(Ms::from_us((value * 1000.0).round() as i64)),
            Self::Count => format!("{value:.0}"),
            Self::Rate if value.abs() < 10.0 => format!("{value:.2}"),
            Self::Rate => format!("{value:.1}"),
            Self::Usd => Usd::from_f64(value).map_or_else(|| format!("${value}"), |usd| usd.to_string()),
            Self::Share => percent(value),
        }
    }
}

/// `0:32`, `12:05`, `1:02:05`.
fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_written() {
        let written = [
            Unit::Time.written(3725.0),
            Unit::Time.written(32.0),
            Unit::Duration.written(1234.0),
            Unit::Count.written(12.0),
            Unit::Rate.written(1.5),
            Unit::Rate.written(120.0),
            Unit::Usd.written(0.5),
            Unit::Share.written(0.25),
            Unit::Duration.written(f64::INFINITY),
        ];
        assert_eq!(written, ["1:02:05", "0:32", "1.23 s", "12", "1.50", "120.0", "$0.5", "25 %", "∞"]);
    }
}
