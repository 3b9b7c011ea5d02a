//! The results of tools in a request's body: where each stands, and how another is put in its place.
//!
//! A body that is changed here keeps every other byte. Only formats that coding agents speak are read; in any other there
//! are no results. Nothing here decides which result a model is told: that is [`super::ToolDesk`]'s business.

use super::message::arguments_digest;
use crate::wire::Wire;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// The call that a result answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallKey {
    /// The model's id of it.
    Id(String),
    /// Where the model gives no ids: the `nth` call, from 0, of this tool with these arguments in the conversation.
    Nth { name: String, arguments: i64, nth: usize },
}

/// A result in a body.
#[derive(Clone, Debug)]
pub struct ToldResult<'b> {
    pub key: CallKey,
    wire: Wire,
    /// The JSON object that holds it.
    written: &'b RawValue,
    at: Range<usize>,
}

/// What a model is told of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub is_error: bool,
}

/// The results in the body of a request, in their order.
pub fn results<'b>(wire: Wire, body: &'b [u8]) -> Vec<ToldResult<'b>> {
    let Ok(root) = serde_json::from_slice::<Members<'b>>(body) else { return Vec::new() };
    let written: Vec<(CallKey, &'b RawValue)> = match wire {
        Wire::OpenAiChat => of_chat(&root),
        Wire::OpenAiResponses => of_responses(&root),
        Wire::AnthropicMessages => of_anthropic(&root),
        Wire::GeminiGenerate => of_gemini(&root),
        _ => Vec::new(),
    };
    let start = body.as_ptr() as usize;
    let told = |(key, written): (CallKey, &'b RawValue)| {
        // A raw value is a piece of the body that it was read from.
        let from = written.get().as_ptr() as usize - start;
        ToldResult { key, wire, written, at: from..from + written.get().len() }
    };
    written.into_iter().map(told).collect()
}

/// The body with these texts in the place of those results, which are in the order in which they stand in it.
pub fn replaced(body: &[u8], instead: &[(&ToldResult<'_>, String)]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(body.len());
    let mut copied = 0;
    for (result, text) in instead {
        changed.extend_from_slice(&body[copied..result.at.start]);
        changed.extend_from_slice(text.as_bytes());
        copied = result.at.end;
    }
    changed.extend_from_slice(&body[copied..]);
    changed
}

impl ToldResult<'_> {
    /// The JSON object that holds it.
    pub fn written(&self) -> &str {
        self.written.get()
    }

    /// What it says.
    pub fn said(&self) -> Said {
        said(self.wire, self.written.get())
    }

    /// The recorded object, with those members of this one that are not the result.
    pub fn with(&self, recorded: &str) -> String {
        let kept: &[&str] = match self.wire {
            Wire::AnthropicMessages => &["cache_control"],
            Wire::GeminiGenerate => &["id"],
            _ => &[],
        };
        let (Ok(live), Ok(recorded)) = (members(self.written.get()), members(recorded)) else {
            return recorded.to_owned();
        };
        let own = |name: &str| live.get(name).filter(|_| kept.contains(&name));
        let mut all: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &recorded.0 {
            match (kept.contains(&name.as_ref()), own(name)) {
                (false, _) => all.push((name, value.get())),
                (true, Some(own)) => all.push((name, own.get())),
                (true, None) => {}
            }
        }
        for (name, value) in live.0.iter().filter(|(name, _)| kept.contains(&name.as_ref())) {
            if recorded.get(name).is_none() {
                all.push((name, value.get()));
            }
        }
        let member = |(name, value): &(&str, &str)| format!("{}:{value}", Value::from(*name));
        format!("{{{}}}", all.iter().map(member).collect::<Vec<_>>().join(","))
    }
}

/// What an object that holds a result says.
pub fn said(wire: Wire, written: &str) -> Said {
    let value: Value = serde_json::from_str(written).unwrap_or_default();
    let (content, is_error) = match wire {
        Wire::OpenAiResponses => (&value["output"], false),
        Wire::GeminiGenerate => (&value["response"], value["response"].get("error").is_some()),
        _ => (&value["content"], value["is_error"] == true),
    };
    Said { text: text(content), is_error }
}

fn text(content: &Value) -> String {
    let of_part = |part: &Value| part["text"].as_str().map(str::to_owned);
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) if parts.iter().all(|part| part["text"].is_string()) => {
            parts.iter().filter_map(of_part).collect()
        }
        other => other.to_string(),
    }
}

