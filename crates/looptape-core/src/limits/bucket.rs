//! One bucket: what was used of a limit, and how it refills.

use super::Limit;

/// A unit is counted in so many parts: as many as a minute has µs, so that a bucket regains exactly its limit in
/// parts each µs.
const PARTS: u64 = 60_000_000;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    limit: Limit,
    /// In parts; never above the limit.
    used: u64,
    at_us: u64,
}

/// How a bucket stands: what headers tell a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub limit: u64,
    pub remaining: u64,
    /// Until it is full again if nothing more is taken.
    pub reset_us: u64,
}

/// How long a request waits that needs `requested` of a bucket of which `used` is taken: 0 if it fits. Rounded up to
/// a whole µs. A request for more than the limit never fits; this is how long it would take if it could.
pub fn wait_us(limit: Limit, used: u64, requested: u64) -> u64 {
    let over = u128::from(used) + u128::from(requested);
    let over = over.saturating_sub(u128::from(limit.get()));
    u64::try_from((over * u128::from(PARTS)).div_ceil(u128::from(limit.get()))).unwrap_or(u64::MAX)
}

impl Bucket {
    pub fn new(limit: Limit) -> Self {
        Self { limit, used: 0, at_us: 0 }
    }

    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Lets time pass; a time before the last one changes nothing.
    pub fn advance(&mut self, at_us: u64) {
        let passed = at_us.saturating_sub(self.at_us);
        self.used = self.used.saturating_sub(passed.saturating_mul(self.limit.get()));
        self.at_us = self.at_us.max(at_us);
    }

    pub fn fits(&self, requested: u64) -> bool {
        self.used.saturating_add(requested.saturating_mul(PARTS)) <= self.full()
    }

    /// Takes as much as is left, if it does not all fit.
    pub fn take(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount.saturating_mul(PARTS)).min(self.full());
    }

    pub fn give_back(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount.saturating_mul(PARTS));
    }

    /// What is taken, in whole units, rounded up: the figure that refusals print.
    pub fn used(&self) -> u64 {
        self.used.div_ceil(PARTS)
    }

    pub fn standing(&self) -> Standing {
        Standing {
            limit: self.limit.get(),
            remaining: self.limit.get() - self.used(),
            reset_us: self.used.div_ceil(self.limit.get()),
        }
    }

    fn full(&self) -> u64 {
        self.limit.get() * PARTS
    }
}
