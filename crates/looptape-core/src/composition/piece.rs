//! The pieces of a prompt: one thing that was said or defined, whatever format it was written in.
//!
//! A message is one piece, or several where it says several kinds of things: each tool result is a piece of
//! its own, reasoning another, texts and tool calls together the rest.

use super::Section;
use crate::canonical::digest_of_value;
use crate::fingerprint::Fingerprint;
use crate::lineage::parsed_arguments;
use crate::wire::{Message, Part, ResponseView, Role, ToolCall, Wire, content_text};
use serde_json::Value;
use std::borrow::Cow;

/// A string of at least so many characters without any white space is data, if its alphabet is base 64.
const SHORTEST_DATA: usize = 512;

/// One thing in a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub section: Section,
    pub said: Said,
    /// What it says, as text. Data of images and files is left out.
    pub text: String,
    /// Images, sounds and files in it.
    pub attachments: u32,
}

/// What a piece is beside its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Text,
    /// Definitions of these tools.
    Definition {
        tools: Vec<String>,
    },
    /// An answer, with the tools that it called.
    Answer {
        calls: Vec<Called>,
    },
    Result {
        call_id: Option<String>,
        /// Where the format names the tool.
        tool: Option<String>,
        is_error: bool,
    },
}

/// A tool call in a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    pub id: Option<String>,
    pub name: String,
    /// As JSON.
    pub arguments: String,
    /// Name and arguments, the latter compared as JSON.
    pub identity: Fingerprint,
}

impl Piece {
    /// Equal for what counts as the same piece.
    pub(super) fn mark(&self) -> Fingerprint {
        let tag = format!("{:?} {:?} {}", self.section, self.said, self.attachments);
        Fingerprint::of_parts(&[tag.as_bytes(), self.text.as_bytes()])
    }

    pub(super) fn of_definition(tools: Vec<String>, definition: &Value) -> Self {
        Self {
            section: Section::ToolDefinitions,
            said: Said::Definition { tools },
            text: definition.to_string(),
            attachments: 0,
        }
    }

    fn of_text(section: Section, text: String, attachments: u32) -> Self {
        Self { section, said: Said::Text, text, attachments }
    }
}

/// The pieces of one message.
pub(super) fn of_message(message: &Message, wire: Wire) -> Vec<Piece> {
    let section = section(&message.role);
    let mut open = Open { section, wire, text: String::new(), attachments: 0, calls: Vec::new() };
    let mut pieces = Vec::with_capacity(1);
    for part in &message.parts {
        match part {
            Part::Text { text } => open.push(text),
            Part::ToolCall(call) => open.call(call),
            Part::Other { value, .. } => {
                let (text, attachments) = readable(value);
                open.push(&text);
                open.attachments += attachments;
            }
            Part::Reasoning { text } => {
                pieces.extend(open.close());
                pieces.push(Piece::of_text(Section::Reasoning, text.clone(), 0));
            }
            Part::ToolResult { call_id, name, content, is_error } => {
                pieces.extend(open.close());
                pieces.push(result(call_id, name, content, *is_error, wire));
            }
        }
    }
    pieces.extend(open.close());
    pieces
}

/// The pieces of a system prompt that stands apart from the messages.
pub(super) fn of_system(parts: &[Part], wire: Wire) -> Vec<Piece> {
    of_message(&Message { role: Role::System, parts: parts.to_vec() }, wire)
}

/// An answer, as the history has it that the provider keeps.
pub(super) fn of_answer(answer: &ResponseView, wire: Wire) -> Vec<Piece> {
    let text = Part::Text { text: answer.text.clone() };
    let calls = answer.tool_calls.iter().cloned().map(Part::ToolCall);
    of_message(&Message { role: Role::Assistant, parts: std::iter::once(text).chain(calls).collect() }, wire)
}

/// A piece that grows by the parts of its message.
struct Open {
    section: Section,
    wire: Wire,
    text: String,
    attachments: u32,
    calls: Vec<Called>,
}

impl Open {
    fn push(&mut self, text: &str) {
        if !self.text.is_empty() && !text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }

    fn call(&mut self, call: &ToolCall) {
        let called = Called::new(call, self.wire);
        self.push(&format!("{} {}", called.name, called.arguments));
        self.calls.push(called);
    }

    fn close(&mut self) -> Option<Piece> {
        let (text, calls) = (std::mem::take(&mut self.text), std::mem::take(&mut self.calls));
        let attachments = std::mem::take(&mut self.attachments);
        if text.is_empty() && attachments == 0 {
            return None;
        }
        // A client that replays calls under another role still says what the model said.
        let section = if calls.is_empty() { self.section } else { Section::Assistant };
        let said = if section == Section::Assistant { Said::Answer { calls } } else { Said::Text };
        Some(Piece { section, said, text, attachments })
    }
}

