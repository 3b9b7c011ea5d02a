//! Aligning two sequences: which item of one stands for which item of the other.
//!
//! Items that are equal are paired before items that are merely alike; what has no partner is only on its
//! side. The order of both sequences is kept. The alignment of the two the other way round is this one with
//! its sides turned round: it is always made of the pair in one order, and turned if need be.
//!
//! It knows nothing of what the items are.

/// Which items of two sequences stand for each other, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aligned {
    Both(usize, usize),
    OnlyA(usize),
    OnlyB(usize),
}

/// What can be aligned. The order is any total one that agrees with equality.
pub(super) trait Item: Ord {
    /// How alike two unequal items are: 0 if they must not be paired, less than [`EQUAL`] otherwise.
    fn likeness(&self, other: &Self) -> u32;
}

/// The likeness of equal items.
pub(super) const EQUAL: u32 = 64;

/// Items of one side times items of the other: beyond it, long stretches are cut at items that are unique.
const MOST_CELLS: usize = 4_000_000;

/// Aligns two sequences; the result is in the order of both.
pub(super) fn align<T: Item>(a: &[T], b: &[T]) -> Vec<Aligned> {
    let mut aligned = Vec::with_capacity(a.len().max(b.len()));
    if a <= b {
        stretch(a, b, (0, 0), &mut aligned);
        return aligned;
    }
    stretch(b, a, (0, 0), &mut aligned);
    for pair in &mut aligned {
        *pair = match *pair {
            Aligned::Both(b, a) => Aligned::Both(a, b),
            Aligned::OnlyA(b) => Aligned::OnlyB(b),
            Aligned::OnlyB(a) => Aligned::OnlyA(a),
        };
    }
    aligned
}

/// Aligns what lies at `offset` of the whole sequences: equal ends first, then the middle.
fn stretch<T: Item>(a: &[T], b: &[T], offset: (usize, usize), out: &mut Vec<Aligned>) {
    let before = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let room = a.len().min(b.len()) - before;
    let after = a.iter().rev().zip(b.iter().rev()).take(room).take_while(|(x, y)| x == y).count();
    let both = |at: usize| Aligned::Both(offset.0 + at, offset.1 + at);
    out.extend((0..before).map(both));
    let (inner_a, inner_b) = (&a[before..a.len() - after], &b[before..b.len() - after]);
    let inner_offset = (offset.0 + before, offset.1 + before);
    if inner_a.len().saturating_mul(inner_b.len()) <= MOST_CELLS {
        by_likeness(inner_a, inner_b, inner_offset, out);
    } else {
        by_anchors(inner_a, inner_b, inner_offset, out);
    }
    let (end_a, end_b) = (offset.0 + a.len() - after, offset.1 + b.len() - after);
    out.extend((0..after).map(|at| Aligned::Both(end_a + at, end_b + at)));
}

/// The order-keeping pairing with the greatest sum of likenesses (Needleman and Wunsch 1970; what stays
/// alone costs nothing).
fn by_likeness<T: Item>(a: &[T], b: &[T], offset: (usize, usize), out: &mut Vec<Aligned>) {
    let width = b.len() + 1;
    // best[i * width + j]: of what remains from i and j on.
    let mut best = vec![0u32; (a.len() + 1) * width];
    let mut alike = vec![0u32; a.len() * b.len()];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let likeness = if a[i] == b[j] { EQUAL } else { a[i].likeness(&b[j]).min(EQUAL - 1) };
            alike[i * b.len() + j] = likeness;
            let paired = if likeness > 0 { best[(i + 1) * width + j + 1] + likeness } else { 0 };
            best[i * width + j] = paired.max(best[(i + 1) * width + j]).max(best[i * width + j + 1]);
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let likeness = alike[i * b.len() + j];
        let here = best[i * width + j];
        if likeness > 0 && here == best[(i + 1) * width + j + 1] + likeness {
            out.push(Aligned::Both(offset.0 + i, offset.1 + j));
            (i, j) = (i + 1, j + 1);
        } else if here == best[(i + 1) * width + j] {
            out.push(Aligned::OnlyA(offset.0 + i));
            i += 1;
        } else {
            out.push(Aligned::OnlyB(offset.1 + j));
            j += 1;
        }
    }
    out.extend((i..a.len()).map(|i| Aligned::OnlyA(offset.0 + i)));
    out.extend((j..b.len()).map(|j| Aligned::OnlyB(offset.1 + j)));
}

/// Cuts at items that are on each side exactly once and in the same order; without any, items are paired
/// one by one.
fn by_anchors<T: Item>(a: &[T], b: &[T], offset: (usize, usize), out: &mut Vec<Aligned>) {
    let (unique_a, unique_b) = (uniques(a), uniques(b));
    let partner = |at: usize| {
        let found = unique_b.binary_search_by(|&other| b[other].cmp(&a[at]));
        found.ok().map(|found| (at, unique_b[found]))
    };
    let mut shared: Vec<(usize, usize)> = unique_a.iter().filter_map(|&at| partner(at)).collect();
    shared.sort_unstable();
    let anchors = longest_rising(&shared);
    if anchors.is_empty() {
        let pairs = a.len().min(b.len());
        out.extend((0..pairs).map(|at| Aligned::Both(offset.0 + at, offset.1 + at)));
        out.extend((pairs..a.len()).map(|at| Aligned::OnlyA(offset.0 + at)));
        out.extend((pairs..b.len()).map(|at| Aligned::OnlyB(offset.1 + at)));
        return;
    }
    let (mut from_a, mut from_b) = (0, 0);
    for (at_a, at_b) in anchors.into_iter().chain([(a.len(), b.len())]) {
        let inner = (&a[from_a..at_a], &b[from_b..at_b]);
        stretch(inner.0, inner.1, (offset.0 + from_a, offset.1 + from_b), out);
        (from_a, from_b) = (at_a, at_b);
        if at_a < a.len() {
            out.push(Aligned::Both(offset.0 + at_a, offset.1 + at_b));
            (from_a, from_b) = (at_a + 1, at_b + 1);
        }
    }
}

