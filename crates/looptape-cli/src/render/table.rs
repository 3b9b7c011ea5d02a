//! A table of short cells: columns as wide as what is in them.

use super::terminal_text::{fit, fit_right, width};

/// What a word column may take.
const WIDEST: usize = 40;

/// Lines of equal columns, the titles first. The first `words` columns are read from the left, figures from the
/// right. Cells are escaped already.
pub(crate) fn lines<const N: usize>(titles: [&str; N], words: usize, rows: &[[String; N]]) -> Vec<String> {
    let column = |at: usize| rows.iter().map(move |row| width(&row[at])).max().unwrap_or(0);
    let widths: Vec<usize> =
        titles.iter().enumerate().map(|(at, title)| column(at).max(width(title)).min(WIDEST)).collect();
    let line = |cells: &[String; N]| {
        let cell = |(at, text): (usize, &String)| match at < words {
            true => fit(text, widths[at]),
            false => fit_right(text, widths[at]),
        };
        let cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    std::iter::once(&titles.map(str::to_owned)).chain(rows).map(line).collect()
}
