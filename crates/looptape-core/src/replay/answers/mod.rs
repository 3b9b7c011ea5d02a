//! How an answer compares with the one that was recorded for the same request.
//!
//! A model asked twice rarely says the same twice, and most of what differs does not matter to the agent: a
//! sentence put another way leads on, another tool does not. So answers are read by their wire format,
//! reduced to what an agent acts on (text, tool calls, why it ended, whether it refused or failed), and each
//! pair gets one [`AnswerClass`]. Classes are ordered: the same first, what is worst for an agent last.
//!
//! Reasoning, ids, usage and times do not count: the first two are the provider's own business, the others
//! are measured elsewhere. Everything is pure; the same two answers give the same diff.

mod failure;
mod words;

#[cfg(test)]
mod tests;

use super::difference::Difference;
use crate::canonical;
use crate::derive;
use crate::digest::Digest;
use crate::exchange::{Answer, Outcome};
use crate::facts::CallKind;
use crate::lineage;
use crate::wire::{ResponseView, ToolCall, Wire};
use failure::Failure;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

pub use words::similarity;

/// How an answer compares with the recorded one; the worse the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerClass {
    /// Status, body and ending, bit for bit.
    SameBytes,
    /// The same JSON, of a call that no wire format reads.
    SameContent,
    /// The same text, ended for the same reason.
    SameText,
    /// The same tools with the same arguments; the text beside them may differ.
    SameToolCalls,
    /// It failed in the same way.
    SameError,
    OtherText,
    /// The same tools, some with other arguments.
    OtherArguments,
    /// Other tools, or another number of calls.
    OtherTools,
    ToolInsteadOfText,
    TextInsteadOfTool,
    /// It ended for another reason: cut off by a length limit, for example.
    OtherFinishReason,
    /// Another body, of a call that no wire format reads.
    OtherContent,
    AnswerInsteadOfRefusal,
    AnswerInsteadOfError,
    Refusal,
    OtherError,
    Error,
}

/// Two answers to one request, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerDiff {
    pub class: AnswerClass,
    /// Where both are texts, or have texts beside their tool calls, and these differ.
    pub text: Option<TextDifference>,
    /// Tool calls that are not the same, in the order in which the recorded answer has them.
    pub calls: Vec<CallDifference>,
    /// Where it ended for another reason.
    pub finish_reason: Option<Changed>,
    /// Where one of them failed or refused: what each of them said.
    pub failure: Option<Changed>,
}

/// Two texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextDifference {
    /// The share of words that both have, from 0 to 1; see [`similarity`].
    pub similarity: f64,
    #[serde(flatten)]
    pub difference: Difference,
}

/// A recorded value and the one now; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub recorded: Option<String>,
    pub now: Option<String>,
}

/// How one tool call of an answer differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum CallDifference {
    /// The first difference of its arguments.
    Arguments { tool: String, difference: Difference },
    /// Recorded, not asked for now.
    Missing { tool: String, arguments: String },
    /// Asked for now, not recorded.
    Extra { tool: String, arguments: String },
}

impl AnswerClass {
    pub const ALL: [Self; 17] = [
        Self::SameBytes,
        Self::SameContent,
        Self::SameText,
        Self::SameToolCalls,
        Self::SameError,
        Self::OtherText,
        Self::OtherArguments,
        Self::OtherTools,
        Self::ToolInsteadOfText,
        Self::TextInsteadOfTool,
        Self::OtherFinishReason,
        Self::OtherContent,
        Self::AnswerInsteadOfRefusal,
        Self::AnswerInsteadOfError,
        Self::Refusal,
        Self::OtherError,
        Self::Error,
    ];

    /// Whether an agent would do the same on both answers.
    pub fn is_same(self) -> bool {
        self <= Self::SameError
    }

    /// In words.
    pub fn as_words(self) -> &'static str {
        match self {
            Self::SameBytes => "the same bytes",
            Self::SameContent => "the same content",
            Self::SameText => "the same text",
            Self::SameToolCalls => "the same tool calls",
            Self::SameError => "the same error",
            Self::OtherText => "other text",
            Self::OtherArguments => "other arguments",
            Self::OtherTools => "other tools",
            Self::ToolInsteadOfText => "a tool instead of text",
            Self::TextInsteadOfTool => "text instead of a tool",
            Self::OtherFinishReason => "another finish reason",
            Self::OtherContent => "other content",
            Self::AnswerInsteadOfRefusal => "an answer instead of a refusal",
            Self::AnswerInsteadOfError => "an answer instead of an error",
            Self::Refusal => "a refusal",
            Self::OtherError => "another error",
            Self::Error => "an error",
        }
    }
}

impl fmt::Display for AnswerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_words())
    }
}

