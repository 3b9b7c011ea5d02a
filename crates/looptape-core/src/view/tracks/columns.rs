//! Where tracks are drawn.

use super::Track;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Gives each track the leftmost column that is free while it is there, to the right of the track that it leaves.
pub(super) fn give(tracks: &mut [Track]) {
    let mut free = BTreeSet::new();
    let mut columns = 0;
    let mut taken: BinaryHeap<Reverse<(usize, usize)>> = BinaryHeap::new();
    for at in 0..tracks.len() {
        let Track { begins, ends, from, .. } = tracks[at];
        while let Some(Reverse((_, column))) = taken.peek().filter(|Reverse((ends, _))| *ends < begins) {
            free.insert(*column);
            taken.pop();
        }
        let leftmost = from.map_or(0, |from| tracks[from.0].column + 1);
        let column = free.range(leftmost..).next().copied().unwrap_or(columns.max(leftmost));
        free.remove(&column);
        free.extend(columns..column);
        columns = columns.max(column + 1);
        tracks[at].column = column;
        taken.push(Reverse((ends, column)));
    }
}
