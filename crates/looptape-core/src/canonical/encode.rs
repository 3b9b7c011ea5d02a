//! The canonical bytes of a JSON value under a set of [`Rules`].
//!
//! The encoding is unambiguous (lengths before texts, a mark before each kind), so equal bytes mean equal
//! values and a digest of it is a digest of the value.

use super::number;
use super::parse::Json;
use super::rules::{Place, Rules, Treatment};
use crate::digest::Digest;
use std::collections::HashMap;

/// Whether strings of [`Treatment::Renamed`] are replaced by the number of their first occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renaming {
    Off,
    On,
}

/// Encodes one value after another. Names given by renaming and collected fields last over all of them.
#[derive(Debug)]
pub struct Encoder<'r> {
    rules: &'r Rules,
    /// `None` if renaming is off.
    names: Option<HashMap<Vec<u8>, u32>>,
    collected: Vec<(String, Digest)>,
    buffer: Vec<u8>,
    pointer: String,
}

impl<'r> Encoder<'r> {
    pub fn new(rules: &'r Rules, renaming: Renaming) -> Self {
        let names = match renaming {
            Renaming::Off => None,
            Renaming::On => Some(HashMap::new()),
        };
        Self { rules, names, collected: Vec::new(), buffer: Vec::new(), pointer: String::new() }
    }

    /// Adds a value, found at `place` and at the JSON pointer `pointer`, to the current item.
    pub fn push(&mut self, json: &Json<'_>, place: Place, pointer: &str) {
        self.pointer.clear();
        self.pointer.push_str(pointer);
        self.value(json, place);
    }

    /// Adds a named value to the current item; if nothing of the value counts, neither does its name.
    pub fn push_member(&mut self, pointer: &str, json: &Json<'_>, place: Place) {
        let before = self.buffer.len();
        self.push_text(pointer.as_bytes());
        self.pointer.clear();
        self.pointer.push_str(pointer);
        if self.value(json, place) == Counted::Nothing {
            self.buffer.truncate(before);
        }
    }

    /// Adds a text that is not JSON, a field's name for example, to the current item.
    pub fn push_text(&mut self, text: &[u8]) {
        self.text(b'~', text);
    }

    /// The digest of everything pushed since the last item.
    pub fn finish_item(&mut self) -> Digest {
        let digest = Digest::of(&self.buffer);
        self.buffer.clear();
        digest
    }

    /// The collected fields, by JSON pointer, in the order in which they were met.
    pub fn into_collected(self) -> Vec<(String, Digest)> {
        self.collected
    }

    /// Encodes a value; returns whether anything of it counts.
    fn value(&mut self, json: &Json<'_>, place: Place) -> Counted {
        match (self.rules.treatment(place), json) {
            (Treatment::Ignored, _) => return Counted::Nothing,
            (Treatment::Collected, _) => {
                self.collected.push((self.pointer.clone(), super::digest_of(json)));
                return Counted::Nothing;
            }
            (Treatment::Renamed, Json::String(text)) if self.names.is_some() => self.name(text),
            (_, Json::Null) => self.buffer.push(b'n'),
            (_, Json::Bool(false)) => self.buffer.push(b'f'),
            (_, Json::Bool(true)) => self.buffer.push(b't'),
            (_, Json::Number(raw)) => {
                self.buffer.push(b'#');
                number::push_value(raw, &mut self.buffer);
                self.buffer.push(b';');
            }
            (_, Json::String(text)) => self.text(b'"', text),
            (_, Json::Array(items)) => self.array(items, place),
            (_, Json::Object(members)) => return self.object(members, place),
        }
        Counted::Something
    }

