//! Which field of a request is of which class, by wire format.
//!
//! The whole table is here. A field that is not named is semantic: it is compared exactly, unknown fields
//! included, so that a new parameter can never slip through. The classes:
//! - *semantic*: what the model is asked. Not listed.
//! - *transport*: who asks, and through what. Ignored.
//! - *billing*: how it is paid for and cached. Tolerated, and reported.
//! - *round trip*: ids and signatures that only need to point at each other. Renamed by first occurrence.
//!
//! "Observed" means: seen to differ between two identical runs of a real client. The rest is from the
//! providers' own references.

use crate::canonical::{Rules, Treatment};
use crate::wire::Wire;
use std::sync::LazyLock;

/// What a field is for. Semantic fields have no class here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Transport,
    Billing,
    RoundTrip,
}

use Class::{Billing, RoundTrip, Transport};

type Table = &'static [(&'static str, Class)];

/// OpenAI Chat Completions and what speaks it. `stream_options` is semantic: it changes the answer's bytes.
const OPENAI_CHAT: Table = &[
    // An end user's id; OpenAI reference: replaced by safety_identifier and prompt_cache_key.
    ("/user", Transport),
    ("/safety_identifier", Transport),
    // Observed: opencode, OpenAI Agents SDK.
    ("/prompt_cache_key", Billing),
    ("/prompt_cache_retention", Billing),
    ("/service_tier", Billing),
    // Cache marks that OpenRouter and LiteLLM pass through to Anthropic models.
    ("/messages/*/cache_control", Billing),
    ("/messages/*/content/*/cache_control", Billing),
    ("/tools/*/cache_control", Billing),
    ("/tools/*/function/cache_control", Billing),
    ("/messages/*/tool_calls/*/id", RoundTrip),
    ("/messages/*/tool_call_id", RoundTrip),
    // The id of an earlier audio answer.
    ("/messages/*/audio/id", RoundTrip),
    // Signatures that Gemini and Anthropic models hand out through compatible endpoints.
    ("/messages/*/tool_calls/*/extra_content/google/thought_signature", RoundTrip),
    ("/messages/*/reasoning_details/*/id", RoundTrip),
    ("/messages/*/reasoning_details/*/signature", RoundTrip),
    ("/messages/*/reasoning_details/*/data", RoundTrip),
    ("/messages/*/thinking_blocks/*/signature", RoundTrip),
];

const OPENAI_RESPONSES: Table = &[
    ("/user", Transport),
    ("/safety_identifier", Transport),
    // Observed: codex sends installation and turn ids here.
    ("/client_metadata", Transport),
    // Observed: codex says here when it made an item, and for which turn.
    ("/input/*/internal_chat_message_metadata_passthrough", Transport),
    // Observed: codex, opencode.
    ("/prompt_cache_key", Billing),
    ("/prompt_cache_retention", Billing),
    ("/service_tier", Billing),
    ("/previous_response_id", RoundTrip),
    ("/conversation", RoundTrip),
    ("/conversation/id", RoundTrip),
    // Observed: codex makes these itself (UUIDv7).
    ("/input/*/id", RoundTrip),
    ("/input/*/call_id", RoundTrip),
    ("/input/*/approval_request_id", RoundTrip),
    ("/input/*/encrypted_content", RoundTrip),
];

const ANTHROPIC_MESSAGES: Table = &[
    // Observed: claude-code puts a JSON text with its session id here.
    ("/metadata/user_id", Transport),
    ("/service_tier", Billing),
    // The mark moves with every step; Anthropic reference, prompt caching.
    ("/cache_control", Billing),
    ("/system/*/cache_control", Billing),
    ("/tools/*/cache_control", Billing),
    ("/messages/*/content/*/cache_control", Billing),
    ("/messages/*/content/*/content/*/cache_control", Billing),
    ("/messages/*/content/*/source/content/*/cache_control", Billing),
    ("/messages/*/content/*/id", RoundTrip),
    ("/messages/*/content/*/tool_use_id", RoundTrip),
    ("/messages/*/content/*/signature", RoundTrip),
    // Redacted thinking, and what a web search hands back.
    ("/messages/*/content/*/data", RoundTrip),
    ("/messages/*/content/*/content/*/encrypted_content", RoundTrip),
    ("/messages/*/content/*/citations/*/encrypted_index", RoundTrip),
    ("/container", RoundTrip),
    ("/container/id", RoundTrip),
];

const GEMINI_GENERATE: Table = &[
    // Labels are for the bill (Vertex AI reference).
    ("/labels", Billing),
    // Observed: pydantic-ai and gemini-cli make these up.
    ("/contents/*/parts/*/functionCall/id", RoundTrip),
    ("/contents/*/parts/*/functionResponse/id", RoundTrip),
    ("/contents/*/parts/*/thoughtSignature", RoundTrip),
    // The same in the spelling that some clients send.
    ("/contents/*/parts/*/function_call/id", RoundTrip),
    ("/contents/*/parts/*/function_response/id", RoundTrip),
    ("/contents/*/parts/*/thought_signature", RoundTrip),
];

const OPENAI_COMPLETIONS: Table =
    &[("/user", Transport), ("/safety_identifier", Transport), ("/service_tier", Billing)];

const OLLAMA: Table = &[
    // How long the model stays in memory afterwards.
    ("/keep_alive", Billing),
    ("/messages/*/tool_calls/*/id", RoundTrip),
    ("/messages/*/tool_call_id", RoundTrip),
];

