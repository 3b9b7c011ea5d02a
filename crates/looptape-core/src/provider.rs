//! Providers: names, upstreams, and which paths belong to them.

use std::{borrow::Cow, fmt};

/// A provider's name: the first path segment of the proxy's URLs, and the `NAME` of `--upstream NAME=URL`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Provider(Cow<'static, str>);

impl Provider {
    pub const OPENAI: Self = Self(Cow::Borrowed("openai"));
    pub const ANTHROPIC: Self = Self(Cow::Borrowed("anthropic"));
    pub const GEMINI: Self = Self(Cow::Borrowed("gemini"));

    /// Accepts a name of letters, digits, `-` and `_`.
    pub fn parse(name: &str) -> Option<Self> {
        let ok = !name.is_empty()
            && name.len() <= 40
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let known = || DEFAULT_UPSTREAMS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        ok.then(|| {
            Self(known().map_or_else(|| name.to_ascii_lowercase().into(), |(known, _)| (*known).into()))
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the provider lives if nobody says otherwise.
    pub fn default_upstream(&self) -> Option<&'static str> {
        DEFAULT_UPSTREAMS.iter().find(|(name, _)| *name == self.as_str()).map(|(_, url)| *url)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Known providers and their public origins.
pub const DEFAULT_UPSTREAMS: &[(&str, &str)] = &[
    ("openai", "https://api.openai.com"),
    ("anthropic", "https://api.anthropic.com"),
    ("gemini", "https://generativelanguage.googleapis.com"),
    ("ollama", "http://127.0.0.1:11434"),
    ("groq", "https://api.groq.com"),
    ("cohere", "https://api.cohere.com"),
    ("openrouter", "https://openrouter.ai"),
    ("deepseek", "https://api.deepseek.com"),
    ("mistral", "https://api.mistral.ai"),
    ("xai", "https://api.x.ai"),
    ("together", "https://api.together.xyz"),
    ("cerebras", "https://api.cerebras.ai"),
    ("fireworks", "https://api.fireworks.ai"),
    ("perplexity", "https://api.perplexity.ai"),
    ("vertex", "https://aiplatform.googleapis.com"),
];
