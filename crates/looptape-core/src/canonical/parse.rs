//! A small JSON reader that loses nothing: numbers keep their text, strings their code points.
//!
//! serde's `Value` would turn long numbers into floats and refuse lone surrogates, and a difference
//! hidden here would let a replay pass that is none.

use std::borrow::Cow;

/// Deeper nesting than this is not treated as JSON, so that no body can exhaust the stack.
const MAX_DEPTH: u32 = 256;

/// A JSON value. Strings are UTF-8, save that a lone surrogate is three bytes as in WTF-8. The members of
/// an object are sorted by key; equal keys keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// The number as it was written.
    Number(&'a [u8]),
    String(Cow<'a, [u8]>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, [u8]>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads one JSON value that fills `bytes`, by RFC 8259 to the letter; `None` for anything else.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader { bytes, at: 0, depth: 0 };
        reader.skip_whitespace();
        let value = reader.value()?;
        reader.skip_whitespace();
        (reader.at == bytes.len()).then_some(value)
    }

    /// The first member of that name, if this is an object that has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        let first = members.partition_point(|(key, _)| key.as_ref() < name.as_bytes());
        members.get(first).filter(|(key, _)| key.as_ref() == name.as_bytes()).map(|(_, value)| value)
    }

    /// The text of a string; lone surrogates become U+FFFD.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }

    /// For people: a string as its text, anything else as compact JSON.
    pub fn to_readable(&self) -> String {
        match self {
            Self::String(text) => String::from_utf8_lossy(text).into_owned(),
            other => {
                let mut out = String::new();
                other.push_compact(&mut out);
                out
            }
        }
    }

    fn push_compact(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(raw) => out.push_str(&String::from_utf8_lossy(raw)),
            Self::String(text) => push_quoted(text, out),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    item.push_compact(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    push_quoted(key, out);
                    out.push(':');
                    value.push_compact(out);
                }
                out.push('}');
            }
        }
    }
}

fn push_quoted(text: &[u8], out: &mut String) {
    out.push_str(&serde_json::Value::from(String::from_utf8_lossy(text)).to_string());
}

struct Reader<'a> {
    /// Valid UTF-8.
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Option<Json<'a>> {
        match self.peek()? {
            b'n' => self.word(b"null", Json::Null),
            b't' => self.word(b"true", Json::Bool(true)),
            b'f' => self.word(b"false", Json::Bool(false)),
            b'"' => Some(Json::String(self.string()?)),
            b'[' => self.nested(Self::array),
            b'{' => self.nested(Self::object),
            _ => self.number(),
        }
    }

    fn nested(&mut self, read: impl Fn(&mut Self) -> Option<Json<'a>>) -> Option<Json<'a>> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.at += 1;
        self.skip_whitespace();
        let value = read(self)?;
        self.depth -= 1;
        Some(value)
    }

    fn array(&mut self) -> Option<Json<'a>> {
        let mut items = Vec::new();
        if self.take(b']') {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_whitespace();
            if self.take(b']') {
                return Some(Json::Array(items));
            }
            self.expect(b',')?;
            self.skip_whitespace();
        }
    }

    fn object(&mut self) -> Option<Json<'a>> {
        let mut members: Vec<(Cow<'a, [u8]>, Json<'a>)> = Vec::new();
        if !self.take(b'}') {
            loop {
                let key = self.string()?;
                self.skip_whitespace();
                self.expect(b':')?;
                self.skip_whitespace();
                members.push((key, self.value()?));
                self.skip_whitespace();
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
                self.skip_whitespace();
            }
        }
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(Json::Object(members))
    }

    fn number(&mut self) -> Option<Json<'a>> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Some(Json::Number(&self.bytes[start..self.at]))
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        self.expect(b'"')?;
        let start = self.at;
        let plain = self.plain_run();
        if self.take(b'"') {
            return Some(Cow::Borrowed(&self.bytes[start..start + plain]));
        }
        let mut text = self.bytes[start..self.at].to_vec();
        loop {
            if self.take(b'"') {
                return Some(Cow::Owned(text));
            }
            self.expect(b'\\')?;
            self.escape(&mut text)?;
            let from = self.at;
            self.plain_run();
            text.extend_from_slice(&self.bytes[from..self.at]);
        }
    }

    /// Steps over bytes that stand for themselves, and says how many.
    fn plain_run(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len());
        self.at += len;
        len
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let kind = self.peek()?;
        self.at += 1;
        let byte = match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = self.hex4()?;
                let code = self.low_half_after(unit).unwrap_or(u32::from(unit));
                push_code_point(code, text);
                return Some(());
            }
            _ => return None,
        };
        text.push(byte);
        Some(())
    }

    /// The code point of a surrogate pair, if `high` begins one and an escaped low half follows.
    fn low_half_after(&mut self, high: u16) -> Option<u32> {
        if !(0xd800..0xdc00).contains(&high) || !self.bytes[self.at..].starts_with(b"\\u") {
            return None;
        }
        let before = self.at;
        self.at += 2;
        match self.hex4() {
            Some(low @ 0xdc00..0xe000) => {
                Some(0x10000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(low) - 0xdc00))
            }
            _ => {
                self.at = before;
                None
            }
        }
    }

    fn hex4(&mut self) -> Option<u16> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        let value = digits.iter().try_fold(0u32, |sum, &d| Some(sum * 16 + char::from(d).to_digit(16)?))?;
        self.at += 4;
        u16::try_from(value).ok()
    }

    fn word(&mut self, word: &[u8], value: Json<'a>) -> Option<Json<'a>> {
        self.bytes[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

/// UTF-8, and for lone surrogates the three bytes that the same scheme would give.
fn push_code_point(code: u32, text: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => text.extend([
            0xe0 | low_bits(code >> 12, 4),
            0x80 | low_bits(code >> 6, 6),
            0x80 | low_bits(code, 6),
        ]),
    }
}

fn low_bits(value: u32, bits: u32) -> u8 {
    u8::try_from(value & ((1 << bits) - 1)).expect("at most six bits are asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_and_shown() {
        let json = Json::parse(br#" {"b":[1.50,"x\n"],"a":null,"b":2} "#).unwrap();
        assert_eq!(json.get("a"), Some(&Json::Null));
        assert_eq!(json.get("b").map(Json::to_readable).as_deref(), Some(r#"[1.50,"x\n"]"#));
        assert_eq!(json.get("c"), None);
        assert_eq!(json.to_readable(), r#"{"a":null,"b":[1.50,"x\n"],"b":2}"#);
        assert_eq!(Json::parse(b"\"a\\\"b\"").unwrap().to_readable(), "a\"b");
    }

    #[test]
    fn lone_surrogates_are_kept() {
        let Some(Json::String(text)) = Json::parse(br#""\ud800x""#) else { panic!("a string") };
        assert_eq!(text.as_ref(), b"\xed\xa0\x80x");
        let Some(Json::String(text)) = Json::parse(br#""\ud800\u0041""#) else { panic!("a string") };
        assert_eq!(text.as_ref(), b"\xed\xa0\x80A");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Json::parse(nested(256).as_bytes()).is_some());
        assert!(Json::parse(nested(257).as_bytes()).is_none());
    }
}
