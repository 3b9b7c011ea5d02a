//! A recorded trace as the view that `show` prints.
//!
//! Bodies are decoded only as far as the view needs them: of each request no more than its end, so that a
//! trace of ten thousand steps costs what its steps added. A call that is damaged is shown without its
//! content and named in a note.

use super::prompts::ReadPrompts;
use super::usage_gap;
use looptape_core::assembly::{CallIndex, Step};
use looptape_core::composition::Prompts;
use looptape_core::derive;
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::mcp::{Message as McpMessage, Wanted, is_mcp};
use looptape_core::metrics::Measured;
use looptape_core::tools::{MeasuredTool, RecordedTool};
use looptape_core::view::{self, CallContent, EntryView, ToolResult, TraceView};
use looptape_core::wire::{Message, Part, RequestView, Wire};
use looptape_store::{ReadError, Reader, RecordedTrace, ScannedTrace};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Whether the histories of the requests are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    LeftOut,
    Included,
}

/// Whether it is shown what the prompts consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compositions {
    LeftOut,
    Included,
}

/// The view, and what a reader of it should know.
#[derive(Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    pub view: TraceView,
    pub notes: Vec<Note>,
}

/// Something that is not as one would expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    pub kind: NoteKind,
    pub text: String,
    /// The steps that it is about.
    pub steps: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A call's content cannot be read.
    Damaged,
    /// Tokens are unknown because the client did not ask for them.
    UsageNotAskedFor,
}

/// The view of a whole trace.
pub fn build(
    reader: &Reader,
    scanned: &ScannedTrace,
    messages: Messages,
    compositions: Compositions,
) -> Shown {
    let trace = &scanned.trace;
    let contents = Contents::new(reader, trace, messages);
    let contents = match compositions {
        Compositions::LeftOut => contents,
        // A damaged request is noted where its content is read.
        Compositions::Included => contents.with_prompts(ReadPrompts::all(reader, trace).prompts),
    };
    let measured = scanned.measure();
    let view = contents.view(&measured, |_| true);
    let mut notes = contents.notes(&measured);
    notes.extend(usage_note(reader, trace, &measured));
    Shown { view, notes }
}

/// Says that tokens are unknown because the client did not ask for them, where that is so.
pub fn usage_note(reader: &Reader, trace: &RecordedTrace, measured: &Measured) -> Option<Note> {
    let silent = usage_gap::calls(reader, trace).unwrap_or_default();
    let text = format!("tokens and cost are unknown: {}", usage_gap::REMEDY);
    let steps = steps_of(&silent, trace, measured);
    (!silent.is_empty()).then_some(Note { kind: NoteKind::UsageNotAskedFor, text, steps })
}

/// The steps that calls belong to, by their `seq`.
fn steps_of(seqs: &[u32], trace: &RecordedTrace, measured: &Measured) -> Vec<u32> {
    if seqs.is_empty() {
        return Vec::new();
    }
    let seqs: BTreeSet<u32> = seqs.iter().copied().collect();
    let steps = measured.assembly.steps.iter();
    let has_one = |step: &&Step| step.calls().any(|call| seqs.contains(&trace.facts[call.0].seq));
    steps.filter(has_one).map(|step| step.number.0).collect()
}

/// Reads what the calls of one trace say.
#[derive(Debug)]
pub struct Contents<'a> {
    reader: &'a Reader,
    trace: &'a RecordedTrace,
    messages: Messages,
    prompts: Option<Prompts>,
    damage: RefCell<Vec<(u32, ReadError)>>,
    tool_damage: RefCell<Option<ReadError>>,
}

impl<'a> Contents<'a> {
    pub fn new(reader: &'a Reader, trace: &'a RecordedTrace, messages: Messages) -> Self {
        let (damage, tool_damage) = (RefCell::default(), RefCell::default());
        Self { reader, trace, messages, prompts: None, damage, tool_damage }
    }

    /// With what these prompts consist of.
    pub fn with_prompts(self, prompts: Prompts) -> Self {
        Self { prompts: Some(prompts), ..self }
    }

    /// What could not be read while views were made.
    pub fn notes(self, measured: &Measured) -> Vec<Note> {
        let note = |text: String, steps| Note { kind: NoteKind::Damaged, text, steps };
        let of_calls = self.damage.into_inner().into_iter();
        let of_calls =
            of_calls.map(|(seq, error)| note(error.to_string(), steps_of(&[seq], self.trace, measured)));
        let of_tools = self.tool_damage.into_inner().map(|error| note(error.to_string(), Vec::new()));
        of_calls.chain(of_tools).collect()
    }

    /// The view, with the content of those calls that are `wanted` (by `seq`).
    pub fn view(&self, measured: &Measured, wanted: impl Fn(u32) -> bool) -> TraceView {
        let content = |seq| match wanted(seq) {
            true => self.content_or_note(seq),
            false => CallContent::default(),
        };
        let tools = self.tools();
        view::trace_view(self.trace.row.meta(), (&self.trace.facts, &tools), measured, content)
    }

    /// The entries of one step and of its tool calls.
    pub fn step(&self, measured: &Measured, step: &Step) -> (EntryView, Vec<EntryView>) {
        let content = |seq| self.content_or_note(seq);
        view::step_view(step, (&self.trace.facts, &self.tools()), measured, content)
    }

