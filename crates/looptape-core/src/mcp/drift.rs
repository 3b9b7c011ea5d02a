//! How the tools that a server offers now differ from those that it offered when it was recorded.
//!
//! Tools are compared by name, each member as JSON. Their order does not count.

use super::message::Message;
use super::recorded::Conversation;
use crate::replay::Difference;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Tools by name, as a server describes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tools(BTreeMap<String, Value>);

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Drift {
    /// The server offers a tool that it did not offer then.
    Added { tool: String },
    /// The other way round.
    Removed { tool: String },
    /// A tool is described otherwise: `member` is `description`, `inputSchema` and so on.
    Changed { tool: String, member: String, difference: Option<Difference> },
}

/// What a server says of a tool of its own. It need not be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// It only reads.
    pub reads_only: bool,
    /// It may destroy something.
    pub destroys: bool,
    /// Its results have a schema.
    pub is_structured: bool,
}

impl Tools {
    /// Adds the tools of one result of `tools/list`, which may be one page of several.
    pub fn add_page(&mut self, result: &Value) {
        for tool in result.get("tools").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = tool.get("name").and_then(Value::as_str) {
                self.0.insert(name.to_owned(), tool.clone());
            }
        }
    }

    /// What a recorded server offered; of several lists each page, the latest counts. `None` if nobody asked it.
    pub fn recorded<'c>(conversations: impl IntoIterator<Item = &'c Conversation>) -> Option<Self> {
        let mut tools = None;
        for call in conversations.into_iter().flat_map(|conversation| &conversation.calls) {
            let Message::Request { method, .. } = Message::read(&call.message) else { continue };
            if method != "tools/list" {
                continue;
            }
            let results = call.said.iter().filter_map(|said| match Message::read(&said.message) {
                Message::Response { result: Ok(result), .. } => serde_json::from_str::<Value>(result).ok(),
                _ => None,
            });
            for result in results {
                tools.get_or_insert_with(Self::default).add_page(&result);
            }
        }
        tools
    }

    /// Adds those of a later list.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    pub fn holds(&self, tool: &str) -> bool {
        self.0.contains_key(tool)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Their names, or the beginning of them.
    pub fn list(&self) -> String {
        const LISTED: usize = 12;
        let names: Vec<&str> = self.names().take(LISTED).collect();
        match self.len().checked_sub(LISTED + 1) {
            _ if names.is_empty() => "none".to_owned(),
            Some(more) => format!("{} and {} more", names.join(", "), more + 1),
            None => names.join(", "),
        }
    }

    /// What the server says of a tool; nothing of one that it does not offer.
    pub fn hints(&self, tool: &str) -> Hints {
        let Some(tool) = self.0.get(tool) else { return Hints::default() };
        let says = |hint: &str| tool["annotations"][hint] == true;
        Hints {
            reads_only: says("readOnlyHint"),
            destroys: !says("readOnlyHint") && says("destructiveHint"),
            is_structured: tool["outputSchema"].is_object(),
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How `now` differs from these, by name.
    pub fn drift(&self, now: &Self) -> Vec<Drift> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let of_tool = |tool: &String| match (self.0.get(tool), now.0.get(tool)) {
            (Some(then), Some(now)) => changes(tool, then, now),
            (None, _) => vec![Drift::Added { tool: tool.clone() }],
            (_, None) => vec![Drift::Removed { tool: tool.clone() }],
        };
        names.into_iter().flat_map(of_tool).collect()
    }
}

fn changes(tool: &str, then: &Value, now: &Value) -> Vec<Drift> {
    let members =
        |value: &Value| value.as_object().map(|m| m.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut names = members(then);
    names.extend(members(now));
    names.sort();
    names.dedup();
    let changed = |member: String| {
        let (then, now) = (then.get(&member), now.get(&member));
        let difference = match (then, now) {
            (Some(then), Some(now)) => Some(Difference::of_json(then, now)?),
            (then, now) => {
                let text = |value: Option<&Value>| value.map(Value::to_string);
                Some(Difference::of_texts(String::new(), text(then).as_deref(), text(now).as_deref()))
            }
        };
        Some(Drift::Changed { tool: tool.to_owned(), member, difference })
    };
    names.into_iter().filter_map(changed).collect()
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { tool } => write!(f, "+ {tool}: not offered when it was recorded"),
            Self::Removed { tool } => write!(f, "- {tool}: not offered any more"),
            Self::Changed { tool, member, difference } => {
                write!(f, "~ {tool}: {member}")?;
                match difference {
                    Some(difference) => write!(f, "{} {}", difference.pointer, difference.diff),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tools(tools: Value) -> Tools {
        let mut all = Tools::default();
        all.add_page(&json!({ "tools": tools }));
        all
    }

    #[test]
    fn every_kind_of_drift_is_named() {
        let then = tools(json!([
            {"name": "echo", "description": "Says it again", "inputSchema": {"type": "object", "n": 1}},
            {"name": "gone"},
            {"name": "same", "inputSchema": {"a": 1, "b": 2}},
        ]));
        let now = tools(json!([
            {"name": "new"},
            {"name": "same", "inputSchema": {"b": 2, "a": 1.0}},
            {"name": "echo", "description": "Says it twice", "inputSchema": {"type": "object", "n": 2}},
        ]));
        let drift: Vec<String> = then.drift(&now).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(drift.join("\n"), @r#"
        ~ echo: description Says it [-again-]{+twice+}
        ~ echo: inputSchema/n [-1-]{+2+}
        - gone: not offered any more
        + new: not offered when it was recorded
        "#);
        assert_eq!(then.drift(&then), []);
    }
}
