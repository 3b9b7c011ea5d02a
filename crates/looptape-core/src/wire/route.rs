//! Which wire format a request is written in, and which provider a bare path belongs to.
//!
//! The answer follows from the shape of the path, never from field names in the body. Whatever stands
//! before the part that gives the format away is ignored: `/openai/v1/chat/completions` (Groq),
//! `/openai/deployments/NAME/chat/completions` (Azure), `/v1/projects/…/models/NAME:generateContent`
//! (Vertex), a version given twice. Other endpoints of the same APIs (counting tokens, batches, stored
//! answers, embeddings, pictures) are not model calls here, nor is anything but a POST: a background
//! answer that is polled or taken up again belongs to the call that asked for it.

use super::Wire;
use crate::captured::CapturedUrl;
use crate::provider::Provider;

/// The format of a request, `None` if it is not a model call in a known one. `path` may carry a query.
/// Only Cohere's bare `/chat`, and `/v1/chat`, which Writer has too, need the provider to be known. Of a captured call to a host that is no provider's
/// only paths count that belong to nothing else.
pub fn identify(provider: &Provider, method: &str, path: &str) -> Option<Wire> {
    if !method.eq_ignore_ascii_case("POST") {
        return None;
    }
    let url = CapturedUrl::parse(path);
    let segments = segments(url.map_or(path, CapturedUrl::path));
    if url.is_some_and(|url| !url.is_of_a_provider()) && !is_unmistakable(&segments) {
        return None;
    }
    match segments.as_slice() {
        [.., "chat", "completions"] => Some(Wire::OpenAiChat),
        // A prompt that a gateway keeps, filled in.
        [.., "prompts", _, "completions"] => Some(Wire::OpenAiChat),
        [.., "completions"] => Some(Wire::OpenAiCompletions),
        [.., "responses"] => Some(Wire::OpenAiResponses),
        // A thread's messages belong to another API.
        [before @ .., "messages"] if !before.contains(&"threads") => Some(Wire::AnthropicMessages),
        [.., "api", "chat"] => Some(Wire::OllamaChat),
        [.., "api", "generate"] => Some(Wire::OllamaGenerate),
        [.., "v2", "chat"] => Some(Wire::CohereChatV2),
        [.., "api", "v1", "chat"] => None,
        [.., "v1", "chat"] if provider.as_str() == "writer" => Some(Wire::OpenAiChat),
        [.., "v1", "chat"] => Some(Wire::CohereChatV1),
        [.., "chat"] if provider.as_str() == "cohere" => Some(Wire::CohereChatV1),
        [.., "model", model, verb] => bedrock(model, verb),
        // An ARN whose slash was not encoded.
        [.., "model", arn, model, verb] if arn.starts_with("arn") => bedrock(model, verb),
        [.., last] if generates_content(last) => Some(Wire::GeminiGenerate),
        [.., publisher, "models", last] => raw_prediction(publisher, last),
        _ => None,
    }
}

/// Whether a path is a model's whatever the host: others have messages, responses and chats too.
fn is_unmistakable(segments: &[&str]) -> bool {
    match segments {
        [.., "chat", "completions"] => true,
        [.., "model", _, verb] => {
            matches!(*verb, "converse" | "converse-stream" | "invoke-with-response-stream")
        }
        [.., last] => generates_content(last),
        [] => false,
    }
}

/// Bedrock's endpoints. Models that answer with vectors, ranks, pictures or sound are invoked too, but that
/// is no step of a conversation.
fn bedrock(model: &str, verb: &str) -> Option<Wire> {
    const OTHER_MODELS: &[&str] = &["embed", "rerank", "image", "canvas", "stability.", "-reel-", "-sonic-"];
    match verb {
        "converse" | "converse-stream" => Some(Wire::BedrockConverse),
        "invoke" | "invoke-with-response-stream"
            if !OTHER_MODELS.iter().any(|other| model.contains(other)) =>
        {
            Some(Wire::BedrockInvoke)
        }
        _ => None,
    }
}

