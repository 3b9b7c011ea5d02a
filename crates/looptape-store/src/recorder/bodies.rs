//! Bodies that were stored lately, so that a request which extends one of them costs what is new in it.
//!
//! An earlier body is found by the pieces at the end of its longest array: the next request of its
//! conversation has them at the same places, whoever sends it. If there is none, the last body with the
//! same skeleton will do: tools and system prompt are often shared. What is found is compared byte for
//! byte, so that a wrong guess costs time only.
//!
//! Memory only, and bounded: what is forgotten is read anew.

use crate::content::StoredBody;
use bytes::Bytes;
use looptape_core::chain::{CutOf, Shared, Split};
use looptape_core::derive::reading::Reading;
use looptape_core::redact::{Credentials, placeholders};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// Beyond this many bytes, bodies and what is known of them, the oldest are forgotten.
const MOST_BYTES: usize = 48 << 20;
/// How many pieces at the end of a body lead to it: a cache marker that moves changes the last few.
const TAIL: usize = 6;
/// How many pieces at the end of a new body are looked up: one step may bring many.
const MOST_NEW: usize = 64;
/// Bytes at each end of a piece by which it is looked up.
const EDGE: usize = 32;
/// What is kept for each piece beside its bytes, roughly.
const BYTES_A_PIECE: usize = 256;

/// Bodies by number, oldest first.
#[derive(Default)]
pub(super) struct RecentBodies {
    bodies: HashMap<BodyNumber, RecentBody>,
    order: VecDeque<BodyNumber>,
    by_tail: HashMap<u64, BodyNumber>,
    by_skeleton: HashMap<u64, BodyNumber>,
    bytes: usize,
    last: BodyNumber,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct BodyNumber(u64);

/// A body as it was stored.
pub(super) struct RecentBody {
    pub(super) body: Bytes,
    pub(super) reading: Reading,
    pub(super) stored: StoredBody,
    /// Its parts were searched for these values.
    pub(super) searched_for: Credentials,
    /// Pieces in which placeholders stand: the same text from a client would have to be looked at.
    pub(super) with_placeholders: Vec<(usize, usize)>,
}

/// An earlier body, and what a new one has in common with it.
pub(super) struct Near<'a> {
    pub(super) number: BodyNumber,
    pub(super) earlier: &'a RecentBody,
    pub(super) shared: Shared,
}

impl RecentBody {
    /// `is_redacted` says whether something was replaced in it.
    pub(super) fn new(
        body: Bytes,
        reading: Reading,
        stored: StoredBody,
        searched_for: Credentials,
        is_redacted: bool,
    ) -> Self {
        let with_placeholders = match is_redacted {
            true => pieces_with_placeholders(&body, reading.split()),
            false => Vec::new(),
        };
        Self { body, reading, stored, searched_for, with_placeholders }
    }

    fn pieces(&self) -> usize {
        self.reading.split().cuts.iter().map(|cut| cut.pieces.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.pieces() * BYTES_A_PIECE + 512
    }
}

fn pieces_with_placeholders(body: &[u8], split: &Split) -> Vec<(usize, usize)> {
    let pieces = split.cuts.iter().enumerate().flat_map(|(cut, of)| {
        of.pieces.iter().enumerate().map(move |(at, range)| ((cut, at), range.clone()))
    });
    pieces
        .filter(|(_, range)| placeholders(&body[range.clone()]).next().is_some())
        .map(|(at, _)| at)
        .collect()
}

impl Near<'_> {
    /// The parts of the new body that have to be searched for secrets.
    pub(super) fn unsearched(
        &self,
        split: &Split,
        length: usize,
        credentials: &Credentials,
    ) -> Vec<Range<usize>> {
        if !self.earlier.searched_for.same_as(credentials) {
            return Shared::none(split).fresh(split, length);
        }
        let unclean = &self.earlier.with_placeholders;
        if unclean.is_empty() {
            return self.shared.fresh(split, length);
        }
        let mut clean = self.shared.clone();
        clean.retain(|cut, piece| !unclean.contains(&(cut, piece)));
        clean.fresh(split, length)
    }
}