impl AnswerDiff {
    /// Compares two outcomes of the same request; `None` if the recording holds no end to compare with.
    pub fn between(kind: CallKind, recorded: &Outcome, now: &Outcome) -> Option<Self> {
        if matches!(recorded, Outcome::InFlight) {
            return None;
        }
        if same_bytes(recorded, now) {
            return Some(Self::of(AnswerClass::SameBytes));
        }
        let read = |outcome| derive::response_view(kind, outcome);
        let (before, after) = (read(recorded), read(now));
        let failures = (Failure::of(recorded, before.as_ref()), Failure::of(now, after.as_ref()));
        if let Some(diff) = of_failures(&failures) {
            return Some(diff);
        }
        Some(match (kind, before, after) {
            (CallKind::Llm(wire), Some(before), Some(after)) => of_views(wire, &before, &after),
            _ => of_bodies(recorded, now),
        })
    }

    /// In words, why an outcome is no proper answer; `None` if it is one.
    pub fn failure_of(kind: CallKind, outcome: &Outcome) -> Option<String> {
        let view = derive::response_view(kind, outcome);
        Failure::of(outcome, view.as_ref()).map(|failure| failure.to_string())
    }

    fn of(class: AnswerClass) -> Self {
        Self { class, text: None, calls: Vec::new(), finish_reason: None, failure: None }
    }
}

/// What a model's answer now is, compared with the recorded one. Both came whole and are no errors.
fn of_views(wire: Wire, recorded: &ResponseView, now: &ResponseView) -> AnswerDiff {
    let refusals = (failure::refusal(wire, recorded), failure::refusal(wire, now));
    let finish_reason = (failure::End::of(recorded) != failure::End::of(now))
        .then(|| Changed { recorded: recorded.finish_reason.clone(), now: now.finish_reason.clone() });
    let text = text_difference(recorded, now);
    let calls = call_differences(&recorded.tool_calls, &now.tool_calls);
    let failure = (refusals.0.is_some() != refusals.1.is_some())
        .then(|| Changed { recorded: refusals.0.clone(), now: refusals.1.clone() });
    let class = match (&refusals, recorded.tool_calls.is_empty(), now.tool_calls.is_empty()) {
        ((None, Some(_)), ..) => AnswerClass::Refusal,
        ((Some(_), None), ..) => AnswerClass::AnswerInsteadOfRefusal,
        (_, true, false) => AnswerClass::ToolInsteadOfText,
        (_, false, true) => AnswerClass::TextInsteadOfTool,
        _ if finish_reason.is_some() => AnswerClass::OtherFinishReason,
        (_, false, false) => class_of_calls(&calls),
        (_, true, true) if text.is_some() => AnswerClass::OtherText,
        (_, true, true) => AnswerClass::SameText,
    };
    AnswerDiff { class, text, calls, finish_reason, failure }
}

fn class_of_calls(calls: &[CallDifference]) -> AnswerClass {
    if calls.is_empty() {
        AnswerClass::SameToolCalls
    } else if calls.iter().all(|call| matches!(call, CallDifference::Arguments { .. })) {
        AnswerClass::OtherArguments
    } else {
        AnswerClass::OtherTools
    }
}

fn text_difference(recorded: &ResponseView, now: &ResponseView) -> Option<TextDifference> {
    let said = |view: &ResponseView| format!("{}{}", view.text, view.refusal);
    let (recorded, now) = (said(recorded), said(now));
    (recorded != now).then(|| TextDifference {
        similarity: similarity(&recorded, &now),
        difference: Difference::of_texts(String::new(), Some(&recorded), Some(&now)),
    })
}

/// Pairs equal calls first, then calls of the same tool in their order; what is left is missing or extra.
/// The order of parallel calls does not count.
fn call_differences(recorded: &[ToolCall], now: &[ToolCall]) -> Vec<CallDifference> {
    let mut unpaired: Vec<Option<&ToolCall>> = now.iter().map(Some).collect();
    let mut by_said: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (at, call) in now.iter().enumerate().rev() {
        by_said.entry(said(call)).or_default().push(at);
    }
    let left: Vec<&ToolCall> = recorded
        .iter()
        .filter(|call| match by_said.get_mut(&said(call)).and_then(Vec::pop) {
            Some(at) => unpaired[at].take().is_none(),
            None => true,
        })
        .collect();
    let mut differences: Vec<CallDifference> = left
        .into_iter()
        .map(|call| {
            let twin = unpaired.iter_mut().find(|other| other.is_some_and(|other| other.name == call.name));
            match twin.and_then(Option::take) {
                Some(other) => other_arguments(call, other),
                None => CallDifference::Missing { tool: call.name.clone(), arguments: shown(call) },
            }
        })
        .collect();
    differences.extend(
        unpaired
            .into_iter()
            .flatten()
            .map(|call| CallDifference::Extra { tool: call.name.clone(), arguments: shown(call) }),
    );
    differences
}

