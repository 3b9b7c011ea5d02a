//! A call that is served: its times and its usage.

use super::fault::CutAfter;
use crate::draws::Draws;

/// How a call is served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// When a slot is free for it.
    pub starts_us: u64,
    /// The first token.
    pub first_us: u64,
    /// The last one that comes, and the end.
    pub last_us: u64,
    pub input: InputLeaves,
    /// What is produced; less than asked for where a fault ends it.
    pub output_tokens: u64,
    pub ending: ServiceEnding,
    pub(super) jitter: Jitter,
}

/// Input tokens by how they are billed; together they are the whole input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputLeaves {
    pub uncached: u64,
    pub cache_read: u64,
    /// Only where the client marks what to cache.
    pub cache_write: u64,
}

/// What ends an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceEnding {
    Complete,
    /// An error inside the stream, after so many tokens; an answer that is not streamed is an error instead.
    StreamError {
        after_tokens: u64,
    },
    /// The connection is closed in the middle.
    Cut(CutAfter),
    /// It comes in full, but something in it is no JSON.
    Malformed,
}

/// How unequal the gaps between tokens are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Jitter {
    /// 0 for equal gaps; 1 for gaps between nothing and twice the mean.
    pub(super) share: f64,
    pub(super) draws: Draws,
}

impl InputLeaves {
    pub fn total(&self) -> u64 {
        self.uncached.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }
}

impl Service {
    /// When token `n` of `of` comes, counted from 0. The first and the last come at the times stated; those between
    /// are spread evenly but for the jitter, and never overtake each other.
    pub fn token_us(&self, n: u64, of: u64) -> u64 {
        let last = of.saturating_sub(1);
        if n == 0 || last == 0 {
            return self.first_us;
        }
        if n >= last {
            return self.last_us;
        }
        let gap = (self.last_us - self.first_us) as f64 / last as f64;
        // Half a gap to either side at most, so that two neighbours keep their order.
        let off = (self.jitter.draws.unit(n) - 0.5) * self.jitter.share;
        self.first_us + ((n as f64 + off) * gap) as u64
    }
}
