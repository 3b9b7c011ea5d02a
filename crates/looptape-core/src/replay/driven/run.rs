//! One run of one trace.
//!
//! Where recorded requests are sent as they were, only usage, times and cost come from what happened now.
//! Where a request belongs (its loop, its lane, the answer that it follows) is taken from the recording: it
//! echoes the recorded answer, whatever the model says now.

use crate::assembly::TraceSpan;
use crate::cost::PriceBook;
use crate::derive::{self, RequestFacts};
use crate::exchange::Exchange;
use crate::facts::CallFacts;
use crate::metrics::{Measured, TraceMetrics};
use crate::replay::summary::Summary;
use serde::Serialize;

/// A run, and `what` came of it.
#[derive(Clone, Debug)]
pub struct DrivenRun<T> {
    /// How people know the trace.
    pub trace: String,
    /// 1 for the first run of this trace.
    pub run: u32,
    /// The trace that was recorded of this run.
    pub child: Option<String>,
    pub coverage: Coverage,
    pub metrics: TraceMetrics,
    /// The recording's own.
    pub recorded: TraceMetrics,
    pub started_unix_us: i64,
    pub ended_unix_us: i64,
    /// What the server that answered says, where it decided by the recording.
    pub replay: Option<Summary>,
    pub what: T,
}

/// Whether a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    Whole,
    Interrupted,
}

impl<T> DrivenRun<T> {
    /// All loops of a run that came to its end; of another one, those that are known to have ended.
    pub(super) fn ended_loops(&self) -> u32 {
        match self.coverage {
            Coverage::Whole => self.metrics.loops,
            Coverage::Interrupted => self.metrics.completed_loops,
        }
    }
}

/// The facts of a recorded request that was sent again, in the recorded one's place. `retries` says how often
/// it was sent before in this run; `None` if its own header does.
pub fn facts(recorded: &CallFacts, sent: &Exchange, retries: Option<u32>) -> CallFacts {
    let request = RequestFacts {
        seq: sent.seq,
        sent_us: sent.sent_us,
        loop_hint: recorded.loop_hint.clone(),
        provider: recorded.provider.clone(),
        endpoint: recorded.endpoint.clone(),
        kind: recorded.kind,
        model: recorded.model.clone(),
        stream: recorded.stream,
        previous_response_id: recorded.previous_response_id.clone(),
        request_digest: recorded.request_digest,
        retry_count: retries.or(recorded.retry_count),
        request_bytes: sent.request_body.len() as u64,
        lineage: recorded.lineage,
        conversation: None,
    };
    CallFacts {
        lineage: recorded.lineage,
        asks: recorded.asks.clone(),
        carries: recorded.carries.clone(),
        response_id: recorded.response_id.clone(),
        ..derive::call(&request, &sent.outcome)
    }
}

/// The facts of a request that a free run sent: it carries on from what came now. Its loop is stated.
pub fn facts_of_free_call(sent: &Exchange, loop_name: &str, retries: u32) -> CallFacts {
    let Exchange { provider, method, path, request_headers, request_body, .. } = sent;
    let mut request = derive::request(provider, method, path, request_headers, request_body);
    request.sent_us = sent.sent_us;
    request.loop_hint = Some(loop_name.to_owned());
    request.retry_count = Some(retries);
    derive::call(&request, &sent.outcome)
}

/// Numbers and measures the calls of a run.
pub fn measure(
    mut facts: Vec<CallFacts>,
    ended_us: i64,
    started_unix_us: i64,
    prices: &PriceBook,
) -> TraceMetrics {
    facts.sort_by_key(|fact| fact.sent_us);
    for (seq, fact) in (0..).zip(&mut facts) {
        fact.seq = seq;
    }
    Measured::of(&facts, TraceSpan::closed(ended_us), Some(started_unix_us), prices).metrics
}
