//! An earlier body, as far as a new one can lean on it.

use super::{Like, StoredBody, StoredRun};
use bytes::Bytes;
use looptape_core::chain::{Parted, Shared, SharedCut, Split};
use std::ops::Range;

/// An earlier body, and what a new one shares with it.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) body: EarlierBytes,
    pub(crate) split: Split,
    pub(crate) stored: StoredBody,
    pub(crate) shared: Shared,
}

/// Its bytes, of which the new one may have taken over the first ones.
#[derive(Clone, Debug)]
pub(crate) struct EarlierBytes {
    start: Bytes,
    rest: Bytes,
}

impl EarlierBytes {
    /// `rest` follows the first `prefix` bytes of the body that has taken those over.
    pub(crate) fn parted(new: &Bytes, prefix: usize, rest: Bytes) -> Self {
        Self { start: new.slice(..prefix), rest }
    }

    pub(crate) fn get(&self) -> Parted<'_> {
        Parted::new(&self.start, &self.rest)
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        if self.rest.is_empty() { self.start.clone() } else { [&self.start[..], &self.rest].concat().into() }
    }
}

impl From<Bytes> for EarlierBytes {
    fn from(whole: Bytes) -> Self {
        Self { start: whole, rest: Bytes::new() }
    }
}

/// One cut of an earlier body.
pub(super) struct EarlierCut<'a> {
    body: Parted<'a>,
    pieces: &'a [Range<usize>],
    runs: Vec<StoredRun>,
    /// How many pieces the new body has too, from the first on.
    leading: usize,
}

/// The runs of an earlier body that the new one does not have as they are.
pub(super) struct OtherRuns<'a> {
    body: Parted<'a>,
    pieces: &'a [Range<usize>],
    runs: Vec<StoredRun>,
    /// The piece with which the first begins.
    first: usize,
}

impl<'a> EarlierCut<'a> {
    /// The one that shares pieces with cut number `at` of the new body. Its runs are taken.
    pub(super) fn of(earlier: &'a mut Earlier, at: usize) -> Option<Self> {
        let shared: &SharedCut = &earlier.shared.cuts[at];
        let of = shared.of?;
        let pieces = &earlier.split.cuts.get(of)?.pieces;
        let runs = std::mem::take(earlier.stored.runs.get_mut(of)?);
        Some(Self { body: earlier.body.get(), pieces, runs, leading: shared.leading() })
    }

    /// The runs that the new body has as they are, and the others.
    pub(super) fn part(mut self) -> (Vec<StoredRun>, Option<OtherRuns<'a>>) {
        let count = self.runs.partition_point(|run| run.end <= self.leading);
        let others = self.runs.split_off(count);
        let first = self.runs.last().map_or(0, |run| run.end);
        let others = OtherRuns { body: self.body, pieces: self.pieces, runs: others, first };
        (self.runs, Some(others))
    }
}

impl<'a> OtherRuns<'a> {
    /// A run, from which that at the same place may differ little.
    pub(super) fn run(&self, at: usize) -> Option<Like<'a>> {
        let run = self.runs.get(at)?;
        let first = at.checked_sub(1).map_or(self.first, |before| self.runs[before].end);
        let content = self.pieces.get(first)?.start..self.pieces.get(run.end - 1)?.end;
        Some(Like { blob: run.blob, content: self.body.get(content) })
    }
}
