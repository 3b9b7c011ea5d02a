//! What the run would have cost if one thing had been otherwise. Each figure is computed: the tokens of every
//! bill are changed, and priced again, tiers included. Answers are taken to be the same.

use super::bill::{Bill, Bills};
use super::cache::{Reuse, perfect};
use super::carried::CarriedMessage;
use super::message::Message;
use super::pricing::Pricing;
use crate::composition::{PieceId, Prompts};
use crate::cost::{Usd, UsdDelta};
use crate::facts::CallKind;
use crate::usage::LeafTokens;
use crate::wire::Wire;
use serde::Serialize;

/// One supposition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhatIf {
    #[serde(flatten)]
    pub supposing: Supposing,
    /// What the run would have cost; `None` if a price is not known.
    pub usd: Option<Usd>,
    /// Compared with what it cost: negative is cheaper.
    pub delta_usd: Option<UsdDelta>,
}

/// What is supposed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what_if", rename_all = "snake_case")]
pub enum Supposing {
    /// The same tokens, at this model's list price.
    OtherModel { model: String },
    /// Everything that an earlier prompt began with, too, had been read from the cache.
    PerfectCache,
    /// The most expensive tool result had not been in the prompts.
    WithoutResult { message: Message },
}

pub(super) struct Suppositions<'a> {
    pub(super) bills: &'a Bills,
    pub(super) prompts: &'a Prompts,
    pub(super) pricing: &'a Pricing<'a>,
}

impl Suppositions<'_> {
    pub(super) fn other_model(&self, model: &str) -> WhatIf {
        let usd = self.sum(|_, bill| self.pricing.usd_at(bill, model));
        self.with(Supposing::OtherModel { model: model.to_owned() }, usd)
    }

    pub(super) fn perfect_cache(&self, reuse: &Reuse<'_>) -> WhatIf {
        let used_later = reuse.used_later(self.bills);
        let usd = self.sum(|at, bill| {
            let tokens = perfect(bill, reuse.prefix_tokens(at), used_later[at], self.bills_writing(bill));
            self.pricing.usd_for(bill, tokens)
        });
        self.with(Supposing::PerfectCache, usd)
    }

    pub(super) fn without(&self, most: &CarriedMessage) -> WhatIf {
        let usd = self.sum(|_, bill| {
            let tokens = self.tokens_without(bill, most.piece);
            if tokens == bill.tokens { Some(bill.usd.total()) } else { self.pricing.usd_for(bill, tokens) }
        });
        self.with(Supposing::WithoutResult { message: most.message.clone() }, usd)
    }

    fn with(&self, supposing: Supposing, usd: Option<Usd>) -> WhatIf {
        let delta_usd = usd.map(|usd| UsdDelta::between(self.bills.usd(), usd));
        WhatIf { supposing, usd, delta_usd }
    }

    fn sum(&self, usd: impl Fn(usize, &Bill) -> Option<Usd>) -> Option<Usd> {
        let steps: Option<Usd> = self.bills.all.iter().enumerate().map(|(at, bill)| usd(at, bill)).sum();
        Some(steps? + self.bills.other_calls)
    }

    /// Whether writing to the cache is asked for, and billed, apart.
    fn bills_writing(&self, bill: &Bill) -> bool {
        matches!(
            self.pricing.facts[bill.call.0].kind,
            CallKind::Llm(Wire::AnthropicMessages | Wire::BedrockConverse | Wire::BedrockInvoke)
        )
    }

    /// A bill's tokens without those of one piece, each taken from the leaf that it lay in.
    fn tokens_without(&self, bill: &Bill, piece: PieceId) -> LeafTokens {
        let Some(prompt) = self.prompts.prompt(bill.call) else { return bill.tokens };
        let mut tokens = bill.tokens;
        let mut start = 0;
        for stretch in self.prompts.stretches(prompt, bill.tokens.input()) {
            if stretch.piece == Some(piece) {
                take(&mut tokens, bill, start, stretch.end);
            }
            start = stretch.end;
        }
        tokens
    }
}

/// Takes the tokens between two points of a prompt out of their leaves.
fn take(tokens: &mut LeafTokens, bill: &Bill, start: u64, end: u64) {
    let of = &bill.tokens;
    let leaves = [
        (of.cache_read, &mut tokens.cache_read),
        (of.cache_write_1h, &mut tokens.cache_write_1h),
        (of.cache_write_5m, &mut tokens.cache_write_5m),
        (of.uncached_input, &mut tokens.uncached_input),
    ];
    let mut from = 0;
    for (length, leaf) in leaves {
        let to = from + length;
        *leaf -= end.min(to).saturating_sub(start.max(from));
        from = to;
    }
}
