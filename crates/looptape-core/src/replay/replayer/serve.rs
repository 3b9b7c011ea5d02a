//! Serving a recorded call: which of its attempts, and what is learnt from it for later requests.

use super::{Choice, Decision, Replayer, Served, Use};
use crate::digest::Digest;
use crate::redact::Rebinding;
use crate::replay::live::Live;
use crate::replay::masks::Pair;
use crate::replay::options::{Ambiguous, Attempts, Rebind, Rung};
use crate::replay::summary::{BillingDifference, Rebound};
use crate::replay::tape::{EntryId, RecordedOutcome};
use crate::replay::unanswerable;
use std::sync::Arc;

impl Replayer {
    pub(super) fn serve(&mut self, live: &Live<'_>, rung: Rung, first: EntryId) -> Decision {
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
    pub(super) fn hand_out(&mut self, first: EntryId, entry: EntryId, rung: Rung, choice: Choice) -> Served {
        self.pass_over(first, entry);
        self.uses[entry.0] = Use::Served;
        self.open.insert(entry);
        self.served.add(rung, choice);
        Served { entry, label: self.tape.label(entry), rung, choice }
    }

    /// Identical calls that ran beside this one, in the recording or now. Attempts of one step do not
    /// count: one follows the other.
    pub(super) fn concurrent_twins(&self, id: EntryId, rung: Rung) -> Vec<EntryId> {
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
    pub(super) fn final_attempt(&self, first: EntryId) -> EntryId {
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
}
