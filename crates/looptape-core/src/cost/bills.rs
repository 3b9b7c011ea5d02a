//! Bills written out by hand: a provider's own answer, and what its price list makes of it.
//!
//! Each amount is tokens times the published price per million, in the order of the leaves. Prices are those of
//! the providers' pages as the price file has them for the day of the call.

use super::{Cost, PriceBook};
use crate::derive;
use crate::exchange::{Answer, Ending, Outcome};
use crate::headers::RedactedHeaders;
use crate::provider::Provider;
use bytes::Bytes;
use serde_json::{Value, json};

/// 2026-11-02, 00:00 UTC: DeepSeek's night.
const NIGHT: i64 = 1_793_577_600_000_000;
const NOON: i64 = NIGHT + 12 * 3_600_000_000;

struct Bill {
    provider: &'static str,
    path: &'static str,
    model: &'static str,
    at_unix_us: i64,
    answer: Value,
    /// Tokens, and US dollars per million of them.
    lines: &'static [(u64, f64)],
    /// US dollars that go by calls or searches.
    fees: f64,
}

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

fn bill(
    (provider, path, model): (&'static str, &'static str, &'static str),
    answer: Value,
    lines: &'static [(u64, f64)],
) -> Bill {
    Bill { provider, path, model, at_unix_us: NOON, answer, lines, fees: 0.0 }
}

fn chat(model: &str, usage: Value) -> Value {
    json!({"object": "chat.completion", "model": model, "usage": usage,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]})
}

fn responses(model: &str, tier: &str, usage: Value) -> Value {
    json!({"object": "response", "status": "completed", "model": model, "service_tier": tier, "output": [], "usage": usage})
}

