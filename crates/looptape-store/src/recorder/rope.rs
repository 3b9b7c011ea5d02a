//! A request body in pieces, most of which it shares with the body that came before it.
//!
//! Agents send their whole history with every step, so a body is mostly the one before it on the same
//! connection and a few KiB more. It is compared with that one while it arrives: what is the same is not
//! copied, and whoever knows the earlier body knows without comparing how much of it this one repeats.
//!
//! A body is never wrong, whatever it is compared with: all its bytes are in its pieces.

use bytes::Bytes;
use looptape_core::chain::common_prefix;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// More pieces than this are joined: each is a buffer of its own for whoever sends or reads the body.
const MOST_PIECES: usize = 12;

/// A body. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct Rope(Arc<Body>);

#[derive(Debug)]
struct Body {
    number: Number,
    pieces: Vec<Bytes>,
    length: usize,
    fresh: usize,
    repeats: Option<Repeats>,
}

/// Tells bodies apart for as long as the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(u64);

/// That a body begins as another one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// The other one.
    pub of: Number,
    /// So many bytes are the same, and not the one after them.
    pub prefix: usize,
}

impl Rope {
    pub fn number(&self) -> Number {
        self.0.number
    }

    pub fn len(&self) -> usize {
        self.0.length
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.0.pieces
    }

    /// Its bytes after the first `skipped`.
    pub fn pieces_from(&self, mut skipped: usize) -> impl Iterator<Item = &[u8]> {
        self.0.pieces.iter().map(move |piece| {
            let here = skipped.min(piece.len());
            skipped -= here;
            &piece[here..]
        })
    }

    /// Bytes for which it took memory of its own.
    pub fn fresh_bytes(&self) -> usize {
        self.0.fresh
    }

    /// The body with which it was compared, if it has anything in common with it.
    pub fn repeats(&self) -> Option<Repeats> {
        self.0.repeats
    }

    /// Its bytes in one piece: a copy, unless they are.
    pub fn to_bytes(&self) -> Bytes {
        joined(&self.0.pieces)
    }

    fn new(pieces: Vec<Bytes>, fresh: usize, repeats: Option<Repeats>) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = Number(LAST.fetch_add(1, Ordering::Relaxed));
        let length = pieces.iter().map(Bytes::len).sum();
        Self(Arc::new(Body { number, pieces, length, fresh, repeats }))
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let fresh = bytes.len();
        Self::new(vec![bytes], fresh, None)
    }
}

impl Default for Rope {
    fn default() -> Self {
        Bytes::new().into()
    }
}

/// A body that arrives.
#[derive(Debug)]
pub struct Arriving {
    before: Option<Rope>,
    /// As far as all that came is the beginning of the body before: where its next byte lies there.
    at: Option<Place>,
    /// So many bytes are the same.
    same: usize,
    /// What came after those.
    fresh: Vec<u8>,
    announced: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    piece: usize,
    offset: usize,
}

impl Arriving {
    /// `announced` is how long it is said to be, as far as that is believed.
    pub fn after(before: Option<Rope>, announced: usize) -> Self {
        let at = before.is_some().then(Place::default);
        let fresh = if at.is_none() { Vec::with_capacity(announced) } else { Vec::new() };
        Self { before, at, same: 0, fresh, announced }
    }

