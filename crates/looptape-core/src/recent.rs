//! A map that forgets: what was used lately is kept, within a bounded number of entries.
//!
//! Entries are in two halves, a young one and an old one; what is written goes into the young. When that is full it
//! becomes the old half, and the former old half is forgotten. So the latest `most` entries are always there, and
//! never more than twice as many.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values by keys that are hashes already.
#[derive(Clone, Debug)]
pub(crate) struct Recent<V> {
    young: Half<V>,
    old: Half<V>,
    most: usize,
}

type Half<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // Callers may count their keys from 0: the table wants the upper bits spread too.
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

impl<V: Copy> Recent<V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { young: Half::default(), old: Half::default(), most }
    }

    pub(crate) fn get(&self, key: u64) -> Option<V> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    pub(crate) fn insert(&mut self, key: u64, value: V) {
        if self.young.len() >= self.most {
            self.turn_over();
        }
        self.young.insert(key, value);
    }

    /// Forgets what was not written since the last time.
    pub(crate) fn turn_over(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_no_more_than_twice_as_many() {
        let mut recent = Recent::new(10);
        for key in 0..1000 {
            recent.insert(key, key);
            let kept = (0..=key).filter(|key| recent.get(*key).is_some()).count() as u64;
            assert!((key + 1).min(10) <= kept && kept <= 20, "{kept} after {key}");
            assert!((key.saturating_sub(9)..=key).all(|key| recent.get(key) == Some(key)));
        }
        recent.turn_over();
        recent.turn_over();
        assert_eq!(recent.get(999), None);
    }
}
