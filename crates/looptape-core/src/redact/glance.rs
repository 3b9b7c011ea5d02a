//! A glance at a text: where in it a secret could be, at a few instructions a byte.
//!
//! Keys and tokens are long words: of so many characters that may stand in one, without a space, a quote or a
//! colon between them. Most text has none, and the anchors (`builtin`) need to be looked for only around those
//! that there are. What is no long word (passwords, PEM blocks, URLs with a password in them) is found by a few
//! letters of its label.
//!
//! It finds no secret: it rules texts out. Whatever a pattern matches is suspected here, which the tests hold for
//! text made from the patterns' own expressions.

use super::builtin::KnownBy;
use aho_corasick::packed;
use memchr::memmem::Finder;
use regex::bytes::Regex;
use std::ops::Range;

/// What to look for.
#[derive(Debug)]
pub(super) struct Glance {
    /// Three letters of each password's label, in every case; `None` on machines on which this is slow.
    password_labels: Option<packed::Searcher>,
    key_block: Finder<'static>,
    authority: Finder<'static>,
}

impl Glance {
    /// A glance for patterns that are known by these; `None` if one of them is known by nothing.
    pub(super) fn at(mut patterns: impl Iterator<Item = KnownBy>) -> Option<Self> {
        patterns.all(|known| known != KnownBy::Nothing).then(|| Self {
            password_labels: packed::Searcher::new(in_every_case(PASSWORD_LABELS)),
            key_block: Finder::new(KEY_BLOCK),
            authority: Finder::new(AUTHORITY),
        })
    }

    /// Whether `text` may hold a secret. `anchors` finds any pattern's anchor.
    pub(super) fn suspects(&self, text: &[u8], anchors: &Regex) -> bool {
        has_anchored_word(text, anchors)
            || self.key_block.find(text).is_some()
            || self.authority.find_iter(text).any(|at| has_url_password(&text[at + AUTHORITY.len()..]))
            || self.has_password_label(text)
    }

    fn has_password_label(&self, text: &[u8]) -> bool {
        let Some(labels) = &self.password_labels else { return true };
        labels.find_iter(text).any(|label| is_assigned(&text[label.end()..]))
    }
}

/// Letters that stand in `password`, `passwd`, `passphrase` and `pwd`, and seldom elsewhere.
const PASSWORD_LABELS: [&[u8; 3]; 3] = [b"ssw", b"sph", b"pwd"];
/// Letters of a password's label after those.
const MOST_LETTERS_AFTER: usize = 4;
const KEY_BLOCK: &[u8] = b"PRIVATE KEY";
const AUTHORITY: &[u8] = b"://";

fn in_every_case(words: [&[u8; 3]; 3]) -> Vec<[u8; 3]> {
    let cased = |word: &[u8; 3], cases: usize| {
        let mut word = *word;
        let upper = word.iter_mut().enumerate().filter(|(at, _)| cases >> at & 1 == 1);
        upper.for_each(|(_, letter)| letter.make_ascii_uppercase());
        word
    };
    words.into_iter().flat_map(|word| (0..8).map(move |cases| cased(word, cases))).collect()
}

/// Whether a label that ends in these letters has a value.
fn is_assigned(rest: &[u8]) -> bool {
    let letters = rest.iter().take(MOST_LETTERS_AFTER).take_while(|b| b.is_ascii_alphabetic()).count();
    let mut rest = rest[letters..].iter().skip_while(|b| is_quote(**b)).skip_while(|b| is_space(**b));
    rest.next().is_some_and(|b| matches!(b, b':' | b'='))
}

/// Whether what follows `://` has a colon before the at sign of its authority.
fn has_url_password(authority: &[u8]) -> bool {
    let ends = |b: &u8| is_space(*b) || b"/@\"'\\<>".contains(b);
    let Some(user) = authority.iter().position(|b| ends(b) || b":?#".contains(b)) else { return false };
    authority[user] == b':'
        && authority[user + 1..].iter().find(|b| ends(b) || **b == b'`').is_some_and(|end| *end == b'@')
}

/// Keys and tokens are no shorter.
const SHORTEST_WORD: usize = 15;
/// No label is longer, nor what may stand between it and a token.
const LONGEST_LABEL: usize = 64;

/// The characters of keys and tokens.
const IS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        table[b] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'.' | b'~' | b'+' | b'/' | b'=' | b'%' | b'-');
        b += 1;
    }
    table
};

