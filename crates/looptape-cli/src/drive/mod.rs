//! Sending recorded requests again, without the agent.
//!
//! - `client`: one request, and what came back, piece by piece with its time.
//! - `forced`: one trace's recorded requests, in recorded order and concurrency ("teacher-forced").
//! - `batch`: many traces, several at once, several times.
//!
//! Everything goes over HTTP to the server that agents are given, whatever it answers from. What an answer
//! means, and what the figures are, `looptape_core::replay` says. What this does not do: decide where answers
//! come from, or change a request.

pub(crate) mod batch;
pub(crate) mod client;
pub(crate) mod forced;

use looptape_core::exchange::Exchange;
use looptape_core::facts::CallFacts;
use looptape_core::replay::CallLabel;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// A recorded trace, as it is sent again.
#[derive(Debug)]
pub(crate) struct Recording {
    /// How people know it.
    pub(crate) label: String,
    /// Its calls with their bytes, in the order in which they started.
    pub(crate) exchanges: Vec<Arc<Exchange>>,
    pub(crate) facts: Vec<CallFacts>,
    pub(crate) labels: HashMap<u32, CallLabel>,
    /// Indices of the calls of each model step, in the order of its attempts.
    pub(crate) steps: Vec<Vec<usize>>,
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
