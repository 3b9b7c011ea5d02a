//! Points in time by their shape: dates with a time, and epoch times near a run's clock.

/// How far an epoch time may be from a run's start to be one of its own.
pub(super) const NEAR_S: i64 = 2 * 86_400;

/// The length of the date-time with which the text begins. ISO 8601 in its usual spellings, what `date`,
/// `ls -l` and HTTP headers print.
pub(super) fn date_time(text: &[u8]) -> Option<usize> {
    let mut reader = Reader { text, at: 0 };
    let first = *text.first()?;
    let found = if first.is_ascii_digit() {
        reader.iso().or_else(|| reader.restart().compact()).or_else(|| reader.restart().day_first())
    } else if first.is_ascii_uppercase() {
        reader.month_first()
    } else {
        None
    };
    found?;
    let ends = !text.get(reader.at).is_some_and(u8::is_ascii_alphanumeric);
    ends.then_some(reader.at)
}

/// The µs since 1970 that a run of digits with its fraction may be, by its length: seconds, milli-, micro-
/// and nanoseconds of this century.
pub(super) fn epoch_unix_us(digits: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match digits.len() {
        10 => value.checked_mul(1_000_000),
        13 => value.checked_mul(1_000),
        16 => Some(value),
        19 => Some(value / 1_000),
        _ => None,
    }
}

/// Reads forward; a reader that failed is not used again, but restarted.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

