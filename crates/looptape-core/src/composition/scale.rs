//! Cutting a whole number into whole parts, in proportion to weights, without a remainder.
//!
//! Each part lies between two points of one line, and the points are rounded, not the parts: so the parts sum
//! to the whole exactly, and neighbours that are taken together are the same as one part of both.

/// Where the first `weight` of `weights` end on a line of `whole`; `whole` itself at the end, 0 on a line
/// without weight.
pub fn point(whole: u64, weight: u64, weights: u64) -> u64 {
    if weights == 0 {
        return 0;
    }
    // No more than `whole`, since no more than all of the weights lies before a point.
    (u128::from(whole) * u128::from(weight.min(weights)) / u128::from(weights)) as u64
}

/// Parts of `whole` in proportion to `weights`. Where nothing weighs anything, the last part is all of it.
pub fn split(whole: u64, weights: &[u64]) -> Vec<u64> {
    let all: u64 = weights.iter().sum();
    let mut before = 0;
    let mut parts: Vec<u64> = weights
        .iter()
        .scan(0u64, |sum, weight| {
            *sum += weight;
            Some(point(whole, *sum, all))
        })
        .map(|at| at - std::mem::replace(&mut before, at))
        .collect();
    if let Some(last) = parts.last_mut().filter(|_| all == 0) {
        *last = whole;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(
            whole in 0u64..u64::MAX / 2,
            weights in prop::collection::vec(0u64..1 << 40, 1..40),
        ) {
            let parts = split(whole, &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), whole);
            let all: u64 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights).filter(|_| all > 0) {
                let fair = whole as f64 * *weight as f64 / all as f64;
                prop_assert!((*part as f64 - fair).abs() <= 1.0 + fair * 1e-9, "{part} for {fair}");
            }
        }
    }

    #[test]
    fn nothing_to_go_by() {
        assert_eq!(split(7, &[0, 0]), [0, 7]);
        assert_eq!(split(0, &[1, 2]), [0, 0]);
        assert_eq!(split(5, &[]), [0; 0]);
    }
}
