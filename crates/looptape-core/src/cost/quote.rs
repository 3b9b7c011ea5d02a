//! What a price book says of one model: the rates that would be applied, and from where.
//!
//! Rates are found as a call would find them, so what is shown is what is applied. Thresholds of input size are
//! looked for between one token and more than any model takes.

use super::entries::is_ordinary;
use super::listed::{self, Applied};
use super::rates::Rates;
use super::{Billed, PriceBook, Unpriced};
use crate::usage::TokenUsage;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    /// looptape's name of the provider; without it the model's name decides.
    pub provider: Option<&'a str>,
    pub model: &'a str,
    pub at_unix_us: i64,
}

/// The prices of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quote {
    pub provider: Option<String>,
    pub model: String,
    /// The ordinary price first, then each service tier that differs from it; empty if there is no price.
    pub tiers: Vec<TierQuote>,
    /// Why there is no price.
    pub unpriced: Option<Unpriced>,
    /// Models with a listed price whose names are most like this one.
    pub nearest: Vec<String>,
    /// Providers that the price file lists it under.
    pub listed_at: Vec<String>,
    /// Entries of `[[prices]]` that hold for it but state too little without a listed price.
    pub incomplete_entries: Vec<String>,
}

/// The prices of one service tier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TierQuote {
    /// `None`: the ordinary one.
    pub service_tier: Option<String>,
    pub source: String,
    pub version: String,
    /// By rising input.
    pub by_input: Vec<RateStep>,
}

/// Rates for calls with more input than this. All of a call is priced by one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RateStep {
    pub input_tokens_above: u64,
    pub usd_per_million: LeafRates,
    pub per_call_usd: f64,
    pub web_search_usd: f64,
}

/// US dollars per million tokens, by leaf.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LeafRates {
    pub uncached_input: f64,
    pub cache_read: f64,
    pub cache_write_5m: f64,
    pub cache_write_1h: f64,
    pub output_visible: f64,
    pub reasoning: f64,
}

/// Service tiers that providers have, as their answers name them.
const SERVICE_TIERS: &[&str] = &["batch", "flex", "priority", "fast"];

/// More input than any model takes.
const ENDLESS: u64 = 1 << 40;

impl PriceBook {
    /// What it says of a model.
    pub fn quote(&self, quoted: Quoted<'_>) -> Quote {
        let named = named_tiers(self);
        let other = SERVICE_TIERS.iter().map(|tier| (*tier).to_owned()).chain(named).collect::<BTreeSet<_>>();
        let ordinary = self.tier(quoted, None);
        let usage = usage(1);
        let mut quote = Quote {
            provider: quoted.provider.map(str::to_owned),
            model: quoted.model.to_owned(),
            tiers: Vec::new(),
            unpriced: None,
            nearest: Vec::new(),
            listed_at: listed::offered_by(quoted.model, quoted.at_unix_us),
            incomplete_entries: Vec::new(),
        };
        match ordinary {
            Ok(ordinary) => {
                let others = other.iter().filter_map(|tier| self.tier(quoted, Some(tier)).ok());
                let others: Vec<_> = others.filter(|other| other.by_input != ordinary.by_input).collect();
                quote.tiers = std::iter::once(ordinary).chain(others).collect();
            }
            Err(why) => {
                quote.unpriced = Some(why);
                quote.nearest = self.models_like(quoted.provider.unwrap_or_default(), quoted.model);
                quote.incomplete_entries = self.incomplete_entries(&quoted.billed(None, &usage));
            }
        }
        quote
    }

    fn tier(&self, quoted: Quoted<'_>, service_tier: Option<&str>) -> Result<TierQuote, Unpriced> {
        let at = |input: u64| self.applied(&quoted.billed(service_tier, &usage(input)));
        let first = at(1)?;
        let mut by_input = vec![RateStep::new(0, &first.rates)];
        steps(
            (1, &first.rates),
            (ENDLESS, &at(ENDLESS)?.rates),
            &|input| Ok(at(input)?.rates),
            &mut by_input,
        )?;
        let Applied { source, version, .. } = first;
        let service_tier = service_tier.map(str::to_owned);
        Ok(TierQuote { service_tier, source, version: version.into_owned(), by_input })
    }
}

fn named_tiers(book: &PriceBook) -> impl Iterator<Item = String> {
    book.own_service_tiers().filter(|tier| !is_ordinary(tier)).map(str::to_owned)
}

/// Adds a step for each change of rates between two sizes of input.
fn steps(
    (low, low_rates): (u64, &Rates),
    (high, high_rates): (u64, &Rates),
    at: &impl Fn(u64) -> Result<Rates, Unpriced>,
    out: &mut Vec<RateStep>,
) -> Result<(), Unpriced> {
    if low_rates.nearly_equal(high_rates) {
        return Ok(());
    }
    if high - low == 1 {
        out.push(RateStep::new(low, high_rates));
        return Ok(());
    }
    let middle = low + (high - low) / 2;
    let middle_rates = at(middle)?;
    steps((low, low_rates), (middle, &middle_rates), at, out)?;
    steps((middle, &middle_rates), (high, high_rates), at, out)
}

fn usage(input: u64) -> TokenUsage {
    TokenUsage { uncached_input: Some(input), input_total: Some(input), ..TokenUsage::default() }
}

impl<'a> Quoted<'a> {
    fn billed<'b>(&self, service_tier: Option<&'b str>, usage: &'b TokenUsage) -> Billed<'b>
    where
        'a: 'b,
    {
        let undated = Billed::undated(self.provider.unwrap_or_default(), self.model, usage);
        Billed { service_tier, at_unix_us: Some(self.at_unix_us), ..undated }
    }
}

impl RateStep {
    fn new(input_tokens_above: u64, rates: &Rates) -> Self {
        // Rates are read out of prices: what is beyond the tenth of a millionth is rounding.
        let rate = |rate: f64| (rate * 1e7).round() / 1e7;
        Self {
            input_tokens_above,
            usd_per_million: LeafRates {
                uncached_input: rate(rates.uncached_input),
                cache_read: rate(rates.cache_read),
                cache_write_5m: rate(rates.cache_write_5m),
                cache_write_1h: rate(rates.cache_write_1h),
                output_visible: rate(rates.output_visible),
                reasoning: rate(rates.reasoning),
            },
            per_call_usd: rate(rates.per_call_usd),
            web_search_usd: rate(rates.web_search_thousand_usd / 1e3),
        }
    }
}