/// The places of items that are there once, in the order of the items.
fn uniques<T: Item>(items: &[T]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by(|&x, &y| items[x].cmp(&items[y]));
    places
        .chunk_by(|&x, &y| items[x] == items[y])
        .filter(|same| same.len() == 1)
        .map(|same| same[0])
        .collect()
}

/// Of pairs in the order of their first half, the longest choice whose second halves rise too.
fn longest_rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // ends[n]: the pair with the least second half among those that end a choice of n + 1 pairs.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, pair) in pairs.iter().enumerate() {
        let length = ends.partition_point(|&end| pairs[end].1 < pair.1);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut chosen = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(at) = next {
        chosen.push(pairs[at]);
        next = before[at];
    }
    chosen.reverse();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Item for u32 {
        /// Numbers of the same ten are alike, those of another hundred must not be paired.
        fn likeness(&self, other: &Self) -> u32 {
            match (self / 10 == other / 10, self / 100 == other / 100) {
                (true, _) => 20,
                (false, true) => 1,
                (false, false) => 0,
            }
        }
    }

    fn shown(a: &[u32], b: &[u32]) -> String {
        let one = |pair: &Aligned| match *pair {
            Aligned::Both(i, j) if a[i] == b[j] => format!("{}", a[i]),
            Aligned::Both(i, j) => format!("{}~{}", a[i], b[j]),
            Aligned::OnlyA(i) => format!("-{}", a[i]),
            Aligned::OnlyB(j) => format!("+{}", b[j]),
        };
        align(a, b).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn equal_before_alike_before_alone() {
        for (a, b, expected) in [
            (vec![1, 2, 3], vec![1, 2, 3], "1 2 3"),
            (vec![1, 2, 3], vec![1, 3], "1 -2 3"),
            (vec![1, 2, 3], vec![1, 2, 200, 3], "1 2 +200 3"),
            (vec![11, 31, 51], vec![11, 32, 51], "11 31~32 51"),
            (vec![11, 31], vec![11, 91, 32], "11 +91 31~32"),
            (vec![11], vec![211], "-11 +211"),
            (vec![], vec![7], "+7"),
            (vec![5, 5, 5], vec![5, 5], "5 5 -5"),
        ] {
            assert_eq!(shown(&a, &b), expected);
        }
    }

    #[test]
    fn long_sequences_are_cut_at_what_is_unique() {
        let a: Vec<u32> = (0..3000).collect();
        let b: Vec<u32> =
            (0..3000).filter(|n| *n != 100 && *n != 2900).map(|n| if n == 5 { 7000 } else { n }).collect();
        let aligned = align(&a, &b);
        let both =
            aligned.iter().filter(|pair| matches!(pair, Aligned::Both(i, j) if a[*i] == b[*j])).count();
        assert_eq!(both, 2997);
        assert!(aligned.contains(&Aligned::OnlyA(100)) && aligned.contains(&Aligned::OnlyA(2900)));
        // Nothing unique: one by one.
        let (a, b) = (vec![1; 2500], [vec![2; 2600], vec![2; 2600]].concat());
        assert_eq!(align(&a, &b).len(), 5200);
    }

    fn numbers() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(prop_oneof![0..30u32, 100..130u32], 0..14)
    }

    proptest! {
        #[test]
        fn every_item_is_there_once_and_in_order(a in numbers(), b in numbers()) {
            let aligned = align(&a, &b);
            let of_a: Vec<usize> = aligned.iter().filter_map(|p| match *p {
                Aligned::Both(i, _) | Aligned::OnlyA(i) => Some(i),
                Aligned::OnlyB(_) => None,
            }).collect();
            let of_b: Vec<usize> = aligned.iter().filter_map(|p| match *p {
                Aligned::Both(_, j) | Aligned::OnlyB(j) => Some(j),
                Aligned::OnlyA(_) => None,
            }).collect();
            prop_assert_eq!(of_a, (0..a.len()).collect::<Vec<_>>());
            prop_assert_eq!(of_b, (0..b.len()).collect::<Vec<_>>());
        }

        #[test]
        fn turning_the_sides_turns_the_pairs(a in numbers(), b in numbers()) {
            let pairs = |aligned: Vec<Aligned>| -> Vec<(usize, usize)> {
                aligned.into_iter().filter_map(|p| match p { Aligned::Both(i, j) => Some((i, j)), _ => None }).collect()
            };
            let turned: Vec<(usize, usize)> = pairs(align(&b, &a)).into_iter().map(|(j, i)| (i, j)).collect();
            prop_assert_eq!(pairs(align(&a, &b)), turned);
        }

        #[test]
        fn one_item_less_is_one_item_alone(a in numbers(), at in 0usize..14) {
            prop_assume!(at < a.len());
            let mut b = a.clone();
            b.remove(at);
            let alone = align(&a, &b).into_iter().filter(|p| !matches!(p, Aligned::Both(i, j) if a[*i] == b[*j])).count();
            prop_assert_eq!(alone, 1);
        }
    }
}
