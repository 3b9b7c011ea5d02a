//! Bodies that were stored lately, so that a request which extends one of them costs what is new in it.
//!
//! A body that was compared with an earlier one while it arrived says with which: if it goes on with that one's
//! conversation, it takes over its bytes too. Otherwise an earlier body is found by a few bytes near its end: the
//! next request of its conversation has them at the same place, whoever sends it. If there is none, the last body
//! with the same skeleton will do: tools and system prompt are often shared. What is found so is compared byte for
//! byte, so that a wrong guess costs time only.
//!
//! Memory only, and bounded: what is forgotten is read anew.

mod known_body;

use super::rope::{Number, Repeats, Rope};
use crate::content::EarlierBytes;
use bytes::{Bytes, BytesMut};
use foldhash::HashMap;
use foldhash::fast::RandomState;
use known_body::ROOM;
pub(super) use known_body::{EarlierBody, HashedTwice, KnownBody, RecentBody};
use looptape_core::chain::{self, Cut, CutOf, Shared, Split};
use looptape_core::redact::Credentials;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

/// Beyond this many bytes, bodies and what is known of them, the oldest are forgotten.
const MOST_BYTES: usize = 32 << 20;
/// A shorter body is read anew sooner than it is remembered and found again.
const WORTH_REMEMBERING: usize = 4 << 10;
/// Bodies are looked up by a window of this many bytes …
const WINDOW: usize = 64;
/// … before each multiple of this many bytes …
const STRIDE: usize = 512;
/// … for so much before a body's end: a cache marker that moves changes the last few KiB …
const TAIL: usize = 8 << 10;
/// … and so much before a new body's end: what one step adds, or what follows the messages.
const MOST_NEW: usize = 128 << 10;
/// A body stands for an earlier one of which it changes fewer pieces than this.
const MOST_CHANGED: usize = 6;

/// Bodies by number, oldest first.
#[derive(Default)]
pub(super) struct RecentBodies {
    bodies: HashMap<BodyNumber, Arc<RecentBody>>,
    order: VecDeque<BodyNumber>,
    /// By what it came as, if it is stored as it came.
    by_arrival: HashMap<Number, BodyNumber>,
    by_window: HashMap<u64, BodyNumber>,
    by_skeleton: HashMap<u64, BodyNumber>,
    bytes: usize,
    last: BodyNumber,
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct BodyNumber(u64);

/// An earlier body, and what a new one has in common with it.
pub(super) struct Near {
    number: BodyNumber,
    pub(super) earlier: EarlierBody,
    /// So many bytes are the same from the beginning.
    pub(super) prefix: usize,
    pub(super) shared: Shared,
}

impl Near {
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
        self.by_arrival.clear();
        self.by_window.clear();
        self.by_skeleton.clear();
        self.bytes = 0;
    }

    /// Puts a body together and cuts it, and finds one that it extends, or else one that looks alike.
    pub(super) fn take_in(&mut self, came: &Rope) -> (Bytes, Split, Option<Near>) {
        if let Some(number) = came.repeats().and_then(|repeats| self.gone_on_from(repeats))
            && let Some(Ok(earlier)) = self.remove(number).map(Arc::try_unwrap)
        {
            return go_on(number, earlier, came);
        }
        let body = came.to_bytes();
        let (split, near) = self.near(&body);
        (body, split, near)
    }

    /// Cuts a body, and finds one that it extends, or else one that looks alike.
    pub(super) fn near(&mut self, body: &[u8]) -> (Split, Option<Near>) {
        if let Some(number) = self.by_window(body)
            && let Some(earlier) = self.bodies.get(&number)
        {
            let prefix = chain::common_prefix(&earlier.body, body);
            let split = chain::split_after(body, prefix, &earlier.known.split);
            let near = self.relate(number, body, &split, prefix);
            return (split, near);
        }
        let split = chain::split(body);
        let alike = self.by_skeleton.get(&self.skeleton_key(&split)).copied();
        let near = alike.and_then(|number| self.compare(number, body, &split));
        (split, near)
    }

    /// What a body has in common with one that was found near another form of it.
    pub(super) fn again(&mut self, near: Near, body: &[u8], split: &Split) -> Option<Near> {
        match near.earlier {
            EarlierBody::Kept(_) => self.compare(near.number, body, split),
            EarlierBody::Superseded(known, bytes) => {
                let whole = bytes.to_bytes();
                let prefix = chain::common_prefix(&whole, body);
                let shared = Shared::between((whole[..].into(), &known.split), (body, split), prefix);
                let earlier = EarlierBody::Superseded(known, whole.into());
                Some(Near { number: near.number, earlier, prefix, shared })
            }
        }
    }

    fn compare(&mut self, number: BodyNumber, body: &[u8], split: &Split) -> Option<Near> {
        let prefix = chain::common_prefix(&self.bodies.get(&number)?.body, body);
        self.relate(number, body, split, prefix)
    }

