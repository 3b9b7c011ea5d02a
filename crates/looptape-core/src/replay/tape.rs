//! The recorded side of a replay: the calls of one trace, in the order in which they started, found by
//! digest.
//!
//! A tape never changes; what has been served is the replayer's business. Only the digests of rung 0 are
//! taken when it is made. JSON is parsed for the first request that is not an exact repeat, so an exact
//! replay of a long trace costs one pass over its bytes.

use super::components::{self, Endpoint, Normalise, RequestKey};
use crate::digest::Digest;
use crate::exchange::{Ending, Exchange, Outcome};
use crate::facts::{AttemptState, CallFacts, CallKind, Lineage};
use crate::wire::Wire;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

/// A call of a tape, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub(super) usize);

/// How people know a call: the step it belongs to, if it is a model call, and its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallLabel {
    /// Order in which the calls of the trace started, from 0.
    pub seq: u32,
    /// Number of the model step, from 1; `None` for other calls.
    pub step: Option<u32>,
    pub lane: u32,
}

impl fmt::Display for CallLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "step {step}"),
            None => write!(f, "call #{}", self.seq),
        }
    }
}

/// One recorded call, as a tape needs it.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    pub label: CallLabel,
    pub wire: Option<Wire>,
    pub method: String,
    /// Path and query as the provider knows them.
    pub path: String,
    /// The redacted request body, content encoding undone.
    pub body: Bytes,
    pub lineage: Lineage,
    pub sent_us: i64,
    pub end_us: Option<i64>,
    pub outcome: RecordedOutcome,
}

/// What the recording holds as the answer. `content` digests tell answers apart; nothing else is known of
/// them here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedOutcome {
    /// The recording ended before the call did: there is nothing to serve.
    InFlight,
    /// An attempt that clients try again: a retryable status, a reset, a broken stream.
    Failed { content: Digest },
    /// Any other answer.
    Answered { content: Digest },
}

impl RecordedOutcome {
    /// Judges an exchange's outcome; `state` knows of errors inside a stream.
    pub fn new(outcome: &Outcome, state: AttemptState) -> Self {
        match outcome {
            Outcome::InFlight => Self::InFlight,
            Outcome::NoResponse { ending, .. } => {
                Self::Failed { content: Digest::of(ending_name(ending).as_bytes()) }
            }
            Outcome::Answered(answer) => {
                let status = answer.status.to_le_bytes();
                let ending = ending_name(&answer.ending).as_bytes();
                let content = Digest::of_parts(&[&status, ending, &answer.body]);
                let whole = state == AttemptState::Complete && answer.ending == Ending::Complete;
                if whole && !is_retryable(answer.status) {
                    Self::Answered { content }
                } else {
                    Self::Failed { content }
                }
            }
        }
    }

    pub(super) fn content(self) -> Option<Digest> {
        match self {
            Self::InFlight => None,
            Self::Failed { content } | Self::Answered { content } => Some(content),
        }
    }
}

/// Statuses that the providers' SDKs try again.
fn is_retryable(status: u16) -> bool {
    matches!(status, 408 | 409 | 429 | 500..)
}

fn ending_name(ending: &Ending) -> &'static str {
    match ending {
        Ending::Complete => "complete",
        Ending::UpstreamReset { .. } => "reset",
        Ending::UpstreamUnreachable { .. } => "unreachable",
        Ending::ClientGone => "client gone",
    }
}

impl RecordedCall {
    /// A call from what was recorded and derived of it; `body` is the request's, content encoding undone.
    pub fn new(label: CallLabel, exchange: &Exchange, facts: &CallFacts, body: Bytes) -> Self {
        Self {
            label,
            wire: match facts.kind {
                CallKind::Llm(wire) => Some(wire),
                CallKind::Other => None,
            },
            method: exchange.method.clone(),
            path: exchange.path.clone(),
            body,
            lineage: facts.lineage,
            sent_us: facts.sent_us,
            end_us: facts.end_us,
            outcome: RecordedOutcome::new(&exchange.outcome, facts.state),
        }
    }
}

