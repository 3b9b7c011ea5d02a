//! What a replay does with each tool: `[tools.NAME]` in `looptape.toml`.

use super::call::{ToolEnd, ToolError, ToolOutcome};
use super::message::is_name_of;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a replay does when a tool is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolPolicy {
    /// The recorded answer; what was not recorded is refused if the tool may write.
    #[default]
    Recorded,
    /// It runs, and what it gives is compared with the recorded answer.
    Live,
    /// Always the same answer.
    Static,
    /// It is refused.
    Deny,
}

/// `[tools.NAME]` as it is written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolEntry {
    pub policy: Option<ToolPolicy>,
    /// `false`: the tool only reads, so a call that was not recorded may run.
    pub writes: Option<bool>,
    /// With `static`: what it gives.
    pub outcome: Option<ToolOutcome>,
    pub result: Option<Value>,
    pub message: Option<String>,
}

/// Why an entry means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolEntryError {
    #[error("[tools.{name}]: `result`, `outcome` and `message` belong to policy = \"static\"")]
    NotStatic { name: String },
    #[error("[tools.{name}]: policy = \"static\" wants a `result`, or an `outcome` that has none")]
    NoAnswer { name: String },
    #[error("[tools.{name}]: `result` goes with outcome = \"ok\", `message` with the others")]
    OtherOutcome { name: String },
}

/// The rule for one tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rule {
    pub(super) policy: Option<ToolPolicy>,
    pub(super) writes: Option<bool>,
    pub(super) answer: Option<ToolEnd>,
}

/// The rules for all tools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolPolicies {
    by_name: BTreeMap<String, Rule>,
    others: Rule,
    /// What `--tools` says, for all tools that no entry names.
    all: Option<ToolPolicy>,
    /// Whether what an agent's own tools do stays in a folder of the replay's.
    own_folder: bool,
}

/// The name of the entry for all tools that have none.
const OTHERS: &str = "*";

impl ToolPolicies {
    pub fn new(entries: &BTreeMap<String, ToolEntry>) -> Result<Self, ToolEntryError> {
        let mut policies = Self::default();
        for (name, entry) in entries {
            let rule = Rule::of(name, entry)?;
            match name.as_str() {
                OTHERS => policies.others = rule,
                _ => {
                    policies.by_name.insert(name.clone(), rule);
                }
            }
        }
        Ok(policies)
    }

    /// The same, with one policy for all tools that no entry gives another.
    pub fn with_all(self, policy: Option<ToolPolicy>) -> Self {
        Self { all: policy, ..self }
    }

    /// Whether nothing is said of any tool.
    pub fn are_default(&self) -> bool {
        self.by_name.is_empty() && self.others == Rule::default() && self.all.is_none()
    }

    /// Whether any tool may run in a replay.
    pub fn let_tools_run(&self) -> bool {
        let mut rules = self.by_name.values().chain([&self.others]);
        self.all == Some(ToolPolicy::Live)
            || rules.any(|rule| rule.policy == Some(ToolPolicy::Live) || rule.writes == Some(false))
    }

    /// Whether a tool of a tool server runs.
    pub fn is_live_at(&self, server: &str, tool: &str) -> bool {
        self.policy(self.name_at(server, tool)) == ToolPolicy::Live
    }

    /// By which name the file speaks of a tool of a tool server: its own, or one under which a model may know it
    /// (`mcp__server__tool`).
    pub(super) fn name_at<'a>(&'a self, server: &str, tool: &'a str) -> &'a str {
        let is_qualified = |name: &&String| *name != tool && is_name_of(name, tool) && name.contains(server);
        self.by_name.keys().find(is_qualified).map_or(tool, String::as_str)
    }

    /// The same, where the agent works in a folder that is this replay's alone: its own tools may do there what was not
    /// recorded.
    pub fn in_own_folder(self, own_folder: bool) -> Self {
        Self { own_folder, ..self }
    }

    pub(super) fn has_own_folder(&self) -> bool {
        self.own_folder
    }

