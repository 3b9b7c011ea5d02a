//! Conditions against what was observed.

use super::aggregate::{Aggregate, Comparison};
use super::baseline::Baseline;
use super::condition::{Gate, MaxRegression};
use super::metric::Metric;
use super::observations::{Observations, number_of, value};
use super::report::{GateReport, GateResult, GateVerdict};
use crate::metrics::Figure;

/// What becomes of a condition whose figure is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFigures {
    #[default]
    Fail,
    /// It is named, and fails nothing.
    Accept,
}

/// Conditions that a run has to meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    pub gates: Vec<Gate>,
    pub regressions: Option<Regressions>,
    pub unknown: UnknownFigures,
}

/// How much worse than an earlier run figures may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Regressions {
    pub baseline: Baseline,
    pub allowed: Vec<MaxRegression>,
}

impl Conditions {
    pub fn is_empty(&self) -> bool {
        self.gates.is_empty() && self.regressions.is_none()
    }

    /// Judges a run. Thresholds come first, then regressions, each in the order in which they were given.
    pub fn judge(&self, observations: &Observations) -> GateReport {
        let judge = Judge { observations, unknown: self.unknown };
        let gates = self.gates.iter().map(|gate| judge.gate(gate));
        let against = |Regressions { baseline, allowed }: &Regressions| -> Vec<GateResult> {
            allowed.iter().map(|one| judge.regression(one, baseline)).collect()
        };
        let regressions = self.regressions.as_ref().map(against).unwrap_or_default();
        GateReport::of(gates.chain(regressions).collect())
    }
}

/// A figure and what it is held against.
#[derive(Clone, Copy)]
struct Held {
    metric: Metric,
    aggregate: Aggregate,
    comparison: Comparison,
    limit: f64,
    /// What is computed twice may differ in its last digit: so much beyond the limit is still within it.
    slack: f64,
}

#[derive(Clone, Copy)]
struct Judge<'a> {
    observations: &'a Observations,
    unknown: UnknownFigures,
}

impl Judge<'_> {
    fn gate(&self, gate: &Gate) -> GateResult {
        let Gate { metric, aggregate, comparison, limit } = *gate;
        self.held(gate.to_string(), Held { metric, aggregate, comparison, limit, slack: 0.0 })
    }

    fn regression(&self, regression: &MaxRegression, baseline: &Baseline) -> GateResult {
        let MaxRegression { metric, aggregate, .. } = *regression;
        let comparison = regression.comparison();
        match baseline.figure(metric, aggregate) {
            Ok(figure) => {
                let limit = regression.limit(figure);
                let slack = (figure.abs() + limit.abs()) * 1e-9;
                let held = Held { metric, aggregate, comparison, limit, slack };
                GateResult { baseline: Some(figure), ..self.held(regression.to_string(), held) }
            }
            Err(why) => {
                let result = self.unjudged(regression.to_string(), metric, aggregate, comparison);
                GateResult { verdict: self.not_known(), why: Some(why), ..result }
            }
        }
    }

    fn held(&self, text: String, held: Held) -> GateResult {
        let Held { metric, aggregate, comparison, limit, slack } = held;
        let figure = self.observations.figure(metric, aggregate);
        let holds = |value: f64| match comparison {
            Comparison::Less | Comparison::LessOrEqual => comparison.holds(value - slack, limit),
            Comparison::Greater | Comparison::GreaterOrEqual => comparison.holds(value + slack, limit),
            Comparison::Equal | Comparison::NotEqual => comparison.holds(value, limit),
        };
        let certain = match figure {
            Figure::Known(value) => Some(holds(value)),
            Figure::AtLeast(value) => of_lower_bound(comparison, holds(value)),
            Figure::Unknown => None,
        };
        GateResult {
            limit: Some(limit),
            margin: value(figure).and_then(|value| comparison.margin(value, limit)),
            verdict: match certain {
                Some(true) => GateVerdict::Passed,
                Some(false) => GateVerdict::Failed,
                None => self.not_known(),
            },
            why: certain.is_none().then(|| self.why_unknown(metric, figure)),
            ..self.unjudged(text, metric, aggregate, comparison)
        }
    }

    /// The figure alone.
    fn unjudged(
        &self,
        gate: String,
        metric: Metric,
        aggregate: Aggregate,
        comparison: Comparison,
    ) -> GateResult {
        let figure = self.observations.figure(metric, aggregate);
        let is_of_many = !matches!(aggregate, Aggregate::Value | Aggregate::Rate);
        let n = self.observations.each(metric).filter(|_| is_of_many).map(number_of);
        GateResult {
            gate,
            metric: metric.name(),
            aggregate: aggregate.to_string(),
            unit: metric.unit(),
            comparison: comparison.as_str(),
            limit: None,
            baseline: None,
            figure: value(figure),
            at_least: matches!(figure, Figure::AtLeast(_)),
            n,
            certified: match aggregate {
                Aggregate::Percentile(percent) => n.map(|n| percent.certified_by(n)),
                _ => None,
            },
            margin: None,
            verdict: self.not_known(),
            why: None,
        }
    }

    fn not_known(&self) -> GateVerdict {
        match self.unknown {
            UnknownFigures::Fail => GateVerdict::Unknown,
            UnknownFigures::Accept => GateVerdict::UnknownAccepted,
        }
    }

    fn why_unknown(&self, metric: Metric, figure: Figure) -> String {
        match (figure, self.observations.each(metric)) {
            (_, Some(each)) if each.unknown() > 0 => {
                format!("{} of {} values are not known", each.unknown(), number_of(each))
            }
            (Figure::AtLeast(_), _) => "parts of it are not known: it may be larger".to_owned(),
            (_, Some(each)) if each.n() == 0 => "there are no values".to_owned(),
            _ => "it is not known".to_owned(),
        }
    }
}

/// What is certain of a figure that may be larger than it is.
fn of_lower_bound(comparison: Comparison, holds: bool) -> Option<bool> {
    match (comparison, holds) {
        (Comparison::Greater | Comparison::GreaterOrEqual, true) => Some(true),
        (Comparison::Less | Comparison::LessOrEqual, false) => Some(false),
        _ => None,
    }
}
