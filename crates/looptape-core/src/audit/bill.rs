//! What each attempt of a trace was billed for: tokens and dollars, leaf by leaf.
//!
//! Where a provider stated the cost of a call as a whole (OpenRouter), it is cut into leaves in proportion to
//! the list prices, if there are any; else it stays whole, in `other`.

use super::Pricing;
use crate::assembly::{CallIndex, StepNumber};
use crate::cost::{Bound, Cost, LeafCosts, Usd};
use crate::facts::CallFacts;
use crate::metrics::Measured;
use crate::usage::LeafTokens;

/// One attempt that was billed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bill {
    pub call: CallIndex,
    pub step: StepNumber,
    pub tokens: LeafTokens,
    pub usd: LeafCosts,
}

/// All attempts of model steps that were billed, in the order in which they started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bills {
    pub all: Vec<Bill>,
    /// What calls that are no model steps cost, as their providers stated it.
    pub other_calls: Usd,
    /// Attempts whose cost is not known (in full).
    pub incomplete: u32,
}

impl Bill {
    /// The input leaves in the order in which they lie in a prompt: what is read from the cache is its
    /// beginning, what is written comes next, the longer-lived first.
    pub fn input_leaves(&self) -> [(u64, Usd); 4] {
        let (tokens, usd) = (&self.tokens, &self.usd);
        [
            (tokens.cache_read, usd.cache_read),
            (tokens.cache_write_1h, usd.cache_write_1h),
            (tokens.cache_write_5m, usd.cache_write_5m),
            (tokens.uncached_input, usd.uncached_input),
        ]
    }

    pub fn output_leaves(&self) -> [(u64, Usd); 2] {
        [(self.tokens.output_visible, self.usd.output_visible), (self.tokens.reasoning, self.usd.reasoning)]
    }

    pub fn input_usd(&self) -> Usd {
        self.input_leaves().into_iter().map(|(_, usd)| usd).sum()
    }

    /// Searches, fees, and what was not cut into leaves.
    pub fn fees_usd(&self) -> Usd {
        self.usd.web_search + self.usd.other
    }
}

impl Bills {
    pub fn of(facts: &[CallFacts], measured: &Measured, pricing: &Pricing<'_>) -> Self {
        let mut bills = Self::default();
        for step in &measured.assembly.steps {
            for call in step.calls() {
                let price = match &measured.costs[call.0] {
                    Cost::Known(price) => price,
                    Cost::NotBilled => continue,
                    Cost::Unknown(_) => {
                        bills.incomplete += 1;
                        continue;
                    }
                };
                bills.incomplete += u32::from(price.bound == Bound::AtLeast);
                let tokens = facts[call.0].usage.leaf_tokens();
                let usd = by_leaf(&facts[call.0], &price.by_leaf, tokens, pricing);
                bills.all.push(Bill { call, step: step.number, tokens, usd });
            }
        }
        let plain = measured.assembly.others.iter().flat_map(|other| &other.attempts);
        bills.other_calls = plain.filter_map(|attempt| known(&measured.costs[attempt.call.0])).sum();
        bills
    }

    /// What the model steps cost.
    pub fn steps_usd(&self) -> Usd {
        self.all.iter().map(|bill| bill.usd.total()).sum()
    }

    /// What the trace cost: the same sum as in its metrics.
    pub fn usd(&self) -> Usd {
        self.steps_usd() + self.other_calls
    }

    pub fn input_usd(&self) -> Usd {
        self.all.iter().map(Bill::input_usd).sum()
    }
}

fn known(cost: &Cost) -> Option<Usd> {
    match cost {
        Cost::Known(price) => Some(price.usd()),
        Cost::NotBilled | Cost::Unknown(_) => None,
    }
}

fn by_leaf(fact: &CallFacts, billed: &LeafCosts, tokens: LeafTokens, pricing: &Pricing<'_>) -> LeafCosts {
    if fact.stated_cost_usd.is_none() || billed.other != billed.total() {
        return *billed;
    }
    let Some(listed) = pricing.list_price(fact, tokens) else { return *billed };
    let weights = listed.leaves().map(|usd| usd.units().unsigned_abs());
    let all: u64 = weights.iter().sum();
    if all == 0 {
        return *billed;
    }
    let (mut weight, mut paid) = (0, Usd::ZERO);
    let parts = weights.map(|next| {
        weight += next;
        let point = billed.other.up_to(weight, all);
        point.saturating_sub(std::mem::replace(&mut paid, point))
    });
    let [
        uncached_input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output_visible,
        reasoning,
        web_search,
        other,
    ] = parts;
    LeafCosts {
        uncached_input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output_visible,
        reasoning,
        web_search,
        other,
    }
}
