//! Where a provider's calls go, and how the client's path joins the upstream's.

use crate::upstream_keys::OwnKey;
use http::Uri;
use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme};
use looptape_core::failover::FailoverRules;
use looptape_core::provider::{DEFAULT_UPSTREAMS, Provider};
use looptape_core::provider_host;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;
use url::Url;

/// One provider's upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// Path of the base URL, no trailing slash; empty for none.
    base: String,
    from: From,
    on_this_machine: bool,
    /// Put in the place of the client's key: that is for another upstream.
    key: Option<OwnKey>,
    /// Whose it is, if not the provider's for whose calls it stands.
    of: Option<Provider>,
}

/// Who named the base URL: it decides what becomes of the version segment (`/v1`) that the client's path
/// starts with. (A version that the base already ends with is never doubled.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// A variable meant for an SDK: the SDK's path is appended as it is.
    SdkVariable,
    /// `--upstream`: a base with a path stands for everything up to the version.
    Flag,
    /// The provider's public origin: a version that is missing is added.
    Public,
}

/// Why a base URL cannot be an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("`{text}` is not NAME=URL: write for example --upstream openai=https://api.openai.com")]
    NotAPair { text: String },
    #[error("`{name}` cannot be a provider's name: use letters, digits, - and _")]
    Name { name: String },
    #[error(
        "`{url}` cannot be an upstream ({why}): write a URL like https://api.openai.com or http://127.0.0.1:8000/v1"
    )]
    Url { url: String, why: String },
}

impl Upstream {
    /// From `--upstream`: a base with a path stands for everything up to the version.
    pub fn stated(url: &str) -> Result<Self, UpstreamError> {
        Self::new(url, From::Flag)
    }

    /// From a base-URL variable that was meant for an SDK.
    pub fn from_sdk_variable(url: &str) -> Result<Self, UpstreamError> {
        Self::new(url, From::SdkVariable)
    }

