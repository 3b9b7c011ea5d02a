//! Arguments of a tool call, made by the tool's JSON schema.
//!
//! What is made is valid by the schema's own keywords: types, enums, constants, required properties, nesting, bounds,
//! lengths, formats, patterns, references within the schema. Conditions between properties (`if`, `not`,
//! `dependentRequired`) are not looked at. Where no schema is given, or one that says nothing, values are made up.
//! References that go round in circles end after a few levels.

use super::sample_text;
use crate::draws::Draws;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Number, Value, json};

/// Below this depth only what is required is made.
const OPTIONAL_DEPTH: usize = 3;
/// Below this depth nothing more is made.
const DEEPEST: usize = 12;

/// What draws at one place of the schema are for.
const CHOICE: u64 = 0;
const AMOUNT: u64 = 1;
const CHILD: u64 = 16;

/// An object by this schema.
pub(crate) fn arguments(schema: Option<&Value>, draws: Draws) -> Value {
    let Some(schema) = schema else { return json!({}) };
    match (Writer { root: schema }).value(schema, draws, 0) {
        Value::Object(fields) => Value::Object(fields),
        _ => json!({}),
    }
}

struct Writer<'a> {
    root: &'a Value,
}

impl Writer<'_> {
    fn value(&self, schema: &Value, draws: Draws, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        if let Some(target) = schema["$ref"].as_str().and_then(|to| self.root.pointer(to.strip_prefix('#')?))
        {
            return self.value(target, draws, depth + 1);
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(all) = schema["enum"].as_array().filter(|all| !all.is_empty()) {
            return chosen(all, draws).clone();
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.value(&self.merged(schema, parts), draws, depth + 1);
        }
        for either in ["anyOf", "oneOf"] {
            if let Some(options) = schema[either].as_array().filter(|options| !options.is_empty()) {
                return self.one_of(options, draws, depth);
            }
        }
        match kind(schema).as_str() {
            "object" => self.object(schema, draws, depth),
            "array" => self.array(schema, draws, depth),
            "integer" => whole_number(schema, draws),
            "number" => number(schema, draws),
            "boolean" => json!(draws.happens(CHOICE, 0.5)),
            "null" => Value::Null,
            _ => string(schema, draws),
        }
    }

    /// One that is not null, if there is one.
    fn one_of(&self, options: &[Value], draws: Draws, depth: usize) -> Value {
        let is_null = |option: &&Value| kind(option) == "null";
        let said: Vec<&Value> = options.iter().filter(|option| !is_null(option)).collect();
        match said.as_slice() {
            [] => Value::Null,
            said => {
                let option = chosen::<&Value>(said, draws);
                self.value(option, draws.at(CHILD), depth + 1)
            }
        }
    }

    /// One schema out of all parts: their properties together, their other keywords side by side.
    fn merged(&self, schema: &Value, parts: &[Value]) -> Value {
        let mut merged = schema.as_object().cloned().unwrap_or_default();
        merged.remove("allOf");
        for part in parts {
            let part = match part["$ref"].as_str().and_then(|to| self.root.pointer(to.strip_prefix('#')?)) {
                Some(target) => target,
                None => part,
            };
            for (keyword, value) in part.as_object().into_iter().flatten() {
                match (merged.get_mut(keyword), value) {
                    (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
                    (Some(Value::Array(known)), Value::Array(more)) => known.extend(more.iter().cloned()),
                    _ => {
                        merged.insert(keyword.clone(), value.clone());
                    }
                }
            }
        }
        Value::Object(merged)
    }

    fn object(&self, schema: &Value, draws: Draws, depth: usize) -> Value {
        let names = |field: &str| schema[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_required = |name: &str| names("required").any(|required| required == name);
        let mut fields = Map::new();
        let properties = schema["properties"].as_object();
        for (place, (name, property)) in (CHILD..).zip(properties.into_iter().flatten()) {
            let is_wanted = depth < OPTIONAL_DEPTH && draws.happens(place, 0.5);
            if is_required(name) || is_wanted {
                fields.insert(name.clone(), self.value(property, draws.at(place), depth + 1));
            }
        }
        for (place, name) in (CHILD..).zip(names("required")) {
            if !fields.contains_key(name) {
                fields.insert(
                    name.to_owned(),
                    self.value(&schema["additionalProperties"], draws.at(place), depth + 1),
                );
            }
        }
        let least = schema["minProperties"].as_u64().unwrap_or(0);
        let mut extra = 1;
        while (fields.len() as u64) < least && extra <= least {
            let value = self.value(&schema["additionalProperties"], draws.at(extra), depth + 1);
            fields.insert(format!("key_{extra}"), value);
            extra += 1;
        }
        Value::Object(fields)
    }

    fn array(&self, schema: &Value, draws: Draws, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(u64::from(depth < DEEPEST / 2));
        let most = schema["maxItems"].as_u64().unwrap_or(least.max(2)).min(least + 2).max(least);
        let wanted = least + draws.number(AMOUNT) % (most - least + 1);
        let fixed = schema["prefixItems"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_unique = schema["uniqueItems"] == true;
        let mut items: Vec<Value> = Vec::new();
        // Values that came already are drawn again, a few times; a small enum may not have as many.
        for place in CHILD..CHILD + wanted.min(10_000) * 8 {
            if items.len() as u64 >= wanted {
                break;
            }
            let item =
                self.value(fixed.get(items.len()).unwrap_or(&schema["items"]), draws.at(place), depth + 1);
            if !is_unique || !items.contains(&item) {
                items.push(item);
            }
        }
        Value::Array(items)
    }
}

fn chosen<T>(all: &[T], draws: Draws) -> &T {
    let count = all.len() as u64;
    &all[usize::try_from(draws.number(CHOICE) % count).unwrap_or(0)]
}

/// The type, in lower case (Gemini writes them large); of several the first that is not null; else by its keywords.
fn kind(schema: &Value) -> String {
    let stated = match &schema["type"] {
        Value::String(kind) => Some(kind.as_str()),
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            let first = kinds.clone().next();
            kinds.find(|kind| *kind != "null").or(first)
        }
        _ => None,
    };
    let has = |keywords: &[&str]| keywords.iter().any(|keyword| schema.get(keyword).is_some());
    match stated {
        Some(kind) => kind.to_ascii_lowercase(),
        None if has(&["properties", "required", "minProperties"]) => "object".into(),
        None if has(&["items", "prefixItems", "minItems"]) => "array".into(),
        None if has(&["minimum", "maximum", "multipleOf", "exclusiveMinimum", "exclusiveMaximum"]) => {
            "number".into()
        }
        None => "string".into(),
    }
}

/// The least and the most that a number may be, a tiny step inside where the bound itself is excluded.
fn bounds(schema: &Value, step: f64) -> (f64, f64) {
    let bound = |plain: &str, exclusive: &str, inside: f64| {
        let stated = schema[plain].as_f64();
        match &schema[exclusive] {
            // Draft 4 says with a boolean that the plain bound is excluded.
            Value::Bool(true) => stated.map(|bound| bound + inside),
            other => match (stated, other.as_f64().map(|bound| bound + inside)) {
                (Some(a), Some(b)) => Some(if inside > 0.0 { a.max(b) } else { a.min(b) }),
                (a, b) => a.or(b),
            },
        }
    };
    match (bound("minimum", "exclusiveMinimum", step), bound("maximum", "exclusiveMaximum", -step)) {
        (Some(least), Some(most)) => (least, most.max(least)),
        (Some(least), None) => (least, least + 100.0),
        (None, Some(most)) => (most.min(1.0), most),
        (None, None) => (1.0, 100.0),
    }
}

fn whole_number(schema: &Value, draws: Draws) -> Value {
    let (least, most) = bounds(schema, 1.0);
    let step = schema["multipleOf"].as_f64().filter(|step| *step >= 1.0).unwrap_or(1.0);
    let (first, last) = ((least / step).ceil(), (most / step).floor());
    let steps = (last - first).max(0.0);
    let drawn = (first + (draws.unit(AMOUNT) * (steps + 1.0)).floor().min(steps)) * step;
    if drawn.abs() < 9e15 { json!(drawn as i64) } else { json!(drawn) }
}

fn number(schema: &Value, draws: Draws) -> Value {
    let step = schema["multipleOf"].as_f64().filter(|step| *step > 0.0);
    let (least, most) = bounds(schema, step.unwrap_or(1e-6));
    let drawn = least + draws.unit(AMOUNT) * (most - least);
    let rounded = match step {
        Some(step) => ((drawn / step).floor().max((least / step).ceil())) * step,
        None => (drawn * 100.0).round() / 100.0,
    };
    let within = if (least..=most).contains(&rounded) { rounded } else { drawn.clamp(least, most) };
    Number::from_f64(within).map_or(json!(0), Value::Number)
}

fn string(schema: &Value, draws: Draws) -> Value {
    if let Some(text) = schema["pattern"].as_str().and_then(|pattern| matching(pattern, draws)) {
        return json!(text);
    }
    let digits = draws.number(AMOUNT);
    let made = match schema["format"].as_str().unwrap_or_default() {
        "date" => format!("2025-{:02}-{:02}", digits % 12 + 1, digits / 12 % 28 + 1),
        "date-time" => format!("2025-{:02}-{:02}T12:00:00Z", digits % 12 + 1, digits / 12 % 28 + 1),
        "time" => format!("{:02}:{:02}:00Z", digits % 24, digits / 24 % 60),
        "duration" => format!("PT{}M", digits % 59 + 1),
        "email" | "idn-email" => format!("{}@example.com", sample_text::word(digits)),
        "uri" | "url" | "iri" | "uri-reference" => {
            format!("https://example.com/{}", sample_text::word(digits))
        }
        "uuid" => uuid(draws),
        "ipv4" => format!("192.0.2.{}", digits % 254 + 1),
        "ipv6" => format!("2001:db8::{:x}", digits % 0xffff + 1),
        "hostname" => format!("{}.example.com", sample_text::word(digits)),
        _ => sample_text::words(draws, 1 + digits % 3),
    };
    json!(as_long(made, schema, draws))
}

fn uuid(draws: Draws) -> String {
    let (high, low) = (draws.number(AMOUNT + 1), draws.number(AMOUNT + 2));
    let hex = format!("{high:016x}{low:016x}");
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// Between `minLength` and `maxLength` characters.
fn as_long(mut text: String, schema: &Value, draws: Draws) -> String {
    let size = |field: &str| schema[field].as_u64().and_then(|size| usize::try_from(size).ok());
    let least = size("minLength").unwrap_or(0).min(100_000);
    let mut more = 0;
    while text.chars().count() < least {
        text.push(' ');
        text.push_str(sample_text::word(draws.number(CHILD + more)));
        more += 1;
    }
    match size("maxLength") {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

/// A text that a pattern matches; `None` where the pattern cannot be read.
fn matching(pattern: &str, draws: Draws) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut text = String::new();
    write_match(&hir, draws, &mut text)?;
    Some(text)
}

fn write_match(hir: &Hir, draws: Draws, text: &mut String) -> Option<()> {
    if text.len() > 10_000 {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(()),
        HirKind::Literal(literal) => {
            text.push_str(std::str::from_utf8(&literal.0).ok()?);
            Some(())
        }
        HirKind::Class(Class::Unicode(class)) => {
            // Readable characters where the class has some.
            let ranges: Vec<(u32, u32)> =
                class.iter().map(|range| (range.start() as u32, range.end() as u32)).collect();
            let plain = |(start, end): &(u32, u32)| (*start.max(&0x21), *end.min(&0x7e));
            let readable: Vec<(u32, u32)> =
                ranges.iter().map(plain).filter(|(start, end)| start <= end).collect();
            let among = if readable.is_empty() { ranges } else { readable };
            let (start, end) =
                *among.get(usize::try_from(draws.number(CHOICE) % (among.len().max(1) as u64)).ok()?)?;
            let drawn = start + u32::try_from(draws.number(AMOUNT) % u64::from(end - start + 1)).ok()?;
            text.push(char::from_u32(drawn).or_else(|| char::from_u32(start))?);
            Some(())
        }
        HirKind::Class(Class::Bytes(_)) => None,
        HirKind::Repetition(repetition) => {
            let most = repetition
                .max
                .unwrap_or(repetition.min.saturating_add(3))
                .min(repetition.min.saturating_add(3));
            let times =
                u64::from(repetition.min) + draws.number(AMOUNT) % u64::from(most - repetition.min + 1);
            (0..times).try_for_each(|time| write_match(&repetition.sub, draws.at(CHILD + time), text))
        }
        HirKind::Capture(capture) => write_match(&capture.sub, draws.at(CHILD), text),
        HirKind::Concat(parts) => {
            (CHILD..).zip(parts).try_for_each(|(place, part)| write_match(part, draws.at(place), text))
        }
        HirKind::Alternation(options) => write_match(chosen(options, draws), draws.at(CHILD), text),
    }
}