const COHERE: Table = &[
    ("/messages/*/tool_calls/*/id", RoundTrip),
    ("/messages/*/tool_call_id", RoundTrip),
    // Version 1.
    ("/conversation_id", RoundTrip),
    ("/chat_history/*/tool_calls/*/generation_id", RoundTrip),
    ("/chat_history/*/tool_results/*/call/generation_id", RoundTrip),
    ("/tool_results/*/call/generation_id", RoundTrip),
];

const BEDROCK_CONVERSE: Table = &[
    // Logged beside the invocation, not seen by the model (Converse reference).
    ("/requestMetadata", Transport),
    ("/serviceTier", Billing),
    ("/performanceConfig", Billing),
    ("/system/*/cachePoint", Billing),
    ("/toolConfig/tools/*/cachePoint", Billing),
    ("/messages/*/content/*/cachePoint", Billing),
    ("/messages/*/content/*/toolUse/toolUseId", RoundTrip),
    ("/messages/*/content/*/toolResult/toolUseId", RoundTrip),
    ("/messages/*/content/*/reasoningContent/reasoningText/signature", RoundTrip),
    ("/messages/*/content/*/reasoningContent/redactedContent", RoundTrip),
];

/// Calls that are no model calls: what they refer to by its id (`references`); all else counts.
const PLAIN: Table = &[
    // OpenAI: batches, fine-tuning, vector stores.
    ("/input_file_id", RoundTrip),
    ("/training_file", RoundTrip),
    ("/validation_file", RoundTrip),
    ("/file_id", RoundTrip),
    ("/previous_response_id", RoundTrip),
    ("/conversation", RoundTrip),
    ("/container", RoundTrip),
    // Gemini: batches.
    ("/cachedContent", RoundTrip),
];

/// The compiled rules of a wire format.
pub(crate) fn rules(wire: Option<Wire>) -> &'static Rules {
    static CHAT: LazyLock<Rules> = LazyLock::new(|| compile(&[OPENAI_CHAT]));
    static COMPLETIONS: LazyLock<Rules> = LazyLock::new(|| compile(&[OPENAI_COMPLETIONS]));
    static RESPONSES: LazyLock<Rules> = LazyLock::new(|| compile(&[OPENAI_RESPONSES]));
    static ANTHROPIC: LazyLock<Rules> = LazyLock::new(|| compile(&[ANTHROPIC_MESSAGES]));
    static GEMINI: LazyLock<Rules> = LazyLock::new(|| compile(&[GEMINI_GENERATE]));
    static OLLAMA_RULES: LazyLock<Rules> = LazyLock::new(|| compile(&[OLLAMA]));
    static COHERE_RULES: LazyLock<Rules> = LazyLock::new(|| compile(&[COHERE]));
    static PLAIN_RULES: LazyLock<Rules> = LazyLock::new(|| compile(&[PLAIN]));
    static CONVERSE: LazyLock<Rules> = LazyLock::new(|| compile(&[BEDROCK_CONVERSE]));
    // Each model has its maker's format, so any of these may stand in a body.
    static INVOKE: LazyLock<Rules> =
        LazyLock::new(|| compile(&[OPENAI_CHAT, COHERE, BEDROCK_CONVERSE, ANTHROPIC_MESSAGES]));
    match wire {
        Some(Wire::OpenAiChat) => &CHAT,
        Some(Wire::OpenAiCompletions) => &COMPLETIONS,
        Some(Wire::OpenAiResponses) => &RESPONSES,
        Some(Wire::AnthropicMessages) => &ANTHROPIC,
        Some(Wire::GeminiGenerate) => &GEMINI,
        Some(Wire::OllamaChat | Wire::OllamaGenerate) => &OLLAMA_RULES,
        Some(Wire::CohereChatV1 | Wire::CohereChatV2) => &COHERE_RULES,
        Some(Wire::BedrockConverse) => &CONVERSE,
        Some(Wire::BedrockInvoke) => &INVOKE,
        None => &PLAIN_RULES,
    }
}

fn compile(tables: &[Table]) -> Rules {
    Rules::compile(tables.iter().copied().flatten().map(|&(pattern, class)| (pattern, treatment(class))))
}

fn treatment(class: Class) -> Treatment {
    match class {
        Transport => Treatment::Ignored,
        Billing => Treatment::Collected,
        RoundTrip => Treatment::Renamed,
    }
}

/// Query parameters that say who asks, not what is asked (lower case).
const CREDENTIAL_PARAMETERS: &[&str] =
    &["key", "api_key", "api-key", "apikey", "access_token", "token", "sig", "signature", "client_secret"];

/// Whether a query parameter belongs to the request's meaning: `alt`, `api-version` and `beta` do, keys
/// do not.
pub(crate) fn query_parameter_counts(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !CREDENTIAL_PARAMETERS.contains(&name.as_str())
        && !name.starts_with("x-amz-")
        && !name.starts_with("x-goog-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_unique_pointers() {
        for table in [
            OPENAI_CHAT,
            OPENAI_COMPLETIONS,
            OPENAI_RESPONSES,
            ANTHROPIC_MESSAGES,
            GEMINI_GENERATE,
            OLLAMA,
            COHERE,
            BEDROCK_CONVERSE,
            PLAIN,
        ] {
            for (i, (pattern, _)) in table.iter().enumerate() {
                assert!(pattern.starts_with('/'), "{pattern}");
                assert!(table[i + 1..].iter().all(|(other, _)| other != pattern), "{pattern}");
            }
        }
    }

    #[test]
    fn keys_are_no_part_of_the_query() {
        for name in ["key", "KEY", "api-key", "X-Amz-Signature"] {
            assert!(!query_parameter_counts(name), "{name}");
        }
        for name in ["alt", "api-version", "beta", "keys"] {
            assert!(query_parameter_counts(name), "{name}");
        }
    }
}
