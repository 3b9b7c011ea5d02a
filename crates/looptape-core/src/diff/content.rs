//! What the request and the answer of a model step say, in a form in which two formats can be compared.
//!
//! A request is read as far as it is new: its opening (system prompt, tools, parameters), which most requests
//! of an agent have in common and which is then read once, and its messages since the answer that it echoes.
//! Where a history does not go on from its parent's, all of it is read.
//!
//! Round-trip ids are left out: which call a result answers is said by the tool's name and the order.

use crate::assembly::{Assembly, Step};
use crate::canonical::{Place, Rules, Treatment, push_segment};
use crate::chain::{self, CutOf};
use crate::derive::since_last_answer;
use crate::digest::Digest;
use crate::facts::CallFacts;
use crate::replay::components::{Component, component_of};
use crate::replay::fields;
use crate::wire::{Message, Part, ReadMessage, RequestView, ResponseView, Role, Wire, content_text};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How a request's history stands to that of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum History {
    /// It has no parent.
    Starts,
    /// It is its parent's, the parent's answer, and something new.
    Extends,
    /// Something of it was left out or changed.
    Rewrites,
}

impl History {
    /// That of a step's request.
    pub fn of(facts: &[CallFacts], assembly: &Assembly, step: &Step) -> Self {
        let Some(parent) = step.parent.and_then(|number| assembly.step(number)) else { return Self::Starts };
        let Some(echo) = facts[step.first_call().0].lineage.echo else {
            // The provider keeps the history; the request names the answer that it follows.
            return Self::Extends;
        };
        let mut answers = parent.calls().map(|call| facts[call.0].lineage.answer_history);
        if answers.any(|answer| answer == Some(echo)) { Self::Extends } else { Self::Rewrites }
    }
}

/// The tool calls that a trace's answers ask for: results of these belong to the calls.
#[derive(Clone, Debug, Default)]
pub struct AskedCalls {
    names_by_id: HashMap<String, String>,
    without_id: HashSet<String>,
}

impl AskedCalls {
    pub fn of(facts: &[CallFacts]) -> Self {
        let mut asked = Self::default();
        for tool in facts.iter().flat_map(|fact| &fact.asks) {
            match &tool.id {
                Some(id) => {
                    asked.names_by_id.insert(id.clone(), tool.name.clone());
                }
                None => {
                    asked.without_id.insert(tool.name.clone());
                }
            }
        }
        asked
    }

    /// The tool whose call a result answers.
    fn tool<'a>(&'a self, call_id: Option<&str>, name: Option<&'a str>) -> Option<&'a str> {
        let by_id = call_id.and_then(|id| self.names_by_id.get(id)).map(String::as_str);
        by_id.or_else(|| name.filter(|name| self.without_id.contains(*name)))
    }
}

/// The request of a model step, as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct StepRequest<'a> {
    pub wire: Wire,
    /// Some formats name the model there.
    pub path: &'a str,
    /// Content encoding undone. The middle of its history may be left out.
    pub body: &'a [u8],
    /// Whether nothing was left out.
    pub is_whole: bool,
    pub history: History,
}

/// What a request says.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestContent {
    pub(super) wire: Wire,
    pub(super) opening: Arc<Opening>,
    pub(super) history: History,
    /// What is new in it; results of calls that the trace's answers ask for belong to those calls.
    pub(super) messages: Vec<Said>,
    /// Of a rewritten history, what comes before that.
    pub(super) before: Vec<Said>,
    /// The same new messages as they were written, without what does not count.
    pub(super) written: Vec<Value>,
}

/// What stands in a request beside its history.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Opening {
    pub(super) system: String,
    pub(super) tools: Vec<String>,
    /// The members that define the tools, as they were written.
    pub(super) definitions: Map<String, Value>,
    pub(super) parameters: Map<String, Value>,
    /// How it is paid for and cached; differences here are tolerated.
    pub(super) billing: Map<String, Value>,
    /// Where the format names them in its own way.
    pub(super) max_output_tokens: Option<u64>,
    /// A history that is one string, or stands beside its array.
    said: Vec<Said>,
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Text { role: String, text: String },
    Call { name: String, arguments: Value },
    Result { of: Option<String>, content: String, is_error: bool },
    Other { role: String, kind: String, value: Value },
}

/// What an answer says beyond what a view shows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerContent {
    pub(super) reasoning: String,
    pub(super) error: Option<String>,
    pub(super) server_tool_calls: Vec<String>,
}

/// One model step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepContent {
    pub request: RequestContent,
    pub answer: AnswerContent,
}

/// A call that is no model step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainContent {
    pub request: String,
    pub answer: String,
}

impl AnswerContent {
    pub fn of(answer: Option<&ResponseView>) -> Self {
        let Some(answer) = answer else { return Self::default() };
        let words = |error: &crate::wire::ProviderError| {
            [&error.kind, &error.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ")
        };
        let broken = answer.truncated.then(|| "the stream was cut off".to_owned());
        Self {
            reasoning: answer.reasoning.clone(),
            error: answer.error.as_ref().map(words).or(broken),
            server_tool_calls: answer.server_tool_calls.clone(),
        }
    }
}

/// Reads requests, and remembers the openings that it has read.
#[derive(Debug, Default)]
pub struct RequestReader {
    openings: HashMap<Digest, Arc<Opening>>,
}

/// A body, cut at its history.
struct Cut<'b> {
    /// The body without its history.
    rest: Vec<u8>,
    elements: Vec<&'b [u8]>,
    read: ReadMessage,
    member: &'static str,
}

