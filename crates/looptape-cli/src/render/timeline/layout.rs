//! The table: which columns there are, and the line of an entry in them.

use super::bar::Bar;
use super::cells::paint;
use super::column::{Column, NARROW_FIGURES, WIDE_FIGURES};
use super::gutter::{Gutter, Line};
use super::wording::{ending, indented, mark, number, what};
use crate::render::figures::{duration, plural};
use crate::render::style::{Style, Tone};
use crate::render::terminal_text::{fit, fit_right};
use looptape_core::view::{AttemptView, EntryKind, EntryView, ToolKnown, TraceView};

/// Below this many columns, lanes not counted, the table loses its cache and TTFT columns.
const WIDE: usize = 96;
const MIN_WIDTH: usize = 64;
const MARK_AND_NUMBER: usize = 2 + 6;
/// Of the columns that figures leave, the part that lanes may take, and that of the bar beside what is left.
const LANES_PART: (usize, usize) = (1, 3);
const BAR_PART: (usize, usize) = (2, 5);

pub(super) struct Layout {
    style: Style,
    gutter: Option<Gutter>,
    figures: &'static [Column],
    what_columns: usize,
    bar: Bar,
}

impl Layout {
    pub(super) fn new(view: &TraceView, style: Style) -> Self {
        let width = style.width.max(MIN_WIDTH);
        let part = |of: usize, (above, below): (usize, usize)| of * above / below;
        let gutter = Gutter::new(view, part(width - taken(NARROW_FIGURES), LANES_PART));
        let lanes = gutter.as_ref().map_or(0, Gutter::columns);
        let figures = if width >= WIDE + lanes { WIDE_FIGURES } else { NARROW_FIGURES };
        let free = width.saturating_sub(taken(figures) + lanes);
        let bar = Bar::new(view, part(free, BAR_PART));
        Self { style, gutter, figures, what_columns: free - bar.columns, bar }
    }

    pub(super) fn heading(&self) -> String {
        let titles: String =
            self.figures.iter().map(|c| format!(" {}", fit_right(c.title(), c.width()))).collect();
        let what = fit("", self.what_columns + self.gutter.as_ref().map_or(0, Gutter::columns));
        let text = format!("  {}{what}{titles} {}", fit("step", 6), self.bar.scale());
        self.style.paint(Tone::Quiet, &text)
    }

    /// What the lanes mean, if there are any.
    pub(super) fn legend(&self) -> Vec<String> {
        let Some(gutter) = &self.gutter else { return Vec::new() };
        let lines = "lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it";
        let marks = "● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt";
        let folded = gutter.folded().map(|lanes| {
            let lanes = plural(u32::try_from(lanes).unwrap_or(u32::MAX), "lane", "lanes");
            format!("the last column holds {lanes}: there is no room to draw them apart")
        });
        let lines = [lines.to_owned(), marks.to_owned()].into_iter().chain(folded);
        lines.map(|line| self.style.paint(Tone::Quiet, &line)).collect()
    }

    /// Failed attempts that were tried again come first, each on a line of its own.
    pub(super) fn entry(&self, at: usize, entry: &EntryView) -> Vec<String> {
        let retried = entry.attempts.len().saturating_sub(1);
        let failed = entry.attempts.iter().take(retried).enumerate();
        let failed = failed.map(|(nth, attempt)| {
            let lanes = self.lanes(at, entry, nth, Line::FailedAttempt);
            self.failed_attempt(entry, attempt, &lanes)
        });
        let lanes = self.lanes(at, entry, retried, Line::Itself);
        failed.chain([self.line(entry, &lanes)]).collect()
    }

    fn lanes(&self, at: usize, entry: &EntryView, nth: usize, line: Line) -> String {
        let cells = self.gutter.as_ref().map(|gutter| gutter.cells(at, entry, nth, line));
        cells.map_or(String::new(), |cells| paint(self.style, &cells))
    }

    fn failed_attempt(&self, entry: &EntryView, attempt: &AttemptView, lanes: &str) -> String {
        let next = entry.attempts.get(attempt.attempt as usize);
        let layer =
            next.and_then(|next| next.retry_layer).map(|layer| format!(" → {} retry", layer.as_str()));
        let wait = next.and_then(|next| next.backoff_ms).map(|wait| format!(" +{}", duration(wait)));
        let what = format!("{}{}{}", ending(attempt), layer.unwrap_or_default(), wait.unwrap_or_default());
        let figure = |column: &Column| match column {
            Column::Time => attempt.duration_ms.map(duration).unwrap_or_default(),
            _ => String::new(),
        };
        let number = fit(&format!("{}#{}", number(entry), attempt.attempt), 6);
        let what = format!("{}{}", self.what(entry, &what), self.figures(figure));
        let mut cells = self.bar.cells();
        self.bar.attempt(&mut cells, attempt, '▓', Tone::Bad);
        if let Some(next) = next {
            self.bar.between(&mut cells, attempt, next);
        }
        let paint_warning = |text: &str| self.style.paint(Tone::Warning, text);
        format!(
            "{}{lanes}{} {}",
            paint_warning(&format!("↻ {number}")),
            paint_warning(&what),
            paint(self.style, &cells)
        )
    }

    fn line(&self, entry: &EntryView, lanes: &str) -> String {
        let (mark, tone) = mark(entry);
        let mut cells = self.bar.cells();
        match (entry.kind, entry.attempts.last()) {
            (EntryKind::Tool, _) => {
                let is_measured = entry.tool.as_ref().is_some_and(|tool| tool.source != ToolKnown::Inferred);
                let cell = if is_measured { '▒' } else { '░' };
                self.bar.fill(&mut cells, entry.started_ms, entry.duration_ms, cell, Tone::Tool)
            }
            (EntryKind::Llm, Some(attempt)) => self.bar.attempt(&mut cells, attempt, '█', Tone::Model),
            (EntryKind::Other, Some(attempt)) => self.bar.attempt(&mut cells, attempt, '▪', Tone::Quiet),
            (EntryKind::Llm | EntryKind::Other, None) => {}
        }
        format!(
            "{} {}{lanes}{}{} {}",
            self.style.paint(tone, mark),
            fit(&number(entry), 6),
            self.what(entry, &what(entry)),
            self.figures(|column| column.figure(entry)),
            paint(self.style, &cells)
        )
    }

    fn what(&self, entry: &EntryView, what: &str) -> String {
        match self.gutter {
            Some(_) => fit(what, self.what_columns),
            None => fit(&indented(entry, what), self.what_columns),
        }
    }

    fn figures(&self, figure: impl Fn(&Column) -> String) -> String {
        self.figures.iter().map(|column| format!(" {}", fit_right(&figure(column), column.width()))).collect()
    }
}

/// What mark, number and figures take of a line, with the space before the bar.
fn taken(figures: &[Column]) -> usize {
    MARK_AND_NUMBER + figures.iter().map(|column| column.width() + 1).sum::<usize>() + 1
}
