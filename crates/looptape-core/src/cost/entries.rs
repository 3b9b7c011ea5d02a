//! `[[prices]]` of `looptape.toml`: prices of one's own, in place of the listed ones.
//!
//! An entry says for which calls it holds (provider and model pattern, dates, service tier) and what they cost:
//! either its own rates, or a factor on the listed ones. A leaf that an entry does not state keeps the listed
//! rate; reasoning follows a stated output. Without a listed price `input` and `output` must be stated: cache
//! reads and writes then cost what input costs.
//!
//! What this does not do: decide between entries (the book does), or price a usage.

use super::Billed;
use super::leaves::input_total;
use super::rates::Rates;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use regex::Regex;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// One `[[prices]]` as it is written. Rates are US dollars per million tokens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PriceEntry {
    /// A model's name; `*` stands for any characters.
    pub model: String,
    /// A provider as looptape names it, with `*` likewise; without it any provider.
    pub provider: Option<String>,
    /// From this date or time on (UTC).
    #[serde(default, deserialize_with = "date")]
    pub from: Option<String>,
    /// Until just before this date or time.
    #[serde(default, deserialize_with = "date")]
    pub until: Option<String>,
    /// Only for calls of this tier (`flex`, `priority`, `batch`, …); `standard` is the ordinary one.
    pub service_tier: Option<String>,
    /// The listed prices times this, instead of rates.
    pub factor: Option<f64>,
    pub input: Option<f64>,
    pub cache_read: Option<f64>,
    pub cache_write_5m: Option<f64>,
    pub cache_write_1h: Option<f64>,
    pub output: Option<f64>,
    pub reasoning: Option<f64>,
    /// US dollars for each call, whatever it uses.
    pub per_call_usd: Option<f64>,
    /// US dollars for each web search that the provider makes.
    pub web_search_usd: Option<f64>,
    /// Other rates for calls with more input.
    #[serde(default)]
    pub tiers: Vec<TierEntry>,
}

/// Rates for a call whose whole input, cached or not, is above a number of tokens: they hold for all of the call.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TierEntry {
    pub above: u64,
    pub input: Option<f64>,
    pub cache_read: Option<f64>,
    pub cache_write_5m: Option<f64>,
    pub cache_write_1h: Option<f64>,
    pub output: Option<f64>,
    pub reasoning: Option<f64>,
}

/// An entry that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[[prices]] {number} ({name}): {what}")]
pub struct PriceEntryError {
    /// 1 for the first entry.
    number: usize,
    name: String,
    what: String,
}

/// A checked entry.
#[derive(Debug)]
pub(super) struct OwnPrice {
    /// `2 (openai/gpt-5*)`: its place and what it is for.
    pub(super) label: String,
    model: Regex,
    provider: Option<Regex>,
    from_unix_us: Option<i64>,
    until_unix_us: Option<i64>,
    pub(super) service_tier: Option<String>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Factor(f64),
    Rates {
        base: Stated,
        /// By rising threshold.
        tiers: Vec<(u64, Stated)>,
        per_call_usd: Option<f64>,
        web_search_usd: Option<f64>,
    },
}

/// Rates by leaf, as far as they are stated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stated {
    input: Option<f64>,
    cache_read: Option<f64>,
    cache_write_5m: Option<f64>,
    cache_write_1h: Option<f64>,
    output: Option<f64>,
    reasoning: Option<f64>,
}

/// Service tiers that mean the ordinary price.
pub(super) fn is_ordinary(tier: &str) -> bool {
    matches!(tier, "default" | "standard" | "on_demand" | "auto")
}

impl OwnPrice {
    pub(super) fn check(number: usize, entry: &PriceEntry) -> Result<Self, PriceEntryError> {
        let name = format!("{}/{}", entry.provider.as_deref().unwrap_or("*"), entry.model);
        let label = format!("{number} ({name})");
        Self::read(label, entry).map_err(|what| PriceEntryError { number, name, what })
    }

    fn read(label: String, entry: &PriceEntry) -> Result<Self, String> {
        if entry.model.is_empty() {
            return Err("`model` is empty: name a model, or \"*\" for all".to_owned());
        }
        let (from_unix_us, until_unix_us) = (unix_us("from", &entry.from)?, unix_us("until", &entry.until)?);
        if from_unix_us.zip(until_unix_us).is_some_and(|(from, until)| from >= until) {
            return Err("`from` is not before `until`, so it never holds".to_owned());
        }
        Ok(Self {
            label,
            model: pattern(&entry.model),
            provider: entry.provider.as_deref().map(pattern),
            from_unix_us,
            until_unix_us,
            service_tier: entry.service_tier.as_ref().map(|tier| tier.to_ascii_lowercase()),
            kind: Kind::read(entry)?,
        })
    }

    /// Whether it holds for a call.
    pub(super) fn fits(&self, billed: &Billed<'_>) -> bool {
        self.provider.as_ref().is_none_or(|provider| provider.is_match(billed.provider))
            && billed.models().any(|model| self.model.is_match(model))
            && self.fits_tier(billed.service_tier)
            && self.fits_time(billed.at_unix_us)
    }

