//! Finding the listed price of a call: at its provider, or else by the model's name alone.

use super::entries::is_ordinary;
use super::leaves::input_total;
use super::rates::{self, Found, Query, Rates};
use super::{Billed, PRICE_VERSION, Unpriced};
use std::borrow::Cow;

/// Later than every dated price in the file.
const NEWEST_UNIX_US: i64 = 4_102_444_800_000_000;

/// The rates that hold for a call, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Applied {
    pub(super) rates: Rates,
    /// In words.
    pub(super) source: String,
    pub(super) version: Cow<'static, str>,
}

/// A listed price: how it was asked for, and whether at the provider itself.
struct Listed<'a> {
    found: Found,
    query: Query<'a>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Provider,
    /// The provider is not in the price file, or does not have the model there.
    ModelName,
}

/// The context window of a call's model, if the price file states it.
pub(super) fn context_window(billed: &Billed<'_>) -> Option<u64> {
    look_up(billed).ok()?.found.context_window
}

fn look_up<'a>(billed: &Billed<'a>) -> Result<Listed<'a>, Unpriced> {
    let own = price_file_provider(billed.provider);
    let mut models: Vec<&str> = billed.models().collect();
    if own == Some("aws") {
        // What is invoked has its price by region; the answer names the model without it.
        models.reverse();
    }
    let (first, rest) = models.split_first().ok_or(Unpriced::NoModel)?;
    let query = Query {
        provider_id: None,
        model: first,
        service_tier: billed.service_tier,
        at_unix_us: billed.at_unix_us.unwrap_or(NEWEST_UNIX_US),
        input_tokens: input_total(billed.usage),
    };
    let with_model = |model| Query { model, ..query };
    let all = || std::iter::once(first).chain(rest);
    let at_provider = own.and_then(|id| {
        all().find_map(|model| Query { provider_id: Some(id), ..with_model(model) }.look_up_with_query())
    });
    let ((found, query), place) = match at_provider {
        Some(found) => (found, Place::Provider),
        None if billed.provider == "ollama" => return Err(Unpriced::LocalModel),
        None => {
            let found = all().map(|model| by_name(&with_model(model))).reduce(Result::or);
            (found.unwrap_or(Err(Unpriced::NoModel))?, Place::ModelName)
        }
    };
    Ok(Listed { found, query, place })
}

/// The listed rates for a call.
pub(super) fn find(billed: &Billed<'_>) -> Result<Applied, Unpriced> {
    let Listed { found, query, place } = look_up(billed)?;
    let mut notes = Vec::new();
    if billed.at_unix_us.is_none() {
        notes.push("undated: newest prices".to_owned());
    }
    if place == Place::ModelName {
        notes.push("by model name".to_owned());
    }
    notes.extend(unlisted_tier(&query, &found));
    let mut rates = found.rates;
    if let Some(rate) = found.one_hour_write_by_rule() {
        rates.cache_write_1h = rate;
        if billed.usage.cache_write_1h.is_some_and(|tokens| tokens > 0) {
            notes.push("1 h cache writes at 2 x input".to_owned());
        }
    }
    let notes: String = notes.iter().map(|note| format!(", {note}")).collect();
    let source = format!("genai-prices ({}/{}{notes})", found.provider_id, found.model_id);
    Ok(Applied { rates, source, version: Cow::Borrowed(PRICE_VERSION) })
}

impl<'a> Query<'a> {
    fn look_up_with_query(self) -> Option<(Found, Self)> {
        self.look_up().map(|found| (found, self))
    }
}

/// Providers whose models are sold at the same list price everywhere, so that the name alone decides.
const PROPRIETARY: &[&str] = &["openai", "anthropic", "google", "x-ai"];

/// The exception: weights that they published, and that anybody serves at any price.
const OPEN_WEIGHTS: &str = "gpt-oss";

fn sold_at_list_price(found: &Found) -> bool {
    PROPRIETARY.contains(&found.provider_id.as_str()) && !found.model_id.contains(OPEN_WEIGHTS)
}

/// A model at a provider that the price file does not know, or does not list it under.
fn by_name<'a>(query: &Query<'a>) -> Result<(Found, Query<'a>), Unpriced> {
    if let Some(found) = query.look_up().filter(sold_at_list_price) {
        return Ok((found, *query));
    }
    let offers = rates::provider_ids().map(|id| Query { provider_id: Some(id), ..*query });
    let mut offers = offers.filter_map(Query::look_up_with_query);
    let (first, its_query) = offers.next().ok_or(Unpriced::UnknownModel)?;
    match offers.all(|(other, _)| other.rates == first.rates) {
        true => Ok((first, its_query)),
        false => Err(Unpriced::AmbiguousModel),
    }
}

/// The providers that the price file lists a model under.
pub(super) fn offered_by(model: &str, at_unix_us: i64) -> Vec<String> {
    let model = model.trim_start_matches("models/");
    let query = |id| Query { provider_id: Some(id), model, service_tier: None, at_unix_us, input_tokens: 1 };
    rates::provider_ids().filter(|id| query(id).look_up().is_some()).map(str::to_owned).collect()
}

/// The price file's id for one of looptape's provider names.
fn price_file_provider(name: &str) -> Option<&'static str> {
    let id = match name {
        "gemini" | "vertex" => "google",
        "bedrock" => "aws",
        "xai" => "x-ai",
        "moonshot" => "moonshotai",
        "together-ai" => "together",
        other => other,
    };
    rates::provider_id(id)
}

/// Says so where the answer names a service tier that the price file has no price for. `default` and its
/// other names are the ordinary price.
fn unlisted_tier(query: &Query<'_>, found: &Found) -> Option<String> {
    let tier = query.service_tier?;
    let same = || Query { service_tier: None, ..*query }.look_up().is_some_and(|f| f.rates == found.rates);
    (!is_ordinary(tier) && same()).then(|| format!("tier {tier:?} not listed: standard prices"))
}

/// The models of a provider whose names are most like `model`, at most three.
pub(super) fn models_like(provider: &str, model: &str) -> Vec<String> {
    let own = price_file_provider(provider);
    let near = |other: &String| {
        let common = other.bytes().zip(model.bytes()).take_while(|(a, b)| a == b).count();
        (std::cmp::Reverse(common), other.len().abs_diff(model.len()))
    };
    let mut models: Vec<String> = rates::model_ids(own).filter(|other| near(other).0.0 >= 3).collect();
    models.sort_by_cached_key(|other| (near(other), other.clone()));
    models.dedup();
    models.truncate(3);
    models
}
