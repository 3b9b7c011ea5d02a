//! What one million tokens of each leaf cost for a certain call, read out of the price crate.
//!
//! The crate prices whole calls and does not show its rates, but within one call a rate is constant: tiers
//! depend on the call's input total only. So each rate is read by pricing a call of the same input total
//! that consists of that leaf alone. The price file (`genai-prices`, embedded at build time) is never fetched.

use genai_prices::{Calculator, PriceRequest, Usage, UsageKey};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Dollars per million tokens of each leaf, and per call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) uncached_input: f64,
    pub(super) cache_read: f64,
    pub(super) cache_write_5m: f64,
    pub(super) cache_write_1h: f64,
    pub(super) output_visible: f64,
    pub(super) reasoning: f64,
    /// Dollars per call, whatever it used.
    pub(super) per_call_usd: f64,
    /// Dollars per thousand web searches of the provider's own.
    pub(super) web_search_thousand_usd: f64,
}

/// Which price is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    /// The price file's provider id; `None` lets the file's own rule for model names choose one.
    pub(super) provider_id: Option<&'a str>,
    pub(super) model: &'a str,
    pub(super) service_tier: Option<&'a str>,
    pub(super) at_unix_us: i64,
    pub(super) input_tokens: u64,
}

/// The rates that apply, with the ids of the provider and model that they belong to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) rates: Rates,
    pub(super) provider_id: String,
    pub(super) model_id: String,
    /// As far as the price file states it.
    pub(super) context_window: Option<u64>,
}

/// Any whole number would do: rates for output do not depend on how much there is.
const OUTPUT_TOKENS: f64 = 1_000_000.0;

/// What the price file says of a model at a time, whatever a call uses.
#[derive(Clone, Debug)]
enum Known {
    NotListed,
    /// One price for all lengths of input.
    Flat(Found),
    /// The price depends on the length of the input.
    Tiered,
}

/// Provider, model, service tier, and the quarter of an hour: prices that change with the time of day
/// change at such times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    provider_id: Option<String>,
    model: String,
    service_tier: Option<String>,
    quarter: i64,
}

const QUARTER_OF_AN_HOUR_US: i64 = 900_000_000;
/// Beyond this many answers the memory is filled anew.
const MOST_KNOWN: usize = 512;
/// Longer than any input, so beyond every tier.
const ENDLESS_INPUT: u64 = 1 << 40;

/// What the price file was asked.
#[derive(Default)]
struct Answers {
    all: HashMap<Asked, Known>,
    /// The last ones: a call mostly asks what the one before it asked.
    latest: VecDeque<(Asked, Known)>,
}

/// So many are looked through before the others are looked up.
const LATEST: usize = 4;

thread_local! {
    /// Finding a model in the price file is slow, and a pure function of what is asked: it is asked once.
    static KNOWN: RefCell<Answers> = RefCell::default();
}

