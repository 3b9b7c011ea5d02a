//! A run over time, in a bounded number of stretches of one length. When it outgrows them, the length doubles: memory
//! does not grow with the run.

use super::stretch::{CoarseSpread, SpreadAt, Stretch};
use super::track::{AttemptEnd, StepEnd};
use crate::cost::Usd;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// Stretches at most.
const MOST: usize = 120;

/// What happened in each stretch. Loops that were due count when they were due, everything else when it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadSeries {
    pub bucket_s: u64,
    /// Loops that were due, dropped ones included.
    pub offered: Vec<u32>,
    pub dropped: Vec<u32>,
    pub completed: Vec<u32>,
    /// Completed ones that succeeded.
    pub succeeded: Vec<u32>,
    pub steps: Vec<u32>,
    pub attempts: Vec<u32>,
    pub failed_attempts: Vec<u32>,
    pub retries: Vec<u32>,
    /// Loops that ran at once, at most.
    pub running: Vec<u32>,
    /// What the steps that ended cost; `None` where no price is known.
    pub cost_usd: Vec<Option<Usd>>,
    pub loop_duration_ms: SpreadSeries,
    pub step_latency_ms: SpreadSeries,
    pub attempt_latency_ms: SpreadSeries,
    /// From the start until the end of each stretch.
    #[serde(skip)]
    pub attempts_until: Vec<SpreadAt>,
    pub ttft_ms: SpreadSeries,
}

/// How durations spread in each stretch, to two digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpreadSeries {
    pub each: Vec<SpreadAt>,
}

impl SpreadSeries {
    /// A percentile of each stretch.
    pub fn percentile(&self, percent: f64) -> Vec<Option<f64>> {
        self.each.iter().map(|at| at.percentile(percent)).collect()
    }
}

/// Null where there is nothing, and where the percentile lies among those without an end; `n` and `endless` tell which.
impl Serialize for SpreadSeries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = |count: fn(&SpreadAt) -> u32| -> Vec<u32> { self.each.iter().map(count).collect() };
        let mut shown = serializer.serialize_struct("SpreadSeries", 5)?;
        shown.serialize_field("n", &count(|at| at.n))?;
        shown.serialize_field("endless", &count(|at| at.endless))?;
        shown.serialize_field("p50", &self.percentile(50.0))?;
        shown.serialize_field("p95", &self.percentile(95.0))?;
        shown.serialize_field("p99", &self.percentile(99.0))?;
        shown.end()
    }
}

/// Collects it. It is told things in order of time.
#[derive(Clone, Debug)]
pub(super) struct SeriesTally {
    bucket_s: u64,
    stretches: Vec<Stretch>,
    /// Loops that run now.
    running: u32,
}

impl SeriesTally {
    pub(super) fn new() -> Self {
        Self { bucket_s: 1, stretches: Vec::new(), running: 0 }
    }

    pub(super) fn offered(&mut self, at_us: u64) {
        self.at(at_us).offered += 1;
    }

    pub(super) fn dropped(&mut self, at_us: u64) {
        self.at(at_us).dropped += 1;
    }

    /// So many loops run from now on.
    pub(super) fn running(&mut self, at_us: u64, loops: u32) {
        let stretch = self.at(at_us);
        stretch.running = stretch.running.max(loops);
        self.running = loops;
    }

    pub(super) fn attempt_ended(&mut self, at_us: u64, end: &AttemptEnd) {
        let stretch = self.at(at_us);
        stretch.attempts += 1;
        stretch.failed_attempts += u32::from(end.outcome.is_failure());
        stretch.attempt_latency.add(end.took_us());
    }

    pub(super) fn retried(&mut self, at_us: u64) {
        self.at(at_us).retries += 1;
    }

    pub(super) fn step_ended(&mut self, at_us: u64, step: &StepEnd) {
        let sample = &step.sample;
        let us = |ms: crate::metrics::Ms| u64::try_from(ms.us()).unwrap_or(0);
        let stretch = self.at(at_us);
        stretch.steps += 1;
        stretch.cost.merge(&sample.cost);
        sample.step_latency_ms.into_iter().for_each(|ms| stretch.step_latency.add(us(ms)));
        sample.last.ttft_ms.into_iter().for_each(|ms| stretch.ttft.add(us(ms)));
    }

