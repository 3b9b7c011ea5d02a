use super::json_arguments::arguments;
use crate::draws::Draws;
use regex::Regex;
use serde_json::{Value, json};

fn made(schema: &Value) -> Vec<Value> {
    (0..200).map(|seed| arguments(Some(schema), Draws::new(seed))).collect()
}

fn of(property: Value) -> Vec<Value> {
    let schema = json!({ "type": "object", "required": ["x"], "properties": { "x": property } });
    made(&schema).into_iter().map(|value| value["x"].clone()).collect()
}

#[test]
fn types_and_bounds_are_kept() {
    assert!(
        of(json!({ "type": "integer", "minimum": 3, "maximum": 5 }))
            .iter()
            .all(|x| (3..=5).contains(&x.as_i64().unwrap()))
    );
    let excluded = of(json!({ "type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 6 }));
    assert!(excluded.iter().all(|x| (4..=5).contains(&x.as_i64().unwrap())));
    assert!(
        of(json!({ "type": "integer", "minimum": 1, "multipleOf": 7 }))
            .iter()
            .all(|x| x.as_i64().unwrap() % 7 == 0 && x.as_i64().unwrap() > 0)
    );
    assert!(of(json!({ "type": "integer", "maximum": -5 })).iter().all(|x| x.as_i64().unwrap() <= -5));
    let narrow = of(json!({ "type": "number", "minimum": 0.001, "maximum": 0.002 }));
    assert!(narrow.iter().all(|x| (0.001..=0.002).contains(&x.as_f64().unwrap())));
    assert!(
        of(json!({ "type": "string", "minLength": 40, "maxLength": 45 }))
            .iter()
            .all(|x| (40..=45).contains(&x.as_str().unwrap().chars().count()))
    );
    assert!(of(json!({ "type": "boolean" })).iter().all(Value::is_boolean));
    assert!(of(json!({ "type": ["null", "string"] })).iter().all(Value::is_string));
    assert!(of(json!({ "type": "STRING" })).iter().all(Value::is_string), "Gemini's types are large");
}

#[test]
fn enums_constants_and_alternatives_are_among_those_offered() {
    let all = of(json!({ "enum": ["a", 2, null] }));
    assert!(all.iter().all(|x| [json!("a"), json!(2), Value::Null].contains(x)));
    assert!(all.contains(&json!("a")) && all.contains(&json!(2)), "each comes at some time");
    assert!(of(json!({ "const": { "k": 1 } })).iter().all(|x| *x == json!({ "k": 1 })));
    let either = of(json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }] }));
    assert!(either.iter().all(Value::is_i64));
    let both = of(
        json!({ "allOf": [{ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } }, { "required": ["b"], "properties": { "b": { "type": "string" } } }] }),
    );
    assert!(both.iter().all(|x| x["a"].is_i64() && x["b"].is_string()));
}

#[test]
fn nesting_arrays_and_references_are_followed() {
    let lists = of(
        json!({ "type": "array", "minItems": 2, "maxItems": 3, "uniqueItems": true, "items": { "enum": [1, 2, 3] } }),
    );
    for list in &lists {
        let items = list.as_array().unwrap();
        let mut unique = items.clone();
        unique.dedup();
        assert!((2..=3).contains(&items.len()) && unique.len() == items.len(), "{list}");
    }
    let schema = json!({
        "type": "object", "required": ["tree"], "properties": { "tree": { "$ref": "#/$defs/node" } },
        "$defs": { "node": { "type": "object", "required": ["name"], "properties": {
            "name": { "type": "string" }, "children": { "type": "array", "items": { "$ref": "#/$defs/node" } } } } },
    });
    assert!(made(&schema).iter().all(|value| value["tree"]["name"].is_string()), "and it ends");
    let required = json!({ "type": "object", "required": ["deep"], "properties": { "deep": { "type": "object", "required": ["er"], "properties": { "er": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } } } } } });
    assert!(made(&required).iter().all(|value| value["deep"]["er"]["n"].is_i64()));
}

#[test]
fn formats_and_patterns_are_matched() {
    let pattern = r"^[A-Z]{3}-\d{4}(-[a-f]+)?$";
    let matches = Regex::new(pattern).unwrap();
    assert!(
        of(json!({ "type": "string", "pattern": pattern }))
            .iter()
            .all(|x| matches.is_match(x.as_str().unwrap()))
    );
    assert!(
        of(json!({ "type": "string", "format": "date" })).iter().all(|x| x
            .as_str()
            .unwrap()
            .parse::<jiff::civil::Date>()
            .is_ok())
    );
    assert!(
        of(json!({ "type": "string", "format": "date-time" })).iter().all(|x| x
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok())
    );
    let uuid = Regex::new("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$").unwrap();
    assert!(
        of(json!({ "type": "string", "format": "uuid" })).iter().all(|x| uuid.is_match(x.as_str().unwrap()))
    );
}

#[test]
fn nonsense_gives_an_object_too() {
    for schema in [
        json!(null),
        json!("x"),
        json!({}),
        json!({ "type": "string" }),
        json!({ "$ref": "#" }),
        json!({ "pattern": "(" }),
        json!({ "type": "object", "required": "x", "properties": [1] }),
    ] {
        assert!(made(&schema).iter().all(Value::is_object), "{schema}");
    }
    assert_eq!(arguments(None, Draws::new(1)), json!({}));
}