    pub(super) fn policy(&self, name: &str) -> ToolPolicy {
        let own = self.by_name.get(name).and_then(|rule| rule.policy);
        own.or(self.all).or(self.others.policy).unwrap_or_default()
    }

    /// Whether a tool may write: what the file says beats what the caller says.
    pub(super) fn may_write(&self, name: &str, said: bool) -> bool {
        let own = self.by_name.get(name).and_then(|rule| rule.writes);
        own.or(self.others.writes).unwrap_or(said)
    }

    /// What a tool with the policy `static` gives.
    pub(super) fn answer(&self, name: &str) -> Option<&ToolEnd> {
        let own = self.by_name.get(name).and_then(|rule| rule.answer.as_ref());
        own.or(self.others.answer.as_ref())
    }
}

impl Rule {
    fn of(name: &str, entry: &ToolEntry) -> Result<Self, ToolEntryError> {
        let ToolEntry { policy, writes, outcome, result, message } = entry;
        let name = || name.to_owned();
        let has_answer = outcome.is_some() || result.is_some() || message.is_some();
        let answer = match (policy, outcome.unwrap_or(ToolOutcome::Ok), result, message) {
            (Some(ToolPolicy::Static), _, None, None) if outcome.is_none() => {
                return Err(ToolEntryError::NoAnswer { name: name() });
            }
            (Some(ToolPolicy::Static), ToolOutcome::Ok, Some(result), None) => {
                Some(ToolEnd::Ok { result: result.clone(), form: None })
            }
            (Some(ToolPolicy::Static), ToolOutcome::Null, None, None) => Some(ToolEnd::Null),
            (Some(ToolPolicy::Static), outcome, None, message) if outcome.is_failure() => {
                let error = ToolError { message: message.clone(), ..ToolError::default() };
                Some(match outcome {
                    ToolOutcome::Timeout => ToolEnd::Timeout { error },
                    ToolOutcome::Aborted => ToolEnd::Aborted { error },
                    _ => ToolEnd::Error { error },
                })
            }
            (Some(ToolPolicy::Static), ..) => return Err(ToolEntryError::OtherOutcome { name: name() }),
            _ if has_answer => return Err(ToolEntryError::NotStatic { name: name() }),
            _ => None,
        };
        Ok(Self { policy: *policy, writes: *writes, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(entry: Value) -> Result<ToolPolicies, ToolEntryError> {
        let entry: ToolEntry = serde_json::from_value(entry).unwrap();
        ToolPolicies::new(&BTreeMap::from([("f".to_owned(), entry)]))
    }

    #[test]
    fn entries() {
        let policies = entry(json!({"policy": "static", "result": {"a": 1}})).unwrap();
        assert_eq!(policies.policy("f"), ToolPolicy::Static);
        assert_eq!(policies.answer("f"), Some(&ToolEnd::Ok { result: json!({"a": 1}), form: None }));
        assert_eq!(policies.policy("g"), ToolPolicy::Recorded);
        let live = policies.with_all(Some(ToolPolicy::Live));
        assert_eq!((live.policy("f"), live.policy("g")), (ToolPolicy::Static, ToolPolicy::Live));
        let timeout = entry(json!({"policy": "static", "outcome": "timeout"})).unwrap();
        assert_eq!(timeout.answer("f").unwrap().outcome(), ToolOutcome::Timeout);
        assert!(live.is_live_at("s", "g") && !live.is_live_at("s", "f"));
        let reads = entry(json!({"writes": false})).unwrap();
        assert!(!reads.are_default() && ToolPolicies::default().are_default());
        assert!(!reads.may_write("f", true) && reads.may_write("g", true) && !reads.may_write("g", false));
    }

    #[test]
    fn entries_that_mean_nothing() {
        let says = |value| entry(value).unwrap_err().to_string();
        assert!(says(json!({"policy": "static"})).contains("wants a `result`"));
        assert!(says(json!({"policy": "live", "result": 1})).contains("belong to"));
        assert!(says(json!({"policy": "static", "outcome": "null", "result": 1})).contains("goes with"));
    }
}
