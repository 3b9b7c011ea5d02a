//! A bounded memory: values by key, oldest first. The oldest of all are forgotten, and of one key's values
//! the oldest.
//!
//! Most keys have one value, which lies in the map itself.

use foldhash::HashMap;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Beyond this many values the oldest are forgotten.
pub(super) const REMEMBERED: usize = 65_536;
/// Beyond this many values of one key its oldest are forgotten.
const ALIKE: usize = 512;

/// The values of one key.
pub(super) type Alike<V> = SmallVec<[V; 1]>;

pub(super) struct Remembered<K, V> {
    values: HashMap<K, Alike<V>>,
    order: VecDeque<K>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self { values: HashMap::default(), order: VecDeque::new() }
    }
}

impl<K: Copy + Eq + std::hash::Hash, V> Remembered<K, V> {
    pub(super) fn of(&mut self, key: &K) -> Option<&mut Alike<V>> {
        self.values.get_mut(key)
    }

    /// Adds a value; the key of which a value was forgotten instead.
    pub(super) fn add(&mut self, key: K, value: V) -> Option<K> {
        let alike = self.values.entry(key).or_default();
        if alike.len() == ALIKE {
            alike.remove(0);
        }
        alike.push(value);
        self.order.push_back(key);
        if self.order.len() <= REMEMBERED {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.forget_oldest(&oldest);
        Some(oldest)
    }

    /// Forgets all values of a key.
    pub(super) fn forget(&mut self, key: &K) {
        self.values.remove(key);
    }

    fn forget_oldest(&mut self, key: &K) {
        let Some(alike) = self.values.get_mut(key) else { return };
        if alike.len() > 1 {
            alike.remove(0);
        } else {
            self.values.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_is_remembered() {
        let mut all = Remembered::default();
        for n in 0..=REMEMBERED {
            all.add(n, ());
        }
        assert!(all.of(&0).is_none() && all.of(&1).is_some());
        for _ in 0..=ALIKE {
            all.add(1, ());
        }
        assert_eq!(all.of(&1).unwrap().len(), ALIKE);
    }

    #[test]
    fn the_oldest_of_a_key_go_first() {
        let mut all = Remembered::default();
        for n in 0..3 {
            assert_eq!(all.add("key", n), None);
        }
        assert_eq!(all.of(&"key").unwrap()[..], [0, 1, 2]);
        all.forget_oldest(&"key");
        assert_eq!(all.of(&"key").unwrap()[..], [1, 2]);
        // A key whose values somebody took out has none to forget.
        all.of(&"key").unwrap().clear();
        all.forget_oldest(&"key");
        all.forget_oldest(&"key");
        assert!(all.of(&"key").is_none());
    }

    #[test]
    fn the_only_value_of_a_key_needs_no_memory_of_its_own() {
        let mut all = Remembered::default();
        all.add(1, 7_u64);
        assert!(!all.of(&1).unwrap().spilled());
    }
}
