//! Rates over time, and how they change.
//!
//! The window is cut into stretches of one length (the last may be shorter), a round one such that there are at
//! most [`MOST_BUCKETS`]. Tokens count where their call ended, loops where they ended.

use super::super::sweep::Interval;
use super::timeline::Timeline;
use super::window::Window;
use crate::assembly::LoopOutcome;
use serde::Serialize;

/// Stretches of a window at most.
const MOST_BUCKETS: i64 = 60;

/// Round lengths, in seconds.
const LENGTHS_S: [i64; 19] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800,
];

/// Rates of each stretch of the window, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    pub start_unix_us: i64,
    pub bucket_s: f64,
    /// Completed loops.
    pub loops_per_min: Vec<f64>,
    pub input_tokens_per_s: Vec<f64>,
    pub output_tokens_per_s: Vec<f64>,
}

/// Tokens per second over the whole window, and how fast that grows or falls: the slope of the straight line that
/// fits the series best (least squares), in tokens per second, per minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TokenRates {
    pub input_tokens_per_s: f64,
    pub output_tokens_per_s: f64,
    pub input_change_per_min: Option<f64>,
    pub output_change_per_min: Option<f64>,
}

/// A stretch's sums.
#[derive(Clone, Copy, Default)]
struct Bucket {
    loops: u32,
    input: u64,
    output: u64,
}

/// `None` in no time, or if nothing is on the line.
pub(super) fn of(timeline: &Timeline, window: Window) -> Option<(Series, TokenRates)> {
    let length_us = window.end_unix_us.checked_sub(window.start_unix_us).filter(|length| *length > 0)?;
    let (bucket_us, buckets) = cut(length_us);
    let mut sums = vec![Bucket::default(); usize::try_from(buckets).unwrap_or(1)];
    let place = |during: &Interval| {
        let since =
            during.end_us.checked_sub(window.start_unix_us).filter(|at| (0..=length_us).contains(at))?;
        usize::try_from((since / bucket_us).min(buckets - 1)).ok()
    };
    for call in &timeline.calls {
        if let Some(at) = place(&call.during) {
            sums[at].input += call.input_tokens;
            sums[at].output += call.output_tokens;
        }
    }
    for ended in timeline.loops.iter().filter(|ended| ended.outcome != LoopOutcome::Unknown) {
        if let Some(at) = place(&ended.during) {
            sums[at].loops += 1;
        }
    }
    let seconds = |at: usize| {
        let start = at as i64 * bucket_us;
        (bucket_us.min(length_us - start)) as f64 / 1e6
    };
    let rates = |of: fn(&Bucket) -> f64| -> Vec<f64> {
        sums.iter().enumerate().map(|(at, sum)| of(sum) / seconds(at)).collect()
    };
    let series = Series {
        start_unix_us: window.start_unix_us,
        bucket_s: bucket_us as f64 / 1e6,
        loops_per_min: rates(|sum| f64::from(sum.loops) * 60.0),
        input_tokens_per_s: rates(|sum| sum.input as f64),
        output_tokens_per_s: rates(|sum| sum.output as f64),
    };
    let total = |of: fn(&Bucket) -> u64| sums.iter().map(of).sum::<u64>() as f64 / window.seconds();
    let middles: Vec<f64> =
        (0..sums.len()).map(|at| at as f64 * series.bucket_s / 60.0 + seconds(at) / 120.0).collect();
    let rates = TokenRates {
        input_tokens_per_s: total(|sum| sum.input),
        output_tokens_per_s: total(|sum| sum.output),
        input_change_per_min: slope(&middles, &series.input_tokens_per_s),
        output_change_per_min: slope(&middles, &series.output_tokens_per_s),
    };
    Some((series, rates))
}

/// The length of a stretch in µs, and how many there are.
fn cut(length_us: i64) -> (i64, i64) {
    let fits = |seconds: &&i64| length_us <= MOST_BUCKETS * **seconds * 1_000_000;
    let weeks = || (length_us / (MOST_BUCKETS * 604_800_000_000) + 1) * 604_800;
    let bucket_us = LENGTHS_S.iter().find(fits).copied().unwrap_or_else(weeks) * 1_000_000;
    (bucket_us, (length_us + bucket_us - 1) / bucket_us)
}

/// Of the line that fits best; `None` for fewer than two points.
fn slope(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let spread: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let common: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| common / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_round_and_few() {
        let s = |seconds: i64| cut(seconds * 1_000_000);
        assert_eq!(s(1), (1_000_000, 1));
        assert_eq!(s(60), (1_000_000, 60));
        assert_eq!(s(61), (2_000_000, 31));
        assert_eq!(s(86_400), (1_800_000_000, 48));
        let (bucket_us, buckets) = s(20 * 365 * 86_400);
        assert!(buckets <= MOST_BUCKETS && bucket_us % 604_800_000_000 == 0, "{bucket_us} {buckets}");
    }

    #[test]
    fn a_straight_line_has_its_slope() {
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 + 2.0 * x).collect();
        assert_eq!(slope(&x, &y), Some(2.0));
        assert_eq!(slope(&[1.0], &[1.0]), None);
    }
}
