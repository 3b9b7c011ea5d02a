//! Money.

use crate::composition::scale;
use serde::{Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// US dollars, in whole billionths of a thousandth (10⁻¹² $), so that sums are exact whatever their order.
/// Written to JSON as a number of dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i64);

const PER_DOLLAR: f64 = 1e12;

impl Usd {
    pub const ZERO: Self = Self(0);

    /// The nearest representable amount; `None` for what is no amount of money: negative, not a number, or
    /// more than nine million dollars.
    pub fn from_f64(dollars: f64) -> Option<Self> {
        let units = (dollars * PER_DOLLAR).round();
        // The bound is below 2⁶³, so the cast is exact to the float's own precision.
        (0.0..9e18).contains(&units).then_some(Self(units as i64))
    }

    /// In 10⁻¹² $, for whoever keeps books.
    pub fn units(self) -> i64 {
        self.0
    }

    /// Of so many 10⁻¹² $; what is negative is nothing.
    pub fn from_units(units: i64) -> Self {
        Self(units.max(0))
    }

    /// What is left of an amount; nothing, if more is taken than there is.
    pub fn saturating_sub(self, taken: Self) -> Self {
        Self(self.0.saturating_sub(taken.0).max(0))
    }

    pub fn as_f64(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }

    /// What of an amount belongs to the first `weight` of `weights`. What lies between such points sums to all
    /// of it, without a rest.
    pub(crate) fn up_to(self, weight: u64, weights: u64) -> Self {
        Self(scale::point(self.0.unsigned_abs(), weight, weights).cast_signed())
    }
}

/// A difference of two amounts, in the same units; negative where less was paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsdDelta(i64);

impl UsdDelta {
    pub const ZERO: Self = Self(0);

    pub fn between(from: Usd, to: Usd) -> Self {
        Self(to.0.saturating_sub(from.0))
    }

    pub fn units(self) -> i64 {
        self.0
    }

    pub fn from_units(units: i64) -> Self {
        Self(units)
    }

    pub fn as_f64(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }

    /// Its amount, whichever way it goes.
    pub fn amount(self) -> Usd {
        Usd(self.0.saturating_abs())
    }
}

impl Sum for UsdDelta {
    fn sum<I: Iterator<Item = Self>>(deltas: I) -> Self {
        Self(deltas.fold(0, |sum, delta| sum.saturating_add(delta.0)))
    }
}

impl fmt::Display for UsdDelta {
    /// With its sign: `+$1.23`, `−$0.5`, `$0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "",
            1.. => "+",
            _ => "−",
        })?;
        self.amount().fmt(f)
    }
}

impl Serialize for UsdDelta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usd {
    /// `$1.23`; below a dollar four significant digits, below a tenth of a cent three: `$0.01234`,
    /// `$0.0000653`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = self.as_f64();
        if self.0 == 0 {
            f.write_str("$0")
        } else if dollars >= 1.0 {
            write!(f, "${dollars:.2}")
        } else {
            let leading_zeros = (-dollars.log10()).floor().max(0.0) as usize;
            let significant = if dollars < 0.001 { 3 } else { 4 };
            let text = format!("{dollars:.*}", (leading_zeros + significant).min(12));
            write!(f, "${}", text.trim_end_matches('0'))
        }
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(Usd::from_f64(0.000_000_075).map(|u| u.0), Some(75_000));
        assert_eq!(Usd::from_f64(-1.0), None);
        assert_eq!(Usd::from_f64(f64::NAN), None);
        assert_eq!(Usd::from_f64(1e10), None);
        let shown = |d| Usd::from_f64(d).unwrap().to_string();
        assert_eq!(
            [shown(0.0), shown(12.3456), shown(0.5), shown(0.001_234_56), shown(0.000_000_075)],
            ["$0", "$12.35", "$0.5", "$0.001235", "$0.000000075"]
        );
    }
}
