//! Whoever wants to know what the driver did: to keep it.

use bytes::Bytes;
use looptape_core::exchange::Outcome;
use looptape_core::load::LoopEnding;
use looptape_core::provider::Provider;

/// 1, 2, 3, … in the order in which loops began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoopId(pub u64);

/// A loop begins. Times are µs since the run's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedStart {
    pub id: LoopId,
    /// The phase's place in the scenario.
    pub phase: usize,
    /// When it was due.
    pub scheduled_us: u64,
}

/// A call has ended.
#[derive(Clone, Debug)]
pub struct ObservedCall {
    pub of: LoopId,
    pub sent_us: u64,
    pub provider: Provider,
    /// As the provider knows it, with its version.
    pub path: String,
    /// Without the one that holds the key.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Its times are µs since the run's start too.
    pub outcome: Outcome,
}

/// A loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedEnd {
    pub id: LoopId,
    pub ended_us: u64,
    pub ending: LoopEnding,
}

/// Is told on the driver's own thread: what it does must not take long.
pub trait Observer: std::fmt::Debug {
    fn loop_began(&self, start: &ObservedStart);
    fn call_ended(&self, call: ObservedCall);
    fn loop_ended(&self, end: &ObservedEnd);
}
