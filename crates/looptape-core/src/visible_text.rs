//! Recorded text, made visible: everything in it that could act on a terminal is written out.
//!
//! Recordings hold whatever providers, tools and web pages sent. Nothing of it is printed but through here. It
//! does not know about files, formats or colours.

/// Text in which everything that could move the cursor, hide text or turn its direction is written out:
/// control characters, bidirectional marks, zero-width characters, line and paragraph separators.
pub fn escape(text: &str) -> String {
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
}
