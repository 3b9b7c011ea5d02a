//! Which recorded tool call a live one is.
//!
//! By the call's id, if the recording holds it; else by tool, arguments and occurrence. Arguments are compared as JSON,
//! secrets in them by the order in which they come: a key may rotate, two keys stay two. What matches only with volatile
//! values masked is told apart from what is equal, and names the values; where several such calls ended differently and
//! more than times tells them apart, none of them is it.
//!
//! Invariants: a call that has been taken is found no more; a live id that the recording holds stands for itself, and one
//! recorded id for one live id.

use super::desk::RecordedTool;
use super::message::{ToolCallKey, arguments_digest};
use super::verdict::{AnswerFrom, DenyCode};
use crate::redact;
use crate::replay::{MaskKind, Masking, Pair, Rung};
use serde_json::Value;
use std::collections::HashMap;

/// The recorded calls, and which of them are left.
#[derive(Debug)]
pub(super) struct RecordedTools {
    calls: Vec<Entry>,
    by_id: HashMap<String, Vec<usize>>,
    by_call: HashMap<(String, i64), Vec<usize>>,
    masking: Masking,
    loosest: Rung,
    /// Which live id stands for a recorded one.
    stands_for: HashMap<(MaskKind, String), String>,
}

#[derive(Debug)]
struct Entry {
    call: RecordedTool,
    arguments: Comparable,
    is_left: bool,
}

/// How a recorded call was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    Equal,
    /// By its id; its arguments are written otherwise.
    ByIdAlone,
    /// But for these values.
    Masked(Vec<Pair>),
}

/// Arguments as they are compared.
#[derive(Clone, Debug)]
struct Comparable {
    /// As JSON with sorted keys, secrets numbered by first occurrence.
    text: String,
    digest: i64,
}

impl Comparable {
    fn of(arguments: &Value) -> Self {
        let mut arguments = arguments.clone();
        arguments.sort_all_objects();
        let text = arguments.to_string();
        let normal = redact::normalise(text.as_bytes());
        let numbered = serde_json::from_slice(&normal).unwrap_or(arguments);
        Self { digest: arguments_digest(&numbered), text: numbered.to_string() }
    }
}

impl RecordedTools {
    /// `calls` in the order in which they were asked for.
    pub(super) fn new(calls: Vec<RecordedTool>) -> Self {
        let entry =
            |call: RecordedTool| Entry { arguments: Comparable::of(&call.arguments), call, is_left: true };
        let calls: Vec<Entry> = calls.into_iter().map(entry).collect();
        let mut by_id: HashMap<String, Vec<usize>> = HashMap::new();
        let mut by_call: HashMap<(String, i64), Vec<usize>> = HashMap::new();
        for (at, Entry { call, arguments, .. }) in calls.iter().enumerate() {
            if let Some(id) = &call.call_id {
                by_id.entry(id.clone()).or_default().push(at);
            }
            by_call.entry((call.name.clone(), arguments.digest)).or_default().push(at);
        }
        Self {
            calls,
            by_id,
            by_call,
            masking: Masking::default(),
            loosest: Rung::Masked,
            stands_for: HashMap::new(),
        }
    }

    /// The same where arguments are compared with these masks, as loosely as this.
    pub(super) fn masked_by(self, masking: Masking, loosest: Rung) -> Self {
        Self { masking, loosest, ..self }
    }

    pub(super) fn call(&self, at: usize) -> &RecordedTool {
        &self.calls[at].call
    }

    pub(super) fn is_left(&self, at: usize) -> bool {
        self.calls[at].is_left
    }

