//! Which wire format a request is written in, and which provider a bare path belongs to.
//!
//! The answer follows from the shape of the path, never from field names in the body. Whatever stands
//! before the part that gives the format away is ignored: `/openai/v1/chat/completions` (Groq),
//! `/openai/deployments/NAME/chat/completions` (Azure), `/v1/projects/…/models/NAME:generateContent`
//! (Vertex), a version given twice. Other endpoints of the same APIs (counting tokens, batches, stored
//! answers, embeddings) are not model calls here.

use super::Wire;
use crate::provider::Provider;

/// The format of a request, `None` if it is not a model call in a known one. `path` may carry a query.
/// No format needs the provider so far; it is asked for because a path alone does not name a format.
pub fn identify(_provider: &Provider, method: &str, path: &str) -> Option<Wire> {
    if !method.eq_ignore_ascii_case("POST") {
        return None;
    }
    let segments = segments(path);
    let (last, before) = segments.split_last()?;
    match (*last, before.last().copied()) {
        ("completions", Some("chat")) => Some(Wire::OpenAiChat),
        ("responses", _) => Some(Wire::OpenAiResponses),
        // A thread's messages belong to another API.
        ("messages", _) if !before.contains(&"threads") => Some(Wire::AnthropicMessages),
        _ if generates_content(last) => Some(Wire::GeminiGenerate),
        _ => None,
    }
}

/// The provider that a path without a provider prefix belongs to. `has_header` tells whether the request
/// carries a header (name in lower case).
pub fn guess_provider(_method: &str, path: &str, has_header: &dyn Fn(&str) -> bool) -> Option<Provider> {
    let segments = segments(path);
    let last = segments.last()?;
    match segments.as_slice() {
        [.., "chat", "completions"] | ["responses", ..] => Some(Provider::OPENAI),
        ["messages", ..] | ["v1", "messages", ..] | ["v1", "v1", "messages", ..] | ["api", "hello"] => {
            Some(Provider::ANTHROPIC)
        }
        ["v1beta" | "v1beta1" | "v1alpha", ..] | ["upload", "v1beta", ..] => Some(Provider::GEMINI),
        _ if last.contains(':') && segments.contains(&"models") => Some(Provider::GEMINI),
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

/// The model that a path names: Gemini's `…/models/NAME:verb`, Azure's `…/deployments/NAME/…`.
pub(super) fn model_in_path(path: &str) -> Option<String> {
    let segments = segments(path);
    let named =
        segments.windows(2).rev().find(|w| matches!(w[0], "models" | "tunedModels" | "deployments"))?[1];
    let name = named.split(':').next().filter(|name| !name.is_empty())?;
    Some(name.to_owned())
}

/// Whether a path asks Gemini for a streamed answer.
pub(super) fn streams_content(path: &str) -> bool {
    segments(path).last().is_some_and(|last| last.ends_with(":streamGenerateContent"))
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
            ("/v1/completions", None),
            ("/v1/models/gemini-2.5-pro:countTokens", None),
            ("/v1/models/gemini-2.5-pro:embedContent", None),
            ("/api/chat", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(identify(&Provider::OPENAI, "POST", path), expected, "{path}");
        }
        assert_eq!(identify(&Provider::OPENAI, "GET", "/v1/responses"), None);
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
        ] {
            assert_eq!(model_in_path(path).as_deref(), expected, "{path}");
        }
    }
}
