//! All limits of an account together: what a request needs of each, and what its end gives back.

use super::bucket::{Bucket, Standing, wait_us};
use super::{Limit, Limited, Limits};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a request needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    pub input_tokens: u64,
    /// Of the input, what is read from a cache.
    pub cached_tokens: u64,
    pub max_output_tokens: Option<u64>,
    /// What it will have written when it ends.
    pub output_tokens: u64,
}

/// The limit that refuses a request, with the figures that the provider prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub which: Limited,
    pub limit: u64,
    pub used: u64,
    pub requested: u64,
    /// Until it fits; `None` if it never does, because it alone is above the limit.
    pub wait_us: Option<u64>,
}

/// How all buckets stand; `None` where there is no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    pub requests: Option<Standing>,
    pub tokens: Option<Standing>,
    pub input_tokens: Option<Standing>,
    pub output_tokens: Option<Standing>,
}

/// The buckets of an account, and who is being served.
#[derive(Clone, Debug)]
pub struct Limiter {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    input_tokens: Option<Bucket>,
    output_tokens: Option<Bucket>,
    concurrent: Option<Limit>,
    count_refused: bool,
    /// Those who have a place or whose end changes a bucket; the next to end on top.
    running: BinaryHeap<Reverse<Running>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Running {
    ends_us: u64,
    /// Tokens to take when it ends, beyond those taken at its start.
    more_tokens: u64,
    /// Output tokens to give back when it ends.
    unused_output: u64,
}

impl Limiter {
    pub fn new(limits: &Limits) -> Self {
        Self {
            requests: limits.rpm.map(Bucket::new),
            tokens: limits.tpm.map(Bucket::new),
            input_tokens: limits.itpm.map(Bucket::new),
            output_tokens: limits.otpm.map(Bucket::new),
            concurrent: limits.concurrent,
            count_refused: limits.count_refused,
            running: BinaryHeap::new(),
        }
    }

    /// The limit that refuses this request, if one does; takes nothing.
    pub fn check(&mut self, at_us: u64, demand: &Demand) -> Option<Blocked> {
        self.advance(at_us);
        let buckets = self.needed(demand).into_iter().filter_map(|(which, bucket, requested)| {
            let bucket = bucket?;
            (!bucket.fits(requested)).then(|| Blocked::by(which, bucket, requested))
        });
        // The longest wait; of equal ones the first.
        let by_bucket = buckets.reduce(|longest, next| if next.is_longer(&longest) { next } else { longest });
        by_bucket.or_else(|| self.crowded(at_us))
    }

    /// Takes what a request needs that [`Limiter::check`] let pass; it ends at `ends_us`.
    pub fn admit(&mut self, at_us: u64, demand: &Demand, ends_us: u64) {
        self.advance(at_us);
        let taken = self.needed(demand).map(|(_, _, requested)| requested);
        let buckets = [&mut self.requests, &mut self.tokens, &mut self.input_tokens, &mut self.output_tokens];
        for (bucket, amount) in buckets.into_iter().zip(taken) {
            if let Some(bucket) = bucket {
                bucket.take(amount);
            }
        }
        let [_, tokens, _, output] = taken;
        let used = demand.input_tokens.saturating_add(demand.output_tokens);
        let running = Running {
            ends_us,
            more_tokens: if self.tokens.is_some() { used.saturating_sub(tokens) } else { 0 },
            unused_output: match self.output_tokens {
                Some(_) => output.saturating_sub(demand.output_tokens),
                None => 0,
            },
        };
        if self.concurrent.is_some() || running.more_tokens > 0 || running.unused_output > 0 {
            self.running.push(Reverse(running));
        }
    }

    /// Counts a request that got no answer, where such requests count. One for which there was no room takes none:
    /// else the wait that it was told would not be enough.
    pub fn refused(&mut self, at_us: u64) {
        if let (true, Some(bucket)) = (self.count_refused, &mut self.requests) {
            bucket.advance(at_us);
            if bucket.fits(1) {
                bucket.take(1);
            }
        }
    }

    pub fn standings(&mut self, at_us: u64) -> Standings {
        self.advance(at_us);
        let standing = |bucket: &Option<Bucket>| bucket.as_ref().map(Bucket::standing);
        Standings {
            requests: standing(&self.requests),
            tokens: standing(&self.tokens),
            input_tokens: standing(&self.input_tokens),
            output_tokens: standing(&self.output_tokens),
        }
    }

    /// In the order in which the buckets stand in [`Limiter`].
    fn needed(&self, demand: &Demand) -> [(Limited, Option<&Bucket>, u64); 4] {
        let stated = demand.max_output_tokens.unwrap_or(0);
        let uncached = demand.input_tokens.saturating_sub(demand.cached_tokens);
        let most_output = self.output_tokens.as_ref().map_or(u64::MAX, |bucket| bucket.limit().get());
        let reserved = demand.max_output_tokens.unwrap_or(demand.output_tokens).min(most_output);
        [
            (Limited::Requests, self.requests.as_ref(), 1),
            (Limited::Tokens, self.tokens.as_ref(), demand.input_tokens.max(stated)),
            (Limited::InputTokens, self.input_tokens.as_ref(), uncached),
            (Limited::OutputTokens, self.output_tokens.as_ref(), reserved),
        ]
    }

    fn crowded(&self, at_us: u64) -> Option<Blocked> {
        let limit = self.concurrent?.get();
        let running = u64::try_from(self.running.len()).unwrap_or(u64::MAX);
        let next_end = self.running.peek().map_or(0, |Reverse(running)| running.ends_us);
        (running >= limit).then(|| Blocked {
            which: Limited::Concurrent,
            limit,
            used: running,
            requested: 1,
            wait_us: Some(next_end.saturating_sub(at_us)),
        })
    }

    /// Lets time pass; those who end on the way settle what they used at their own time.
    fn advance(&mut self, at_us: u64) {
        while let Some(Reverse(next)) = self.running.peek().copied() {
            if next.ends_us > at_us {
                break;
            }
            self.running.pop();
            if let Some(bucket) = &mut self.tokens {
                bucket.advance(next.ends_us);
                bucket.take(next.more_tokens);
            }
            if let Some(bucket) = &mut self.output_tokens {
                bucket.advance(next.ends_us);
                bucket.give_back(next.unused_output);
            }
        }
        let buckets = [&mut self.requests, &mut self.tokens, &mut self.input_tokens, &mut self.output_tokens];
        for bucket in buckets.into_iter().flatten() {
            bucket.advance(at_us);
        }
    }
}

impl Blocked {
    fn by(which: Limited, bucket: &Bucket, requested: u64) -> Self {
        let limit = bucket.limit();
        // From the printed figures, so that a client that computes the wait gets the stated one.
        let wait = (requested <= limit.get()).then(|| wait_us(limit, bucket.used(), requested));
        Self { which, limit: limit.get(), used: bucket.used(), requested, wait_us: wait }
    }

    fn is_longer(&self, other: &Self) -> bool {
        self.wait_us.unwrap_or(u64::MAX) > other.wait_us.unwrap_or(u64::MAX)
    }
}