/// Vertex hands some publishers' models the body as it is.
fn raw_prediction(publisher: &str, segment: &str) -> Option<Wire> {
    let (model, verb) = segment.split_once(':')?;
    match (publisher, verb) {
        _ if model == "count-tokens" => None,
        ("anthropic", "rawPredict" | "streamRawPredict") => Some(Wire::AnthropicMessages),
        ("mistralai" | "ai21", "rawPredict" | "streamRawPredict") => Some(Wire::OpenAiChat),
        _ => None,
    }
}

/// The provider that a path without a provider prefix belongs to. `has_header` tells whether the request
/// carries a header (name in lower case).
pub fn guess_provider(_method: &str, path: &str, has_header: &dyn Fn(&str) -> bool) -> Option<Provider> {
    let segments = segments(path);
    let last = segments.last()?;
    match segments.as_slice() {
        [.., "chat", "completions"] | ["responses" | "completions", ..] => Some(Provider::OPENAI),
        ["messages", ..] | ["v1", "messages", ..] | ["v1", "v1", "messages", ..] | ["api", "hello"] => {
            Some(Provider::ANTHROPIC)
        }
        ["v1" | "v1beta1", "projects", ..] => Provider::parse("vertex"),
        ["v1beta" | "v1beta1" | "v1alpha", ..] | ["upload", "v1beta", ..] => Some(Provider::GEMINI),
        _ if last.contains(':') && segments.contains(&"models") => Some(Provider::GEMINI),
        ["model", .., "converse" | "converse-stream" | "invoke" | "invoke-with-response-stream"] => {
            Provider::parse("bedrock")
        }
        ["v1", "chat" | "rerank"] | ["v2", "chat" | "rerank" | "embed"] => Provider::parse("cohere"),
        ["v1", ..] => Some(provider_by_headers(has_header)),
        ["api", "chat" | "generate" | "embed" | "embeddings" | "tags" | "show" | "ps" | "version"] => {
            Provider::parse("ollama")
        }
        _ => None,
    }
}

/// Paths such as `/v1/models` and `/v1/files` exist at several providers, which differ in their headers.
fn provider_by_headers(has_header: &dyn Fn(&str) -> bool) -> Provider {
    if has_header("x-goog-api-key") {
        Provider::GEMINI
    } else if has_header("anthropic-version") || has_header("x-api-key") {
        Provider::ANTHROPIC
    } else {
        Provider::OPENAI
    }
}

/// The model that a path names: Gemini's and Vertex' `…/models/NAME:verb`, Azure's `…/deployments/NAME/…`,
/// Bedrock's `/model/NAME/verb`.
pub(super) fn model_in_path(path: &str) -> Option<String> {
    let segments = segments(path);
    let named = match segments.as_slice() {
        [.., "models" | "tunedModels", last] => last.split_once(':')?.0.to_owned(),
        [before @ .., _verb] if before.contains(&"model") => {
            let start = before.iter().position(|segment| *segment == "model")? + 1;
            before[start..].join("/")
        }
        _ => {
            let at = segments.iter().rposition(|segment| *segment == "deployments")?;
            (*segments.get(at + 1)?).to_owned()
        }
    };
    Some(percent_decoded(&named)).filter(|name| !name.is_empty())
}

