//! Which step of one trace stands for which step of the other.
//!
//! Steps of one lane go on from one another, so lanes are paired first: those that share most of what was
//! said, then the rest in their order. Within a pair of lanes the steps are aligned in their order. So
//! lanes that ran side by side may finish in any order, and an inserted or missing step moves nothing else.

use super::align::{self, Aligned};
use super::side::{Seen, StepKey};
use crate::digest::Digest;
use std::collections::BTreeMap;

/// So many occurrences on both sides are tried each with each; more are paired in their order.
const MOST_COMBINATIONS: usize = 256;

/// The lanes of a trace: places of their steps, in order of their first.
type Threads = Vec<Vec<usize>>;

/// Pairs all steps; in the order of the first trace, those of the second alone after the step before them.
pub(super) fn pairs(a: &[Seen<'_>], b: &[Seen<'_>]) -> Vec<Aligned> {
    let keys = |side: &[Seen<'_>]| side.iter().map(Seen::key).collect::<Vec<StepKey>>();
    let (keys_a, keys_b) = (keys(a), keys(b));
    let (threads_a, threads_b) = (threads(a), threads(b));
    let mut pairs = Vec::with_capacity(a.len().max(b.len()));
    for (thread_a, thread_b) in thread_pairs(&threads_a, &keys_a, &threads_b, &keys_b) {
        let (places_a, places_b) = (of(&threads_a, thread_a), of(&threads_b, thread_b));
        let pick = |keys: &[StepKey], places: &[usize]| places.iter().map(|&at| keys[at]).collect::<Vec<_>>();
        let aligned = align::align(&pick(&keys_a, places_a), &pick(&keys_b, places_b));
        pairs.extend(aligned.into_iter().map(|pair| match pair {
            Aligned::Both(i, j) => Aligned::Both(places_a[i], places_b[j]),
            Aligned::OnlyA(i) => Aligned::OnlyA(places_a[i]),
            Aligned::OnlyB(j) => Aligned::OnlyB(places_b[j]),
        }));
    }
    in_order(pairs, a.len())
}

fn of(threads: &Threads, at: Option<usize>) -> &[usize] {
    at.map_or(&[], |at| &threads[at])
}

fn threads(seen: &[Seen<'_>]) -> Threads {
    let mut by_place: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, step) in seen.iter().enumerate() {
        by_place.entry(step.thread()).or_default().push(at);
    }
    by_place.into_values().collect()
}

/// Pairs of lanes; what has no partner stands alone.
fn thread_pairs(
    threads_a: &Threads,
    keys_a: &[StepKey],
    threads_b: &Threads,
    keys_b: &[StepKey],
) -> Vec<(Option<usize>, Option<usize>)> {
    let shared = shared_steps(&occurrences(threads_a, keys_a), &occurrences(threads_b, keys_b));
    let mut candidates: Vec<((usize, usize), usize)> = shared.into_iter().collect();
    candidates.sort_by_key(|&((a, b), count)| (std::cmp::Reverse(count), a + b, a.abs_diff(b), a));
    let (mut free_a, mut free_b) = (vec![true; threads_a.len()], vec![true; threads_b.len()]);
    let mut pairs = Vec::new();
    for ((a, b), _) in candidates {
        if free_a[a] && free_b[b] {
            (free_a[a], free_b[b]) = (false, false);
            pairs.push((Some(a), Some(b)));
        }
    }
    let left = |free: Vec<bool>| (0..free.len()).filter(|&at| free[at]).map(Some).collect::<Vec<_>>();
    let (left_a, left_b) = (left(free_a), left(free_b));
    let pairs_left = left_a.len().max(left_b.len());
    let next = |left: &[Option<usize>], at: usize| left.get(at).copied().flatten();
    pairs.extend((0..pairs_left).map(|at| (next(&left_a, at), next(&left_b, at))));
    pairs
}

/// In which lanes each thing was said and answered, in their order.
type Occurrences = BTreeMap<(Digest, Digest), Vec<usize>>;

fn occurrences(threads: &Threads, keys: &[StepKey]) -> Occurrences {
    let mut found = Occurrences::new();
    for (thread, places) in threads.iter().enumerate() {
        for &at in places {
            found.entry((keys[at].request, keys[at].answer)).or_default().push(thread);
        }
    }
    found
}

/// How many steps each pair of lanes has in common.
fn shared_steps(a: &Occurrences, b: &Occurrences) -> BTreeMap<(usize, usize), usize> {
    let mut shared = BTreeMap::new();
    for (said, in_a) in a {
        let Some(in_b) = b.get(said) else { continue };
        if in_a.len() * in_b.len() > MOST_COMBINATIONS {
            for (&x, &y) in in_a.iter().zip(in_b) {
                *shared.entry((x, y)).or_default() += 1;
            }
            continue;
        }
        for &x in in_a {
            for &y in in_b {
                *shared.entry((x, y)).or_default() += 1;
            }
        }
    }
    shared
}

fn in_order(pairs: Vec<Aligned>, steps_a: usize) -> Vec<Aligned> {
    let mut partner_of_a: Vec<Option<usize>> = vec![None; steps_a];
    let mut a_of_b: BTreeMap<usize, Option<usize>> = BTreeMap::new();
    for pair in pairs {
        match pair {
            Aligned::Both(a, b) => {
                partner_of_a[a] = Some(b);
                a_of_b.insert(b, Some(a));
            }
            Aligned::OnlyA(_) => {}
            Aligned::OnlyB(b) => {
                a_of_b.insert(b, None);
            }
        }
    }
    // Each step of the second trace alone follows the latest step of the first before it.
    let mut after: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    let mut latest: Option<usize> = None;
    for (b, a) in a_of_b {
        match a {
            Some(a) => latest = Some(a),
            None => after.entry(latest).or_default().push(b),
        }
    }
    let alone = |after: &BTreeMap<Option<usize>, Vec<usize>>, at: Option<usize>| {
        after.get(&at).into_iter().flatten().map(|&b| Aligned::OnlyB(b)).collect::<Vec<_>>()
    };
    let mut ordered = alone(&after, None);
    for (a, b) in partner_of_a.into_iter().enumerate() {
        ordered.push(b.map_or(Aligned::OnlyA(a), |b| Aligned::Both(a, b)));
        ordered.extend(alone(&after, Some(a)));
    }
    ordered
}
