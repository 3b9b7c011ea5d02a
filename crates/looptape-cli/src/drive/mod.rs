//! Sending recorded requests again, without the agent.
//!
//! - `client`: one request, and what came back, piece by piece with its time.
//! - `forced`: one trace's recorded requests, in recorded order and concurrency ("teacher-forced").
//! - `free`: one trace's loops, driven by whoever answers.
//! - `batch`: many traces, several at once, several times.
//! - `sent_again`: which headers of a recorded request are sent again with it, whoever sends it.
//!
//! Everything goes over HTTP to the server that agents are given, whatever it answers from. What an answer
//! means, and what the figures are, `looptape_core::replay` says. What this does not do: decide where answers
//! come from, or change a request.

pub(crate) mod batch;
pub(crate) mod client;
pub(crate) mod forced;
pub(crate) mod free;
mod sent_again;

pub(crate) use sent_again::{SentBody, is_sent_again};

use crate::tape;
use looptape_core::assembly::Assembly;
use looptape_core::exchange::Exchange;
use looptape_core::facts::CallFacts;
use looptape_core::mcp::is_mcp;
use looptape_core::replay::CallLabel;
use looptape_core::replay::driven::Coverage;
use looptape_store::{CallBytes, Reader, RecordedTrace, TraceBytes};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// A recorded trace, as it is sent again.
#[derive(Debug)]
pub(crate) struct Recording {
    /// How people know it.
    pub(crate) label: String,
    /// The bytes of its calls, read when they are sent: a long trace is not held in memory.
    bytes: TraceBytes,
    /// Its calls, in the order in which they started.
    pub(crate) facts: Vec<CallFacts>,
    pub(crate) labels: HashMap<u32, CallLabel>,
    pub(crate) assembly: Assembly,
}

impl Recording {
    pub(crate) fn new(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Self> {
        Ok(Self {
            label: trace.row.label(),
            bytes: TraceBytes::new(Arc::new(CallBytes::new(reader)?), trace.row.key),
            facts: trace.facts.iter().filter(|facts| !is_mcp(&facts.provider)).cloned().collect(),
            labels: tape::labels(trace),
            assembly: trace.measure().assembly,
        })
    }

    /// The call at this place in the order of starts, with its bytes.
    pub(crate) fn exchange(&self, at: usize) -> anyhow::Result<Exchange> {
        Ok(self.bytes.exchange(self.facts[at].seq)?)
    }
}

/// What was sent in one run, and `what` came of it.
#[derive(Debug)]
pub(crate) struct Sent<T> {
    pub(crate) coverage: Coverage,
    /// Of every call that was sent.
    pub(crate) facts: Vec<CallFacts>,
    pub(crate) what: T,
}

/// Whether to go on: set when the user interrupts.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stop, and what sets it.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is set; for ever, if that cannot happen any more.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
