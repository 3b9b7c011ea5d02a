//! Whether a figure is healthy: the thresholds that every output uses.

use super::context::{FILLING, FULL};
use super::{Distribution, Percentile, Stats};
use serde::Serialize;

/// How a figure stands against its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    Warn,
    Critical,
}

/// The health of a set of traces; `None` where there is nothing to judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    pub retry_rate: Option<Health>,
    pub steps_per_loop: Option<Health>,
    pub step_latency_ms: Option<Health>,
    pub context_used: Option<Health>,
}

/// What a figure is held to, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Threshold {
    pub metric: &'static str,
    pub warn: &'static str,
    pub critical: Option<&'static str>,
}

/// The thresholds of every judged figure.
pub const THRESHOLDS: [Threshold; 4] = [
    Threshold { metric: "retry_rate", warn: "above 5 %", critical: Some("above 10 %") },
    Threshold { metric: "steps_per_loop", warn: "p95 from 2 × p50", critical: None },
    Threshold { metric: "step_latency_ms", warn: "p99 from 2 × p50", critical: None },
    Threshold { metric: "context_used", warn: "above 75 %", critical: Some("above 90 %") },
];

impl Threshold {
    /// The threshold of a judged figure.
    pub fn of(metric: &str) -> Option<Self> {
        THRESHOLDS.into_iter().find(|threshold| threshold.metric == metric)
    }
}

impl Health {
    /// Retries per model step: above 5 % warn, above 10 % critical.
    pub fn of_retry_rate(rate: f64) -> Self {
        Self::above(rate, 0.05, 0.10)
    }

    /// The largest share of its context that a step used.
    pub fn of_context(peak: f64) -> Self {
        Self::above(peak, FILLING, FULL)
    }

    fn above(value: f64, warn: f64, critical: f64) -> Self {
        match value {
            value if value > critical => Self::Critical,
            value if value > warn => Self::Warn,
            _ => Self::Healthy,
        }
    }

    /// A tail is healthy while it stays below twice the median.
    pub fn of_tail(median: f64, tail: f64) -> Self {
        if tail < 2.0 * median || tail == median { Self::Healthy } else { Self::Warn }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warn => "warn",
            Self::Critical => "critical",
        }
    }
}

impl HealthReport {
    /// Steps per loop are judged at their p95, latency at its p99, the context at its peak.
    pub fn of(stats: &Stats) -> Self {
        let tail =
            |of: &Distribution, tail: Option<Percentile>| Some(Health::of_tail(of.p50()?.value, tail?.value));
        let steps = &stats.of_steps;
        Self {
            retry_rate: steps.retry_rate.map(Health::of_retry_rate),
            steps_per_loop: tail(&stats.steps_per_loop, stats.steps_per_loop.p95()),
            step_latency_ms: tail(&steps.step_latency_ms, steps.step_latency_ms.p99()),
            context_used: steps.context.context_used_peak.map(Health::of_context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        assert!(THRESHOLDS.iter().all(|one| super::super::select(&Stats::default(), one.metric).is_some()));
        let rates = [0.0, 0.05, 0.051, 0.10, 0.101].map(Health::of_retry_rate);
        assert_eq!(rates, [Health::Healthy, Health::Healthy, Health::Warn, Health::Warn, Health::Critical]);
        let shares = [0.75, 0.751, 0.90, 0.901].map(Health::of_context);
        assert_eq!(shares, [Health::Healthy, Health::Warn, Health::Warn, Health::Critical]);
        assert_eq!(Health::of_tail(3.0, 5.9), Health::Healthy);
        assert_eq!(Health::of_tail(3.0, 6.0), Health::Warn);
        assert_eq!(Health::of_tail(0.0, 0.0), Health::Healthy);
    }
}
