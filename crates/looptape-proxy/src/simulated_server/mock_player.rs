//! Plays the mock provider: its desk behind a lock, its clock, and what it counts.

use super::{Played, Player, Received};
use bytes::Bytes;
use looptape_core::derive;
use looptape_core::headers::RedactedHeaders;
use looptape_core::simulated::{
    Client, MockAnswer, MockDesk, MockKind, MockProvider, MockSent, SimRequest, SimTime, WISH_HEADER,
};
use looptape_store::Moment;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The mock provider at work.
#[derive(Debug)]
pub struct MockPlayer {
    provider: MockProvider,
    time: SimTime,
    started: Instant,
    /// Std mutexes: held for short pure work, never across an await.
    desk: Mutex<MockDesk>,
    tally: Mutex<MockTally>,
}

/// What it answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MockTally {
    pub calls: u64,
    pub served: u64,
    /// Refused by a limit, by its name.
    pub limited: BTreeMap<&'static str, u64>,
    /// Refused because too many waited.
    pub overloaded: u64,
    /// Faults of the script, by what they did: a status, `broken`, `dropped`.
    pub faults: BTreeMap<String, u64>,
    /// Not for a model, or not readable.
    pub not_understood: u64,
    pub input_tokens: u64,
    /// Of the input, read from the cache.
    pub cached_tokens: u64,
    pub output_tokens: u64,
}

impl MockPlayer {
    pub fn new(provider: MockProvider, desk: MockDesk, time: SimTime) -> Self {
        Self { provider, time, started: Instant::now(), desk: Mutex::new(desk), tally: Mutex::default() }
    }

    /// What it answered so far.
    pub fn tally(&self) -> MockTally {
        lock(&self.tally).clone()
    }

    fn answer(&self, request: &SimRequest<'_>, client: Client<'_>) -> MockAnswer {
        let heard = match self.provider.hear(request, client) {
            Ok(heard) => heard,
            Err(answer) => return answer,
        };
        let at = lock(&self.desk).place(&heard);
        let thought = self.provider.think(&heard, request, at);
        let decided = {
            let mut desk = lock(&self.desk);
            // Inside the lock: times rise from one call to the next.
            let real_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            desk.decide(&heard, &thought, self.time.since_start(real_us))
        };
        self.provider.write(&heard, request, thought, &decided)
    }
}

impl Player for MockPlayer {
    fn play(&self, request: &Received<'_>) -> Played {
        let body = plain(request);
        let sim = SimRequest {
            method: request.method,
            path: request.path,
            body: &body,
            occurrence: 0,
            unix_s: Moment::now().unix_us / 1_000_000,
        };
        let said = |name: &str| request.headers.get(name)?.to_str().ok();
        let retries = said("x-stainless-retry-count").and_then(|count| count.parse().ok());
        let answer = self.answer(&sim, Client { retries, wish: said(WISH_HEADER) });
        lock(&self.tally).count(answer.kind);
        match answer.sent {
            MockSent::Answer(response) => Played::Answer(response),
            MockSent::Closed => Played::Closed,
        }
    }
}

/// The body without its content encoding.
fn plain(request: &Received<'_>) -> Bytes {
    if !request.headers.contains_key(http::header::CONTENT_ENCODING) {
        return request.body.clone();
    }
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    derive::decode_body(&RedactedHeaders::redact(headers), request.body, &[]).bytes
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MockTally {
    fn count(&mut self, kind: MockKind) {
        self.calls += 1;
        match kind {
            MockKind::Served { input_tokens, cached_tokens, output_tokens } => {
                self.served += 1;
                self.used(input_tokens, cached_tokens, output_tokens);
            }
            MockKind::Broken { input_tokens, cached_tokens, output_tokens } => {
                *self.faults.entry("broken".to_owned()).or_default() += 1;
                self.used(input_tokens, cached_tokens, output_tokens);
            }
            MockKind::Limited(which) => *self.limited.entry(which.as_str()).or_default() += 1,
            MockKind::Overloaded => self.overloaded += 1,
            MockKind::Failed { status } => *self.faults.entry(status.to_string()).or_default() += 1,
            MockKind::NoQuota => *self.faults.entry("insufficient_quota".to_owned()).or_default() += 1,
            MockKind::Dropped => *self.faults.entry("dropped".to_owned()).or_default() += 1,
            MockKind::NotUnderstood { .. } => self.not_understood += 1,
        }
    }

    fn used(&mut self, input_tokens: u64, cached_tokens: u64, output_tokens: u64) {
        self.input_tokens += input_tokens;
        self.cached_tokens += cached_tokens;
        self.output_tokens += output_tokens;
    }
}
