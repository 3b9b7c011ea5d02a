//! One HTTP exchange as the client saw it: the raw truth from which everything else is derived.

use crate::headers::RedactedHeaders;
use crate::provider::Provider;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A recorded exchange, complete with its bytes. Times are µs on the trace's monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Order in which the calls of the trace started, from 0.
    pub seq: u32,
    /// When the request had been read and was about to be sent.
    pub sent_us: i64,
    /// Wall-clock start, µs since the Unix epoch.
    pub sent_unix_us: i64,
    pub provider: Provider,
    pub method: String,
    /// Path and query as the provider knows them: without looptape's own prefix, credentials redacted. Of a captured
    /// call its whole URL ([`crate::captured`]).
    pub path: String,
    pub request_headers: RedactedHeaders,
    /// The request body as sent (content encoding included), secrets replaced.
    pub request_body: Bytes,
    pub outcome: Outcome,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// No end was recorded: the call is still running, or the recorder was killed.
    InFlight,
    /// The exchange ended before any response head arrived.
    NoResponse { end_us: i64, ending: Ending },
    /// A response head arrived, and as much of the body as `response` holds.
    Answered(Answer),
}

/// A response, whole or cut short.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: RedactedHeaders,
    /// Body bytes as they passed (content encoding included), secrets replaced.
    pub body: Bytes,
    /// The pieces in which the body arrived, in order; their lengths sum to the body's.
    pub chunks: Vec<Chunk>,
    /// When the response head arrived.
    pub head_us: i64,
    /// When the exchange ended.
    pub end_us: i64,
    pub ending: Ending,
}

/// One piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When it arrived.
    pub at_us: i64,
    /// How many bytes it had.
    pub len: u32,
}

/// How an exchange ended on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// The whole response reached the client.
    Complete,
    /// The upstream broke the connection, before or inside the response.
    UpstreamReset { error: String },
    /// No connection to the upstream could be made (refused, DNS, TLS).
    UpstreamUnreachable { error: String },
    /// The client hung up.
    ClientGone,
}
