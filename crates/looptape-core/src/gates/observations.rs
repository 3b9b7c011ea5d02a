//! What was observed: the figures of a set of traces, what runs scored, what they were billed; and any aggregate of
//! them.

use super::aggregate::Aggregate;
use super::metric::Metric;
use crate::cost::Usd;
use crate::metrics::{Distribution, Figure, Percent, Sampler, Scale, Stats, select};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that conditions may ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Observations {
    stats: Stats,
    scores: Distribution,
    spent: Figure,
}

/// A metric as reports and baselines keep it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Of the whole set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Whether that may be larger.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// How many values there are, those that are not known left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub count: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: usize,
    /// `avg`, `min`, `max`, `med`, `p(90)`, `p(95)`, `p(99)` of these values; none if some are not known.
    #[serde(flatten)]
    pub of_each: BTreeMap<String, f64>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Observations {
    /// Of these figures, with what they say was spent; nobody scored anything.
    pub fn of(stats: Stats) -> Self {
        let spent = Figure::of_costs(&stats.columns.spent);
        Self { stats, scores: Distribution::default(), spent }
    }

    /// With a score of each run; `None`: nobody gave one.
    #[must_use]
    pub fn scored(self, scores: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut sampler = Sampler::new(Scale::Ratio);
        for score in scores {
            match score {
                Some(score) => sampler.add(score),
                None => sampler.add_unknown(),
            }
        }
        Self { scores: sampler.finish(), ..self }
    }

    /// With what this run was billed.
    #[must_use]
    pub fn billed(self, spent: Usd, at_least: bool) -> Self {
        let spent = spent.as_f64();
        Self { spent: if at_least { Figure::AtLeast(spent) } else { Figure::Known(spent) }, ..self }
    }

    /// The figure of the whole set.
    fn whole(&self, metric: Metric) -> Figure {
        match metric {
            Metric::Measured(metric) => {
                select(&self.stats, metric.name).and_then(|one| one.figure).unwrap_or(Figure::Unknown)
            }
            Metric::Score => of_each(&self.scores, Aggregate::Avg),
            Metric::Spent => self.spent,
        }
    }

    /// The values, where there are many.
    pub(super) fn each(&self, metric: Metric) -> Option<&Distribution> {
        match metric {
            Metric::Measured(metric) => select(&self.stats, metric.name)?.distribution,
            Metric::Score => Some(&self.scores),
            Metric::Spent => None,
        }
    }

    /// One figure of a metric.
    pub(super) fn figure(&self, metric: Metric, aggregate: Aggregate) -> Figure {
        match (aggregate, self.each(metric)) {
            (Aggregate::Value | Aggregate::Rate, _) | (_, None) => self.whole(metric),
            (aggregate, Some(each)) => of_each(each, aggregate),
        }
    }

    /// For reports and baselines: the metrics of which anything is known.
    pub fn summaries(&self) -> BTreeMap<&'static str, Summary> {
        let all = Metric::all().map(|metric| (metric.name(), self.summary(metric)));
        all.filter(|(_, summary)| *summary != Summary::default()).collect()
    }

    fn summary(&self, metric: Metric) -> Summary {
        let nothing = Distribution::default();
        let each = self.each(metric).unwrap_or(&nothing);
        let kept = Aggregate::kept().filter_map(|aggregate| match of_each(each, aggregate) {
            Figure::Known(figure) if figure.is_finite() => Some((aggregate.to_string(), figure)),
            Figure::Known(_) | Figure::AtLeast(_) | Figure::Unknown => None,
        });
        let whole = self.whole(metric);
        Summary {
            value: value(whole),
            at_least: matches!(whole, Figure::AtLeast(_)),
            count: each.n(),
            unknown: usize::try_from(each.unknown()).unwrap_or(usize::MAX),
            of_each: kept.collect(),
        }
    }
}

/// What is known of a figure.
pub(super) fn value(figure: Figure) -> Option<f64> {
    match figure {
        Figure::Known(value) | Figure::AtLeast(value) => Some(value),
        Figure::Unknown => None,
    }
}

/// How many values there are, known or not.
pub(super) fn number_of(each: &Distribution) -> usize {
    each.n().saturating_add(usize::try_from(each.unknown()).unwrap_or(usize::MAX))
}

/// One figure of many values, none of which is negative. Where some are not known, their mean and their largest can
/// still be no less than the known ones make them.
fn of_each(each: &Distribution, aggregate: Aggregate) -> Figure {
    let known = match aggregate {
        Aggregate::Count => return Figure::Known(number_of(each) as f64),
        Aggregate::Avg => each.mean(),
        Aggregate::Min => each.min(),
        Aggregate::Max => each.max(),
        Aggregate::Med => each.percentile(Percent::P50).map(|median| median.value),
        Aggregate::Percentile(percent) => each.percentile(percent).map(|percentile| percentile.value),
        Aggregate::Rate | Aggregate::Value => None,
    };
    match (known, aggregate) {
        (Some(value), _) if each.unknown() == 0 => Figure::Known(value),
        (Some(value), Aggregate::Max) => Figure::AtLeast(value),
        (Some(_), Aggregate::Avg) => Figure::AtLeast(each.sum() / number_of(each) as f64),
        _ => Figure::Unknown,
    }
}
