//! The replay decision: a state machine over a tape.
//!
//! A request is looked for at one rung after another. Among the recorded calls that match at a rung and
//! were not served yet, the choice is by lineage, then by occurrence:
//! - Calls that are equal without renaming cannot be told apart by content; they are served in recorded
//!   order. If two of them ran at the same time, in the recording or now, that is service by arrival: it
//!   is counted, or refused under [`Ambiguous::Fail`].
//! - Calls that match only after renaming or masking are told apart by the answer that they echo, by the
//!   live request that they continue, by what the same live request got before, and by the ids that stood
//!   for each other before. If that leaves several with different answers, the verdict is AMBIGUOUS; there
//!   is no first-in-first-out.
//!
//! A request that is a recorded one byte for byte or as JSON, or that has been answered as one, is that request
//! and no look-alike with another id: once its answers are served it is exhausted.
//!
//! Each recorded answer is served at most once. The same tape and the same requests give the same
//! decisions. The machine does no IO, knows no time, and never invents an answer; the caller holds the
//! recorded answers and sends them.

use super::cause::{self, Diverged};
use super::classify::{self, Missed};
use super::components::{self, Endpoint};
use super::fork_point::{ForkPoint, NoSuchStep};
use super::live::{Live, LiveRequest};
use super::masks::{self, Identity, MaskKind, Mismatch, Pair};
use super::near;
use super::options::{Ambiguous, Attempts, Holes, OnMiss, Options, Rebind, Rung};
use super::provenance::WhyAsked;
use super::references::Bound;
use super::report::{DivergenceCode, Report};
use super::side_calls::{Seen, SideCall, SideCalls};
use super::summary::{BillingDifference, MaskUse, Rebound, ServedCounts, Summary, Verdict};
use super::tape::{CallLabel, Completeness, EntryId, RecordedOutcome, Tape};
use super::unanswerable;
use crate::captured;
use crate::digest::Digest;
use crate::redact::Rebinding;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A recording that must not be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recording has holes ({}): a replay of it could not be trusted", reasons.join(", "))]
pub struct HasHoles {
    pub reasons: Vec<String>,
}

/// What to do with a live request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send the recorded answer of this call.
    Serve(Served),
    /// An optional call that was not recorded: send its neutral answer.
    SideCall(&'static SideCall),
    /// Ask a model. Without [`OnMiss::Ask`] and a fork this is never decided.
    Ask(WhyAsked),
    /// Refuse, see `refusal`.
    Diverged(Box<Report>),
}

/// A replay that cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotReplay {
    #[error("the recording holds no answered call: a replay of it would prove nothing")]
    HoldsNothing,
    #[error(transparent)]
    HasHoles(#[from] HasHoles),
    #[error(transparent)]
    NoSuchStep(#[from] NoSuchStep),
}

/// A recorded call whose answer belongs to a live request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub entry: EntryId,
    pub label: CallLabel,
    pub rung: Rung,
    pub choice: Choice,
}

/// What the choice of the answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Content, lineage and recorded order.
    Certain,
    /// An identical call ran at the same time: nobody can tell which is which.
    ByArrival,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Unused,
    Served,
    /// A failed attempt that was passed over.
    Collapsed,
    /// A captured call of a tool that did not run.
    OfTool,
    /// Matched, but there was nothing to serve.
    Withheld,
}

/// The state of one replay.
#[derive(Debug)]
pub struct Replayer {
    tape: Tape,
    options: Options,
    uses: Vec<Use>,
    /// How many calls of a group, named by its first, are used up from its beginning.
    cursors: HashMap<(Rung, EntryId), usize>,
    /// Served calls whose answers are still being sent.
    open: BTreeSet<EntryId>,
    /// Which recorded request each live request, byte for byte, turned out to be.
    bound: HashMap<Digest, EntryId>,
    /// Which of its ids stand for which of the recording's.
    references: Bound,
    /// The live history that each served call answered, if it was not the recorded one byte for byte: its
    /// length and its chain's head.
    answered: HashMap<EntryId, (usize, Digest)>,
    /// Which live id stood for a recorded one.
    stands_for: HashMap<(MaskKind, String), String>,
    /// Where a mask was needed first, and in how many requests.
    masks: BTreeMap<Pair, (CallLabel, u32)>,
    diverged: Vec<Diverged>,
    /// What later answers name differently, if that is wanted.
    rebinding: Arc<Rebinding>,
    rebound: Vec<Rebound>,
    /// The report that each diverged request got.
    reported: HashMap<Digest, usize>,
    served: ServedCounts,
    billing: Vec<BillingDifference>,
    side_calls: u32,
    optional: SideCalls,
    fork: ForkPoint,
    /// Requests for which a model was to be asked.
    asked: u32,
    has_forked: bool,
}

