//! How many run at once: the mean weighted by time, and the most.

/// Something of which there is more or less over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    now: u32,
    peak: u32,
    since_us: u64,
    /// How many there were times how long, in µs.
    area_us: u128,
}

impl Gauge {
    pub fn begin(&mut self, at_us: u64) {
        self.pass(at_us);
        self.now += 1;
        self.peak = self.peak.max(self.now);
    }

    pub fn end(&mut self, at_us: u64) {
        self.pass(at_us);
        self.now = self.now.saturating_sub(1);
    }

    /// One that is told when it is over. It counts for the mean; for the most, whoever looks says how many there are
    /// ([`Gauge::seen`]).
    pub fn past(&mut self, from_us: u64, to_us: u64) {
        self.area_us += u128::from(to_us.saturating_sub(from_us));
    }

    /// So many were seen at once.
    pub fn seen(&mut self, count: u32) {
        self.peak = self.peak.max(count);
    }

    fn pass(&mut self, at_us: u64) {
        self.area_us += u128::from(self.now) * u128::from(at_us.saturating_sub(self.since_us));
        self.since_us = self.since_us.max(at_us);
    }

    pub fn now(&self) -> u32 {
        self.now
    }

    pub fn peak(&self) -> u32 {
        self.peak
    }

    /// How long all of them ran together, of those that have ended.
    pub fn area_us(&self) -> u128 {
        self.area_us
    }

    /// Over so long a time; `None` in no time.
    pub fn mean(&self, length_us: u64) -> Option<f64> {
        (length_us > 0).then(|| self.area_us as f64 / length_us as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_peak_by_hand() {
        let mut gauge = Gauge::default();
        for (at, begins) in [(0, true), (10, true), (30, false), (30, true), (50, false), (60, false)] {
            if begins { gauge.begin(at) } else { gauge.end(at) }
        }
        assert_eq!((gauge.peak(), gauge.now(), gauge.area_us()), (2, 0, 10 + 2 * 20 + 2 * 20 + 10));
        assert_eq!((gauge.mean(100), gauge.mean(0)), (Some(1.0), None));
    }
}
