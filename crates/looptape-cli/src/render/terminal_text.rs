//! Recorded text made safe for a terminal, and cut to a width.

pub(crate) use looptape_core::visible_text::escape;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that escaped text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Escaped text in exactly `columns` columns: cut with `…`, or padded on the right.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let mut fitted = cut(text, columns);
    let missing = columns.saturating_sub(width(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// Escaped text in exactly `columns` columns, padded on the left.
pub(crate) fn fit_right(text: &str, columns: usize) -> String {
    let fitted = cut(text, columns);
    let missing = columns.saturating_sub(width(&fitted));
    format!("{}{fitted}", " ".repeat(missing))
}

/// Escaped text in at most `columns` columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= columns {
            break;
        }
        short.push(c);
    }
    if columns > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(fit("東京", 6), "東京  ");
        assert_eq!(fit("東京都", 5), "東京…");
        assert_eq!(width(&fit("東京都", 4)), 4);
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit_right("7", 3), "  7");
        assert_eq!(cut("abc", 0), "");
    }
}
