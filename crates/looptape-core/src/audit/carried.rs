//! Carried cost: every message is paid for again by each later request that sends it again.
//!
//! A prompt is a line of tokens, cut twice: into pieces, by the estimates scaled to the provider's own count,
//! and into leaves, as the provider billed them; the cache holds a prompt's beginning, so the leaves lie in
//! the order read, written, uncached. A piece costs what its stretch of the line costs. Both cuts are of whole
//! numbers at points of one line, so the parts sum to the input cost exactly.

use super::bill::{Bill, Bills};
use super::message::{Message, Origins};
use crate::assembly::CallIndex;
use crate::composition::{PieceId, PromptToken, Prompts, Section};
use crate::cost::Usd;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Messages that are listed; the sums are over all.
const MOST_MESSAGES: usize = 20;

/// Where the input cost of a trace went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Carried {
    /// The input cost: what each of the three lists below sums to, with its rest.
    pub input_usd: Usd,
    pub by_section: Vec<SectionCost>,
    pub by_tool: Vec<ToolCost>,
    /// Input that has to do with no tool.
    pub no_tool_usd: Usd,
    /// The most expensive, first.
    pub messages: Vec<CarriedMessage>,
    pub more_messages: usize,
    pub more_messages_usd: Usd,
    /// Requests whose text could not be read; part of the rest of each list.
    pub unread_usd: Usd,
}

/// What one section of the prompts cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SectionCost {
    pub section: Section,
    pub tokens: u64,
    pub usd: Usd,
}

/// What one tool made the prompts cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolCost {
    pub tool: String,
    /// Distinct results in the histories.
    pub results: u32,
    pub results_usd: Usd,
    pub definition_usd: Usd,
    pub usd: Usd,
}

/// A message, and what sending it cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CarriedMessage {
    #[serde(flatten)]
    pub message: Message,
    /// Billed requests that held it.
    pub times_sent: u32,
    /// Its tokens in the last of them, an estimate; in a request that holds it more than once, all of them.
    pub tokens: u64,
    pub usd: Usd,
    /// All but the first time.
    pub again_usd: Usd,
    /// Of what the trace cost.
    pub share: Option<f64>,
    #[serde(skip)]
    pub piece: PieceId,
}

/// What one piece cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PieceCost {
    pub(super) times: u32,
    pub(super) tokens: u64,
    all_tokens: u64,
    pub(super) usd: Usd,
    first: Usd,
    last_call: Option<CallIndex>,
}

/// What all pieces cost.
#[derive(Clone, Debug, Default)]
pub(super) struct PieceCosts {
    pub(super) by_piece: HashMap<PieceId, PieceCost>,
    held: Usd,
    held_tokens: u64,
    unread: Usd,
}

/// Dollars up to a point of a bill's input.
pub(super) struct Line<'b> {
    bill: &'b Bill,
    input: u64,
}

impl<'b> Line<'b> {
    pub(super) fn of(bill: &'b Bill) -> Self {
        Self { bill, input: bill.tokens.input() }
    }

    pub(super) fn usd_to(&self, point: u64) -> Usd {
        let mut start = 0;
        let mut usd = Usd::ZERO;
        for (tokens, leaf) in self.bill.input_leaves() {
            usd += match tokens {
                // Billed by other units than these: as the prompt as a whole.
                0 => leaf.up_to(point, self.input),
                _ => leaf.up_to(point.saturating_sub(start), tokens),
            };
            start += tokens;
        }
        usd
    }
}

impl PieceCosts {
    pub(super) fn of(bills: &Bills, prompts: &Prompts) -> Self {
        let mut costs = Self::default();
        for bill in &bills.all {
            costs.add(bill, prompts);
        }
        costs
    }

    fn add(&mut self, bill: &Bill, prompts: &Prompts) {
        let line = Line::of(bill);
        let stretches = match prompts.prompt(bill.call) {
            Some(prompt) if line.input > 0 => prompts.stretches(prompt, line.input),
            _ => Vec::new(),
        };
        let (mut at, mut paid) = (0, Usd::ZERO);
        for PromptToken { piece, end } in stretches {
            let to = line.usd_to(end);
            let usd = to.saturating_sub(paid);
            match piece {
                Some(piece) => self.by_piece.entry(piece).or_default().add(bill.call, end - at, usd),
                None => {
                    self.held += usd;
                    self.held_tokens += end - at;
                }
            }
            (at, paid) = (end, to);
        }
        self.unread += bill.input_usd().saturating_sub(paid);
    }
}

