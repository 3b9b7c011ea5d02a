//! What was found, put together: spans that overlap become one secret.
//!
//! Several searches look at the same bytes (patterns, credentials, unescaped text, reassembled streams)
//! and may find the same secret, or different lengths of it. The union counts: what any of them took for
//! secret is replaced.

use super::credentials::Credentials;
use super::decoded::{DecodedText, MAX_NESTING, hides_text};
use super::patterns::Patterns;
use std::ops::Range;

/// One secret: its pieces in the raw bytes, ascending, not empty, apart from each other. A secret has
/// several pieces where a stream delivered it in several events.
pub(super) type Pieces = Vec<Range<usize>>;

/// All secret spans of a text, behind JSON escapes too, in no order.
pub(super) fn search(patterns: &Patterns, known: &Credentials, text: &[u8]) -> Vec<Range<usize>> {
    search_nested(patterns, known, text, MAX_NESTING)
}

fn search_nested(patterns: &Patterns, known: &Credentials, text: &[u8], levels: usize) -> Vec<Range<usize>> {
    let mut found = patterns.find(text);
    found.extend(known.find(text));
    if levels > 0 && hides_text(text) {
        let decoded = DecodedText::json(text, 0);
        let hidden = search_nested(patterns, known, decoded.bytes(), levels - 1);
        found.extend(hidden.into_iter().map(|range| decoded.raw_range(range)));
    }
    found
}

/// Joins findings that overlap, and orders them by where they begin.
pub(super) fn merge(findings: Vec<Pieces>) -> Vec<Pieces> {
    let mut groups = Groups((0..findings.len()).collect());
    let mut all: Vec<(Range<usize>, usize)> = findings
        .into_iter()
        .enumerate()
        .flat_map(|(finding, pieces)| pieces.into_iter().map(move |piece| (piece, finding)))
        .filter(|(piece, _)| !piece.is_empty())
        .collect();
    all.sort_by_key(|(piece, _)| (piece.start, piece.end));
    let mut merged: Vec<(Range<usize>, usize)> = Vec::with_capacity(all.len());
    for (piece, finding) in all {
        match merged.last_mut() {
            Some((last, owner)) if piece.start < last.end => {
                last.end = last.end.max(piece.end);
                groups.join(*owner, finding);
            }
            _ => merged.push((piece, finding)),
        }
    }
    collect(merged, &mut groups)
}

fn collect(merged: Vec<(Range<usize>, usize)>, groups: &mut Groups) -> Vec<Pieces> {
    let mut places = std::collections::BTreeMap::new();
    let mut secrets: Vec<Pieces> = Vec::new();
    for (piece, finding) in merged {
        let place = *places.entry(groups.root(finding)).or_insert(secrets.len());
        match secrets.get_mut(place) {
            Some(pieces) => pieces.push(piece),
            None => secrets.push(vec![piece]),
        }
    }
    secrets
}

/// Disjoint sets of findings.
struct Groups(Vec<usize>);

impl Groups {
    fn root(&mut self, mut item: usize) -> usize {
        while self.0[item] != item {
            self.0[item] = self.0[self.0[item]];
            item = self.0[item];
        }
        item
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[b] = a;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn overlaps_become_one() {
        let merged =
            merge(vec![vec![20..30], vec![0..4], vec![8..12, 25..33, 40..41], vec![2..6], vec![6..7]]);
        assert_eq!(merged, [vec![0..6], vec![6..7], vec![8..12, 20..33, 40..41]]);
    }
}