    /// What `body` shares with body `number`, of which it has the first `prefix` bytes. One that it extends is
    /// not needed any more.
    fn relate(&mut self, number: BodyNumber, body: &[u8], split: &Split, prefix: usize) -> Option<Near> {
        let earlier = self.bodies.get(&number)?.clone();
        let shared = Shared::between((earlier.body[..].into(), &earlier.known.split), (body, split), prefix);
        let earlier = match is_extension(&earlier.known, &shared) {
            true => {
                self.remove(number);
                match Arc::try_unwrap(earlier) {
                    Ok(RecentBody { body, known, .. }) => {
                        EarlierBody::Superseded(Box::new(known), body.into())
                    }
                    Err(earlier) => EarlierBody::Kept(earlier),
                }
            }
            false => EarlierBody::Kept(earlier),
        };
        Some(Near { number, earlier, prefix, shared })
    }

    /// The body that another was compared with while it arrived, if the other goes on with the conversation.
    fn gone_on_from(&self, Repeats { of, prefix }: Repeats) -> Option<BodyNumber> {
        let number = *self.by_arrival.get(&of)?;
        let cuts = &self.bodies.get(&number)?.known.split.cuts;
        let begun = |cut: &&Cut| cut.of == CutOf::Array && cut.pieces.first().is_some_and(|p| p.end < prefix);
        let cut = cuts.iter().rev().find(begun)?;
        let kept = cut.pieces.partition_point(|piece| piece.end < prefix);
        (kept + MOST_CHANGED > cut.pieces.len()).then_some(number)
    }

    fn by_window(&self, body: &[u8]) -> Option<BodyNumber> {
        windows(body, MOST_NEW)
            .filter_map(|(at, window)| self.by_window.get(&self.hasher.hash_one((at, window))))
            .find(|number| self.bodies.contains_key(number))
            .copied()
    }

    pub(super) fn is_worth_it(body: &[u8]) -> bool {
        body.len() >= WORTH_REMEMBERING
    }

    /// Remembers a body.
    pub(super) fn remember(&mut self, body: RecentBody) {
        self.last.0 += 1;
        let number = self.last;
        self.by_arrival.extend(body.came_as.map(|came_as| (came_as, number)));
        let keys: Vec<u64> = windows(&body.body, TAIL).map(|w| self.hasher.hash_one(w)).collect();
        self.by_window.extend(keys.into_iter().map(|key| (key, number)));
        let key = self.skeleton_key(&body.known.split);
        self.by_skeleton.insert(key, number);
        self.bytes += body.bytes();
        self.order.push_back(number);
        self.bodies.insert(number, Arc::new(body));
        self.trim();
    }

    fn remove(&mut self, number: BodyNumber) -> Option<Arc<RecentBody>> {
        let body = self.bodies.remove(&number)?;
        self.bytes -= body.bytes();
        if let Some(came_as) = body.came_as {
            self.by_arrival.remove(&came_as);
        }
        Some(body)
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
        if self.by_window.len() > 4 * (TAIL / STRIDE) * live + 1024 {
            self.by_window.retain(|_, number| self.bodies.contains_key(number));
        }
        if self.by_skeleton.len() > 2 * live + 1024 {
            self.by_skeleton.retain(|_, number| self.bodies.contains_key(number));
        }
    }

    fn skeleton_key(&self, split: &Split) -> u64 {
        self.hasher.hash_one(split.skeleton.literal())
    }
}

/// The windows of the last `reach` bytes of a body, last first, with the places at which they end.
fn windows(body: &[u8], reach: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let first = (body.len().saturating_sub(reach) / STRIDE).max(1);
    (first..=body.len() / STRIDE).rev().map(|n| (n * STRIDE, &body[n * STRIDE - WINDOW..n * STRIDE]))
}

/// A body that goes on with the conversation of an earlier one, whose bytes it takes over.
fn go_on(number: BodyNumber, earlier: RecentBody, came: &Rope) -> (Bytes, Split, Option<Near>) {
    let RecentBody { body: before, known, .. } = earlier;
    let prefix = came.repeats().map_or(0, |repeats| repeats.prefix);
    let rest = Bytes::copy_from_slice(&before[prefix..]);
    let mut bytes = match before.try_into_mut() {
        Ok(bytes) if bytes.capacity() >= came.len() => bytes,
        Ok(bytes) => with_room(&bytes[..prefix], came.len()),
        Err(bytes) => with_room(&bytes[..prefix], came.len()),
    };
    bytes.truncate(prefix);
    came.pieces_from(prefix).for_each(|piece| bytes.extend_from_slice(piece));
    let body = bytes.freeze();
    let split = chain::split_after(&body, prefix, &known.split);
    let bytes = EarlierBytes::parted(&body, prefix, rest);
    let shared = Shared::between((bytes.get(), &known.split), (&body, &split), prefix);
    let earlier = EarlierBody::Superseded(Box::new(known), bytes);
    (body, split, Some(Near { number, earlier, prefix, shared }))
}

/// A copy with room for `length` bytes and for what comes after those.
fn with_room(start: &[u8], length: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(length + length / ROOM);
    bytes.extend_from_slice(start);
    bytes
}

/// Whether a body that shares so much with `old` stands for it from now on.
fn is_extension(old: &KnownBody, shared: &Shared) -> bool {
    let kept: usize = shared.cuts.iter().map(|cut| cut.leading()).sum();
    kept > 0 && kept + MOST_CHANGED > old.pieces()
}