    fn fits_tier(&self, tier: Option<&str>) -> bool {
        match (self.service_tier.as_deref(), tier) {
            (None, _) => true,
            (Some(own), None) => is_ordinary(own),
            (Some(own), Some(tier)) => {
                own.eq_ignore_ascii_case(tier) || is_ordinary(own) && is_ordinary(tier)
            }
        }
    }

    /// What is undated is priced as if it came last.
    fn fits_time(&self, at_unix_us: Option<i64>) -> bool {
        match at_unix_us {
            None => self.until_unix_us.is_none(),
            Some(at) => {
                self.from_unix_us.is_none_or(|from| at >= from)
                    && self.until_unix_us.is_none_or(|until| at < until)
            }
        }
    }

    /// Its rates for a call, completed by the listed ones; `None` where that does not suffice.
    pub(super) fn rates(&self, listed: Option<&Rates>, billed: &Billed<'_>) -> Option<Rates> {
        match &self.kind {
            Kind::Factor(factor) => Some(listed?.times(*factor)),
            Kind::Rates { base, tiers, per_call_usd, web_search_usd } => {
                let input = input_total(billed.usage);
                let tier = tiers.iter().rev().find(|(above, _)| input > *above);
                let stated = tier.map_or(*base, |(_, tier)| tier.or(base));
                Some(Rates {
                    per_call_usd: per_call_usd.or(listed.map(|l| l.per_call_usd)).unwrap_or(0.0),
                    web_search_thousand_usd: web_search_usd
                        .map(|each| each * 1e3)
                        .or(listed.map(|l| l.web_search_thousand_usd))
                        .unwrap_or(0.0),
                    ..stated.complete(listed)?
                })
            }
        }
    }

    /// Whether listed rates are part of its own.
    pub(super) fn leans_on_list(&self) -> bool {
        match &self.kind {
            Kind::Factor(_) => true,
            Kind::Rates { base, .. } => {
                let Stated { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning: _ } = base;
                [input, cache_read, cache_write_5m, cache_write_1h, output].into_iter().any(Option::is_none)
            }
        }
    }

    /// Whether it has all that a model without a listed price needs.
    pub(super) fn stands_alone(&self) -> bool {
        matches!(&self.kind, Kind::Rates { base, .. } if base.input.is_some() && base.output.is_some())
    }
}

impl Kind {
    fn read(entry: &PriceEntry) -> Result<Self, String> {
        let base = Stated::of_entry(entry);
        let fees = [("per_call_usd", entry.per_call_usd), ("web_search_usd", entry.web_search_usd)];
        for (name, rate) in base.named().into_iter().chain(fees).chain([("factor", entry.factor)]) {
            check_rate(name, rate)?;
        }
        let states_rates = base.named().into_iter().chain(fees).any(|(_, rate)| rate.is_some());
        match entry.factor {
            Some(_) if states_rates || !entry.tiers.is_empty() => {
                Err("`factor` multiplies the listed prices, so it cannot stand beside rates of its own"
                    .to_owned())
            }
            Some(factor) => Ok(Self::Factor(factor)),
            None if !states_rates && entry.tiers.is_empty() => Err(
                "it states no price: add `input` and `output` in US dollars per million tokens, or `factor`"
                    .to_owned(),
            ),
            None => Ok(Self::Rates {
                base,
                tiers: read_tiers(&entry.tiers)?,
                per_call_usd: entry.per_call_usd,
                web_search_usd: entry.web_search_usd,
            }),
        }
    }
}

fn read_tiers(entries: &[TierEntry]) -> Result<Vec<(u64, Stated)>, String> {
    let mut tiers: Vec<(u64, Stated)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let stated = Stated::of_tier(entry);
        stated.named().into_iter().try_for_each(|(name, rate)| check_rate(name, rate))?;
        if stated.named().iter().all(|(_, rate)| rate.is_none()) {
            return Err(format!("the tier above {} tokens states no price", entry.above));
        }
        if tiers.last().is_some_and(|(above, _)| *above >= entry.above) {
            return Err("`tiers` do not rise: order them by `above`".to_owned());
        }
        tiers.push((entry.above, stated));
    }
    Ok(tiers)
}

fn check_rate(name: &str, rate: Option<f64>) -> Result<(), String> {
    match rate {
        Some(rate) if !(0.0..1e6).contains(&rate) => {
            Err(format!("`{name}` is {rate}: a price is a number from 0 to a million"))
        }
        _ => Ok(()),
    }
}

impl Stated {
    fn of_entry(entry: &PriceEntry) -> Self {
        let &PriceEntry { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, .. } = entry;
        Self { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning }
    }

    fn of_tier(entry: &TierEntry) -> Self {
        let &TierEntry { above: _, input, cache_read, cache_write_5m, cache_write_1h, output, reasoning } =
            entry;
        Self { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning }
    }

