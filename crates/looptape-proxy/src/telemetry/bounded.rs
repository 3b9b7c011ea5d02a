//! Label values that come from requests, bounded in number and length.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What everything beyond the bound is called.
const OTHER: &str = "other";
/// Characters of a value at most.
const LONGEST: usize = 96;

/// The first values that were seen; all later ones are one.
#[derive(Debug)]
pub(super) struct Bounded {
    most: usize,
    /// Held for a look-up.
    known: Mutex<BTreeSet<String>>,
}

impl Bounded {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// The value, or `other`; empty for none.
    pub(super) fn value(&self, value: Option<&str>) -> String {
        let Some(value) = value else { return String::new() };
        let value: String = value.chars().take(LONGEST).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&value) {
            value
        } else if known.len() < self.most {
            known.insert(value.clone());
            value
        } else {
            OTHER.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_keep_their_names() {
        let models = Bounded::new(2);
        let got = ["a", "b", "c", "a", "d"].map(|name| models.value(Some(name)));
        assert_eq!(got, ["a", "b", "other", "a", "other"]);
        assert_eq!(models.value(None), "");
        assert_eq!(Bounded::new(1).value(Some(&"é".repeat(500))).chars().count(), LONGEST);
    }
}
