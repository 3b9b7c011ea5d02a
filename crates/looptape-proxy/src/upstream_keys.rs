//! The keys with which looptape itself asks providers.
//!
//! A replayed agent has dummies. Where its call goes to a provider, the dummy is taken out and looptape's own
//! key for that provider put in; a key that is no dummy is the agent's own, and passes. Keys are held in memory
//! only, and none is ever printed.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use std::collections::BTreeMap;

/// What a replayed agent gets in the place of a key.
pub const DUMMY_KEY: &str = "looptape-replay-has-no-key";

/// How a key is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// `authorization: Bearer KEY`.
    Bearer,
    Header(&'static str),
}

/// Variables that hold a provider's key, the first that is set counts.
const VARIABLES: &[(&str, &[(&str, Manner)])] = &[
    ("openai", &[("OPENAI_API_KEY", Manner::Bearer)]),
    (
        "anthropic",
        &[("ANTHROPIC_API_KEY", Manner::Header("x-api-key")), ("ANTHROPIC_AUTH_TOKEN", Manner::Bearer)],
    ),
    (
        "gemini",
        &[
            ("GEMINI_API_KEY", Manner::Header("x-goog-api-key")),
            ("GOOGLE_API_KEY", Manner::Header("x-goog-api-key")),
        ],
    ),
    ("azure", &[("AZURE_OPENAI_API_KEY", Manner::Header("api-key"))]),
    ("bedrock", &[("AWS_BEARER_TOKEN_BEDROCK", Manner::Bearer)]),
    ("cohere", &[("CO_API_KEY", Manner::Bearer), ("COHERE_API_KEY", Manner::Bearer)]),
    ("vertex", &[("VERTEX_ACCESS_TOKEN", Manner::Bearer)]),
];

/// Headers in which keys travel.
static KEY_HEADERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];

#[derive(Clone)]
struct Key {
    manner: Manner,
    value: HeaderValue,
}

/// Keys by provider.
#[derive(Clone, Default)]
pub struct UpstreamKeys(BTreeMap<Provider, Key>);

impl std::fmt::Debug for UpstreamKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl UpstreamKeys {
    /// The keys of these providers that an environment holds.
    pub fn of(providers: &[Provider], environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let key = |provider: &Provider| {
            let found = variables(provider).into_iter().find_map(|(name, manner)| {
                let value = environment(&name).map(|value| value.trim().to_owned())?;
                Some((manner, Some(value).filter(|value| !value.is_empty() && value != DUMMY_KEY)?))
            });
            let (manner, value) = found?;
            let text = match manner {
                Manner::Bearer => format!("Bearer {value}"),
                Manner::Header(_) => value,
            };
            let mut value = HeaderValue::from_str(&text).ok()?;
            value.set_sensitive(true);
            Some((provider.clone(), Key { manner, value }))
        };
        Self(providers.iter().filter_map(key).collect())
    }

    pub fn has(&self, provider: &Provider) -> bool {
        self.0.contains_key(provider)
    }

    /// Takes dummies out of a call that goes to `provider`, and puts the key in unless the call has one.
    pub(crate) fn put_into(&self, provider: &Provider, headers: &mut HeaderMap, path: &mut String) {
        let is_dummy =
            |value: &HeaderValue| memchr::memmem::find(value.as_bytes(), DUMMY_KEY.as_bytes()).is_some();
        for name in &KEY_HEADERS {
            if headers.get_all(name).iter().any(is_dummy) {
                headers.remove(name);
            }
        }
        if path.contains(DUMMY_KEY) {
            *path = without_dummy(path);
        }
        let has_its_own = KEY_HEADERS.iter().any(|name| headers.contains_key(name)) || has_key_in_query(path);
        if let (false, Some(key)) = (has_its_own, self.0.get(provider)) {
            let name = match key.manner {
                Manner::Bearer => header::AUTHORIZATION,
                Manner::Header(name) => HeaderName::from_static(name),
            };
            headers.insert(name, key.value.clone());
        }
    }
}

/// The key of one upstream among several: it takes the place of the one that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    plain: HeaderValue,
    bearer: HeaderValue,
}

impl OwnKey {
    /// `None` if no header can hold it.
    pub fn new(key: &str) -> Option<Self> {
        let sensitive = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let key = key.trim();
        (!key.is_empty()).then_some(())?;
        Some(Self { plain: sensitive(key)?, bearer: sensitive(&format!("Bearer {key}"))? })
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.plain.as_bytes()
    }

