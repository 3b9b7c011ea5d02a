//! The recorded side of a replay: the calls of one trace, in the order in which they started, found by
//! digest.
//!
//! A tape never changes; what has been served is the replayer's business. When it is made, no body is read:
//! an exact repeat is found by the digest that was taken when the request was recorded. Whatever needs more
//! than that looks into one shelf, the calls of one endpoint whose histories have equally many turns, for no
//! others can match; their bodies are parsed when the shelf is first looked into. So a long trace is ready at
//! once, and a request of it costs about what its own size costs.

use super::components::{self, Endpoint, Normalise, RequestKey};
use super::masks::propose::{Request, propose};
use super::masks::{self, Identity, MaskEntry, MaskedSpan, Masking};
use super::options::Rung;
use super::recorded_body::RecordedBody;
use super::references;
use super::timeline::Timeline;
use crate::digest::Digest;
use crate::exchange::{Ending, Exchange, Outcome};
use crate::facts::{AttemptState, CallFacts, CallKind, Lineage};
use crate::wire::Wire;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
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
    pub body: RecordedBody,
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
            Outcome::NoResponse { ending, .. } => Self::no_response(ending),
            Outcome::Answered(answer) => {
                Self::answered(answer.status, &answer.ending, Digest::of(&answer.body), state)
            }
        }
    }

    /// The outcome of a call that ended before any response head came.
    pub fn no_response(ending: &Ending) -> Self {
        Self::Failed { content: Digest::of(ending_name(ending).as_bytes()) }
    }

    /// Judges an answer by the digest of its body.
    pub fn answered(status: u16, ending: &Ending, body: Digest, state: AttemptState) -> Self {
        let content =
            Digest::of_parts(&[&status.to_le_bytes(), ending_name(ending).as_bytes(), body.0.as_slice()]);
        let whole = state == AttemptState::Complete && *ending == Ending::Complete;
        if whole && !is_retryable(status) { Self::Answered { content } } else { Self::Failed { content } }
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
            body: body.into(),
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
    stored: Index,
    shelves: HashMap<Shape, Shelf>,
    /// Ids in the paths of the calls.
    named: HashSet<String>,
    masking: Arc<Masking>,
    /// Whether there is more to replay than these calls, so that there may be none of them.
    is_beside_others: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) call: RecordedCall,
    pub(super) endpoint: Endpoint,
    /// The digest of rung 0, over the body as it is stored.
    pub(super) exact: Digest,
    /// The calls whose answer this call's history echoes: one, or several that cannot be told apart.
    pub(super) parents: Vec<EntryId>,
    /// The next attempt of the same request, if this one failed.
    pub(super) retried_by: Option<EntryId>,
    key: OnceLock<RequestKey>,
    references: OnceLock<Vec<String>>,
    masked_key: OnceLock<RequestKey>,
    identities: OnceLock<Vec<Identity>>,
}

/// What is known of a request before its body is compared: requests that match have it in common, however
/// loosely they match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) endpoint: String,
    pub(super) turns: u32,
}

/// Groups of calls with the same digest.
type Index = HashMap<Digest, Timeline>;

