//! What a piece of a prompt is to a reader of the trace: whose it is, and which step it comes from.

use crate::assembly::{Assembly, StepNumber};
use crate::composition::{Piece, PieceId, Prompts, Said, Section, SeenPieces};
use crate::text_diff::beginning;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::collections::HashMap;

/// Characters of a message that are shown of it.
const SHOWN_CHARS: usize = 80;

/// A message of the trace. Its JSON says in words what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub section: Section,
    /// Of a result or a definition.
    pub tool: Option<String>,
    /// The step whose answer it is, or whose tool call it answers.
    pub step: Option<StepNumber>,
    pub sub: Option<u32>,
    /// The first step that sent it.
    pub first_sent_step: Option<StepNumber>,
    /// Of its text.
    pub bytes: u64,
    pub attachments: u32,
    /// How it begins, in one line.
    pub beginning: String,
}

/// Where the pieces of a trace come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    first_sent: HashMap<PieceId, StepNumber>,
    comes_from: HashMap<PieceId, Source>,
}

#[derive(Clone, Debug)]
struct Source {
    step: StepNumber,
    sub: Option<u32>,
    tool: Option<String>,
}

impl Origins {
    pub(super) fn of(assembly: &Assembly, prompts: &Prompts) -> Self {
        let mut origins = Self::default();
        let asked = Asked::of(assembly);
        let mut seen = SeenPieces::default();
        for step in &assembly.steps {
            let Some(prompt) = prompts.prompt(step.final_call()) else { continue };
            let mut unnamed: HashMap<&str, usize> = HashMap::new();
            for piece in prompts.new_pieces(prompt, &mut seen) {
                origins.first_sent.insert(piece, step.number);
                let source = match &prompts.piece(piece).said {
                    Said::Answer { .. } => step.parent.map(|step| Source { step, sub: None, tool: None }),
                    Said::Result { call_id: Some(id), .. } => asked.by_id(id, step.number),
                    Said::Result { call_id: None, tool: Some(tool), .. } => {
                        let nth = unnamed.entry(tool).or_default();
                        *nth += 1;
                        asked.by_name(tool, step.number, *nth - 1)
                    }
                    Said::Result { .. } | Said::Text | Said::Definition { .. } => None,
                };
                origins.comes_from.extend(source.map(|source| (piece, source)));
            }
        }
        origins
    }

    pub(super) fn message(&self, prompts: &Prompts, id: PieceId) -> Message {
        let piece = prompts.piece(id);
        let source = self.comes_from.get(&id);
        let named = match &piece.said {
            Said::Result { tool, .. } => tool.clone(),
            Said::Definition { tools } => match tools.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
            Said::Text | Said::Answer { .. } => None,
        };
        Message {
            section: piece.section,
            tool: source.and_then(|source| source.tool.clone()).or(named),
            step: source.map(|source| source.step),
            sub: source.and_then(|source| source.sub),
            first_sent_step: self.first_sent.get(&id).copied(),
            bytes: piece.bytes(),
            attachments: piece.attachments,
            beginning: one_line(piece),
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { section, tool, step, sub, first_sent_step, bytes, attachments, beginning } = self;
        let mut message = serializer.serialize_struct("Message", 9)?;
        message.serialize_field("section", section)?;
        message.serialize_field("tool", tool)?;
        message.serialize_field("step", step)?;
        message.serialize_field("sub", sub)?;
        message.serialize_field("first_sent_step", first_sent_step)?;
        message.serialize_field("bytes", bytes)?;
        message.serialize_field("attachments", attachments)?;
        message.serialize_field("beginning", beginning)?;
        message.serialize_field("words", &self.words())?;
        message.end()
    }
}

impl Message {
    /// What it is, in words: `the 41 KB result of search at step 3.1`.
    pub fn words(&self) -> String {
        let size = size(self.bytes);
        let sub = self.sub.map_or(String::new(), |sub| format!(".{sub}"));
        let at = self.step.or(self.first_sent_step);
        let at = at.map_or(String::new(), |step| format!(" at step {}{sub}", step.0));
        let of = |what: &str| self.tool.as_ref().map_or(what.to_owned(), |tool| format!("{what} of {tool}"));
        match self.section {
            Section::System => format!("the {size} system prompt"),
            Section::ToolDefinitions if self.tool.is_none() => format!("the {size} of tool definitions"),
            Section::ToolDefinitions => format!("the {size} {}", of("definition")),
            Section::User => format!("the {size} user message{at}"),
            Section::Assistant => format!("the {size} answer{at}"),
            Section::ToolResults => format!("the {size} {}{at}", of("result")),
            Section::Reasoning => format!("the {size} of reasoning{at}"),
            Section::HeldByProvider => "the history that the provider keeps".to_owned(),
        }
    }
}

/// `940 B`, `41 KB`, `1.2 MB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..9_950 => format!("{:.1} KB", bytes as f64 / 1e3),
        9_950..999_500 => format!("{:.0} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn one_line(piece: &Piece) -> String {
    let words: Vec<&str> = piece.text.split_whitespace().take(SHOWN_CHARS).collect();
    beginning(&words.join(" "), SHOWN_CHARS)
}

/// Tool calls by what their results are found by.
struct Asked<'a> {
    by_id: HashMap<&'a str, Vec<(StepNumber, u32, &'a str)>>,
    by_name: HashMap<(&'a str, StepNumber), Vec<(StepNumber, u32)>>,
}

impl<'a> Asked<'a> {
    fn of(assembly: &'a Assembly) -> Self {
        let mut asked = Self { by_id: HashMap::new(), by_name: HashMap::new() };
        for step in &assembly.steps {
            for tool in &step.tools {
                if let Some(id) = &tool.call_id {
                    asked.by_id.entry(id).or_default().push((step.number, tool.sub, &tool.name));
                }
                if let Some(by) = tool.answered_by {
                    asked.by_name.entry((&tool.name, by)).or_default().push((step.number, tool.sub));
                }
            }
        }
        asked
    }

    /// The latest call of this id before a step.
    fn by_id(&self, id: &str, before: StepNumber) -> Option<Source> {
        let calls = self.by_id.get(id)?;
        let (step, sub, tool) = calls.iter().rev().find(|(step, ..)| *step < before)?;
        Some(Source { step: *step, sub: Some(*sub), tool: Some((*tool).to_owned()) })
    }

    /// The nth call of this tool whose result a step brings.
    fn by_name(&self, tool: &str, answered_by: StepNumber, nth: usize) -> Option<Source> {
        let (step, sub) = self.by_name.get(&(tool, answered_by))?.get(nth)?;
        Some(Source { step: *step, sub: Some(*sub), tool: Some(tool.to_owned()) })
    }
}