impl Called {
    fn new(call: &ToolCall, wire: Wire) -> Self {
        let arguments = parsed_arguments(&call.arguments);
        let digest = digest_of_value(&arguments);
        Self {
            id: call.id.clone().filter(|_| !wire.has_made_up_call_ids()),
            name: call.name.clone(),
            arguments: arguments.to_string(),
            identity: Fingerprint::of_parts(&[call.name.as_bytes(), &digest.0]),
        }
    }
}

fn result(
    call_id: &Option<String>,
    tool: &Option<String>,
    content: &Value,
    is_error: bool,
    wire: Wire,
) -> Piece {
    let (text, attachments) = readable(content);
    let call_id = call_id.clone().filter(|_| !wire.has_made_up_call_ids());
    let said = Said::Result { call_id, tool: tool.clone(), is_error };
    Piece { section: Section::ToolResults, said, text: text.into_owned(), attachments }
}

fn section(role: &Role) -> Section {
    match role {
        Role::System => Section::System,
        Role::Other(name) if name == "developer" => Section::System,
        Role::Assistant => Section::Assistant,
        Role::Tool => Section::ToolResults,
        Role::User | Role::Other(_) => Section::User,
    }
}

/// A value as text, without the data of images and files, which are counted instead.
fn readable(content: &Value) -> (Cow<'_, str>, u32) {
    if let Value::String(text) = content {
        return (Cow::Borrowed(text), 0);
    }
    let mut content = content.clone();
    let mut attachments = 0;
    take_attachments(&mut content, &mut attachments);
    (Cow::Owned(content_text(&content)), attachments)
}

fn take_attachments(value: &mut Value, taken: &mut u32) {
    match value {
        Value::String(text) if is_data(text) => {
            *value = Value::Null;
            *taken += 1;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| take_attachments(item, taken)),
        Value::Object(members) => {
            let is_link =
                |key: &str| matches!(key, "image_url" | "file_id" | "file_data" | "file_uri" | "fileUri");
            for (key, member) in members.iter_mut() {
                match member {
                    Value::String(_) if is_link(key) => {
                        *member = Value::Null;
                        *taken += 1;
                    }
                    // OpenAI's `{"image_url": {"url": …}}`.
                    Value::Object(inner) if is_link(key) && inner.contains_key("url") => {
                        inner.remove("url");
                        *taken += 1;
                    }
                    other => take_attachments(other, taken),
                }
            }
        }
        _ => {}
    }
}

fn is_data(text: &str) -> bool {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_');
    let is_url = text.starts_with("data:") && text.contains(";base64,");
    is_url || (text.len() >= SHORTEST_DATA && text.bytes().all(is_base64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sections(message: &Message) -> Vec<Section> {
        of_message(message, Wire::AnthropicMessages).iter().map(|piece| piece.section).collect()
    }

    #[test]
    fn a_message_of_several_kinds() {
        let result = |id: &str| Part::ToolResult {
            call_id: Some(id.to_owned()),
            name: None,
            content: json!([{"type": "text", "text": "dry"}]),
            is_error: false,
        };
        let text = || Part::Text { text: "go on".into() };
        let parts = vec![result("a"), result("b"), text()];
        let mixed = Message { role: Role::User, parts };
        assert_eq!(sections(&mixed), [Section::ToolResults, Section::ToolResults, Section::User]);
        let pieces = of_message(&mixed, Wire::AnthropicMessages);
        assert_eq!((pieces[0].text.as_str(), pieces[2].text.as_str()), ("dry", "go on"));
        assert_ne!(pieces[0].mark(), pieces[1].mark(), "results of two calls");
        let made_up = of_message(&mixed, Wire::GeminiGenerate);
        assert_eq!(made_up[0].mark(), made_up[1].mark(), "an id that the client made up says nothing");

        let call = ToolCall { id: Some("a".into()), name: "look".into(), arguments: json!({"q": 1}) };
        let thought = Part::Reasoning { text: "hm".into() };
        let answer = Message { role: Role::Assistant, parts: vec![thought, text(), Part::ToolCall(call)] };
        assert_eq!(sections(&answer), [Section::Reasoning, Section::Assistant]);
        let pieces = of_message(&answer, Wire::AnthropicMessages);
        assert_eq!(pieces[1].text, "go on\nlook {\"q\":1}");
        assert!(matches!(&pieces[1].said, Said::Answer { calls } if calls.len() == 1));
    }

    #[test]
    fn data_is_no_text() {
        let data = "QUJD".repeat(300);
        for image in [
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}),
            json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}}),
            json!({"type": "input_image", "image_url": "https://example.org/a.png"}),
            json!({"inlineData": {"mimeType": "image/png", "data": data}}),
        ] {
            let (text, attachments) = readable(&image);
            assert_eq!(attachments, 1, "{image}");
            assert!(!text.contains("QUJD") && text.len() < 120, "{text}");
        }
        let spoken = json!({"type": "document", "source": {"type": "text", "data": "a plain text"}});
        assert_eq!(readable(&spoken).1, 0);
        assert!(readable(&spoken).0.contains("a plain text"));
    }
}
