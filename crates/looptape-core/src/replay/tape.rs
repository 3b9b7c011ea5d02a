//! The recorded side of a replay: the calls of one trace, in the order in which they started, found by
//! digest.
//!
//! A tape never changes; what has been served is the replayer's business. Only the digests of rung 0 are
//! taken when it is made. JSON is parsed for the first request that is not an exact repeat, so an exact
//! replay of a long trace costs one pass over its bytes.

use super::components::{self, Endpoint, Normalise, RequestKey};
use super::masks::{MaskedSpan, Masking};
use super::options::Rung;
use super::timeline::Timeline;
use crate::canonical::Json;
use crate::digest::Digest;
use crate::exchange::{Ending, Exchange, Outcome};
use crate::facts::{AttemptState, CallFacts, CallKind, Lineage};
use crate::wire::Wire;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

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
    exact: Index,
    masking: Arc<Masking>,
    keyed: OnceLock<Keyed>,
    masked: OnceLock<Masked>,
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

/// Groups of calls with the same digest.
type Index = HashMap<Digest, Timeline>;

/// What parsing the bodies gives: made when first needed.
#[derive(Debug)]
struct Keyed {
    keys: Vec<RequestKey>,
    canonical: Index,
    renamed: Index,
}

/// The same for bodies with their masks applied.
#[derive(Debug)]
struct Masked {
    keys: Vec<RequestKey>,
    renamed: Index,
}

impl Tape {
    /// Builds a tape from calls in any order.
    pub fn new(
        calls: impl IntoIterator<Item = RecordedCall>,
        completeness: Completeness,
        normalise: Normalise,
    ) -> Self {
        let mut calls: Vec<RecordedCall> = calls.into_iter().collect();
        calls.sort_by_key(|call| (call.sent_us, call.label.seq));
        let mut entries: Vec<Entry> = calls.into_iter().map(|call| Entry::new(call, normalise)).collect();
        link_parents(&mut entries);
        let exact = index(&entries, |at| entries[at].exact);
        link_retries(&mut entries, &exact);
        Self {
            completeness,
            normalise,
            entries,
            exact,
            masking: Arc::default(),
            keyed: OnceLock::new(),
            masked: OnceLock::new(),
        }
    }

    /// The same tape for a replay whose requests are masked so.
    pub fn masked_by(self, masking: Masking) -> Self {
        Self { masking: Arc::new(masking), masked: OnceLock::new(), ..self }
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
        self.exact.get(&digest).map_or(&[], Timeline::ids)
    }

    pub(super) fn with_canonical(&self, digest: Digest) -> &[EntryId] {
        self.keyed().canonical.get(&digest).map_or(&[], Timeline::ids)
    }

    pub(super) fn with_renamed(&self, digest: Digest) -> &[EntryId] {
        self.keyed().renamed.get(&digest).map_or(&[], Timeline::ids)
    }

    pub(super) fn with_masked(&self, digest: Digest) -> &[EntryId] {
        self.masked().renamed.get(&digest).map_or(&[], Timeline::ids)
    }

    pub(super) fn masking(&self) -> &Arc<Masking> {
        &self.masking
    }

