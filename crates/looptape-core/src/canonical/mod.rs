//! JSON compared as JSON: a canonical encoding made straight from the raw bytes.
//!
//! Two texts have the same encoding exactly if they are the same JSON value: key order, whitespace and
//! the spelling of escapes do not matter, numbers count by their exact decimal value (`1`, `1.0` and
//! `1e0` are one number, and integers of any length stay exact), strings by their code points, without
//! Unicode normalisation; lone surrogates stay distinct. Duplicate keys are all kept, in their order,
//! because readers disagree about which one counts.
//!
//! [`Rules`] say which fields are left out and which strings are renamed (see [`Treatment`]); the
//! [`Encoder`] applies them. What is not JSON has no canonical form: the caller compares its bytes.
//!
//! This module knows nothing of providers; which field is what is decided in `replay::fields`.

mod encode;
mod number;
mod parse;
mod rules;

pub(crate) use encode::push_segment;
pub use encode::{Encoder, Renaming};
pub use parse::Json;
pub use rules::{Place, Rules, Treatment};

use crate::digest::Digest;

/// The digest of a JSON text's value; `None` if `bytes` is not one JSON value.
pub fn digest(bytes: &[u8]) -> Option<Digest> {
    let json = Json::parse(bytes)?;
    Some(digest_of(&json))
}

/// The digest of a parsed value, every field included as it is.
pub fn digest_of(json: &Json<'_>) -> Digest {
    let mut encoder = Encoder::new(Rules::everything_counts(), Renaming::Off);
    encoder.push(json, Place::ELSEWHERE, "");
    encoder.finish_item()
}

/// The digest of a value that was parsed elsewhere.
pub fn digest_of_value(value: &serde_json::Value) -> Digest {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    digest(&bytes).unwrap_or_else(|| Digest::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(a: &str, b: &str) -> bool {
        digest(a.as_bytes()).expect(a) == digest(b.as_bytes()).expect(b)
    }

    #[test]
    fn spelling_does_not_matter() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true ,\tnull ] ,\r\n \"a\" : 1 }"),
            ("1.0", "1"),
            ("1e0", "1"),
            ("10e-1", "1"),
            ("0.5", "5E-1"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("0e99999999999999999999999999999999999999999999", "0"),
            ("100000000000000000000000000000000000001", "100000000000000000000000000000000000001.000"),
            (r#""\u0041\/\n""#, r#""A/\u000a""#),
            (r#""\ud83d\ude00""#, "\"😀\""),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#),
        ] {
            assert!(same(a, b), "{a} and {b} are the same value");
        }
    }

    #[test]
    fn values_matter() {
        for (a, b) in [
            ("1", "2"),
            ("1", "-1"),
            ("1", "10"),
            ("1", "\"1\""),
            ("9007199254740993", "9007199254740992"),
            ("100000000000000000000000000000000000001", "100000000000000000000000000000000000002"),
            ("1e400", "1e401"),
            ("[]", "{}"),
            ("[]", "null"),
            ("[[]]", "[]"),
            ("[1,[2]]", "[[1],2]"),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            ("\"é\"", "\"e\u{301}\""),
            (r#""\ud800""#, r#""\ud801""#),
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\udc00\ud800""#, r#""\ud800\udc00""#),
            (r#"["a","b"]"#, r#"["a\",\"b"]"#),
        ] {
            assert!(!same(a, b), "{a} and {b} differ");
        }
    }

    #[test]
    fn what_is_not_json_has_no_digest() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "nul",
            "tru",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "1 2",
            "[1]x",
            "{a:1}",
            "'a'",
            "NaN",
            "\u{feff}1",
            &deep,
        ] {
            assert_eq!(digest(text.as_bytes()), None, "{text:.20}");
        }
        assert_eq!(digest(b"\"\xff\""), None);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9f64..1e9).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn reversed(value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Array(items) => Value::Array(items.iter().map(reversed).collect()),
            Value::Object(members) => {
                Value::Object(members.iter().rev().map(|(k, v)| (k.clone(), reversed(v))).collect())
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn layout_never_matters(value in any_json()) {
            let compact = serde_json::to_vec(&value).unwrap();
            let pretty = serde_json::to_vec_pretty(&reversed(&value)).unwrap();
            let expected = digest(&compact);
            prop_assert!(expected.is_some());
            prop_assert_eq!(expected, digest(&pretty));
            prop_assert_eq!(expected, Some(digest_of_value(&value)));
        }

        #[test]
        fn different_values_differ(a in any_json(), b in any_json()) {
            prop_assume!(a != b);
            // The generator makes no pair that differs in spelling only, save floats of integral value.
            prop_assume!(!a.to_string().contains(".0") && !b.to_string().contains(".0"));
            prop_assert_ne!(digest_of_value(&a), digest_of_value(&b));
        }

        #[test]
        fn agrees_with_serde_about_what_json_is(bytes in prop::collection::vec(prop::sample::select(
            b"{}[]\",:0123456789.eE+-truefalsn\\u \n".to_vec()), 0..12)) {
            let ours = Json::parse(&bytes).is_some();
            let theirs = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
            prop_assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = digest(&bytes);
        }
    }
}
