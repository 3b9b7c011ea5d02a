//! Recorded text made safe for a terminal, and cut to a width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Text in which everything that could move the cursor, hide text or turn its direction is written out:
/// control characters, bidirectional marks, zero-width characters, line and paragraph separators.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if is_hostile(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

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
    fn nothing_hostile_is_left() {
        let hostile = "a\x1b[31mred\x07\u{9b}2J\r\n\t\u{202e}evil\u{200b}\u{2028}";
        let safe = escape(hostile);
        assert_eq!(safe, "a\\u{1b}[31mred\\u{7}\\u{9b}2J\\r\\n\\t\\u{202e}evil\\u{200b}\\u{2028}");
        assert_eq!(escape("Grüße 東京 🎉"), "Grüße 東京 🎉");
    }

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
