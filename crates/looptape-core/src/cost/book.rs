//! The price book: the listed prices, and the user's own in their place.

use super::entries::{Kind, OwnPrice, PriceEntry, PriceEntryError};
use super::leaves;
use super::listed::{self, Applied};
use super::{Billed, Bound, Cost, LeafCosts, PRICE_VERSION, Price, Unpriced, Usd};
use crate::facts::{AttemptState, CallFacts, CallKind};
use crate::usage::TokenUsage;
use std::borrow::Cow;
use std::sync::Arc;

/// Whoever prices is given one. A clone is the same book.
#[derive(Clone, Debug, Default)]
pub struct PriceBook(
    /// `None`: the listed prices alone.
    Option<Arc<Own>>,
);

#[derive(Debug)]
struct Own {
    prices: Vec<OwnPrice>,
    version: String,
}

impl PriceBook {
    /// The listed prices.
    pub fn listed() -> Self {
        Self::default()
    }

    /// The listed prices with entries of one's own; of several that hold for a call, the last one counts.
    pub fn with(entries: &[PriceEntry]) -> Result<Self, PriceEntryError> {
        if entries.is_empty() {
            return Ok(Self::listed());
        }
        let prices = entries.iter().zip(1..).map(|(entry, number)| OwnPrice::check(number, entry));
        let prices = prices.collect::<Result<_, _>>()?;
        let text = serde_json::to_string(entries).expect("entries are texts and numbers");
        let hash = blake3::hash(text.as_bytes()).to_hex();
        let version = format!("{PRICE_VERSION} + looptape.toml {}", &hash[..8]);
        Ok(Self(Some(Arc::new(Own { prices, version }))))
    }

    /// Names the book: it changes when any price in it may have changed.
    pub fn version(&self) -> &str {
        self.0.as_ref().map_or(PRICE_VERSION, |own| &own.version)
    }

    /// The cost of every call; `started_unix_us` is the wall-clock time of the trace's 0, if it is known.
    pub fn costs(&self, facts: &[CallFacts], started_unix_us: Option<i64>) -> Vec<Cost> {
        facts.iter().map(|fact| self.cost(fact, started_unix_us)).collect()
    }

    /// The cost of one call, failed ones included: an attempt that used tokens is paid whatever became of it.
    /// Only model calls are priced; for others the cost is unknown.
    pub fn cost(&self, fact: &CallFacts, started_unix_us: Option<i64>) -> Cost {
        let at_unix_us = started_unix_us.map(|start| start.saturating_add(fact.sent_us));
        self.cost_of(fact, at_unix_us, fact.stated_cost_usd)
    }

    /// What the call would cost at list price today, whatever its provider says that it took.
    pub fn list_cost(&self, fact: &CallFacts) -> Cost {
        self.cost_of(fact, None, None)
    }

    fn cost_of(&self, fact: &CallFacts, at_unix_us: Option<i64>, stated_usd: Option<f64>) -> Cost {
        let used = fact.usage.is_known() || fact.stated_cost_usd.is_some();
        let refused = fact.status.is_some_and(|status| status >= 400);
        if !used && (refused || fact.state == AttemptState::UpstreamUnreachable) {
            return Cost::NotBilled;
        }
        if fact.kind == CallKind::Other && stated_usd.is_none() {
            return Cost::Unknown(Unpriced::NoUsage);
        }
        let price = self.price(&Billed {
            provider: fact.provider.as_str(),
            model: fact.model.as_deref(),
            response_model: fact.response_model.as_deref(),
            usage: &fact.usage,
            service_tier: fact.service_tier.as_deref(),
            at_unix_us,
            stated_usd,
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
    pub fn price(&self, billed: &Billed<'_>) -> Result<Price, Unpriced> {
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
        let Applied { rates, source, version } = self.applied(billed)?;
        Ok(Price {
            by_leaf: LeafCosts::of(billed.usage, &rates),
            bound: leaves::bound(billed.usage),
            source,
            version: Some(version),
        })
    }

    /// The rates that hold for a call.
    pub(super) fn applied(&self, billed: &Billed<'_>) -> Result<Applied, Unpriced> {
        let listed = listed::find(billed);
        let own = self.0.as_ref().and_then(|own| {
            Some((own.prices.iter().rev().find(|price| price.fits(billed))?, own.version.as_str()))
        });
        let Some((own, version)) = own else { return listed };
        let Some(rates) = own.rates(listed.as_ref().ok().map(|l| &l.rates), billed) else { return listed };
        let rest = listed.ok().filter(|_| own.leans_on_list()).map(|listed| listed.source);
        let source = match (&own.kind, rest) {
            (Kind::Factor(factor), Some(listed)) => format!("[[prices]] {}: {factor} x {listed}", own.label),
            (Kind::Rates { .. }, Some(listed)) => format!("[[prices]] {}, else {listed}", own.label),
            (_, None) => format!("[[prices]] {}", own.label),
        };
        Ok(Applied {
            rates,
            source: format!("looptape.toml {source}"),
            version: Cow::Owned(version.to_owned()),
        })
    }

    /// Whether calls of a model can be priced.
    pub fn has_price(&self, provider: &str, model: &str) -> bool {
        let usage = TokenUsage { uncached_input: Some(1), input_total: Some(1), ..TokenUsage::default() };
        let billed = Billed::undated(provider, model, &usage);
        matches!(self.price(&billed), Ok(_) | Err(Unpriced::LocalModel))
    }

    /// The names of models that have a listed price and are most like this one.
    pub fn models_like(&self, provider: &str, model: &str) -> Vec<String> {
        listed::models_like(provider, model)
    }

    /// Service tiers that entries name.
    pub(super) fn own_service_tiers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|own| &own.prices).filter_map(|price| price.service_tier.as_deref())
    }

    /// Entries that hold for a model but state too little: it has no listed price that would complete them.
    pub(super) fn incomplete_entries(&self, billed: &Billed<'_>) -> Vec<String> {
        let own = self.0.iter().flat_map(|own| &own.prices);
        own.filter(|price| price.fits(billed) && !price.stands_alone())
            .map(|price| price.label.clone())
            .collect()
    }
}
