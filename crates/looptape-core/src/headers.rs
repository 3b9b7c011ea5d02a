//! Header lists that are fit to be stored.
//!
//! [`RedactedHeaders`] is the only form in which headers leave the proxy: the store accepts nothing else,
//! so a credential in a header cannot reach the disk by mistake. Credentials are recognised by name
//! (`authorization`, `*-api-key`, cookies …); their values become a fixed mark, the names stay.
//! Values are kept byte for byte, as Latin-1 text.

use serde::{Deserialize, Serialize};

/// What stands in place of a credential's value.
pub const REDACTED: &str = "[redacted]";

/// Header names (lower case) whose values are credentials.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "authentication",
    "api-key",
    "apikey",
    "cookie",
    "cookie2",
    "set-cookie",
    "set-cookie2",
    "cf-access-jwt-assertion",
    "dd-application-key",
    "helicone-auth",
    "private-token",
    "job-token",
    "token",
    "x-amz-security-token",
    "x-auth-key",
    "x-csrf-token",
    "x-figma-token",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-functions-key",
    "x-github-token",
    "x-gitlab-token",
    "x-goog-iap-jwt-assertion",
    "x-goog-iam-authorization-token",
    "x-id-token",
    "x-key",
    "x-looptape-token",
    "x-ms-copy-source-authorization",
    "x-portkey-virtual-key",
    "x-subscription-token",
    "x-token",
    "x-vault-token",
    "x-xsrf-token",
];

/// Endings (lower case) that mark a credential whatever comes before them.
const SECRET_ENDINGS: &[&str] = &[
    "-api-key",
    "-apikey",
    "api_key",
    "-secret",
    "-secret-key",
    "-private-key",
    "-access-key",
    "-signing-key",
    "-subscription-key",
    "-license-key",
    "-password",
    "-passwd",
    "-credential",
    "-auth-token",
    "-access-token",
    "-refresh-token",
    "-session-token",
    "-api-token",
    "-authorization",
];

/// Whether a header's value must never be stored. `name` in any case.
pub fn is_secret(name: &str) -> bool {
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => is_secret_in_lower_case(&name.to_ascii_lowercase()),
        false => is_secret_in_lower_case(name),
    }
}

/// Asked several times for each header of each call.
fn is_secret_in_lower_case(name: &str) -> bool {
    let ends_like_one = SECRET_LAST_BYTES.contains(&name.as_bytes().last().copied().unwrap_or_default());
    SECRET_NAMES.iter().any(|secret| secret.len() == name.len() && *secret == name)
        || (ends_like_one && SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// The last bytes of [`SECRET_ENDINGS`].
const SECRET_LAST_BYTES: &[u8] = b"dlnty";

/// Headers in the order in which they came, names in lower case, credentials replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedactedHeaders(Vec<(String, String)>);

impl RedactedHeaders {
    /// Redacts live headers.
    pub fn redact<'a>(live: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(
            live.into_iter()
                .map(|(name, value)| {
                    let name = name.to_ascii_lowercase();
                    let value = if is_secret(&name) { REDACTED.to_owned() } else { latin1_to_string(value) };
                    (name, value)
                })
                .collect(),
        )
    }

    /// The same list with each value rewritten: for patterns that find secrets in ordinary headers.
    pub fn map_values(self, mut rewrite: impl FnMut(&str, String) -> String) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|(n, v)| {
                    let v = rewrite(&n, v);
                    (n, v)
                })
                .collect(),
        )
    }

    /// The same list without the headers that `drop` names.
    pub fn without(self, drop: impl Fn(&str) -> bool) -> Self {
        Self(self.0.into_iter().filter(|(n, _)| !drop(n)).collect())
    }

    /// The first value of a header; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `name\0value\0` for each header, UTF-8: the stored form, which compresses and compares well.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
        for (name, value) in &self.0 {
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        }
        out
    }

    /// Reads [`RedactedHeaders::encode`]'s form; `None` if it is not that.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let text = std::str::from_utf8(bytes.strip_suffix(&[0])?).ok()?;
        let fields: Vec<&str> = text.split('\0').collect();
        let (pairs, rest) = fields.as_chunks::<2>();
        rest.is_empty().then(|| Self(pairs.iter().map(|[n, v]| ((*n).to_owned(), (*v).to_owned())).collect()))
    }
}

/// Header bytes as text, one character a byte, so that any value survives a round trip.
pub fn latin1_to_string(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// The bytes of a header value that [`latin1_to_string`] made.
pub fn string_to_latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_by_name() {
        let live: &[(&str, &[u8])] = &[
            ("Authorization", b"Bearer sk-1"),
            ("x-api-key", b"sk-ant"),
            ("X-Goog-Api-Key", b"AIza"),
            ("Cookie", b"a=b"),
            ("content-type", b"application/json"),
            ("x-bytes", b"\xff\xfe"),
        ];
        let h = RedactedHeaders::redact(live.iter().copied());
        for name in ["Proxy-Authorization", "ocp-apim-subscription-key", "X-Vault-Token", "dd-api-key"] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "anthropic-ratelimit-tokens-remaining",
            "x-ms-continuation-token",
            "www-authenticate",
            "access-control-allow-credentials",
        ] {
            assert!(!is_secret(name), "{name}");
        }
        for name in ["authorization", "x-api-key", "x-goog-api-key", "cookie"] {
            assert_eq!(h.get(name), Some(REDACTED));
        }
        assert_eq!(h.get("content-type"), Some("application/json"));
        assert_eq!(string_to_latin1(h.get("x-bytes").unwrap()), b"\xff\xfe");
        assert_eq!(RedactedHeaders::decode(&h.encode()), Some(h));
    }

    #[test]
    fn every_secret_ending_is_looked_at() {
        for ending in SECRET_ENDINGS {
            assert!(is_secret(&format!("X-Any{ending}")), "{ending}");
        }
    }

    #[test]
    fn stored_form_rejects_garbage() {
        assert_eq!(RedactedHeaders::decode(b""), Some(RedactedHeaders::default()));
        assert_eq!(RedactedHeaders::decode(b"a"), None);
        assert_eq!(RedactedHeaders::decode(b"a\0"), None);
    }
}
