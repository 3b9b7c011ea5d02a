//! Loops under load in real time.
//!
//! [`drive`] runs a scenario against a URL: loops begin when they are due, whatever the target does (open executors), or
//! when another one has ended (closed ones); each sends the requests that the scenario plans, waits for answers, tries
//! failed calls again as the scenario's client does, and takes the time that its tools take. What happens is told to the
//! same tally as in virtual time, so both have the same figures under the same names.
//!
//! Or a command carries each loop through ([`Agents`]), and what it did is learned from whoever recorded its calls.
//!
//! Latency counts from when a loop was due, not from when the client got around to it. How late it was is measured too:
//! a client that cannot keep up is said to be one ([`looptape_core::load::ClientHealth`]).
//!
//! Invariants: this crate sees a URL and nothing else: no database, no proxy, no twin, so that what it measures is what
//! any client would. All loops run on the thread that calls [`drive`]. Memory grows with what runs at once.

mod agents;
mod budgets;
mod call;
mod clock;
mod health;
mod observer;
mod recordings;
mod run;
mod seen;
mod shared;
mod talking;
mod target;

pub use agents::{AgentEnding, AgentRan, Agents, MOST_IN_VAIN};
pub use budgets::{Budgets, Held};
pub use call::Caller;
pub use futures_util::future::LocalBoxFuture;
pub use observer::{LoopId, ObservedCall, ObservedEnd, ObservedStart, Observer};
pub use recordings::{RecordedRequest, Recordings};
pub use run::{Drive, Loops, drive};
pub use shared::Live;
pub use target::{Target, TargetError};
