//! Minutes, hours and days, as a calendar has them: a day may have 23 hours.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Unit, Zoned, ZonedRound};
use serde::Serialize;
use std::fmt;

/// How finely time is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    Minute,
    Hour,
    Day,
}

/// A minute, an hour or a day: from one instant on, and before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stretch {
    pub start_unix_us: i64,
    pub end_unix_us: i64,
}

/// Stretches of a chart, about, beyond which a coarser unit fits better.
const FITTING: i64 = 200;

const HOUR_US: i64 = 3_600_000_000;

impl TimeUnit {
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Minute, Self::Hour, Self::Day].into_iter().find(|unit| unit.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The finest that cuts a time of this length into no more stretches than can be seen.
    pub fn fitting(length_us: i64) -> Self {
        if length_us <= FITTING * HOUR_US / 60 {
            Self::Minute
        } else if length_us <= FITTING * HOUR_US {
            Self::Hour
        } else {
            Self::Day
        }
    }

    /// The stretch of this unit in which an instant lies; `None` beyond the calendar.
    pub fn stretch(self, unix_us: i64, zone: &TimeZone) -> Option<Stretch> {
        let at = zoned(unix_us, zone)?;
        let (start, length) = match self {
            Self::Minute => (down_to(&at, Unit::Minute)?, 1.minute()),
            Self::Hour => (down_to(&at, Unit::Hour)?, 1.hour()),
            Self::Day => (at.start_of_day().ok()?, 1.day()),
        };
        let end = start.checked_add(length).ok()?;
        let us = |at: &Zoned| at.timestamp().as_microsecond();
        Some(Stretch { start_unix_us: us(&start), end_unix_us: us(&end) })
    }

    /// What people call the stretch in which an instant lies.
    pub fn label(self, unix_us: i64, zone: &TimeZone) -> Option<String> {
        let form = match self {
            Self::Minute => "%Y-%m-%d %H:%M",
            Self::Hour => "%Y-%m-%d %H:00",
            Self::Day => "%Y-%m-%d",
        };
        Some(zoned(unix_us, zone)?.strftime(form).to_string())
    }
}

impl Stretch {
    pub fn holds(self, unix_us: i64) -> bool {
        (self.start_unix_us..self.end_unix_us).contains(&unix_us)
    }
}

fn zoned(unix_us: i64, zone: &TimeZone) -> Option<Zoned> {
    Timestamp::from_microsecond(unix_us).ok().map(|at| at.to_zoned(zone.clone()))
}

fn down_to(at: &Zoned, unit: Unit) -> Option<Zoned> {
    at.round(ZonedRound::new().smallest(unit).mode(jiff::RoundMode::Trunc)).ok()
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn an_instant_lies_in_its_minute_its_hour_and_its_day() {
        let at = us("2026-11-01T17:05:09.5Z");
        for (unit, label, start, end) in [
            (TimeUnit::Minute, "2026-11-01 17:05", "2026-11-01T17:05:00Z", "2026-11-01T17:06:00Z"),
            (TimeUnit::Hour, "2026-11-01 17:00", "2026-11-01T17:00:00Z", "2026-11-01T18:00:00Z"),
            (TimeUnit::Day, "2026-11-01", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
        ] {
            let stretch = unit.stretch(at, &TimeZone::UTC).unwrap();
            assert_eq!(stretch, Stretch { start_unix_us: us(start), end_unix_us: us(end) }, "{unit}");
            assert!(stretch.holds(at) && stretch.holds(us(start)) && !stretch.holds(us(end)), "{unit}");
            assert_eq!(unit.label(at, &TimeZone::UTC).as_deref(), Some(label));
            assert_eq!(TimeUnit::parse(unit.as_str()), Some(unit));
        }
        assert_eq!(TimeUnit::Day.stretch(i64::MAX, &TimeZone::UTC), None);
    }

    #[test]
    fn a_day_may_have_more_hours_than_others() {
        // An hour west of Greenwich in winter, none in summer: clocks go back on 2026-10-25 at 01:00 UTC.
        let zone = TimeZone::posix("AZOT1AZOST,M3.5.0/0,M10.5.0/1").unwrap();
        let day = TimeUnit::Day.stretch(us("2026-10-25T12:00:00Z"), &zone).unwrap();
        assert_eq!(day.end_unix_us - day.start_unix_us, 25 * HOUR_US);
        let hour = TimeUnit::Hour.stretch(us("2026-10-25T01:30:00Z"), &zone).unwrap();
        assert_eq!(hour.end_unix_us - hour.start_unix_us, HOUR_US);
        assert!(hour.holds(us("2026-10-25T01:30:00Z")) && !hour.holds(us("2026-10-25T00:30:00Z")));
    }

    #[test]
    fn a_unit_fits_a_length() {
        for (hours, unit) in [
            (0, TimeUnit::Minute),
            (3, TimeUnit::Minute),
            (4, TimeUnit::Hour),
            (168, TimeUnit::Hour),
            (720, TimeUnit::Day),
        ] {
            assert_eq!(TimeUnit::fitting(hours * HOUR_US), unit, "{hours} h");
        }
    }
}