    /// What was said of measured tool calls; nothing where it cannot be read.
    fn tools(&self) -> Vec<MeasuredTool> {
        if self.trace.tools.is_empty() {
            return Vec::new();
        }
        self.reader.measured_tools(self.trace.row.key).unwrap_or_else(|error| {
            self.tool_damage.borrow_mut().replace(error);
            Vec::new()
        })
    }

    fn content_or_note(&self, seq: u32) -> CallContent {
        self.content(seq).unwrap_or_else(|error| {
            self.damage.borrow_mut().push((seq, error));
            CallContent::default()
        })
    }

    fn content(&self, seq: u32) -> Result<CallContent, ReadError> {
        let facts = &self.trace.facts;
        // Nearly always a call stands where its number says.
        let is_it = |index: &usize| facts.get(*index).is_some_and(|facts| facts.seq == seq);
        let index =
            Some(seq as usize).filter(is_it).or_else(|| facts.iter().position(|facts| facts.seq == seq));
        let index = index.expect("a trace's own calls are asked for");
        let facts = &facts[index];
        let import_index = self.trace.import_indices[index];
        let provenance = self.trace.provenance.get(&seq).copied();
        let CallKind::Llm(wire) = facts.kind else {
            let text = is_mcp(&facts.provider).then(|| self.asked_of_mcp(seq)).transpose()?;
            return Ok(CallContent { import_index, provenance, text, ..CallContent::default() });
        };
        let outcome = self.reader.outcome(self.trace.row.key, seq)?;
        let answer = derive::response_view(facts.kind, &outcome);
        let (text, tool_calls) =
            answer.map_or((None, Vec::new()), |answer| (Some(answer.text), answer.tool_calls));
        let messages = match self.messages {
            Messages::LeftOut => None,
            Messages::Included => Some(self.request(wire, facts, usize::MAX)?.0.messages),
        };
        let tool_results = match facts.carries.is_empty() {
            true => Vec::new(),
            false => tool_results(&self.new_messages(wire, facts)?),
        };
        let composition = self.prompts.as_ref().and_then(|p| p.composition(CallIndex(index), &facts.usage));
        Ok(CallContent { import_index, provenance, text, tool_calls, tool_results, messages, composition })
    }

    /// What a message to an MCP server asks for, in words.
    fn asked_of_mcp(&self, seq: u32) -> Result<String, ReadError> {
        let (headers, body) = self.reader.request(self.trace.row.key, seq)?;
        let message = derive::decode_body(&headers, &body, &[]).bytes;
        Ok(match message.is_empty() {
            true => "what it says by itself".to_owned(),
            false => Wanted::of(&McpMessage::read(&message)).to_string(),
        })
    }

    /// What a request adds to the answer that it follows, read from its end.
    fn new_messages(&self, wire: Wire, facts: &CallFacts) -> Result<Vec<Message>, ReadError> {
        let mut elements = facts.carries.len() + 4;
        loop {
            let (request, is_whole) = self.request(wire, facts, elements)?;
            let new = derive::since_last_answer(&request.messages);
            if is_whole || new.len() < request.messages.len() {
                return Ok(new.to_vec());
            }
            elements = elements.saturating_mul(8);
        }
    }

    /// A request with its last `elements` messages, and whether that is all of it.
    fn request(
        &self,
        wire: Wire,
        facts: &CallFacts,
        elements: usize,
    ) -> Result<(RequestView, bool), ReadError> {
        let (headers, tail) = self.reader.request_tail(self.trace.row.key, facts.seq, elements)?;
        let decoded = derive::decode_body(&headers, &tail.body, &[]);
        let path = facts.endpoint.split_once(' ').map_or("", |(_, path)| path);
        let view = serde_json::from_slice(&decoded.bytes).map(|body| wire.decode_request(path, &body));
        Ok((view.unwrap_or_default(), tail.is_whole))
    }
}

fn tool_results(messages: &[Message]) -> Vec<ToolResult> {
    let parts = messages.iter().flat_map(|message| &message.parts);
    parts
        .filter_map(|part| match part.clone() {
            Part::ToolResult { call_id, name, content, is_error } => {
                Some(ToolResult { call_id, name, content, is_error })
            }
            _ => None,
        })
        .collect()
}

/// The tool calls of a recording with what they gave, in their order.
pub fn recorded_tools(reader: &Reader, trace: &RecordedTrace) -> Result<Vec<RecordedTool>, ReadError> {
    let contents = Contents::new(reader, trace, Messages::LeftOut);
    let view = contents.view(&trace.measure(), |_| true);
    let measured = reader.measured_tools(trace.row.key)?;
    if let Some((_, error)) = contents.damage.into_inner().into_iter().next() {
        return Err(error);
    }
    let recorded = |entry: &EntryView| RecordedTool::of_entry(entry, &measured);
    let place = |entry: &EntryView| entry.tool.as_ref().and_then(|tool| tool.measured);
    let mut entries: Vec<&EntryView> = view.steps.iter().collect();
    // Of identical calls the first that was told of comes first; others keep their places.
    let mut told: Vec<&EntryView> = entries.iter().copied().filter(|entry| place(entry).is_some()).collect();
    told.sort_by_key(|entry| place(entry));
    let mut told = told.into_iter();
    for entry in entries.iter_mut().filter(|entry| place(entry).is_some()) {
        *entry = told.next().unwrap_or(entry);
    }
    Ok(entries.into_iter().filter_map(recorded).collect())
}
