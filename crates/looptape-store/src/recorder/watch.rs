//! Being told what the writer writes down, as it does: for figures of what passes, and alerts.
//!
//! Whoever watches is called on the writer's own thread, so it must be quick, and neither block nor fail. What the
//! recorder had to drop is told as a gap only.

use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::facts::CallFacts;
use looptape_core::headers::RedactedHeaders;
use looptape_core::metrics::TraceMetrics;
use looptape_core::provider::Provider;
use looptape_core::tools::ToolFacts;

/// A request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct WatchedRequest<'a> {
    pub at_unix_us: i64,
    pub provider: &'a Provider,
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a RedactedHeaders,
    pub body: &'a Bytes,
}

/// A call that ended, with what was derived of it.
#[derive(Clone, Copy, Debug)]
pub struct WatchedCall<'a> {
    pub trace: &'a TraceId,
    /// Of the trace's 0, to which the times of the facts belong.
    pub trace_started_unix_us: i64,
    pub facts: &'a CallFacts,
}

/// A tool call that started or ended, as far as it was measured until then.
#[derive(Clone, Copy, Debug)]
pub struct WatchedTool<'a> {
    pub trace: &'a TraceId,
    pub facts: &'a ToolFacts,
}

/// A trace that ended.
#[derive(Clone, Copy, Debug)]
pub struct WatchedTrace<'a> {
    pub id: &'a TraceId,
    pub agent: Option<&'a str>,
    /// `None` where some call of it has no end.
    pub metrics: Option<&'a TraceMetrics>,
}

/// Somebody who watches.
pub trait Watch: std::fmt::Debug + Send + Sync {
    /// Told of each request only if [`Watch::wants_requests`].
    fn request(&self, request: &WatchedRequest<'_>);
    fn wants_requests(&self) -> bool;
    fn call(&self, call: &WatchedCall<'_>);
    fn tool(&self, tool: &WatchedTool<'_>);
    fn trace(&self, trace: &WatchedTrace<'_>);
    /// All that is missing so far: reason and how often.
    fn gaps(&self, total: &std::collections::BTreeMap<String, u64>);
}
