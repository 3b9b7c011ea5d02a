//! Recorded requests, as whoever has the recording gives them.

use bytes::Bytes;
use looptape_core::load::RecordedAt;
use looptape_core::provider::Provider;

/// Whoever has the recording. A request is read when it is due, so that a long recording is not held in memory.
pub trait Recordings: std::fmt::Debug {
    fn request(&self, at: RecordedAt) -> Result<RecordedRequest, String>;
}

/// A recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    pub provider: Provider,
    /// As the provider knows it, with its version.
    pub path: String,
    /// Without keys, and without what a connection says of itself.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// The bound that it sets for the answer.
    pub max_output_tokens: Option<u64>,
}
