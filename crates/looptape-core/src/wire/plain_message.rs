//! The messages that a history mostly consists of: a role, and a text or text parts.
//!
//! What is read here is read as the format's general reader would read it, without building a tree of values
//! first. A message with anything more to say does not fit these types, and goes to the general reader.

use super::lenient::{self, Text};
use super::{Message, Part, Role};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

#[derive(Debug, Deserialize)]
struct PlainMessage<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: PlainContent<'a>,
    #[serde(borrow, default)]
    tool_call_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(default, rename = "reasoning_content")]
    _reasoning_content: (),
    #[serde(default, rename = "reasoning")]
    _reasoning: (),
    #[serde(default, rename = "tool_calls")]
    _tool_calls: (),
    #[serde(default, rename = "function_call")]
    _function_call: (),
}

#[derive(Debug)]
enum PlainContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<PlainPart<'a>>),
}

#[derive(Debug, Deserialize)]
struct PlainPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Text<'a>,
}

/// Reads an element of OpenAI's `messages`.
pub(super) fn of_openai_chat(element: &[u8]) -> Option<Message> {
    let message = read(element)?;
    let role = role(&message.role)?;
    if role != Role::Tool {
        let parts = message.content.texts(&["text", "input_text", "output_text"])?;
        return Some(Message { role, parts });
    }
    let PlainContent::Text(text) = message.content else { return None };
    let said = |text: &Option<Text<'_>>| lenient::said(text).map(str::to_owned);
    let result = Part::ToolResult {
        call_id: said(&message.tool_call_id),
        name: said(&message.name),
        content: Value::String(text.into_owned()),
        is_error: false,
    };
    Some(Message { role, parts: vec![result] })
}

/// Reads an element of Anthropic's `messages`.
pub(super) fn of_anthropic(element: &[u8]) -> Option<Message> {
    let message = read(element)?;
    Some(Message { role: role(&message.role)?, parts: message.content.texts(&["text"])? })
}

fn read(element: &[u8]) -> Option<PlainMessage<'_>> {
    // An array would do for a type with fields, as far as its reader is concerned.
    if element.first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(element).ok()
}

/// A role that messages mostly have.
fn role(role: &Text<'_>) -> Option<Role> {
    Some(match &*role.0 {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => return None,
    })
}

impl PlainContent<'_> {
    /// As parts, if they are all of these kinds.
    fn texts(self, kinds: &[&str]) -> Option<Vec<Part>> {
        match self {
            Self::Text(text) => Some(vec![Part::Text { text: text.into_owned() }]),
            Self::Parts(parts) => parts
                .into_iter()
                .map(|part| {
                    let is_text = kinds.contains(&&*part.kind.0);
                    is_text.then(|| Part::Text { text: part.text.0.into_owned() })
                })
                .collect(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for PlainContent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = PlainContent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or text parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(PlainContent::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PlainContent::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(PlainContent::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(parts)).map(PlainContent::Parts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_events::any_object;
    use super::super::{anthropic, openai_chat};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_message() -> impl Strategy<Value = Value> {
        let role =
            proptest::sample::select(vec!["user", "assistant", "tool", "system", "developer", "model", ""]);
        let part =
            any_object(&[("type", json!("text")), ("text", json!("a\nb")), ("cache_control", json!({}))]);
        let part = prop_oneof![6 => part, 1 => Just(json!("text")), 1 => Just(json!({"type": "image"}))];
        let content = prop_oneof![
            Just(json!("a \"text\"")),
            Just(json!("")),
            Just(Value::Null),
            proptest::collection::vec(part, 0..4).prop_map(Value::from),
        ];
        let rest = any_object(&[
            ("tool_call_id", json!("c")),
            ("name", json!("n")),
            ("reasoning", Value::Null),
            ("reasoning_content", Value::Null),
            ("tool_calls", Value::Null),
            ("function_call", Value::Null),
        ]);
        (rest, role, content).prop_map(|(mut message, role, content)| {
            message["role"] = json!(role);
            message["content"] = content;
            message
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn plain_messages_are_read_as_all_others_are(message in any_message()) {
            let bytes = message.to_string();
            if let Some(plain) = of_openai_chat(bytes.as_bytes()) {
                prop_assert_eq!(plain, openai_chat::decode_message(&message));
            }
            if let Some(plain) = of_anthropic(bytes.as_bytes()) {
                prop_assert_eq!(plain, anthropic::decode_message(&message));
            }
        }
    }

    #[test]
    fn what_is_plain_is_read_here() {
        for content in
            [json!("hi"), json!([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}])]
        {
            let message = json!({"role": "user", "content": content}).to_string();
            assert!(
                of_openai_chat(message.as_bytes()).is_some() && of_anthropic(message.as_bytes()).is_some()
            );
        }
        let result = json!({"role": "tool", "tool_call_id": "c", "content": "dry"}).to_string();
        assert!(of_openai_chat(result.as_bytes()).is_some());
    }
}
