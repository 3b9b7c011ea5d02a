//! How many values become one, and how that is compared: k6's words.

use super::scanner::{ConditionError, Scanner};
use crate::metrics::Percent;
use std::fmt;

/// One figure of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregate {
    Avg,
    Min,
    Max,
    Med,
    /// `p(95)`
    Percentile(Percent),
    /// How many values there are; of what has none, because it is a total, that total.
    Count,
    /// The value, of a share.
    Rate,
    /// The figure of the whole set.
    Value,
}

/// How a figure has to stand to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Longer ones first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl Aggregate {
    /// Those of many values that reports and baselines keep.
    pub(super) fn kept() -> impl Iterator<Item = Self> {
        let percentiles = [Percent::P90, Percent::P95, Percent::P99].map(Self::Percentile);
        [Self::Avg, Self::Min, Self::Max, Self::Med].into_iter().chain(percentiles)
    }

    /// Reads `avg`, `p(95)`, ….
    pub(super) fn read(scanner: &mut Scanner<'_>) -> Result<Self, ConditionError> {
        let start = *scanner;
        match scanner.take_while(|c| c.is_ascii_alphanumeric() || c == '_') {
            "avg" => Ok(Self::Avg),
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            "med" => Ok(Self::Med),
            "count" => Ok(Self::Count),
            "rate" => Ok(Self::Rate),
            "value" => Ok(Self::Value),
            "p" => percentile(scanner).map(Self::Percentile),
            word => Err(start.wrong(no_aggregate(word, &start.found()))),
        }
    }
}

fn no_aggregate(word: &str, found: &str) -> String {
    const WORDS: &str = "avg, min, max, med, p(95), count, rate or value";
    match word
        .strip_prefix('p')
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    {
        Some(digits) => format!("a percentile is written p({digits})"),
        None => format!("expected {WORDS}, not {found}"),
    }
}

fn percentile(scanner: &mut Scanner<'_>) -> Result<Percent, ConditionError> {
    scanner.skip_blanks();
    if !scanner.take("(") {
        return Err(scanner.wrong("a percentile is written p(95)".to_owned()));
    }
    scanner.skip_blanks();
    let start = *scanner;
    let percent = Percent::new(scanner.number("expected a percentile from 0 to 100")?);
    let percent = percent.ok_or_else(|| start.wrong("a percentile is a number from 0 to 100".to_owned()))?;
    scanner.skip_blanks();
    if !scanner.take(")") {
        return Err(scanner.wrong(format!("expected `)` after the percentile, not {}", scanner.found())));
    }
    Ok(percent)
}

impl Comparison {
    pub(super) fn read(scanner: &mut Scanner<'_>) -> Result<Self, ConditionError> {
        let found = COMPARISONS.iter().find(|(text, _)| scanner.take(text));
        found.map(|(_, comparison)| *comparison).ok_or_else(|| {
            let hint = if scanner.rest().starts_with('=') { "; equality is written ==" } else { "" };
            scanner.wrong(format!("expected <, <=, >, >=, == or !=, not {}{hint}", scanner.found()))
        })
    }

    pub fn as_str(self) -> &'static str {
        let entry = COMPARISONS.iter().find(|(_, comparison)| *comparison == self);
        entry.expect("the table holds every comparison").0
    }

    pub(super) fn holds(self, figure: f64, limit: f64) -> bool {
        match self {
            Self::Less => figure < limit,
            Self::LessOrEqual => figure <= limit,
            Self::Greater => figure > limit,
            Self::GreaterOrEqual => figure >= limit,
            Self::Equal => figure == limit,
            Self::NotEqual => figure != limit,
        }
    }

    /// The room that is left until the limit, negative beyond it; `None` where there is no such thing.
    pub(super) fn margin(self, figure: f64, limit: f64) -> Option<f64> {
        match self {
            Self::Less | Self::LessOrEqual => Some(limit - figure),
            Self::Greater | Self::GreaterOrEqual => Some(figure - limit),
            Self::Equal | Self::NotEqual => None,
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avg => f.write_str("avg"),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Med => f.write_str("med"),
            Self::Percentile(percent) => write!(f, "p({})", percent.as_f64()),
            Self::Count => f.write_str("count"),
            Self::Rate => f.write_str("rate"),
            Self::Value => f.write_str("value"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