/// The calls of one shape, and what reading their bodies gives: made when first needed.
#[derive(Debug, Default)]
struct Shelf {
    ids: Vec<EntryId>,
    normalised: OnceLock<Index>,
    canonical: OnceLock<Index>,
    renamed: OnceLock<Index>,
    masked: OnceLock<Index>,
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
        let mut entries: Vec<Entry> = calls.into_iter().map(Entry::new).collect();
        link_parents(&mut entries);
        let all: Vec<EntryId> = (0..entries.len()).map(EntryId).collect();
        let stored = index(&entries, &all, |id| entries[id.0].exact);
        link_retries(&mut entries, &stored);
        let mut shelves: HashMap<Shape, Shelf> = HashMap::new();
        for id in all {
            shelves.entry(entries[id.0].shape()).or_default().ids.push(id);
        }
        let named = entries.iter().flat_map(|entry| entry.endpoint.ids()).cloned().collect();
        Self {
            completeness,
            normalise,
            entries,
            stored,
            shelves,
            named,
            masking: Arc::default(),
            is_beside_others: false,
        }
    }

    /// The same tape for a replay whose requests are masked so. To be called before the first request.
    pub fn masked_by(self, masking: Masking) -> Self {
        Self { masking: Arc::new(masking), ..self }
    }

    /// The same tape where recorded tool servers are replayed beside it: it may hold nothing.
    pub fn beside_tool_servers(self) -> Self {
        Self { is_beside_others: true, ..self }
    }

    pub(super) fn is_beside_others(&self) -> bool {
        self.is_beside_others
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

    /// The path and query of a call, as recorded.
    pub fn path(&self, id: EntryId) -> &str {
        &self.entry(id).call.path
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

    /// Whether the path of a recorded call names this id.
    pub(super) fn names(&self, id: &str) -> bool {
        self.named.contains(id)
    }

    /// The ids that a call's request names.
    pub(super) fn references(&self, id: EntryId) -> &[String] {
        let entry = self.entry(id);
        entry
            .references
            .get_or_init(|| references::named(entry.call.wire, &entry.endpoint, || entry.call.body.read()))
    }

    pub(super) fn key(&self, id: EntryId) -> &RequestKey {
        let entry = self.entry(id);
        entry.key.get_or_init(|| {
            RequestKey::new(entry.call.wire, &entry.endpoint, &(self.normalise)(&entry.call.body.read()))
        })
    }

    /// Calls whose stored bytes are these.
    pub(super) fn with_stored(&self, digest: Digest) -> &[EntryId] {
        self.stored.get(&digest).map_or(&[], Timeline::ids)
    }

    /// Calls whose bytes are these once content encoding is undone and placeholders are numbered anew.
    pub(super) fn with_normalised(&self, shape: &Shape, digest: Digest) -> &[EntryId] {
        let exact = |id: EntryId| {
            let entry = self.entry(id);
            components::exact_digest(&entry.endpoint, Digest::of(&(self.normalise)(&entry.call.body.read())))
        };
        self.found(shape, digest, |shelf| shelf.normalised.get_or_init(|| self.shelf_index(shelf, exact)))
    }

    pub(super) fn with_canonical(&self, shape: &Shape, digest: Digest) -> &[EntryId] {
        self.found(shape, digest, |shelf| self.canonical(shelf))
    }

    pub(super) fn with_renamed(&self, shape: &Shape, digest: Digest) -> &[EntryId] {
        let renamed = |id| self.key(id).renamed;
        self.found(shape, digest, |shelf| shelf.renamed.get_or_init(|| self.shelf_index(shelf, renamed)))
    }

    pub(super) fn with_masked(&self, shape: &Shape, digest: Digest) -> &[EntryId] {
        let masked = |id| self.key_at(Rung::Masked, id).renamed;
        self.found(shape, digest, |shelf| shelf.masked.get_or_init(|| self.shelf_index(shelf, masked)))
    }

    fn found<'t>(
        &'t self,
        shape: &Shape,
        digest: Digest,
        index: impl Fn(&'t Shelf) -> &'t Index,
    ) -> &'t [EntryId] {
        let group = self.shelves.get(shape).and_then(|shelf| index(shelf).get(&digest));
        group.map_or(&[], Timeline::ids)
    }

    fn canonical<'t>(&'t self, shelf: &'t Shelf) -> &'t Index {
        shelf.canonical.get_or_init(|| self.shelf_index(shelf, |id| self.key(id).canonical))
    }

    fn shelf_index(&self, shelf: &Shelf, digest: impl Fn(EntryId) -> Digest) -> Index {
        index(&self.entries, &shelf.ids, digest)
    }

    pub(super) fn masking(&self) -> &Arc<Masking> {
        &self.masking
    }

    /// A recorded body as it is compared at `rung`, for people.
    pub(super) fn body_at(&self, rung: Rung, id: EntryId) -> Bytes {
        let stored = self.entry(id).call.body.read();
        let body = match (self.normalise)(&stored) {
            Cow::Owned(normalised) => Bytes::from(normalised),
            Cow::Borrowed(_) => stored.clone(),
        };
        if rung < Rung::Masked {
            return body;
        }
        match self.masking.readable(self.entry(id).call.wire, &self.entry(id).endpoint, &body) {
            Cow::Owned(masked) => Bytes::from(masked),
            Cow::Borrowed(_) => body.clone(),
        }
    }

    /// The values that masks of a recorded body stand for.
    pub(super) fn masked_spans(&self, id: EntryId) -> Vec<MaskedSpan> {
        let Entry { call, endpoint, .. } = self.entry(id);
        self.masking.spans(call.wire, endpoint, &(self.normalise)(&call.body.read()))
    }

    /// The ids among them.
    pub(super) fn identities(&self, id: EntryId) -> &[Identity] {
        self.entry(id).identities.get_or_init(|| masks::identities(&self.masked_spans(id)))
    }

    /// The masks with which a live request would match a recorded call, beyond those that apply already.
    pub(super) fn proposed_masks(&self, id: EntryId, live: Request<'_>) -> Option<Vec<MaskEntry>> {
        let entry = self.entry(id);
        let stored = entry.call.body.read();
        let body = (self.normalise)(&stored);
        let recorded = Request { wire: entry.call.wire, endpoint: &entry.endpoint, body: &body };
        propose(&self.masking, recorded, live)
    }

    /// The calls of a shape, in recorded order.
    pub(super) fn of_shape(&self, shape: &Shape) -> &[EntryId] {
        self.shelves.get(shape).map_or(&[], |shelf| &shelf.ids)
    }

    /// The key of that body.
    pub(super) fn key_at(&self, rung: Rung, id: EntryId) -> &RequestKey {
        if rung < Rung::Masked {
            return self.key(id);
        }
        let entry = self.entry(id);
        entry.masked_key.get_or_init(|| {
            let stored = entry.call.body.read();
            let body = (self.normalise)(&stored);
            self.masking
                .key(entry.call.wire, &entry.endpoint, &body)
                .map_or_else(|| self.key(id).clone(), |(key, _)| key)
        })
    }

    /// The calls of an endpoint that may be nearest to a request of this shape: all of them, or of a large
    /// tape those with about as many turns.
    pub(super) fn near(&self, shape: &Shape) -> Vec<EntryId> {
        const LOOKED_AT: usize = 16;
        const LOOKED_AT_BYTES: u64 = 64 << 20;
        let mut near: Vec<EntryId> =
            self.ids().filter(|&id| self.entry(id).endpoint.shelf() == shape.endpoint).collect();
        near.sort_by_key(|&id| self.entry(id).call.lineage.turns.abs_diff(shape.turns));
        let mut bytes = 0;
        let enough = near.iter().position(|&id| {
            bytes += self.entry(id).call.body.size_bytes();
            bytes > LOOKED_AT_BYTES
        });
        near.truncate(enough.unwrap_or(near.len()).max(LOOKED_AT));
        near
    }

    /// Calls with the same bytes that ran at the same time as this one.
    pub(super) fn beside_with_same_bytes(&self, id: EntryId) -> Vec<EntryId> {
        let entry = self.entry(id);
        self.stored.get(&entry.exact).map_or_else(Vec::new, |group| group.beside(id, &entry.call))
    }

    /// Calls equal as JSON that ran at the same time as this one.
    pub(super) fn beside_with_same_json(&self, id: EntryId) -> Vec<EntryId> {
        let entry = self.entry(id);
        let shelf = self.shelves.get(&entry.shape());
        let group = shelf.and_then(|shelf| self.canonical(shelf).get(&self.key(id).canonical));
        group.map_or_else(Vec::new, |group| group.beside(id, &entry.call))
    }

    /// Whether the recording holds a request that echoes the answer with this history.
    pub(super) fn holds_echo_of(&self, answer_history: i64) -> bool {
        self.entries.iter().any(|entry| entry.call.lineage.echo == Some(answer_history))
    }

    pub(super) fn holds_answer(&self, answer_history: i64) -> bool {
        self.entries.iter().any(|entry| entry.call.lineage.answer_history == Some(answer_history))
    }
}

impl Entry {
    fn new(call: RecordedCall) -> Self {
        let endpoint = Endpoint::new(&call.method, &call.path);
        let exact = components::exact_digest(&endpoint, call.body.stored());
        Self {
            call,
            endpoint,
            exact,
            parents: Vec::new(),
            retried_by: None,
            key: OnceLock::new(),
            references: OnceLock::new(),
            masked_key: OnceLock::new(),
            identities: OnceLock::new(),
        }
    }

    fn shape(&self) -> Shape {
        Shape { endpoint: self.endpoint.shelf().to_owned(), turns: self.call.lineage.turns }
    }
}

/// Groups `ids`, which are in the order of their starts.
fn index(entries: &[Entry], ids: &[EntryId], digest: impl Fn(EntryId) -> Digest) -> Index {
    let mut index = Index::new();
    for &id in ids {
        index.entry(digest(id)).or_default().push(id, &entries[id.0].call);
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
