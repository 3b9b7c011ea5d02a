//! Whether a figure is healthy: the thresholds that every output uses.

use super::{Distribution, Percentile};
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
}

impl Health {
    /// Retries per model step: above 5 % warn, above 10 % critical.
    pub fn of_retry_rate(rate: f64) -> Self {
        match rate {
            rate if rate > 0.10 => Self::Critical,
            rate if rate > 0.05 => Self::Warn,
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
    /// Steps per loop are judged at their p95, latency at its p99.
    pub fn of(stats: &super::Stats) -> Self {
        let tail =
            |of: &Distribution, tail: Option<Percentile>| Some(Health::of_tail(of.p50()?.value, tail?.value));
        Self {
            retry_rate: stats.retry_rate.map(Health::of_retry_rate),
            steps_per_loop: tail(&stats.steps_per_loop, stats.steps_per_loop.p95()),
            step_latency_ms: tail(&stats.step_latency_ms, stats.step_latency_ms.p99()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let rates = [0.0, 0.05, 0.051, 0.10, 0.101].map(Health::of_retry_rate);
        assert_eq!(rates, [Health::Healthy, Health::Healthy, Health::Warn, Health::Warn, Health::Critical]);
        assert_eq!(Health::of_tail(3.0, 5.9), Health::Healthy);
        assert_eq!(Health::of_tail(3.0, 6.0), Health::Warn);
        assert_eq!(Health::of_tail(0.0, 0.0), Health::Healthy);
    }
}