/// What looking for a match found.
enum Search {
    /// The next call to serve of those that nothing tells apart.
    Found {
        rung: Rung,
        entry: EntryId,
    },
    Ambiguous(Vec<EntryId>),
    /// Matches, each of them served.
    Exhausted(Vec<EntryId>),
    /// A match but for two masked values that cannot stand for each other.
    Mismatched(EntryId, Box<Mismatch>),
    Missed,
}

/// Of more candidates than this, lineage is asked first: looking at the masked values of each takes time.
const CANDIDATES_COMPARED: usize = 64;

impl Replayer {
    pub fn new(tape: Tape, options: Options) -> Result<Self, CannotReplay> {
        if let (Completeness::Incomplete { reasons }, Holes::Refuse) = (tape.completeness(), options.holes) {
            return Err(HasHoles { reasons: reasons.clone() }.into());
        }
        let is_open = |id| tape.entry(id).call.outcome == RecordedOutcome::InFlight;
        if !tape.is_beside_others() && tape.ids().all(is_open) {
            return Err(CannotReplay::HoldsNothing);
        }
        let fork = ForkPoint::find(&tape, options.fork)?;
        let uses = vec![Use::Unused; tape.len()];
        Ok(Self {
            tape,
            options,
            uses,
            cursors: HashMap::new(),
            open: BTreeSet::new(),
            bound: HashMap::new(),
            references: Bound::default(),
            answered: HashMap::new(),
            stands_for: HashMap::new(),
            masks: BTreeMap::new(),
            diverged: Vec::new(),
            rebinding: Arc::default(),
            rebound: Vec::new(),
            reported: HashMap::new(),
            served: ServedCounts::default(),
            billing: Vec::new(),
            side_calls: 0,
            optional: SideCalls::default(),
            fork,
            asked: 0,
            has_forked: false,
        })
    }

    /// The same, with the optional calls of the project's settings.
    pub fn with_optional(self, optional: SideCalls) -> Self {
        Self { optional, ..self }
    }

    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Decides about the next request to arrive.
    pub fn next(&mut self, request: &LiveRequest<'_>) -> Decision {
        let live = Live::new(&self.tape, request);
        let found = self.search(&live);
        let is_match = matches!(found, Search::Found { .. } | Search::Ambiguous(_));
        if let Some(answer) = if is_match { None } else { self.neutral_answer(request) } {
            self.side_calls += 1;
            return Decision::SideCall(answer);
        }
        let may_ask = !live.is_a_tools();
        match found {
            Search::Found { entry, .. } if may_ask && self.fork.is_before(&self.tape, entry) => {
                self.go_own_way()
            }
            Search::Ambiguous(ids)
                if may_ask && ids.iter().all(|&id| self.fork.is_before(&self.tape, id)) =>
            {
                self.go_own_way()
            }
            Search::Missed | Search::Exhausted(_) | Search::Mismatched(..)
                if may_ask && self.is_on_own_way() =>
            {
                self.go_own_way()
            }
            Search::Found { rung, entry } => self.serve(&live, rung, entry),
            Search::Ambiguous(candidates) => {
                self.diverge(&live, unanswerable::ambiguous(&self.tape, &candidates))
            }
            Search::Exhausted(matching) => {
                let is_over = !self.tape.ids().any(|id| self.is_unused(id));
                self.diverge(&live, unanswerable::exhausted(&self.tape, &matching, is_over))
            }
            Search::Mismatched(entry, mismatch) => {
                let report = classify::mismatched(&self.tape, &self.missing(&live), entry, &mismatch);
                self.diverge(&live, if live.is_a_tools() { report.blocked() } else { report })
            }
            Search::Missed => self.missed(&live),
        }
    }

    /// Decides about the next request to arrive if it is, byte for byte, a recorded one that is left to be
    /// served; `body` is the digest of what arrived. `None` leaves the decision, and the state, to
    /// [`Replayer::next`], which has to read the body.
    pub fn repeat(&mut self, method: &str, path: &str, body: Digest) -> Option<Served> {
        let exact = components::exact_digest(&Endpoint::new(method, path), body);
        let matching = self.tape.with_stored(exact);
        let first = matching[first_unused(&mut self.cursors, &self.uses, Rung::Bytes, matching)?];
        if self.fork.is_before(&self.tape, first) {
            return None;
        }
        let twins = self.concurrent_twins(first, Rung::Bytes);
        let last = self.final_attempt(first);
        let nothing_to_serve = self.tape.entry(last).call.outcome == RecordedOutcome::InFlight;
        if nothing_to_serve || (self.options.ambiguous == Ambiguous::Fail && !twins.is_empty()) {
            return None;
        }
        let choice = if twins.is_empty() { Choice::Certain } else { Choice::ByArrival };
        Some(self.hand_out(first, last, Rung::Bytes, choice))
    }