impl Query<'_> {
    /// `None` if the price file does not know the model at this provider.
    pub(super) fn look_up(&self) -> Option<Found> {
        match self.known() {
            Known::NotListed => None,
            Known::Flat(found) => Some(found),
            Known::Tiered => self.calculate(),
        }
    }

    fn known(&self) -> Known {
        KNOWN.with_borrow_mut(|known| {
            if let Some((_, answer)) = known.latest.iter().find(|(asked, _)| self.is(asked)) {
                return answer.clone();
            }
            let asked = self.asked();
            let answer = match known.all.get(&asked) {
                Some(answer) => answer.clone(),
                None => {
                    if known.all.len() == MOST_KNOWN {
                        known.all.clear();
                    }
                    let answer = self.ask();
                    known.all.insert(asked.clone(), answer.clone());
                    answer
                }
            };
            known.latest.truncate(LATEST - 1);
            known.latest.push_front((asked, answer.clone()));
            answer
        })
    }

    fn quarter(&self) -> i64 {
        self.at_unix_us.div_euclid(QUARTER_OF_AN_HOUR_US)
    }

    fn asked(&self) -> Asked {
        Asked {
            provider_id: self.provider_id.map(str::to_owned),
            model: self.model.to_owned(),
            service_tier: self.service_tier.map(str::to_owned),
            quarter: self.quarter(),
        }
    }

    fn is(&self, asked: &Asked) -> bool {
        asked.model == self.model
            && asked.provider_id.as_deref() == self.provider_id
            && asked.service_tier.as_deref() == self.service_tier
            && asked.quarter == self.quarter()
    }

    fn ask(&self) -> Known {
        let of_length = |input_tokens| Self { input_tokens, ..*self }.calculate();
        match (of_length(1), of_length(ENDLESS_INPUT)) {
            (None, _) => Known::NotListed,
            (Some(short), Some(endless)) if short.rates.nearly_equal(&endless.rates) => Known::Flat(short),
            (Some(_), _) => Known::Tiered,
        }
    }

    fn calculate(&self) -> Option<Found> {
        let input = self.input_tokens.max(1) as f64;
        let mtok = input / 1e6;
        let of_input = |keys: &[UsageKey]| {
            let all_input = std::iter::once(UsageKey::INPUT_TOKENS).chain(keys.iter().cloned());
            self.price(&all_input.map(|key| (key, input)).collect()).map(|p| p.input_price / mtok)
        };
        let of_output = |extra: Option<UsageKey>| {
            let output =
                std::iter::once(UsageKey::OUTPUT_TOKENS).chain(extra).map(|key| (key, OUTPUT_TOKENS));
            let usage = output.chain([(UsageKey::INPUT_TOKENS, input)]).collect();
            self.price(&usage).map(|p| p.output_price / (OUTPUT_TOKENS / 1e6))
        };
        let plain = self.price(&Usage::from([(UsageKey::INPUT_TOKENS, input)]))?;
        let searches = [(UsageKey::INPUT_TOKENS, input), (UsageKey::WEB_SEARCHES, 1000.0)];
        let rates = Rates {
            uncached_input: plain.input_price / mtok,
            cache_read: of_input(&[UsageKey::CACHE_READ_TOKENS])?,
            cache_write_5m: of_input(&[UsageKey::CACHE_WRITE_TOKENS, UsageKey::CACHE_WRITE_5M_TOKENS])?,
            cache_write_1h: of_input(&[UsageKey::CACHE_WRITE_TOKENS, UsageKey::CACHE_WRITE_1H_TOKENS])?,
            output_visible: of_output(None)?,
            reasoning: of_output(Some(UsageKey::OUTPUT_REASONING_TOKENS))?,
            per_call_usd: plain.total_price - plain.input_price - plain.output_price,
            web_search_thousand_usd: self.price(&Usage::from(searches))?.total_price - plain.total_price,
        };
        let (provider_id, model_id) = (plain.provider_id, plain.model_id);
        let context_window = context_window(&provider_id, &model_id);
        Some(Found { rates, provider_id, model_id, context_window })
    }

    fn price(&self, usage: &Usage) -> Option<genai_prices::PriceCalculation> {
        let mut request = PriceRequest::new(self.model, usage).with_timestamp(self.at());
        request.provider_id = self.provider_id;
        match self.service_tier {
            // Anthropic reports a batch as a tier, the price file as a way of processing.
            Some("batch") => request = request.with_price_context("processing", "batch"),
            Some(tier) => request = request.with_price_context("service_tier", tier),
            None => {}
        }
        Calculator::bundled().calculate(&request).ok()
    }

    fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(u64::try_from(self.at_unix_us).unwrap_or(0))
    }
}

impl Rates {
    pub(super) fn times(&self, factor: f64) -> Self {
        Self {
            uncached_input: self.uncached_input * factor,
            cache_read: self.cache_read * factor,
            cache_write_5m: self.cache_write_5m * factor,
            cache_write_1h: self.cache_write_1h * factor,
            output_visible: self.output_visible * factor,
            reasoning: self.reasoning * factor,
            per_call_usd: self.per_call_usd * factor,
            web_search_thousand_usd: self.web_search_thousand_usd * factor,
        }
    }

    /// Whether they differ in nothing but rounding.
    pub(super) fn nearly_equal(&self, other: &Self) -> bool {
        let all = |r: &Self| {
            [
                r.uncached_input,
                r.cache_read,
                r.cache_write_5m,
                r.cache_write_1h,
                r.output_visible,
                r.reasoning,
                r.per_call_usd,
                r.web_search_thousand_usd,
            ]
        };
        all(self)
            .into_iter()
            .zip(all(other))
            .all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0))
    }
}

impl Found {
    /// The Claude models of some resellers are listed without a price for one-hour cache writes, and the
    /// price file then falls back to the five-minute one. Anthropic's own rule is twice the base input
    /// price. Returns the rate to use, if it is not the listed one.
    pub(super) fn one_hour_write_by_rule(&self) -> Option<f64> {
        let claude = self.model_id.contains("claude");
        let unlisted = self.rates.cache_write_1h <= self.rates.cache_write_5m;
        (claude && unlisted).then_some(2.0 * self.rates.uncached_input)
    }
}

/// The ids of the models that the price file has, of one provider or of all.
pub(super) fn model_ids(provider_id: Option<&str>) -> impl Iterator<Item = String> {
    let wanted = move |id: &str| provider_id.is_none_or(|wanted| wanted == id);
    let providers = Calculator::bundled().providers().filter(move |provider| wanted(provider.id()));
    providers.flat_map(|provider| provider.models()).map(|model| model.id().to_owned())
}

/// The context window of a model that the price file has, if it states it.
fn context_window(provider_id: &str, model_id: &str) -> Option<u64> {
    let provider = Calculator::bundled().providers().find(|provider| provider.id() == provider_id)?;
    provider.models().find(|model| model.id() == model_id)?.context_window()
}

/// The price file's provider of this id.
pub(super) fn provider_id(id: &str) -> Option<&'static str> {
    static IDS: LazyLock<HashSet<&str>> = LazyLock::new(|| provider_ids().collect());
    IDS.get(id).copied()
}

/// Every provider id that the price file has, in its order.
pub(super) fn provider_ids() -> impl Iterator<Item = &'static str> {
    Calculator::bundled().providers().map(|provider| provider.id())
}
