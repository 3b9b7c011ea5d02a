//! Label values that come from requests, bounded in number and length.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A value. A clone is the same text.
pub(super) type Label = Arc<str>;

/// What everything beyond the bound is called.
const OTHER: &str = "other";
/// Characters of a value at most.
const LONGEST: usize = 96;

/// The first values that were seen; all later ones are one.
#[derive(Debug)]
pub(super) struct Bounded {
    most: usize,
    /// Held for a look-up.
    known: Mutex<BTreeSet<Label>>,
}

impl Bounded {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// The value, or `other`; empty for none.
    pub(super) fn value(&self, value: Option<&str>) -> Label {
        let value = value.unwrap_or_default();
        let end = value.char_indices().nth(LONGEST).map_or(value.len(), |(at, _)| at);
        let value = &value[..end];
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(value) {
            return known.clone();
        }
        // Nothing is always itself.
        if !value.is_empty() && known.len() - usize::from(known.contains("")) >= self.most {
            return OTHER.into();
        }
        let label = Label::from(value);
        known.insert(label.clone());
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ones_keep_their_names() {
        let models = Bounded::new(2);
        let got = ["a", "b", "c", "a", "d"].map(|name| models.value(Some(name)));
        assert_eq!(got.each_ref().map(|label| &**label), ["a", "b", "other", "a", "other"]);
        assert_eq!(&*models.value(None), "");
        assert_eq!(&*models.value(None), "");
        assert_eq!(Bounded::new(1).value(Some(&"é".repeat(500))).chars().count(), LONGEST);
    }
}