fn messages(model: &str, usage: Value) -> Value {
    json!({"type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "hi"}], "usage": usage})
}

fn gemini(model: &str, usage: Value) -> Value {
    json!({"modelVersion": model, "usageMetadata": usage,
        "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}]})
}

fn converse(usage: Value) -> Value {
    json!({"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn",
        "usage": usage})
}

fn with_tier(mut answer: Value, tier: &str) -> Value {
    answer["service_tier"] = tier.into();
    answer
}

fn openai() -> Vec<Bill> {
    vec![
        // 1,000 in at 0.15, 100 out at 0.60
        bill(
            ("openai", CHAT, "gpt-4o-mini"),
            chat("gpt-4o-mini-2024-07-18", json!({"prompt_tokens": 1000, "completion_tokens": 100})),
            &[(1000, 0.15), (100, 0.60)],
        ),
        // 2,006 in, of them 1,920 from the cache: 86 at 2.50, 1,920 at 1.25; 300 out at 10
        bill(
            ("openai", CHAT, "gpt-4o"),
            chat(
                "gpt-4o-2024-08-06",
                json!({"prompt_tokens": 2006, "completion_tokens": 300, "prompt_tokens_details": {"cached_tokens": 1920}}),
            ),
            &[(86, 2.50), (1920, 1.25), (300, 10.0)],
        ),
        // Reasoning is in the output count: 1,186 out at 4.40, not 1,186 + 1,024
        bill(
            ("openai", CHAT, "o4-mini"),
            chat(
                "o4-mini-2025-04-16",
                json!({"prompt_tokens": 75, "completion_tokens": 1186, "completion_tokens_details": {"reasoning_tokens": 1024}}),
            ),
            &[(75, 1.10), (162, 4.40), (1024, 4.40)],
        ),
        // Responses: 10,000 in, of them 8,960 cached; 700 out, of them 512 reasoning
        bill(
            ("openai", "/v1/responses", "gpt-5"),
            responses(
                "gpt-5-2025-08-07",
                "default",
                json!({"input_tokens": 10_000, "output_tokens": 700, "input_tokens_details": {"cached_tokens": 8960},
                    "output_tokens_details": {"reasoning_tokens": 512}}),
            ),
            &[(1040, 1.25), (8960, 0.125), (188, 10.0), (512, 10.0)],
        ),
        // Flex: half of it
        bill(
            ("openai", "/v1/responses", "gpt-5"),
            responses(
                "gpt-5-2025-08-07",
                "flex",
                json!({"input_tokens": 10_000, "output_tokens": 700, "input_tokens_details": {"cached_tokens": 8960}}),
            ),
            &[(1040, 0.625), (8960, 0.0625), (700, 5.0)],
        ),
        // Priority costs 1.8 times as much
        bill(
            ("openai", CHAT, "gpt-5-mini"),
            with_tier(
                chat("gpt-5-mini-2025-08-07", json!({"prompt_tokens": 400, "completion_tokens": 90})),
                "priority",
            ),
            &[(400, 0.45), (90, 3.60)],
        ),
        // 272,000 tokens of input are the last at the lower price …
        bill(
            ("openai", CHAT, "gpt-5.4"),
            chat(
                "gpt-5.4-2026-03-05",
                json!({"prompt_tokens": 272_000, "completion_tokens": 1000, "prompt_tokens_details": {"cached_tokens": 200_000}}),
            ),
            &[(72_000, 2.50), (200_000, 0.25), (1000, 15.0)],
        ),
        // … and one more reprices the whole call, cached tokens and output too
        bill(
            ("openai", CHAT, "gpt-5.4"),
            chat(
                "gpt-5.4-2026-03-05",
                json!({"prompt_tokens": 272_001, "completion_tokens": 1000, "prompt_tokens_details": {"cached_tokens": 200_000}}),
            ),
            &[(72_001, 5.0), (200_000, 0.50), (1000, 22.50)],
        ),
    ]
}

fn anthropic() -> Vec<Bill> {
    let sonnet = ("anthropic", MESSAGES, "claude-sonnet-4-5");
    vec![
        // The cache is beside input_tokens: 21 at 3, 188,086 read at 0.30, 2,951 written for 5 minutes at 3.75
        bill(
            sonnet,
            messages(
                "claude-sonnet-4-5-20250929",
                json!({"input_tokens": 21, "cache_read_input_tokens": 188_086, "cache_creation_input_tokens": 2951,
                    "output_tokens": 393}),
            ),
            &[(21, 3.0), (188_086, 0.30), (2951, 3.75), (393, 15.0)],
        ),
        // Writes of both kinds: 500 for 5 minutes at 3.75, 1,500 for an hour at 6
        bill(
            sonnet,
            messages(
                "claude-sonnet-4-5-20250929",
                json!({"input_tokens": 10, "cache_creation_input_tokens": 2000, "output_tokens": 5,
                    "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1500}}),
            ),
            &[(10, 3.0), (500, 3.75), (1500, 6.0), (5, 15.0)],
        ),
        // More than 200,000 in all, though only one of them is uncached
        bill(
            sonnet,
            messages(
                "claude-sonnet-4-5-20250929",
                json!({"input_tokens": 1, "cache_read_input_tokens": 200_000, "output_tokens": 100}),
            ),
            &[(1, 6.0), (200_000, 0.60), (100, 22.50)],
        ),
        // A batch, at half the price, its cache too
        bill(
            ("anthropic", MESSAGES, "claude-haiku-4-5"),
            messages(
                "claude-haiku-4-5-20251001",
                json!({"input_tokens": 1000, "cache_read_input_tokens": 4000, "output_tokens": 200, "service_tier": "batch",
                    "cache_creation": {"ephemeral_1h_input_tokens": 300}, "cache_creation_input_tokens": 300}),
            ),
            &[(1000, 0.50), (4000, 0.05), (300, 1.0), (200, 2.50)],
        ),
        // Three searches at 10 a thousand
        Bill {
            fees: 0.03,
            ..bill(
                ("anthropic", MESSAGES, "claude-opus-4-5"),
                messages(
                    "claude-opus-4-5-20251101",
                    json!({"input_tokens": 105, "output_tokens": 681, "server_tool_use": {"web_search_requests": 3}}),
                ),
                &[(105, 5.0), (681, 25.0)],
            )
        },
    ]
}

fn google_and_aws() -> Vec<Bill> {
    const FLASH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
    const PRO: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
    vec![
        // Thoughts are beside the candidates: 20 + 80 out at 2.50; 600 of 1,000 in from the cache at 0.03
        bill(
            ("gemini", FLASH, "gemini-2.5-flash"),
            gemini(
                "gemini-2.5-flash",
                json!({"promptTokenCount": 1000, "cachedContentTokenCount": 600, "candidatesTokenCount": 20,
                    "thoughtsTokenCount": 80, "totalTokenCount": 1100}),
            ),
            &[(400, 0.30), (600, 0.03), (20, 2.50), (80, 2.50)],
        ),
        // 200,000 is still the lower tier …
        bill(
            ("gemini", PRO, "gemini-2.5-pro"),
            gemini(
                "gemini-2.5-pro",
                json!({"promptTokenCount": 200_000, "candidatesTokenCount": 10, "totalTokenCount": 200_010}),
            ),
            &[(200_000, 1.25), (10, 10.0)],
        ),
        // … and what tools put into the prompt counts towards the higher one
        bill(
            ("gemini", PRO, "gemini-2.5-pro"),
            gemini(
                "gemini-2.5-pro",
                json!({"promptTokenCount": 199_000, "toolUsePromptTokenCount": 1001, "candidatesTokenCount": 10,
                    "totalTokenCount": 200_011}),
            ),
            &[(200_001, 2.50), (10, 15.0)],
        ),
        // Bedrock keeps the cache beside inputTokens, as Anthropic does
        bill(
            ("bedrock", "/model/global.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse", ""),
            converse(
                json!({"inputTokens": 12, "outputTokens": 34, "cacheReadInputTokens": 5000, "cacheWriteInputTokens": 700,
                "totalTokens": 5746}),
            ),
            &[(12, 3.0), (5000, 0.30), (700, 3.75), (34, 15.0)],
        ),
        bill(
            ("bedrock", "/model/amazon.nova-pro-v1%3A0/converse", ""),
            converse(json!({"inputTokens": 2500, "outputTokens": 120, "totalTokens": 2620})),
            &[(2500, 0.80), (120, 3.20)],
        ),
    ]
}

fn others() -> Vec<Bill> {
    let deepseek = || {
        let usage = json!({"prompt_tokens": 5000, "completion_tokens": 200, "total_tokens": 5200,
            "prompt_cache_hit_tokens": 4096, "prompt_cache_miss_tokens": 904});
        let lines = &[(904, 0.27), (4096, 0.07), (200, 1.10)];
        bill(("deepseek", "/chat/completions", "deepseek-chat"), chat("deepseek-chat", usage), lines)
    };
    vec![
        // By day; hits are spelt in DeepSeek's own way
        deepseek(),
        // By night half of it
        Bill { at_unix_us: NIGHT, lines: &[(904, 0.135), (4096, 0.035), (200, 0.55)], ..deepseek() },
        // Both spellings of the same hits: counted once
        bill(
            ("deepseek", "/chat/completions", "deepseek-reasoner"),
            chat(
                "deepseek-reasoner",
                json!({"prompt_tokens": 100, "completion_tokens": 50, "prompt_cache_hit_tokens": 64,
                    "prompt_cache_miss_tokens": 36, "prompt_tokens_details": {"cached_tokens": 64}}),
            ),
            &[(36, 0.55), (64, 0.14), (50, 2.19)],
        ),
        bill(
            ("mistral", CHAT, "mistral-large-2512"),
            chat(
                "mistral-large-2512",
                json!({"prompt_tokens": 900, "completion_tokens": 70, "prompt_tokens_details": {"cached_tokens": 512}}),
            ),
            &[(388, 0.50), (512, 0.05), (70, 1.50)],
        ),
        bill(
            ("groq", "/openai/v1/chat/completions", "openai/gpt-oss-120b"),
            with_tier(
                chat(
                    "openai/gpt-oss-120b",
                    json!({"prompt_tokens": 300, "completion_tokens": 60, "prompt_tokens_details": {"cached_tokens": 256}}),
                ),
                "on_demand",
            ),
            &[(44, 0.15), (256, 0.075), (60, 0.60)],
        ),
        // xAI counts reasoning beside the completion: 5 + 100 out
        bill(
            ("xai", CHAT, "grok-4"),
            chat(
                "grok-4-0709",
                json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115,
                    "completion_tokens_details": {"reasoning_tokens": 100}}),
            ),
            &[(10, 3.0), (5, 15.0), (100, 15.0)],
        ),
        // OpenRouter says what it charged
        Bill {
            fees: 0.00042,
            ..bill(
                ("openrouter", "/api/v1/chat/completions", "openai/gpt-4o"),
                chat(
                    "openai/gpt-4o",
                    json!({"prompt_tokens": 100, "completion_tokens": 10, "cost": 0.00042}),
                ),
                &[],
            )
        },
        // Cohere bills other tokens than the model saw
        bill(
            ("cohere", "/v2/chat", "command-r-plus-08-2024"),
            json!({"id": "x", "finish_reason": "COMPLETE",
                "message": {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
                "usage": {"billed_units": {"input_tokens": 20, "output_tokens": 6}, "tokens": {"input_tokens": 87, "output_tokens": 8}}}),
            &[(20, 2.50), (6, 10.0)],
        ),
        // Perplexity takes 14 for a thousand requests besides
        Bill {
            fees: 0.014,
            ..bill(
                ("perplexity", "/chat/completions", "sonar-pro"),
                chat("sonar-pro", json!({"prompt_tokens": 26, "completion_tokens": 832})),
                &[(26, 3.0), (832, 15.0)],
            )
        },
        bill(
            ("together", CHAT, "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
            chat(
                "meta-llama/Llama-3.3-70B-Instruct-Turbo",
                json!({"prompt_tokens": 1234, "completion_tokens": 567}),
            ),
            &[(1234, 0.88), (567, 0.88)],
        ),
        bill(
            ("cerebras", CHAT, "gpt-oss-120b"),
            chat("gpt-oss-120b", json!({"prompt_tokens": 100, "completion_tokens": 900})),
            &[(100, 0.35), (900, 0.75)],
        ),
        bill(
            ("azure", "/openai/deployments/mini/chat/completions", "mini"),
            chat("o4-mini-2025-04-16", json!({"prompt_tokens": 640, "completion_tokens": 64})),
            &[(640, 1.10), (64, 4.40)],
        ),
    ]
}

#[test]
fn bills_of_every_provider() {
    let bills: Vec<Bill> =
        [openai(), anthropic(), google_and_aws(), others()].into_iter().flatten().collect();
    assert!(bills.len() >= 20);
    for bill in &bills {
        let by_hand: f64 =
            bill.lines.iter().map(|(tokens, rate)| *tokens as f64 * rate / 1e6).sum::<f64>() + bill.fees;
        let Cost::Known(price) = cost(bill) else {
            panic!("{} {}: {:?}", bill.provider, bill.model, cost(bill))
        };
        let got = price.usd().as_f64();
        assert!(
            (got - by_hand).abs() < 1e-11,
            "{} {} {}: ${got}, by hand ${by_hand} ({})",
            bill.provider,
            bill.model,
            bill.answer["usage"],
            price.source
        );
    }
}

fn cost(bill: &Bill) -> Cost {
    let provider = Provider::parse(bill.provider).unwrap();
    let body = Bytes::from(json!({"model": bill.model, "messages": []}).to_string());
    let request = derive::request(&provider, "POST", bill.path, &RedactedHeaders::default(), &body);
    let outcome = Outcome::Answered(Answer {
        status: 200,
        headers: RedactedHeaders::redact([("content-type", b"application/json".as_slice())]),
        body: Bytes::from(bill.answer.to_string()),
        chunks: Vec::new(),
        head_us: 0,
        end_us: 0,
        ending: Ending::Complete,
    });
    PriceBook::listed().cost(&derive::call(&request, &outcome), Some(bill.at_unix_us))
}
