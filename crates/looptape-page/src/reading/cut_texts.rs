//! Long texts inside JSON, cut, and found again whole.
//!
//! A recording may hold messages of many megabytes. What is shown first is their beginning; each text that was cut is
//! named by its JSON pointer, by which the whole of it can be asked for.

use serde::Serialize;
use serde_json::Value;

/// A text of which only the beginning is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CutText {
    /// Where it is.
    pub pointer: String,
    /// How long it is.
    pub bytes: usize,
    /// How much of it is there.
    pub shown_bytes: usize,
}

/// Cuts every string that is longer than `limit_bytes`.
pub fn cut_texts(value: &mut Value, limit_bytes: usize) -> Vec<CutText> {
    let mut cut = Vec::new();
    walk(value, limit_bytes, &mut String::new(), &mut cut);
    cut
}

fn walk(value: &mut Value, limit_bytes: usize, pointer: &mut String, cut: &mut Vec<CutText>) {
    let here = pointer.len();
    match value {
        Value::String(text) if text.len() > limit_bytes => {
            let bytes = text.len();
            text.truncate(text.floor_char_boundary(limit_bytes));
            cut.push(CutText { pointer: pointer.clone(), bytes, shown_bytes: text.len() });
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                pointer.push_str(&format!("/{at}"));
                walk(item, limit_bytes, pointer, cut);
                pointer.truncate(here);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                walk(member, limit_bytes, pointer, cut);
                pointer.truncate(here);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_cut_is_found_again() {
        let whole = json!({"a": [{"te/xt~": "0123456789"}, "short"], "b": "grüße, grüße"});
        let mut value = whole.clone();
        let cut = cut_texts(&mut value, 8);
        assert_eq!(value["a"][0]["te/xt~"], "01234567");
        assert_eq!(value["b"], "grüße,", "a character is not cut in two");
        assert_eq!(cut.len(), 2);
        for text in cut {
            let found =
                whole.pointer(&text.pointer).and_then(Value::as_str).expect("the pointer leads there");
            assert_eq!(found.len(), text.bytes);
            let shown = value.pointer(&text.pointer).and_then(Value::as_str).expect("there, too");
            assert_eq!((shown, shown.len()), (&found[..text.shown_bytes], text.shown_bytes));
        }
    }
}
