//! Heat: what each message of one step's prompt cost the whole run, in the order of the prompt.
//!
//! The figures are those of [`super::Carried`], of this prompt's messages only; so they sum to the run's input cost where the prompt
//! is that of the last step of a run whose history was never cut.

use super::Run;
use super::bill::Bills;
use super::carried::{CarriedMessage, PieceCosts};
use super::message::Origins;
use crate::assembly::{CallIndex, StepNumber};
use crate::cost::Usd;
use serde::Serialize;
use std::collections::HashMap;

/// A prompt, and what each part of it cost the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heat {
    pub step: StepNumber,
    /// Input of the whole run, of which those below are parts.
    pub input_usd: Usd,
    /// Tool definitions, the system prompt, then the history. A message that says several kinds of things is several.
    pub messages: Vec<HeatMessage>,
}

/// A message of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeatMessage {
    #[serde(flatten)]
    pub message: CarriedMessage,
    /// The place of the same message further up, whose figures are those of all its places: these are not to be added
    /// to them.
    pub counted_at: Option<usize>,
}

/// The heat of the prompt of a step's call; `None` if it was not read.
pub fn heat(run: &Run<'_>, step: StepNumber, call: CallIndex) -> Option<Heat> {
    let Run { facts, measured, prompts, pricing, .. } = *run;
    let prompt = prompts.prompt(call)?;
    let bills = Bills::of(facts, measured, &pricing);
    let costs = PieceCosts::of(&bills, prompts);
    let origins = Origins::of(&measured.assembly, prompts);
    let mut places = HashMap::new();
    let message = |(place, piece)| {
        let cost = costs.by_piece.get(&piece).copied().unwrap_or_default();
        let message = CarriedMessage::of(piece, &cost, origins.message(prompts, piece), bills.usd());
        let first = *places.entry(piece).or_insert(place);
        HeatMessage { message, counted_at: (first != place).then_some(first) }
    };
    let messages = prompts.pieces_of(prompt).into_iter().enumerate().map(message).collect();
    Some(Heat { step, input_usd: bills.input_usd(), messages })
}
