//! A piece written down as a small change of another piece.

use crate::varint;

/// `base[..prefix] ++ middle ++ base[base.len() - suffix..]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice<'a> {
    pub prefix: usize,
    pub suffix: usize,
    pub middle: &'a [u8],
}

impl<'a> Splice<'a> {
    /// `new` as a change of `base`, if that is worth it: at most a quarter of it is new.
    pub fn between(base: &[u8], new: &'a [u8]) -> Option<Self> {
        let prefix = common_prefix(base, new);
        let room = base.len().min(new.len()) - prefix;
        let suffix = base.iter().rev().zip(new.iter().rev()).take(room).take_while(|(a, b)| a == b).count();
        let middle = &new[prefix..new.len() - suffix];
        (new.len() >= 64 && middle.len() <= new.len() / 4).then_some(Self { prefix, suffix, middle })
    }

    /// The piece that this splice of `base` stands for; `None` if it does not fit `base`.
    pub fn apply(&self, base: &[u8]) -> Option<Vec<u8>> {
        let head = base.get(..self.prefix)?;
        let tail = base.get(base.len().checked_sub(self.suffix)?..)?;
        Some([head, self.middle, tail].concat())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.middle.len() + 8);
        varint::write(&mut out, self.prefix as u64);
        varint::write(&mut out, self.suffix as u64);
        out.extend_from_slice(self.middle);
        out
    }

    pub fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let prefix = usize::try_from(varint::read(&mut bytes)?).ok()?;
        let suffix = usize::try_from(varint::read(&mut bytes)?).ok()?;
        Some(Self { prefix, suffix, middle: bytes })
    }
}

/// How many leading bytes two slices share.
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    // Long strides are compared as fast as memory is read; short ones then find the place.
    [4096, 64, 1].into_iter().fold(0, |same, stride| {
        let strides = a[same..].chunks_exact(stride).zip(b[same..].chunks_exact(stride));
        same + strides.take_while(|(x, y)| x == y).count() * stride
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lost_marker_is_a_small_splice() {
        let text = "x".repeat(2000);
        let with = format!(
            r#"{{"role":"user","content":[{{"type":"text","text":"{text}","cache_control":{{"type":"ephemeral"}}}}]}}"#
        );
        let without = format!(r#"{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}}"#);
        for (base, new) in [(&with, &without), (&without, &with)] {
            let s = Splice::between(base.as_bytes(), new.as_bytes()).unwrap();
            assert!(s.encode().len() < 50);
            assert_eq!(s.apply(base.as_bytes()).unwrap(), new.as_bytes());
        }
        assert_eq!(Splice::between(b"abc", &[b'z'; 100]), None);
    }

    proptest! {
        #[test]
        fn applies_back(base in prop::collection::vec(0u8..3, 0..300), new in prop::collection::vec(0u8..3, 0..300), keep in 0usize..300) {
            let new = [&base[..keep.min(base.len())], &new[..], &base[keep.min(base.len())..]].concat();
            if let Some(s) = Splice::between(&base, &new) {
                let stored = s.encode();
                prop_assert_eq!(Splice::decode(&stored).unwrap().apply(&base).unwrap(), new);
            }
        }
    }
}