/// A path's segment without its percent encoding; what is no encoding stays.
fn percent_decoded(segment: &str) -> String {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(encoded) => {
                decoded.push(encoded);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Whether a path asks Gemini for a streamed answer.
pub(super) fn streams_content(path: &str) -> bool {
    segments(path).last().is_some_and(|last| last.ends_with(":streamGenerateContent"))
}

/// Whether a path asks one of Vertex' other publishers for a streamed answer.
pub(super) fn streams_raw_prediction(path: &str) -> bool {
    segments(path).last().is_some_and(|last| last.ends_with(":streamRawPredict"))
}

/// Whether a path asks Bedrock for a streamed answer.
pub(super) fn streams_from_bedrock(path: &str) -> bool {
    matches!(segments(path).last(), Some(&("converse-stream" | "invoke-with-response-stream")))
}

fn generates_content(segment: &str) -> bool {
    matches!(segment.split_once(':'), Some((_, "generateContent" | "streamGenerateContent")))
}

/// The segments of a path, without its query.
fn segments(path: &str) -> Vec<&str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_calls_are_read_by_their_host() {
        let wire = |url: &str| identify(&Provider::parse("x").unwrap(), "POST", url);
        for (url, expected) in [
            ("https://api.anthropic.com/v1/messages", Some(Wire::AnthropicMessages)),
            ("https://rest.example.com/v1/messages", None),
            ("https://llm.example.com/v1/chat/completions", Some(Wire::OpenAiChat)),
            ("https://api.example.com/v1/responses", None),
            ("https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke", Some(Wire::BedrockInvoke)),
            ("https://vpce.example.com/model/m/converse", Some(Wire::BedrockConverse)),
            ("https://chat.example.com", None),
            ("https://chat/completions", None),
            ("https://api.example.com/v1beta/models/m:generateContent", Some(Wire::GeminiGenerate)),
        ] {
            assert_eq!(wire(url), expected, "{url}");
        }
    }

    #[test]
    fn formats_follow_from_paths() {
        use Wire::*;
        for (path, expected) in [
            ("/v1/chat/completions", Some(OpenAiChat)),
            ("/chat/completions", Some(OpenAiChat)),
            ("/openai/v1/chat/completions", Some(OpenAiChat)),
            ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", Some(OpenAiChat)),
            ("/v1beta/openai/chat/completions", Some(OpenAiChat)),
            ("/api/paas/v4/chat/completions", Some(OpenAiChat)),
            ("/v1/responses", Some(OpenAiResponses)),
            ("/responses", Some(OpenAiResponses)),
            ("/openai/responses?api-version=preview", Some(OpenAiResponses)),
            ("/v1/messages", Some(AnthropicMessages)),
            ("/v1/messages?beta=true", Some(AnthropicMessages)),
            ("/v1/v1/messages", Some(AnthropicMessages)),
            ("/messages", Some(AnthropicMessages)),
            ("/anthropic/v1/messages", Some(AnthropicMessages)),
            ("/v1/models/gemini-2.5-pro:generateContent", Some(GeminiGenerate)),
            ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", Some(GeminiGenerate)),
            (
                "/v1/projects/p/locations/us/publishers/google/models/gemini-2.5-pro:generateContent",
                Some(GeminiGenerate),
            ),
            ("/v1beta/tunedModels/mine:generateContent", Some(GeminiGenerate)),
            ("/v1/messages/count_tokens", None),
            ("/v1/messages/batches", None),
            ("/v1/threads/thread_1/messages", None),
            ("/v1/responses/resp_1", None),
            ("/v1/responses/resp_1/cancel", None),
            ("/v1/responses/compact", None),
            ("/v1/embeddings", None),
            ("/v1/completions", Some(OpenAiCompletions)),
            ("/openai/deployments/d/completions?api-version=1", Some(OpenAiCompletions)),
            ("/v1/fim/completions", Some(OpenAiCompletions)),
            ("/models/chat/completions?api-version=2024-05-01-preview", Some(OpenAiChat)),
            ("/v1/projects/p/locations/l/endpoints/openapi/chat/completions", Some(OpenAiChat)),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/c@1:rawPredict",
                Some(AnthropicMessages),
            ),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/c:streamRawPredict",
                Some(AnthropicMessages),
            ),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", None),
            ("/v1/projects/p/locations/l/publishers/mistralai/models/m:rawPredict", Some(OpenAiChat)),
            ("/v1/projects/p/locations/l/publishers/google/models/embed:predict", None),
            ("/api/generate", Some(OllamaGenerate)),
            ("/api/embed", None),
            ("/api/show", None),
            ("/v1/chat", Some(CohereChatV1)),
            ("/v1/prompts/weather/completions", Some(OpenAiChat)),
            ("/v2/chat", Some(CohereChatV2)),
            ("/api/v1/chat", None),
            ("/chat", None),
            ("/v2/embed", None),
            ("/model/us.amazon.nova-lite-v1%3A0/converse", Some(BedrockConverse)),
            ("/model/us.amazon.nova-lite-v1:0/converse-stream", Some(BedrockConverse)),
            ("/model/us.amazon.nova-lite-v1:0/count-tokens", None),
            ("/model/anthropic.claude-v2/invoke", Some(BedrockInvoke)),
            ("/model/anthropic.claude-v2/invoke-with-response-stream", Some(BedrockInvoke)),
            ("/model/arn:aws:bedrock:eu:1:inference-profile/x/converse", Some(BedrockConverse)),
            ("/model/amazon.titan-embed-text-v2:0/invoke", None),
            ("/model/stability.sd3-large-v1:0/invoke", None),
            ("/v1/models/gemini-2.5-pro:countTokens", None),
            ("/v1/models/gemini-2.5-pro:embedContent", None),
            ("/api/chat", Some(OllamaChat)),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(identify(&Provider::OPENAI, "POST", path), expected, "{path}");
        }
        assert_eq!(identify(&Provider::OPENAI, "GET", "/v1/responses"), None);
        assert_eq!(identify(&Provider::OPENAI, "GET", "/v1/responses/r?stream=true&starting_after=4"), None);
        let cohere = Provider::parse("cohere").unwrap();
        assert_eq!(identify(&cohere, "POST", "/chat"), Some(CohereChatV1));
        let writer = Provider::parse("writer").unwrap();
        assert_eq!(identify(&writer, "POST", "/v1/chat"), Some(OpenAiChat));
        assert_eq!(identify(&Provider::OPENAI, "GET", "/v1/chat/completions"), None);
    }

    #[test]
    fn bare_paths_are_told_apart() {
        let none: &[&str] = &[];
        for (path, headers, expected) in [
            ("/v1/chat/completions", none, Some("openai")),
            ("/chat/completions", none, Some("openai")),
            ("/v1/responses", none, Some("openai")),
            ("/responses", none, Some("openai")),
            ("/v1/embeddings", none, Some("openai")),
            ("/v1/messages", none, Some("anthropic")),
            ("/v1/v1/messages?beta=true", none, Some("anthropic")),
            ("/messages", none, Some("anthropic")),
            ("/v1/messages/count_tokens", none, Some("anthropic")),
            ("/api/hello", none, Some("anthropic")),
            ("/v1beta/models/gemini:generateContent", none, Some("gemini")),
            ("/v1/models/gemini:generateContent", none, Some("gemini")),
            ("/v1beta/cachedContents", none, Some("gemini")),
            ("/v1/models", none, Some("openai")),
            ("/v1/models", &["anthropic-version"], Some("anthropic")),
            ("/v1/models", &["x-api-key"], Some("anthropic")),
            ("/v1/models", &["x-goog-api-key"], Some("gemini")),
            ("/api/chat", none, Some("ollama")),
            ("/v1/completions", none, Some("openai")),
            ("/completions", none, Some("openai")),
            ("/v1/chat", none, Some("cohere")),
            ("/v2/chat", none, Some("cohere")),
            ("/model/m/converse-stream", none, Some("bedrock")),
            ("/v1/projects/p/locations/l/publishers/anthropic/models/c:rawPredict", none, Some("vertex")),
            (
                "/v1beta1/projects/p/locations/l/publishers/google/models/g:generateContent",
                none,
                Some("vertex"),
            ),
            ("/favicon.ico", none, None),
            ("/", none, None),
        ] {
            let guess = guess_provider("POST", path, &|name| headers.contains(&name));
            assert_eq!(guess.as_ref().map(Provider::as_str), expected, "{path} {headers:?}");
        }
    }

    #[test]
    fn models_in_paths() {
        for (path, expected) in [
            ("/v1beta/models/gemini-2.5-pro:generateContent?alt=sse", Some("gemini-2.5-pro")),
            ("/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent", Some("g")),
            ("/openai/deployments/my-gpt/chat/completions", Some("my-gpt")),
            ("/v1/chat/completions", None),
            ("/v1/models", None),
            ("/models/chat/completions", None),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/claude@2025:rawPredict",
                Some("claude@2025"),
            ),
            ("/model/us.amazon.nova-micro-v1%3A0/converse", Some("us.amazon.nova-micro-v1:0")),
            (
                "/model/arn%3Aaws%3Abedrock%3Aeu%3A1%3Ainference-profile%2Fx/invoke",
                Some("arn:aws:bedrock:eu:1:inference-profile/x"),
            ),
            (
                "/model/arn:aws:bedrock:eu:1:inference-profile/x/invoke",
                Some("arn:aws:bedrock:eu:1:inference-profile/x"),
            ),
            ("/model/50%/invoke", Some("50%")),
        ] {
            assert_eq!(model_in_path(path).as_deref(), expected, "{path}");
        }
    }
}
