//! JSON as people read it: indented, long text as lines, values by their names.
//!
//! Members keep the order in which the client wrote them: it is part of the bytes. A text of several lines is
//! `{"$lines": […]}`. A client's own object of that form would be read as text; whoever writes compares, and
//! stores the bytes as they are.

use super::values::{Collector, Named, fill, filled_number};
use serde_json::{Map, Number, Value};

/// The one member of an object that stands for a text of several lines.
const LINES: &str = "$lines";

/// A value, laid out for people; `None` if it could not be told from another one.
pub(super) fn laid_out(value: &Value, found: &mut Collector) -> Option<Value> {
    let laid_out = member("", value, found);
    let back = read_back(laid_out.clone(), found.named());
    (back.as_ref() == Ok(value)).then_some(laid_out)
}

fn member(name: &str, value: &Value, found: &mut Collector) -> Value {
    match value {
        Value::String(text) => lines(found.template(text)),
        Value::Number(number) => match found.number(name, &number.to_string()) {
            Some(template) => Value::String(template),
            None => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| member("", item, found)).collect()),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), member(name, value, found)));
            Value::Object(members.collect())
        }
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

fn lines(text: String) -> Value {
    if !text.contains('\n') {
        return Value::String(text);
    }
    let lines = text.split('\n').map(|line| Value::String(line.to_owned())).collect();
    Value::Object(Map::from_iter([(LINES.to_owned(), Value::Array(lines))]))
}

/// The value that was laid out so; else what is wrong with it.
pub(super) fn read_back(value: Value, named: &Named) -> Result<Value, String> {
    let text = |template: &str| fill(template, named).map(Value::String).map_err(|error| error.to_string());
    Ok(match value {
        Value::String(template) => match filled_number(&template, named) {
            Some(digits) => Value::Number(number(digits)?),
            None => text(&template)?,
        },
        Value::Array(items) => {
            let items = items.into_iter().map(|item| read_back(item, named));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(members) => match joined(&members) {
            Some(template) => text(&template)?,
            None => {
                let members = members.into_iter().map(|(name, value)| Ok((name, read_back(value, named)?)));
                Value::Object(members.collect::<Result<_, String>>()?)
            }
        },
        other => other,
    })
}

fn number(digits: &str) -> Result<Number, String> {
    serde_json::from_str(digits).map_err(|_| format!("`{digits}` is no number"))
}

/// The text that an object of lines stands for.
fn joined(members: &Map<String, Value>) -> Option<String> {
    let lines = members.get(LINES).filter(|_| members.len() == 1)?.as_array()?;
    let lines: Option<Vec<&str>> = lines.iter().map(Value::as_str).collect();
    Some(lines?.join("\n"))
}

/// A value as the text of a file.
pub(super) fn file_text(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("what is written is JSON");
    text.push(b'\n');
    text
}

/// The same with all members in order of their names: for what is looptape's own.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
