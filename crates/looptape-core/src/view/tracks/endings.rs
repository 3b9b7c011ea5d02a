//! Where tracks end.

use super::{Track, TrackId, span_us};
use crate::metrics::Ms;
use crate::view::{EntryKind, EntryView};

/// Finds the last entry at which each track is there, and the step that goes on with what came of it: the first of the track that it
/// left that began when all of it was over.
pub(super) fn find(entries: &[EntryView], of_entry: &[TrackId], tracks: &mut [Track]) {
    let mut over_us = vec![i64::MIN; tracks.len()];
    let mut steps = vec![Vec::new(); tracks.len()];
    for (at, (track, entry)) in of_entry.iter().zip(entries).enumerate() {
        tracks[track.0].ends = at;
        let end_us = span_us(entry).map_or(i64::MIN, |(_, end)| end);
        over_us[track.0] = over_us[track.0].max(end_us);
        if entry.kind == EntryKind::Llm {
            steps[track.0].push(at);
        }
    }
    let latest_us = latest_starts(entries);
    for (track, over_us) in tracks.iter_mut().zip(&over_us) {
        // What it began is under way while others begin.
        let begun = latest_us.partition_point(|latest_us| latest_us < over_us);
        reach(track, begun.saturating_sub(1));
    }
    for at in (0..tracks.len()).rev() {
        // What left it has its end by now.
        let Track { begins, ends, from: Some(from), is_awaited, .. } = tracks[at] else { continue };
        reach(&mut tracks[from.0], begins);
        let goes_on = |step: &&usize| {
            let began_us = entries[**step].started_ms.map(Ms::us);
            began_us.is_none_or(|began_us| began_us >= over_us[at])
        };
        let step_of = |track: TrackId| {
            let steps = &steps[track.0];
            let later = &steps[steps.partition_point(|step| *step <= ends)..];
            later.iter().find(goes_on).map(|step| (track, *step))
        };
        let into = ancestors(tracks, from).filter(|_| is_awaited).find_map(step_of);
        if let Some((into, step)) = into {
            (tracks[at].into, tracks[at].ends) = (Some(into), step);
            reach(&mut tracks[into.0], step);
        }
    }
}

/// By entry: the latest start up to there.
fn latest_starts(entries: &[EntryView]) -> Vec<i64> {
    let starts = entries.iter().map(|entry| entry.started_ms.map_or(i64::MIN, Ms::us));
    let latest = starts.scan(i64::MIN, |latest, start| {
        *latest = start.max(*latest);
        Some(*latest)
    });
    latest.collect()
}

fn reach(track: &mut Track, entry: usize) {
    track.ends = track.ends.max(entry);
}

fn ancestors(tracks: &[Track], from: TrackId) -> impl Iterator<Item = TrackId> {
    std::iter::successors(Some(from), |track| tracks[track.0].from)
}
