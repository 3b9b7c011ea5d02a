//! The bar that shows where in the trace the time went.

use super::cells::{Cell, blank};
use crate::render::figures::duration;
use crate::render::style::Tone;
use crate::render::terminal_text::fit_right;
use looptape_core::metrics::Ms;
use looptape_core::view::{AttemptView, TraceView};

/// The time line at the right: `columns` cells for the trace's duration.
pub(super) struct Bar {
    pub(super) columns: usize,
    whole_us: i64,
}

impl Bar {
    pub(super) fn new(view: &TraceView, columns: usize) -> Self {
        let whole_us = view.trace.metrics.time.duration_ms.map_or(0, Ms::us);
        Self { columns: if whole_us > 0 { columns } else { 0 }, whole_us }
    }

    /// `0` at the left end and the trace's duration at the right one.
    pub(super) fn scale(&self) -> String {
        match self.columns {
            0..12 => String::new(),
            columns => format!("0{}", fit_right(&duration(Ms::from_us(self.whole_us)), columns - 1)),
        }
    }

    pub(super) fn cells(&self) -> Vec<Cell> {
        blank(self.columns)
    }

    pub(super) fn attempt(&self, cells: &mut [Cell], attempt: &AttemptView, cell: char, tone: Tone) {
        self.fill(cells, attempt.started_ms, attempt.duration_ms, cell, tone);
    }

    /// The wait between two attempts.
    pub(super) fn between(&self, cells: &mut [Cell], before: &AttemptView, after: &AttemptView) {
        let end = before.started_ms.zip(before.duration_ms).map(|(start, took)| start + took);
        let waited = end.zip(after.started_ms).map(|(end, start)| start - end);
        let mut wait = self.cells();
        self.fill(&mut wait, end, waited, '·', Tone::Warning);
        for (cell, waiting) in cells.iter_mut().zip(wait) {
            if cell.0 == ' ' {
                *cell = waiting;
            }
        }
    }

    /// From a start for a duration; without one, to the end. What happened takes at least one cell.
    pub(super) fn fill(
        &self,
        cells: &mut [Cell],
        start: Option<Ms>,
        took: Option<Ms>,
        cell: char,
        tone: Tone,
    ) {
        let Some(start) = start.filter(|_| self.columns > 0) else { return };
        let end_us = took.map_or(self.whole_us, |took| start.us() + took.us());
        let place = |us: i64| {
            let share = us.clamp(0, self.whole_us) as f64 / self.whole_us as f64;
            share * self.columns as f64
        };
        let first = (place(start.us()).floor() as usize).min(self.columns - 1);
        let last = (place(end_us).ceil() as usize).clamp(first + 1, self.columns);
        cells[first..last].fill((cell, tone));
    }
}
