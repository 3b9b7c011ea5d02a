//! One pass over a text that finds what is volatile in it.
//!
//! Values begin where a word begins, or at the mark that opens a path or an address. Each look ahead is
//! bounded, so the time is linear whatever the text. What comes first wins; at one place a date-time wins
//! over the run's own values, and those over shapes.

use super::kind::{MaskKind, MaskedKinds};
use super::own::OwnValues;
use super::places::Part;
use super::{Site, ids, labels, moments, places};

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'m> {
    pub(super) kinds: &'m MaskedKinds,
    pub(super) own: &'m OwnValues,
    pub(super) site: Site,
}

/// The volatile parts of a text, in order, apart from each other.
pub(super) fn scan(text: &[u8], search: Search<'_>) -> Vec<Part> {
    let (mut parts, at) = labels::accounting(text).unwrap_or_default();
    parts.retain(|(_, kind)| search.kinds.holds(*kind));
    let mut scanner = Scanner { text, search, at, content_until: 0, run_checked_until: 0 };
    while scanner.at < text.len() {
        match scanner.part_here() {
            Some((range, kind)) => {
                // A label's value begins behind it.
                scanner.at = range.end.max(scanner.at + 1);
                parts.push((range, kind));
            }
            None => scanner.advance(),
        }
    }
    parts
}

struct Scanner<'t, 'm> {
    text: &'t [u8],
    search: Search<'m>,
    at: usize,
    /// Up to here stands content that is no text.
    content_until: usize,
    /// Up to here it is known whether it is content.
    run_checked_until: usize,
}

impl Scanner<'_, '_> {
    fn part_here(&mut self) -> Option<Part> {
        let byte = self.text[self.at];
        if byte.is_ascii_alphanumeric() {
            return self.part_of_word();
        }
        if byte.is_ascii_whitespace() || byte == b'"' || byte == b',' {
            return None;
        }
        let own = self.search.own.starting_at(self.text, self.at);
        if let Some(part) = own.and_then(|part| self.wanted(part)) {
            return Some(part);
        }
        match byte {
            b'/' if self.path_may_begin() => {
                let length =
                    places::temporary_path(&self.text[self.at..], self.search.own.temporary_folders())?;
                self.wanted((self.at..self.at + length, MaskKind::TemporaryPath))
            }
            b'[' => self.host(),
            _ => None,
        }
    }

    /// A path begins a word, or follows the `//` of a URL.
    fn path_may_begin(&self) -> bool {
        let before = &self.text[..self.at];
        match before.last() {
            None => true,
            Some(b'/') => before.ends_with(b"://"),
            Some(byte) => !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~')),
        }
    }

    fn part_of_word(&mut self) -> Option<Part> {
        let (start, end) = (self.at, self.word_end());
        let rest = &self.text[start..];
        let word = &self.text[start..end];
        let after = self.text.get(end).copied();
        let joins_before = start > 0 && matches!(self.text[start - 1], b'.' | b'-' | b'_' | b'@');
        if word.len() >= 3
            && (word[0].is_ascii_digit() || word[0].is_ascii_uppercase())
            && let Some(length) = moments::date_time(rest)
            && let Some(part) = self.wanted((start..start + length, MaskKind::DateTime))
        {
            return Some(part);
        }
        if let Some(part) = self.search.own.starting_at(self.text, start).and_then(|part| self.wanted(part)) {
            return Some(part);
        }
        if word.len() == 8
            && after == Some(b'-')
            && let Some(length) = ids::uuid(rest)
            && let Some(part) = self.wanted((start..start + length, MaskKind::Uuid))
        {
            return Some(part);
        }
        if matches!(after, Some(b'.' | b':' | b'-'))
            && (!joins_before || self.text[start - 1] == b'@')
            && let Some(part) = self.host()
        {
            return Some(part);
        }
        if let Some(part) = labels::labelled(self.text, start..end, self.search.site)
            && let Some(part) = self.wanted(part)
        {
            return Some(part);
        }
        self.number_or_id(start..end)
    }

    fn number_or_id(&mut self, token: std::ops::Range<usize>) -> Option<Part> {
        let word = &self.text[token.clone()];
        if word.len() < 10 || self.is_content(token.start) {
            return None;
        }
        if word.iter().all(u8::is_ascii_digit) {
            let us = moments::epoch_unix_us(word)?;
            let is_fraction = token.start > 0 && self.text[token.start - 1] == b'.';
            if is_fraction || !self.search.own.is_near_a_clock(us) {
                return None;
            }
            let fraction = if word.len() == 10 { self.fraction_at(token.end) } else { 0 };
            return self.wanted((token.start..token.end + fraction, MaskKind::Epoch));
        }
        if ids::address(word).is_some() && self.text[..token.start].ends_with(b"at ") {
            return self.wanted((token, MaskKind::Address));
        }
        ids::of_token(word).and_then(|kind| self.wanted((token, kind)))
    }

    /// The length of the fraction at `at`, its point included.
    fn fraction_at(&self, at: usize) -> usize {
        let Some(digits) = self.text.get(at..).and_then(|rest| rest.strip_prefix(b".")) else { return 0 };
        match digits.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count() {
            0 => 0,
            length => length + 1,
        }
    }

    fn host(&self) -> Option<Part> {
        let (range, kind) = places::host(&self.text[self.at..], &self.text[..self.at])?;
        self.wanted((self.at + range.start..self.at + range.end, kind))
    }

    /// Whether the base64 digits around a word are content; each run is looked at once.
    fn is_content(&mut self, at: usize) -> bool {
        if at >= self.run_checked_until {
            let is_digit = |byte: &&u8| ids::is_base64_digit(**byte);
            let start = at - self.text[..at].iter().rev().take(256).take_while(is_digit).count();
            let length = (at - start) + self.text[at..].iter().take_while(is_digit).count();
            self.run_checked_until = start + length;
            let run = &self.text[start..self.run_checked_until];
            self.content_until = if ids::is_content(run) { self.run_checked_until } else { 0 };
        }
        at < self.content_until
    }

    fn word_end(&self) -> usize {
        self.at + self.text[self.at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()
    }

    fn wanted(&self, part: Part) -> Option<Part> {
        self.search.kinds.holds(part.1).then_some(part)
    }

    fn advance(&mut self) {
        if self.text[self.at].is_ascii_alphanumeric() { self.at = self.word_end() } else { self.at += 1 }
    }
}
