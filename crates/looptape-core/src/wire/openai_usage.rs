//! Token usage of the OpenAI family: one object for Chat Completions and one for Responses, with the
//! additions that compatible providers made.
//!
//! Cached tokens are inside the input count, reasoning is inside the output count, except where the
//! stated total shows that reasoning was counted beside the completion (xAI). Two spellings of the same
//! figure (DeepSeek states cache hits twice) are never added.

use super::lenient::{number, sum};
use crate::usage::TokenUsage;
use serde_json::Value;

/// Reads the `usage` object of either API.
pub(super) fn read(usage: &Value) -> TokenUsage {
    let figures = Figures::of(usage);
    let input_total = figures.prompt.or(figures.input);
    let output = figures.completion.or(figures.output);
    let cache_read = figures
        .prompt_details
        .cached
        .or(figures.input_details.cached)
        .or(figures.cache_hits)
        .or(figures.cached);
    let cache_write = figures.prompt_details.cache_write.or(figures.input_details.cache_write);
    let reasoning = figures.completion_details.reasoning.or(figures.output_details.reasoning);
    let beside = reasoning.filter(|&r| r > 0 && sum(&[input_total, output, Some(r)]) == figures.total);
    let output_total = output.map(|output| output.saturating_add(beside.unwrap_or(0)));
    TokenUsage {
        uncached_input: input_total
            .map(|total| total.saturating_sub(sum(&[cache_read, cache_write]).unwrap_or(0))),
        cache_read,
        cache_write_5m: cache_write,
        cache_write_1h: None,
        output_visible: output_total.map(|total| total.saturating_sub(reasoning.unwrap_or(0))),
        reasoning,
        input_total,
        output_total,
        raw: Some(usage.clone()),
    }
}

/// What a `usage` object states, by the names of all who write one. One walk over its few members costs less than
/// asking for every name.
#[derive(Debug, Default)]
struct Figures {
    prompt: Option<u64>,
    input: Option<u64>,
    completion: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cache_hits: Option<u64>,
    cached: Option<u64>,
    prompt_details: Details,
    input_details: Details,
    completion_details: Details,
    output_details: Details,
}

/// What one of its inner objects breaks down.
#[derive(Debug, Default)]
struct Details {
    cached: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
}

impl Figures {
    fn of(usage: &Value) -> Self {
        let mut figures = Self::default();
        for (name, value) in usage.as_object().into_iter().flatten() {
            match name.as_str() {
                "prompt_tokens" => figures.prompt = number(value),
                "input_tokens" => figures.input = number(value),
                "completion_tokens" => figures.completion = number(value),
                "output_tokens" => figures.output = number(value),
                "total_tokens" => figures.total = number(value),
                "prompt_cache_hit_tokens" => figures.cache_hits = number(value),
                "cached_tokens" => figures.cached = number(value),
                "prompt_tokens_details" => figures.prompt_details = Details::of(value),
                "input_tokens_details" => figures.input_details = Details::of(value),
                "completion_tokens_details" => figures.completion_details = Details::of(value),
                "output_tokens_details" => figures.output_details = Details::of(value),
                _ => {}
            }
        }
        figures
    }
}

impl Details {
    fn of(details: &Value) -> Self {
        let mut figures = Self::default();
        for (name, value) in details.as_object().into_iter().flatten() {
            match name.as_str() {
                "cached_tokens" => figures.cached = number(value),
                "cache_write_tokens" => figures.cache_write = number(value),
                "reasoning_tokens" => figures.reasoning = number(value),
                _ => {}
            }
        }
        figures
    }
}

/// What a dollar is in xAI's smallest unit.
const TICKS_PER_USD: f64 = 1e10;

/// The price in USD that the provider states in its usage (OpenRouter; Perplexity breaks it down; xAI
/// counts in ticks).
pub(super) fn stated_cost_usd(usage: &Value) -> Option<f64> {
    let in_usd = |cost: &Value| cost.as_f64().or_else(|| cost.get("total_cost")?.as_f64());
    let in_ticks = || Some(usage.get("cost_in_usd_ticks")?.as_f64()? / TICKS_PER_USD);
    usage.get("cost").and_then(in_usd).or_else(in_ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// input, read, write, uncached; output, reasoning, visible.
    type Figures = [Option<u64>; 7];

    fn figures(usage: Value) -> Figures {
        let u = read(&usage);
        assert_eq!(u.raw, Some(usage));
        assert_eq!(u.cache_write_1h, None);
        [
            u.input_total,
            u.cache_read,
            u.cache_write_5m,
            u.uncached_input,
            u.output_total,
            u.reasoning,
            u.output_visible,
        ]
    }

    #[test]
    fn leaves_are_disjoint() {
        let chat = json!({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens_details": {"reasoning_tokens": 20}});
        let some = [100, 60, 40, 50, 20, 30].map(Some);
        let expected = [some[0], some[1], None, some[2], some[3], some[4], some[5]];
        assert_eq!(figures(chat), expected);
        let responses = json!({"input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
            "input_tokens_details": {"cached_tokens": 60}, "output_tokens_details": {"reasoning_tokens": 20}});
        assert_eq!(figures(responses), expected);
    }

    #[test]
    fn reasoning_beside_the_completion_is_added() {
        let xai = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100}});
        assert_eq!(figures(xai)[4..], [Some(105), Some(100), Some(5)]);
    }

    #[test]
    fn two_spellings_are_not_added() {
        let deepseek = json!({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36, "prompt_tokens_details": {"cached_tokens": 64}});
        assert_eq!(figures(deepseek)[..4], [Some(100), Some(64), None, Some(36)]);
        let only_hits = json!({"prompt_tokens": 100, "prompt_cache_hit_tokens": 64});
        assert_eq!(figures(only_hits)[..5], [Some(100), Some(64), None, Some(36), None]);
    }

    #[test]
    fn what_is_not_said_stays_unknown() {
        assert_eq!(figures(json!({})), [None; 7]);
        assert_eq!(figures(json!({"prompt_tokens": "7", "completion_tokens_details": null})), [None; 7]);
        let writes = json!({"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": 4}});
        assert_eq!(figures(writes)[..4], [Some(9), None, Some(4), Some(5)]);
    }

    #[test]
    fn stated_costs() {
        assert_eq!(stated_cost_usd(&json!({"cost": 0.25})), Some(0.25));
        assert_eq!(stated_cost_usd(&json!({"cost": {"total_cost": 0.5}})), Some(0.5));
        assert_eq!(stated_cost_usd(&json!({"cost_in_usd_ticks": 37_756_000})), Some(0.0037756));
        assert_eq!(stated_cost_usd(&json!({"cost": "1"})), None);
    }
}
