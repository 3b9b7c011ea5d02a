//! What happened in one window of time.

use super::{Attempt, EndedCall, FEWEST_TIMES, ToolResults};
use crate::metrics::Percent;

/// Times that are kept of a window; what comes after them is not looked at.
const MOST_TIMES: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// Its place in time, in windows since 1970.
    pub(super) number: i64,
    pub(super) calls: u64,
    pub(super) tokens: u64,
    pub(super) steps: u32,
    pub(super) retries: u32,
    pub(super) results: ToolResults,
    pub(super) ttft: Times,
    pub(super) tpot: Times,
}

/// Times of calls, of which only a percentile is wanted.
#[derive(Clone, Debug)]
pub(super) enum Times {
    Open(Vec<f64>),
    /// The window is over.
    Closed(Option<f64>),
}

impl Default for Times {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Window {
    pub(super) fn add(&mut self, call: &EndedCall<'_>) {
        self.calls += 1;
        self.tokens = self.tokens.saturating_add(call.tokens);
        match call.attempt {
            Attempt::First => self.steps += 1,
            Attempt::Retry => self.retries += 1,
            Attempt::None => {}
        }
        self.ttft.add(call.ttft_ms);
        self.tpot.add(call.tpot_ms);
    }

    /// Nothing more will happen in it.
    pub(super) fn closed(self) -> Self {
        Self { ttft: Times::Closed(self.ttft.p95()), tpot: Times::Closed(self.tpot.p95()), ..self }
    }
}

impl Times {
    fn add(&mut self, ms: Option<f64>) {
        if let (Self::Open(times), Some(ms)) = (self, ms)
            && times.len() < MOST_TIMES
        {
            times.insert(times.partition_point(|other| *other <= ms), ms);
        }
    }

    /// The 95th percentile, of at least [`FEWEST_TIMES`].
    pub(super) fn p95(&self) -> Option<f64> {
        match self {
            Self::Open(times) if times.len() < FEWEST_TIMES => None,
            Self::Open(times) => times.get(Percent::P95.rank(times.len())? - 1).copied(),
            Self::Closed(p95) => *p95,
        }
    }
}

/// The middle value of at least `fewest`.
pub(super) fn median(mut values: Vec<f64>, fewest: usize) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(Percent::P50.rank(values.len())? - 1).copied().filter(|_| values.len() >= fewest)
}
