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

/// Tokens by disjoint leaf, each of them known: without details, input counts as uncached and output as
/// visible. So is a call priced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeafTokens {
    pub uncached_input: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub output_visible: u64,
    pub reasoning: u64,
}

impl LeafTokens {
    /// All input, cache reads and writes included.
    pub fn input(&self) -> u64 {
        self.uncached_input + self.cache_read + self.cache_write_5m + self.cache_write_1h
    }

    /// All output, reasoning included.
    pub fn output(&self) -> u64 {
        self.output_visible + self.reasoning
    }

    /// As a provider would report them.
    pub fn to_usage(self, raw: Option<serde_json::Value>) -> TokenUsage {
        TokenUsage {
            uncached_input: Some(self.uncached_input),
            cache_read: Some(self.cache_read),
            cache_write_5m: Some(self.cache_write_5m),
            cache_write_1h: Some(self.cache_write_1h),
            output_visible: Some(self.output_visible),
            reasoning: Some(self.reasoning),
            input_total: Some(self.input()),
            output_total: Some(self.output()),
            raw,
        }
    }
}

impl TokenUsage {
    /// Its tokens, each in one leaf.
    pub fn leaf_tokens(&self) -> LeafTokens {
        let cached = [self.cache_read, self.cache_write_5m, self.cache_write_1h].into_iter().flatten().sum();
        let (input, output) = (self.input_total.unwrap_or(0), self.output_total.unwrap_or(0));
        let reasoning = self.reasoning.unwrap_or(0);
        LeafTokens {
            uncached_input: self.uncached_input.unwrap_or_else(|| input.saturating_sub(cached)),
            cache_read: self.cache_read.unwrap_or(0),
            cache_write_5m: self.cache_write_5m.unwrap_or(0),
            cache_write_1h: self.cache_write_1h.unwrap_or(0),
            output_visible: self.output_visible.unwrap_or_else(|| output.saturating_sub(reasoning)),
            reasoning,
        }
    }

    /// Whether the provider reported anything.
    pub fn is_known(&self) -> bool {
        self.input_total.is_some() || self.output_total.is_some()
    }
}
