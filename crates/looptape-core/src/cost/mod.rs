//! Cost: what a call cost in US dollars, by token leaf, with where the price comes from.
//!
//! Invariants: the leaves sum to the total exactly; a cost that is not known is [`Cost::Unknown`] with its
//! reason, never 0; a provider's own figure (OpenRouter) beats a computed one; every computed price carries its
//! source and version. Prices are those of the day of the call. Whoever prices is given a [`PriceBook`].
//!
//! What this does not do: read files, fetch prices, or guess an open-weights model's price at a host that the
//! price file does not know.

#[cfg(test)]
mod bills;
mod book;
mod entries;
mod leaves;
mod listed;
mod quote;
mod rates;
#[cfg(test)]
mod tests;
mod usd;
mod window;

use crate::usage::TokenUsage;
use serde::Serialize;
use std::borrow::Cow;

pub use book::PriceBook;
pub use entries::{PriceEntry, PriceEntryError, TierEntry};
pub use leaves::{LeafCosts, depends_on};
pub use quote::{LeafRates, Quote, Quoted, RateStep, TierQuote};
pub use usd::{Usd, UsdDelta};
pub use window::context_window;

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
    /// [`PRICE_VERSION`], or that of the book where it has a price of the user's own; `None` where the provider
    /// stated the cost.
    pub version: Option<Cow<'static, str>>,
}

/// Whether a figure is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Exact,
    /// Part of the usage is missing: an answer that was cut off, for example.
    AtLeast,
}

/// Why a cost is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpriced {
    /// The provider reported no usage.
    NoUsage,
    /// Neither request nor answer names a model.
    NoModel,
    /// The price file does not know this model, and no entry of the user's own states its input and output.
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

impl<'a> Billed<'a> {
    /// A usage at the newest prices.
    pub fn undated(provider: &'a str, model: &'a str, usage: &'a TokenUsage) -> Self {
        let model = Some(model);
        Self {
            provider,
            model,
            response_model: None,
            usage,
            service_tier: None,
            at_unix_us: None,
            stated_usd: None,
        }
    }

    /// Names under which a price is looked for: the answer's before the request's.
    fn models(&self) -> impl DoubleEndedIterator<Item = &'a str> {
        let models = [self.response_model, self.model];
        models.into_iter().flatten().map(|model| model.trim_start_matches("models/"))
    }
}

impl Price {
    pub fn usd(&self) -> Usd {
        self.by_leaf.total()
    }
}