/// How much of the agent's run the recording holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "completeness", rename_all = "snake_case")]
pub enum Completeness {
    /// All of it.
    Complete,
    /// Its beginning: the recorder was stopped from outside.
    Prefix,
    /// It has holes, so a replay could go wrong without anybody noticing.
    Incomplete { reasons: Vec<String> },
}

/// The calls of a trace, ready to be matched.
#[derive(Debug)]
pub struct Tape {
    completeness: Completeness,
    normalise: Normalise,
    entries: Vec<Entry>,
    exact: HashMap<Digest, Vec<EntryId>>,
    keyed: OnceLock<Keyed>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) call: RecordedCall,
    pub(super) endpoint: Endpoint,
    pub(super) exact: Digest,
    /// The calls whose answer this call's history echoes: one, or several that cannot be told apart.
    pub(super) parents: Vec<EntryId>,
    /// The next attempt of the same request, if this one failed.
    pub(super) retried_by: Option<EntryId>,
}

/// What parsing the bodies gives: made when first needed.
#[derive(Debug)]
struct Keyed {
    keys: Vec<RequestKey>,
    canonical: HashMap<Digest, Vec<EntryId>>,
    renamed: HashMap<Digest, Vec<EntryId>>,
}

impl Tape {
    /// Builds a tape from calls in any order.
    pub fn new(
        calls: impl IntoIterator<Item = RecordedCall>,
        completeness: Completeness,
        normalise: Normalise,
    ) -> Self {
        let mut calls: Vec<RecordedCall> = calls.into_iter().collect();
        calls.sort_by_key(|call| call.label.seq);
        let mut entries: Vec<Entry> = calls.into_iter().map(|call| Entry::new(call, normalise)).collect();
        link_parents(&mut entries);
        let exact = index(entries.iter().map(|entry| entry.exact));
        link_retries(&mut entries, &exact);
        Self { completeness, normalise, entries, exact, keyed: OnceLock::new() }
    }

    pub fn completeness(&self) -> &Completeness {
        &self.completeness
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How people know an entry.
    pub fn label(&self, id: EntryId) -> CallLabel {
        self.entry(id).call.label
    }

    pub(super) fn normalise(&self) -> Normalise {
        self.normalise
    }

    pub(super) fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id.0]
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = EntryId> + use<> {
        (0..self.entries.len()).map(EntryId)
    }

    pub(super) fn key(&self, id: EntryId) -> &RequestKey {
        &self.keyed().keys[id.0]
    }

    pub(super) fn with_exact(&self, digest: Digest) -> &[EntryId] {
        self.exact.get(&digest).map_or(&[], Vec::as_slice)
    }

    pub(super) fn with_canonical(&self, digest: Digest) -> &[EntryId] {
        self.keyed().canonical.get(&digest).map_or(&[], Vec::as_slice)
    }

    pub(super) fn with_renamed(&self, digest: Digest) -> &[EntryId] {
        self.keyed().renamed.get(&digest).map_or(&[], Vec::as_slice)
    }

    /// Whether two recorded calls ran at the same time.
    pub(super) fn overlapped(&self, a: EntryId, b: EntryId) -> bool {
        let (a, b) = (&self.entry(a).call, &self.entry(b).call);
        ended_before(a, b.sent_us).is_none() && ended_before(b, a.sent_us).is_none()
    }

    /// Whether the recording holds a request that echoes the answer with this history.
    pub(super) fn holds_echo_of(&self, answer_history: i64) -> bool {
        self.entries.iter().any(|entry| entry.call.lineage.echo == Some(answer_history))
    }

    pub(super) fn holds_answer(&self, answer_history: i64) -> bool {
        self.entries.iter().any(|entry| entry.call.lineage.answer_history == Some(answer_history))
    }

