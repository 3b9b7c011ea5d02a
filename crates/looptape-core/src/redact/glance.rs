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
use regex::bytes::Regex;
use std::ops::Range;

/// What to look for.
#[derive(Debug)]
pub(super) struct Glance {
    /// Letters of what is known by its label; `None` on machines on which they are not found fast.
    labels: Option<packed::Searcher>,
}

impl Glance {
    /// A glance for patterns that are known by these; `None` if one of them is known by nothing.
    pub(super) fn at(mut patterns: impl Iterator<Item = KnownBy>) -> Option<Self> {
        let passwords = in_every_case(PASSWORD_LABELS);
        let labels = [*AUTHORITY, *KEY_BLOCK].into_iter().chain(passwords);
        patterns
            .all(|known| known != KnownBy::Nothing)
            .then(|| Self { labels: packed::Searcher::new(labels) })
    }

    /// Whether `text` may hold a secret. `anchors` finds any pattern's anchor.
    pub(super) fn suspects(&self, text: &[u8], anchors: &Regex) -> bool {
        self.has_label(text) || has_anchored_word(text, anchors)
    }

    fn has_label(&self, text: &[u8]) -> bool {
        let Some(labels) = &self.labels else { return true };
        labels.find_iter(text).any(|label| {
            let rest = &text[label.end()..];
            match label.pattern().as_usize() {
                0 => has_url_password(rest),
                1 => rest.starts_with(REST_OF_KEY_BLOCK),
                _ => is_assigned(rest),
            }
        })
    }
}

/// What stands before a URL's password.
const AUTHORITY: &[u8; 3] = b"://";
/// `PRIVATE KEY` stands in the first line of a PEM block.
const KEY_BLOCK: &[u8; 3] = b"PRI";
const REST_OF_KEY_BLOCK: &[u8] = b"VATE KEY";
/// Letters that stand in `password`, `passwd`, `passphrase` and `pwd`, and seldom elsewhere.
const PASSWORD_LABELS: [&[u8; 3]; 3] = [b"ssw", b"sph", b"pwd"];
/// Letters of a password's label after those.
const MOST_LETTERS_AFTER: usize = 4;

fn in_every_case(words: [&[u8; 3]; 3]) -> impl Iterator<Item = [u8; 3]> {
    words.into_iter().flat_map(|word| (0..8).map(|cases| cased(*word, cases)))
}

/// A word of which those letters are upper case for which a bit is set.
fn cased(mut word: [u8; 3], cases: usize) -> [u8; 3] {
    let upper = word.iter_mut().enumerate().filter(|(at, _)| cases >> at & 1 == 1);
    upper.for_each(|(_, letter)| letter.make_ascii_uppercase());
    word
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
        let before = Before::word(text, word.start);
        if !before.is_label && !may_be_token(text, &word) {
            continue;
        }
        let start = before.start;
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

/// What stands before a long word.
#[derive(Debug, PartialEq, Eq)]
struct Before {
    /// No label of the word begins before here, nor what may stand before a token.
    start: usize,
    /// Whether it may be a label: of a key, a token, a secret, an authorization, or `bearer`.
    is_label: bool,
}

impl Before {
    fn word(text: &[u8], word: usize) -> Self {
        let is_between = |b: &u8| is_quote(*b) || is_space(*b) || matches!(b, b':' | b'=' | b'>' | b'+');
        let mut before = &text[..word];
        // The word may begin with the end of an escaped space.
        let escaped = word + ESCAPED_SPACE.len();
        if text.get(word..escaped).is_some_and(|head| head.eq_ignore_ascii_case(ESCAPED_SPACE)) {
            before = &text[..escaped];
        }
        let mut is_scheme = false;
        loop {
            let length = before.iter().rposition(|b| !is_between(b)).map_or(0, |last| last + 1);
            before = &before[..length];
            match SCHEMES.iter().find(|scheme| ends_with(before, scheme)) {
                Some(scheme) => before = &before[..length - scheme.len()],
                None => break,
            }
            is_scheme = true;
        }
        let is_assigned = || text[before.len()..word].iter().any(|b| matches!(b, b':' | b'='));
        let ends_label = before.last().is_some_and(|b| b"yntYNT".contains(b));
        let is_label = is_scheme || ends_with(before, b"bearer") || (ends_label && is_assigned());
        Self { start: before.len().saturating_sub(LONGEST_LABEL), is_label }
    }
}

fn ends_with(text: &[u8], word: &[u8]) -> bool {
    let tail = text.len().checked_sub(word.len()).map(|at| &text[at..]);
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word))
}

/// Whether a token may begin in a long word, or a label stand in it.
fn may_be_token(text: &[u8], word: &Range<usize>) -> bool {
    // A token begins where a word does, or after an escape sequence, which may have an end in the word.
    let follows_escape = word.start.checked_sub(1).is_some_and(|at| matches!(text[at], b'\\' | b'[' | b';'));
    let word = &text[word.clone()];
    if follows_escape || begins_token(word) {
        return true;
    }
    word.iter().enumerate().any(|(at, b)| match b {
        // Of an escape sequence, or between a label and its value.
        b'%' | b'=' | b'+' => true,
        b'.' | b'~' | b'/' => begins_token(&word[at + 1..]),
        _ => false,
    })
}

/// Whether these are the first bytes of a kind of token, or of the second half of Telegram's.
fn begins_token(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|head: &[u8; 2]| TOKEN_HEADS.contains(&head))
}

/// The first two bytes of every kind of token; of webhooks, those of a later part of their URL.
const TOKEN_HEADS: &[&[u8; 2]] = &[
    b"1/", b"AA", b"AG", b"AI", b"AK", b"AS", b"AT", b"GO", b"SG", b"SK", b"cs", b"da", b"dc", b"do", b"dp",
    b"ey", b"fw", b"gh", b"gi", b"gl", b"gs", b"hf", b"hv", b"ke", b"li", b"ls", b"np", b"nt", b"nv", b"pa",
    b"pc", b"ph", b"pp", b"py", b"r8", b"rk", b"sb", b"se", b"sh", b"sk", b"sl", b"sn", b"tv", b"wh", b"xa",
    b"xo", b"ya", b"ap",
];

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
        for between in
            [&format!("={far}"), "\\u0020\\u0020\\u0020\\u0020", "\\\": '", &format!(": {far}basic{far}")]
        {
            let text = format!("authorization{between}aaaaaaaaaaaaaaaaaaaaaaaa");
            let before = Before::word(text.as_bytes(), text.len() - 24);
            assert_eq!(before, Before { start: 0, is_label: true }, "{text}");
        }
        let text = format!("{far}x aaaaaaaaaaaaaaaaaaaaaaaa");
        let before = Before::word(text.as_bytes(), 302);
        assert_eq!(before, Before { start: 301 - LONGEST_LABEL, is_label: false });
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