    /// Where the client's key stands; a client without one gets it as a bearer token.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) {
        let has_other = KEY_HEADERS[1..].iter().any(|name| headers.contains_key(name));
        for name in &KEY_HEADERS[1..] {
            if headers.contains_key(name) {
                headers.insert(name, self.plain.clone());
            }
        }
        if headers.contains_key(header::AUTHORIZATION) || !has_other {
            headers.insert(header::AUTHORIZATION, self.bearer.clone());
        }
    }
}

/// The variables that may hold a provider's key.
fn variables(provider: &Provider) -> Vec<(String, Manner)> {
    let known = VARIABLES.iter().find(|(name, _)| *name == provider.as_str());
    match known {
        Some((_, variables)) => {
            variables.iter().map(|(name, manner)| ((*name).to_owned(), *manner)).collect()
        }
        None => {
            let name = provider.as_str().to_ascii_uppercase().replace('-', "_");
            vec![(format!("{name}_API_KEY"), Manner::Bearer)]
        }
    }
}

/// Their names, for people.
pub fn variable_names(provider: &Provider) -> Vec<String> {
    variables(provider).into_iter().map(|(name, _)| name).collect()
}

/// Whether a recorded call carried a key, which is redacted now.
pub fn carried_key(headers: &RedactedHeaders, path: &str) -> bool {
    KEY_HEADERS.iter().any(|name| headers.get(name.as_str()).is_some()) || has_key_in_query(path)
}

fn has_key_in_query(path: &str) -> bool {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| pair.strip_prefix("key=").is_some_and(|value| !value.is_empty()))
}

fn without_dummy(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.contains(DUMMY_KEY)).collect();
    if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(
        provider: &Provider,
        variable: &str,
        headers: &[(&'static str, &str)],
        path: &str,
    ) -> (HeaderMap, String) {
        let environment = |name: &str| (name == variable).then(|| "real".to_owned());
        let keys = UpstreamKeys::of(std::slice::from_ref(provider), &environment);
        let mut headers: HeaderMap = headers
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap()))
            .collect();
        let mut path = path.to_owned();
        keys.put_into(provider, &mut headers, &mut path);
        (headers, path)
    }

    #[test]
    fn dummies_give_way_to_the_key() {
        let bearer = format!("Bearer {DUMMY_KEY}");
        let (headers, _) = sent(&Provider::OPENAI, "OPENAI_API_KEY", &[("authorization", &bearer)], "/v1/x");
        assert_eq!(headers["authorization"], "Bearer real");
        let (headers, _) =
            sent(&Provider::ANTHROPIC, "ANTHROPIC_AUTH_TOKEN", &[("x-api-key", DUMMY_KEY)], "/v1/messages");
        assert_eq!(
            (headers.get("x-api-key"), headers["authorization"].as_bytes()),
            (None, &b"Bearer real"[..])
        );
        let query = format!("/v1beta/models/m:generateContent?alt=sse&key={DUMMY_KEY}");
        let (headers, path) = sent(&Provider::GEMINI, "GOOGLE_API_KEY", &[], &query);
        assert_eq!(
            (&headers["x-goog-api-key"], path.as_str()),
            (&HeaderValue::from_static("real"), "/v1beta/models/m:generateContent?alt=sse")
        );
        let groq = Provider::parse("groq").unwrap();
        assert_eq!(sent(&groq, "GROQ_API_KEY", &[], "/x").0["authorization"], "Bearer real");
    }

    #[test]
    fn the_agents_own_key_passes() {
        let (headers, _) =
            sent(&Provider::OPENAI, "OPENAI_API_KEY", &[("authorization", "Bearer its own")], "/v1/x");
        assert_eq!(headers["authorization"], "Bearer its own");
        let keys = UpstreamKeys::of(&[Provider::OPENAI], &|_| Some(DUMMY_KEY.to_owned()));
        assert!(!keys.has(&Provider::OPENAI), "a dummy is no key");
        assert_eq!(
            format!("{:?}", UpstreamKeys::of(&[Provider::OPENAI], &|_| Some("s3cret".into()))),
            r#"{Provider("openai")}"#
        );
    }
}