fn of_chat<'b>(root: &Members<'b>) -> Vec<(CallKey, &'b RawValue)> {
    let result = |raw: &'b RawValue| {
        let message = members(raw.get()).ok()?;
        (message.text("role")? == "tool").then_some(())?;
        Some((CallKey::Id(message.text("tool_call_id")?), raw))
    };
    root.items("messages").into_iter().filter_map(result).collect()
}

fn of_responses<'b>(root: &Members<'b>) -> Vec<(CallKey, &'b RawValue)> {
    let result = |raw: &'b RawValue| {
        let item = members(raw.get()).ok()?;
        item.text("type")?.ends_with("_output").then_some(())?;
        Some((CallKey::Id(item.text("call_id")?), raw))
    };
    root.items("input").into_iter().filter_map(result).collect()
}

fn of_anthropic<'b>(root: &Members<'b>) -> Vec<(CallKey, &'b RawValue)> {
    let result = |raw: &'b RawValue| {
        let part = members(raw.get()).ok()?;
        (part.text("type")? == "tool_result").then_some(())?;
        Some((CallKey::Id(part.text("tool_use_id")?), raw))
    };
    let messages = root.items("messages").into_iter().filter_map(|message| members(message.get()).ok());
    messages.flat_map(|message| message.items("content")).filter_map(result).collect()
}

/// Gemini's calls need no ids, and its clients make some up.
fn of_gemini<'b>(root: &Members<'b>) -> Vec<(CallKey, &'b RawValue)> {
    let mut asked: HashMap<(String, i64), usize> = HashMap::new();
    let mut open: Vec<(String, CallKey)> = Vec::new();
    let mut found = Vec::new();
    let contents = root.items("contents").into_iter().filter_map(|content| members(content.get()).ok());
    for part in contents.flat_map(|content| content.items("parts")) {
        let Ok(part) = members(part.get()) else { continue };
        if let Some(call) = part.get("functionCall").and_then(|call| members(call.get()).ok()) {
            let Some(name) = call.text("name") else { continue };
            let arguments = call.get("args").and_then(|args| serde_json::from_str::<Value>(args.get()).ok());
            let arguments = arguments_digest(&arguments.unwrap_or_else(|| Value::Object(Default::default())));
            let count = asked.entry((name.clone(), arguments)).or_default();
            open.push((name.clone(), CallKey::Nth { name, arguments, nth: *count }));
            *count += 1;
        } else if let Some(raw) = part.get("functionResponse") {
            let name = members(raw.get()).ok().and_then(|response| response.text("name"));
            if let Some(at) = open.iter().position(|(called, _)| Some(called) == name.as_ref()) {
                found.push((open.remove(at).1, raw));
            }
        }
    }
    found
}

/// An object's members in their order, unread.
struct Members<'b>(Vec<(Cow<'b, str>, &'b RawValue)>);

fn members(object: &str) -> Result<Members<'_>, serde_json::Error> {
    serde_json::from_str(object)
}

impl<'b> Members<'b> {
    fn get(&self, name: &str) -> Option<&'b RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    fn items(&self, name: &str) -> Vec<&'b RawValue> {
        let items = self.get(name).and_then(|array| serde_json::from_str(array.get()).ok());
        items.unwrap_or_default()
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Members<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reading)
    }
}

/// A member's name, borrowed where it can be.
#[derive(Deserialize)]
struct Name<'b>(#[serde(borrow)] Cow<'b, str>);

