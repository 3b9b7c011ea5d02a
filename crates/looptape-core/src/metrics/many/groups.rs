//! A set of traces by groups.
//!
//! Traces are grouped by what they are called or by when they happened: a group has all figures of a set. Steps and
//! tool calls are grouped by what they are (see [`Segments`]): a trace may then have a part in several groups.

use super::calendar::TimeUnit;
use super::segments::{KindFigures, NONE, Segment, Segments};
use super::stats::{Sample, Stats};
use super::steps::PricedSteps;
use super::tally::{Detail, SetTally, TallyOptions};
use super::tools::ToolFigures;
use super::window::Window;
use crate::labels::{Labels, Tag};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What a set is grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    Agent,
    AgentVersion,
    /// By each tag; a trace with two is in two groups.
    AnyTag,
    /// By the value of one tag.
    Tag(String),
    /// By when they happened.
    Time(TimeUnit),
    /// By the value of the tag `phase`.
    Phase,
    Model,
    Tool,
    Kind,
    Stream,
    InputTokens,
    OutputTokens,
}

/// A word that names no way of grouping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way to group: write {WORDS}")]
pub struct UnknownGroup(String);

const WORDS: &str =
    "model, agent, version, tool, tag, tag:KEY, minute, hour, day, phase, kind, stream, input or output";

/// The key of the tag that names a phase.
pub const PHASE: &str = "phase";

impl GroupBy {
    pub fn parse(word: &str) -> Result<Self, UnknownGroup> {
        Ok(match word {
            "agent" => Self::Agent,
            "version" | "agent-version" => Self::AgentVersion,
            "tag" => Self::AnyTag,
            "minute" => Self::Time(TimeUnit::Minute),
            "hour" => Self::Time(TimeUnit::Hour),
            "day" => Self::Time(TimeUnit::Day),
            "phase" => Self::Phase,
            "model" => Self::Model,
            "tool" => Self::Tool,
            "kind" => Self::Kind,
            "stream" => Self::Stream,
            "input" => Self::InputTokens,
            "output" => Self::OutputTokens,
            _ => match word.split_once([':', '=']) {
                Some(("tag", key)) if !key.is_empty() => Self::Tag(key.to_owned()),
                _ => return Err(UnknownGroup(word.to_owned())),
            },
        })
    }

    /// The groups of a trace; `None` if it is steps or tool calls that are grouped.
    fn keys(&self, labels: &Labels, at: Option<i64>, zone: &TimeZone) -> Option<Vec<String>> {
        if let Self::Time(unit) = self {
            return Some(vec![at.and_then(|at| unit.label(at, zone)).unwrap_or_else(|| NONE.to_owned())]);
        }
        let tag = |key: &str| labels.tags.get(key).map(String::as_str);
        let key = match self {
            Self::Agent => labels.agent.as_deref(),
            Self::AgentVersion => labels.agent_version.as_deref(),
            Self::Tag(key) => tag(key),
            Self::Phase => tag(PHASE),
            Self::AnyTag if labels.tags.is_empty() => None,
            Self::AnyTag => return Some(all_tags(labels)),
            Self::Time(_)
            | Self::Model
            | Self::Tool
            | Self::Kind
            | Self::Stream
            | Self::InputTokens
            | Self::OutputTokens => {
                return None;
            }
        };
        Some(vec![key.unwrap_or(NONE).to_owned()])
    }

    /// Whether it is steps or tool calls that are grouped, not traces.
    pub fn is_of_steps(&self) -> bool {
        self.keys(&Labels::default(), None, &TimeZone::UTC).is_none()
    }

    /// Whether its groups follow each other in time, so that each has a window of its own.
    fn is_in_turn(&self) -> bool {
        matches!(self, Self::Time(_) | Self::Phase)
    }
}

fn all_tags(labels: &Labels) -> Vec<String> {
    let tag = |(key, value): (&String, &String)| Tag { key: key.clone(), value: value.clone() }.to_string();
    labels.tags.iter().map(tag).collect()
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::AgentVersion => "version",
            Self::AnyTag => "tag",
            Self::Tag(key) => return write!(f, "tag:{key}"),
            Self::Time(unit) => unit.as_str(),
            Self::Phase => PHASE,
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Kind => "kind",
            Self::Stream => "stream",
            Self::InputTokens => "input",
            Self::OutputTokens => "output",
        })
    }
}