    pub(super) fn succeeded(&mut self, at_us: u64, took_us: u64) {
        let stretch = self.at(at_us);
        stretch.completed += 1;
        stretch.succeeded += 1;
        stretch.loop_duration.add(took_us);
    }

    pub(super) fn failed(&mut self, at_us: u64) {
        let stretch = self.at(at_us);
        stretch.completed += 1;
        stretch.loop_duration.add_endless();
    }

    fn at(&mut self, at_us: u64) -> &mut Stretch {
        let place = |bucket_s: u64| (at_us / 1_000_000 / bucket_s) as usize;
        while place(self.bucket_s) >= MOST {
            self.bucket_s *= 2;
            let joined = self.stretches.chunks(2).map(|pair| {
                let mut joined = pair[0].clone();
                pair[1..].iter().for_each(|later| joined.join(later));
                joined
            });
            self.stretches = joined.collect();
        }
        let at = place(self.bucket_s);
        if self.stretches.len() <= at {
            // What ran goes on running, also where nothing begins or ends.
            let running = self.running;
            self.stretches.resize_with(at + 1, || Stretch { running, ..Stretch::default() });
        }
        &mut self.stretches[at]
    }

    pub(super) fn finish(self) -> LoadSeries {
        let stretches = &self.stretches;
        let counts = |count: fn(&Stretch) -> u32| -> Vec<u32> { stretches.iter().map(count).collect() };
        let spreads = |spread: fn(&Stretch) -> &CoarseSpread| SpreadSeries {
            each: stretches.iter().map(|stretch| spread(stretch).finish()).collect(),
        };
        let mut attempts = CoarseSpread::default();
        let attempts_until = stretches.iter().map(|stretch| {
            attempts.merge(&stretch.attempt_latency);
            attempts.finish()
        });
        let cost = |stretch: &Stretch| match stretch.steps {
            0 => Some(Usd::ZERO),
            _ => stretch.cost.usd(),
        };
        LoadSeries {
            bucket_s: self.bucket_s,
            offered: counts(|one| one.offered),
            dropped: counts(|one| one.dropped),
            completed: counts(|one| one.completed),
            succeeded: counts(|one| one.succeeded),
            steps: counts(|one| one.steps),
            attempts: counts(|one| one.attempts),
            failed_attempts: counts(|one| one.failed_attempts),
            retries: counts(|one| one.retries),
            running: counts(|one| one.running),
            cost_usd: stretches.iter().map(cost).collect(),
            loop_duration_ms: spreads(|one| &one.loop_duration),
            step_latency_ms: spreads(|one| &one.step_latency),
            attempt_latency_ms: spreads(|one| &one.attempt_latency),
            attempts_until: attempts_until.collect(),
            ttft_ms: spreads(|one| &one.ttft),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_double_when_they_are_outgrown() {
        let mut series = SeriesTally::new();
        (0..1000).for_each(|second| {
            series.offered(second * 1_000_000);
            series.succeeded(second * 1_000_000, second * 1000);
            series.running(second * 1_000_000, second as u32 % 7);
        });
        let series = series.finish();
        assert_eq!((series.bucket_s, series.offered.len()), (16, 63));
        assert_eq!(series.offered.iter().sum::<u32>(), 1000);
        assert!(series.offered[..62].iter().all(|count| *count == 16));
        assert!(series.running.iter().take(62).all(|most| *most == 6));
        let durations = &series.loop_duration_ms;
        let last = durations.each.last().unwrap();
        assert_eq!((last.n, last.largest_ms), (8, Some(999.0)));
        let p50 = durations.percentile(50.0)[1].unwrap();
        assert!((p50 / 23.0 - 1.0).abs() < 0.01, "{p50}");
    }

    #[test]
    fn what_runs_is_not_forgotten_where_nothing_happens() {
        let mut series = SeriesTally::new();
        series.running(0, 3);
        series.running(1_000_000, 2);
        series.failed(5_000_000);
        let series = series.finish();
        assert_eq!(series.running, [3, 3, 2, 2, 2, 2]);
        let shown = serde_json::to_value(&series.loop_duration_ms).unwrap();
        assert_eq!((&shown["n"][5], &shown["endless"][5]), (&1.into(), &1.into()));
        assert_eq!(shown["p50"], serde_json::json!([null, null, null, null, null, null]));
        assert_eq!(series.cost_usd[0], Some(Usd::ZERO));
    }
}
