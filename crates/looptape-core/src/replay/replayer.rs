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

mod miss;
mod search;
mod serve;

use self::search::{Search, first_unused};
use super::cause::{self, Diverged};
use super::classify;
use super::components::{self, Endpoint};
use super::fork_point::{ForkPoint, NoSuchStep};
use super::live::{Live, LiveRequest};
use super::masks::{MaskKind, Pair};
use super::options::{Ambiguous, Holes, Options, Rung};
use super::provenance::WhyAsked;
use super::references::Bound;
use super::report::Report;
use super::side_calls::{Seen, SideCall, SideCalls};
use super::summary::{BillingDifference, MaskUse, Rebound, ServedCounts, Summary, Verdict};
use super::tape::{CallLabel, Completeness, EntryId, RecordedOutcome, Tape};
use super::unanswerable;
use crate::captured;
use crate::digest::Digest;
use crate::redact::Rebinding;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
