//! Cutting a JSON body into a skeleton and the pieces of its cuts.
//!
//! One pass over the bytes, no values built. Only the outermost object's members are looked at: every
//! non-empty array is cut at its elements, every string of at least [`LONG_STRING`] bytes is one piece.
//! Whatever is not a JSON object with balanced brackets is not cut at all.

use super::Skeleton;
use std::ops::Range;

/// Top-level strings from this length on (quotes included) become a piece of their own.
const LONG_STRING: usize = 256;

/// A body, cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub skeleton: Skeleton,
    pub cuts: Vec<Cut>,
}

/// One cut: what was taken out of one member of the outermost object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the member's name stands, without its quotes and as it was written.
    pub name: Range<usize>,
    pub of: CutOf,
    /// Where the pieces stand, adjacent and in order; never none.
    pub pieces: Vec<Range<usize>>,
}

/// What a cut was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOf {
    /// An array: each piece is an element, with what separates it from the one before.
    Array,
    /// A long string: one piece, without its quotes.
    Text,
}

/// The element that a piece of an array holds, without its separator.
pub fn element(piece: &[u8]) -> &[u8] {
    let piece = piece.trim_ascii_start();
    piece.strip_prefix(b",").unwrap_or(piece).trim_ascii_start()
}

/// Cuts `body`. A body that cannot be cut yields a skeleton that is the whole body.
pub fn split(body: &[u8]) -> Split {
    Split::of(body, Scanner { body, at: 0 }.object().unwrap_or_default())
}

/// Cuts `body`, of which the first `prefix` bytes are those of a body that was cut before: the same as
/// [`split`], without reading again what lies before the last element that they hold.
pub fn split_after(body: &[u8], prefix: usize, before: &Split) -> Split {
    // The byte after an element belongs to what is the same: it says that the element ends there.
    let known = |cut: &Cut| cut.pieces.partition_point(|piece| piece.end < prefix);
    let last = before.cuts.iter().rposition(|cut| cut.of == CutOf::Array && known(cut) > 0);
    let resumed = last.and_then(|last| {
        let (cut, earlier) = (&before.cuts[last], &before.cuts[..last]);
        let pieces = cut.pieces[..known(cut)].to_vec();
        let mut scanner = Scanner { body, at: pieces.last()?.end };
        let pieces = scanner.rest_of_array(pieces)?;
        let mut cuts = Vec::with_capacity(before.cuts.len());
        cuts.extend_from_slice(earlier);
        cuts.push(Cut { pieces, ..cut.clone() });
        scanner.rest_of_object(cuts)
    });
    match resumed {
        Some(cuts) => Split::of(body, cuts),
        None => split(body),
    }
}

impl Split {
    fn of(body: &[u8], cuts: Vec<Cut>) -> Self {
        let mut literal = Vec::new();
        let mut places = Vec::with_capacity(cuts.len());
        let mut from = 0;
        for cut in &cuts {
            let (Some(first), Some(last)) = (cut.pieces.first(), cut.pieces.last()) else { continue };
            literal.extend_from_slice(&body[from..first.start]);
            places.push(literal.len());
            from = last.end;
        }
        literal.extend_from_slice(&body[from..]);
        Self { skeleton: Skeleton::new(literal, places), cuts }
    }
}

