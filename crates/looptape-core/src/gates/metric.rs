//! The metrics that conditions may name: those of [`crate::metrics`], and what runs are given from outside.

use super::aggregate::Aggregate;
use crate::metrics::{self, Better, METRICS, Percent, Stats, select};
use std::fmt;

/// A metric that there is.
#[derive(Clone, Copy)]
pub enum Metric {
    Measured(&'static metrics::Metric),
    /// What somebody says of a run's quality, from 0 to 1.
    Score,
    /// What the run was billed, whatever its calls would have cost.
    Spent,
}

/// What its numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Ms,
    Usd,
    /// From 0 to 1, mostly.
    Share,
    /// Things that are counted, or one count per another.
    Number,
}

/// Names that are offered for one that does not exist.
const OFFERED: usize = 3;

impl Metric {
    /// Every metric that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        METRICS.iter().map(Self::Measured).chain([Self::Score, Self::Spent])
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::all().find(|metric| metric.name() == name)
    }

    /// The names that are most like one that does not exist.
    pub fn nearest(name: &str) -> Vec<&'static str> {
        let names = || Self::all().map(Self::name);
        let parts: Vec<&str> =
            names().filter(|own| !name.is_empty() && (own.contains(name) || name.contains(own))).collect();
        if !parts.is_empty() {
            return parts.into_iter().take(OFFERED).collect();
        }
        let mut alike: Vec<(f64, &str)> = names().map(|own| (strsim::jaro_winkler(own, name), own)).collect();
        alike.retain(|(likeness, _)| *likeness > 0.75);
        alike.sort_by(|a, b| b.0.total_cmp(&a.0));
        alike.into_iter().take(OFFERED).map(|(_, own)| own).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Measured(metric) => metric.name,
            Self::Score => "score",
            Self::Spent => "spent_usd",
        }
    }

    /// What it is, in a few words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Measured(metric) => metric.what,
            Self::Score => "what the verify command says of a run, from 0 to 1",
            Self::Spent => "what live calls were billed",
        }
    }

    /// Its name says so.
    pub fn unit(self) -> Unit {
        match self.name() {
            name if name.ends_with("_ms") => Unit::Ms,
            name if name.ends_with("_usd") && !name.contains("_per_") => Unit::Usd,
            name if name.ends_with("_rate") || name.ends_with("_ratio") => Unit::Share,
            "score" | "context_used" => Unit::Share,
            _ => Unit::Number,
        }
    }

    /// Whether less of it is worse. Of what is neither good nor bad, more is worse: it costs something.
    pub fn is_better_higher(self) -> bool {
        match self {
            Self::Measured(metric) => metric.better == Better::Higher,
            Self::Score => true,
            Self::Spent => false,
        }
    }

    /// Whether it has a figure of the whole set.
    fn has_whole(self) -> bool {
        match self {
            Self::Measured(metric) => {
                select(&Stats::default(), metric.name).is_some_and(|one| one.figure.is_some())
            }
            Self::Score | Self::Spent => true,
        }
    }

    /// Whether it has many values: one a loop, a step, a run.
    pub fn has_each(self) -> bool {
        match self {
            Self::Measured(metric) => {
                select(&Stats::default(), metric.name).is_some_and(|one| one.distribution.is_some())
            }
            Self::Score => true,
            Self::Spent => false,
        }
    }

    /// The figure that stands for it where none is named.
    pub fn usual_aggregate(self) -> Aggregate {
        if self.has_each() { Aggregate::Avg } else { Aggregate::Value }
    }

    /// Whether it has such a figure.
    pub(super) fn has(self, aggregate: Aggregate) -> bool {
        match aggregate {
            Aggregate::Avg | Aggregate::Min | Aggregate::Max | Aggregate::Med | Aggregate::Percentile(_) => {
                self.has_each()
            }
            Aggregate::Count => self.has_each() || self.unit() == Unit::Number,
            Aggregate::Rate => self.has_whole() && self.unit() == Unit::Share,
            Aggregate::Value => self.has_whole(),
        }
    }

    /// The figures that it has, for people.
    pub fn aggregates(self) -> String {
        let all = [
            Aggregate::Avg,
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::Med,
            Aggregate::Percentile(Percent::P95),
            Aggregate::Count,
            Aggregate::Rate,
            Aggregate::Value,
        ];
        let words: Vec<String> = all.iter().filter(|one| self.has(**one)).map(ToString::to_string).collect();
        words.join(", ")
    }

    /// What its numbers are, for people.
    pub(super) fn unit_in_words(self) -> &'static str {
        match self.unit() {
            Unit::Ms => "a number of milliseconds, such as 20000",
            Unit::Usd => "a number of US dollars, such as 0.10",
            Unit::Share => "a share, such as 0.05 for 5 %",
            Unit::Number => "a number",
        }
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Unit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Usd => "usd",
            Self::Share => "share",
            Self::Number => "number",
        }
    }
}
