//! What YAML 1.2's grammar reads otherwise than the writers of recordings meant it.
//!
//! Three things: escapes that are halves of a character, raw Unicode line breaks, and lines of quoted text that are
//! indented no further than the key they belong to. Nothing else is touched.

use saphyr_parser::{ScalarStyle, ScanError};
use std::borrow::Cow;

/// Line breaks of YAML 1.1 that are ordinary characters in YAML 1.2.
const UNICODE_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// What follows a line break, and hardly ever a character inside a line.
const LINE_STARTS: [&str; 4] = ["\n", "\r", "  ", "- "];

/// Stands after each Unicode line break that [`line_breaks`] ended a line with. A noncharacter: no text has it.
const ENDED_HERE: char = '\u{fdd0}';

/// Ends a line after each raw Unicode line break that the writer took for a line's end, as YAML 1.1 does.
/// Such a break is followed by another break, by the end, by an indentation, or by an item of a list that
/// is not indented; a writer of YAML 1.2 would leave the text that follows as it is.
pub(super) fn line_breaks(text: &str) -> Cow<'_, str> {
    if !text.contains(UNICODE_BREAKS) {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(text.len() + 64);
    let mut lines = text.split_inclusive(UNICODE_BREAKS).peekable();
    while let Some(line) = lines.next() {
        repaired.push_str(line);
        let next = lines.peek().copied().unwrap_or_default();
        let ends_line = next.is_empty()
            || next.starts_with(UNICODE_BREAKS)
            || LINE_STARTS.iter().any(|s| next.starts_with(s));
        if ends_line && line.ends_with(UNICODE_BREAKS) {
            repaired.extend([ENDED_HERE, '\n']);
        }
    }
    Cow::Owned(repaired)
}

/// Takes the line ends of [`line_breaks`] out of a scalar: the Unicode break itself is content, and unlike
/// other breaks it is never folded into a space.
pub(super) fn scalar(text: String, style: ScalarStyle) -> String {
    if !text.contains(ENDED_HERE) {
        return text;
    }
    let added = match style {
        ScalarStyle::Literal | ScalarStyle::Folded => "\u{fdd0}\n",
        ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => "\u{fdd0} ",
    };
    text.replace(added, "").replace(ENDED_HERE, "")
}

/// The text with the quoted scalar mended at which the parser gave up; `None` if its problem is not known here.
pub(super) fn quoted(text: &str, error: &ScanError) -> Option<String> {
    escapes(text, error).or_else(|| indentation(text, error))
}

/// Writers that count text in UTF-16 escape characters beyond the basic plane as two surrogates, which
/// YAML does not allow. Joins the pairs of the double-quoted scalar at which the parser gave up; a
/// surrogate without its other half becomes U+FFFD. `None` if this was not the problem.
fn escapes(text: &str, error: &ScanError) -> Option<String> {
    if !error.info().contains("invalid Unicode character escape") {
        return None;
    }
    let (quote, _) = text.char_indices().nth(error.marker().index())?;
    let scalar = text[quote..].strip_prefix('"')?;
    let mut repaired = String::with_capacity(text.len());
    repaired.push_str(&text[..=quote]);
    let mut rest = scalar;
    while let Some(at) = rest.find(['\\', '"']) {
        let (before, escape) = rest.split_at(at);
        repaired.push_str(before);
        if escape.starts_with('"') {
            repaired.push_str(escape);
            return Some(repaired);
        }
        let (replacement, taken) = repaired_escape(escape)?;
        repaired.push_str(&replacement);
        rest = &escape[taken..];
    }
    None
}

/// YAML 1.1's parsers do not look at the indentation of quoted text, and writers rely on it. Indents the lines of the
/// quoted scalar at which the parser gave up: spaces at the beginning of a line are no part of such a text. `None` if
/// this was not the problem.
fn indentation(text: &str, error: &ScanError) -> Option<String> {
    if !error.info().contains("invalid indentation in quoted scalar") {
        return None;
    }
    let (start, quote) = text.char_indices().nth(error.marker().index())?;
    let end = start + 1 + length_of_quoted(&text[start + 1..], quote)?;
    let indentation = " ".repeat(error.marker().col() + 1);
    let mut lines = text[start..end].split_inclusive('\n');
    let mut repaired = String::with_capacity(text.len() + 1024);
    repaired.push_str(&text[..start]);
    repaired.push_str(lines.next()?);
    for line in lines {
        if !line.starts_with(['\n', '\r']) {
            repaired.push_str(&indentation);
        }
        repaired.push_str(line);
    }
    repaired.push_str(&text[end..]);
    Some(repaired)
}

/// How many bytes of `text` belong to a quoted scalar that began before it.
fn length_of_quoted(text: &str, quote: char) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += match quote {
            '\'' => memchr::memchr(b'\'', &bytes[at..])?,
            '"' => memchr::memchr2(b'"', b'\\', &bytes[at..])?,
            _ => return None,
        };
        let is_escape = bytes[at] == b'\\' || (quote == '\'' && bytes.get(at + 1) == Some(&b'\''));
        if !is_escape {
            return Some(at);
        }
        at += 2;
    }
}

/// What stands for the escape at the start of `escape`, and how many bytes it takes.
fn repaired_escape(escape: &str) -> Option<(Cow<'_, str>, usize)> {
    let kind = escape[1..].chars().next()?;
    let code = match kind {
        'u' => escape_code(escape, "\\u", 4),
        'U' => escape_code(escape, "\\U", 8),
        _ => None,
    };
    let plain_len = 1 + kind.len_utf8();
    let Some(code) = code else { return Some((Cow::Borrowed(&escape[..plain_len]), plain_len)) };
    let len = if kind == 'u' { 6 } else { 10 };
    if char::from_u32(code).is_some() {
        return Some((Cow::Borrowed(&escape[..len]), len));
    }
    let low = (0xd800..0xdc00).contains(&code).then(|| escape_code(&escape[len..], "\\u", 4)).flatten();
    match low {
        Some(low @ 0xdc00..0xe000) => {
            let joined = char::from_u32(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00))?;
            Some((Cow::Owned(joined.to_string()), len + 6))
        }
        _ => Some((Cow::Borrowed("\u{fffd}"), len)),
    }
}

fn escape_code(escape: &str, prefix: &str, digits: usize) -> Option<u32> {
    let hex = escape.strip_prefix(prefix)?.get(..digits)?;
    hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, 16).ok())?
}