    /// Notes that a served answer was sent to its end, or that the client hung up. To be called before
    /// the client can see the end, or a client that asks again at once would seem to overlap itself.
    pub fn finished(&mut self, entry: EntryId) {
        self.open.remove(&entry);
    }

    /// Leaves out what tools asked of hosts that did not run in this replay: nothing asks for that again. `is_of_one`
    /// says of a time of the recording whether such a tool ran then.
    pub fn leave_out(&mut self, is_of_one: impl Fn(i64) -> bool) {
        for id in self.tape.ids() {
            let call = &self.tape.entry(id).call;
            let is_a_tools = call.wire.is_none() && captured::is_captured(&call.path);
            if self.uses[id.0] == Use::Unused && is_a_tools && is_of_one(call.sent_us) {
                self.uses[id.0] = Use::OfTool;
            }
        }
    }

    /// Ends the replay.
    pub fn finish(mut self) -> Summary {
        let mut reports = cause::by_recording(std::mem::take(&mut self.diverged));
        let (unused, unused_side_calls) = self.left_over(reports.is_empty());
        if !unused.is_empty() {
            let report = unanswerable::unused(&unused, self.tape.len(), reports.is_empty());
            reports.push(report);
        }
        reports.sort_by_cached_key(Report::reading_order);
        self.billing.sort_by_key(|difference| difference.label.seq);
        Summary {
            verdict: Verdict::of(&reports, self.asked, self.options.on_miss),
            asked: self.asked,
            served_calls: self
                .tape
                .ids()
                .filter(|id| self.uses[id.0] == Use::Served)
                .map(|id| self.tape.label(id).seq)
                .collect(),
            recorded_calls: self.tape.len(),
            served: self.served,
            collapsed_attempts: self.uses.iter().filter(|&&used| used == Use::Collapsed).count(),
            calls_of_tools: self.uses.iter().filter(|&&used| used == Use::OfTool).count(),
            side_calls: self.side_calls,
            billing_differences: self.billing,
            masks: mask_uses(self.masks),
            rebound: self.rebound.into_iter().filter(|rebound| rebound.places > 0).collect(),
            unused,
            unused_side_calls,
            mcp: None,
            divergences: reports,
            tools: None,
        }
    }

    /// The recorded calls that were to come and did not, and the optional ones of them. Where nothing came at
    /// all, none is optional: a replay that used nothing shows nothing.
    fn left_over(&self, nothing_diverged: bool) -> (Vec<CallLabel>, Vec<CallLabel>) {
        let labels = |ids: Vec<EntryId>| ids.into_iter().map(|id| self.tape.label(id)).collect();
        if self.served.total() == 0 && self.asked == 0 && nothing_diverged {
            return (labels(self.tape.ids().collect()), Vec::new());
        }
        let left: Vec<EntryId> = self.tape.ids().filter(|&id| self.is_left_over(id)).collect();
        let carried_on: BTreeSet<EntryId> =
            self.tape.ids().flat_map(|id| &self.tape.entry(id).parents).copied().collect();
        // Nobody carries on from a side call; so a long loop's bodies are not read to see that it is none.
        let is_side_call = |&id: &EntryId| !carried_on.contains(&id) && self.is_optional(id);
        let (optional, needed) = left.into_iter().partition(is_side_call);
        (labels(needed), labels(optional))
    }

