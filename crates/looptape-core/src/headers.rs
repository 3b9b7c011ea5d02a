//! Header lists that are fit to be stored.
//!
//! [`RedactedHeaders`] is the only form in which headers leave the proxy: the store accepts nothing else,
//! so a credential in a header cannot reach the disk by mistake. Credentials are recognised by name
//! (`authorization`, `*-api-key`, cookies …); their values become a fixed mark, the names stay.
//! Values are kept byte for byte, as Latin-1 text; a NUL, which none may hold, is left out.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

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
        true => is_secret_in_lower_case(name.to_ascii_lowercase().as_bytes()),
        false => is_secret_in_lower_case(name.as_bytes()),
    }
}

/// Asked several times for each header of each call, so most names must cost little.
fn is_secret_in_lower_case(name: &[u8]) -> bool {
    let is_ending = |ending: &&str| name.ends_with(ending.as_bytes());
    (SECRET_TRAITS[name_traits(name)] && SECRET_NAMES.iter().any(|secret| secret.as_bytes() == name))
        || (name.last_chunk().is_some_and(|last| SECRET_LAST_BYTES.contains(&last))
            && SECRET_ENDINGS.iter().any(is_ending))
}

/// The last two bytes of [`SECRET_ENDINGS`].
const SECRET_LAST_BYTES: &[&[u8; 2]] = &[b"al", b"en", b"et", b"ey", b"on", b"rd", b"wd"];

/// A number below 256 that names share by chance only.
const fn name_traits(name: &[u8]) -> usize {
    match name {
        [first, .., last] => (name.len() * 41 + *first as usize * 7 + *last as usize) % 256,
        _ => name.len(),
    }
}

/// The traits of [`SECRET_NAMES`]: a name with others is none of them.
static SECRET_TRAITS: [bool; 256] = {
    let mut traits = [false; 256];
    let mut at = 0;
    while at < SECRET_NAMES.len() {
        traits[name_traits(SECRET_NAMES[at].as_bytes())] = true;
        at += 1;
    }
    traits
};

/// Headers in the order in which they came, names in lower case, credentials replaced.
///
/// One text, which is also the stored form: `name\0value\0` for each header. A list is made, handed to another
/// thread, compared and written down for every call; as one piece of memory it costs one allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedactedHeaders(String);

impl RedactedHeaders {
    /// Redacts live headers.
    pub fn redact<'a>(live: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut list = Vec::with_capacity(TYPICAL_BYTES);
        for (name, value) in live {
            let at = list.len();
            push_latin1(&mut list, name.as_bytes());
            list[at..].make_ascii_lowercase();
            let value = if is_secret_in_lower_case(&list[at..]) { REDACTED.as_bytes() } else { value };
            list.push(END);
            push_latin1(&mut list, value);
            list.push(END);
        }
        Self(String::from_utf8(list).expect("Latin-1 was written as UTF-8"))
    }

    fn push(&mut self, name: &str, value: &str) {
        for field in [name, value] {
            self.0.push_str(field);
            self.0.push(char::from(END));
        }
    }

    /// The same list with other values, where `rewrite` has one for a header's name and value: for patterns
    /// that find secrets in ordinary headers.
    pub fn map_values(&self, mut rewrite: impl FnMut(&str, &str) -> Option<String>) -> Self {
        let mut list = Self(String::with_capacity(self.0.len()));
        for (name, value) in self.iter() {
            match rewrite(name, value) {
                Some(new) => list.push(name, &new),
                None => list.push(name, value),
            }
        }
        list
    }

    /// The same list without the headers that `drop` names.
    pub fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        self.iter().filter(|(name, _)| !drop(name)).collect()
    }

    /// The first value of a header; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.0.as_str();
        let mut field = move || {
            let end = memchr::memchr(END, rest.as_bytes())?;
            let field = &rest[..end];
            rest = &rest[end + 1..];
            Some(field)
        };
        std::iter::from_fn(move || Some((field()?, field()?)))
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `name\0value\0` for each header, UTF-8: the stored form, which compresses and compares well.
    pub fn encoded(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Reads [`RedactedHeaders::encoded`]'s form; `None` if it is not that.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fields = bytes.iter().filter(|b| **b == END).count();
        let is_whole = text.is_empty() || bytes.ends_with(&[END]);
        (is_whole && fields % 2 == 0).then(|| Self(text.to_owned()))
    }
}

/// What ends a name or a value.
const END: u8 = 0;

/// Most lists of requests and answers fit into this.
const TYPICAL_BYTES: usize = 512;

/// Adds Latin-1 bytes as UTF-8, without the byte that ends a field.
fn push_latin1(list: &mut Vec<u8>, bytes: &[u8]) {
    // Without a branch in it, so that many bytes are looked at at once.
    match bytes.iter().fold(true, |ascii, &b| ascii & (b != END) & (b < 0x80)) {
        true => list.extend_from_slice(bytes),
        false => {
            let text: String = bytes.iter().filter(|b| **b != END).map(|&b| char::from(b)).collect();
            list.extend_from_slice(text.as_bytes());
        }
    }
}

/// Of a list that is redacted already.
impl<'a> FromIterator<(&'a str, &'a str)> for RedactedHeaders {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(headers: T) -> Self {
        let mut list = Self::default();
        headers.into_iter().for_each(|(name, value)| list.push(name, value));
        list
    }
}

impl fmt::Debug for RedactedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// As a list of pairs.
impl Serialize for RedactedHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for RedactedHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        match pairs.iter().any(|(n, v)| n.contains(char::from(END)) || v.contains(char::from(END))) {
            true => Err(serde::de::Error::custom("a header holds a NUL")),
            false => Ok(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()),
        }
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
        assert_eq!(RedactedHeaders::decode(h.encoded()), Some(h));
    }

    #[test]
    fn every_secret_name_is_looked_at() {
        for name in SECRET_NAMES {
            assert!(is_secret(name) && is_secret(&name.to_ascii_uppercase()), "{name}");
            assert!(!is_secret(&format!("{name}s")) && !is_secret(&format!("x{name}z")), "{name}");
        }
        for name in ["", "a", "x-"] {
            assert!(!is_secret(name), "{name}");
        }
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
        for garbage in [&b"a"[..], b"a\0", b"a\0b", b"a\0b\0c\0", b"\xff\0b\0"] {
            assert_eq!(RedactedHeaders::decode(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn empty_values_and_bytes_that_no_header_may_hold() {
        let live: &[(&str, &[u8])] = &[("X-Empty", b""), ("x-nul", b"a\0b\xe9"), ("x-utf-8", "é".as_bytes())];
        let list = RedactedHeaders::redact(live.iter().copied());
        let pairs: Vec<_> = list.iter().collect();
        assert_eq!(pairs, [("x-empty", ""), ("x-nul", "abé"), ("x-utf-8", "Ã©")]);
        assert_eq!(list.len(), 3);
        assert_eq!(RedactedHeaders::decode(list.encoded()).as_ref(), Some(&list));
        assert_eq!(list.without(|name| name == "x-nul").iter().collect::<Vec<_>>(), [pairs[0], pairs[2]]);
    }

    #[test]
    fn as_json_it_is_a_list_of_pairs() {
        let list = RedactedHeaders::redact([("A", &b"1"[..]), ("b", b"")]);
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(json, r#"[["a","1"],["b",""]]"#);
        assert_eq!(serde_json::from_str::<RedactedHeaders>(&json).unwrap(), list);
        assert!(serde_json::from_str::<RedactedHeaders>(r#"[["a","\u0000"]]"#).is_err());
    }
}
