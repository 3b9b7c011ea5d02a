//! A body that is remembered, and what is known of it.

use crate::content::{EarlierBytes, StoredBody};
use crate::recorder::rope::Number;
use bytes::Bytes;
use looptape_core::chain::{CutOf, Split};
use looptape_core::derive::reading::Reading;
use looptape_core::digest::{Digest, HashedPrefix};
use looptape_core::redact::{Credentials, placeholders};
use std::sync::Arc;

/// A shorter body is hashed whole sooner than from where it parts from the earlier one.
const WORTH_GOING_ON: usize = 24 << 10;
/// A body that goes on with another has memory for itself and for its `1 / ROOM` more.
pub(super) const ROOM: usize = 4;
/// What is kept for each piece beside its bytes, roughly; of what was hashed; and for each body.
const BYTES_A_PIECE: usize = 256;
const BYTES_HASHED: usize = 4096;
const BYTES_A_BODY: usize = 1024;

/// A body as it was stored.
pub(in crate::recorder) struct RecentBody {
    pub(super) body: Bytes,
    /// As what it came, if nothing was replaced in it.
    pub(super) came_as: Option<Number>,
    pub(super) known: KnownBody,
}

/// What is known of it.
pub(in crate::recorder) struct KnownBody {
    pub(in crate::recorder) split: Split,
    pub(in crate::recorder) reading: Reading,
    pub(in crate::recorder) hashed: Option<HashedTwice>,
    pub(in crate::recorder) stored: StoredBody,
    /// Its parts were searched for these values.
    pub(in crate::recorder) searched_for: Credentials,
    /// Pieces in which placeholders stand: the same text from a client would have to be looked at.
    pub(in crate::recorder) with_placeholders: Vec<(usize, usize)>,
}

/// An earlier body.
pub(in crate::recorder) enum EarlierBody {
    /// The new one stands for it from now on, and takes over what is known of it.
    Superseded(Box<KnownBody>, EarlierBytes),
    /// Others may go on from it.
    Kept(Arc<RecentBody>),
}

impl EarlierBody {
    /// What was read; of a superseded body it can be taken once.
    pub(in crate::recorder) fn take_reading(&mut self) -> Reading {
        match self {
            Self::Superseded(known, _) => known.reading.take(),
            Self::Kept(body) => body.known.reading.clone(),
        }
    }

    /// What was stored, and what was hashed, as far as that is of use to a body that has the same first `prefix`
    /// bytes.
    pub(in crate::recorder) fn into_parts(
        self,
        prefix: usize,
    ) -> (EarlierBytes, Split, StoredBody, Option<HashedTwice>) {
        match self {
            Self::Superseded(known, bytes) => (bytes, known.split, known.stored, known.hashed),
            Self::Kept(body) => {
                let KnownBody { split, hashed, stored, .. } = &body.known;
                let hashed = hashed.as_ref().filter(|hashed| hashed.is_of_use(prefix)).cloned();
                (body.body.clone().into(), split.clone(), stored.clone(), hashed)
            }
        }
    }
}

impl std::ops::Deref for EarlierBody {
    type Target = KnownBody;

    fn deref(&self) -> &KnownBody {
        match self {
            Self::Superseded(known, _) => known,
            Self::Kept(body) => &body.known,
        }
    }
}

impl RecentBody {
    /// `came_as`: as what it came, if nothing was replaced in it.
    pub(in crate::recorder) fn new(
        (body, split): (Bytes, Split),
        reading: Reading,
        hashed: Option<HashedTwice>,
        stored: StoredBody,
        searched_for: Credentials,
        came_as: Option<Number>,
    ) -> Self {
        let with_placeholders = match came_as {
            None => pieces_with_placeholders(&body, &split),
            Some(_) => Vec::new(),
        };
        let known = KnownBody { split, reading, hashed, stored, searched_for, with_placeholders };
        Self { body, came_as, known }
    }

    pub(super) fn bytes(&self) -> usize {
        let hashed = if self.known.hashed.is_some() { BYTES_HASHED } else { 0 };
        self.body.len() + self.body.len() / ROOM + self.known.pieces() * BYTES_A_PIECE + hashed + BYTES_A_BODY
    }
}

impl KnownBody {
    pub(super) fn pieces(&self) -> usize {
        self.split.cuts.iter().map(|cut| cut.pieces.len()).sum()
    }
}

/// The beginning of a body, hashed up to two places at which the next body of its conversation may part from
/// it.
#[derive(Clone)]
pub(in crate::recorder) struct HashedTwice {
    /// Before the last two messages: a cache marker that moves changes those.
    early: HashedPrefix,
    /// To the end of the last message: mostly nothing changes before it.
    late: HashedPrefix,
}

impl HashedTwice {
    /// Hashes `body`, going on from what `earlier` has hashed of the bytes that the two share. `None`: it is short.
    pub(in crate::recorder) fn of(
        body: &[u8],
        split: &Split,
        earlier: Option<(Self, usize)>,
    ) -> Option<Self> {
        if body.len() < WORTH_GOING_ON {
            return None;
        }
        let (mut early, mut late) = match earlier {
            Some((Self { early, late }, prefix)) if late.length() <= prefix => (late, early),
            Some((Self { early, late }, prefix)) if early.length() <= prefix => (early, late),
            _ => (HashedPrefix::empty(), HashedPrefix::empty()),
        };
        let arrays = split.cuts.iter().filter(|cut| cut.of == CutOf::Array);
        let longest = arrays.max_by_key(|cut| cut.pieces.len()).map_or(&[][..], |cut| &cut.pieces);
        early.extend(body, longest.iter().rev().nth(1).map_or(0, |piece| piece.start));
        late.copy_from(&early);
        late.extend(body, longest.last().map_or(0, |piece| piece.end));
        Some(Self { early, late })
    }

    fn is_of_use(&self, prefix: usize) -> bool {
        self.early.length().min(self.late.length()) <= prefix
    }

    /// The digest of the whole body, which was given before.
    pub(in crate::recorder) fn digest_of(&self, body: &[u8]) -> Digest {
        self.late.digest_of(body)
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