    fn new(url: &str, from: From) -> Result<Self, UpstreamError> {
        let fail = |why: &str| UpstreamError::Url { url: url.to_owned(), why: why.to_owned() };
        let parsed = Url::parse(url).map_err(|e| fail(&e.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(fail("only http and https"));
        }
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(fail("it has no host"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(fail("a base URL has no query"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(fail("credentials belong in the client's headers, not in the URL"));
        }
        let scheme = if parsed.scheme() == "https" { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = parsed.authority().parse().map_err(|e: InvalidUri| fail(&e.to_string()))?;
        let base = parsed.path().trim_end_matches('/').to_owned();
        Ok(Self {
            scheme,
            authority,
            base,
            from,
            on_this_machine: parsed.host_str().is_some_and(is_loopback),
            key: None,
            of: parsed.host_str().and_then(provider_host::known),
        })
    }

    /// The same with a key of its own.
    #[must_use]
    pub fn with_key(self, key: OwnKey) -> Self {
        Self { key: Some(key), ..self }
    }

    pub(crate) fn key(&self) -> Option<&OwnKey> {
        self.key.as_ref()
    }

    /// Whose calls these are, if they are made for `provider`: a host that is known to be another one's says so.
    pub(crate) fn provider_of(&self, provider: &Provider) -> Provider {
        self.of.clone().unwrap_or_else(|| provider.clone())
    }

    /// The URL for a client's path and query, which stay as they are but for their version.
    pub fn join(&self, path_and_query: &str) -> Result<Uri, InvalidUri> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(self.path(path_and_query))?);
        Ok(Uri::from_parts(parts).expect("a URI with scheme, authority and path is whole"))
    }

    fn path(&self, path_and_query: &str) -> String {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let path = undouble(path);
        match without_version(path) {
            Some(rest) if ends_with_version(&self.base) => self.finish(rest, query),
            Some(rest) if self.from == From::Flag && !self.base.is_empty() => self.finish(rest, query),
            None if self.from != From::SdkVariable && self.base.is_empty() && needs_version(path) => {
                self.finish(&format!("/v1{path}"), query)
            }
            _ => self.finish(path, query),
        }
    }

    fn finish(&self, rest: &str, query: Option<&str>) -> String {
        let (mark, query) = query.map_or(("", ""), |query| ("?", query));
        [&self.base, rest, mark, query].concat()
    }

    /// The base URL, for people.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.base)
    }

    /// Whether the upstream is on this machine's loopback.
    pub fn is_on_this_machine(&self) -> bool {
        self.on_this_machine
    }

    /// Whether the base URL's path ends in a version, as some SDKs want it.
    pub fn has_version(&self) -> bool {
        ends_with_version(&self.base)
    }
}

/// `localhost`, `127.0.0.1`, `[::1]` …
pub(crate) fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// `/v1`, `/v1beta`, `/v2` …
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

fn ends_with_version(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(is_version)
}

/// The path after its leading version segment, if it has one.
fn without_version(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    let end = rest.find('/').unwrap_or(rest.len());
    is_version(&rest[..end]).then(|| &rest[end..])
}

/// `/v1/v1/messages` is what two libraries that disagree about /v1 make of `/v1/messages`.
fn undouble(path: &str) -> &str {
    match without_version(path) {
        Some(rest)
            if without_version(rest).is_some()
                && path[..path.len() - rest.len()] == rest[..path.len() - rest.len()] =>
        {
            rest
        }
        _ => path,
    }
}

/// Paths that an SDK with a versionless base sends, which the provider knows under /v1 only.
fn needs_version(path: &str) -> bool {
    ["/messages", "/chat/completions", "/responses", "/completions", "/embeddings"]
        .iter()
        .any(|known| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The providers' public origins.
static PUBLIC: LazyLock<BTreeMap<Provider, Upstream>> = LazyLock::new(|| {
    let public =
        |(name, url): &(&str, &str)| Some((Provider::parse(name)?, Upstream::new(url, From::Public).ok()?));
    DEFAULT_UPSTREAMS.iter().filter_map(public).collect()
});

/// All upstreams of a proxy: what was stated, else the provider's public origin.
#[derive(Clone, Debug, Default)]
pub struct Upstreams {
    /// In the order in which they are to be asked; none is empty.
    stated: BTreeMap<Provider, Vec<Upstream>>,
    pub failover: Failover,
}

/// When another of a provider's upstreams is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failover {
    pub rules: FailoverRules,
    /// An upstream that has not begun to answer within this time has failed; the last one may take as long as it
    /// likes, and so may all of them if this is not set.
    pub answer_within: Option<Duration>,
}

impl Upstreams {
    /// The provider's only upstream.
    pub fn set(&mut self, provider: Provider, upstream: Upstream) {
        self.stated.insert(provider, vec![upstream]);
    }

    /// One more of the provider's, to be asked where those before it fail.
    pub fn add(&mut self, provider: Provider, upstream: Upstream) {
        self.stated.entry(provider).or_default().push(upstream);
    }

    /// Adds a `NAME=URL`; a further one of the same name is asked where those before it fail.
    pub fn add_stated(&mut self, text: &str) -> Result<(), UpstreamError> {
        let (name, url) =
            text.split_once('=').ok_or_else(|| UpstreamError::NotAPair { text: text.to_owned() })?;
        let provider = Provider::parse(name).ok_or_else(|| UpstreamError::Name { name: name.to_owned() })?;
        self.add(provider, Upstream::stated(url)?);
        Ok(())
    }

    /// Where `provider`'s calls go first; `None` if nobody said and it has no public origin.
    pub fn get(&self, provider: &Provider) -> Option<&Upstream> {
        self.stated(provider).or_else(|| PUBLIC.get(provider))
    }

    /// The provider's stated upstreams, in the order in which they are to be asked.
    pub fn in_order(&self, provider: &Provider) -> &[Upstream] {
        self.stated.get(provider).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where captured calls to a provider's own host go instead, if a flag or the configuration says so. A variable
    /// that is meant for an SDK says nothing of clients that do not read it.
    pub fn of_captured(&self, provider: &Provider) -> Option<&Upstream> {
        self.stated(provider).filter(|upstream| upstream.from == From::Flag)
    }

    /// Keys that upstreams have of their own.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.stated.values().flatten().filter_map(Upstream::key).map(OwnKey::secret)
    }

    /// The first stated one only.
    pub fn stated(&self, provider: &Provider) -> Option<&Upstream> {
        self.in_order(provider).first()
    }

    pub fn stated_providers(&self) -> Vec<Provider> {
        self.stated.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_that_is_known_has_its_public_upstream() {
        for (name, url) in DEFAULT_UPSTREAMS {
            let provider = Provider::parse(name).unwrap();
            assert_eq!(Upstreams::default().get(&provider).map(Upstream::url).as_deref(), Some(*url));
        }
    }

    #[test]
    fn this_machine() {
        let here = |url| Upstream::stated(url).unwrap().is_on_this_machine();
        assert!(here("http://127.0.0.1:8000/v1") && here("http://LOCALHOST") && here("https://[::1]:1"));
        assert!(!here("https://api.openai.com") && !here("http://127.0.0.1.example.com"));
    }

    #[test]
    fn a_version_is_never_doubled_and_never_lost() {
        let flag = |u: &str, p: &str| Upstream::stated(u).unwrap().join(p).unwrap().to_string();
        let env = |u: &str, p: &str| Upstream::from_sdk_variable(u).unwrap().join(p).unwrap().to_string();
        assert_eq!(
            flag("https://api.openai.com", "/v1/chat/completions"),
            "https://api.openai.com/v1/chat/completions"
        );
        assert_eq!(flag("https://api.openai.com/", "/v1/x?a=b"), "https://api.openai.com/v1/x?a=b");
        assert_eq!(flag("http://h:1/v1", "/v1/chat/completions"), "http://h:1/v1/chat/completions");
        assert_eq!(flag("http://h:1/v1/", "/chat/completions"), "http://h:1/v1/chat/completions");
        assert_eq!(flag("http://h/api", "/v1/messages"), "http://h/api/messages");
        assert_eq!(env("http://h/api", "/v1/messages"), "http://h/api/v1/messages");
        assert_eq!(env("http://h/api/v1", "/v1/messages"), "http://h/api/v1/messages");
        assert_eq!(flag("http://h", "/messages"), "http://h/v1/messages");
        assert_eq!(env("http://h", "/messages"), "http://h/messages");
        assert_eq!(flag("http://h", "/v1/v1/messages"), "http://h/v1/messages");
        assert_eq!(
            flag("http://h", "/v1beta/models/m:generateContent"),
            "http://h/v1beta/models/m:generateContent"
        );
        assert_eq!(flag("http://h/g/v1beta", "/v1beta/models"), "http://h/g/v1beta/models");
        assert_eq!(flag("http://h", "/openai/v1/chat/completions"), "http://h/openai/v1/chat/completions");
        assert_eq!(flag("http://[::1]:8080", "/vision/x"), "http://[::1]:8080/vision/x");
    }

    #[test]
    fn bad_upstreams_are_named() {
        for bad in [
            "openai",
            "=http://h",
            "a b=http://h",
            "openai=ftp://h",
            "openai=http://",
            "openai=h:1",
            "openai=http://h?x=1",
        ] {
            let error = Upstreams::default().add_stated(bad).unwrap_err().to_string();
            assert!(error.contains("write") || error.contains("use letters"), "{bad}: {error}");
        }
    }
}
