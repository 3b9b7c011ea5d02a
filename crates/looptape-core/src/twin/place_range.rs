//! Which loops, steps or attempts a fault is about: `3`, or `1..10` with both ends in it.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// Numbers from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceRange {
    first: u64,
    last: u64,
}

impl PlaceRange {
    pub fn contains(self, place: u64) -> bool {
        (self.first..=self.last).contains(&place)
    }

    /// The first so many.
    pub(super) fn first(count: u64) -> Self {
        Self { first: 1, last: count }
    }
}

impl FromStr for PlaceRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range: write 3, or 1..10 with both ends counted");
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
        let (first, last) = match text.split_once("..") {
            Some((first, last)) => (number(first)?, number(last.trim_start_matches('='))?),
            None => (number(text)?, number(text)?),
        };
        let is_range = 1 <= first && first <= last;
        is_range.then_some(Self { first, last }).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for PlaceRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = PlaceRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number such as 3, or a range such as \"1..10\"")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<PlaceRange, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<PlaceRange, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PlaceRange, E> {
        text.parse().map_err(E::custom)
    }
}