#[cfg(test)]
mod tests {
    use super::*;

    /// The same two calls in each format: the body of the agent that refused them, and the results' texts.
    const BODIES: [(Wire, &str); 4] = [
        (
            Wire::OpenAiChat,
            r#"{"messages": [{"role":"user","content":"x"}, {"role":"tool","tool_call_id":"a","content":"no"}, {"role":"tool","content":[{"type":"text","text":"no"}],"tool_call_id":"b"}], "n": 1.0}"#,
        ),
        (
            Wire::OpenAiResponses,
            r#"{"input":[{"type":"function_call","call_id":"a","name":"f"},{"type":"function_call_output","call_id":"a","output":"no"},{"type":"custom_tool_call_output","call_id":"b","output":"no"}]}"#,
        ),
        (
            Wire::AnthropicMessages,
            r#"{"messages":[{"role":"user","content":"x"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"no"},{"type":"text","text":"no"},{"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"no"}]}]}]}"#,
        ),
        (
            Wire::GeminiGenerate,
            r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{"n":1}}},{"functionCall":{"name":"f","args":{"n":1.0}}}]},{"parts":[{"functionResponse":{"name":"f","response":{"output":"no"}}},{"functionResponse":{"name":"f","id":"local","response":{"output":"no"}}}]}]}"#,
        ),
    ];

    #[test]
    fn results_are_found_and_replaced_in_every_format() {
        for (wire, body) in BODIES {
            let found = results(wire, body.as_bytes());
            assert_eq!(found.len(), 2, "{wire:?}");
            let keys: Vec<String> = found
                .iter()
                .map(|result| match &result.key {
                    CallKey::Id(id) => id.clone(),
                    CallKey::Nth { name, nth, .. } => format!("{name}{nth}"),
                })
                .collect();
            let expected = if wire == Wire::GeminiGenerate { ["f0", "f1"] } else { ["a", "b"] };
            assert_eq!(keys, expected, "{wire:?}");
            assert!(found.iter().all(|result| result.said().text.contains("no")), "{wire:?}");
            let yes = found[1].written().replace("no", "yes");
            let changed = replaced(body.as_bytes(), &[(&found[1], yes)]);
            let changed = String::from_utf8(changed).unwrap();
            let again = results(wire, changed.as_bytes());
            assert!(again[0].said().text.contains("no") && again[1].said().text.contains("yes"), "{changed}");
            assert_eq!(changed.replace("yes", "no"), body, "every other byte stays");
        }
    }

    #[test]
    fn what_is_not_the_result_stays_the_agents_own() {
        let body = r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":"no","is_error":true,"tool_use_id":"a","cache_control":{"type":"ephemeral"}}]}]}"#;
        let found = results(Wire::AnthropicMessages, body.as_bytes());
        assert_eq!(found[0].said(), Said { text: "no".into(), is_error: true });
        let recorded = r#"{"tool_use_id":"a","type":"tool_result","content":"3"}"#;
        insta::assert_snapshot!(found[0].with(recorded), @r#"{"tool_use_id":"a","type":"tool_result","content":"3","cache_control":{"type":"ephemeral"}}"#);
        let body = body.replace(r#","cache_control":{"type":"ephemeral"}"#, "");
        let found = results(Wire::AnthropicMessages, body.as_bytes());
        let marked = r#"{"type":"tool_result","content":"3","cache_control":{"type":"ephemeral"}}"#;
        assert_eq!(found[0].with(marked), r#"{"type":"tool_result","content":"3"}"#);
    }

    #[test]
    fn what_is_no_body_has_no_results() {
        for body in ["", "[]", "{", r#"{"messages":{}}"#, r#"{"messages":[1,"x",null]}"#, "\u{0}"] {
            assert!(results(Wire::AnthropicMessages, body.as_bytes()).is_empty(), "{body}");
        }
        assert!(results(Wire::CohereChatV1, BODIES[0].1.as_bytes()).is_empty());
    }
}
