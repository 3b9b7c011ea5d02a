//! Which recorded call a live request is.

use super::{Replayer, Use};
use crate::replay::live::Live;
use crate::replay::masks::{self, Identity, Mismatch, Pair};
use crate::replay::near;
use crate::replay::options::Rung;
use crate::replay::tape::{EntryId, Tape};
use std::collections::{HashMap, HashSet};

/// What looking for a match found.
pub(super) enum Search {
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
    pub(super) fn search(&mut self, live: &Live<'_>) -> Search {
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

    pub(super) fn is_one_answer(&self, ids: &[EntryId]) -> bool {
        let content = |id: EntryId| self.tape.entry(id).call.outcome.content();
        ids.iter().all(|&id| content(id) == content(ids[0]))
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
pub(super) fn first_unused(
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