/// Whether an anchor stands in or before a long word. No part of the text is searched twice.
fn has_anchored_word(text: &[u8], anchors: &Regex) -> bool {
    let has_anchor = |part: Range<usize>| anchors.is_match(&text[part]);
    let mut part: Option<Range<usize>> = None;
    for word in (LongWords { text, at: 0 }) {
        let start = label_start(text, word.start);
        match &mut part {
            Some(part) if start <= part.end => part.end = word.end,
            _ => {
                if part.replace(start..word.end).is_some_and(has_anchor) {
                    return true;
                }
            }
        }
    }
    part.is_some_and(has_anchor)
}

/// The words of a text that are long enough.
struct LongWords<'a> {
    text: &'a [u8],
    /// What lies before is no part of any that is to come.
    at: usize,
}

impl Iterator for LongWords<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let shortest = self.text.get(self.at..self.at + SHORTEST_WORD)?;
            match shortest.iter().rposition(|b| !IS_WORD[usize::from(*b)]) {
                Some(gap) => self.at += gap + 1,
                None => {
                    let start = self.at;
                    let rest = &self.text[start + SHORTEST_WORD..];
                    let more = rest.iter().position(|b| !IS_WORD[usize::from(*b)]).unwrap_or(rest.len());
                    self.at = start + SHORTEST_WORD + more;
                    return Some(start..self.at);
                }
            }
        }
    }
}

/// Words that may stand between a label and its value.
const SCHEMES: [&[u8]; 7] = [b"basic", b"token", b"apikey", b"digest", b"key", b"%20", ESCAPED_SPACE];
/// Behind a backslash.
const ESCAPED_SPACE: &[u8] = b"u0020";

/// Where the label may begin of a value that begins at `value`.
fn label_start(text: &[u8], value: usize) -> usize {
    let is_between = |b: &u8| is_quote(*b) || is_space(*b) || matches!(b, b':' | b'=' | b'>' | b'+');
    let mut before = &text[..value];
    // The word may begin with the end of an escaped space.
    let escaped = value + ESCAPED_SPACE.len();
    if text.get(value..escaped).is_some_and(|head| head.eq_ignore_ascii_case(ESCAPED_SPACE)) {
        before = &text[..escaped];
    }
    loop {
        let length = before.iter().rposition(|b| !is_between(b)).map_or(0, |last| last + 1);
        before = &before[..length];
        let ends_with = |word: &&&[u8]| {
            let tail = length.checked_sub(word.len()).map(|at| &before[at..]);
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word))
        };
        match SCHEMES.iter().find(ends_with) {
            Some(word) => before = &before[..length - word.len()],
            None => return length.saturating_sub(LONGEST_LABEL),
        }
    }
}

fn is_quote(b: u8) -> bool {
    matches!(b, b'\\' | b'"' | b'\'')
}

/// As `\s` means it for bytes.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        LongWords { text: text.as_bytes(), at: 0 }.map(|word| &text[word]).collect()
    }

    #[test]
    fn long_words_are_found_wherever_they_stand() {
        let (short, long) = ("a".repeat(14), "b".repeat(15));
        for before in ["", " ", "a a ", "aaaa aaaaaaaaaaaa: "] {
            assert_eq!(words(&format!("{before}{short}")), [""; 0]);
            for after in ["", " ", " aaa", "\"}"] {
                assert_eq!(words(&format!("{before}{long}{after}")), [&long]);
                assert_eq!(words(&format!("{before}{long}{long} {short}\n{long}{after}")).len(), 2);
            }
        }
    }

    #[test]
    fn a_label_reaches_its_value_over_anything_that_may_lie_between() {
        let far = " ".repeat(300);
        for between in [&far, "\\u0020\\u0020\\u0020\\u0020", "\\\": '", &format!(": {far}basic{far}")] {
            let text = format!("authorization{between}aaaaaaaaaaaaaaaaaaaaaaaa");
            assert_eq!(label_start(text.as_bytes(), text.len() - 24), 0, "{text}");
        }
        let text = format!("{far}x aaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(label_start(text.as_bytes(), 302), 301 - LONGEST_LABEL);
    }

    #[test]
    fn labels_without_a_value_are_passed_over() {
        let suspects = |text: &str| {
            let glance = Glance::at([KnownBy::LongWord].into_iter()).unwrap();
            glance.suspects(text.as_bytes(), &Regex::new("never").unwrap())
        };
        for no in
            ["the password is", "see http://127.0.0.1:8080/a@b", "spwd()", "https://a.test/x:y@z", "swap"]
        {
            assert!(!suspects(no), "{no}");
        }
        for yes in ["PassWord\\\" : x", "pwd=", "my passphrase:", "x://u:p@h", "BEGIN PRIVATE KEY"] {
            assert!(suspects(yes), "{yes}");
        }
    }
}
