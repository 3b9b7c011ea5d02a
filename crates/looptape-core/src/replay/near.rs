//! Near matches: a request that differs from a recorded one in a few words of its history.
//!
//! Endpoint, model, system prompt, tools and parameters must be the same, and the history must have the
//! same messages of the same form: as many, with the same fields, roles, types, names and numbers. What may
//! differ are words in the messages' texts: each word inserted, left out or replaced is one edit. Words are
//! what blanks separate, after masking. The nearest calls within the budget are candidates; the caller
//! refuses to choose among several with different answers.

use super::components::{Component, Split};
use super::live::Live;
use super::options::{EditBudget, Rung};
use super::tape::{EntryId, Tape};
use crate::canonical::{Json, Place, Rules, Treatment, digest_of};

/// The candidates with the fewest edits, none of them above the budget.
pub(super) fn nearest(
    tape: &Tape,
    live: &Live<'_>,
    candidates: &[EntryId],
    budget: EditBudget,
) -> Vec<EntryId> {
    let (wire, live_key) = (live.request.wire, live.key_at(Rung::Near));
    let body = live.body_at(Rung::Near);
    let Some(live_json) = Json::parse(&body) else { return Vec::new() };
    let live_split = Split::new(wire, &live_json);
    let mut left = budget.words as usize;
    let mut nearest = Vec::new();
    for &id in candidates {
        let recorded_key = tape.key_at(Rung::Near, id);
        let is_same =
            |component| live_key.components.get(component) == recorded_key.components.get(component);
        let others = Component::ALL.into_iter().filter(|&component| component != Component::History);
        let as_long = live_key.components.history.len() == recorded_key.components.history.len();
        if !as_long || !others.into_iter().all(is_same) || tape.entry(id).call.wire != wire {
            continue;
        }
        let recorded_body = tape.body_at(Rung::Near, id);
        let Some(recorded_json) = Json::parse(&recorded_body) else { continue };
        let recorded = Split::new(wire, &recorded_json);
        let Some(edits) = edits(&recorded, &live_split, left) else { continue };
        if edits < left {
            nearest.clear();
            left = edits;
        }
        nearest.push(id);
    }
    nearest
}

/// How many words of two histories differ; `None` if more than `most`, or anything else does.
fn edits(recorded: &Split<'_>, live: &Split<'_>, most: usize) -> Option<usize> {
    if recorded.history.len() != live.history.len() {
        return None;
    }
    let mut comparison = Comparison { rules: live.rules, left: most };
    for (recorded, live) in recorded.history.iter().zip(&live.history) {
        comparison.values(recorded.json, live.json, live.place)?;
    }
    Some(most - comparison.left)
}

struct Comparison<'r> {
    rules: &'r Rules,
    /// Edits that may still come.
    left: usize,
}

impl Comparison<'_> {
    fn values(&mut self, recorded: &Json<'_>, live: &Json<'_>, place: Place) -> Option<()> {
        match self.rules.treatment(place) {
            Treatment::Ignored | Treatment::Collected => return Some(()),
            Treatment::Renamed | Treatment::Exact => {}
        }
        let is_renamed = self.rules.treatment(place) == Treatment::Renamed;
        match (recorded, live) {
            (Json::String(_), Json::String(_)) if is_renamed => Some(()),
            (Json::String(recorded), Json::String(live)) => self.texts(recorded, live),
            (Json::Array(recorded), Json::Array(live)) if recorded.len() == live.len() => {
                let place = self.rules.element(place);
                recorded.iter().zip(live).try_for_each(|(recorded, live)| self.values(recorded, live, place))
            }
            (Json::Object(recorded), Json::Object(live)) => self.objects(recorded, live, place),
            _ => (digest_of(recorded) == digest_of(live)).then_some(()),
        }
    }

    fn objects(&mut self, recorded: &[Member<'_>], live: &[Member<'_>], place: Place) -> Option<()> {
        let rules = self.rules;
        let counts = |member: &&Member<'_>| {
            let treatment = rules.treatment(rules.member(place, &member.0));
            !matches!(treatment, Treatment::Ignored | Treatment::Collected)
        };
        let (mut recorded, mut live) = (recorded.iter().filter(counts), live.iter().filter(counts));
        loop {
            match (recorded.next(), live.next()) {
                (None, None) => return Some(()),
                (Some((name, recorded)), Some((live_name, live))) if name == live_name => {
                    if matches!(name.as_ref(), b"role" | b"type" | b"name") {
                        (digest_of(recorded) == digest_of(live)).then_some(())?;
                    } else {
                        self.values(recorded, live, self.rules.member(place, name))?;
                    }
                }
                _ => return None,
            }
        }
    }

    fn texts(&mut self, recorded: &[u8], live: &[u8]) -> Option<()> {
        if recorded == live {
            return Some(());
        }
        let words = |text: &'_ [u8]| -> Vec<Vec<u8>> {
            text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
        };
        // Texts that differ in blanks alone differ by one edit, not by none.
        let edits = word_edits(&words(recorded), &words(live), self.left)?.max(1);
        self.left = self.left.checked_sub(edits)?;
        Some(())
    }
}

type Member<'a> = (std::borrow::Cow<'a, [u8]>, Json<'a>);

/// The edit distance of two sequences of words if it is at most `most`: only a band of that width is
/// looked at.
fn word_edits(a: &[Vec<u8>], b: &[Vec<u8>], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let beyond = most + 1;
    let mut row: Vec<usize> = (0..=b.len()).map(|edits| edits.min(beyond)).collect();
    for (i, word) in a.iter().enumerate() {
        let (from, to) = ((i + 1).saturating_sub(most), (i + 1 + most).min(b.len()));
        let mut diagonal = if from > 0 { row[from - 1] } else { i.min(beyond) };
        if from == 0 {
            row[0] = (i + 1).min(beyond);
        } else {
            row[from - 1] = beyond;
        }
        let mut least = row[from.saturating_sub(1)];
        for j in from.max(1)..=to {
            let replaced = diagonal + usize::from(*word != b[j - 1]);
            diagonal = row[j];
            row[j] = replaced.min(row[j] + 1).min(row[j - 1] + 1).min(beyond);
            least = least.min(row[j]);
        }
        if to < b.len() {
            row[to + 1] = beyond;
        }
        if least > most {
            return None;
        }
    }
    Some(row[b.len()]).filter(|&edits| edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn whole_table(a: &[Vec<u8>], b: &[Vec<u8>]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                table[i][j] = match (i, j) {
                    (0, edits) | (edits, 0) => edits,
                    _ => (table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]))
                        .min(table[i - 1][j] + 1)
                        .min(table[i][j - 1] + 1),
                };
            }
        }
        table[a.len()][b.len()]
    }

    proptest::proptest! {
        #[test]
        fn the_band_gives_the_same_figure(a in "[abc]( [abc]){0,9}", b in "([abc] ){0,9}", most in 0usize..8) {
            let (a, b) = (words(&a), words(&b));
            let whole = whole_table(&a, &b);
            proptest::prop_assert_eq!(word_edits(&a, &b, most), (whole <= most).then_some(whole));
        }
    }
}
