//! A table of short cells: columns as wide as what is in them.

use super::terminal_text::{fit, fit_right, width};

/// What a word column may take.
const WIDEST: usize = 40;

/// Titles and rows. The first `words` columns are read from the left, figures from the right. Cells are escaped already.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    words: usize,
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(titles: [&str; N], words: usize, rows: Vec<[String; N]>) -> Self {
        Self {
            words,
            titles: titles.map(str::to_owned).into(),
            rows: rows.into_iter().map(Vec::from).collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines of equal columns, the titles first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let column = |at: usize| self.rows.iter().map(move |row| width(&row[at])).max().unwrap_or(0);
        let titles = self.titles.iter().enumerate();
        let widths: Vec<usize> = titles.map(|(at, title)| column(at).max(width(title)).min(WIDEST)).collect();
        let line = |cells: &Vec<String>| {
            let cell = |(at, text): (usize, &String)| match at < self.words {
                true => fit(text, widths[at]),
                false => fit_right(text, widths[at]),
            };
            let cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
            cells.join("  ").trim_end().to_owned()
        };
        std::iter::once(&self.titles).chain(&self.rows).map(line).collect()
    }

    /// The same for a report.
    pub(crate) fn on_page(self, caption: &str) -> looptape_page::report::Table {
        let Self { words, titles, rows } = self;
        looptape_page::report::Table { caption: caption.to_owned(), words, titles, rows }
    }
}

/// The lines of a table.
pub(crate) fn lines<const N: usize>(titles: [&str; N], words: usize, rows: &[[String; N]]) -> Vec<String> {
    Table::new(titles, words, rows.to_vec()).lines()
}
