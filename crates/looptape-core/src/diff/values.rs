//! Where two JSON values differ: every place, by its pointer.

use crate::canonical::push_segment;
use serde_json::Value;

/// Places that are named of one pair of values.
const MOST: usize = 40;

/// A place where two values differ; `None` where one side has nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ValueDifference<'v> {
    /// A JSON pointer into the values; empty for the values themselves.
    pub(super) pointer: String,
    pub(super) a: Option<&'v Value>,
    pub(super) b: Option<&'v Value>,
}

/// Every place where two values differ, at most [`MOST`]. Keys in alphabetical order, so that it does not
/// depend on how the values were written.
pub(super) fn differences<'v>(a: &'v Value, b: &'v Value) -> Vec<ValueDifference<'v>> {
    let mut found = Vec::new();
    walk(Some(a), Some(b), &mut String::new(), &mut found);
    found
}

fn walk<'v>(
    a: Option<&'v Value>,
    b: Option<&'v Value>,
    pointer: &mut String,
    found: &mut Vec<ValueDifference<'v>>,
) {
    if found.len() >= MOST || is_same(a, b) {
        return;
    }
    match (a, b) {
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                within(pointer, key, |pointer| walk(x.get(key), y.get(key), pointer, found));
            }
        }
        (Some(Value::Array(x)), Some(Value::Array(y))) => arrays(x, y, pointer, found),
        _ => found.push(ValueDifference { pointer: pointer.clone(), a, b }),
    }
}

/// What both begin and end with is the same; what lies between is compared one by one.
fn arrays<'v>(x: &'v [Value], y: &'v [Value], pointer: &mut String, found: &mut Vec<ValueDifference<'v>>) {
    let same = |(p, q): &(&Value, &Value)| is_same(Some(p), Some(q));
    let before = x.iter().zip(y).take_while(same).count();
    let room = x.len().min(y.len()) - before;
    let after = x.iter().rev().zip(y.iter().rev()).take(room).take_while(same).count();
    let (inner_x, inner_y) = (&x[before..x.len() - after], &y[before..y.len() - after]);
    for at in 0..inner_x.len().max(inner_y.len()) {
        let place = (before + at).to_string();
        within(pointer, &place, |pointer| walk(inner_x.get(at), inner_y.get(at), pointer, found));
    }
}

fn within(pointer: &mut String, segment: &str, run: impl FnOnce(&mut String)) {
    let before = pointer.len();
    pointer.push('/');
    push_segment(pointer, segment.as_bytes());
    run(pointer);
    pointer.truncate(before);
}

/// Numbers count by their value: `1` is `1.0`.
fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Number(x)), Some(Value::Number(y))) => {
            x == y || ((x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64())
        }
        (Some(Value::Array(x)), Some(Value::Array(y))) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| is_same(Some(x), Some(y)))
        }
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            x.len() == y.len() && x.iter().all(|(key, x)| is_same(Some(x), y.get(key)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_place_is_named() {
        let found = |a: Value, b: Value| -> Vec<String> {
            let text = |side: Option<&Value>| side.map_or("–".to_owned(), Value::to_string);
            let one = |d: &ValueDifference<'_>| format!("{} {} {}", d.pointer, text(d.a), text(d.b));
            differences(&a, &b).iter().map(one).collect()
        };
        assert_eq!(
            found(json!({"b": 1, "a": [1, 2.0]}), json!({"a": [1, 2], "b": 1.0})),
            Vec::<String>::new()
        );
        assert_eq!(
            found(json!({"t": 0.5, "s": {"x/y": 1}, "o": 1}), json!({"t": 0.7, "s": {"x/y": 2}, "n": null})),
            ["/n – null", "/o 1 –", "/s/x~1y 1 2", "/t 0.5 0.7"]
        );
        assert_eq!(found(json!([1, 2, 3]), json!([1, 3])), ["/1 2 –"]);
        assert_eq!(found(json!("a"), json!(1)), [" \"a\" 1"]);
        assert_eq!(found(Value::from(vec![1; 99]), Value::from(vec![2; 99])).len(), MOST);
    }
}