/// The groups of a set, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Groups {
    Traces(Vec<Segment<Stats>>),
    Steps(Vec<Segment<PricedSteps>>),
    Tools(Vec<Segment<ToolFigures>>),
    Kinds(Vec<Segment<KindFigures>>),
}

/// Collects the traces of a set, and of its groups.
#[derive(Clone, Debug)]
pub struct GroupTally {
    by: Option<GroupBy>,
    options: TallyOptions,
    whole: SetTally,
    groups: BTreeMap<String, SetTally>,
}

impl GroupTally {
    pub fn new(by: Option<GroupBy>, options: TallyOptions) -> Self {
        Self { by, options, whole: SetTally::new(options), groups: BTreeMap::new() }
    }

    /// Adds a trace with these labels. Whose minutes, hours and days are meant, the zone says.
    pub fn add(&mut self, sample: &Sample<'_>, labels: &Labels, zone: &TimeZone) {
        self.whole.add(sample);
        let keys = self.by.as_ref().and_then(|by| by.keys(labels, sample.started_unix_us, zone));
        let options = TallyOptions { detail: Detail::Whole, ..self.options };
        for key in keys.into_iter().flatten() {
            self.groups.entry(key).or_insert_with(|| SetTally::new(options)).add(sample);
        }
    }

    pub fn merge(&mut self, more: Self) {
        self.whole.merge(more.whole);
        for (key, tally) in more.groups {
            match self.groups.get_mut(&key) {
                Some(own) => own.merge(tally),
                None => {
                    self.groups.insert(key, tally);
                }
            }
        }
    }

    /// The figures of the set and of its groups. Rates of groups are over the whole set's window, so that they
    /// add up, but for groups that follow each other in time.
    pub fn finish(self, window: Option<Window>) -> (Stats, Option<Groups>) {
        let whole = self.whole.finish(window);
        let Some(by) = self.by else { return (whole, None) };
        let window = whole.window.filter(|_| !by.is_in_turn());
        let finish = |(key, tally): (String, SetTally)| Segment { key, figures: tally.finish(window) };
        let segments = || whole.segments.clone().unwrap_or_default();
        let Segments { by_model, by_tool, by_kind, by_stream, by_input_tokens, by_output_tokens, .. } =
            segments();
        let groups = match by {
            GroupBy::Model => Groups::Steps(by_model),
            GroupBy::Stream => Groups::Steps(by_stream),
            GroupBy::InputTokens => Groups::Steps(by_input_tokens),
            GroupBy::OutputTokens => Groups::Steps(by_output_tokens),
            GroupBy::Tool => Groups::Tools(by_tool),
            GroupBy::Kind => Groups::Kinds(by_kind),
            _ => Groups::Traces(self.groups.into_iter().map(finish).collect()),
        };
        (whole, Some(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_ways_to_group() {
        for word in WORDS.replace(" or ", ", ").replace("KEY", "env").split(", ") {
            assert_eq!(GroupBy::parse(word).unwrap().to_string(), word);
        }
        let error = GroupBy::parse("colour").unwrap_err().to_string();
        assert!(error.contains("`colour`") && error.contains("model, agent"), "{error}");
        assert!(GroupBy::parse("tag:").is_err());
    }

    #[test]
    fn a_trace_is_in_the_groups_of_its_labels() {
        let mut labels = Labels { agent: Some("a".to_owned()), ..Labels::default() };
        let keys =
            |by: &str, labels: &Labels| GroupBy::parse(by).unwrap().keys(labels, Some(0), &TimeZone::UTC);
        assert_eq!(keys("tag", &labels), Some(vec![NONE.to_owned()]));
        labels.add_tag(Tag::parse("env=x").unwrap());
        labels.add_tag(Tag::parse("phase=ramp").unwrap());
        assert_eq!(keys("tag", &labels), Some(vec!["env=x".to_owned(), "phase=ramp".to_owned()]));
        let one = |by| keys(by, &labels).unwrap().remove(0);
        assert_eq!(
            [one("agent"), one("version"), one("tag:env"), one("phase"), one("day"), one("hour")],
            ["a", NONE, "x", "ramp", "1970-01-01", "1970-01-01 00:00"]
        );
        assert_eq!(keys("model", &labels), None);
    }
}
