//! Two texts in one: what is the same, what was taken out, what was put in, word by word.
//!
//! The same two texts give the same diff every time: the work is bounded by their lengths, never by time.
//! The diff of two texts the other way round is this one with its changes turned round. Nothing of either
//! text is lost unless [`Extent::Cut`] asks for it.
//!
//! It knows nothing of JSON, of requests, or of terminals.

use serde::{Deserialize, Serialize};
use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::fmt;

/// Characters kept on each side of a change.
const CONTEXT_CHARS: usize = 60;
/// Characters kept of a change.
const CHANGE_CHARS: usize = 400;
/// Changes shown of one text.
const MOST_CHANGES: usize = 12;
/// Words of one text times words of the other: beyond it the texts are compared line by line.
const MOST_WORDS: usize = 4_000_000;
/// The same for lines: beyond it one text replaces the other.
const MOST_LINES: usize = 30_000_000;

/// How much of the texts is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The changes and some text around each.
    Cut,
    /// All of both.
    Whole,
}

/// Both texts in one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InlineDiff(pub Vec<Span>);

/// A stretch of text that is in both texts, or in one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub change: Change,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Same,
    /// In the first text only.
    Removed,
    /// In the second text only.
    Added,
}

impl InlineDiff {
    /// Of two texts.
    pub fn between(first: &str, second: &str, extent: Extent) -> Self {
        let spans = if first <= second { spans(first, second) } else { turned(spans(second, first)) };
        let whole = Self(join_changes(spans));
        match extent {
            Extent::Whole => whole,
            Extent::Cut => whole.cut(),
        }
    }

    /// The first text, as far as it was kept.
    pub fn first(&self) -> String {
        self.without(Change::Added)
    }

    /// The second text, as far as it was kept.
    pub fn second(&self) -> String {
        self.without(Change::Removed)
    }

    /// The diff the other way round.
    pub fn turned(self) -> Self {
        Self(join_changes(turned(self.0)))
    }

    fn without(&self, change: Change) -> String {
        self.0.iter().filter(|span| span.change != change).map(|span| span.text.as_str()).collect()
    }

    fn cut(self) -> Self {
        let last = self.0.len().saturating_sub(1);
        // What was removed and what came in its place are one change.
        let starts = |before: Option<&Span>| before.is_none_or(|span| span.change == Change::Same);
        let is_new: Vec<bool> = (0..self.0.len())
            .map(|at| self.0[at].change != Change::Same && starts(at.checked_sub(1).map(|at| &self.0[at])))
            .collect();
        let changes = is_new.iter().filter(|new| **new).count();
        let mut spans = Vec::with_capacity(self.0.len());
        let mut shown = 0;
        for (index, span) in self.0.into_iter().enumerate() {
            if span.change != Change::Same {
                shown += usize::from(is_new[index]);
                let text = shortened(&span.text, CHANGE_CHARS);
                spans.push(Span { text, ..span });
                continue;
            }
            if shown >= MOST_CHANGES && shown < changes {
                let text = format!("{}… ({} more changes)", head(&span.text), changes - shown);
                spans.push(Span { change: Change::Same, text });
                break;
            }
            let text = match (index == 0, index == last) {
                (true, true) => shortened(&span.text, CHANGE_CHARS),
                (true, false) => ending(&span.text),
                (false, true) => beginning(&span.text, CONTEXT_CHARS),
                (false, false) => shortened(&span.text, 2 * CONTEXT_CHARS),
            };
            spans.push(Span { text, ..span });
        }
        Self(spans)
    }
}

impl fmt::Display for InlineDiff {
    /// `same [-removed-]{+added+} same`, for places without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|span| match span.change {
            Change::Same => f.write_str(&span.text),
            Change::Removed => write!(f, "[-{}-]", span.text),
            Change::Added => write!(f, "{{+{}+}}", span.text),
        })
    }
}

/// A text of which at most about `chars` characters are kept, from its beginning and its end.
pub fn shortened(text: &str, chars: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= chars + CONTEXT_CHARS / 2 {
        return text.to_owned();
    }
    let half = chars / 2;
    let (head, tail) = (&all[..half], &all[all.len() - half..]);
    let left_out = all.len() - 2 * half;
    let mut short: String = head.iter().collect();
    if chars > 2 * CONTEXT_CHARS {
        short.push_str(&format!(" …{left_out} characters… "));
    } else {
        short.push_str(" … ");
    }
    short.extend(tail);
    short
}

