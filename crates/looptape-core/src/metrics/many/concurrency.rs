//! How much ran at once.

use super::super::sweep::Interval;
use super::timeline::Timeline;
use super::window::Window;
use serde::Serialize;

/// Of loops and of HTTP calls of model steps, over the window: the mean weighted by time, and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Concurrency {
    pub loops_mean: f64,
    pub loops_peak: u32,
    pub calls_mean: f64,
    pub calls_peak: u32,
}

pub(super) fn of_timeline(timeline: &Timeline, window: Window) -> Option<Concurrency> {
    let (loops_mean, loops_peak) = of(timeline.loops.iter().map(|inner| inner.during), window)?;
    let (calls_mean, calls_peak) = of(timeline.calls.iter().map(|call| call.during), window)?;
    Some(Concurrency { loops_mean, loops_peak, calls_mean, calls_peak })
}

/// Mean and peak; what lies outside of the window does not count. `None` in no time.
fn of(intervals: impl Iterator<Item = Interval>, window: Window) -> Option<(f64, u32)> {
    let length_us = window.end_unix_us - window.start_unix_us;
    let mut edges: Vec<(i64, i32)> = Vec::new();
    let mut busy_us: i128 = 0;
    for inside in intervals.filter_map(|interval| window.clip(interval)) {
        busy_us += i128::from(inside.end_us - inside.start_us);
        edges.extend([(inside.start_us, 1), (inside.end_us, -1)]);
    }
    // Of one instant ends come first: what starts as another ends does not run beside it.
    edges.sort_unstable();
    let (mut now, mut peak) = (0, 0);
    for (_, change) in edges {
        now += change;
        peak = peak.max(now);
    }
    (length_us > 0).then(|| (busy_us as f64 / length_us as f64, u32::try_from(peak).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::super::window::WindowBasis;
    use super::*;

    #[test]
    fn mean_and_peak_by_hand() {
        let window = Window { start_unix_us: 0, end_unix_us: 100, basis: WindowBasis::Given };
        let intervals = [(-50, 50), (50, 100), (60, 80), (70, 400)];
        let intervals = intervals.map(|(start_us, end_us)| Interval { start_us, end_us });
        let (mean, peak) = of(intervals.into_iter(), window).unwrap();
        assert_eq!((mean, peak), (1.5, 3));
        let nothing = Window { end_unix_us: 0, ..window };
        assert_eq!(of(intervals.into_iter(), nothing), None);
    }
}
