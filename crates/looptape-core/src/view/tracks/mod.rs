//! Tracks: what lies beside what in a timeline.
//!
//! A track is what a drawing shows as one line: an agent's lane with the tools that it waits for, or a tool that was
//! under way beside something else, with the sub-agent that ran inside it. A track leaves another one where its first
//! entry begins, and goes into one where a step goes on with what came of it.
//!
//! Invariants: every entry is on exactly one track; a track's entries have ascending places; two tracks that are there
//! at the same entry have different columns; a track leaves one that is to its left. Nothing is put inside a tool of
//! which that is not certain.
//!
//! What this does not do: draw, or say anything that is not in the entries.

mod columns;
mod endings;
mod lanes;
mod standing;
#[cfg(test)]
mod tests;

use super::{EntryKind, EntryView};
use crate::assembly::{LoopNumber, StepNumber};
use lanes::{Lanes, Origin};
use standing::stand_alone;
use std::collections::HashMap;

/// A track's place in [`Tracks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrackId(usize);

/// One line of the drawing. Entries are named by their places in the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its first entry.
    pub begins: usize,
    /// The last entry at which it is there: of its own, one that began before all of its own were over, one at which
    /// another track leaves it or goes into it, or the step that it goes into.
    pub ends: usize,
    /// The track that it leaves.
    pub from: Option<TrackId>,
    /// The track that it goes into: its entry at `ends` is the step that goes on with what came of this one.
    pub into: Option<TrackId>,
    /// 0 is the leftmost.
    pub column: usize,
    /// Whether something waits for it: a step of the track that it leaves, and not only what began there.
    is_awaited: bool,
}

/// The tracks of a timeline, in the order in which they begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracks {
    tracks: Vec<Track>,
    of_entry: Vec<TrackId>,
    /// By column, in the order in which they begin.
    by_column: Vec<Vec<TrackId>>,
    /// By the step that they go into.
    going_in: HashMap<usize, Vec<TrackId>>,
}

impl Tracks {
    pub fn of(entries: &[EntryView]) -> Self {
        let lanes = Lanes::of(entries);
        let mut placing = Placing {
            entries,
            stands_alone: stand_alone(entries, &lanes),
            lanes: &lanes,
            tracks: Vec::new(),
            of_entry: Vec::new(),
            of_lane: vec![None; lanes.len()],
            of_step: HashMap::new(),
            inside: HashMap::new(),
            outside: None,
        };
        for at in 0..entries.len() {
            let track = placing.track_of(at);
            placing.of_entry.push(track);
        }
        let Placing { mut tracks, of_entry, .. } = placing;
        endings::find(entries, &of_entry, &mut tracks);
        columns::give(&mut tracks);
        let mut by_column: Vec<Vec<TrackId>> = Vec::new();
        let mut going_in: HashMap<usize, Vec<TrackId>> = HashMap::new();
        for (at, track) in tracks.iter().enumerate() {
            by_column.resize_with(by_column.len().max(track.column + 1), Vec::new);
            by_column[track.column].push(TrackId(at));
            if track.into.is_some() {
                going_in.entry(track.ends).or_default().push(TrackId(at));
            }
        }
        Self { tracks, of_entry, by_column, going_in }
    }

    /// How many lie beside one another at most.
    pub fn columns(&self) -> usize {
        self.by_column.len()
    }

    pub fn track(&self, id: TrackId) -> &Track {
        &self.tracks[id.0]
    }

    /// The track that an entry is on.
    pub fn of_entry(&self, entry: usize) -> TrackId {
        self.of_entry[entry]
    }

    /// The tracks that are there at an entry, from left to right.
    pub fn at(&self, entry: usize) -> impl Iterator<Item = &Track> {
        let there = move |column: &Vec<TrackId>| {
            let begun = column.partition_point(|id| self.track(*id).begins <= entry);
            let latest = begun.checked_sub(1).map(|last| self.track(column[last]));
            latest.filter(|track| entry <= track.ends)
        };
        self.by_column.iter().filter_map(there)
    }

    /// The tracks that a step goes on with.
    pub fn going_into(&self, entry: usize) -> impl Iterator<Item = &Track> {
        self.going_in.get(&entry).into_iter().flatten().map(|id| self.track(*id))
    }
}

