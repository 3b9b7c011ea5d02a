//! Lengths of time as scenarios write them: `"90s"`, `"2m"`, `"1m30s"`, `"500ms"`.

use serde::{Deserialize, Deserializer};

/// A length of time in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    us: u64,
}

const UNITS_US: [(&str, u64); 6] = [
    // `ms` before `m`, so that it is not read as minutes.
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 604_800_000_000),
];

impl Span {
    pub const fn of_s(seconds: u64) -> Self {
        Self { us: seconds * 1_000_000 }
    }

    pub const fn us(self) -> u64 {
        self.us
    }

    /// Reads `1h30m`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no length of time: write \"90s\", \"2m\", \"1m30s\" or \"500ms\"");
        let mut rest = text.trim();
        let mut us = 0_f64;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
            rest = rest[end..].trim_start();
            let (unit, factor) =
                UNITS_US.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(wrong)?;
            us += number * *factor as f64;
            rest = rest[unit.len()..].trim_start();
        }
        let is_written = !text.trim().is_empty();
        let fits = us < Self::LONGEST_US as f64;
        match (is_written, fits) {
            (false, _) => Err(wrong()),
            (true, false) => Err(format!("`{text}` is too long: ten years at most")),
            (true, true) => Ok(Self { us: us.round() as u64 }),
        }
    }

    const LONGEST_US: u64 = 3_650 * 86_400_000_000;
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let us = |text: &str| Span::parse(text).map(Span::us).ok();
        assert_eq!(us("90s"), Some(90_000_000));
        assert_eq!(us("1m30s"), Some(90_000_000));
        assert_eq!(us("1.5m"), us("90 s"));
        assert_eq!(us("500ms"), Some(500_000));
        assert_eq!(us("0s"), Some(0));
        assert_eq!(["", "90", "s", "2 parsecs", "-1s", "9999999h"].map(us), [None; 6]);
    }
}
