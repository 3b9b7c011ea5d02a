//! Fingerprints: which contents are the same, where a wrong guess costs little.
//!
//! XXH3 of 128 bits: stable for ever, and a tenth of the price of a digest. Whoever wants two to agree can make
//! them agree, so a fingerprint names no content and proves nothing ([`Digest`](crate::Digest) does); it links
//! the calls of one recording, whose writer could say anything about them anyway.

use xxhash_rust::xxh3::xxh3_128;

/// A fingerprint of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }

    /// Of several parts: moving a boundary changes it.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        parts.iter().fold(Self(0), |whole, part| whole.chain(Self::of(part)))
    }

    /// A list that grows by `item`. Equal heads mean equal lists.
    pub fn chain(self, item: Self) -> Self {
        let mut both = [0u8; 32];
        both[..16].copy_from_slice(&self.0.to_le_bytes());
        both[16..].copy_from_slice(&item.0.to_le_bytes());
        Self::of(&both)
    }

    /// Half of it as an integer: enough to find things within one trace, cheap to index.
    pub fn short(self) -> i64 {
        // Wrapping around is what is meant.
        self.0 as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_delimited() {
        assert_ne!(Fingerprint::of_parts(&[b"ab", b"c"]), Fingerprint::of_parts(&[b"a", b"bc"]));
        assert_ne!(Fingerprint::of_parts(&[b""]), Fingerprint::of_parts(&[]));
        let (a, b) = (Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        assert_ne!(a.chain(b), b.chain(a));
    }

    /// They are stored: another value would be another derivation.
    #[test]
    fn values_stay() {
        assert_eq!(Fingerprint::of(b"").0, 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }
}
