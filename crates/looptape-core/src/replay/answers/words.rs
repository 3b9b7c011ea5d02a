//! How alike two texts are.

use std::collections::HashMap;

/// The share of words that two texts have in common, from 0 to 1: twice the words that both have (each as
/// often as both have it) over the words of both. (The Sørensen-Dice coefficient of their words as
/// multisets: L. R. Dice, 1945.) It takes time in proportion to the texts, however different they are; the
/// order of the words does not count.
pub fn similarity(a: &str, b: &str) -> f64 {
    let (mut in_a, mut words) = (HashMap::<&str, usize>::new(), 0usize);
    for word in a.split_whitespace() {
        *in_a.entry(word).or_default() += 1;
        words += 1;
    }
    let mut common = 0usize;
    for word in b.split_whitespace() {
        words += 1;
        if let Some(left) = in_a.get_mut(word).filter(|left| **left > 0) {
            *left -= 1;
            common += 1;
        }
    }
    if words == 0 { 1.0 } else { 2.0 * common as f64 / words as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_of_words() {
        for (a, b, expected) in [
            ("", "", 1.0),
            ("a", "", 0.0),
            ("it is cold", "it is warm", 2.0 / 3.0),
            ("a a a", "a", 0.5),
            ("one two", "three four", 0.0),
        ] {
            assert!((similarity(a, b) - expected).abs() < 1e-12, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn symmetric_and_bounded(a in "[ab ]{0,20}", b in "[ab ]{0,20}") {
            let ratio = similarity(&a, &b);
            prop_assert!((0.0..=1.0).contains(&ratio));
            prop_assert_eq!(ratio, similarity(&b, &a));
            prop_assert_eq!(similarity(&a, &a), 1.0);
        }
    }
}
