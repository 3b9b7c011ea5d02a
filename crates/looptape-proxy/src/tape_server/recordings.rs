//! Where the tape server finds recorded bytes.

use bytes::Bytes;
use looptape_core::derive;
use looptape_core::exchange::Exchange;
use looptape_core::replay::RequestBodies;
use looptape_store::{Response, TraceBytes};
use std::collections::HashMap;

/// The calls of one trace, by their sequence numbers.
pub trait Recordings: RequestBodies {
    /// When the call was sent, and what came back.
    fn response(&self, seq: u32) -> Result<Response, Unreadable>;

    /// The first thing that could not be read: a replay that met it proves nothing.
    fn trouble(&self) -> Option<String>;
}

/// A recorded call whose bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

impl Recordings for TraceBytes {
    fn response(&self, seq: u32) -> Result<Response, Unreadable> {
        Self::response(self, seq).map_err(|error| Unreadable(error.to_string()))
    }

    fn trouble(&self) -> Option<String> {
        Self::trouble(self)
    }
}

/// Calls that are in memory.
#[derive(Debug)]
pub struct AtHand(HashMap<u32, Exchange>);

impl AtHand {
    pub fn new(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        Self(exchanges.into_iter().map(|exchange| (exchange.seq, exchange)).collect())
    }
}

impl RequestBodies for AtHand {
    fn request_body(&self, seq: u32) -> Bytes {
        self.0.get(&seq).map_or_else(Bytes::new, |exchange| {
            derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]).bytes
        })
    }
}

impl Recordings for AtHand {
    fn response(&self, seq: u32) -> Result<Response, Unreadable> {
        let exchange = self.0.get(&seq).ok_or_else(|| Unreadable(format!("there is no call {seq}")))?;
        Ok(Response { sent_us: exchange.sent_us, outcome: exchange.outcome.clone() })
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}
