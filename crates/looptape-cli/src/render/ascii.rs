//! Text for terminals that show ASCII only.
//!
//! Invariant: what takes a column takes one afterwards, so tables stay in line.

use unicode_width::UnicodeWidthChar;

/// `text` without any character that is not ASCII.
pub(crate) fn ascii(text: &str) -> String {
    text.chars().flat_map(|c| std::iter::repeat_n(in_ascii(c), columns(c))).collect()
}

fn columns(c: char) -> usize {
    if c.is_ascii() { 1 } else { c.width().unwrap_or(1) }
}

fn in_ascii(c: char) -> char {
    match c {
        _ if c.is_ascii() => c,
        '✓' => '+',
        '✗' | '×' => 'x',
        '↻' | '…' => '~',
        '●' => '*',
        '○' => 'o',
        '▪' | '·' => '.',
        '│' | '├' | '┊' => '|',
        '─' | '┴' | '−' | '–' | '→' => '-',
        '╯' => '\'',
        '╰' => '`',
        '█' => '#',
        '▓' => '!',
        '▒' => '=',
        '░' => ':',
        '≤' => '<',
        '≥' => '>',
        '∞' => '^',
        '▁' | '▂' => '_',
        '▃' | '▄' => '-',
        '▅' | '▆' => '=',
        '▇' => '#',
        '\u{a0}' | '\u{2009}' | '\u{202f}' => ' ',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::terminal_text::width;

    #[test]
    fn lanes_and_bars_keep_their_shape() {
        let text =
            "✓ 1     ●     gpt-4o → a\n✓ 1.1   ├─○   a {\"x\":\"東京\"} ≤60 ms ░▒\n✓ 2     ●─┴─╯ done…  █\n";
        insta::assert_snapshot!(ascii(text), @r#"
        + 1     *     gpt-4o - a
        + 1.1   |-o   a {"x":"????"} <60 ms :=
        + 2     *---' done~  #
        "#);
        for (before, after) in text.lines().zip(ascii(text).lines()) {
            assert_eq!(width(before), after.len());
        }
    }

    #[test]
    fn nothing_but_ascii_is_left() {
        assert!(ascii("é\u{301}\u{1F600}⇒¥").is_ascii());
    }
}
