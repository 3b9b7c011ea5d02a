//! Answers packed for a file: an agent's requests repeat their history, and so do answers about its steps. What is the same
//! is in the file once.
//!
//! A packed value is JSON again, in which an object with a key that begins with `$` stands for something else:
//! `{"$": n}` for the nth thing of the table, `{"$+": [n, k, […]]}` for the first k elements of the nth thing and more,
//! `{"$o": [[key, value], …]}` for an object that has such a key itself. `assets/unpack.js` reads it.
//!
//! Invariant: unpacking gives the value that was packed. Things of the table refer only to those before them.

use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What is shorter than this takes less than a reference and its place in the table.
const WORTH_BYTES: usize = 40;
/// Arrays with fewer elements are not compared with the one before.
const LONG: usize = 4;

/// Packs values, one after the other, into one table.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    table: Vec<Value>,
    places: HashMap<String, usize>,
    /// Of each key, the last long array below it, packed, and its place.
    arrays: HashMap<String, (Vec<Value>, usize)>,
}

impl Packer {
    pub(crate) fn pack(&mut self, value: &Value) -> Value {
        self.packed("", value)
    }

    /// All that was referred to.
    pub(crate) fn table(self) -> Vec<Value> {
        self.table
    }

    fn packed(&mut self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if text.len() >= WORTH_BYTES => self.once(value.clone()),
            Value::Array(all) => self.array(key, all),
            Value::Object(all) => self.object(all),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    fn object(&mut self, all: &Map<String, Value>) -> Value {
        let packed: Vec<(String, Value)> =
            all.iter().map(|(key, value)| (key.clone(), self.packed(key, value))).collect();
        let packed = match all.keys().any(|key| key.starts_with('$')) {
            true => json!({ "$o": packed }),
            false => Value::Object(packed.into_iter().collect()),
        };
        self.once(packed)
    }

    fn array(&mut self, key: &str, all: &[Value]) -> Value {
        let packed: Vec<Value> = all.iter().map(|value| self.packed(key, value)).collect();
        if packed.len() < LONG {
            return Value::Array(packed);
        }
        let thing = match self.arrays.get(key) {
            Some((before, at)) => {
                let same = before.iter().zip(&packed).take_while(|(one, other)| one == other).count();
                match 2 * same >= packed.len() {
                    true => json!({ "$+": [at, same, &packed[same..]] }),
                    false => Value::Array(packed.clone()),
                }
            }
            None => Value::Array(packed.clone()),
        };
        let at = self.place(thing);
        self.arrays.insert(key.to_owned(), (packed, at));
        json!({ "$": at })
    }

    /// A reference, where that is shorter.
    fn once(&mut self, packed: Value) -> Value {
        let text = packed.to_string();
        if text.len() < WORTH_BYTES {
            return packed;
        }
        json!({ "$": self.place_of(text, packed) })
    }

    fn place(&mut self, packed: Value) -> usize {
        self.place_of(packed.to_string(), packed)
    }

    fn place_of(&mut self, text: String, packed: Value) -> usize {
        *self.places.entry(text).or_insert_with(|| {
            self.table.push(packed);
            self.table.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As `unpack.js` does it.
    fn unpacked(table: &[Value], packed: &Value) -> Value {
        match packed {
            Value::Array(all) => all.iter().map(|one| unpacked(table, one)).collect(),
            Value::Object(all) => {
                if let Some(at) = all.get("$") {
                    return unpacked(table, &table[at.as_u64().unwrap() as usize]);
                }
                if let Some(longer) = all.get("$+") {
                    let base = unpacked(table, &table[longer[0].as_u64().unwrap() as usize]);
                    let same = longer[1].as_u64().unwrap() as usize;
                    let mut whole = base.as_array().unwrap()[..same].to_vec();
                    whole.extend(longer[2].as_array().unwrap().iter().map(|one| unpacked(table, one)));
                    return Value::Array(whole);
                }
                if let Some(own) = all.get("$o") {
                    let pair =
                        |pair: &Value| (pair[0].as_str().unwrap().to_owned(), unpacked(table, &pair[1]));
                    return Value::Object(own.as_array().unwrap().iter().map(pair).collect());
                }
                Value::Object(all.iter().map(|(key, one)| (key.clone(), unpacked(table, one))).collect())
            }
            other => other.clone(),
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let key = prop_oneof!["[a-c]", Just("$".to_owned()), Just("$+".to_owned()), Just("$o".to_owned())];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,60}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..9).prop_map(Value::Array),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(values in prop::collection::vec(any_value(), 1..4)) {
            let mut packer = Packer::default();
            let packed: Vec<Value> = values.iter().map(|value| packer.pack(value)).collect();
            let table = packer.table();
            for (value, packed) in values.iter().zip(&packed) {
                prop_assert_eq!(value, &unpacked(&table, packed));
            }
        }
    }

    #[test]
    fn a_growing_history_takes_what_each_step_adds() {
        let message = |n: usize| json!({"role": "user", "text": format!("message {n} {}", "x".repeat(200))});
        let step = |n: usize| json!({ "messages": (0..n).map(message).collect::<Vec<_>>() });
        let size = |steps: usize| {
            let mut packer = Packer::default();
            let all: usize = (1..=steps).map(|n| packer.pack(&step(n)).to_string().len()).sum();
            all + Value::from(packer.table()).to_string().len()
        };
        assert!(size(400) < 5 * size(100), "{} and {}", size(400), size(100));
    }
}
