//! A provider's twin: when a call is answered, by what it is refused, what goes wrong.
//!
//! The twin is a pure function of the calls it is asked, in their order. [`Twin::ask`] decides at once everything
//! that will happen to a call: which limit refuses it, or when it starts, when its first and last token come, what it
//! is billed, and what ends it before its time. So nothing has to be told when a call ends: a server sleeps until
//! those times, virtual time jumps to them, and both get the same figures from the same code.
//!
//! Invariants: the same spec, seed and calls give the same verdicts. What is drawn for a call (times, faults by
//! chance) follows from its place alone, not from what was asked before. No first token comes before its call, no
//! last before its first. Memory holds what is running, what is cached within its time, and no more than a stated
//! number of cache entries.
//!
//! It knows no wire format and no text: tokens are counts, prefixes are keys ([`crate::simulated`] writes answers).
//! It does not know when a client hangs up: a call that was admitted holds its slot until its time is over.

mod call;
mod cold;
mod fault;
mod fault_text;
mod model;
mod place_range;
mod prefix_cache;
mod queue;
mod service;
mod shared_cache;
mod spec;

pub use call::{Ask, Caching, CallPlace, Delivery, PromptPart, Refusal, RefusalWhy, Verdict};
pub use fault::{CutAfter, Fault, FaultError, FaultKind};
pub use model::Twin;
pub use place_range::PlaceRange;
pub use service::{InputLeaves, Service, ServiceEnding};
pub use shared_cache::SharedCache;
pub use spec::{CacheSpec, ColdStart, TwinSpec};

#[cfg(test)]
mod tests;