impl RequestReader {
    /// Reads a request; `None` if more of its history is needed.
    pub fn read(&mut self, request: &StepRequest<'_>, asked: &AskedCalls) -> Option<RequestContent> {
        let Some(cut) = Cut::of(request) else { return Some(self.read_uncut(request)) };
        let parse = |element: &&[u8]| serde_json::from_slice::<Value>(element).unwrap_or_default();
        let leading = cut.elements.iter().take_while(|e| is_system(&(cut.read)(&parse(e)).role)).count();
        let said_later = cut.elements[leading..].iter().map(parse).collect::<Vec<Value>>();
        let messages: Vec<Message> = said_later.iter().map(cut.read).collect();
        let new = since_last_answer(&messages);
        if !request.is_whole && new.len() == messages.len() {
            return None;
        }
        let system: Vec<&[u8]> = cut.elements[..leading].to_vec();
        let opening = self.opening(request, &cut, &system);
        let known = if request.history == History::Starts { 0 } else { messages.len() - new.len() };
        let (before, messages) = messages.split_at(known);
        let whose = if request.history == History::Extends { Results::OfOthers } else { Results::All };
        let before = match request.history {
            History::Rewrites => said(before, asked, Results::All),
            History::Starts | History::Extends => Vec::new(),
        };
        let mut messages = said(messages, asked, whose);
        if !opening.said.is_empty() {
            messages.splice(0..0, opening.said.iter().cloned());
        }
        let rules = fields::rules(Some(request.wire));
        let place = rules.element(rules.member(Place::ROOT, cut.member.as_bytes()));
        let mut counted = Counted::new(rules);
        let written =
            said_later[known..].iter().filter_map(|value| counted.value(value, place, "")).collect();
        Some(RequestContent {
            wire: request.wire,
            opening,
            history: request.history,
            messages,
            before,
            written,
        })
    }

    fn read_uncut(&mut self, request: &StepRequest<'_>) -> RequestContent {
        let opening = match serde_json::from_slice(request.body) {
            Ok(body) => Opening::read(request, &body, &[]),
            Err(_) => Opening { said: unreadable(request.body), ..Opening::default() },
        };
        let messages = opening.said.clone();
        let opening = Arc::new(Opening { said: Vec::new(), ..opening });
        RequestContent {
            wire: request.wire,
            opening,
            history: request.history,
            messages,
            before: Vec::new(),
            written: Vec::new(),
        }
    }

    fn opening(&mut self, request: &StepRequest<'_>, cut: &Cut<'_>, system: &[&[u8]]) -> Arc<Opening> {
        let wire = request.wire.as_str().as_bytes();
        let parts = [&[wire, request.path.as_bytes(), cut.rest.as_slice()], system].concat();
        let known = self.openings.entry(Digest::of_parts(&parts));
        let read = || {
            let body: Value = serde_json::from_slice(&cut.rest).unwrap_or_default();
            let values = system.iter().map(|e| serde_json::from_slice(e).unwrap_or_default());
            let system: Vec<Message> = values.map(|value: Value| (cut.read)(&value)).collect();
            Arc::new(Opening::read(request, &body, &system))
        };
        known.or_insert_with(read).clone()
    }
}

impl<'b> Cut<'b> {
    fn of(request: &StepRequest<'b>) -> Option<Self> {
        let body = request.body;
        let (member, read) = request.wire.history()?;
        let split = chain::split(body);
        let is_history =
            |cut: &&chain::Cut| cut.of == CutOf::Array && &body[cut.name.clone()] == member.as_bytes();
        let cut = split.cuts.iter().find(is_history)?;
        let (first, last) = (cut.pieces.first()?, cut.pieces.last()?);
        let rest = [&body[..first.start], &body[last.end..]].concat();
        let elements = cut.pieces.iter().map(|piece| chain::element(&body[piece.clone()])).collect();
        Some(Self { rest, elements, read, member })
    }
}

