//! How a program spells JSON: what stands between items, and which characters it escapes.
//!
//! A text is a value in a style if writing the value in that style gives the very text. Numbers are written as
//! serde_json writes them; what another program writes otherwise (`1e-05`) is in no style.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// A spelling of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Style {
    /// `{"a":1,"b":"é"}`: JavaScript, Rust, httpx.
    Compact,
    /// `{"a": 1, "b": "é"}`.
    Spaced,
    /// `{"a":1,"b":"\u00e9"}`.
    CompactAscii,
    /// `{"a": 1, "b": "\u00e9"}`: Python's `json.dumps`.
    SpacedAscii,
    /// Compact with `<`, `>` and `&` escaped: Go's `encoding/json`.
    CompactHtml,
}

/// Several styles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Styles(u8);

impl Style {
    const ALL: [Self; 5] =
        [Self::Compact, Self::Spaced, Self::CompactAscii, Self::SpacedAscii, Self::CompactHtml];

    pub(super) fn write(self, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        value
            .serialize(&mut Serializer::with_formatter(&mut out, Spelling(self)))
            .expect("a JSON value is JSON, and memory takes it");
        out
    }

    /// What separates two items.
    pub(super) fn comma(self) -> &'static [u8] {
        if self.is_spaced() { b", " } else { b"," }
    }

    /// What separates a member's name from its value.
    pub(super) fn colon(self) -> &'static [u8] {
        if self.is_spaced() { b": " } else { b":" }
    }

    fn is_spaced(self) -> bool {
        matches!(self, Self::Spaced | Self::SpacedAscii)
    }

    fn escapes(self, character: char) -> bool {
        match self {
            Self::Compact | Self::Spaced => false,
            Self::CompactAscii | Self::SpacedAscii => !matches!(character, ' '..='~'),
            Self::CompactHtml => matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'),
        }
    }
}

impl Styles {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ANY: Self = Self(0b1_1111);

    /// The styles in which `value` is spelled as `text`.
    pub(super) fn of(text: &[u8], value: &Value) -> Self {
        let same = Style::ALL.into_iter().filter(|style| style.write(value) == text);
        Self(same.map(|style| 1 << style as u8).sum())
    }

    /// Those that put this between two items.
    pub(super) fn with_comma(comma: &[u8]) -> Self {
        let same = Style::ALL.into_iter().filter(|style| style.comma() == comma);
        Self(same.map(|style| 1 << style as u8).sum())
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn holds(self, style: Style) -> bool {
        self.0 & (1 << style as u8) != 0
    }

    pub(super) fn first(self) -> Option<Style> {
        Style::ALL.into_iter().find(|style| self.holds(*style))
    }
}

struct Spelling(Style);

impl Formatter for Spelling {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(self.0.comma()) }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(self.0.comma()) }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.0.colon())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut kept = 0;
        for (at, character) in text.char_indices().filter(|(_, c)| self.0.escapes(*c)) {
            out.write_all(&text.as_bytes()[kept..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            kept = at + character.len_utf8();
        }
        out.write_all(&text.as_bytes()[kept..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spellings() {
        let value = json!({"a": [1, 0.5], "b": "é<\u{1f600}\u{7f}\n"});
        let spelled = |style: Style| String::from_utf8(style.write(&value)).unwrap();
        assert_eq!(spelled(Style::Compact), "{\"a\":[1,0.5],\"b\":\"é<\u{1f600}\u{7f}\\n\"}");
        assert_eq!(spelled(Style::SpacedAscii), r#"{"a": [1, 0.5], "b": "\u00e9<\ud83d\ude00\u007f\n"}"#);
        assert_eq!(spelled(Style::CompactHtml), "{\"a\":[1,0.5],\"b\":\"é\\u003c\u{1f600}\u{7f}\\n\"}");
        for style in Style::ALL {
            let text = style.write(&value);
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
            assert_eq!(Styles::of(&text, &value).first(), Some(style));
        }
        assert_eq!(Styles::of(b"[1,2]", &json!([1, 2])).and(Styles::with_comma(b", ")), Styles::NONE);
        assert_eq!(Styles::of(b"1e-05", &json!(1e-5)), Styles::NONE);
    }
}