/// Walks the outermost object. Every method returns `None` when the bytes are not what it expects.
struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn object(mut self) -> Option<Vec<Cut>> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            return None;
        }
        let mut cuts = Vec::new();
        cuts.extend(self.member()?);
        self.rest_of_object(cuts)
    }

    /// The members after the one that ends here, to the end of the body.
    fn rest_of_object(mut self, mut cuts: Vec<Cut>) -> Option<Vec<Cut>> {
        loop {
            match self.next_significant()? {
                b',' => cuts.extend(self.member()?),
                b'}' => break,
                _ => return None,
            }
        }
        self.skip_space();
        (self.at == self.body.len()).then_some(cuts)
    }

    /// One member of the outermost object, and its cut if it has one.
    fn member(&mut self) -> Option<Option<Cut>> {
        self.skip_space();
        let name_start = self.at + 1;
        self.string()?;
        let name = name_start..self.at - 1;
        self.expect(b':')?;
        self.skip_space();
        let start = self.at;
        match self.byte()? {
            b'[' => return Some(self.array()?.map(|pieces| Cut { name, of: CutOf::Array, pieces })),
            b'"' => {
                self.string()?;
                if self.at - start >= LONG_STRING {
                    // The quotes stay in the skeleton, so that an empty piece is never needed.
                    let inside = start + 1..self.at - 1;
                    return Some(Some(Cut { name, of: CutOf::Text, pieces: Vec::from([inside]) }));
                }
            }
            _ => self.value()?,
        }
        Some(None)
    }

    /// The pieces of the array that starts here: each runs from the end of the one before it, so that
    /// separators belong to the piece that follows them. `None` inside for an empty array.
    fn array(&mut self) -> Option<Option<Vec<Range<usize>>>> {
        self.at += 1;
        let start = self.at;
        if self.peek()? == b']' {
            self.expect(b']')?;
            return Some(None);
        }
        self.skip_space();
        self.value()?;
        let first = start..self.at;
        self.rest_of_array(Vec::from([first])).map(Some)
    }

    /// The pieces after the one that ends here are added to `pieces`.
    fn rest_of_array(&mut self, mut pieces: Vec<Range<usize>>) -> Option<Vec<Range<usize>>> {
        loop {
            let start = self.at;
            match self.next_significant()? {
                b',' => {
                    self.skip_space();
                    self.value()?;
                    pieces.push(start..self.at);
                }
                b']' => return Some(pieces),
                _ => return None,
            }
        }
    }

    /// Skips one value: a string, a scalar, or a bracketed value with everything in it.
    fn value(&mut self) -> Option<()> {
        match self.byte()? {
            b'"' => self.string(),
            b'{' | b'[' => self.bracketed(),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Option<()> {
        let rest = &self.body[self.at..];
        let len = rest.iter().position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace())?;
        self.at += len;
        (len > 0).then_some(())
    }

    fn bracketed(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.byte()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Skips a string, the cursor on its opening quote.
    fn string(&mut self) -> Option<()> {
        if self.byte()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            let hit = memchr::memchr2(b'"', b'\\', self.body.get(self.at..)?)?;
            self.at += hit + 1;
            if self.body[self.at - 1] == b'"' {
                return Some(());
            }
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.byte().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        let mark = self.at;
        self.skip_space();
        let byte = self.byte();
        self.at = mark;
        byte
    }

    fn next_significant(&mut self) -> Option<u8> {
        self.skip_space();
        let byte = self.byte()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next_significant()? == wanted).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rejoin(body: &[u8], split: &Split) -> Vec<u8> {
        let joined: Vec<Vec<u8>> = split
            .cuts
            .iter()
            .map(|cut| cut.pieces.iter().flat_map(|r| body[r.clone()].iter().copied()).collect())
            .collect();
        split.skeleton.join(joined.iter().map(Vec::as_slice)).unwrap()
    }

    #[test]
    fn cuts_at_elements() {
        let body = br#" {"model":"m", "messages": [ {"a":"x]\"}"} ,{"b":[1,{}]}, 3 ] ,"tools":[],"n":1} "#;
        let s = split(body);
        let texts: Vec<&str> =
            s.cuts[0].pieces.iter().map(|r| std::str::from_utf8(&body[r.clone()]).unwrap()).collect();
        assert_eq!(texts, [r#" {"a":"x]\"}"}"#, r#" ,{"b":[1,{}]}"#, ", 3"]);
        assert_eq!(s.cuts.len(), 1, "an empty array is not cut");
        assert_eq!((&body[s.cuts[0].name.clone()], s.cuts[0].of), (&b"messages"[..], CutOf::Array));
        let elements: Vec<&[u8]> = s.cuts[0].pieces.iter().map(|r| element(&body[r.clone()])).collect();
        assert_eq!(elements, [&br#"{"a":"x]\"}"}"#[..], br#"{"b":[1,{}]}"#, b"3"]);
        assert_eq!(rejoin(body, &s), body);
    }

    #[test]
    fn long_strings_are_pieces() {
        let body = format!(r#"{{"system":"{}","x":1}}"#, "word ".repeat(100)).into_bytes();
        let s = split(&body);
        assert_eq!((s.cuts.len(), s.cuts[0].of), (1, CutOf::Text));
        assert_eq!(rejoin(&body, &s), body);
        assert!(s.skeleton.encode().len() < 40);
    }

    #[test]
    fn what_is_no_object_is_kept_whole() {
        for body in [
            &b""[..],
            b"{",
            b"[1,2]",
            b"{}",
            b"{\"a\":[1,2}",
            b"{\"a\":[1]} x",
            b"\x1f\x8b\0\0",
            b"{\"a\":[1,",
            b"{\"a\":\"\\",
        ] {
            let s = split(body);
            assert!(s.cuts.is_empty(), "{body:?}");
            assert_eq!(rejoin(body, &s), body);
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
            "[a-z ]{250,300}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map(".{0,6}", inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_comes_back(value in json(), pretty in any::<bool>()) {
            let body = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            prop_assert_eq!(rejoin(&body, &split(&body)), body);
        }

        /// Wherever two bodies part, what was known of the first changes nothing in the second's cuts.
        #[test]
        fn cutting_goes_on_where_bodies_part(
            value in json(),
            at in any::<prop::sample::Index>(),
            tail in "[\\[\\]{}\":,\\\\a1 ]{0,30}",
            keep_end in any::<bool>(),
        ) {
            let old = serde_json::to_vec(&serde_json::json!({"a": [1, 22, {"b": []}], "v": value, "m": [value, "x"]})).unwrap();
            let at = at.index(old.len() + 1);
            let end = if keep_end { &old[at..] } else { &[][..] };
            let new = [&old[..at], tail.as_bytes(), end].concat();
            let prefix = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
            for prefix in [prefix, at] {
                prop_assert_eq!(split_after(&new, prefix, &split(&old)), split(&new));
            }
        }

        #[test]
        fn any_bytes_come_back(body in prop::collection::vec(prop_oneof![Just(b'{'), Just(b'['), Just(b'"'), Just(b'\\'), Just(b','), Just(b':'), Just(b'}'), Just(b']'), any::<u8>()], 0..80)) {
            prop_assert_eq!(rejoin(&body, &split(&body)), body);
        }
    }
}
