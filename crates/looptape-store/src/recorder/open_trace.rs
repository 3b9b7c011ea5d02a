//! The writer's memory of traces and calls that are not over yet.

use super::event::{CallId, TraceSpec};
use crate::content::StoredBody;
use crate::ids::{BlobId, TraceKey};
use looptape_core::TraceId;
use looptape_core::derive::RequestFacts;
use looptape_core::redact::{Credentials, Vault};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Earlier bodies that a new one is compared with: enough for a few concurrent lanes.
const RECENT_BODIES: usize = 8;

/// Answers whose echo would join a trace. Beyond this many the oldest are forgotten.
const REMEMBERED_ANSWERS: usize = 65_536;

/// A trace that takes calls.
pub(super) struct OpenTrace {
    pub(super) spec: TraceSpec,
    /// `None` until its row is committed (or after the transaction that wrote it failed).
    pub(super) key: Option<TraceKey>,
    /// Opened by a call, not by a run: ends when it falls idle.
    pub(super) opened_by_call: bool,
    pub(super) next_seq: u32,
    pub(super) vault: Vault,
    pub(super) recent: VecDeque<StoredBody>,
    /// The blobs of the last request's and the last answer's headers: the next differ little.
    pub(super) last_headers: [Option<BlobId>; 2],
    pub(super) last_activity_mono_us: i64,
    pub(super) open_calls: usize,
    /// Gaps not yet written down.
    pub(super) gaps: BTreeMap<String, u64>,
}

impl OpenTrace {
    pub(super) fn new(spec: TraceSpec, opened_by_call: bool, vault: Vault) -> Self {
        let last_activity_mono_us = spec.started.mono_us;
        Self {
            spec,
            key: None,
            opened_by_call,
            next_seq: 0,
            vault,
            recent: VecDeque::new(),
            last_headers: [None; 2],
            last_activity_mono_us,
            open_calls: 0,
            gaps: BTreeMap::new(),
        }
    }

    pub(super) fn remember(&mut self, body: StoredBody) {
        if self.recent.len() == RECENT_BODIES {
            self.recent.pop_front();
        }
        self.recent.push_back(body);
    }

    /// Forgets ids of content that may be gone.
    pub(super) fn forget_content(&mut self) {
        self.recent.clear();
        self.last_headers = [None; 2];
    }

    pub(super) fn gap(&mut self, reason: &str) {
        *self.gaps.entry(reason.to_owned()).or_default() += 1;
    }
}

/// A call whose end has not come.
pub(super) struct OpenCall {
    pub(super) trace: TraceId,
    pub(super) facts: RequestFacts,
    /// The same from the request as the client sent it, if redaction changed it: an echo of the answer is
    /// recognised by what the client really says.
    pub(super) live: Option<RequestFacts>,
    pub(super) credentials: Credentials,
}

/// Which trace an answer belongs to, by the digest that an echo of it will have.
#[derive(Default)]
pub(super) struct Answers {
    traces: HashMap<i64, TraceId>,
    order: VecDeque<i64>,
}

impl Answers {
    pub(super) fn remember(&mut self, answer_history: i64, trace: TraceId) {
        if self.traces.insert(answer_history, trace).is_none() {
            self.order.push_back(answer_history);
        }
        if self.order.len() > REMEMBERED_ANSWERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.traces.remove(&oldest);
        }
    }

    pub(super) fn trace_of(&self, echo: i64) -> Option<&TraceId> {
        self.traces.get(&echo)
    }
}

pub(super) type OpenCalls = HashMap<CallId, OpenCall>;
