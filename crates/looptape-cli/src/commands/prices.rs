//! `looptape prices`: what a model costs, and where that is known from; or which models have no price.

use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, style};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use looptape_core::cost::{PriceBook, Quote, Quoted};
use looptape_store::ModelInUse;
use serde::Serialize;

/// Show what is charged for a model and where that price comes from; without a model, those of the database
///
/// Prices are the list prices of the genai-prices crate, dated, with [[prices]] of looptape.toml in their place.
/// A model without a price is shown as one: what it costs is unknown, not 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape prices                                     the models that were called; those without a price first
  looptape prices gpt-5
  looptape prices claude-sonnet-4-5 --at 2025-10-01
  looptape prices llama-3.3-70b --provider groq --json

Exit code: 0; 1 if a model was named and has no price.")]
pub(crate) struct Args {
    /// The model's name, as requests name it
    model: Option<String>,
    /// Who sells it, as in base URLs: openai, anthropic, gemini, bedrock, groq, …
    #[arg(long, value_name = "NAME", requires = "model")]
    provider: Option<String>,
    /// Prices of this day or time (UTC) [default: now]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    at: Option<Timestamp>,
    /// Print one object
    #[arg(long)]
    json: bool,
}

/// A model that was called, and what the book says of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelPrice {
    #[serde(flatten)]
    pub(crate) used: ModelInUse,
    #[serde(flatten)]
    pub(crate) quote: Quote,
}

#[derive(Serialize)]
struct ModelPrices<'a> {
    price_book: &'a str,
    at: String,
    models: &'a [ModelPrice],
}

#[derive(Serialize)]
struct OneModel<'a> {
    price_book: &'a str,
    at: String,
    #[serde(flatten)]
    quote: &'a Quote,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let now = Timestamp::from_microsecond(now_unix_us())?;
    let at = args.at.unwrap_or(now);
    match &args.model {
        Some(model) => one(args, model, at),
        None => in_use(global, args, at),
    }
}

fn one(args: &Args, model: &str, at: Timestamp) -> anyhow::Result<Exit> {
    let book = Config::load()?.price_book()?;
    if model.is_empty() {
        return Err(UsageError("the model's name is empty".to_owned()).into());
    }
    let provider = args.provider.as_deref();
    let quote = book.quote(Quoted { provider, model, at_unix_us: at.as_microsecond() });
    if args.json {
        print_json(&OneModel { price_book: book.version(), at: at.to_string(), quote: &quote })?;
    } else {
        print(&render::prices::one(&quote, style()))?;
    }
    Ok(if quote.unpriced.is_some() { Exit::Failure } else { Exit::Success })
}

fn in_use(global: &Global, args: &Args, at: Timestamp) -> anyhow::Result<Exit> {
    let reader = global.reader()?;
    let mut models: Vec<ModelPrice> =
        reader.models_in_use()?.into_iter().map(|used| priced(reader.prices(), used, at)).collect();
    // Those without a price first, then those that used most.
    models.sort_by_key(|model| (model.quote.unpriced.is_none(), std::cmp::Reverse(model.used.tokens())));
    if args.json {
        print_json(&ModelPrices {
            price_book: reader.prices().version(),
            at: at.to_string(),
            models: &models,
        })?;
    } else if models.is_empty() {
        global.say("looptape: no model was called yet");
    } else {
        print(&render::prices::in_use(&models, reader.prices().version(), style()))?;
    }
    Ok(Exit::Success)
}

/// The name in the request comes first: it is the one that a user can look up.
fn priced(book: &PriceBook, used: ModelInUse, at: Timestamp) -> ModelPrice {
    let quote = |model: &str| {
        book.quote(Quoted { provider: Some(&used.provider), model, at_unix_us: at.as_microsecond() })
    };
    let first = quote(used.called.as_deref().or(used.answered.as_deref()).unwrap_or_default());
    let quote = match (first.unpriced, used.answered.as_deref()) {
        (Some(_), Some(answered)) => Some(quote(answered)).filter(|other| other.unpriced.is_none()),
        _ => None,
    }
    .unwrap_or(first);
    ModelPrice { used, quote }
}

fn parse_date(text: &str) -> Result<Timestamp, String> {
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    let at = text.parse().ok().or_else(|| midnight(text.parse().ok()?));
    at.ok_or_else(|| "write a date or a time, for example 2026-07-01 or 2026-07-01T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        let second = |text| parse_date(text).map(|at| at.as_second());
        assert_eq!(second("2026-07-01"), Ok(1_782_864_000));
        assert_eq!(second("2026-07-01T00:00:01Z"), Ok(1_782_864_001));
        assert!(second("tomorrow").is_err() && second("2026-13-01").is_err());
    }
}
