//! A JSON file into the tree, value by value, so that a hostile file cannot take much more memory than its
//! own size.

use super::{
    Refused,
    document::{MAX_VALUES, Node, Shared, Tag},
    scalar::{Scalar, Style},
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::{cell::Cell, collections::HashMap, collections::hash_map::Entry, fmt, rc::Rc};

/// Parses a JSON file.
pub(super) fn parse(text: &str) -> Result<Shared, Refused> {
    let count = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = NodeSeed { count: &count }.deserialize(&mut deserializer);
    parsed.and_then(|root| deserializer.end().map(|()| root)).map_err(|error| {
        if count.get() > MAX_VALUES {
            return Refused::TooManyValues { limit: MAX_VALUES };
        }
        let (line, column) = (error.line() as u64, error.column() as u64);
        Refused::NotJson { line, column, problem: problem(&error) }
    })
}

/// The parser's message without the position, which has fields of its own.
fn problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.split(" at line ").next().unwrap_or(&message).to_owned()
}

/// Makes a node of whatever value comes next, and counts it.
#[derive(Clone, Copy)]
struct NodeSeed<'a> {
    count: &'a Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Shared;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shared, D::Error> {
        self.count.set(self.count.get() + 1);
        if self.count.get() > MAX_VALUES {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Shared;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Shared, E> {
        Ok(typed("null"))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Shared, E> {
        Ok(typed(if value { "true" } else { "false" }))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Shared, E> {
        Ok(typed(&value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Shared, E> {
        Ok(typed(&value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Shared, E> {
        // A number, not Rust's own notation of it: `1e400` is not finite, and no JSON number either.
        let number = serde_json::Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(typed(&number.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Shared, E> {
        Ok(scalar(value.to_owned(), Tag::Absent))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Shared, E> {
        Ok(scalar(value, Tag::Absent))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Shared, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Rc::new(Node::List { tag: Tag::Absent, items }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shared, A::Error> {
        let mut entries: Vec<(Shared, Shared)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            match places.entry(key) {
                Entry::Occupied(place) => entries[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    entries.push((scalar(place.key().clone(), Tag::Absent), value));
                    place.insert(entries.len() - 1);
                }
            }
        }
        Ok(Rc::new(Node::Map { tag: Tag::Absent, entries }))
    }
}

/// Not text: the number, the boolean or the null that it says.
fn typed(text: &str) -> Shared {
    scalar(text.to_owned(), Tag::Typed)
}

fn scalar(text: String, tag: Tag) -> Shared {
    Rc::new(Node::Scalar(Scalar { text, tag, style: Style::Marked }))
}
