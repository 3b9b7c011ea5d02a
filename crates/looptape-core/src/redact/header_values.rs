//! Redaction of header lists.
//!
//! Credentials go by name (`headers`); what is left goes through the patterns, and values that are URLs
//! through the query rules too.

use super::body::redact_body;
use super::credentials::Credentials;
use super::patterns::Patterns;
use super::placeholders::Vault;
use super::query::redact_path;
use crate::headers::{REDACTED, RedactedHeaders, latin1_to_string, string_to_latin1};
use std::borrow::Cow;

/// Headers that carry a URL.
const URL_HEADERS: &[&str] =
    &["location", "content-location", "referer", "operation-location", "azure-asyncoperation"];

/// Redacts live headers.
pub fn redact_headers<'a>(
    patterns: &Patterns,
    vault: &mut Vault,
    known: &Credentials,
    live: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> RedactedHeaders {
    RedactedHeaders::redact(live).map_values(|name, value| {
        if value == REDACTED {
            return None;
        }
        let value = match URL_HEADERS.contains(&name) {
            true => Cow::Owned(redact_path(patterns, known, value)),
            false => Cow::Borrowed(value),
        };
        Some(latin1_to_string(&redact_body(patterns, vault, known, &string_to_latin1(&value)).bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::placeholders::VaultKey;

    #[test]
    fn ordinary_headers_go_through_patterns() {
        let live: &[(&str, &[u8])] = &[
            ("Authorization", b"Bearer in-house-credential"),
            ("X-Debug", b"used in-house-credential; gsk_0123456789abcdefghijABCDEFGHIJ0123456789"),
            ("Location", b"https://x.test/a?sig=abc&b=1"),
            ("x-request-id", b"req_011CQxyzABCDEFGHIJKLMNOP"),
            ("x-bytes", b"\xff\xfe"),
        ];
        let known = Credentials::of_request(live.iter().copied(), "/");
        let mut vault = Vault::new(VaultKey([1; 32]));
        let stored = redact_headers(&Patterns::builtin(), &mut vault, &known, live.iter().copied());
        assert_eq!(stored.get("authorization"), Some(REDACTED));
        assert_eq!(stored.get("x-debug"), Some("used [[looptape:secret:1]]; [[looptape:secret:2]]"));
        assert_eq!(stored.get("location"), Some("https://x.test/a?sig=[redacted]&b=1"));
        assert_eq!(stored.get("x-request-id"), Some("req_011CQxyzABCDEFGHIJKLMNOP"));
        assert_eq!(stored.get("x-bytes").map(string_to_latin1), Some(b"\xff\xfe".to_vec()));
    }
}
