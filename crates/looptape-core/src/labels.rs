//! What people call a trace: its agent, the agent's version, tags. Cohorts are made of them.
//!
//! Labels come from flags, from the environment and from request headers, whose senders are not trusted: a
//! [`Tag`] is bounded and holds no control characters, and [`Labels::add`] keeps a bounded number of them. What
//! was said first stands.
//!
//! What this does not do: find traces (the store does) or look for secrets in labels (the recorder does).

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of a tag's key, and of an agent's name or version, at most.
const LONGEST_NAME: usize = 128;
/// Bytes of a tag's value at most.
const LONGEST_VALUE: usize = 1024;
/// Tags of one trace at most.
const MOST_TAGS: usize = 64;

/// `KEY=VALUE`, or `KEY` alone, whose value is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// Why a text is no tag, agent or version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    #[error("it has no key: write KEY=VALUE or KEY")]
    NoKey,
    #[error("it is empty")]
    Empty,
    #[error("it has a line break or another control character in it")]
    Control,
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
}

/// Everything that a trace is labelled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub agent: Option<String>,
    pub agent_version: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// Traces that may be compared with one another: of the same agent and, where that is asked for, of the same
/// version and with the same tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cohort {
    pub agent: String,
    pub agent_version: Option<String>,
    pub tags: BTreeMap<String, String>,
}

impl Tag {
    /// From `KEY=VALUE` or `KEY`; the first `=` parts them.
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() {
            return Err(InvalidLabel::NoKey);
        }
        bounded(key, LONGEST_NAME)?;
        bounded(value, LONGEST_VALUE)?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }

    /// From a list with commas between: `env=staging, team=billing`. Empty places are passed over.
    pub fn parse_list(text: &str) -> impl Iterator<Item = Result<Self, InvalidLabel>> {
        text.split(',').filter(|one| !one.trim().is_empty()).map(Self::parse)
    }
}

/// An agent's name or version, as it may be stored.
pub fn parse_name(text: &str) -> Result<String, InvalidLabel> {
    let text = text.trim();
    if text.is_empty() {
        return Err(InvalidLabel::Empty);
    }
    bounded(text, LONGEST_NAME)?;
    Ok(text.to_owned())
}

fn bounded(text: &str, longest: usize) -> Result<(), InvalidLabel> {
    match text {
        text if text.chars().any(char::is_control) => Err(InvalidLabel::Control),
        text if text.len() > longest => Err(InvalidLabel::TooLong(longest)),
        _ => Ok(()),
    }
}

impl Labels {
    pub fn is_empty(&self) -> bool {
        self.agent.is_none() && self.agent_version.is_none() && self.tags.is_empty()
    }

    /// Adds what is not said yet; says whether anything was.
    pub fn add(&mut self, more: &Self) -> bool {
        let mut added = add_name(&mut self.agent, more.agent.as_ref());
        added |= add_name(&mut self.agent_version, more.agent_version.as_ref());
        for (key, value) in &more.tags {
            if self.tags.len() < MOST_TAGS && !self.tags.contains_key(key) {
                self.tags.insert(key.clone(), value.clone());
                added = true;
            }
        }
        added
    }

    /// Adds a tag, unless its key has a value or there are too many.
    pub fn add_tag(&mut self, tag: Tag) {
        if self.tags.len() < MOST_TAGS {
            self.tags.entry(tag.key).or_insert(tag.value);
        }
    }

    /// The cohort of all runs of this agent; `None` if nobody named it: then nothing says which runs are alike.
    pub fn cohort(&self) -> Option<Cohort> {
        let agent = self.agent.clone()?;
        Some(Cohort { agent, agent_version: None, tags: BTreeMap::new() })
    }
}

fn add_name(name: &mut Option<String>, more: Option<&String>) -> bool {
    let adds = name.is_none() && more.is_some();
    if adds {
        *name = more.cloned();
    }
    adds
}

