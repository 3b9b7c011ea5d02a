//! Characters with a meaning, painted in runs of the same one.

use crate::render::style::{Style, Tone};

pub(super) type Cell = (char, Tone);

pub(super) fn blank(columns: usize) -> Vec<Cell> {
    vec![(' ', Tone::Plain); columns]
}

pub(super) fn paint(style: Style, cells: &[Cell]) -> String {
    cells
        .chunk_by(|a, b| a.1 == b.1)
        .map(|run| style.paint(run[0].1, &run.iter().map(|cell| cell.0).collect::<String>()))
        .collect()
}
