//! What calls would have cost, had they used other tokens or another model.

use super::bill::Bill;
use crate::cost::{Cost, LeafCosts, PriceBook, Usd};
use crate::facts::{AttemptState, CallFacts};
use crate::usage::LeafTokens;
use serde_json::Value;

/// Prices of the time of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Pricing<'a> {
    pub book: &'a PriceBook,
    /// The wall-clock time of the trace's 0, by which prices are dated.
    pub started_unix_us: Option<i64>,
    pub facts: &'a [CallFacts],
}

impl Pricing<'_> {
    /// A call's list price for these tokens; `None` if it is not known.
    pub(super) fn list_price(&self, fact: &CallFacts, tokens: LeafTokens) -> Option<LeafCosts> {
        let hypothetical = CallFacts {
            usage: tokens.to_usage(without_billed_units(fact.usage.raw.as_ref())),
            stated_cost_usd: None,
            state: AttemptState::Complete,
            ..fact.clone()
        };
        match self.book.cost(&hypothetical, self.started_unix_us) {
            Cost::Known(price) => Some(price.by_leaf),
            Cost::NotBilled | Cost::Unknown(_) => None,
        }
    }

    /// What a bill would have been for other tokens, in proportion to what it was for its own: so a cost that
    /// the provider stated keeps its discount.
    pub(super) fn usd_for(&self, bill: &Bill, tokens: LeafTokens) -> Option<Usd> {
        let fact = &self.facts[bill.call.0];
        let own = self.list_price(fact, bill.tokens)?.total();
        let other = self.list_price(fact, tokens)?.total();
        let billed = bill.usd.total();
        if own == billed || own == Usd::ZERO {
            return Some(other);
        }
        Usd::from_f64(billed.as_f64() * other.as_f64() / own.as_f64())
    }

    /// What a bill would have been at another model's list price; that of the same provider, if it has one.
    pub(super) fn usd_at(&self, bill: &Bill, model: &str) -> Option<Usd> {
        let fact = CallFacts {
            model: Some(model.to_owned()),
            response_model: None,
            service_tier: None,
            ..self.facts[bill.call.0].clone()
        };
        Some(self.list_price(&fact, bill.tokens)?.total())
    }
}

/// A usage object without Cohere's billed units, which would count instead of the tokens.
fn without_billed_units(raw: Option<&Value>) -> Option<Value> {
    let mut raw = raw?.clone();
    if let Some(members) = raw.as_object_mut() {
        members.remove("billed_units");
    }
    Some(raw)
}
