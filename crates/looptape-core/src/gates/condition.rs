//! One condition: a threshold, or how much worse than a baseline a figure may be.
//!
//! ```text
//! gate       = metric ":" aggregate comparison number        loop_duration_ms: p(95)<20000
//! regression = metric [":" aggregate] "=" number ["%"]       cost_usd=2%   loop_duration_ms: p(95)=10%   retry_rate=0.01
//! ```

use super::aggregate::{Aggregate, Comparison};
use super::metric::Metric;
use super::scanner::{ConditionError, Scanner};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::str::FromStr;

/// A threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    pub metric: Metric,
    pub aggregate: Aggregate,
    pub comparison: Comparison,
    pub limit: f64,
}

/// How much worse than in the baseline a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxRegression {
    pub metric: Metric,
    pub aggregate: Aggregate,
    pub allowance: Allowance,
}

/// An amount by which a figure may get worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    /// Of the baseline's figure.
    Percent(f64),
    /// In the metric's unit.
    Amount(f64),
}

impl Gate {
    /// A gate of a metric that is named apart: `p(95)<20000`.
    pub fn of_metric(metric: &str, threshold: &str) -> Result<Self, ConditionError> {
        format!("{metric}: {threshold}").parse()
    }
}

impl FromStr for Gate {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let mut scanner = Scanner::new(text);
        let metric = read_metric(&mut scanner)?;
        scanner.skip_blanks();
        if !scanner.take(":") {
            let message =
                format!("expected `:` after the metric, as in `{metric}: {}<1`", metric.usual_aggregate());
            return Err(scanner.wrong(message));
        }
        let aggregate = read_aggregate(&mut scanner, metric)?;
        scanner.skip_blanks();
        let comparison = Comparison::read(&mut scanner)?;
        scanner.skip_blanks();
        let limit = scanner.number(&format!("expected {}", metric.unit_in_words()))?;
        scanner.end(&format!("{metric} is compared with {}", metric.unit_in_words()))?;
        Ok(Self { metric, aggregate, comparison, limit })
    }
}

impl MaxRegression {
    /// A regression of a metric that is named apart: `2%`.
    pub fn of_metric(metric: &str, allowance: &str) -> Result<Self, ConditionError> {
        format!("{metric}={allowance}").parse()
    }

    /// What the figure may come to, given the baseline's.
    pub(super) fn limit(&self, baseline: f64) -> f64 {
        let worse = match self.allowance {
            Allowance::Percent(percent) => baseline.abs() * percent / 100.0,
            Allowance::Amount(amount) => amount,
        };
        if self.metric.is_better_higher() { baseline - worse } else { baseline + worse }
    }

    pub(super) fn comparison(&self) -> Comparison {
        if self.metric.is_better_higher() { Comparison::GreaterOrEqual } else { Comparison::LessOrEqual }
    }
}

impl FromStr for MaxRegression {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let mut scanner = Scanner::new(text);
        let metric = read_metric(&mut scanner)?;
        scanner.skip_blanks();
        let aggregate = match scanner.take(":") {
            true => read_aggregate(&mut scanner, metric)?,
            false => metric.usual_aggregate(),
        };
        scanner.skip_blanks();
        if !scanner.take("=") {
            return Err(
                scanner.wrong(format!("expected `=` and how much worse it may be, as in `{metric}=2%`"))
            );
        }
        scanner.skip_blanks();
        let start = scanner;
        let number =
            scanner.number("expected how much worse it may be: 2% of the baseline's figure, or an amount")?;
        if number < 0.0 {
            return Err(start.wrong("how much worse it may be is not negative".to_owned()));
        }
        scanner.skip_blanks();
        let allowance =
            if scanner.take("%") { Allowance::Percent(number) } else { Allowance::Amount(number) };
        scanner.end("write 2% of the baseline's figure, or an amount")?;
        Ok(Self { metric, aggregate, allowance })
    }
}

fn read_metric(scanner: &mut Scanner<'_>) -> Result<Metric, ConditionError> {
    scanner.skip_blanks();
    let start = *scanner;
    let name = scanner.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    Metric::of_name(name).ok_or_else(|| start.wrong(no_metric(name, &start.found())))
}

fn no_metric(name: &str, found: &str) -> String {
    if name.is_empty() {
        return format!("expected the name of a metric, not {found}");
    }
    match Metric::nearest(name).as_slice() {
        [] => {
            let all: Vec<&str> = Metric::all().map(Metric::name).collect();
            format!("there is no metric `{name}`; there are {}", all.join(", "))
        }
        nearest => format!("there is no metric `{name}`; nearest: {}", nearest.join(", ")),
    }
}

fn read_aggregate(scanner: &mut Scanner<'_>, metric: Metric) -> Result<Aggregate, ConditionError> {
    scanner.skip_blanks();
    let start = *scanner;
    let aggregate = Aggregate::read(scanner)?;
    if !metric.has(aggregate) {
        return Err(start.wrong(format!("{metric} has no `{aggregate}`; it has {}", metric.aggregates())));
    }
    Ok(aggregate)
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, aggregate, comparison, limit } = self;
        write!(f, "{metric}: {aggregate}{comparison}{limit}")
    }
}

impl fmt::Display for MaxRegression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, aggregate, allowance } = self;
        write!(f, "{metric}: {aggregate} ≤ {allowance} worse than the baseline")
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent} %"),
            Self::Amount(amount) => write!(f, "{amount}"),
        }
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