    fn named(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("input", self.input),
            ("cache_read", self.cache_read),
            ("cache_write_5m", self.cache_write_5m),
            ("cache_write_1h", self.cache_write_1h),
            ("output", self.output),
            ("reasoning", self.reasoning),
        ]
    }

    /// What is not stated here, as it is there.
    fn or(&self, other: &Self) -> Self {
        Self {
            input: self.input.or(other.input),
            cache_read: self.cache_read.or(other.cache_read),
            cache_write_5m: self.cache_write_5m.or(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.or(other.cache_write_1h),
            output: self.output.or(other.output),
            // Reasoning is output: a tier's price for output is its price for reasoning.
            reasoning: self.reasoning.or(self.output).or(other.reasoning),
        }
    }

    /// All rates; those that are not stated from the list, else from what they are a part of.
    fn complete(&self, listed: Option<&Rates>) -> Option<Rates> {
        let rate = |stated: Option<f64>, of: fn(&Rates) -> f64| stated.or(listed.map(of));
        let uncached_input = rate(self.input, |l| l.uncached_input)?;
        let output_visible = rate(self.output, |l| l.output_visible)?;
        Some(Rates {
            uncached_input,
            cache_read: rate(self.cache_read, |l| l.cache_read).unwrap_or(uncached_input),
            cache_write_5m: rate(self.cache_write_5m, |l| l.cache_write_5m).unwrap_or(uncached_input),
            cache_write_1h: rate(self.cache_write_1h, |l| l.cache_write_1h).unwrap_or(uncached_input),
            output_visible,
            reasoning: rate(self.reasoning.or(self.output), |l| l.reasoning).unwrap_or(output_visible),
            per_call_usd: 0.0,
            web_search_thousand_usd: 0.0,
        })
    }
}

/// `*` stands for any characters; letters of either case.
fn pattern(text: &str) -> Regex {
    let parts: Vec<String> = text.split('*').map(regex::escape).collect();
    Regex::new(&format!("(?is)^{}$", parts.join(".*"))).expect("escaped text between wildcards is a pattern")
}

/// A date (its midnight, UTC) or a time, as µs since the Unix epoch.
fn unix_us(name: &str, text: &Option<String>) -> Result<Option<i64>, String> {
    let Some(text) = text else { return Ok(None) };
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).ok().map(|at: Zoned| at.timestamp());
    let at = text.parse::<Timestamp>().ok().or_else(|| midnight(text.parse().ok()?));
    let at = at.ok_or_else(|| format!("`{name}` is \"{text}\": write a date, for example 2026-07-01"))?;
    Ok(Some(at.as_microsecond()))
}

/// A date as text, or as a date of TOML's own, which deserializes as a map with one text in it.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct DateText;

    impl<'de> Visitor<'de> for DateText {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a date, for example 2026-07-01")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            Ok(map.next_entry::<String, String>()?.map(|(_, date)| date))
        }
    }

    deserializer.deserialize_any(DateText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: serde_json::Value) -> String {
        let entry: PriceEntry = serde_json::from_value(json).unwrap();
        OwnPrice::check(3, &entry).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_named() {
        use serde_json::json;
        let said = [
            error(json!({"model": "", "input": 1.0})),
            error(json!({"model": "m", "provider": "p"})),
            error(json!({"model": "m", "input": -1.0})),
            error(json!({"model": "m", "factor": 0.5, "input": 1.0})),
            error(json!({"model": "m", "input": 1.0, "from": "yesterday"})),
            error(json!({"model": "m", "input": 1.0, "from": "2026-02-01", "until": "2026-02-01"})),
            error(
                json!({"model": "m", "input": 1.0, "tiers": [{"above": 9, "input": 1.0}, {"above": 9, "input": 2.0}]}),
            ),
            error(json!({"model": "m", "input": 1.0, "tiers": [{"above": 9}]})),
        ];
        insta::assert_snapshot!(said.join("\n"), @r#"
        [[prices]] 3 (*/): `model` is empty: name a model, or "*" for all
        [[prices]] 3 (p/m): it states no price: add `input` and `output` in US dollars per million tokens, or `factor`
        [[prices]] 3 (*/m): `input` is -1: a price is a number from 0 to a million
        [[prices]] 3 (*/m): `factor` multiplies the listed prices, so it cannot stand beside rates of its own
        [[prices]] 3 (*/m): `from` is "yesterday": write a date, for example 2026-07-01
        [[prices]] 3 (*/m): `from` is not before `until`, so it never holds
        [[prices]] 3 (*/m): `tiers` do not rise: order them by `above`
        [[prices]] 3 (*/m): the tier above 9 tokens states no price
        "#);
    }

    #[test]
    fn patterns_hold_for_whole_names() {
        let fits = |text: &str, name: &str| pattern(text).is_match(name);
        assert!(fits("gpt-5*", "GPT-5-mini") && fits("*/llama*", "meta/llama-3.3") && fits("*", ""));
        assert!(!fits("gpt-5", "gpt-5-mini") && !fits("gpt.5", "gpt-5"), "a dot is a dot");
    }
}
