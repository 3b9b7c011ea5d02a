//! Scalars: their text, their bytes, and what kind of value a plain one is.
//!
//! Plain scalars are typed only where a parsed body becomes JSON again, and then as the writer meant
//! them: recorders write booleans as `true` and numbers in decimal, and quote text that looks like either.
//! Versions of YAML differ in what a plain `yes`, `0o17`, `0777`, `1e5`, `12:30` or date is; a recorder writes
//! these only for text, so text they are.

use super::document::Tag;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::borrow::Cow;

/// Base64 as recorders write it: padding may be missing, stray trailing bits are ignored.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) tag: Tag,
    pub(super) style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// Quoted or a block: text.
    Marked,
}

/// What a scalar is in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// A valid JSON number.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
}

impl Scalar {
    /// The value, for a structure that is written as JSON.
    pub(super) fn value(&self) -> Value<'_> {
        match (&self.tag, self.style) {
            (Tag::Typed, _) => typed(&self.text),
            (Tag::Absent, Style::Plain) => plain(&self.text),
            _ => Value::Text(self.text()),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.value() == Value::Null
    }

    /// The text; binary is decoded and read as UTF-8, else byte by byte.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self.tag {
            Tag::Binary => match self.bytes() {
                Some(bytes) => Cow::Owned(
                    String::from_utf8(bytes)
                        .unwrap_or_else(|e| crate::headers::latin1_to_string(e.as_bytes())),
                ),
                None => Cow::Borrowed(&self.text),
            },
            _ => Cow::Borrowed(&self.text),
        }
    }

    /// The bytes of a body; `None` if it is tagged as binary and is not base64.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self.tag {
            Tag::Binary => base64(&self.text),
            _ => Some(self.text.clone().into_bytes()),
        }
    }
}

/// Decodes base64, white space ignored.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let dense: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    LENIENT.decode(dense).ok()
}

fn plain(text: &str) -> Value<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        // JSON has no word for these.
        ".inf" | "+.inf" | "-.inf" | ".nan" => Value::Null,
        _ => match number(text) {
            Some(number) => Value::Number(number),
            None => Value::Text(Cow::Borrowed(text)),
        },
    }
}

/// A scalar whose tag says that it is not text: any spelling of a number counts.
fn typed(text: &str) -> Value<'_> {
    match plain(text) {
        Value::Text(text) if serde_json::from_str::<serde_json::Number>(&text).is_ok() => Value::Number(text),
        value => value,
    }
}

/// A plain decimal integer, or a number with a point: the forms in which numbers are written.
fn number(text: &str) -> Option<Cow<'_, str>> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let is_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let is_integer = |s: &str| !s.is_empty() && is_digits(s) && (s == "0" || !s.starts_with('0'));
    let Some((whole, rest)) = digits.split_once('.') else {
        return is_integer(digits).then(|| rejoin(text, sign, digits));
    };
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let exponent_ok = exponent.is_empty()
        || matches!(exponent.as_bytes(), [_, b'+' | b'-', power @ ..] if !power.is_empty() && power.iter().all(u8::is_ascii_digit));
    let whole_ok = is_integer(whole) || (whole.is_empty() && !fraction.is_empty());
    if !whole_ok || !is_digits(fraction) || !exponent_ok {
        return None;
    }
    if whole.is_empty() || fraction.is_empty() {
        let whole = if whole.is_empty() { "0" } else { whole };
        let fraction = if fraction.is_empty() { "0" } else { fraction };
        return Some(Cow::Owned(format!("{sign}{whole}.{fraction}{exponent}")));
    }
    Some(rejoin(text, sign, digits))
}

/// The number without a leading plus, which JSON does not allow.
fn rejoin<'a>(text: &'a str, sign: &str, digits: &'a str) -> Cow<'a, str> {
    if sign.is_empty() { Cow::Borrowed(digits) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match plain(text) {
            Value::Null => "null".into(),
            Value::Bool(b) => b.to_string(),
            Value::Number(n) => n.into_owned(),
            Value::Text(t) => format!("{t:?}"),
        }
    }

    #[test]
    fn numbers_booleans_and_null() {
        for (text, json) in [
            ("0", "0"),
            ("-12", "-12"),
            ("+12", "12"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0.7", "0.7"),
            ("-0.5", "-0.5"),
            ("1.0e-05", "1.0e-05"),
            ("1.", "1.0"),
            ("-.5", "-0.5"),
            ("~", "null"),
            ("", "null"),
            ("True", "true"),
            (".nan", "null"),
        ] {
            assert_eq!(shown(text), json);
        }
    }

    #[test]
    fn what_yaml_versions_read_differently_is_text() {
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "0o17",
            "0777",
            "0x1F",
            "1_000",
            "12:30",
            "1e5",
            "1.0e5",
            "1.2.3",
            ".",
            "-",
            "+",
            "-.",
            "2024-01-01",
            "2024-01-01T00:00:00Z",
            "tRue",
            "١٢",
        ] {
            assert_eq!(shown(text), format!("{text:?}"));
        }
    }

    #[test]
    fn base64_is_read_leniently_and_garbage_is_not() {
        assert_eq!(base64("aGVs\n  bG8=\n").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64("aGVsbG8").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64("aGVsbG9="), Some(b"hello".to_vec()));
        assert_eq!(base64("a*b"), None);
    }
}
