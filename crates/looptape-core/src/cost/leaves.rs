//! From token leaves to dollars.

use super::rates::Rates;
use super::{Bound, Usd};
use crate::usage::TokenUsage;
use serde::Serialize;
use serde_json::Value;

/// Dollars by token leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeafCosts {
    pub uncached_input: Usd,
    pub cache_read: Usd,
    pub cache_write_5m: Usd,
    pub cache_write_1h: Usd,
    pub output_visible: Usd,
    pub reasoning: Usd,
    /// The provider's own web searches.
    pub web_search: Usd,
    /// Fees per call, and costs that a provider stated as a whole.
    pub other: Usd,
}

impl LeafCosts {
    /// What a usage costs at these rates. Without details, input counts as uncached and output as visible.
    pub(super) fn of(usage: &TokenUsage, rates: &Rates) -> Self {
        let tokens = |count: u64, rate: f64| Usd::from_f64(count as f64 * rate / 1e6).unwrap_or_default();
        let used = usage.leaf_tokens();
        if let Some((input, output)) = billed_units(usage.raw.as_ref()) {
            return Self {
                uncached_input: tokens(input, rates.uncached_input),
                output_visible: tokens(output, rates.output_visible),
                ..Self::default()
            };
        }
        let searches = web_searches(usage.raw.as_ref()) as f64;
        Self {
            uncached_input: tokens(used.uncached_input, rates.uncached_input),
            cache_read: tokens(used.cache_read, rates.cache_read),
            cache_write_5m: tokens(used.cache_write_5m, rates.cache_write_5m),
            cache_write_1h: tokens(used.cache_write_1h, rates.cache_write_1h),
            output_visible: tokens(used.output_visible, rates.output_visible),
            reasoning: tokens(used.reasoning, rates.reasoning),
            web_search: Usd::from_f64(searches * rates.web_search_thousand_usd / 1e3).unwrap_or_default(),
            other: Usd::from_f64(rates.per_call_usd.max(0.0)).unwrap_or_default(),
        }
    }

    /// The whole cost: the exact sum of the leaves.
    pub fn total(&self) -> Usd {
        self.leaves().into_iter().sum()
    }

    pub(crate) fn leaves(&self) -> [Usd; 8] {
        [
            self.uncached_input,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.output_visible,
            self.reasoning,
            self.web_search,
            self.other,
        ]
    }

    /// Adds leaf by leaf.
    pub fn add(&mut self, more: &Self) {
        self.uncached_input += more.uncached_input;
        self.cache_read += more.cache_read;
        self.cache_write_5m += more.cache_write_5m;
        self.cache_write_1h += more.cache_write_1h;
        self.output_visible += more.output_visible;
        self.reasoning += more.reasoning;
        self.web_search += more.web_search;
        self.other += more.other;
    }
}

/// Input and output tokens that are billed, where the provider counts them apart from those that the model
/// saw (Cohere).
fn billed_units(raw: Option<&Value>) -> Option<(u64, u64)> {
    let units = raw?.get("billed_units")?;
    let count = |key: &str| Some(units.get(key)?.as_f64()?.max(0.0) as u64);
    Some((count("input_tokens")?, count("output_tokens")?))
}

/// All input, cache reads and writes included: what price tiers go by.
pub(super) fn input_total(usage: &TokenUsage) -> u64 {
    let leaves = [usage.uncached_input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h];
    usage.input_total.unwrap_or_else(|| leaves.into_iter().flatten().sum())
}

/// Whether a usage says all that it should.
pub(super) fn bound(usage: &TokenUsage) -> Bound {
    if usage.input_total.is_some() && usage.output_total.is_some() { Bound::Exact } else { Bound::AtLeast }
}

/// Anthropic counts its own web searches beside the tokens.
fn web_searches(raw: Option<&Value>) -> u64 {
    // A JSON pointer would cost more than the two look-ups.
    raw.and_then(|raw| raw.get("server_tool_use")?.get("web_search_requests")?.as_u64()).unwrap_or(0)
}

/// Whether a provider's usage object says something on which a price depends and that is not in the leaves.
pub fn depends_on(raw: &Value) -> bool {
    billed_units(Some(raw)).is_some() || web_searches(Some(raw)) > 0 || has_other_modalities(Some(raw))
}

/// Whether the provider's usage object counts tokens that are not billed as text.
pub(super) fn has_other_modalities(raw: Option<&Value>) -> bool {
    let positive = |value: Option<&Value>| value.and_then(Value::as_u64).is_some_and(|count| count > 0);
    let listed = |value: &Value, modalities: &[&str]| {
        value.as_array().into_iter().flatten().any(|entry| {
            let modality = entry.get("modality").and_then(Value::as_str).unwrap_or_default();
            modalities.contains(&modality) && positive(entry.get("tokenCount"))
        })
    };
    // Looking at each member once is cheaper than asking for those that might be there.
    let counts_others = |(member, value): (&String, &Value)| match member.as_str() {
        // OpenAI, chat completions and responses.
        "prompt_tokens_details"
        | "completion_tokens_details"
        | "input_tokens_details"
        | "output_tokens_details" => positive(value.get("audio_tokens")),
        // Gemini: a list of `{modality, tokenCount}`. Images in a prompt cost what text costs.
        "promptTokensDetails" => listed(value, &["AUDIO"]),
        "candidatesTokensDetails" => listed(value, &["AUDIO", "IMAGE", "VIDEO"]),
        _ => false,
    };
    raw.and_then(Value::as_object).is_some_and(|usage| usage.iter().any(counts_others))
}
