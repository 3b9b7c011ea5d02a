//! A report in one file: figures, plots and tables, without anything to be served.
//!
//! Whoever has something to report says it as a [`Report`], in words and numbers; this draws it. Every plot has its table
//! beside it, made of the same numbers, so that nothing is told by a picture alone; without scripts the tables remain.
//!
//! What this does not do: compute, or know what is reported.

mod html;
mod plot;
mod unit;

pub use plot::{Axis, Bar, Bars, Curves, Ink, Line, Mark, Shape};
pub use unit::Unit;

use crate::one_file::OneFile;
use crate::vendor::{UPLOT_CSS, UPLOT_JS};
use serde_json::json;

const CSS: &str = include_str!("../../assets/report/report.css");
const JS: &str = include_str!("../../assets/report/report.js");

/// All that a report says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub title: String,
    /// What it is a report of, a line each.
    pub lead: Vec<String>,
    pub notices: Vec<Notice>,
    /// The figures that one looks for first.
    pub figures: Vec<KeyFigure>,
    pub sections: Vec<Section>,
}

/// Something that must not be overlooked.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub tone: Tone,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Warning,
    Bad,
}

#[derive(Clone, Debug, PartialEq)]
pub struct KeyFigure {
    pub name: String,
    pub value: String,
    pub note: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub heading: String,
    pub fold: Fold,
    pub blocks: Vec<Block>,
}

/// Whether a section is seen at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    Open,
    /// Behind its heading, until that is clicked.
    Closed,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Text(String),
    Curves(Curves),
    Bars(Bars),
    Table(Table),
    /// Text as it is written.
    Source(String),
}

/// Rows of cells; the first `words` columns are read from the left, the others are figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it is a table of, for those who do not see what stands around it.
    pub caption: String,
    pub words: usize,
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Section {
    pub fn open(heading: &str, blocks: Vec<Block>) -> Self {
        Self { heading: heading.to_owned(), fold: Fold::Open, blocks }
    }

    pub fn closed(heading: &str, blocks: Vec<Block>) -> Self {
        Self { heading: heading.to_owned(), fold: Fold::Closed, blocks }
    }
}

impl Report {
    /// The report as one file of HTML.
    pub fn text(&self) -> String {
        let curves = || {
            self.sections.iter().flat_map(|section| &section.blocks).filter_map(|block| match block {
                Block::Curves(curves) => Some(curves),
                _ => None,
            })
        };
        let plots: Vec<_> = curves().map(Curves::drawn).collect();
        OneFile {
            title: &self.title,
            styles: &[UPLOT_CSS, CSS],
            scripts: &[UPLOT_JS, JS],
            data: &[("plots", json!(plots))],
            body: html::body(self),
        }
        .text()
    }
}

#[cfg(test)]
mod tests;