impl RecentBodies {
    pub(super) fn forget(&mut self) {
        self.bodies.clear();
        self.order.clear();
        self.by_tail.clear();
        self.by_skeleton.clear();
        self.bytes = 0;
    }

    /// The body that `body` extends, or else one that looks alike.
    pub(super) fn near(&self, body: &[u8], split: &Split) -> Option<Near<'_>> {
        let number = self.by_pieces(body, split).or_else(|| {
            self.by_skeleton.get(&self.skeleton_key(split)).filter(|n| self.bodies.contains_key(n)).copied()
        })?;
        self.compare(number, body, split)
    }

    /// What a body has in common with one that was found before.
    pub(super) fn compare(&self, number: BodyNumber, body: &[u8], split: &Split) -> Option<Near<'_>> {
        let earlier = self.bodies.get(&number)?;
        let shared = Shared::between((&earlier.body, earlier.reading.split()), (body, split));
        Some(Near { number, earlier, shared })
    }

    pub(super) fn stored(&self, number: BodyNumber) -> Option<&StoredBody> {
        self.bodies.get(&number).map(|body| &body.stored)
    }

    fn by_pieces(&self, body: &[u8], split: &Split) -> Option<BodyNumber> {
        let pieces = longest_array(split)?;
        let newest_first = pieces.iter().enumerate().rev().take(MOST_NEW);
        newest_first
            .filter_map(|(at, range)| self.by_tail.get(&self.piece_key(at, &body[range.clone()])))
            .find(|number| self.bodies.contains_key(number))
            .copied()
    }

    /// Remembers a body. One that it extends is not needed any more.
    pub(super) fn remember(&mut self, body: RecentBody, extends: Option<(BodyNumber, &Shared)>) {
        if let Some((number, shared)) = extends
            && self.bodies.get(&number).is_some_and(|old| is_extension(old, shared))
        {
            self.remove(number);
        }
        self.last.0 += 1;
        let number = self.last;
        let split = body.reading.split();
        if let Some(pieces) = longest_array(split) {
            for (at, range) in pieces.iter().enumerate().rev().take(TAIL) {
                let key = self.piece_key(at, &body.body[range.clone()]);
                self.by_tail.insert(key, number);
            }
        }
        let key = self.skeleton_key(split);
        self.by_skeleton.insert(key, number);
        self.bytes += body.bytes();
        self.order.push_back(number);
        self.bodies.insert(number, body);
        self.trim();
    }

    fn remove(&mut self, number: BodyNumber) {
        if let Some(body) = self.bodies.remove(&number) {
            self.bytes -= body.bytes();
        }
    }

    fn trim(&mut self) {
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(oldest);
        }
        let live = self.bodies.len();
        if self.order.len() > 2 * live + 64 {
            self.order.retain(|number| self.bodies.contains_key(number));
        }
        if self.by_tail.len() > 4 * TAIL * live + 1024 {
            self.by_tail.retain(|_, number| self.bodies.contains_key(number));
        }
        if self.by_skeleton.len() > 2 * live + 1024 {
            self.by_skeleton.retain(|_, number| self.bodies.contains_key(number));
        }
    }

    fn piece_key(&self, at: usize, piece: &[u8]) -> u64 {
        let first = &piece[..piece.len().min(EDGE)];
        let last = &piece[piece.len() - piece.len().min(EDGE)..];
        self.hasher.hash_one((at, piece.len(), first, last))
    }

    fn skeleton_key(&self, split: &Split) -> u64 {
        self.hasher.hash_one(split.skeleton.literal())
    }
}

/// The pieces of the array that grows: the one with most elements.
fn longest_array(split: &Split) -> Option<&[Range<usize>]> {
    let arrays = split.cuts.iter().filter(|cut| cut.of == CutOf::Array);
    arrays.max_by_key(|cut| cut.pieces.len()).map(|cut| cut.pieces.as_slice())
}

/// Whether a body that shares so much with `old` stands for it from now on.
fn is_extension(old: &RecentBody, shared: &Shared) -> bool {
    let kept: usize = shared.cuts.iter().map(|cut| cut.leading()).sum();
    kept > 0 && kept + TAIL > old.pieces()
}