/// Tracks under construction.
struct Placing<'a> {
    entries: &'a [EntryView],
    lanes: &'a Lanes,
    /// By entry: whether it is a tool call with a track of its own.
    stands_alone: Vec<bool>,
    tracks: Vec<Track>,
    of_entry: Vec<TrackId>,
    of_lane: Vec<Option<TrackId>>,
    of_step: HashMap<StepNumber, TrackId>,
    /// Until when the agents are at work that were put on a tool's track.
    inside: HashMap<TrackId, i64>,
    /// Of what belongs to no loop.
    outside: Option<TrackId>,
}

impl Placing<'_> {
    fn track_of(&mut self, at: usize) -> TrackId {
        let entry = &self.entries[at];
        match entry.kind {
            EntryKind::Llm => {
                let track = self.of_step_entry(at);
                self.of_step.extend(entry.step.map(|step| (step, track)));
                track
            }
            EntryKind::Tool => {
                let waits = self.of_parent(at);
                match self.stands_alone[at] {
                    true => self.open(at, Some(waits), true),
                    false => waits,
                }
            }
            EntryKind::Other => self.at_work(at).unwrap_or_else(|| self.of_parent(at)),
        }
    }

    fn of_step_entry(&mut self, at: usize) -> TrackId {
        let Some(lane) = self.lanes.of_entry(at) else { return self.outside(at) };
        if let Some(track) = self.of_lane[lane] {
            return track;
        }
        let track = match self.lanes.origin(lane) {
            Origin::Nowhere => self.open(at, None, false),
            Origin::Step(step) => {
                let from = self.of_step.get(&step).copied();
                self.open(at, from, false)
            }
            Origin::Beside(other) => {
                let from = self.of_lane[other];
                self.open(at, from, true)
            }
            Origin::Inside(tool) => self.inside(at, lane, self.of_entry[tool]),
        };
        self.of_lane[lane] = Some(track);
        track
    }

    /// The first agent inside a tool is on the tool's track, one that runs beside it leaves that.
    fn inside(&mut self, at: usize, lane: usize, tool: TrackId) -> TrackId {
        let (start_us, end_us) = self.lanes.span(lane);
        if self.inside.get(&tool).is_some_and(|busy_until| *busy_until > start_us) {
            return self.open(at, Some(tool), true);
        }
        self.inside.insert(tool, end_us);
        tool
    }

    /// The track of the step that an entry belongs to, else of its loop.
    fn of_parent(&mut self, at: usize) -> TrackId {
        let entry = &self.entries[at];
        let of_step = entry.parent_step.and_then(|step| self.of_step.get(&step));
        let of_loop = |number: LoopNumber| self.lanes.first_of(number).and_then(|lane| self.of_lane[lane]);
        of_step.copied().or_else(|| entry.loop_number.and_then(of_loop)).unwrap_or_else(|| self.outside(at))
    }

    /// The track of the tool that made a call, where there is only one that can have.
    fn at_work(&self, at: usize) -> Option<TrackId> {
        let entry = &self.entries[at];
        let (step, start) = entry.parent_step.zip(entry.started_ms)?;
        let is_at_work = |tool: &usize| {
            let tool = &self.entries[*tool];
            tool.kind == EntryKind::Tool
                && tool.step == Some(step)
                && span_us(tool).is_some_and(|(from, to)| from <= start.us() && start.us() <= to)
        };
        let before = (0..at).rev().take_while(|before| {
            self.entries[*before].step != Some(step) || self.entries[*before].kind == EntryKind::Tool
        });
        let mut tools = before.filter(is_at_work);
        tools.next().filter(|_| tools.next().is_none()).map(|tool| self.of_entry[tool])
    }

    fn outside(&mut self, at: usize) -> TrackId {
        self.outside.unwrap_or_else(|| {
            let track = self.open(at, None, false);
            *self.outside.insert(track)
        })
    }

    fn open(&mut self, at: usize, from: Option<TrackId>, is_awaited: bool) -> TrackId {
        self.tracks.push(Track { begins: at, ends: at, from, into: None, column: 0, is_awaited });
        TrackId(self.tracks.len() - 1)
    }
}

/// When an entry began and ended. What was seen to begin and never to end goes on for ever.
fn span_us(entry: &EntryView) -> Option<(i64, i64)> {
    let start_us = entry.started_ms?.us();
    let is_inferred = entry.tool.as_ref().is_some_and(|tool| tool.source == super::ToolKnown::Inferred);
    let unknown_us = if is_inferred { start_us } else { i64::MAX };
    Some((start_us, entry.duration_ms.map_or(unknown_us, |took| start_us.saturating_add(took.us()))))
}
