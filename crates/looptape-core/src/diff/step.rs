//! Two steps, field by field.
//!
//! Formats are compared by meaning. Where both are the same, what was written is compared too: a request
//! that says the same in another form is a difference, because a replay would not take it.

use super::align::{self, Aligned, Item};
use super::content::{History, RequestContent, Said};
use super::field::Field;
use super::report::{Both, Difference, Weight};
use super::side::{Seen, SeenTool};
use super::tolerance::Tolerance;
use super::values;
use crate::replay::AnswerSource;
use crate::text_diff::{Extent, InlineDiff};
use crate::usage::TokenUsage;
use crate::view::EntryView;
use crate::wire::content_text;
use serde_json::{Map, Value};

/// Finds what differs between two steps.
pub(super) struct StepComparison<'s, 'm> {
    a: &'s Seen<'s>,
    b: &'s Seen<'s>,
    extent: Extent,
    tolerance: &'s mut Tolerance<'m>,
    found: Vec<Difference>,
}

/// Everything that differs, in the order in which a step goes.
pub(super) fn differences(
    a: &Seen<'_>,
    b: &Seen<'_>,
    extent: Extent,
    tolerance: &mut Tolerance<'_>,
) -> Vec<Difference> {
    let mut comparison = StepComparison { a, b, extent, tolerance, found: Vec::new() };
    comparison.request();
    comparison.answer();
    comparison.figures();
    comparison.found
}

