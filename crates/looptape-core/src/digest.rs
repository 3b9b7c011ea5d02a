//! BLAKE3 digests: the names of content.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A BLAKE3 digest of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of several parts, each prefixed with its length, so that moving a boundary changes it.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// A chain node: H(parent ‖ item). Equal heads mean equal chains.
    pub fn chain(self, item: Digest) -> Self {
        let mut both = [0u8; 64];
        both[..32].copy_from_slice(&self.0);
        both[32..].copy_from_slice(&item.0);
        Self(*blake3::hash(&both).as_bytes())
    }

    /// The first eight bytes as an integer: enough to find things within one trace, cheap to index.
    pub fn short(self) -> i64 {
        let mut head = [0u8; 8];
        head.copy_from_slice(&self.0[..8]);
        i64::from_le_bytes(head)
    }

    /// 64 lower-case hex digits.
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|h| Self(*h.as_bytes()))
    }
}

/// The beginning of a body, hashed: a longer body that begins the same is hashed from there.
#[derive(Clone)]
pub struct HashedPrefix {
    hasher: Box<blake3::Hasher>,
    length: usize,
}

impl HashedPrefix {
    /// Of nothing.
    pub fn empty() -> Self {
        Self { hasher: Box::new(blake3::Hasher::new()), length: 0 }
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// Goes on to the first `length` bytes of `body`, which begins with the bytes hashed so far.
    pub fn extend(&mut self, body: &[u8], length: usize) {
        if length > self.length {
            self.hasher.update(&body[self.length..length]);
            self.length = length;
        }
    }

    /// Becomes the same as `other`.
    pub fn copy_from(&mut self, other: &Self) {
        (*self.hasher).clone_from(&other.hasher);
        self.length = other.length;
    }

    /// The digest of `body`, which begins with the bytes hashed so far.
    pub fn digest_of(&self, body: &[u8]) -> Digest {
        Digest(*self.hasher.clone().update(&body[self.length..]).finalize().as_bytes())
    }
}

impl fmt::Debug for HashedPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashedPrefix({} bytes)", self.length)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.to_hex()[..12])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a BLAKE3 digest in hex"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_delimited() {
        assert_ne!(Digest::of_parts(&[b"ab", b"c"]), Digest::of_parts(&[b"a", b"bc"]));
    }

    #[test]
    fn a_hashed_prefix_saves_nothing_but_time() {
        let body: Vec<u8> = (0..10_000u32).map(|n| (n * 7) as u8).collect();
        let mut prefix = HashedPrefix::empty();
        for length in [0, 1, 1024, 1025, 5000, 4000, 10_000] {
            prefix.extend(&body, length);
            assert_eq!(prefix.digest_of(&body), Digest::of(&body));
        }
        assert_eq!(prefix.length(), 10_000);
        let mut copy = HashedPrefix::empty();
        copy.copy_from(&prefix);
        assert_eq!((copy.length(), copy.digest_of(&body)), (10_000, Digest::of(&body)));
    }

    #[test]
    fn hex_round_trip() {
        let d = Digest::of(b"looptape");
        assert_eq!(Digest::from_hex(&d.to_hex()), Some(d));
        assert_eq!(Digest::from_hex("zz"), None);
    }
}
