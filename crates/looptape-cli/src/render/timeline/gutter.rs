//! The lanes at the left: a line for each agent, and for each tool that was under way beside something else.
//!
//! ```text
//! ●       a model step
//! ├─○     a tool call begins beside what comes after it,
//! ├─│─○   and another one
//! │ ● │   a sub-agent inside the first
//! ●─┴─╯   the step that goes on with what came of both
//! ```
//!
//! Invariant: where nothing is beside anything there is no gutter. What finds no room is drawn in the last column, with `┊`
//! for all that is under way there.

use super::cells::{Cell, blank};
use crate::render::style::Tone;
use looptape_core::view::tracks::{Track, Tracks};
use looptape_core::view::{EntryKind, EntryView, TraceView};

/// More lanes than these are never drawn apart.
const MAX_LANES: usize = 12;

pub(super) struct Gutter {
    tracks: Tracks,
    lanes: usize,
}

/// What a line of an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    FailedAttempt,
    Itself,
}

impl Gutter {
    /// In `room` columns; `None` if there is nothing to draw.
    pub(super) fn new(view: &TraceView, room: usize) -> Option<Self> {
        let tracks = Tracks::of(&view.steps);
        let lanes = tracks.columns().min(MAX_LANES).min(room / 2);
        (lanes > 1).then_some(Self { tracks, lanes })
    }

    /// Terminal columns, the space before the text included.
    pub(super) fn columns(&self) -> usize {
        2 * self.lanes
    }

    /// The lanes that share the last column, if some do.
    pub(super) fn folded(&self) -> Option<usize> {
        let all = self.tracks.columns();
        (all > self.lanes).then_some(all + 1 - self.lanes)
    }

    /// A line of the entry at `at`, the `nth` of its lines.
    pub(super) fn cells(&self, at: usize, entry: &EntryView, nth: usize, line: Line) -> Vec<Cell> {
        let mut cells = blank(self.columns());
        let own = self.tracks.of_entry(at);
        for track in self.tracks.at(at).filter(|track| nth == 0 || at < track.ends) {
            let place = self.place(track);
            let is_shared = self.folded().is_some() && place + 2 == self.columns();
            cells[place] = (if is_shared { '┊' } else { '│' }, Tone::Quiet);
        }
        if nth == 0 {
            self.joints(&mut cells, at);
        }
        cells[self.place(self.tracks.track(own))] = node(entry, line);
        cells
    }

    fn place(&self, track: &Track) -> usize {
        2 * track.column.min(self.lanes - 1)
    }

    /// What leaves another track at this entry, and what goes into its own.
    fn joints(&self, cells: &mut [Cell], at: usize) {
        let own = self.tracks.track(self.tracks.of_entry(at));
        if let Some(from) = own.from.filter(|_| own.begins == at).map(|from| self.tracks.track(from)) {
            let corner = if from.ends == at { '╰' } else { '├' };
            self.connect(cells, (self.place(from), corner), self.place(own));
        }
        let mut going_in: Vec<usize> = self.tracks.going_into(at).map(|track| self.place(track)).collect();
        going_in.sort_unstable();
        going_in.dedup();
        for (nth, place) in going_in.iter().enumerate() {
            let corner = if nth + 1 == going_in.len() { '╯' } else { '┴' };
            self.connect(cells, (*place, corner), self.place(own));
        }
    }

    /// A horizontal line. It passes below the lanes between its ends.
    fn connect(&self, cells: &mut [Cell], (place, corner): (usize, char), own: usize) {
        let (left, right) = (place.min(own), place.max(own));
        for cell in &mut cells[left + 1..right] {
            if cell.0 == ' ' {
                *cell = ('─', Tone::Quiet);
            }
        }
        cells[place] = (corner, Tone::Quiet);
    }
}

fn node(entry: &EntryView, line: Line) -> Cell {
    match (line, entry.kind) {
        (Line::FailedAttempt, _) => ('×', Tone::Bad),
        (Line::Itself, EntryKind::Llm) => ('●', Tone::Model),
        (Line::Itself, EntryKind::Tool) => ('○', Tone::Tool),
        (Line::Itself, EntryKind::Other) => ('▪', Tone::Quiet),
    }
}
