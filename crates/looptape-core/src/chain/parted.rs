//! Bytes in two parts, as if they were one.

use std::borrow::Cow;
use std::ops::Range;

/// Mostly the beginning that an earlier body shares with a later one, and the rest of the earlier one.
#[derive(Clone, Copy, Debug)]
pub struct Parted<'a> {
    start: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Parted<'a> {
    pub fn new(start: &'a [u8], rest: &'a [u8]) -> Self {
        Self { start, rest }
    }

    /// The bytes at `range`, which is within both together: a copy only where they lie across.
    pub fn get(&self, range: Range<usize>) -> Cow<'a, [u8]> {
        let parts = self.start.len();
        if range.end <= parts {
            Cow::Borrowed(&self.start[range])
        } else if range.start >= parts {
            Cow::Borrowed(&self.rest[range.start - parts..range.end - parts])
        } else {
            Cow::Owned([&self.start[range.start..], &self.rest[..range.end - parts]].concat())
        }
    }
}

impl<'a> From<&'a [u8]> for Parted<'a> {
    fn from(whole: &'a [u8]) -> Self {
        Self::new(whole, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_wherever_it_is_parted() {
        let whole = b"abcdef";
        for parted in 0..=whole.len() {
            let (start, rest) = whole.split_at(parted);
            for from in 0..whole.len() {
                for to in from..=whole.len() {
                    assert_eq!(*Parted::new(start, rest).get(from..to), whole[from..to]);
                }
            }
        }
    }
}
