//! What may be spent: limits, and what each of them is on.

use crate::cost::Usd;
use crate::trace_id::TraceId;
use serde::Serialize;
use std::fmt;

/// The most that calls may cost. What is `None` is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// All calls of one run of looptape.
    pub run_usd: Option<Usd>,
    /// All calls of one trace.
    pub trace_usd: Option<Usd>,
    /// All calls of one day, UTC, whichever run made them.
    pub day_usd: Option<Usd>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what earlier runs spent counts.
    pub fn outlive_the_run(&self) -> bool {
        self.trace_usd.is_some() || self.day_usd.is_some()
    }

    pub(super) fn on(&self, scope: &Scope) -> Option<Usd> {
        match scope {
            Scope::Run => self.run_usd,
            Scope::Trace(_) => self.trace_usd,
            Scope::Day(_) => self.day_usd,
        }
    }
}

/// A day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Day(i64);

impl Day {
    /// The day of a moment.
    pub fn of_unix_us(unix_us: i64) -> Self {
        Self(unix_us.div_euclid(86_400_000_000))
    }

    /// Whole days since 1970-01-01.
    pub fn number(self) -> i64 {
        self.0
    }
}

/// What a limit is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Run,
    Trace(TraceId),
    Day(Day),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => f.write_str("this run"),
            Self::Trace(id) => write!(f, "trace {id}"),
            Self::Day(_) => f.write_str("today (UTC)"),
        }
    }
}

impl Scope {
    /// The word for metrics and files: `run`, `trace`, `day`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Trace(_) => "trace",
            Self::Day(_) => "day",
        }
    }

    /// What sets a limit on it.
    pub(super) fn flag(&self) -> &'static str {
        match self {
            Self::Run => "--max-usd",
            Self::Trace(_) => "--max-usd-per-trace",
            Self::Day(_) => "--max-usd-per-day",
        }
    }
}