    pub fn len(&self) -> usize {
        self.same + self.fresh.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push(&mut self, data: &[u8]) {
        let rest = &data[self.follow(data)..];
        if !rest.is_empty() {
            self.at = None;
            if self.fresh.capacity() == 0 {
                self.fresh.reserve_exact(self.announced.saturating_sub(self.same).max(rest.len()));
            }
            self.fresh.extend_from_slice(rest);
        }
    }

    /// How much of `data` goes on as the body before does.
    fn follow(&mut self, data: &[u8]) -> usize {
        let (Some(before), Some(mut at)) = (&self.before, self.at) else { return 0 };
        let mut followed = 0;
        while let Some(piece) = before.pieces().get(at.piece) {
            let same = common_prefix(&piece[at.offset..], &data[followed..]);
            followed += same;
            at.offset += same;
            if at.offset < piece.len() {
                break;
            }
            at = Place { piece: at.piece + 1, offset: 0 };
        }
        self.at = Some(at);
        self.same += followed;
        followed
    }

    /// All of it has come.
    pub fn end(self) -> Rope {
        let Self { before: Some(before), same: 1.., .. } = &self else {
            return Bytes::from(self.fresh).into();
        };
        let repeats = Some(Repeats { of: before.number(), prefix: self.same });
        let (mut pieces, copied) = beginning(before.pieces(), self.same);
        let mut fresh = copied + self.fresh.len();
        if !self.fresh.is_empty() {
            pieces.push(self.fresh.into());
        }
        if pieces.len() > MOST_PIECES {
            fresh = join_last(&mut pieces);
        }
        Rope::new(pieces, fresh, repeats)
    }
}

/// The pieces of the first `length` bytes, and how many bytes of them were copied: a small part of a piece does not keep
/// the whole of it in memory.
fn beginning(pieces: &[Bytes], length: usize) -> (Vec<Bytes>, usize) {
    let mut left = length;
    let mut copied = 0;
    let mut out = Vec::with_capacity(pieces.len() + 1);
    for piece in pieces {
        if left == 0 {
            break;
        }
        let taken = left.min(piece.len());
        if taken < piece.len() / 2 {
            out.push(Bytes::copy_from_slice(&piece[..taken]));
            copied = taken;
        } else {
            out.push(piece.slice(..taken));
        }
        left -= taken;
    }
    (out, copied)
}

/// Joins the pieces after those that are each longer than all that follows: so a byte is copied the less often the
/// longer the body is. Says how many bytes that were.
fn join_last(pieces: &mut Vec<Bytes>) -> usize {
    let mut after: usize = pieces.iter().map(Bytes::len).sum();
    let longer = pieces.iter().take_while(|piece| {
        after -= piece.len();
        piece.len() > after
    });
    let first = longer.count().min(pieces.len() - 2);
    let last = joined(&pieces[first..]);
    pieces.truncate(first);
    let length = last.len();
    pieces.push(last);
    length
}

fn joined(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [] => Bytes::new(),
        [only] => only.clone(),
        _ => pieces.concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrived(before: Option<&Rope>, body: &[u8], frame: usize) -> Rope {
        let mut arriving = Arriving::after(before.cloned(), body.len());
        body.chunks(frame).for_each(|frame| arriving.push(frame));
        arriving.end()
    }

    #[test]
    fn what_is_the_same_takes_no_memory() {
        let first = arrived(None, b"[1,2]", 2);
        assert_eq!((first.repeats(), first.fresh_bytes()), (None, 5));
        let second = arrived(Some(&first), b"[1,2,3]", 3);
        assert_eq!(second.repeats(), Some(Repeats { of: first.number(), prefix: 4 }));
        assert_eq!((&second.to_bytes()[..], second.fresh_bytes()), (&b"[1,2,3]"[..], 3));
        let part = arrived(Some(&first), b"[0", 9);
        assert_eq!((&part.to_bytes()[..], part.fresh_bytes()), (&b"[0"[..], 2), "a byte does not keep five");
        let other = arrived(Some(&second), b"{}", 9);
        assert_eq!((other.repeats(), &other.to_bytes()[..]), (None, &b"{}"[..]));
        let again = arrived(Some(&second), b"[1,2,3]", 1);
        assert_eq!((again.fresh_bytes(), again.len(), again.pieces().len()), (0, 7, 2));
        let shorter = arrived(Some(&second), b"[1,", 9);
        assert_eq!((shorter.fresh_bytes(), &shorter.to_bytes()[..]), (0, &b"[1,"[..]));
        let none = arrived(Some(&second), b"", 1);
        assert!(none.is_empty() && none.to_bytes().is_empty());
    }

    #[test]
    fn a_long_conversation_is_few_pieces_and_little_copying() {
        let (mut body, mut before, mut copied) = (vec![b'x'; 50_000], None, 0);
        for _ in 0..500 {
            body.extend_from_slice(&[b'y'; 2000]);
            let rope = arrived(before.as_ref(), &body, 8192);
            assert_eq!(rope.to_bytes(), body);
            assert!(rope.pieces().len() <= MOST_PIECES);
            copied += rope.fresh_bytes();
            before = Some(rope);
        }
        assert!(copied < 8 * body.len(), "{copied} bytes were copied for {}", body.len());
    }

    proptest! {
        #[test]
        fn all_bytes_are_there_and_the_prefix_is_the_longest(
            bodies in prop::collection::vec("[ab]{0,40}", 1..30),
            kept in prop::collection::vec(0usize..60, 30),
            frame in 1usize..9,
        ) {
            let mut body = Vec::new();
            let mut before: Option<Rope> = None;
            for (new, kept) in bodies.iter().zip(kept) {
                let old = body.clone();
                body.truncate(kept);
                body.extend_from_slice(new.as_bytes());
                let rope = arrived(before.as_ref(), &body, frame);
                prop_assert_eq!(&rope.to_bytes()[..], &body[..]);
                prop_assert_eq!(rope.len(), body.len());
                let prefix = common_prefix(&old, &body);
                prop_assert_eq!(rope.repeats().map_or(0, |repeats| repeats.prefix), prefix);
                before = Some(rope);
            }
        }
    }
}
