//! Where loops send their requests, as an SDK's base URL says it.

use looptape_core::wire::Wire;
use url::Url;

/// A base URL, and the key for it.
#[derive(Clone)]
pub struct Target {
    base: Url,
    key: String,
    pub(crate) provider: TargetProvider,
}

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetProvider {
    Unknown,
    /// A simulated provider, which can be told what answers are wanted.
    Simulated,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Why a URL is no target.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` cannot be put under load ({why}): write a base URL like http://127.0.0.1:4100/openai/v1")]
pub struct TargetError {
    url: String,
    why: String,
}

/// What is sent where nobody has a key: simulated providers and gateways check none.
const NO_KEY: &str = "looptape-load-has-no-key";

impl Target {
    pub fn new(url: &str, key: Option<String>) -> Result<Self, TargetError> {
        let wrong = |why: &str| TargetError { url: url.to_owned(), why: why.to_owned() };
        let base = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
            return Err(wrong("only http and https"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("a base URL has no query"));
        }
        let provider = TargetProvider::Unknown;
        Ok(Self { base, key: key.unwrap_or_else(|| NO_KEY.to_owned()), provider })
    }

    /// The same, if a simulated provider is there.
    #[must_use]
    pub fn simulated(self) -> Self {
        Self { provider: TargetProvider::Simulated, ..self }
    }

    /// Whether it is on this machine, where calls cost nothing by themselves.
    pub fn is_here(&self) -> bool {
        match self.base.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }

    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The URL of a path that begins with a version: a base that ends with it does not get it twice.
    pub(crate) fn join(&self, path: &str) -> String {
        let base = self.url();
        let version = path[1..].split('/').next().unwrap_or_default();
        match base.strip_suffix(version).filter(|rest| rest.ends_with('/')) {
            Some(rest) => format!("{}{path}", rest.trim_end_matches('/')),
            None => format!("{base}{path}"),
        }
    }

    /// The headers that a provider's SDK sends its key in.
    pub(crate) fn headers(&self, wire: Wire) -> Vec<(&'static str, String)> {
        match wire {
            Wire::AnthropicMessages => {
                vec![("x-api-key", self.key.clone()), ("anthropic-version", "2023-06-01".to_owned())]
            }
            Wire::GeminiGenerate => vec![("x-goog-api-key", self.key.clone())],
            _ => vec![("authorization", format!("Bearer {}", self.key))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_there_once() {
        let join = |base: &str, path: &str| Target::new(base, None).unwrap().join(path);
        assert_eq!(join("http://h:1", "/v1/messages"), "http://h:1/v1/messages");
        assert_eq!(
            join("http://h:1/openai/v1/", "/v1/chat/completions"),
            "http://h:1/openai/v1/chat/completions"
        );
        assert_eq!(join("http://h:1/gemini", "/v1beta/models/m:x"), "http://h:1/gemini/v1beta/models/m:x");
        assert_eq!(join("http://h:1/env1", "/v1/x"), "http://h:1/env1/v1/x");
    }

    #[test]
    fn what_is_no_base_url_is_named() {
        for wrong in ["h:1", "ftp://h", "http://h?x=1", ""] {
            assert!(
                Target::new(wrong, None).unwrap_err().to_string().contains("write a base URL"),
                "{wrong}"
            );
        }
        let here = |url| Target::new(url, None).unwrap().is_here();
        assert!(here("http://127.0.0.1:1") && here("http://localhost:1/v1") && here("http://[::1]:1"));
        assert!(!here("https://api.openai.com/v1"));
    }
}
