//! A run over time, in a bounded number of stretches of one length. When it outgrows them, the length doubles.

use serde::Serialize;

/// Stretches at most.
const MOST: usize = 120;

/// What happened in each stretch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadSeries {
    pub bucket_s: u64,
    /// Loops that were due, dropped ones included.
    pub offered: Vec<u32>,
    pub completed: Vec<u32>,
    /// Completed ones that succeeded.
    pub succeeded: Vec<u32>,
    pub retries: Vec<u32>,
    /// Loops that ran at once, at most.
    pub running: Vec<u32>,
}

impl Default for LoadSeries {
    fn default() -> Self {
        let none = Vec::new;
        Self {
            bucket_s: 1,
            offered: none(),
            completed: none(),
            succeeded: none(),
            retries: none(),
            running: none(),
        }
    }
}

impl LoadSeries {
    pub(super) fn offered(&mut self, at_us: u64) {
        let at = self.place(at_us);
        self.offered[at] += 1;
    }

    pub(super) fn ended(&mut self, at_us: u64, is_success: bool) {
        let at = self.place(at_us);
        self.completed[at] += 1;
        self.succeeded[at] += u32::from(is_success);
    }

    pub(super) fn retried(&mut self, at_us: u64) {
        let at = self.place(at_us);
        self.retries[at] += 1;
    }

    pub(super) fn running(&mut self, at_us: u64, loops: u32) {
        let at = self.place(at_us);
        self.running[at] = self.running[at].max(loops);
    }

    fn place(&mut self, at_us: u64) -> usize {
        let place = |bucket_s: u64| (at_us / 1_000_000 / bucket_s) as usize;
        while place(self.bucket_s) >= MOST {
            self.bucket_s *= 2;
            for sums in [&mut self.offered, &mut self.completed, &mut self.succeeded, &mut self.retries] {
                *sums = sums.chunks(2).map(|pair| pair.iter().sum()).collect();
            }
            let most = |pair: &[u32]| pair.iter().copied().max().unwrap_or(0);
            self.running = self.running.chunks(2).map(most).collect();
        }
        let at = place(self.bucket_s);
        if self.offered.len() <= at {
            for counts in [
                &mut self.offered,
                &mut self.completed,
                &mut self.succeeded,
                &mut self.retries,
                &mut self.running,
            ] {
                counts.resize(at + 1, 0);
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_double_when_they_are_outgrown() {
        let mut series = LoadSeries::default();
        (0..1000).for_each(|second| {
            series.offered(second * 1_000_000);
            series.running(second * 1_000_000, second as u32 % 7);
        });
        assert_eq!((series.bucket_s, series.offered.len()), (16, 63));
        assert_eq!(series.offered.iter().sum::<u32>(), 1000);
        assert!(series.offered[..62].iter().all(|count| *count == 16));
        assert!(series.running.iter().take(62).all(|most| *most == 6));
    }
}
