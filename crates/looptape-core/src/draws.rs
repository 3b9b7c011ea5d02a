//! Numbers that look random and follow from a seed and a place.
//!
//! The core has no randomness: whoever wants some gives a seed. A number does not depend on how many were drawn
//! before it, only on where it is used (loop 7, step 3, attempt 1, and what for), so that the same loop behaves the
//! same whatever the order in which loops run, in real and in virtual time.
//!
//! The mixing is SplitMix64's finaliser (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number
//! generators", 2014), applied once a word. It is fast and spreads well; it hides nothing.

/// A place in a run, from which numbers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws(u64);

/// 2⁶⁴ divided by the golden ratio: the step by which SplitMix64 walks.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(STEP)))
    }

    /// A place within this one. The order of narrowing counts: `at(1).at(2)` is not `at(2).at(1)`.
    #[must_use]
    pub fn at(self, place: u64) -> Self {
        Self(mix((self.0 ^ mix(place.wrapping_add(STEP))).wrapping_add(STEP)))
    }

    /// A whole number; `what` tells several numbers of one place apart.
    pub fn number(self, what: u64) -> u64 {
        self.at(what).0
    }

    /// A number in [0, 1).
    pub fn unit(self, what: u64) -> f64 {
        // The upper 53 bits: as many as a double holds.
        (self.number(what) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Whether something of this probability happens.
    pub fn happens(self, what: u64, probability: f64) -> bool {
        self.unit(what) < probability
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_follows_from_its_place_alone() {
        let place = Draws::new(7).at(3).at(1);
        assert_eq!(place.number(0), Draws::new(7).at(3).at(1).number(0));
        let others = [Draws::new(8).at(3).at(1), Draws::new(7).at(1).at(3), Draws::new(7).at(3)];
        assert!(others.iter().all(|other| other.number(0) != place.number(0)));
        assert_ne!(place.number(0), place.number(1));
    }

    #[test]
    fn neighbouring_places_give_independent_numbers() {
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|place| Draws::new(1).at(place).unit(0)).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let below = values.iter().filter(|value| **value < 0.1).count() as f64 / n as f64;
        let products = values.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5)).sum::<f64>();
        // Standard errors: 0.0009, 0.0009, and 0.0032 for the correlation.
        assert!((mean - 0.5).abs() < 0.004, "{mean}");
        assert!((below - 0.1).abs() < 0.004, "{below}");
        assert!((products / n as f64 * 12.0).abs() < 0.013, "{products}");
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
    }

    #[test]
    fn something_happens_as_often_as_it_should() {
        let happened = (0..10_000).filter(|place| Draws::new(2).at(*place).happens(0, 0.05)).count();
        assert!((400..600).contains(&happened), "{happened}");
        assert!(!Draws::new(2).happens(0, 0.0) && Draws::new(2).happens(0, 1.0));
    }
}