impl Cohort {
    /// Narrowed to the runs of one version.
    pub fn of_version(self, version: impl Into<String>) -> Self {
        Self { agent_version: Some(version.into()), ..self }
    }

    /// Narrowed to the runs with a tag.
    pub fn with_tag(mut self, tag: Tag) -> Self {
        self.tags.insert(tag.key, tag.value);
        self
    }

    /// Whether a trace with these labels belongs to it.
    pub fn contains(&self, labels: &Labels) -> bool {
        let same_version = |version: &String| labels.agent_version.as_ref() == Some(version);
        labels.agent.as_ref() == Some(&self.agent)
            && self.agent_version.as_ref().is_none_or(same_version)
            && self.tags.iter().all(|(key, value)| labels.tags.get(key) == Some(value))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_str() {
            "" => f.write_str(&self.key),
            value => write!(f, "{}={value}", self.key),
        }
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Cohort {
    /// `agent refund.py, version 1.4, env=staging`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent {}", self.agent)?;
        if let Some(version) = &self.agent_version {
            write!(f, ", version {version}")?;
        }
        for (key, value) in &self.tags {
            write!(f, ", {}", Tag { key: key.clone(), value: value.clone() })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(agent: Option<&str>, version: Option<&str>, tags: &[&str]) -> Labels {
        let mut labels = Labels {
            agent: agent.map(str::to_owned),
            agent_version: version.map(str::to_owned),
            tags: BTreeMap::new(),
        };
        for tag in tags {
            labels.add_tag(Tag::parse(tag).unwrap());
        }
        labels
    }

    #[test]
    fn tags_are_read_and_bounded() {
        let tag = |text| Tag::parse(text).map(|tag| (tag.key, tag.value));
        assert_eq!(tag("env=staging"), Ok(("env".into(), "staging".into())));
        assert_eq!(tag(" q = a=b "), Ok(("q".into(), "a=b".into())));
        assert_eq!(tag("nightly"), Ok(("nightly".into(), String::new())));
        assert_eq!(tag("=x"), Err(InvalidLabel::NoKey));
        assert_eq!(tag("a=b\nc"), Err(InvalidLabel::Control));
        assert_eq!(tag(&"k".repeat(129)), Err(InvalidLabel::TooLong(128)));
        let list: Vec<String> = Tag::parse_list("a=1,, b ,").map(|tag| tag.unwrap().to_string()).collect();
        assert_eq!(list, ["a=1", "b"]);
        assert_eq!(parse_name("  "), Err(InvalidLabel::Empty));
    }

    #[test]
    fn what_was_said_first_stands() {
        let mut said = labels(Some("a"), None, &["env=x"]);
        assert!(said.add(&labels(Some("b"), Some("2"), &["env=y", "team=z"])));
        assert_eq!(said, labels(Some("a"), Some("2"), &["env=x", "team=z"]));
        assert!(!said.add(&labels(Some("c"), Some("3"), &["env=w"])));
        let many: Vec<String> = (0..100).map(|n| format!("k{n}=v")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        said.add(&labels(None, None, &many));
        assert_eq!(said.tags.len(), MOST_TAGS);
    }

    #[test]
    fn a_cohort_is_the_runs_of_one_agent() {
        let run = |version, tags| labels(Some("refund.py"), Some(version), tags);
        let cohort = run("1.4", &[]).cohort().unwrap();
        assert!(cohort.contains(&run("1.3", &["env=x"])) && !cohort.contains(&labels(None, None, &[])));
        let narrow = cohort.of_version("1.4").with_tag(Tag::parse("env=x").unwrap());
        assert_eq!(narrow.to_string(), "agent refund.py, version 1.4, env=x");
        let members = [run("1.4", &["env=x", "a=b"]), run("1.4", &["env=y"]), run("1.3", &["env=x"])];
        assert_eq!(members.map(|run| narrow.contains(&run)), [true, false, false]);
        assert_eq!(labels(None, Some("1"), &[]).cohort(), None);
    }
}
