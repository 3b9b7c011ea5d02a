//! Composition: what a request's prompt consists of, in the provider's own tokens.
//!
//! A prompt is read into [`Piece`]s, in the order in which providers cache it: tool definitions, system
//! prompt, then the history. A piece is counted once, by its content, however often it is sent ([`Prompts`]).
//! The counts are estimates ([`Tokenizer`]); they are scaled so that they sum to the input count that the
//! provider reported ([`scale`]).
//!
//! Invariants: the parts of a [`Composition`] sum to its `input_tokens` exactly; equal beginnings of two
//! prompts are the same pieces; a trace is read in time proportional to what its steps added.
//!
//! What this does not do: price (see [`crate::audit`]), or decide what matches in a replay.

mod approximate;
#[cfg(test)]
pub(crate) mod example;
mod piece;
mod prompts;
pub mod scale;
#[cfg(test)]
mod tests;
mod tokenizer;

pub use piece::{Called, Piece, Said};
pub use prompts::{Mark, PieceId, Prompt, PromptToken, Prompts, RequestParts, SeenPieces};
pub use tokenizer::Tokenizer;

use serde::Serialize;

/// Which part of a prompt a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    System,
    ToolDefinitions,
    User,
    /// What the model said before: texts and tool calls.
    Assistant,
    ToolResults,
    /// The model's earlier reasoning, sent back.
    Reasoning,
    /// A history that the provider keeps and the request only names, where the recording does not hold it.
    HeldByProvider,
}

impl Section {
    pub const ALL: [Self; 7] = [
        Self::System,
        Self::ToolDefinitions,
        Self::User,
        Self::Assistant,
        Self::ToolResults,
        Self::Reasoning,
        Self::HeldByProvider,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::ToolDefinitions => "tool definitions",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::ToolResults => "tool results",
            Self::Reasoning => "reasoning",
            Self::HeldByProvider => "held by the provider",
        }
    }
}

/// Tokens by section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; Section::ALL.len()]);

impl Tally {
    pub fn of(self, section: Section) -> u64 {
        self.0[section as usize]
    }

    pub fn total(self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, section: Section, tokens: u64) {
        self.0[section as usize] += tokens;
    }
}

/// What the input tokens of one call consist of: estimates, scaled to the provider's count where it gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Composition {
    pub system: u64,
    pub tool_definitions: u64,
    pub user: u64,
    pub assistant: u64,
    pub tool_results: u64,
    pub reasoning: u64,
    pub held_by_provider: u64,
    /// The sum of the above: the provider's own input count, or, without one, the tokenizer's.
    pub input_tokens: u64,
    /// Whether `input_tokens` is the provider's count.
    pub scaled: bool,
    /// Always true: providers do not say what their counts consist of.
    pub estimated: bool,
    pub tokenizer: Tokenizer,
}

impl Composition {
    fn new(estimate: Tally, reported: Option<u64>, tokenizer: Tokenizer) -> Self {
        let input_tokens = reported.unwrap_or_else(|| estimate.total());
        let parts = scale::split(input_tokens, &estimate.0);
        let part = |section: Section| parts[section as usize];
        Self {
            system: part(Section::System),
            tool_definitions: part(Section::ToolDefinitions),
            user: part(Section::User),
            assistant: part(Section::Assistant),
            tool_results: part(Section::ToolResults),
            reasoning: part(Section::Reasoning),
            held_by_provider: part(Section::HeldByProvider),
            input_tokens,
            scaled: reported.is_some(),
            estimated: true,
            tokenizer,
        }
    }

    pub fn part(&self, section: Section) -> u64 {
        match section {
            Section::System => self.system,
            Section::ToolDefinitions => self.tool_definitions,
            Section::User => self.user,
            Section::Assistant => self.assistant,
            Section::ToolResults => self.tool_results,
            Section::Reasoning => self.reasoning,
            Section::HeldByProvider => self.held_by_provider,
        }
    }
}
