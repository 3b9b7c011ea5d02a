//! Rate limits as providers apply them: so many requests and tokens a minute, in buckets that refill all the time.
//!
//! A bucket holds what was used. It empties at its limit divided by 60 a second, continuously, and a request is
//! admitted if it still fits. So the wait that a refusal states is (used + requested − limit) / (limit / 60) seconds,
//! which is what providers print, and what [`wait_us`] computes.
//!
//! | limit | what a request takes | when it ends |
//! |---|---|---|
//! | `rpm` | 1 | |
//! | `tpm` (OpenAI) | its input, or `max_tokens` where that is more | what it used beyond that is taken too |
//! | `itpm` (Anthropic) | its input without what was read from the cache | |
//! | `otpm` (Anthropic) | `max_tokens`, at most the whole bucket | what it did not use is given back |
//! | `concurrent` | one place | the place is free |
//!
//! Invariants: nothing here knows a clock, times are given and rise; arithmetic is in whole numbers, so the same
//! requests at the same times get the same verdicts on any machine; no bucket holds more than its limit. What is
//! remembered of a request is forgotten when it has ended.
//!
//! [`fit()`] goes the other way: from calls to the limits that they show, and [`range()`] says how exactly they do.
//!
//! What providers leave open is decided here: of several limits that refuse, the one with the longest wait is named;
//! a refused request counts as a request (`count_refused`), as OpenAI says of its own.

mod bucket;
mod fit;
mod limiter;
mod range;
mod report;
mod spec;
mod stated;

pub use bucket::{Bucket, Standing, wait_us};
pub use fit::{Basis, FittedAccount, FittedLimit, SeenCall, fit};
pub use limiter::{Blocked, Demand, Limiter, Standings};
pub use range::{Fate, LimitRange, TriedCall, range};
pub use report::AccountReport;
pub use spec::{Limit, LimitError, Limits};

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limited {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
    Concurrent,
}

impl Limited {
    /// The name that `[twin.limits]` has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "rpm",
            Self::Tokens => "tpm",
            Self::InputTokens => "itpm",
            Self::OutputTokens => "otpm",
            Self::Concurrent => "concurrent",
        }
    }
}

#[cfg(test)]
mod fit_tests;
#[cfg(test)]
mod tests;
