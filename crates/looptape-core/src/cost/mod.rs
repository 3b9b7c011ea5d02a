//! Cost: what a call cost in US dollars, by token leaf, with where the price comes from.
//!
//! Invariants: the leaves sum to the total exactly; a cost that is not known is [`Cost::Unknown`] with its
//! reason, never 0; a provider's own figure (OpenRouter) beats a computed one; every computed price carries
//! [`PRICE_VERSION`]. Prices are those of the day of the call.
//!
//! What this does not do: read overrides, fetch prices, or guess an open-weights model's price at a host
//! that the price file does not know.

mod leaves;
mod listed;
mod rates;
#[cfg(test)]
mod tests;
mod usd;

use crate::facts::{AttemptState, CallFacts, CallKind};
use crate::usage::TokenUsage;
use serde::Serialize;

pub use leaves::LeafCosts;
pub use usd::{Usd, UsdDelta};

/// The price file's version: it is embedded in the crate of this version and has none of its own.
pub const PRICE_VERSION: &str = "genai-prices 0.2.1";

/// What one attempt cost.
#[derive(Clone, Debug, PartialEq)]
pub enum Cost {
    Known(Price),
    /// Refused or never delivered, without usage: providers do not bill that. In a replay also what no
    /// provider answered.
    NotBilled,
    Unknown(Unpriced),
}

/// A known cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    pub by_leaf: LeafCosts,
    pub bound: Bound,
    /// Where the price comes from, in words: `genai-prices (openai/gpt-4o-mini)`.
    pub source: String,
    /// [`PRICE_VERSION`]; `None` where the provider stated the cost.
    pub version: Option<&'static str>,
}

/// Whether a figure is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Exact,
    /// Part of the usage is missing: an answer that was cut off, for example.
    AtLeast,
}

/// Why a cost is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpriced {
    /// The provider reported no usage.
    NoUsage,
    /// Neither request nor answer names a model.
    NoModel,
    /// The price file does not know this model.
    UnknownModel,
    /// Several providers offer this model at different prices, and this provider is not one of them.
    AmbiguousModel,
    /// Ollama serves models on the user's own machine: there is no price.
    LocalModel,
    /// Audio or image tokens, which are billed at rates of their own.
    OtherModalities,
}

/// What is priced.
#[derive(Clone, Copy, Debug)]
pub struct Billed<'a> {
    /// looptape's name of the provider.
    pub provider: &'a str,
    pub model: Option<&'a str>,
    pub response_model: Option<&'a str>,
    pub usage: &'a TokenUsage,
    pub service_tier: Option<&'a str>,
    /// When the call was made; `None` prices it at the newest listed price.
    pub at_unix_us: Option<i64>,
    pub stated_usd: Option<f64>,
}

/// The cost of every call; `started_unix_us` is the wall-clock time of the trace's 0, if it is known.
pub fn costs(facts: &[CallFacts], started_unix_us: Option<i64>) -> Vec<Cost> {
    facts.iter().map(|fact| cost(fact, started_unix_us)).collect()
}

/// The cost of one call, failed ones included: an attempt that used tokens is paid whatever became of it.
/// Only model calls are priced; for others the cost is unknown.
pub fn cost(fact: &CallFacts, started_unix_us: Option<i64>) -> Cost {
    let used = fact.usage.is_known() || fact.stated_cost_usd.is_some();
    let refused = fact.status.is_some_and(|status| status >= 400);
    if !used && (refused || fact.state == AttemptState::UpstreamUnreachable) {
        return Cost::NotBilled;
    }
    if fact.kind == CallKind::Other && fact.stated_cost_usd.is_none() {
        return Cost::Unknown(Unpriced::NoUsage);
    }
    let price = price(&Billed {
        provider: fact.provider.as_str(),
        model: fact.model.as_deref(),
        response_model: fact.response_model.as_deref(),
        usage: &fact.usage,
        service_tier: fact.service_tier.as_deref(),
        at_unix_us: started_unix_us.map(|start| start.saturating_add(fact.sent_us)),
        stated_usd: fact.stated_cost_usd,
    });
    match price {
        Ok(mut price) => {
            if fact.state != AttemptState::Complete {
                price.bound = Bound::AtLeast;
            }
            Cost::Known(price)
        }
        Err(why) => Cost::Unknown(why),
    }
}

/// The price of one usage.
pub fn price(billed: &Billed<'_>) -> Result<Price, Unpriced> {
    if let Some(other) = billed.stated_usd.and_then(Usd::from_f64) {
        let by_leaf = LeafCosts { other, ..LeafCosts::default() };
        let source = format!("stated by {}", billed.provider);
        return Ok(Price { by_leaf, bound: Bound::Exact, source, version: None });
    }
    if !billed.usage.is_known() {
        return Err(Unpriced::NoUsage);
    }
    if leaves::has_other_modalities(billed.usage.raw.as_ref()) {
        return Err(Unpriced::OtherModalities);
    }
    let mut listed = listed::Listed::find(billed)?;
    let one_hour_tokens = billed.usage.cache_write_1h.unwrap_or(0);
    if let Some(rate) = listed.found.one_hour_write_by_rule().filter(|_| one_hour_tokens > 0) {
        listed.found.rates.cache_write_1h = rate;
        listed.notes.push("1 h cache writes at 2 x input".to_owned());
    }
    Ok(Price {
        by_leaf: LeafCosts::of(billed.usage, &listed.found.rates),
        bound: leaves::bound(billed.usage),
        source: listed.source(),
        version: Some(PRICE_VERSION),
    })
}

/// Whether calls of a model can be priced.
pub fn has_price(provider: &str, model: &str) -> bool {
    let usage = TokenUsage { uncached_input: Some(1), input_total: Some(1), ..TokenUsage::default() };
    let (response_model, service_tier, at_unix_us, stated_usd) = (None, None, None, None);
    let model = Some(model);
    let usage = &usage;
    let billed = Billed { provider, model, response_model, usage, service_tier, at_unix_us, stated_usd };
    matches!(price(&billed), Ok(_) | Err(Unpriced::LocalModel))
}

/// The names of models that can be priced and that are most like this one.
pub fn models_like(provider: &str, model: &str) -> Vec<String> {
    listed::models_like(provider, model)
}

impl Price {
    pub fn usd(&self) -> Usd {
        self.by_leaf.total()
    }
}