    fn array(&mut self, items: &[Json<'_>], place: Place) {
        let place = self.rules.element(place);
        self.buffer.push(b'[');
        for (index, item) in items.iter().enumerate() {
            let counted =
                self.within(place, |p| p.push_str(&index.to_string()), |this| this.value(item, place));
            if counted == Counted::Nothing {
                // The element keeps its position, so that its neighbours do not move.
                self.buffer.push(b'_');
            }
        }
        self.buffer.push(b']');
    }

    /// An object whose members were all left out is left out itself: a container that only carries what
    /// does not count does not count either.
    fn object(&mut self, members: &[(std::borrow::Cow<'_, [u8]>, Json<'_>)], place: Place) -> Counted {
        let start = self.buffer.len();
        self.buffer.push(b'{');
        let mut counted = if members.is_empty() { Counted::Something } else { Counted::Nothing };
        for (key, value) in members {
            let place = self.rules.member(place, key);
            let before = self.buffer.len();
            self.text(b':', key);
            let member = self.within(place, |p| push_segment(p, key), |this| this.value(value, place));
            match member {
                Counted::Something => counted = Counted::Something,
                Counted::Nothing => self.buffer.truncate(before),
            }
        }
        self.buffer.push(b'}');
        if counted == Counted::Nothing {
            self.buffer.truncate(start);
        }
        counted
    }

    /// Runs `encode` with the pointer one segment longer; where no pattern can match, nobody will ask for
    /// the pointer, and it is left alone.
    fn within(
        &mut self,
        place: Place,
        extend: impl FnOnce(&mut String),
        encode: impl FnOnce(&mut Self) -> Counted,
    ) -> Counted {
        if place == Place::ELSEWHERE {
            return encode(self);
        }
        let before = self.pointer.len();
        self.pointer.push('/');
        extend(&mut self.pointer);
        let counted = encode(self);
        self.pointer.truncate(before);
        counted
    }

    fn name(&mut self, text: &[u8]) {
        let names = self.names.as_mut().expect("only called while renaming is on");
        let next = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let name = *names.entry(text.to_vec()).or_insert(next);
        self.buffer.push(b'@');
        self.buffer.extend_from_slice(&name.to_le_bytes());
    }

    fn text(&mut self, mark: u8, text: &[u8]) {
        self.buffer.push(mark);
        self.buffer.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(text);
    }
}

/// Whether anything of a value was encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Something,
    Nothing,
}

/// Appends a JSON pointer's segment, escaped by RFC 6901.
pub(crate) fn push_segment(pointer: &mut String, key: &[u8]) {
    pointer.push_str(&String::from_utf8_lossy(key).replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(rules: &Rules, renaming: Renaming, text: &str) -> (Digest, Vec<(String, Digest)>) {
        let json = Json::parse(text.as_bytes()).expect(text);
        let mut encoder = Encoder::new(rules, renaming);
        encoder.push(&json, Place::ROOT, "");
        (encoder.finish_item(), encoder.into_collected())
    }

    #[test]
    fn ignored_and_collected_fields_do_not_count() {
        let rules = Rules::compile([
            ("/user", Treatment::Ignored),
            ("/metadata/session", Treatment::Ignored),
            ("/items/*/tier", Treatment::Collected),
        ]);
        let digest = |text| encode(&rules, Renaming::Off, text).0;
        let plain = digest(r#"{"items":[{"a":1}]}"#);
        assert_eq!(plain, digest(r#"{"user":"x","items":[{"tier":2,"a":1}]}"#));
        assert_eq!(plain, digest(r#"{"metadata":{"session":1},"items":[{"a":1}]}"#));
        assert_ne!(plain, digest(r#"{"metadata":{},"items":[{"a":1}]}"#));
        assert_ne!(plain, digest(r#"{"metadata":{"session":1,"k":2},"items":[{"a":1}]}"#));
        assert_ne!(plain, digest(r#"{"items":[{"a":1,"user":"x"}]}"#));
        let (_, collected) = encode(&rules, Renaming::Off, r#"{"items":[{"a":1},{"tier":"flex"}]}"#);
        assert_eq!(collected.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>(), ["/items/1/tier"]);
    }

    #[test]
    fn renaming_keeps_who_is_who() {
        let rules = Rules::compile([("/*", Treatment::Renamed)]);
        let renamed = |text| encode(&rules, Renaming::On, text).0;
        assert_eq!(renamed(r#"["a","b","a"]"#), renamed(r#"["x","y","x"]"#));
        assert_ne!(renamed(r#"["a","b","a"]"#), renamed(r#"["x","y","y"]"#));
        assert_ne!(renamed(r#"["a","b"]"#), renamed(r#"["x","x"]"#));
        assert_ne!(renamed(r#"["a",null]"#), renamed(r#"["x","y"]"#));
        let exact = |text| encode(&rules, Renaming::Off, text).0;
        assert_ne!(exact(r#"["a"]"#), exact(r#"["b"]"#));
    }
}