    /// The answer to an optional call that was not recorded.
    fn neutral_answer(&self, request: &LiveRequest<'_>) -> Option<&'static SideCall> {
        let LiveRequest { wire, method, path, body, .. } = *request;
        self.optional.find(Seen { wire, method, path, body })
    }

    fn is_left_over(&self, id: EntryId) -> bool {
        self.is_unused(id)
            && !self.fork.is_before(&self.tape, id)
            && self.tape.entry(id).call.outcome != RecordedOutcome::InFlight
    }

    fn is_optional(&self, id: EntryId) -> bool {
        let call = &self.tape.entry(id).call;
        let (method, path) = (call.method.as_str(), call.path.as_str());
        self.optional.find(Seen { wire: call.wire, method, path, body: &call.body.read() }).is_some()
    }

    fn is_unused(&self, id: EntryId) -> bool {
        self.uses[id.0] == Use::Unused
    }

    fn search(&mut self, live: &Live<'_>) -> Search {
        let mut served: Option<Rung> = None;
        let mut mismatched = None;
        let mut known = self.bound.get(&live.exact).copied();
        let by_digest = [Rung::Bytes, Rung::Canonical, Rung::Renamed, Rung::Masked];
        for rung in by_digest.into_iter().filter(|&rung| rung <= self.options.max_rung) {
            let matching = matching(&self.tape, live, rung);
            if matching.is_empty() {
                continue;
            }
            match first_unused(&mut self.cursors, &self.uses, rung, matching) {
                Some(at) if rung < Rung::Renamed => {
                    return Search::Found { rung, entry: matching[at] };
                }
                Some(at) => {
                    let mut unserved = self.unserved(live, &matching[at..]);
                    unserved.retain(|&id| known.is_none_or(|known| self.is_one_but_for_moments(known, id)));
                    if unserved.is_empty() {
                        served = served.or(Some(rung));
                        continue;
                    }
                    if rung == Rung::Renamed {
                        return self.chosen(live, rung, unserved);
                    }
                    match self.choose_masked(live, unserved, matching) {
                        Search::Mismatched(entry, mismatch) => mismatched = Some((entry, mismatch)),
                        found => return found,
                    }
                }
                None => {
                    served = served.or(Some(rung));
                    if rung < Rung::Renamed {
                        known = known.or(matching.first().copied());
                    }
                }
            }
        }
        if let Some(rung) = served {
            return Search::Exhausted(matching(&self.tape, live, rung).to_vec());
        }
        match (self.choose_near(live), mismatched) {
            (Some(near), _) => near,
            (None, Some((entry, mismatch))) => Search::Mismatched(entry, mismatch),
            (None, None) => Search::Missed,
        }
    }

    /// Those that are left, and that name what the live request may stand for. An id of the recording stands
    /// for itself alone.
    fn unserved(&self, live: &Live<'_>, ids: &[EntryId]) -> Vec<EntryId> {
        let named = live.references();
        let may_stand_for = |id: &EntryId| {
            let recorded = self.tape.references(*id);
            let differs = |(live, recorded): (&String, &String)| live != recorded && self.tape.names(live);
            named == recorded
                || (!named.iter().zip(recorded).any(differs) && self.references.allows(named, recorded))
        };
        ids.iter().copied().filter(|&id| self.is_unused(id)).filter(may_stand_for).collect()
    }

    /// Whether two recorded calls differ in nothing but when they were made: in times and the like, not in an
    /// id. A request that is the one of them is never answered with what belongs to another id.
    fn is_one_but_for_moments(&self, known: EntryId, other: EntryId) -> bool {
        let rung = self.options.max_rung.min(Rung::Masked);
        let canonical = |id: EntryId| self.tape.key_at(rung, id).canonical;
        known == other
            || (canonical(known) == canonical(other)
                && (rung < Rung::Masked || self.tape.identities(known) == self.tape.identities(other)))
    }

    /// The one of `candidates` that lineage leaves, or all that it cannot tell apart.
    fn chosen(&self, live: &Live<'_>, rung: Rung, candidates: Vec<EntryId>) -> Search {
        let candidates = self.by_lineage(live, candidates);
        if self.is_one_request(&candidates)
            || self.is_one_answer(&candidates)
            || self.is_told_apart_by_time(live, &candidates)
        {
            Search::Found { rung, entry: candidates[0] }
        } else {
            Search::Ambiguous(candidates)
        }
    }

    /// Of calls that are equal but for masked values: those whose values may stand for the live ones. An id
    /// that one of `matching`, served or not, holds is no other's.
    fn choose_masked(&self, live: &Live<'_>, unserved: Vec<EntryId>, matching: &[EntryId]) -> Search {
        let named = masks::identities(live.spans());
        let has_the_ids = |id: &EntryId| !named.is_empty() && self.tape.identities(*id) == named;
        let unserved = match matching.iter().copied().filter(has_the_ids).collect::<Vec<_>>() {
            none if none.is_empty() => unserved,
            own => match unserved.into_iter().filter(has_the_ids).collect::<Vec<_>>() {
                none if none.is_empty() => return Search::Exhausted(own),
                left => left,
            },
        };
        let unserved =
            if unserved.len() > CANDIDATES_COMPARED { self.by_lineage(live, unserved) } else { unserved };
        let recorded: HashSet<&Identity> = matching.iter().flat_map(|&id| self.tape.identities(id)).collect();
        let mut fitting: Vec<(EntryId, Vec<Pair>)> = Vec::new();
        let mut first_mismatch = None;
        for &id in unserved.iter().take(CANDIDATES_COMPARED) {
            let pairs = self.tape.masking().pairs(&self.tape.masked_spans(id), live.spans());
            match pairs.and_then(|pairs| none_taken(pairs, &recorded)) {
                Ok(pairs) => fitting.push((id, pairs)),
                Err(mismatch) => {
                    first_mismatch.get_or_insert((id, mismatch));
                }
            }
        }
        if let (true, Some((entry, mismatch))) = (fitting.is_empty(), first_mismatch) {
            return Search::Mismatched(entry, mismatch);
        }
        let ids = |fitting: &[(EntryId, Vec<Pair>)]| fitting.iter().map(|(id, _)| *id).collect();
        match self.chosen(live, Rung::Masked, ids(&fitting)) {
            Search::Ambiguous(left) => {
                fitting.retain(|(id, _)| left.contains(id));
                self.chosen(live, Rung::Masked, ids(&self.by_known_ids(fitting)))
            }
            found => found,
        }
    }

    /// Of several, those whose ids stood for each other before; all if that says nothing.
    fn by_known_ids(&self, fitting: Vec<(EntryId, Vec<Pair>)>) -> Vec<(EntryId, Vec<Pair>)> {
        let known = |pair: &Pair| self.stands_for.get(&(pair.kind, pair.recorded.clone()));
        let contradicts = |pairs: &[Pair]| pairs.iter().any(|p| known(p).is_some_and(|live| *live != p.live));
        let agreeing = |pairs: &[Pair]| pairs.iter().filter(|p| known(p) == Some(&p.live)).count();
        let possible = fitting.iter().filter(|(_, pairs)| !contradicts(pairs));
        let most = possible.clone().map(|(_, pairs)| agreeing(pairs)).max().unwrap_or(0);
        let kept: Vec<_> = possible.filter(|(_, pairs)| agreeing(pairs) == most).cloned().collect();
        if kept.is_empty() { fitting } else { kept }
    }

    /// The nearest recorded calls within the budget, if near matches are wanted.
    fn choose_near(&self, live: &Live<'_>) -> Option<Search> {
        if self.options.max_rung < Rung::Near {
            return None;
        }
        let unserved = self.unserved(live, self.tape.of_shape(&live.shape()));
        let nearest = near::nearest(&self.tape, live, &unserved, self.options.near);
        match nearest.as_slice() {
            [] => None,
            ids if self.is_one_request(ids) || self.is_one_answer(ids) => {
                Some(Search::Found { rung: Rung::Near, entry: ids[0] })
            }
            _ => Some(Search::Ambiguous(nearest)),
        }
    }

    /// Of calls that match only after renaming: those that this very request was before, else those whose
    /// parent was served and is what this request echoes, else all.
    fn by_lineage(&self, live: &Live<'_>, candidates: Vec<EntryId>) -> Vec<EntryId> {
        if self.is_one_request(&candidates) {
            return candidates;
        }
        let candidates = self.by_references(live, candidates);
        let narrowed = |keep: &dyn Fn(EntryId) -> bool| -> Option<Vec<EntryId>> {
            let kept: Vec<EntryId> = candidates.iter().copied().filter(|&id| keep(id)).collect();
            (!kept.is_empty()).then_some(kept)
        };
        let before = self.bound.get(&live.exact);
        let same_as_before = before.and_then(|&before| {
            narrowed(&|id| self.tape.key(id).canonical == self.tape.key(before).canonical)
        });
        let echoed = || {
            let (echo, last_turn) = (live.lineage().echo?, live.lineage().last_turn);
            let follows = |id: EntryId| {
                let entry = self.tape.entry(id);
                let parent_was_served = entry.parents.iter().any(|parent| self.uses[parent.0] == Use::Served);
                entry.call.lineage.echo == Some(echo) && parent_was_served
            };
            let follows_closely = |id| follows(id) && self.tape.entry(id).call.lineage.last_turn == last_turn;
            narrowed(&follows_closely).or_else(|| narrowed(&follows))
        };
        let kept = same_as_before.or_else(echoed).unwrap_or_else(|| candidates.clone());
        if self.is_one_request(&kept) {
            return kept;
        }
        let continuing: Vec<EntryId> =
            kept.iter().copied().filter(|&id| self.continues_what_was_answered(live, id)).collect();
        if continuing.is_empty() { kept } else { continuing }
    }

    /// Of several, those that name what the live request is known to name; all if that says nothing.
    fn by_references(&self, live: &Live<'_>, candidates: Vec<EntryId>) -> Vec<EntryId> {
        let named = live.references();
        let is_known = |id: &EntryId| self.references.knows(named, self.tape.references(*id));
        let known: Vec<EntryId> = candidates.iter().copied().filter(is_known).collect();
        if named.is_empty() || known.is_empty() { candidates } else { known }
    }

    /// Whether a recorded call follows one whose answer went to a live request that this one continues.
    fn continues_what_was_answered(&self, live: &Live<'_>, id: EntryId) -> bool {
        let history = &live.key().components.history;
        self.tape.entry(id).parents.iter().filter(|parent| self.uses[parent.0] == Use::Served).any(|parent| {
            let as_recorded = || {
                let history = &self.tape.key(*parent).components.history;
                history.last().map(|head| (history.len(), *head))
            };
            let answered = self.answered.get(parent).copied().or_else(as_recorded);
            answered.is_some_and(|(messages, head)| {
                messages.checked_sub(1).and_then(|last| history.get(last)) == Some(&head)
            })
        })
    }

    /// Whether the calls are one request, made several times.
    fn is_one_request(&self, ids: &[EntryId]) -> bool {
        ids.iter().all(|&id| self.tape.key(id).canonical == self.tape.key(ids[0]).canonical)
    }

    /// Whether the calls are one call of a tool's that was made at several times, as its own values say: no history tells
    /// those apart, so they are as good as equal.
    fn is_told_apart_by_time(&self, live: &Live<'_>, ids: &[EntryId]) -> bool {
        live.is_a_tools() && ids.iter().all(|&id| self.is_one_but_for_moments(ids[0], id))
    }

    fn is_one_answer(&self, ids: &[EntryId]) -> bool {
        let content = |id: EntryId| self.tape.entry(id).call.outcome.content();
        ids.iter().all(|&id| content(id) == content(ids[0]))
    }

    fn serve(&mut self, live: &Live<'_>, rung: Rung, first: EntryId) -> Decision {
        let twins = self.concurrent_twins(first, rung);
        let choice = if twins.is_empty() { Choice::Certain } else { Choice::ByArrival };
        if self.options.ambiguous == Ambiguous::Fail && choice == Choice::ByArrival {
            let among: Vec<EntryId> = [&[first], twins.as_slice()].concat();
            if !self.is_one_answer(&among) {
                return self.diverge(live, unanswerable::ambiguous(&self.tape, &among));
            }
        }
        let entry = self.final_attempt(first);
        if self.tape.entry(entry).call.outcome == RecordedOutcome::InFlight {
            self.pass_over(first, entry);
            self.uses[entry.0] = Use::Withheld;
            return self.diverge(live, unanswerable::unanswered(&self.tape, entry));
        }
        if rung > Rung::Bytes {
            self.bound.insert(live.exact, entry);
            self.references.learn(live.references(), self.tape.references(entry));
            let history = &live.key().components.history;
            if let Some(head) = history.last() {
                self.answered.insert(entry, (history.len(), *head));
            }
            self.note_billing(live, entry);
        }
        if rung >= Rung::Masked {
            self.note_masks(live, entry);
        }
        Decision::Serve(self.hand_out(first, entry, rung, choice))
    }

    /// Serves the attempt `entry` of the step whose first attempt is `first`.
    fn hand_out(&mut self, first: EntryId, entry: EntryId, rung: Rung, choice: Choice) -> Served {
        self.pass_over(first, entry);
        self.uses[entry.0] = Use::Served;
        self.open.insert(entry);
        self.served.add(rung, choice);
        Served { entry, label: self.tape.label(entry), rung, choice }
    }

    /// Identical calls that ran beside this one, in the recording or now. Attempts of one step do not
    /// count: one follows the other.
    fn concurrent_twins(&self, id: EntryId, rung: Rung) -> Vec<EntryId> {
        let tape = &self.tape;
        let is_identical = |&other: &EntryId| match rung {
            Rung::Bytes => tape.entry(other).exact == tape.entry(id).exact,
            Rung::Canonical | Rung::Renamed | Rung::Masked | Rung::Near => {
                tape.key(other).canonical == tape.key(id).canonical
            }
        };
        let mut twins = match rung {
            Rung::Bytes => tape.beside_with_same_bytes(id),
            Rung::Canonical | Rung::Renamed | Rung::Masked | Rung::Near => tape.beside_with_same_json(id),
        };
        twins.extend(self.open.iter().copied().filter(|&open| open != id).filter(is_identical));
        twins.retain(|&other| !self.is_attempt_after(other, id) && !self.is_attempt_after(id, other));
        twins.sort_unstable();
        twins.dedup();
        twins
    }

    fn is_attempt_after(&self, first: EntryId, later: EntryId) -> bool {
        let mut at = first;
        while let Some(next) = self.tape.entry(at).retried_by {
            if next == later {
                return true;
            }
            at = next;
        }
        false
    }

    /// The call to serve for a step: its first attempt that is left, or under [`Attempts::Collapse`] its
    /// last one.
    fn final_attempt(&self, first: EntryId) -> EntryId {
        let next = |&at: &EntryId| self.tape.entry(at).retried_by.filter(|&next| self.is_unused(next));
        match self.options.attempts {
            Attempts::Faithful => first,
            Attempts::Collapse => std::iter::successors(Some(first), next).last().unwrap_or(first),
        }
    }

    /// Passes the attempts from `first` to just before `last` over.
    fn pass_over(&mut self, first: EntryId, last: EntryId) {
        let mut at = first;
        while at != last {
            self.uses[at.0] = Use::Collapsed;
            let Some(next) = self.tape.entry(at).retried_by else { break };
            at = next;
        }
    }

    fn note_billing(&mut self, live: &Live<'_>, entry: EntryId) {
        let (recorded, now) = (&self.tape.key(entry).billing, &live.key().billing);
        let differs = |field: &(String, Digest), others: &[(String, Digest)]| !others.contains(field);
        let mut pointers: Vec<String> = recorded
            .iter()
            .filter(|field| differs(field, now))
            .chain(now.iter().filter(|field| differs(field, recorded)))
            .map(|(pointer, _)| pointer.clone())
            .collect();
        pointers.sort();
        pointers.dedup();
        if !pointers.is_empty() {
            self.billing.push(BillingDifference { label: self.tape.label(entry), pointers });
        }
    }

    /// Notes which values were masked. What differs in a near match beyond its masks is no mask.
    fn note_masks(&mut self, live: &Live<'_>, entry: EntryId) {
        let pairs = self.tape.masking().pairs(&self.tape.masked_spans(entry), live.spans());
        for pair in pairs.unwrap_or_default() {
            let id = (pair.kind, pair.recorded.clone());
            self.stands_for.entry(id).or_insert_with(|| pair.live.clone());
            self.rebind(&pair);
            let label = self.tape.label(entry);
            let (first, requests) = self.masks.entry(pair).or_insert((label, 0));
            *first = label.min(*first);
            *requests += 1;
        }
    }

    fn rebind(&mut self, pair: &Pair) {
        let Pair { kind, recorded, live, .. } = pair;
        if self.options.rebind == Rebind::Off || !kind.is_rebindable() {
            return;
        }
        if Arc::make_mut(&mut self.rebinding).add(recorded, live).is_some() {
            self.rebound.push(Rebound { recorded: recorded.clone(), live: live.clone(), places: 0 });
        }
    }

    /// The live values that answers are to name from now on; nothing unless that is wanted.
    pub fn rebinding(&self) -> Arc<Rebinding> {
        self.rebinding.clone()
    }

    /// Notes that values were rebound in an answer: their numbers, and in how many places.
    pub fn note_rebound(&mut self, places: &[(usize, u32)]) {
        for (value, places) in places {
            if let Some(rebound) = self.rebound.get_mut(*value) {
                rebound.places += places;
            }
        }
    }

    fn missed(&mut self, live: &Live<'_>) -> Decision {
        let report = classify::classify(&self.tape, &self.missing(live), |id| self.is_unused(id));
        let is_beyond =
            report.code == DivergenceCode::NeverRecorded && captured::is_captured(live.request.path);
        let report = match live.is_a_tools() || is_beyond {
            true => report.blocked(),
            false => report,
        };
        self.diverge(live, report)
    }

    fn missing<'l>(&self, live: &'l Live<'_>) -> Missed<'l> {
        let loosest = self.options.max_rung;
        Missed {
            wire: live.request.wire,
            endpoint: &live.endpoint,
            body: live.body_at(loosest),
            unmasked: &live.body,
            key: live.key_at(loosest),
            loosest,
            lineage: live.lineage(),
            shape: live.shape(),
        }
    }

    /// Whether what the recording does not hold follows from the fork: one was taken, or all that was to be
    /// served before it has been.
    fn is_on_own_way(&self) -> bool {
        let is_to_come = |id: EntryId| self.is_left_over(id);
        self.has_forked || (self.fork.is_set() && !self.tape.ids().any(is_to_come))
    }

    /// The request lies behind the fork, or follows from what does.
    fn go_own_way(&mut self) -> Decision {
        self.has_forked = true;
        self.asked += 1;
        Decision::Ask(WhyAsked::Fork)
    }

    /// The recording has no answer: the request is refused, or a model is asked. What a tool asks of the outside
    /// world is no model's business.
    fn diverge(&mut self, live: &Live<'_>, report: Report) -> Decision {
        let report = self.note_report(live, report);
        match self.options.on_miss {
            OnMiss::Refuse => Decision::Diverged(report),
            OnMiss::Ask if live.is_a_tools() => Decision::Diverged(report),
            OnMiss::Ask => {
                self.asked += 1;
                Decision::Ask(WhyAsked::Missed(report.code))
            }
        }
    }

    fn note_report(&mut self, live: &Live<'_>, mut report: Report) -> Box<Report> {
        if let Some(&known) = self.reported.get(&live.exact) {
            let report = &mut self.diverged[known].report;
            report.requests += 1;
            return Box::new(report.clone());
        }
        report.endpoint = live.endpoint.to_string();
        let diverged = Diverged::new(report, live.key_at(self.options.max_rung), &self.diverged);
        let report = diverged.report.clone();
        self.reported.insert(live.exact, self.diverged.len());
        self.diverged.push(diverged);
        Box::new(report)
    }
}

/// The pairs, unless the live value of one is an id of the recording.
fn none_taken(pairs: Vec<Pair>, recorded: &HashSet<&Identity>) -> Result<Vec<Pair>, Box<Mismatch>> {
    let is_taken = |pair: &&Pair| {
        pair.kind.is_identity() && recorded.contains(&(pair.kind, pair.live.as_bytes().to_vec()))
    };
    match pairs.iter().find(is_taken) {
        None => Ok(pairs),
        Some(Pair { pointer, recorded, live, .. }) => {
            let (pointer, recorded, live) = (pointer.clone(), recorded.clone(), live.clone());
            Err(Box::new(Mismatch { pointer, recorded, live }))
        }
    }
}

/// The position of the first call of a group that is left. A cursor keeps it, so that a group as large as its
/// trace is walked through once.
fn first_unused(
    cursors: &mut HashMap<(Rung, EntryId), usize>,
    uses: &[Use],
    rung: Rung,
    group: &[EntryId],
) -> Option<usize> {
    let is_unused = |id: &EntryId| uses[id.0] == Use::Unused;
    let cursor = cursors.entry((rung, *group.first()?)).or_default();
    let rest = group.get(*cursor..).unwrap_or_default();
    *cursor += rest.iter().position(is_unused).unwrap_or(rest.len());
    // Two groups may begin with the same call, if one of them holds other encodings of the same bytes.
    if *cursor < group.len() { Some(*cursor) } else { group.iter().position(is_unused) }
}

/// The recorded calls that match at a rung, in recorded order.
fn matching<'t>(tape: &'t Tape, live: &Live<'_>, rung: Rung) -> &'t [EntryId] {
    match rung {
        Rung::Bytes => match tape.with_stored(live.exact) {
            [] => tape.with_normalised(&live.shape(), live.exact),
            stored => stored,
        },
        Rung::Canonical => tape.with_canonical(&live.shape(), live.key().canonical),
        Rung::Renamed => tape.with_renamed(&live.shape(), live.key().renamed),
        Rung::Masked => tape.with_masked(&live.shape(), live.key_at(rung).renamed),
        // Near matches have no digest.
        Rung::Near => &[],
    }
}

/// Characters shown of a masked value.
const VALUE_CHARS: usize = 80;

fn mask_uses(masks: BTreeMap<Pair, (CallLabel, u32)>) -> Vec<MaskUse> {
    let shown = |text: &str| match text.char_indices().nth(VALUE_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    };
    let mut uses: Vec<MaskUse> = masks
        .into_iter()
        .map(|(pair, (label, requests))| MaskUse {
            label,
            kind: pair.kind,
            recorded: shown(&pair.recorded),
            live: shown(&pair.live),
            pointer: pair.pointer,
            requests,
        })
        .collect();
    uses.sort_by_key(|used| used.label.seq);
    uses
}
