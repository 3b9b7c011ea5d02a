//! Text behind an escaping, with the way back to the raw bytes.
//!
//! A secret may be written `\u0073k-…` in JSON or `%73k-…` in a URL. [`DecodedText`] holds the plain text
//! and maps its ranges to raw ranges that always cover whole escape sequences, so that replacing one
//! leaves valid JSON behind.
//!
//! Decoding is lenient: it works on any bytes, whether inside a string or not, and copies what is not a
//! valid escape. It is for searching only, never for reading values.

use memchr::memmem::Finder;
use std::ops::Range;
use std::sync::LazyLock;

/// Decoded bytes and where they came from.
#[derive(Debug, Default)]
pub(super) struct DecodedText {
    bytes: Vec<u8>,
    /// (decoded offset, raw offset) wherever the two stop advancing together; ascending.
    steps: Vec<(usize, usize)>,
}

impl DecodedText {
    /// Removes one level of JSON escapes. Raw offsets count from `base`.
    pub(super) fn json(raw: &[u8], base: usize) -> Self {
        let mut text = Self::starting_at(base);
        let mut at = 0;
        while let Some(plain) = memchr::memchr(b'\\', &raw[at..]) {
            text.bytes.extend_from_slice(&raw[at..at + plain]);
            at += plain;
            match json_escape(&raw[at..]) {
                Some((character, len)) => {
                    text.push_escape(character, base + at, len);
                    at += len;
                }
                None => {
                    text.bytes.push(b'\\');
                    at += 1;
                }
            }
        }
        text.bytes.extend_from_slice(&raw[at..]);
        text
    }

    /// Removes percent encoding.
    pub(super) fn percent(raw: &[u8]) -> Self {
        let mut text = Self::starting_at(0);
        let mut at = 0;
        while at < raw.len() {
            match raw[at..] {
                [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    text.steps.push((text.bytes.len(), at));
                    text.bytes.push((hex(high) << 4 | hex(low)) as u8);
                    at += 3;
                    text.steps.push((text.bytes.len(), at));
                }
                _ => {
                    text.bytes.push(raw[at]);
                    at += 1;
                }
            }
        }
        text
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The raw bytes behind a range of the decoded ones.
    pub(super) fn raw_range(&self, decoded: Range<usize>) -> Range<usize> {
        self.raw_offset(decoded.start)..self.raw_offset(decoded.end)
    }

    fn raw_offset(&self, decoded: usize) -> usize {
        let after = self.steps.partition_point(|&(at, _)| at <= decoded);
        let (at, raw) = self.steps[after - 1];
        raw + (decoded - at)
    }

    fn starting_at(base: usize) -> Self {
        Self { bytes: Vec::new(), steps: vec![(0, base)] }
    }

    fn push_escape(&mut self, character: char, raw_start: usize, raw_len: usize) {
        self.steps.push((self.bytes.len(), raw_start));
        self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.steps.push((self.bytes.len(), raw_start + raw_len));
    }
}

/// Whether bytes hold escapes that may hide the characters of a secret. `\n` and its like cannot: no
/// secret but a PEM block holds a line break, and its pattern knows the escaped ones.
pub(super) fn hides_text(raw: &[u8]) -> bool {
    static CHARACTER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));
    static SLASH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\/"));
    CHARACTER.find(raw).is_some() || SLASH.find(raw).is_some()
}

/// The one spelling of a secret by which two occurrences are compared: all escapes removed.
pub(super) fn plain_value(raw: &[u8]) -> Vec<u8> {
    let mut value = raw.to_vec();
    for _ in 0..MAX_NESTING {
        if !value.contains(&b'\\') {
            break;
        }
        value = DecodedText::json(&value, 0).bytes;
    }
    value
}

/// How deep JSON inside JSON strings is followed.
pub(super) const MAX_NESTING: usize = 4;

fn json_escape(raw: &[u8]) -> Option<(char, usize)> {
    let simple = |c| Some((c, 2));
    match *raw.get(1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => unicode_escape(raw),
        _ => None,
    }
}

fn unicode_escape(raw: &[u8]) -> Option<(char, usize)> {
    let first = code_unit(raw)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = raw.get(6..).filter(|rest| rest.starts_with(b"\\u")).and_then(code_unit)?;
    let mut pair = char::decode_utf16([u16::try_from(first).ok()?, u16::try_from(second).ok()?]);
    pair.next()?.ok().map(|character| (character, 12))
}

fn code_unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.get(2..6)?;
    digits.iter().all(u8::is_ascii_hexdigit).then(|| digits.iter().fold(0, |unit, &d| unit << 4 | hex(d)))
}

/// The value of a digit that is known to be hexadecimal.
fn hex(digit: u8) -> u32 {
    char::from(digit).to_digit(16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_whole_escapes() {
        let raw = br#"a\u0073k-\/b\nc"#;
        let text = DecodedText::json(raw, 100);
        assert_eq!(text.bytes(), b"ask-/b\nc");
        assert_eq!(text.raw_range(1..2), 101..107);
        assert_eq!(text.raw_range(1..5), 101..111);
        assert_eq!(text.raw_range(5..8), 111..115);
        assert_eq!(text.raw_range(0..8), 100..115);
    }

    #[test]
    fn what_is_no_escape_stays() {
        for raw in [&br"\x\u12"[..], br"\ud800", br"\ud800\u0041", br"\"] {
            assert_eq!(
                DecodedText::json(raw, 0).bytes(),
                if raw == br"\ud800\u0041" { br"\ud800A" } else { raw }
            );
        }
        assert_eq!(DecodedText::json(br"\ud83d\ude00", 0).bytes(), "😀".as_bytes());
        assert_eq!(DecodedText::percent(b"%73k%2").bytes(), b"sk%2");
        assert_eq!(DecodedText::percent(b"a%73k").raw_range(1..3), 1..5);
    }

    #[test]
    fn nesting_is_undone() {
        assert_eq!(plain_value(br"a\\\/b"), b"a/b");
        assert_eq!(plain_value(br"\\u0073k"), b"sk");
    }
}
