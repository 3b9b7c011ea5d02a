//! The logarithmic-mean Divisia index: how much of a product's change each of its factors made.
//!
//! For V = x₁·x₂·…·xₙ, the effect of xᵢ on V¹ − V⁰ is L(V¹, V⁰)·ln(xᵢ¹/xᵢ⁰), where L is the logarithmic mean
//! (a − b)/(ln a − ln b), and a where both are equal. The effects sum to the change exactly, and the change
//! the other way round has the same effects, negated. This is LMDI-I, additive (B. W. Ang, "The LMDI approach
//! to decomposition analysis: a practical guide", Energy Policy 33 (2005) 867–871).
//!
//! Zeros are taken to the limit of small values (B. W. Ang, N. Liu, "Handling zero values in the logarithmic
//! mean Divisia index decomposition approach", Energy Policy 35 (2007) 238–246): where factors come from, or
//! go to, nothing, they made the whole change, in equal shares, and the others none.

/// The effects of the factors on the change of their product. Factors are not negative.
pub fn effects<const N: usize>(from: [f64; N], to: [f64; N]) -> [f64; N] {
    let (before, after): (f64, f64) = (from.iter().product(), to.iter().product());
    let vanishing = |at: usize| (from[at] == 0.0) != (to[at] == 0.0);
    let vanish = (0..N).filter(|at| vanishing(*at)).count();
    std::array::from_fn(|at| match (before == 0.0, after == 0.0) {
        (true, true) => 0.0,
        (false, false) => log_mean(after, before) * (to[at] / from[at]).ln(),
        _ if vanishing(at) => (after - before) / vanish as f64,
        _ => 0.0,
    })
}

/// The logarithmic mean of two positive numbers.
fn log_mean(a: f64, b: f64) -> f64 {
    let ln = (a / b).ln();
    // Near equality the quotient is of two small numbers; its limit is their mean.
    if ln.abs() < 1e-8 { (a + b) / 2.0 } else { (a - b) / ln }
}

/// Effects as whole numbers that sum to `total` exactly. Each is rounded together with those before it, so that
/// it differs by less than one from the nearest, but for what floating point lost, which the last one takes.
pub fn whole(effects: &[f64], total: i64) -> Vec<i64> {
    let last = effects.iter().rposition(|effect| *effect != 0.0);
    let (mut sum, mut before) = (0.0, 0);
    let mut parts: Vec<i64> = effects
        .iter()
        .map(|effect| {
            sum += effect;
            // Amounts of money fit by far.
            let at = sum.round() as i64;
            at - std::mem::replace(&mut before, at)
        })
        .collect();
    if let Some(last) = last {
        parts[last] += total - before;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, scale: f64) -> bool {
        (a - b).abs() <= 1e-9 * scale.abs().max(1e-12)
    }

    #[test]
    fn one_factor_made_it_all() {
        let [a, b] = effects([2.0, 3.0], [8.0, 3.0]);
        assert!(close(a, 18.0, 18.0) && b == 0.0, "{a} {b}");
    }

    /// Two factors that change by the same ratio have the same effect.
    #[test]
    fn worked_by_hand() {
        // L(24, 6) = 18 / ln 4, and each factor doubled: half of the change each.
        let [a, b] = effects([2.0, 3.0], [4.0, 6.0]);
        assert!(close(a, 9.0, 9.0) && close(b, 9.0, 9.0), "{a} {b}");
    }

    #[test]
    fn from_and_to_nothing() {
        assert_eq!(effects([0.0, 3.0, 1.0], [2.0, 5.0, 1.0]), [10.0, 0.0, 0.0]);
        assert_eq!(effects([2.0, 5.0], [0.0, 0.0]), [-5.0, -5.0]);
        assert_eq!(effects([0.0, 5.0], [0.0, 7.0]), [0.0, 0.0]);
        assert_eq!(effects([0.0, 5.0], [3.0, 0.0]), [0.0, 0.0]);
    }

    /// The limit is really one: with 10⁻¹⁰⁰ in the place of 0 the formula gives nearly the same.
    #[test]
    fn the_limit_is_that_of_small_values() {
        let small = effects([1e-100, 3.0, 2.0], [2.0, 5.0, 2.0]);
        let limit = effects([0.0, 3.0, 2.0], [2.0, 5.0, 2.0]);
        for (small, limit) in small.iter().zip(limit) {
            assert!((small - limit).abs() < 0.1, "{small} {limit}");
        }
    }

    fn factor() -> impl Strategy<Value = f64> {
        prop_oneof![1 => Just(0.0), 6 => 1e-6f64..1e9]
    }

    proptest! {
        #[test]
        fn effects_sum_to_the_change_and_turn_round(
            from in prop::array::uniform5(factor()),
            to in prop::array::uniform5(factor()),
        ) {
            let change = to.iter().product::<f64>() - from.iter().product::<f64>();
            let scale = to.iter().product::<f64>().max(from.iter().product());
            let (there, back) = (effects(from, to), effects(to, from));
            prop_assert!(close(there.iter().sum(), change, scale), "{there:?} for {change}");
            for (there, back) in there.iter().zip(back) {
                prop_assert!(close(*there, -back, scale));
            }
        }

        #[test]
        fn whole_parts_sum_exactly(effects in prop::collection::vec(-1e12f64..1e12, 1..12)) {
            let total = effects.iter().sum::<f64>().round() as i64;
            let parts = whole(&effects, total);
            prop_assert_eq!(parts.iter().sum::<i64>(), total);
            for (part, effect) in parts.iter().zip(&effects) {
                prop_assert!((*part as f64 - effect).abs() <= 1.5, "{part} for {effect}");
            }
        }
    }
}
