//! Redaction of paths and query strings.
//!
//! Values of parameters that are credentials by name become [`REDACTED`]; in the rest, patterns and known
//! credentials run over the percent-decoded text. Everything else stays as it was written. Of several secrets that are
//! found so, the second and later ones have numbers, by first occurrence in this path: two stay two, whatever they are. A
//! path that is cleaned already stays as it is.

use super::credentials::Credentials;
use super::decoded::DecodedText;
use super::findings::{merge, search};
use super::patterns::Patterns;
use crate::headers::REDACTED;
use std::borrow::Cow;

/// Parameters whose values are credentials: lower case, `-` as `_`.
const SECRET_NAMES: &[&str] = &[
    "key",
    "api_key",
    "apikey",
    "x_api_key",
    "x_goog_api_key",
    "subscription_key",
    "ocp_apim_subscription_key",
    "access_token",
    "accesstoken",
    "auth_token",
    "authtoken",
    "auth",
    "authorization",
    "bearer",
    "token",
    "id_token",
    "refresh_token",
    "session_token",
    "jwt",
    "sig",
    "signature",
    "awsaccesskeyid",
    "x_amz_signature",
    "x_amz_credential",
    "x_amz_security_token",
    "x_goog_signature",
    "x_goog_credential",
    "password",
    "passwd",
    "pwd",
    "secret",
    "client_secret",
    "client_assertion",
    "code",
    "code_verifier",
];

/// A path with its query (or a whole URL), fit to be stored.
pub fn redact_path(patterns: &Patterns, known: &Credentials, path_and_query: &str) -> String {
    let (path, query) = split_query(path_and_query);
    let mut marks = Marks::default();
    let mut out = redact_text(patterns, known, &mut marks, path).into_owned();
    for (place, parameter) in query.into_iter().flat_map(|q| q.split('&')).enumerate() {
        out.push(if place == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, value)) if is_secret_parameter(name) && !value.is_empty() => {
                out.push_str(name);
                out.push('=');
                out.push_str(REDACTED);
            }
            _ => out.push_str(&redact_text(patterns, known, &mut marks, parameter)),
        }
    }
    out
}

/// The values of credential parameters, percent-decoded. For memory only.
pub(super) fn credential_values(path_and_query: &str) -> Vec<Vec<u8>> {
    let (_, query) = split_query(path_and_query);
    query
        .into_iter()
        .flat_map(|q| q.split('&'))
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| is_secret_parameter(name))
        .map(|(_, value)| DecodedText::percent(value.as_bytes()).bytes().to_vec())
        .collect()
}

fn split_query(path_and_query: &str) -> (&str, Option<&str>) {
    path_and_query.split_once('?').map_or((path_and_query, None), |(path, query)| (path, Some(query)))
}

fn is_secret_parameter(name: &str) -> bool {
    let name = DecodedText::percent(name.as_bytes());
    let name = String::from_utf8_lossy(name.bytes()).to_ascii_lowercase().replace('-', "_");
    SECRET_NAMES.contains(&name.as_str())
}

/// What stands for the secrets of one path that were found by what they look like.
#[derive(Default)]
struct Marks {
    secrets: Vec<Vec<u8>>,
}

impl Marks {
    /// `[redacted]` for the first, `[redacted:2]` for the second.
    fn of(&mut self, secret: &[u8]) -> Cow<'static, str> {
        if let Some(mark) = std::str::from_utf8(secret).ok().filter(|text| is_mark(text)) {
            return Cow::Owned(mark.to_owned());
        }
        let known = self.secrets.iter().position(|known| known == secret);
        let at = known.unwrap_or_else(|| {
            self.secrets.push(secret.to_owned());
            self.secrets.len() - 1
        });
        match at {
            0 => Cow::Borrowed(REDACTED),
            at => Cow::Owned(format!("[redacted:{}]", at + 1)),
        }
    }
}

fn is_mark(text: &str) -> bool {
    let number = text.strip_prefix("[redacted:").and_then(|rest| rest.strip_suffix(']'));
    text == REDACTED || number.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn redact_text<'a>(
    patterns: &Patterns,
    known: &Credentials,
    marks: &mut Marks,
    raw: &'a str,
) -> Cow<'a, str> {
    let decoded = DecodedText::percent(raw.as_bytes());
    let found =
        search(patterns, known, decoded.bytes()).into_iter().map(|range| vec![decoded.raw_range(range)]);
    let found = merge(found.collect());
    if found.is_empty() {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut copied = 0;
    for piece in found.into_iter().flatten() {
        let (start, end) = (raw.floor_char_boundary(piece.start), raw.ceil_char_boundary(piece.end));
        out.push_str(&raw[copied..start.max(copied)]);
        out.push_str(&marks.of(DecodedText::percent(&raw.as_bytes()[start..end]).bytes()));
        copied = end;
    }
    out.push_str(&raw[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(path: &str) -> String {
        redact_path(&Patterns::builtin(), &Credentials::none(), path)
    }

    #[test]
    fn credentials_by_name() {
        for (live, stored) in [
            (
                "/v1beta/models/m:generateContent?key=AbC&alt=sse",
                "/v1beta/models/m:generateContent?key=[redacted]&alt=sse",
            ),
            (
                "/x?API-Key=1&X-Amz-Signature=2&code=3",
                "/x?API-Key=[redacted]&X-Amz-Signature=[redacted]&code=[redacted]",
            ),
            ("/x?%6bey=1", "/x?%6bey=[redacted]"),
            ("/x?key=&key&monkey=1&beta=true", "/x?key=&key&monkey=1&beta=true"),
            ("/v1/chat?x=%20%zz&&", "/v1/chat?x=%20%zz&&"),
        ] {
            assert_eq!(redacted(live), stored);
        }
    }

    #[test]
    fn patterns_see_percent_decoded_text() {
        let key = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        assert_eq!(redacted(&format!("/hook/{key}/x?y={key}")), "/hook/[redacted]/x?y=[redacted]");
        assert_eq!(redacted(&format!("/x?y=%67hp%5f{}", &key[4..])), "/x?y=[redacted]");
        assert_eq!(redacted("https://me:pa55word@host/x"), "https://me:[redacted]@host/x");
        assert_eq!(
            redacted(&redacted(&format!("/{key}?y={key}&key=1"))),
            "/[redacted]?y=[redacted]&key=[redacted]"
        );
    }

    #[test]
    fn two_secrets_stay_two_whatever_they_are() {
        let key = |last: char| format!("ghp_0123456789abcdefghijABCDEFGHIJ01234{last}");
        let moved = |from, to| redacted(&format!("/move?from={}&to={}&token=x", key(from), key(to)));
        assert_eq!(moved('a', 'b'), "/move?from=[redacted]&to=[redacted:2]&token=[redacted]");
        assert_eq!(moved('c', 'd'), moved('a', 'b'), "keys rotate");
        assert_eq!(moved('a', 'a'), "/move?from=[redacted]&to=[redacted]&token=[redacted]");
        assert_eq!(redacted(&moved('a', 'b')), moved('a', 'b'));
    }

    #[test]
    fn known_credentials_are_found_too() {
        let mut known = Credentials::none();
        known.add(b"in-house-key/77");
        assert_eq!(redact_path(&Patterns::builtin(), &known, "/a?b=in-house-key%2F77"), "/a?b=[redacted]");
    }
}