impl Opening {
    fn read(request: &StepRequest<'_>, body: &Value, leading_system: &[Message]) -> Self {
        let wire = request.wire;
        let view: RequestView = wire.decode_request(request.path, body);
        let leading = leading_system.iter().flat_map(|message| &message.parts);
        let system: Vec<String> = view.system.iter().chain(leading).map(part_text).collect();
        let (system_said, rest): (Vec<Message>, Vec<Message>) =
            view.messages.into_iter().partition(|message| is_system(&message.role));
        let late = system_said.iter().flat_map(|message| &message.parts).map(part_text);
        let system = system.into_iter().chain(late).collect::<Vec<_>>().join("\n\n");
        let rules = fields::rules(Some(wire));
        let mut opening = Self {
            system,
            tools: view.tools,
            max_output_tokens: view.max_output_tokens,
            said: said(&rest, &AskedCalls::default(), Results::All),
            ..Self::default()
        };
        let Value::Object(members) = body else { return opening };
        let mut counted = Counted::new(rules);
        for (name, value) in members {
            let into = match component_of(wire, name.as_bytes()) {
                Component::Tools => &mut opening.definitions,
                Component::Parameters => &mut opening.parameters,
                Component::Endpoint | Component::Model | Component::System | Component::History => continue,
            };
            let mut pointer = String::from("/");
            push_segment(&mut pointer, name.as_bytes());
            let place = rules.member(Place::ROOT, name.as_bytes());
            if let Some(value) = counted.value(value, place, &pointer) {
                into.insert(name.clone(), value);
            }
        }
        opening.billing = counted.billing;
        opening
    }
}

fn unreadable(body: &[u8]) -> Vec<Said> {
    let text = String::from_utf8_lossy(body).into_owned();
    vec![Said::Other {
        role: "client".to_owned(),
        kind: "body that is no JSON".to_owned(),
        value: text.into(),
    }]
}

/// Takes out of JSON what does not count when requests are compared.
struct Counted<'r> {
    rules: &'r Rules,
    billing: Map<String, Value>,
    names: HashMap<String, usize>,
}

impl<'r> Counted<'r> {
    fn new(rules: &'r Rules) -> Self {
        Self { rules, billing: Map::new(), names: HashMap::new() }
    }

    /// What counts of a value; `None` if nothing does.
    fn value(&mut self, value: &Value, place: Place, pointer: &str) -> Option<Value> {
        match (self.rules.treatment(place), value) {
            (Treatment::Ignored, _) => None,
            (Treatment::Collected, _) => {
                self.billing.insert(pointer.to_owned(), value.clone());
                None
            }
            (Treatment::Renamed, Value::String(id)) => {
                let next = self.names.len() + 1;
                let number = *self.names.entry(id.clone()).or_insert(next);
                Some(Value::from(format!("(id {number})")))
            }
            (_, Value::Array(items)) => {
                let place = self.rules.element(place);
                let item =
                    |(at, item)| self.value(item, place, &format!("{pointer}/{at}")).unwrap_or_default();
                Some(Value::Array(items.iter().enumerate().map(item).collect()))
            }
            (_, Value::Object(members)) => self.object(members, place, pointer),
            (_, other) => Some(other.clone()),
        }
    }

    fn object(&mut self, members: &Map<String, Value>, place: Place, pointer: &str) -> Option<Value> {
        let mut kept = Map::new();
        for (name, value) in members {
            let mut pointer = format!("{pointer}/");
            push_segment(&mut pointer, name.as_bytes());
            let place = self.rules.member(place, name.as_bytes());
            if let Some(value) = self.value(value, place, &pointer) {
                kept.insert(name.clone(), value);
            }
        }
        (members.is_empty() || !kept.is_empty()).then_some(Value::Object(kept))
    }
}

/// Which tool results are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Results {
    All,
    /// Those that no call of the trace asked for.
    OfOthers,
}

fn said(messages: &[Message], asked: &AskedCalls, results: Results) -> Vec<Said> {
    let mut all = Vec::new();
    for message in messages {
        let mut in_text = false;
        for part in &message.parts {
            let was_in_text = std::mem::replace(&mut in_text, matches!(part, Part::Text { .. }));
            match part {
                Part::Text { text } if text.is_empty() => {}
                Part::Text { text } => match all.last_mut() {
                    Some(Said::Text { text: open, .. }) if was_in_text => open.push_str(text),
                    _ => all.push(Said::Text { role: role_name(&message.role), text: text.clone() }),
                },
                Part::ToolCall(call) => {
                    all.push(Said::Call { name: call.name.clone(), arguments: call.arguments.clone() });
                }
                Part::ToolResult { call_id, name, content, is_error } => {
                    let of = asked.tool(call_id.as_deref(), name.as_deref());
                    if of.is_none() || results == Results::All {
                        let of = of.map(str::to_owned).or_else(|| name.clone());
                        all.push(Said::Result { of, content: content_text(content), is_error: *is_error });
                    }
                }
                Part::Other { kind, value } => all.push(Said::Other {
                    role: role_name(&message.role),
                    kind: kind.clone(),
                    value: value.clone(),
                }),
                // Clients differ in what they send back of it.
                Part::Reasoning { .. } => {}
            }
        }
    }
    all
}

fn part_text(part: &Part) -> String {
    match part {
        Part::Text { text } | Part::Reasoning { text } => text.clone(),
        Part::ToolCall(call) => format!("{}({})", call.name, call.arguments),
        Part::ToolResult { content, .. } => content_text(content),
        Part::Other { value, .. } => value.to_string(),
    }
}

fn is_system(role: &Role) -> bool {
    match role {
        Role::System => true,
        Role::Other(name) => name == "developer",
        Role::User | Role::Assistant | Role::Tool => false,
    }
}

fn role_name(role: &Role) -> String {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::Other(name) => name,
    }
    .to_owned()
}