impl Reader<'_> {
    fn restart(&mut self) -> &mut Self {
        self.at = 0;
        self
    }

    /// `2026-11-22T08:56:54.123Z`, `2026/11/22 08:56`, `2026-11-22_08-56-54`.
    fn iso(&mut self) -> Option<()> {
        self.number(4, 1900, 2200)?;
        let separator = self.one_of(b"-/")?;
        self.number(2, 1, 12)?;
        self.one_of(&[separator])?;
        self.number(2, 1, 31)?;
        let between = self.one_of(b"Tt _")?;
        let separators: &[u8] = if between == b' ' { b":" } else { b":-" };
        self.time(separators)?;
        self.zone();
        Some(())
    }

    /// `20261122T085654Z`.
    fn compact(&mut self) -> Option<()> {
        self.number(4, 1900, 2200)?;
        self.number(2, 1, 12)?;
        self.number(2, 1, 31)?;
        self.one_of(b"T_-")?;
        self.number(2, 0, 24)?;
        self.number(2, 0, 59)?;
        self.number(2, 0, 60)?;
        self.zone();
        Some(())
    }

    /// `22 Nov 2026 08:56:54 GMT`.
    fn day_first(&mut self) -> Option<()> {
        self.day()?;
        self.one_of(b" ")?;
        self.name(&MONTHS)?;
        self.one_of(b" ")?;
        self.number(4, 1900, 2200)?;
        self.one_of(b" ")?;
        self.time(b":")?;
        self.zone();
        Some(())
    }

    /// `Sun Nov 22 08:56:54 UTC 2026`, `Sun, 22 Nov 2026 08:56:54 GMT`, `Nov 22 08:56`.
    fn month_first(&mut self) -> Option<()> {
        let weekday = self.name(&WEEKDAYS);
        if weekday.is_some() {
            let _ = self.one_of(b",");
            self.one_of(b" ")?;
            if self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
                return self.day_first();
            }
        }
        self.name(&MONTHS)?;
        self.one_of(b" ")?;
        let _ = self.one_of(b" ");
        self.day()?;
        self.one_of(b" ")?;
        self.time(b":")?;
        self.zone();
        let before_year = self.at;
        if self.one_of(b" ").is_none() || self.number(4, 1900, 2200).is_none() || self.in_token() {
            self.at = before_year;
        }
        Some(())
    }

    fn in_token(&self) -> bool {
        self.text.get(self.at).is_some_and(u8::is_ascii_alphanumeric)
    }

    /// Hours and minutes, and seconds with their fraction if they are there.
    fn time(&mut self, separators: &[u8]) -> Option<()> {
        self.number(2, 0, 24)?;
        let separator = self.one_of(separators)?;
        self.number(2, 0, 59)?;
        let before = self.at;
        if self.one_of(&[separator]).is_none() || self.number(2, 0, 60).is_none() {
            self.at = before;
            return Some(());
        }
        let before = self.at;
        if self.one_of(b".,").is_none() || self.digits() == 0 {
            self.at = before;
        }
        Some(())
    }

    /// `Z`, ` UTC`, `+01:00`, if it is there.
    fn zone(&mut self) {
        let before = self.at;
        let _ = self.one_of(b" ");
        let offset = |this: &mut Self| {
            this.one_of(b"+-")?;
            this.number(2, 0, 14)?;
            let _ = this.one_of(b":");
            this.number(2, 0, 59)
        };
        let named = |this: &mut Self| {
            let names: [&[u8]; 9] = [b"UTC", b"GMT", b"CEST", b"CET", b"EST", b"EDT", b"PST", b"PDT", b"BST"];
            this.name(&names).map(|_| 0)
        };
        let start = self.at;
        let zone = self.one_of(b"Zz").map(i64::from).or_else(|| offset(self)).or_else(|| {
            self.at = start;
            named(self)
        });
        if zone.is_none() || self.in_token() {
            self.at = before;
        }
    }

    fn day(&mut self) -> Option<i64> {
        let before = self.at;
        self.number(2, 1, 31).or_else(|| {
            self.at = before;
            self.number(1, 1, 9)
        })
    }

    fn name(&mut self, names: &[&[u8]]) -> Option<usize> {
        let found = names.iter().position(|name| self.text[self.at..].starts_with(name))?;
        self.at += names[found].len();
        Some(found)
    }

    /// A number of exactly so many digits, within bounds.
    fn number(&mut self, digits: usize, least: i64, most: i64) -> Option<i64> {
        let text = self.text.get(self.at..self.at + digits)?;
        let value = text
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))?;
        self.at += digits;
        (least..=most).contains(&value).then_some(value)
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.at..].iter().take(12).take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        bytes.contains(&byte).then(|| {
            self.at += 1;
            byte
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times() {
        for text in [
            "2026-11-22T08:56:54Z",
            "2026-11-22T08:56:54.123456+01:00",
            "2026-11-22T08:56Z",
            "2026-11-22 08:56:54,123",
            "2026-11-22 08:56:54 UTC",
            "2026-11-22 08:56:54 +0100",
            "2026/11/22 08:56:54",
            "2026-11-22_08-56-54",
            "20261122T085654Z",
            "20261122-085654",
            "Sun Nov 22 08:56:54 UTC 2026",
            "Sun Nov  2 08:56:54 2026",
            "Sun, 22 Nov 2026 08:56:54 GMT",
            "22 Nov 2026 08:56:54 +0000",
            "Nov 22 08:56",
        ] {
            for end in ["", " x", ".", "\n"] {
                assert_eq!(date_time(format!("{text}{end}").as_bytes()), Some(text.len()), "{text}{end}");
            }
        }
        for text in [
            "2026-11-22",
            "2026-11-22T",
            "2026-13-22T08:56:54Z",
            "2026-11-22T08:56:54Zulu",
            "2026-11-22 8:56",
            "1.2.3",
            "Nov 22",
            "November 22 08:56",
            "08:56:54",
            "Sunday",
            "20261122T0856",
        ] {
            assert_eq!(date_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn epochs_by_their_length() {
        for (digits, us) in [
            ("1795337814", Some(1_795_337_814_000_000)),
            ("1795337814123", Some(1_795_337_814_123_000)),
            ("1795337814123456", Some(1_795_337_814_123_456)),
            ("1795337814123456789", Some(1_795_337_814_123_456)),
            ("179533781412", None),
            ("9999999999999999999", None),
        ] {
            assert_eq!(epoch_unix_us(digits.as_bytes()), us, "{digits}");
        }
    }
}
