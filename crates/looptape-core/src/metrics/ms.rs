//! Durations.

use serde::{Serialize, Serializer};
use std::iter::Sum;
use std::ops::{Add, Sub};

/// A duration, kept in whole microseconds and shown in milliseconds, so that sums are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ms {
    us: i64,
}

impl Ms {
    pub const ZERO: Self = Self { us: 0 };

    pub fn from_us(us: i64) -> Self {
        Self { us }
    }

    /// From one time to another; 0 if the second is the earlier one.
    pub fn between(start_us: i64, end_us: i64) -> Self {
        Self { us: end_us.saturating_sub(start_us).max(0) }
    }

    pub fn us(self) -> i64 {
        self.us
    }

    /// Milliseconds.
    pub fn as_f64(self) -> f64 {
        self.us as f64 / 1000.0
    }

    pub fn as_seconds(self) -> f64 {
        self.us as f64 / 1e6
    }
}

impl Add for Ms {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { us: self.us.saturating_add(other.us) }
    }
}

impl Sub for Ms {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { us: self.us.saturating_sub(other.us) }
    }
}

impl Sum for Ms {
    fn sum<I: Iterator<Item = Self>>(durations: I) -> Self {
        durations.fold(Self::ZERO, Add::add)
    }
}

impl Serialize for Ms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}