/// A text of which at most `chars` characters are kept.
pub fn beginning(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn head(text: &str) -> String {
    text.chars().take(CONTEXT_CHARS).collect()
}

fn ending(text: &str) -> String {
    match text.char_indices().rev().nth(CONTEXT_CHARS) {
        Some((at, c)) => format!("…{}", &text[at + c.len_utf8()..]),
        None => text.to_owned(),
    }
}

fn turned(mut spans: Vec<Span>) -> Vec<Span> {
    for span in &mut spans {
        span.change = match span.change {
            Change::Same => Change::Same,
            Change::Removed => Change::Added,
            Change::Added => Change::Removed,
        };
    }
    spans
}

fn spans(first: &str, second: &str) -> Vec<Span> {
    let mut spans = Spans::default();
    by_words(first, second, &mut spans)
        .or_else(|| by_lines(first, second, &mut spans))
        .unwrap_or_else(|| spans.replace(first, second));
    spans.0
}

/// `None`, and nothing said, if that is too much work.
fn by_words(first: &str, second: &str, spans: &mut Spans) -> Option<()> {
    let (a, b) = (words(first), words(second));
    by_pieces(&a, &b, MOST_WORDS, spans, |spans, a, b| spans.replace(&a.concat(), &b.concat()))
}

fn by_lines(first: &str, second: &str, spans: &mut Spans) -> Option<()> {
    let (a, b): (Vec<&str>, Vec<&str>) =
        (first.split_inclusive('\n').collect(), second.split_inclusive('\n').collect());
    by_pieces(&a, &b, MOST_LINES, spans, |spans, a, b| {
        let (a, b) = (a.concat(), b.concat());
        by_words(&a, &b, spans).unwrap_or_else(|| spans.replace(&a, &b));
    })
}

fn by_pieces(
    a: &[&str],
    b: &[&str],
    most_work: usize,
    spans: &mut Spans,
    changed: impl Fn(&mut Spans, &[&str], &[&str]),
) -> Option<()> {
    let before = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let room = a.len().min(b.len()) - before;
    let after = a.iter().rev().zip(b.iter().rev()).take(room).take_while(|(x, y)| x == y).count();
    let (inner_a, inner_b) = (&a[before..a.len() - after], &b[before..b.len() - after]);
    if inner_a.len().saturating_mul(inner_b.len()) > most_work {
        return None;
    }
    spans.push(Change::Same, &a[..before].concat());
    for op in capture_diff_slices(Algorithm::Myers, inner_a, inner_b) {
        let (a, b) = (&inner_a[op.old_range()], &inner_b[op.new_range()]);
        match op {
            DiffOp::Equal { .. } => spans.push(Change::Same, &a.concat()),
            DiffOp::Delete { .. } | DiffOp::Insert { .. } | DiffOp::Replace { .. } => changed(spans, a, b),
        }
    }
    spans.push(Change::Same, &a[a.len() - after..].concat());
    Some(())
}

/// Runs of letters, digits and what joins them; runs of blanks; anything else by itself.
fn words(text: &str) -> Vec<&str> {
    #[derive(PartialEq)]
    enum Kind {
        Word,
        Blank,
        Mark,
    }
    let kind = |c: char| match c {
        c if c.is_whitespace() => Kind::Blank,
        '{' | '}' | '[' | ']' | '"' | ',' | ':' | ';' | '(' | ')' | '<' | '>' | '=' | '/' => Kind::Mark,
        _ => Kind::Word,
    };
    let mut words = Vec::new();
    let mut start = 0;
    let mut open: Option<Kind> = None;
    for (at, c) in text.char_indices() {
        let this = kind(c);
        if at > start && (open.as_ref() != Some(&this) || this == Kind::Mark) {
            words.push(&text[start..at]);
            start = at;
        }
        open = Some(this);
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

#[derive(Default)]
struct Spans(Vec<Span>);

impl Spans {
    fn push(&mut self, change: Change, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(open) if open.change == change => open.text.push_str(text),
            _ => self.0.push(Span { change, text: text.to_owned() }),
        }
    }

    fn replace(&mut self, first: &str, second: &str) {
        self.push(Change::Removed, first);
        self.push(Change::Added, second);
    }
}

/// Joins changes with nothing but blanks between them, so that a rewritten sentence reads as one change
/// and not as one per word. What was removed comes before what was added.
fn join_changes(spans: Vec<Span>) -> Vec<Span> {
    let last = spans.len().saturating_sub(1);
    let mut joined = Spans::default();
    let (mut removed, mut added) = (String::new(), String::new());
    for (index, span) in spans.into_iter().enumerate() {
        let in_change = !(removed.is_empty() && added.is_empty());
        match span.change {
            Change::Removed => removed.push_str(&span.text),
            Change::Added => added.push_str(&span.text),
            Change::Same if in_change && index < last && span.text.trim().is_empty() => {
                removed.push_str(&span.text);
                added.push_str(&span.text);
            }
            Change::Same => {
                joined.replace(&std::mem::take(&mut removed), &std::mem::take(&mut added));
                joined.push(Change::Same, &span.text);
            }
        }
    }
    joined.replace(&removed, &added);
    joined.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn diff(first: &str, second: &str) -> String {
        InlineDiff::between(first, second, Extent::Cut).to_string()
    }

    #[test]
    fn changes_are_marked_word_by_word() {
        for (first, second, expected) in [
            ("Be very brief.", "Be quite brief.", "Be [-very-]{+quite+} brief."),
            ("one two three", "one 2 3", "one [-two three-]{+2 3+}"),
            (
                r#"{"city":"Oslo","n":1}"#,
                r#"{"city":"Bergen","n":1}"#,
                r#"{"city":"[-Oslo-]{+Bergen+}","n":1}"#,
            ),
            ("at 12:30:01", "at 12:31:01", "at 12:[-30-]{+31+}:01"),
            ("a", "", "[-a-]"),
            ("", "", ""),
            ("7 °C", "9 °C", "[-7-]{+9+} °C"),
        ] {
            assert_eq!(diff(first, second), expected);
        }
    }

    #[test]
    fn two_changes_far_apart_are_both_shown() {
        let text = |a: &str, b: &str| {
            format!("{}{a} {}{b} {}", "x ".repeat(200), "y ".repeat(900), "z ".repeat(300))
        };
        let shown = diff(&text("old", "1"), &text("new", "2"));
        assert!(shown.contains("[-old-]{+new+}") && shown.contains("[-1-]{+2+}"), "{shown}");
        assert!(shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() < 400, "{shown}");
    }

    #[test]
    fn what_is_too_long_to_compare_is_cut() {
        let rewritten = diff(&"a b ".repeat(90_000), &"c d ".repeat(90_000));
        assert!(rewritten.chars().count() < 1200 && rewritten.contains("characters…"));
        let lines = |n: usize, word: &str| -> String {
            (0..5000).map(|i| format!("line {i} {}\n", if i == n { word } else { "same" })).collect()
        };
        let shown = diff(&lines(2500, "old"), &(lines(2500, "new") + "end"));
        assert!(shown.contains("line 2500 [-old-]{+new+}") && shown.ends_with("{+end+}"), "{shown}");
        let many = diff(&"a b c d e f\n".repeat(100), &"a b c x e f\n".repeat(100));
        assert!(many.ends_with("(88 more changes)"), "{many}");
    }

    proptest! {
        /// Both texts can be read off a whole diff, which is the same the other way round; cutting never
        /// panics.
        #[test]
        fn nothing_is_lost(a in "[a-cé \n{:]{0,60}", b in "[a-cé \n{:]{0,60}") {
            let whole = InlineDiff::between(&a, &b, Extent::Whole);
            prop_assert_eq!(whole.first(), a.clone());
            prop_assert_eq!(whole.second(), b.clone());
            prop_assert_eq!(whole.turned(), InlineDiff::between(&b, &a, Extent::Whole));
            let cut = InlineDiff::between(&a.repeat(5), &b.repeat(5), Extent::Cut);
            prop_assert!(cut.0.iter().all(|span| !span.text.is_empty()));
        }
    }
}