impl PieceCost {
    fn add(&mut self, call: CallIndex, tokens: u64, usd: Usd) {
        if self.last_call != Some(call) {
            self.times += 1;
            self.tokens = 0;
            self.last_call = Some(call);
        }
        self.tokens += tokens;
        self.all_tokens += tokens;
        self.usd += usd;
        if self.times == 1 {
            self.first += usd;
        }
    }
}

impl CarriedMessage {
    /// `trace_usd` is what the share is of.
    pub(super) fn of(piece: PieceId, cost: &PieceCost, message: Message, trace_usd: Usd) -> Self {
        Self {
            message,
            times_sent: cost.times,
            tokens: cost.tokens,
            usd: cost.usd,
            again_usd: cost.usd.saturating_sub(cost.first),
            share: (trace_usd > Usd::ZERO).then(|| cost.usd.as_f64() / trace_usd.as_f64()),
            piece,
        }
    }
}

impl Carried {
    /// `trace_usd` is what shares are of.
    pub(super) fn of(costs: &PieceCosts, prompts: &Prompts, origins: &Origins, trace_usd: Usd) -> Self {
        let mut messages: Vec<CarriedMessage> = costs
            .by_piece
            .iter()
            .map(|(id, cost)| CarriedMessage::of(*id, cost, origins.message(prompts, *id), trace_usd))
            .collect();
        messages.sort_by_key(|message| (std::cmp::Reverse(message.usd), message.piece));
        let of_pieces: Usd = messages.iter().map(|message| message.usd).sum();
        let input_usd = of_pieces + costs.held + costs.unread;
        let by_tool = by_tool(&messages, prompts);
        let more = messages.split_off(messages.len().min(MOST_MESSAGES));
        Self {
            input_usd,
            by_section: by_section(costs, prompts),
            no_tool_usd: input_usd.saturating_sub(by_tool.iter().map(|tool| tool.usd).sum()),
            by_tool,
            messages,
            more_messages: more.len(),
            more_messages_usd: more.iter().map(|message| message.usd).sum::<Usd>()
                + costs.held
                + costs.unread,
            unread_usd: costs.unread,
        }
    }
}

fn by_section(costs: &PieceCosts, prompts: &Prompts) -> Vec<SectionCost> {
    let mut sums: BTreeMap<Section, (u64, Usd)> = BTreeMap::new();
    let mut add = |section, tokens, usd| {
        let sum = sums.entry(section).or_default();
        *sum = (sum.0 + tokens, sum.1 + usd);
    };
    for (id, cost) in &costs.by_piece {
        add(prompts.piece(*id).section, cost.all_tokens, cost.usd);
    }
    if costs.held > Usd::ZERO {
        add(Section::HeldByProvider, costs.held_tokens, costs.held);
    }
    let cost = |(section, (tokens, usd))| SectionCost { section, tokens, usd };
    let mut sections: Vec<SectionCost> = sums.into_iter().map(cost).collect();
    sections.sort_by_key(|cost| std::cmp::Reverse(cost.usd));
    sections
}

fn by_tool(messages: &[CarriedMessage], prompts: &Prompts) -> Vec<ToolCost> {
    let mut tools: BTreeMap<&str, ToolCost> = BTreeMap::new();
    for message in messages {
        let Some(name) = &message.message.tool else { continue };
        let tool = tools.entry(name).or_insert_with(|| ToolCost {
            tool: name.clone(),
            results: 0,
            results_usd: Usd::ZERO,
            definition_usd: Usd::ZERO,
            usd: Usd::ZERO,
        });
        tool.usd += message.usd;
        match prompts.piece(message.piece).section {
            Section::ToolDefinitions => tool.definition_usd += message.usd,
            _ => {
                tool.results += 1;
                tool.results_usd += message.usd;
            }
        }
    }
    let mut tools: Vec<ToolCost> = tools.into_values().collect();
    tools.sort_by_key(|tool| std::cmp::Reverse(tool.usd));
    tools
}