impl<'s> StepComparison<'s, '_> {
    fn is_one_format(&self) -> bool {
        self.a.request().wire == self.b.request().wire
    }

    fn request(&mut self) {
        let (a, b) = (self.a.entry, self.b.entry);
        let (said_a, said_b) = (self.a.request(), self.b.request());
        self.word(Field::Format, "", a.wire, b.wire);
        self.word(Field::Provider, "", a.provider.as_deref(), b.provider.as_deref());
        self.word(Field::Model, "", a.model.as_deref(), b.model.as_deref());
        if a.response_model.is_some() && b.response_model.is_some() {
            self.word(Field::Model, "answered by", a.response_model.as_deref(), b.response_model.as_deref());
        }
        if !std::sync::Arc::ptr_eq(&said_a.opening, &said_b.opening) {
            self.text(Field::System, "", &said_a.opening.system, &said_b.opening.system);
            self.tools();
            self.parameters();
        }
        let streams = |streams: Option<bool>| streams.map(|yes| if yes { "streamed" } else { "whole" });
        let told = |d: &Difference| d.field == Field::Parameters && d.at == "/stream";
        if !self.found.iter().any(told) {
            self.word(Field::Parameters, "answer", streams(a.stream), streams(b.stream));
        }
        self.messages(said_a, said_b);
    }

    fn tools(&mut self) {
        let (a, b) = (&self.a.request().opening, &self.b.request().opening);
        let before = self.found.len();
        for name in a.tools.iter().filter(|name| !b.tools.contains(name)) {
            self.push(Field::Tools, name, Some("offered"), None);
        }
        for name in b.tools.iter().filter(|name| !a.tools.contains(name)) {
            self.push(Field::Tools, name, None, Some("offered"));
        }
        if self.found.len() == before && a.tools != b.tools {
            self.push(Field::Tools, "order", Some(&a.tools.join(", ")), Some(&b.tools.join(", ")));
        } else if self.found.len() == before && self.is_one_format() {
            self.members(Field::Tools, &a.definitions, &b.definitions, Weight::Counts);
        }
    }

    fn parameters(&mut self) {
        let (a, b) = (&self.a.request().opening, &self.b.request().opening);
        if self.is_one_format() {
            self.members(Field::Parameters, &a.parameters, &b.parameters, Weight::Counts);
            self.members(Field::Parameters, &a.billing, &b.billing, Weight::Tolerated);
        } else {
            let text = |n: Option<u64>| n.map(|n| n.to_string());
            let (a, b) = (text(a.max_output_tokens), text(b.max_output_tokens));
            self.word(Field::Parameters, "max output tokens", a.as_deref(), b.as_deref());
        }
    }

    fn members(&mut self, field: Field, a: &Map<String, Value>, b: &Map<String, Value>, weight: Weight) {
        let (a, b) = (Value::Object(a.clone()), Value::Object(b.clone()));
        for found in values::differences(&a, &b) {
            let pointer = match weight {
                // A collected field is named by its pointer already.
                Weight::Tolerated => {
                    found.pointer.trim_start_matches('/').replace("~1", "/").replace("~0", "~")
                }
                Weight::Counts => found.pointer.clone(),
            };
            let text = |side: Option<&Value>| side.map(readable);
            self.push(field, &pointer, text(found.a).as_deref(), text(found.b).as_deref());
            if let Some(last) = self.found.last_mut().filter(|_| weight == Weight::Tolerated) {
                last.weight = weight;
            }
        }
    }

    fn messages(&mut self, a: &RequestContent, b: &RequestContent) {
        let words = |history: History| match history {
            History::Starts => "starts a conversation",
            History::Extends => "goes on from the step before",
            History::Rewrites => "rewrites the history",
        };
        self.word(Field::Messages, "history", Some(words(a.history)), Some(words(b.history)));
        let before = self.found.len();
        if a.history == History::Rewrites && b.history == History::Rewrites {
            self.said(&a.before, &b.before);
        }
        self.said(&a.messages, &b.messages);
        let is_silent = self.found.len() == before && a.history == b.history;
        if is_silent && self.is_one_format() && !self.results_differ() {
            let (a, b) = (Value::Array(a.written.clone()), Value::Array(b.written.clone()));
            for found in values::differences(&a, &b) {
                let text = |side: Option<&Value>| side.map(readable);
                let at = format!("written as {}", found.pointer);
                self.push(Field::Messages, &at, text(found.a).as_deref(), text(found.b).as_deref());
            }
        }
    }

    /// Whether the results that the requests carry differ: that is told where the tools were asked for.
    fn results_differ(&self) -> bool {
        let results =
            |seen: &Seen<'_>| -> Vec<String> { seen.carried.iter().map(|r| content_text(r)).collect() };
        results(self.a) != results(self.b)
    }

    fn said(&mut self, a: &[Said], b: &[Said]) {
        if a == b {
            return;
        }
        let keyed = |all: &[Said]| all.iter().map(SaidKey::of).collect::<Vec<_>>();
        for pair in align::align(&keyed(a), &keyed(b)) {
            let (a, b) = match pair {
                Aligned::Both(i, j) => (Some(&a[i]), Some(&b[j])),
                Aligned::OnlyA(i) => (Some(&a[i]), None),
                Aligned::OnlyB(j) => (None, Some(&b[j])),
            };
            if a == b {
                continue;
            }
            let at = [a, b].into_iter().flatten().map(Said::label).min().unwrap_or_default();
            let (a, b) = (a.map(Said::text), b.map(Said::text));
            self.push(Field::Messages, &at, a.as_deref(), b.as_deref());
        }
    }

    fn answer(&mut self) {
        let (a, b) = (self.a.entry, self.b.entry);
        let (more_a, more_b) = (&self.a.content.answer, &self.b.content.answer);
        self.text(Field::Reasoning, "", &more_a.reasoning, &more_b.reasoning);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        self.text(Field::Answer, "", &text(&a.text), &text(&b.text));
        let served = |names: &[String]| names.join(", ");
        let (served_a, served_b) = (served(&more_a.server_tool_calls), served(&more_b.server_tool_calls));
        self.text(Field::ToolCalls, "executed by the provider", &served_a, &served_b);
        let tools = align::align(&self.a.tool_keys(), &self.b.tool_keys());
        for pair in &tools {
            self.tool_call(*pair);
        }
        self.finish_reason();
        self.word(Field::Error, "", more_a.error.as_deref(), more_b.error.as_deref());
        let (tried_a, tried_b) = (self.a.attempts(), self.b.attempts());
        self.word(Field::Attempts, "", Some(&tried_a), Some(&tried_b));
        for pair in tools {
            self.tool_result(pair);
        }
    }

    fn tool_call(&mut self, pair: Aligned) {
        let (a, b) = self.tools_of(pair);
        let at = self.tool_label(a, b);
        match (a, b) {
            (Some(a), Some(b)) if a.name() == b.name() => {
                for found in values::differences(&a.arguments(), &b.arguments()) {
                    let text = |side: Option<&Value>| side.map(readable);
                    let place =
                        if found.pointer.is_empty() { at.clone() } else { format!("{at} {}", found.pointer) };
                    self.push(Field::ToolCalls, &place, text(found.a).as_deref(), text(found.b).as_deref());
                }
            }
            (a, b) => {
                let (a, b) = (a.map(SeenTool::call_text), b.map(SeenTool::call_text));
                self.push(Field::ToolCalls, "", a.as_deref(), b.as_deref());
            }
        }
    }

    fn tool_result(&mut self, pair: Aligned) {
        // A call that only one side made has been told, and where a run ends no result is to be seen.
        let (Some(a), Some(b)) = self.tools_of(pair) else { return };
        let is_seen = |side: &Seen<'_>, tool: &SeenTool<'_>| side.goes_on || tool.result().1.is_some();
        if a.name() == b.name() && a.result() != b.result() && is_seen(self.a, a) && is_seen(self.b, b) {
            let at = self.tool_label(Some(a), Some(b));
            let (a, b) = (a.result_text(), b.result_text());
            self.push(Field::ToolResults, &at, a.as_deref(), b.as_deref());
        }
    }

    fn tools_of(&self, pair: Aligned) -> (Option<&'s SeenTool<'s>>, Option<&'s SeenTool<'s>>) {
        let (a, b) = (self.a, self.b);
        match pair {
            Aligned::Both(i, j) => (a.tools.get(i), b.tools.get(j)),
            Aligned::OnlyA(i) => (a.tools.get(i), None),
            Aligned::OnlyB(j) => (None, b.tools.get(j)),
        }
    }

    /// The tool's name, and which of several calls it is.
    fn tool_label(&self, a: Option<&SeenTool<'_>>, b: Option<&SeenTool<'_>>) -> String {
        let name = [a, b].into_iter().flatten().map(SeenTool::name).min().unwrap_or_default();
        let sub = [a, b].into_iter().flatten().map(|tool| tool.sub).min();
        match sub {
            Some(sub) if self.a.tools.len().max(self.b.tools.len()) > 1 => format!("{name} (call {sub})"),
            _ => name.to_owned(),
        }
    }

    fn finish_reason(&mut self) {
        let (a, b) = (self.a.entry.finish_reason.as_deref(), self.b.entry.finish_reason.as_deref());
        let means_the_same = || match (a, b) {
            (Some(a), Some(b)) => finish_meaning(a) == finish_meaning(b),
            _ => false,
        };
        if self.is_one_format() || !means_the_same() {
            self.word(Field::FinishReason, "", a, b);
        }
    }

    fn figures(&mut self) {
        if let (Some(a), Some(b)) = (&self.a.entry.usage, &self.b.entry.usage) {
            for (name, leaf) in LEAVES {
                if let (Some(a), Some(b)) = (leaf(a), leaf(b)) {
                    self.word(Field::Usage, name, Some(&a.to_string()), Some(&b.to_string()));
                }
            }
        }
        // What a replay was not charged for is no difference of the runs: the summary has the sums.
        let was_paid = |entry: &EntryView| entry.source.is_none_or(|source| source == AnswerSource::Live);
        let paid = was_paid(self.a.entry) && was_paid(self.b.entry);
        if let (true, Some(a), Some(b)) = (paid, &self.a.entry.cost, &self.b.entry.cost) {
            self.word(Field::Cost, "", Some(&a.usd.to_string()), Some(&b.usd.to_string()));
        }
    }

    /// Short values that are shown whole.
    fn word(&mut self, field: Field, at: &str, a: Option<&str>, b: Option<&str>) {
        if a != b {
            self.push(field, at, a, b);
        }
    }

    /// Texts of which an empty one is none.
    fn text(&mut self, field: Field, at: &str, a: &str, b: &str) {
        if a != b {
            let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
            self.push(field, at, some(a), some(b));
        }
    }

    fn push(&mut self, field: Field, at: &str, a: Option<&str>, b: Option<&str>) {
        let mut difference = Difference::new(field, at, Both::new(a, b), self.extent);
        if let (Some(a), Some(b)) = (a, b) {
            difference.masks = self.tolerance.kinds(field, a, b);
        }
        if !difference.masks.is_empty() {
            difference.weight = Weight::Tolerated;
        }
        self.found.push(difference);
    }
}

