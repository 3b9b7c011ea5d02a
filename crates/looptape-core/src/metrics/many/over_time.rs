//! Metrics over time: the traces that began in each minute, hour or day are a set like any other, and are measured as
//! one, over that stretch of time.
//!
//! Only stretches in which a trace began are there. A rate is over the whole stretch, but for what of it lies beyond the
//! time that was asked for: the last day is not over yet.

use super::super::sweep::Interval;
use super::calendar::{Stretch, TimeUnit};
use super::stats::{Sample, Stats};
use super::tally::{Detail, SetTally, TallyOptions};
use super::window::{Window, WindowBasis};
use crate::metrics::percentile::Percentile;
use crate::metrics::select::{Figure, METRICS, select};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;

/// Metrics of each stretch, in order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverTime {
    pub unit: TimeUnit,
    pub stretches: Vec<Stretch>,
    /// Traces that began in each.
    pub traces: Vec<usize>,
    /// Those of which something is known, by name.
    pub metrics: BTreeMap<&'static str, MetricOverTime>,
}

/// One metric: what it has, in every stretch; null where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricOverTime {
    /// Over the whole set of each stretch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub figure: Vec<Option<f64>>,
    /// The figure may be larger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at_least: Vec<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub p50: Vec<Option<Percentile>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub p95: Vec<Option<Percentile>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub p99: Vec<Option<Percentile>>,
}

/// Collects the traces of each stretch.
#[derive(Clone, Debug)]
pub struct OverTimeTally {
    unit: TimeUnit,
    zone: TimeZone,
    options: TallyOptions,
    /// By their starts.
    stretches: BTreeMap<i64, (Stretch, SetTally)>,
}

impl OverTimeTally {
    pub fn new(unit: TimeUnit, zone: TimeZone, options: TallyOptions) -> Self {
        let options = TallyOptions { detail: Detail::Whole, ..options };
        Self { unit, zone, options, stretches: BTreeMap::new() }
    }

    /// Adds a trace; one whose start is not known is in no stretch.
    pub fn add(&mut self, sample: &Sample<'_>) {
        let Some(at) = sample.started_unix_us else { return };
        if let Some((_, (stretch, tally))) = self.stretches.range_mut(..=at).next_back()
            && stretch.holds(at)
        {
            return tally.add(sample);
        }
        let Some(stretch) = self.unit.stretch(at, &self.zone) else { return };
        let mut tally = SetTally::new(self.options);
        tally.add(sample);
        self.stretches.insert(stretch.start_unix_us, (stretch, tally));
    }

    pub fn merge(&mut self, more: Self) {
        for (start, (stretch, tally)) in more.stretches {
            match self.stretches.get_mut(&start) {
                Some((_, own)) => own.merge(tally),
                None => {
                    self.stretches.insert(start, (stretch, tally));
                }
            }
        }
    }

    /// What was measured `within` this time.
    pub fn finish(self, within: Window) -> OverTime {
        let (mut stretches, mut sets) = (Vec::new(), Vec::new());
        for (stretch, tally) in self.stretches.into_values() {
            stretches.push(stretch);
            sets.push(tally.finish(Some(stretch.window(within))));
        }
        let metrics = METRICS.iter().map(|metric| (metric.name, MetricOverTime::of(metric.name, &sets)));
        OverTime {
            unit: self.unit,
            stretches,
            traces: sets.iter().map(|set| set.traces).collect(),
            metrics: metrics.filter(|(_, metric)| metric.is_known()).collect(),
        }
    }
}

impl Stretch {
    /// It, but for what lies beyond the time that was asked for.
    fn window(self, within: Window) -> Window {
        let whole = Interval { start_us: self.start_unix_us, end_us: self.end_unix_us };
        let Interval { start_us, end_us } = within.clip(whole).unwrap_or(whole);
        Window { start_unix_us: start_us, end_unix_us: end_us, basis: WindowBasis::Given }
    }
}

impl MetricOverTime {
    fn of(name: &str, sets: &[Stats]) -> Self {
        let mut metric = Self::default();
        for reading in sets.iter().filter_map(|set| select(set, name)) {
            if let Some(figure) = reading.figure {
                metric.figure.push(match figure {
                    Figure::Known(value) | Figure::AtLeast(value) => Some(value),
                    Figure::Unknown => None,
                });
                metric.at_least.push(matches!(figure, Figure::AtLeast(_)));
            }
            if let Some(distribution) = reading.distribution {
                metric.p50.push(distribution.p50());
                metric.p95.push(distribution.p95());
                metric.p99.push(distribution.p99());
            }
        }
        if !metric.at_least.contains(&true) {
            metric.at_least.clear();
        }
        metric
    }

    fn is_known(&self) -> bool {
        self.figure.iter().any(Option::is_some) || self.p50.iter().any(Option::is_some)
    }
}