    /// A recorded body as it is compared at `rung`, for people.
    pub(super) fn body_at(&self, rung: Rung, id: EntryId) -> Cow<'_, [u8]> {
        let body = (self.normalise)(&self.entry(id).call.body);
        if rung < Rung::Masked {
            return body;
        }
        let wire = self.entry(id).call.wire;
        match body {
            Cow::Borrowed(body) => self.masking.readable(wire, body),
            Cow::Owned(body) => Cow::Owned(self.masking.readable(wire, &body).into_owned()),
        }
    }

    /// The values that masks of a recorded body stand for.
    pub(super) fn masked_spans(&self, id: EntryId) -> Vec<MaskedSpan> {
        let call = &self.entry(id).call;
        self.masking.spans(call.wire, &(self.normalise)(&call.body))
    }

    /// The key of that body.
    pub(super) fn key_at(&self, rung: Rung, id: EntryId) -> &RequestKey {
        if rung < Rung::Masked { self.key(id) } else { &self.masked().keys[id.0] }
    }

    /// Calls with the same bytes that ran at the same time as this one.
    pub(super) fn beside_with_same_bytes(&self, id: EntryId) -> Vec<EntryId> {
        let entry = self.entry(id);
        self.exact.get(&entry.exact).map_or_else(Vec::new, |group| group.beside(id, &entry.call))
    }

    /// Calls equal as JSON that ran at the same time as this one.
    pub(super) fn beside_with_same_json(&self, id: EntryId) -> Vec<EntryId> {
        let group = self.keyed().canonical.get(&self.key(id).canonical);
        group.map_or_else(Vec::new, |group| group.beside(id, &self.entry(id).call))
    }

    /// Whether the recording holds a request that echoes the answer with this history.
    pub(super) fn holds_echo_of(&self, answer_history: i64) -> bool {
        self.entries.iter().any(|entry| entry.call.lineage.echo == Some(answer_history))
    }

    pub(super) fn holds_answer(&self, answer_history: i64) -> bool {
        self.entries.iter().any(|entry| entry.call.lineage.answer_history == Some(answer_history))
    }

    fn masked(&self) -> &Masked {
        self.masked.get_or_init(|| {
            let key = |id: EntryId| {
                let entry = self.entry(id);
                let body = (self.normalise)(&entry.call.body);
                let mut json = Json::parse(&body)?;
                let spans = self.masking.apply(entry.call.wire, &mut json);
                (!spans.is_empty()).then(|| RequestKey::of_json(entry.call.wire, &entry.endpoint, &json))
            };
            let key = |id: EntryId| key(id).unwrap_or_else(|| self.key(id).clone());
            let keys: Vec<RequestKey> = self.ids().map(key).collect();
            let renamed = index(&self.entries, |at| keys[at].renamed);
            Masked { keys, renamed }
        })
    }

    fn keyed(&self) -> &Keyed {
        self.keyed.get_or_init(|| {
            let keys: Vec<RequestKey> = self
                .entries
                .iter()
                .map(|e| RequestKey::new(e.call.wire, &e.endpoint, &(self.normalise)(&e.call.body)))
                .collect();
            let canonical = index(&self.entries, |at| keys[at].canonical);
            let renamed = index(&self.entries, |at| keys[at].renamed);
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

fn index(entries: &[Entry], digest: impl Fn(usize) -> Digest) -> Index {
    let mut index = Index::new();
    for (at, entry) in entries.iter().enumerate() {
        index.entry(digest(at)).or_default().push(EntryId(at), &entry.call);
    }
    index
}

/// Finds each call's parent: the latest call that had ended and whose answer its history echoes; one whose
/// very call ids are echoed before all others, and one that has no child yet before one that has. Where
/// such calls ran at the same time, each of them may be it.
fn link_parents(entries: &mut [Entry]) {
    let mut answers: HashMap<i64, Timeline> = HashMap::new();
    let mut has_child = vec![false; entries.len()];
    for at in 0..entries.len() {
        let lineage = entries[at].call.lineage;
        if let Some(known) = lineage.echo.and_then(|echo| answers.get(&echo)) {
            let sent_us = entries[at].call.sent_us;
            let turn_echoed = |id: EntryId| entries[id.0].call.lineage.answer_turn == lineage.last_turn;
            let parent = known
                .latest_ended(sent_us, |id| turn_echoed(id) && !has_child[id.0])
                .or_else(|| known.latest_ended(sent_us, turn_echoed))
                .or_else(|| known.latest_ended(sent_us, |id| !has_child[id.0]))
                .or_else(|| known.latest_ended(sent_us, |_| true));
            if let Some(parent) = parent {
                let closely = turn_echoed(parent);
                let may_be_it =
                    |&id: &EntryId| ended_by(&entries[id.0].call, sent_us) && turn_echoed(id) == closely;
                let mut parents = known.beside(parent, &entries[parent.0].call);
                parents.retain(may_be_it);
                parents.push(parent);
                has_child[parent.0] = true;
                entries[at].parents = parents;
            }
        }
        if let Some(history) = lineage.answer_history {
            answers.entry(history).or_default().push(EntryId(at), &entries[at].call);
        }
    }
}

fn ended_by(call: &RecordedCall, at_us: i64) -> bool {
    call.end_us.is_some_and(|end_us| end_us <= at_us)
}

/// Links each failed attempt to the first identical request that started after its end and is not yet the
/// retry of another.
fn link_retries(entries: &mut [Entry], exact: &Index) {
    for group in exact.values().map(Timeline::ids).filter(|group| group.len() > 1) {
        let mut taken = vec![false; group.len()];
        for (position, &id) in group.iter().enumerate() {
            if !matches!(entries[id.0].call.outcome, RecordedOutcome::Failed { .. }) {
                continue;
            }
            let next = (position + 1..group.len()).find(|&later| {
                !taken[later] && ended_by(&entries[id.0].call, entries[group[later].0].call.sent_us)
            });
            if let Some(later) = next {
                taken[later] = true;
                entries[id.0].retried_by = Some(group[later]);
            }
        }
    }
}
