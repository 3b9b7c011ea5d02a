//! Which calls are retries, told call by call: a step's attempts are assembled only when its trace is read.

use looptape_core::TraceId;
use looptape_core::alerts::Attempt;
use looptape_core::facts::{CallFacts, CallKind};
use std::collections::HashMap;

/// Traces whose failed calls are remembered; beyond it all are forgotten.
const MOST_TRACES: usize = 8192;
/// Failed calls of one trace that are.
const MOST_FAILED: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Digests of requests whose last attempt failed.
    failed: HashMap<TraceId, Vec<i64>>,
}

impl Retries {
    /// What a call that ended was: a retry says so itself, or is the request of one that failed.
    pub(super) fn attempt(&mut self, trace: &TraceId, facts: &CallFacts) -> Attempt {
        if facts.kind == CallKind::Other {
            return Attempt::None;
        }
        let again = self.failed.get_mut(trace).is_some_and(|failed| {
            let before = failed.len();
            failed.retain(|digest| *digest != facts.request_digest);
            failed.len() < before
        });
        if !facts.succeeded() {
            if self.failed.len() >= MOST_TRACES {
                self.failed.clear();
            }
            let failed = self.failed.entry(trace.clone()).or_default();
            failed.push(facts.request_digest);
            failed.drain(..failed.len().saturating_sub(MOST_FAILED));
        }
        let says_so = facts.retry_count.is_some_and(|count| count > 0);
        if again || says_so { Attempt::Retry } else { Attempt::First }
    }

    pub(super) fn forget(&mut self, trace: &TraceId) {
        self.failed.remove(trace);
    }
}
