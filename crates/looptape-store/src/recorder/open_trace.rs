//! The writer's memory of traces and calls that are not over yet.

use super::event::{CallId, Moment, RecordedCallRef, TraceSpec};
use super::gaps::Reasons;
use super::known::Placed;
use crate::ids::TraceKey;
use crate::reader::TraceEnd;
use foldhash::HashMap;
use looptape_core::TraceId;
use looptape_core::assembly::LoopOutcome;
use looptape_core::derive::RequestFacts;
use looptape_core::labels::Labels;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Vault};

/// An open trace's number in this recorder. Ids from outside repeat; these numbers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TraceNumber(pub(super) u64);

/// The traces that are not over. An id leads to the newest trace that has it and takes calls: a trace that
/// is ending waits for its calls under way, and takes no new ones.
#[derive(Default)]
pub(super) struct OpenTraces {
    traces: HashMap<TraceNumber, OpenTrace>,
    by_id: HashMap<TraceId, TraceNumber>,
    last: u64,
}

impl OpenTraces {
    pub(super) fn add(&mut self, trace: OpenTrace) -> TraceNumber {
        self.last += 1;
        let number = TraceNumber(self.last);
        self.by_id.insert(trace.spec.id.clone(), number);
        self.traces.insert(number, trace);
        number
    }

    /// How many there have been.
    pub(super) fn opened(&self) -> u64 {
        self.last
    }

    /// From now on calls of this id belong to that trace.
    pub(super) fn lead(&mut self, id: TraceId, to: Option<TraceNumber>) {
        match to {
            Some(number) => self.by_id.insert(id, number),
            None => self.by_id.remove(&id),
        };
    }

    /// The trace of this id that takes calls.
    pub(super) fn of_id(&self, id: &TraceId) -> Option<TraceNumber> {
        self.by_id.get(id).copied()
    }

    pub(super) fn takes_calls(&self, number: TraceNumber) -> bool {
        self.traces.get(&number).is_some_and(|t| t.closing.is_none())
    }

    pub(super) fn get(&self, number: TraceNumber) -> Option<&OpenTrace> {
        self.traces.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: TraceNumber) -> Option<&mut OpenTrace> {
        self.traces.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TraceNumber, &OpenTrace)> {
        self.traces.iter().map(|(number, trace)| (*number, trace))
    }

    /// From now on the trace takes no calls. The first reason for ending stands.
    pub(super) fn close(&mut self, number: TraceNumber, closing: Closing) {
        let Some(trace) = self.traces.get_mut(&number) else { return };
        trace.closing.get_or_insert(closing);
        if self.by_id.get(&trace.spec.id) == Some(&number) {
            self.by_id.remove(&trace.spec.id);
        }
    }

    /// Its closing row is on disk.
    pub(super) fn remove(&mut self, number: TraceNumber) -> Option<OpenTrace> {
        self.traces.remove(&number)
    }
}

/// What the closing row will say.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub(super) at: Moment,
    pub(super) cause: ClosingCause,
    pub(super) exit_code: Option<i32>,
    pub(super) aborted: Option<String>,
}

/// Why a trace ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosingCause {
    /// Somebody said so.
    Stated,
    /// Nothing came for the idle time.
    Idle,
    /// The recorder ends.
    RecorderEnds,
}

impl Closing {
    pub(super) fn new(at: Moment, cause: ClosingCause) -> Self {
        Self { at, cause, exit_code: None, aborted: None }
    }
}

/// A trace that is not over.
pub(super) struct OpenTrace {
    pub(super) spec: TraceSpec,
    /// `None` until its row is committed (or after the transaction that wrote it failed).
    pub(super) key: Option<TraceKey>,
    /// Opened by a call, not by a run: ends when it falls idle.
    pub(super) opened_by_call: bool,
    /// Nobody gave it its id: should it be closed too early, a call that carries on opens another.
    pub(super) is_unnamed: bool,
    pub(super) next_seq: u32,
    pub(super) next_tool_seq: u32,
    pub(super) vault: Vault,
    pub(super) last_activity_mono_us: i64,
    pub(super) open_calls: usize,
    /// What could not be placed before it began.
    pub(super) unplaced_before: Reasons,
    /// What the latest call said of it that said anything, as it came.
    pub(super) said: Option<Labels>,
    /// A transaction failed: its row may not say all that is known.
    pub(super) may_lack_labels: bool,
    /// How it turned out, if somebody said so.
    pub(super) outcome: Option<LoopOutcome>,
    /// Set when it takes no more calls.
    pub(super) closing: Option<Closing>,
}

impl OpenTrace {
    pub(super) fn new(spec: TraceSpec, opened_by_call: bool, vault: Vault, unplaced_before: Reasons) -> Self {
        let last_activity_mono_us = spec.started.mono_us;
        Self {
            spec,
            key: None,
            opened_by_call,
            is_unnamed: false,
            next_seq: 0,
            next_tool_seq: 0,
            vault,
            last_activity_mono_us,
            open_calls: 0,
            unplaced_before,
            said: None,
            may_lack_labels: false,
            outcome: None,
            closing: None,
        }
    }

    /// What its closing row says.
    pub(super) fn end(&self, closing: &Closing) -> TraceEnd {
        TraceEnd {
            ended_us: self.ended_us(closing),
            idle: closing.cause == ClosingCause::Idle,
            exit_code: closing.exit_code,
            outcome: self.outcome,
        }
    }

    /// When it ended, on its own clock. A trace that nobody ended was over with its last sign of life.
    fn ended_us(&self, closing: &Closing) -> i64 {
        let mono_us = match closing.cause {
            ClosingCause::Stated => closing.at.mono_us.max(self.last_activity_mono_us),
            ClosingCause::RecorderEnds if !self.opened_by_call => closing.at.mono_us,
            ClosingCause::Idle | ClosingCause::RecorderEnds => self.last_activity_mono_us,
        };
        mono_us - self.spec.started.mono_us
    }
}

/// A call whose end has not come.
pub(super) struct OpenCall {
    pub(super) trace: TraceNumber,
    pub(super) origin: Origin,
    pub(super) seq: u32,
    pub(super) request: OpenRequest,
}

/// What is known of its request.
pub(super) enum OpenRequest {
    Read {
        facts: Box<RequestFacts>,
        /// The same from the request as the client sent it, if redaction changed it: an echo of the answer is
        /// recognised by what the client really says.
        live: Option<Box<RequestFacts>>,
        credentials: Credentials,
    },
    /// It is a recorded one once more.
    Repeats {
        of: RecordedCallRef,
        provider: Provider,
        credentials: Credentials,
        sent_us: i64,
        retry_count: Option<u32>,
    },
}

impl OpenRequest {
    /// Whom it went to, and the secrets that it carried.
    pub(super) fn sender(&self) -> (&Provider, &Credentials) {
        match self {
            Self::Read { facts, credentials, .. } => (&facts.provider, credentials),
            Self::Repeats { provider, credentials, .. } => (provider, credentials),
        }
    }
}

/// How a call came to its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It named it.
    Named,
    /// It belongs to it by what it says; `None` if it opened it.
    Unnamed(Option<Placed>),
}

pub(super) type OpenCalls = HashMap<CallId, OpenCall>;
