//! A quantity that changes in straight lines over time: a rate of arrivals, or a number of virtual users.
//!
//! Arrivals are exact: the n-th comes when the integral of the rate passes n, found by solving for it and not by
//! stepping through time.

/// What it is at first, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Ramp {
    lines: Vec<Line>,
}

/// A stretch on a straight line; a jump takes no time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    start_us: u64,
    duration_us: u64,
    from: f64,
    to: f64,
    /// The integral up to its start, in units times seconds.
    area_before: f64,
}

/// A stage: how long it takes, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub duration_us: u64,
    pub target: f64,
}

impl Line {
    fn seconds(&self) -> f64 {
        self.duration_us as f64 / 1e6
    }

    fn area(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds()
    }

    fn end_us(&self) -> u64 {
        self.start_us + self.duration_us
    }

    /// When its own integral comes to `area`, in µs after its start.
    fn when_area(&self, area: f64) -> f64 {
        // from·x + slope/2·x² = area, written so that nothing cancels where the slope is small.
        let slope = (self.to - self.from) / self.seconds();
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        match self.from + root {
            0.0 => 0.0,
            sum => 2.0 * area / sum * 1e6,
        }
    }

    /// When it passes a value, in µs after its start.
    fn when_value(&self, value: f64) -> u64 {
        ((value - self.from) / (self.to - self.from) * self.duration_us as f64).ceil() as u64
    }
}

impl Ramp {
    pub fn new(from: f64, stages: &[Stage]) -> Self {
        let (mut from, mut start_us, mut area_before) = (from, 0, 0.0);
        let mut lines = Vec::with_capacity(stages.len());
        for stage in stages {
            let line = Line { start_us, duration_us: stage.duration_us, from, to: stage.target, area_before };
            (from, start_us, area_before) = (line.to, line.end_us(), area_before + line.area());
            lines.push(line);
        }
        Self { lines }
    }

    pub fn constant(value: f64, duration_us: u64) -> Self {
        Self::new(value, &[Stage { duration_us, target: value }])
    }

    pub fn is_constant(&self) -> bool {
        self.lines.windows(2).all(|pair| pair[0].to == pair[1].to)
            && self.lines.iter().all(|l| l.from == l.to)
    }

    pub fn duration_us(&self) -> u64 {
        self.lines.last().map_or(0, Line::end_us)
    }

    /// The integral over all of it, in units times seconds.
    pub fn area(&self) -> f64 {
        self.lines.last().map_or(0.0, |line| line.area_before + line.area())
    }

    /// The first instant after which the integral is above `area`; `None` if it never is.
    pub fn when_area(&self, area: f64) -> Option<u64> {
        // What rounding adds to the last line must not let one more in.
        let above = |line: &&Line| line.area_before + line.area() > area * (1.0 + 1e-12);
        let line = self.lines.iter().find(above)?;
        Some(line.start_us + line.when_area((area - line.area_before).max(0.0)).round() as u64)
    }

    /// What it is at an instant; after its end, what it was there.
    pub fn at(&self, us: u64) -> f64 {
        let after = self.lines.partition_point(|line| line.end_us() <= us);
        match self.lines.get(after) {
            Some(line) => {
                let share = (us - line.start_us) as f64 / line.duration_us as f64;
                line.from + (line.to - line.from) * share
            }
            None => self.lines.last().map_or(0.0, |line| line.to),
        }
    }

    /// Every instant at which it comes to have at least 1, 2, 3, … whole units, with that number, in order of time;
    /// those that it has from the start come first.
    pub fn rises(&self) -> Vec<(u64, u32)> {
        let mut rises: Vec<(u64, u32)> = match self.lines.first() {
            Some(first) => (1..=first.from.max(0.0) as u32).map(|unit| (0, unit)).collect(),
            None => Vec::new(),
        };
        for line in self.lines.iter().filter(|line| line.to > line.from) {
            let units = line.from.floor() as u32 + 1..=line.to.floor() as u32;
            rises.extend(units.map(|unit| (line.start_us + line.when_value(f64::from(unit)), unit)));
        }
        rises
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000;

    fn stage(seconds: u64, target: f64) -> Stage {
        Stage { duration_us: seconds * S, target }
    }

    fn arrivals(ramp: &Ramp) -> Vec<u64> {
        (0..).map_while(|n| ramp.when_area(f64::from(n))).collect()
    }

    #[test]
    fn a_constant_rate_spaces_evenly_from_the_start() {
        let tenths: Vec<u64> = arrivals(&Ramp::constant(10.0, S));
        assert_eq!(tenths, (0..10).map(|n| n * S / 10).collect::<Vec<_>>());
        assert_eq!(arrivals(&Ramp::constant(1.0 / 60.0, 600 * S)).len(), 10);
        assert!(arrivals(&Ramp::constant(0.0, S)).is_empty());
    }

    #[test]
    fn a_ramp_is_where_its_integral_says() {
        // From 0 to 2 a second in 10 s: 10 arrivals, the n-th at √(10 n).
        let up = arrivals(&Ramp::new(0.0, &[stage(10, 2.0)]));
        let expected: Vec<u64> =
            (0..10).map(|n| ((10.0 * f64::from(n)).sqrt() * 1e6).round() as u64).collect();
        assert_eq!(up, expected);
        // Down again: the gaps in the other direction.
        let down = arrivals(&Ramp::new(2.0, &[stage(10, 0.0)]));
        assert_eq!(down.len(), 10);
        assert!(down.windows(3).all(|t| t[1] - t[0] <= t[2] - t[1]));
    }

    #[test]
    fn nothing_comes_while_the_rate_is_nought_and_jumps_take_no_time() {
        let ramp = Ramp::new(0.0, &[stage(5, 0.0), stage(0, 1.0), stage(3, 1.0)]);
        assert_eq!(arrivals(&ramp), [5 * S, 6 * S, 7 * S]);
        assert_eq!((ramp.at(4 * S), ramp.at(5 * S), ramp.at(9 * S)), (0.0, 1.0, 1.0));
    }

    #[test]
    fn users_come_when_the_line_passes_them() {
        let ramp = Ramp::new(1.0, &[stage(4, 3.0), stage(4, 0.0), stage(2, 1.0)]);
        assert_eq!(ramp.rises(), [(0, 1), (2 * S, 2), (4 * S, 3), (10 * S, 1)]);
    }

    proptest! {
        #[test]
        fn the_integral_at_an_arrival_is_its_number(from in 0.0..50.0f64,
                                                    stages in proptest::collection::vec((0u64..100, 0.0..50.0f64), 1..6)) {
            let stages: Vec<Stage> = stages.iter().map(|(s, target)| stage(*s, *target)).collect();
            let ramp = Ramp::new(from, &stages);
            let times = arrivals(&ramp);
            prop_assert!((times.len() as f64 - ramp.area()).abs() <= 1.0);
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            for (n, at) in times.iter().enumerate() {
                let slice = |to: u64| -> f64 {
                    // The integral up to `to`, by the trapezes of the lines.
                    ramp.lines.iter().filter(|line| line.start_us < to).map(|line| {
                        let end = to.min(line.end_us());
                        (line.from + ramp_value(line, end)) / 2.0 * (end - line.start_us) as f64 / 1e6
                    }).sum()
                };
                prop_assert!((slice(*at) - n as f64).abs() < 1e-3, "{} {}", slice(*at), n);
            }
        }
    }

    fn ramp_value(line: &Line, us: u64) -> f64 {
        match line.duration_us {
            0 => line.to,
            whole => line.from + (line.to - line.from) * (us - line.start_us) as f64 / whole as f64,
        }
    }
}
