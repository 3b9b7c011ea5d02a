//! What changed inside a file, line by line.

use serde::Serialize;
use similar::TextDiff;

/// Lines shown around each change.
const CONTEXT_LINES: usize = 3;
/// Lines of one text times lines of the other: beyond it they are counted as replaced, and not compared.
const MOST_LINES: usize = 30_000_000;

/// The difference of two files, or one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum TextChange {
    /// At least one is no text.
    Binary,
    Text {
        lines_added: usize,
        lines_removed: usize,
        /// In unified form, without a file's head. `None`: the texts are too long to be compared.
        diff: Option<String>,
    },
}

impl TextChange {
    /// Between two contents; of a file that came or went, one is empty.
    pub fn between(before: &[u8], after: &[u8]) -> Self {
        let is_text = |bytes: &[u8]| !bytes.contains(&0);
        let texts = std::str::from_utf8(before).ok().zip(std::str::from_utf8(after).ok());
        let Some((before, after)) = texts.filter(|_| is_text(before) && is_text(after)) else {
            return Self::Binary;
        };
        let (lines_before, lines_after) = (before.lines().count(), after.lines().count());
        if lines_before.saturating_mul(lines_after) > MOST_LINES {
            return Self::Text { lines_added: lines_after, lines_removed: lines_before, diff: None };
        }
        let diff = TextDiff::from_lines(before, after);
        let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        Self::Text {
            lines_added: count(similar::ChangeTag::Insert),
            lines_removed: count(similar::ChangeTag::Delete),
            diff: Some(diff.unified_diff().context_radius(CONTEXT_LINES).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_by_line() {
        let TextChange::Text { lines_added, lines_removed, diff } =
            TextChange::between(b"one\ntwo\nthree\n", b"one\n2\nthree\nfour")
        else {
            panic!("both are text")
        };
        assert_eq!((lines_added, lines_removed), (2, 1));
        insta::assert_snapshot!(diff.unwrap(), @r"
        @@ -1,3 +1,4 @@
         one
        -two
        +2
         three
        +four
        \ No newline at end of file
        ");
        assert_eq!(TextChange::between(b"a\0", b"a"), TextChange::Binary);
        assert_eq!(TextChange::between(b"\xff", b"a"), TextChange::Binary);
    }
}