impl Difference {
    pub(super) fn new(field: Field, at: &str, value: Both<&str>, extent: Extent) -> Self {
        let text = |side: Option<&str>| side.unwrap_or_default().to_owned();
        let diff = InlineDiff::between(&text(value.a), &text(value.b), extent);
        let value = Both::new(value.a.map(|_| diff.first()), value.b.map(|_| diff.second()));
        Self { field, at: at.to_owned(), value, diff, weight: Weight::Counts, masks: Vec::new() }
    }
}

/// The disjoint leaves, under the names of the JSON contract.
type Leaf = fn(&TokenUsage) -> Option<u64>;
const LEAVES: [(&str, Leaf); 8] = [
    ("uncached_input", |u| u.uncached_input),
    ("cache_read", |u| u.cache_read),
    ("cache_write_5m", |u| u.cache_write_5m),
    ("cache_write_1h", |u| u.cache_write_1h),
    ("output_visible", |u| u.output_visible),
    ("reasoning", |u| u.reasoning),
    ("input_total", |u| u.input_total),
    ("output_total", |u| u.output_total),
];

/// What a finish reason means, whatever the provider's word.
fn finish_meaning(word: &str) -> &str {
    match word.to_ascii_lowercase().as_str() {
        "stop" | "end_turn" | "stop_sequence" | "completed" | "complete" => "stop",
        "tool_calls" | "tool_use" | "function_call" | "tool_call" => "tools",
        "length" | "max_tokens" | "max_output_tokens" => "length",
        _ => word,
    }
}

pub(super) fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What is said, as far as aligning needs it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct SaidKey {
    label: String,
    text: String,
}

impl SaidKey {
    fn of(said: &Said) -> Self {
        Self { label: said.label(), text: said.text() }
    }
}

impl Item for SaidKey {
    fn likeness(&self, other: &Self) -> u32 {
        match (self.label == other.label, self.text == other.text) {
            (_, true) => 32,
            (true, false) => 8,
            (false, false) => 0,
        }
    }
}

impl Said {
    fn label(&self) -> String {
        match self {
            Self::Text { role, .. } => role.clone(),
            Self::Call { name, .. } => format!("call of {name}"),
            Self::Result { of: Some(name), .. } => format!("result of {name}"),
            Self::Result { of: None, .. } => "result".to_owned(),
            Self::Other { role, kind, .. } => format!("{role} ({kind})"),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text { text, .. } => text.clone(),
            Self::Call { name, arguments } => format!("{name}({arguments})"),
            Self::Result { content, is_error, .. } => {
                if *is_error {
                    format!("(an error) {content}")
                } else {
                    content.clone()
                }
            }
            Self::Other { value, .. } => value.to_string(),
        }
    }
}
