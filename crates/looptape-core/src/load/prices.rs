//! What calls cost, for many calls of few models: prices are looked up once.

use crate::cost::{Bound, LeafCosts, PriceBook, Quoted, RateStep, Unpriced, Usd};
use crate::metrics::{CostSum, input_limit_of};
use crate::usage::LeafTokens;
use serde::Serialize;

/// The prices of the models of a run.
#[derive(Clone, Debug)]
pub struct Prices {
    models: Vec<ModelPrice>,
}

/// The price of one model.
#[derive(Clone, Debug)]
struct ModelPrice {
    model: String,
    rates: Result<Rates, Unpriced>,
    input_limit: Option<u64>,
}

#[derive(Clone, Debug)]
struct Rates {
    /// By rising input.
    steps: Vec<RateStep>,
    source: String,
    version: String,
}

/// Where a model's price comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceNote {
    pub model: String,
    pub source: Option<String>,
    pub version: Option<String>,
    /// Why there is no price.
    pub unpriced: Option<Unpriced>,
}

impl Prices {
    /// At the prices of this time.
    pub fn new(book: &PriceBook, provider: &str, models: &[String], at_unix_us: i64) -> Self {
        let price = |model: &String| ModelPrice::of(book, provider, model, at_unix_us);
        Self { models: models.iter().map(price).collect() }
    }

    /// Adds the models of another provider behind those that are there.
    #[must_use]
    pub(super) fn and(
        mut self,
        book: &PriceBook,
        provider: &str,
        models: &[String],
        at_unix_us: i64,
    ) -> Self {
        self.models.extend(models.iter().map(|model| ModelPrice::of(book, provider, model, at_unix_us)));
        self
    }

    /// The place of a model, which is looked up if it is not there yet. Of two providers' models of one name the first
    /// one's price counts.
    pub(super) fn place_of(
        &mut self,
        book: &PriceBook,
        provider: &str,
        model: &str,
        at_unix_us: i64,
    ) -> usize {
        let known = self.models.iter().position(|one| one.model == model);
        known.unwrap_or_else(|| {
            self.models.push(ModelPrice::of(book, provider, model, at_unix_us));
            self.models.len() - 1
        })
    }

    /// What a call costs; `None` if there is no price.
    pub fn cost(&self, model: usize, used: &LeafTokens) -> Option<LeafCosts> {
        let rates = self.models[model].rates.as_ref().ok()?;
        let input = used.input();
        let step = rates.steps.iter().rev().find(|step| step.input_tokens_above < input.max(1))?;
        let per_million = &step.usd_per_million;
        let usd = |tokens: u64, rate: f64| Usd::from_f64(tokens as f64 * rate / 1e6).unwrap_or_default();
        Some(LeafCosts {
            uncached_input: usd(used.uncached_input, per_million.uncached_input),
            cache_read: usd(used.cache_read, per_million.cache_read),
            cache_write_5m: usd(used.cache_write_5m, per_million.cache_write_5m),
            cache_write_1h: usd(used.cache_write_1h, per_million.cache_write_1h),
            output_visible: usd(used.output_visible, per_million.output_visible),
            reasoning: usd(used.reasoning, per_million.reasoning),
            web_search: Usd::ZERO,
            other: Usd::from_f64(step.per_call_usd.max(0.0)).unwrap_or_default(),
        })
    }

    /// The cost of a call, as part of a sum; `None` is not known.
    pub(super) fn sum(&self, model: usize, used: &LeafTokens, bound: Bound) -> CostSum {
        self.cost(model, used).map_or_else(CostSum::of_unknown, |leaves| CostSum::of_leaves(leaves, bound))
    }

    /// How many tokens of input a model takes.
    pub fn input_limit(&self, model: usize) -> Option<u64> {
        self.models[model].input_limit
    }

    pub fn model(&self, model: usize) -> &str {
        &self.models[model].model
    }

    pub fn len(&self) -> usize {
        self.models.len()
    }

    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// A model that has no price.
    pub fn unpriced(&self) -> Option<(&str, Unpriced)> {
        self.models.iter().find_map(|one| Some((one.model.as_str(), *one.rates.as_ref().err()?)))
    }

    pub(super) fn why_unpriced(&self, model: usize) -> Option<Unpriced> {
        self.models[model].rates.as_ref().err().copied()
    }

    pub fn notes(&self) -> Vec<PriceNote> {
        let note = |one: &ModelPrice| PriceNote {
            model: one.model.clone(),
            source: one.rates.as_ref().ok().map(|rates| rates.source.clone()),
            version: one.rates.as_ref().ok().map(|rates| rates.version.clone()),
            unpriced: one.rates.as_ref().err().copied(),
        };
        self.models.iter().map(note).collect()
    }
}

impl ModelPrice {
    fn of(book: &PriceBook, provider: &str, model: &str, at_unix_us: i64) -> Self {
        let quote = book.quote(Quoted { provider: Some(provider), model, at_unix_us });
        let rates = match quote.tiers.into_iter().next() {
            Some(tier) => Ok(Rates { steps: tier.by_input, source: tier.source, version: tier.version }),
            None => Err(quote.unpriced.unwrap_or(Unpriced::UnknownModel)),
        };
        Self { model: model.to_owned(), rates, input_limit: input_limit_of(provider, model) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Billed, PRICE_VERSION};

    const AT: i64 = 1_767_225_600_000_000;

    #[test]
    fn a_call_costs_what_the_book_says_tiers_included() {
        let models =
            ["gpt-4o-mini", "gemini-2.5-pro", "claude-sonnet-4-5", "nobodys-model"].map(str::to_owned);
        for (provider, model) in [("openai", 0), ("gemini", 1), ("anthropic", 2)] {
            let book = PriceBook::default();
            let prices = Prices::new(&book, provider, &models, AT);
            for input in [0, 1_000, 150_000, 200_000, 200_001, 300_000] {
                let used = LeafTokens {
                    uncached_input: input,
                    cache_read: 77,
                    output_visible: 500,
                    ..LeafTokens::default()
                };
                let usage = used.to_usage(None);
                let billed =
                    Billed { at_unix_us: Some(AT), ..Billed::undated(provider, &models[model], &usage) };
                let expected = book.price(&billed).unwrap();
                assert_eq!(prices.cost(model, &used).unwrap(), expected.by_leaf, "{provider} {input}");
            }
            assert_eq!(prices.unpriced(), Some(("nobodys-model", Unpriced::UnknownModel)));
            assert_eq!(prices.notes()[model].version.as_deref(), Some(PRICE_VERSION));
        }
    }
}
