//! Token usage, normalised to disjoint leaves.
//!
//! Providers disagree about what contains what (see each wire format's module). Here every token is in
//! exactly one leaf. `None` means that the provider did not say; it is never 0 by default.

use serde::{Deserialize, Serialize};

/// What one call used, as its provider reported it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Input tokens that were neither read from nor written to a prompt cache.
    pub uncached_input: Option<u64>,
    /// Input tokens read from the prompt cache.
    pub cache_read: Option<u64>,
    /// Input tokens written to a cache kept for 5 minutes (or for the provider's only duration).
    pub cache_write_5m: Option<u64>,
    /// Input tokens written to a cache kept for an hour.
    pub cache_write_1h: Option<u64>,
    /// Output tokens that the client can see: text and tool calls.
    pub output_visible: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
    /// All input tokens, cache reads and writes included, as reported or as the sum of reported parts.
    pub input_total: Option<u64>,
    /// All output tokens, reasoning included.
    pub output_total: Option<u64>,
    /// The provider's own usage object.
    pub raw: Option<serde_json::Value>,
}

impl TokenUsage {
    /// Whether the provider reported anything.
    pub fn is_known(&self) -> bool {
        self.input_total.is_some() || self.output_total.is_some()
    }
}