    fn keyed(&self) -> &Keyed {
        self.keyed.get_or_init(|| {
            let keys: Vec<RequestKey> = self
                .entries
                .iter()
                .map(|e| RequestKey::new(e.call.wire, &e.endpoint, &(self.normalise)(&e.call.body)))
                .collect();
            let canonical = index(keys.iter().map(|key| key.canonical));
            let renamed = index(keys.iter().map(|key| key.renamed));
            Keyed { keys, canonical, renamed }
        })
    }
}

impl Entry {
    fn new(call: RecordedCall, normalise: Normalise) -> Self {
        let endpoint = Endpoint::new(&call.method, &call.path);
        let exact = components::exact_digest(&endpoint, &normalise(&call.body));
        Self { call, endpoint, exact, parents: Vec::new(), retried_by: None }
    }
}

fn index(digests: impl Iterator<Item = Digest>) -> HashMap<Digest, Vec<EntryId>> {
    let mut index: HashMap<Digest, Vec<EntryId>> = HashMap::new();
    for (at, digest) in digests.enumerate() {
        index.entry(digest).or_default().push(EntryId(at));
    }
    index
}

/// `Some` if the call had ended when something else started at `start_us`.
fn ended_before(call: &RecordedCall, start_us: i64) -> Option<()> {
    call.end_us.filter(|&end_us| end_us <= start_us).map(|_| ())
}

/// Finds each call's parent: the latest call that had ended and whose answer its history echoes, one that
/// has no child yet before one that has; one whose very call ids are echoed before all others. Where such calls ran at the same time, each of them may be it.
fn link_parents(entries: &mut [Entry]) {
    let mut answers: HashMap<i64, Vec<EntryId>> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Some(history) = entry.call.lineage.answer_history {
            answers.entry(history).or_default().push(EntryId(at));
        }
    }
    let mut children = vec![0u32; entries.len()];
    for at in 0..entries.len() {
        let call = &entries[at].call;
        let Some(known) = call.lineage.echo.and_then(|echo| answers.get(&echo)) else { continue };
        let ended: Vec<EntryId> = known
            .iter()
            .copied()
            .filter(|id| ended_before(&entries[id.0].call, call.sent_us).is_some())
            .collect();
        let echoed: Vec<EntryId> = ended
            .iter()
            .copied()
            .filter(|id| entries[id.0].call.lineage.answer_turn == call.lineage.last_turn)
            .collect();
        let ended = if echoed.is_empty() { ended } else { echoed };
        let latest = ended.iter().rev().find(|id| children[id.0] == 0).or(ended.last());
        let Some(&parent) = latest else { continue };
        children[parent.0] += 1;
        let beside = |id: &EntryId| {
            if *id == parent {
                return true;
            }
            let (a, b) = (&entries[id.0].call, &entries[parent.0].call);
            ended_before(a, b.sent_us).is_none() && ended_before(b, a.sent_us).is_none()
        };
        entries[at].parents = ended.iter().copied().filter(beside).collect();
    }
}

/// Links each failed attempt to the first identical request that started after its end and is not yet the
/// retry of another.
fn link_retries(entries: &mut [Entry], exact: &HashMap<Digest, Vec<EntryId>>) {
    for group in exact.values().filter(|group| group.len() > 1) {
        let mut taken = vec![false; group.len()];
        for (position, &id) in group.iter().enumerate() {
            if !matches!(entries[id.0].call.outcome, RecordedOutcome::Failed { .. }) {
                continue;
            }
            let next = (position + 1..group.len()).find(|&later| {
                !taken[later]
                    && ended_before(&entries[id.0].call, entries[group[later].0].call.sent_us).is_some()
            });
            if let Some(later) = next {
                taken[later] = true;
                entries[id.0].retried_by = Some(group[later]);
            }
        }
    }
}