    /// The first call with this id.
    pub(super) fn first_of_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(id)?.first().copied()
    }

    /// The call at this place among those of a tool with these arguments.
    pub(super) fn nth_of(&self, name: &str, arguments_digest: i64, nth: usize) -> Option<usize> {
        self.by_call.get(&(name.to_owned(), arguments_digest))?.get(nth).copied()
    }

    /// Why a call is none of those that are left: it was recorded, given or not, or it never was.
    pub(super) fn why_not(&self, call: &ToolCallKey) -> DenyCode {
        let digest = Comparable::of(&call.arguments).digest;
        match self.by_call.contains_key(&(call.name.clone(), digest)) {
            true => DenyCode::Exhausted,
            false => DenyCode::NeverRecorded,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RecordedTool> + Clone {
        self.calls.iter().map(|entry| &entry.call)
    }

    /// Takes a call that was found.
    pub(super) fn take(&mut self, at: usize, how: &How) {
        self.calls[at].is_left = false;
        let How::Masked(pairs) = how else { return };
        for pair in pairs.iter().filter(|pair| pair.kind.is_identity()) {
            let recorded = (pair.kind, pair.recorded.clone());
            self.stands_for.entry(recorded).or_insert_with(|| pair.live.clone());
        }
    }

    /// The recorded call that this one is, if it is left; else why there is none.
    pub(super) fn find(&self, call: &ToolCallKey) -> Result<(usize, How), DenyCode> {
        let wanted = Comparable::of(&call.arguments);
        let of_id = call.call_id.as_ref().and_then(|id| self.by_id.get(id)).map_or(&[][..], Vec::as_slice);
        let of_name: Vec<usize> =
            of_id.iter().copied().filter(|at| self.calls[*at].call.name == call.name).collect();
        let left = || of_name.iter().copied().filter(|at| self.calls[*at].is_left);
        if let Some(at) = left().find(|at| self.calls[*at].arguments.digest == wanted.digest) {
            return Ok((at, How::Equal));
        }
        if let Some((at, pairs)) = left().find_map(|at| Some((at, self.pairs(at, &wanted)?))) {
            return Ok((at, How::Masked(pairs)));
        }
        // What the model asked for may be written otherwise by the time that it is executed: defaults filled in,
        // numbers parsed. What was measured was written by the same code.
        if let Some(at) = left().find(|at| self.calls[*at].call.from == AnswerFrom::History) {
            return Ok((at, How::ByIdAlone));
        }
        let equal = self.by_call.get(&(call.name.clone(), wanted.digest)).map_or(&[][..], Vec::as_slice);
        let at = match call.occurrence {
            Some(nth) => equal.get(nth as usize - 1).filter(|at| self.calls[**at].is_left),
            None => equal.iter().find(|at| self.calls[**at].is_left),
        };
        match at {
            Some(at) => Ok((*at, How::Equal)),
            None if equal.is_empty() && of_name.is_empty() => self.find_masked(&call.name, &wanted),
            None => Err(DenyCode::Exhausted),
        }
    }

    fn find_masked(&self, name: &str, wanted: &Comparable) -> Result<(usize, How), DenyCode> {
        let of_tool = self.calls.iter().enumerate().filter(|(_, entry)| entry.call.name == name);
        let (left, gone): (Vec<_>, Vec<_>) = of_tool
            .filter_map(|(at, _)| Some((at, self.pairs(at, wanted)?)))
            .partition(|(at, _)| self.calls[*at].is_left);
        let Some((first, pairs)) = left.first() else {
            return Err(if gone.is_empty() { DenyCode::NeverRecorded } else { DenyCode::Exhausted });
        };
        let is_one = |(at, _): &(usize, Vec<Pair>)| self.calls[*at].call.end == self.calls[*first].call.end;
        let is_a_moment = |(_, pairs): &(usize, Vec<Pair>)| pairs.iter().all(|pair| !pair.kind.is_identity());
        match left.iter().all(is_one) || left.iter().all(is_a_moment) {
            true => Ok((*first, How::Masked(pairs.clone()))),
            false => Err(DenyCode::Ambiguous),
        }
    }

    /// The values in which arguments differ from the recorded ones, if nothing else differs and each may stand for the
    /// other.
    fn pairs(&self, at: usize, wanted: &Comparable) -> Option<Vec<Pair>> {
        if self.loosest < Rung::Masked {
            return None;
        }
        let pairs = self.masking.stand_ins(&self.calls[at].arguments.text, &wanted.text)?;
        pairs.iter().filter(|pair| pair.kind.is_identity()).all(|pair| self.is_free(pair)).then_some(pairs)
    }

    /// Whether a live id may stand for a recorded one: neither is known to be another's.
    fn is_free(&self, pair: &Pair) -> bool {
        let is_recorded = || self.calls.iter().any(|entry| entry.arguments.text.contains(&pair.live));
        match self.stands_for.get(&(pair.kind, pair.recorded.clone())) {
            Some(known) => *known == pair.live,
            None => !is_recorded() && !self.stands_for.values().any(|live| *live == pair.live),
        }
    }
}