fn other_arguments(recorded: &ToolCall, now: &ToolCall) -> CallDifference {
    CallDifference::Arguments { tool: recorded.name.clone(), difference: argument_difference(recorded, now) }
}

/// The first difference between the arguments of two calls.
pub(super) fn argument_difference(recorded: &ToolCall, now: &ToolCall) -> Difference {
    let arguments = |call| lineage::parsed_arguments(call);
    Difference::of_json(&arguments(&recorded.arguments), &arguments(&now.arguments))
        .unwrap_or_else(|| Difference::of_texts(String::new(), Some(&shown(recorded)), Some(&shown(now))))
}

/// Arguments as one line of JSON.
pub(super) fn shown(call: &ToolCall) -> String {
    lineage::parsed_arguments(&call.arguments).to_string()
}

/// What a call asks for: its tool and its arguments as JSON.
pub(super) fn said(call: &ToolCall) -> Digest {
    let arguments = canonical::digest_of_value(&lineage::parsed_arguments(&call.arguments));
    Digest::of_parts(&[call.name.as_bytes(), &arguments.0])
}

fn of_failures(failures: &(Option<Failure>, Option<Failure>)) -> Option<AnswerDiff> {
    let class = match failures {
        (None, None) => return None,
        (None, Some(_)) => AnswerClass::Error,
        (Some(_), None) => AnswerClass::AnswerInsteadOfError,
        (Some(recorded), Some(now)) if recorded.is_like(now) => AnswerClass::SameError,
        (Some(_), Some(_)) => AnswerClass::OtherError,
    };
    let text = |failure: &Option<Failure>| failure.as_ref().map(Failure::to_string);
    let failure = (class != AnswerClass::SameError)
        .then(|| Changed { recorded: text(&failures.0), now: text(&failures.1) });
    Some(AnswerDiff { failure, ..AnswerDiff::of(class) })
}

/// Calls that no wire format reads.
fn of_bodies(recorded: &Outcome, now: &Outcome) -> AnswerDiff {
    let (Outcome::Answered(recorded), Outcome::Answered(now)) = (recorded, now) else {
        return AnswerDiff::of(AnswerClass::OtherContent);
    };
    let decoded = |answer: &Answer| derive::decode_body(&answer.headers, &answer.body, &[]).bytes;
    let (before, after) = (decoded(recorded), decoded(now));
    let json = |body: &[u8]| canonical::digest(body);
    let same_json = json(&before).is_some() && json(&before) == json(&after);
    if recorded.status == now.status && (before == after || same_json) {
        return AnswerDiff::of(AnswerClass::SameContent);
    }
    let text = match (std::str::from_utf8(&before), std::str::from_utf8(&after)) {
        (Ok(before), Ok(after)) => Some(TextDifference {
            similarity: similarity(before, after),
            difference: Difference::of_texts(String::new(), Some(before), Some(after)),
        }),
        _ => None,
    };
    AnswerDiff { text, ..AnswerDiff::of(AnswerClass::OtherContent) }
}

fn same_bytes(recorded: &Outcome, now: &Outcome) -> bool {
    match (recorded, now) {
        (Outcome::Answered(recorded), Outcome::Answered(now)) => {
            recorded.status == now.status
                && recorded.body == now.body
                && failure::came_whole(&recorded.ending) == failure::came_whole(&now.ending)
        }
        (Outcome::NoResponse { .. }, Outcome::NoResponse { .. }) => true,
        _ => false,
    }
}

impl fmt::Display for AnswerDiff {
    /// One line: the class, and what it rests on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.class)?;
        if let Some(failure) = &self.failure {
            write!(f, ": {failure}")?;
        }
        if let Some(reason) = &self.finish_reason {
            write!(f, ": finish reason {reason}")?;
        }
        for call in &self.calls {
            write!(f, "; {call}")?;
        }
        match &self.text {
            Some(text) if self.class != AnswerClass::SameToolCalls => {
                write!(f, " ({:.0} % of the words): {}", 100.0 * text.similarity, text.difference.diff)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "recorded {}, now {}", or_none(&self.recorded), or_none(&self.now))
    }
}

impl fmt::Display for CallDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments { tool, difference } => {
                write!(f, "{tool} at {}: {}", or_root(&difference.pointer), difference.diff)
            }
            Self::Missing { tool, arguments } => write!(f, "not asked for now: {tool}({arguments})"),
            Self::Extra { tool, arguments } => write!(f, "asked for now: {tool}({arguments})"),
        }
    }
}

fn or_root(pointer: &str) -> &str {
    if pointer.is_empty() { "the arguments" } else { pointer }
}
