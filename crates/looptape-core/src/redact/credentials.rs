//! The credentials of an exchange: values known to be secret because of where they stood.
//!
//! A key in an `authorization` header is secret whatever it looks like, so the same bytes in a body are
//! replaced too. These values live in memory only and are never shown.

use super::query::credential_values;
use crate::headers::is_secret;
use memchr::memmem::Finder;
use std::{fmt, ops::Range, sync::Arc};

/// Shorter values are not searched for: `test` or `ollama` as a key would blot out ordinary words.
const MIN_LEN: usize = 8;
/// Below this length a value is searched for only if it mixes letters and digits.
const MIN_PLAIN_LEN: usize = 16;

/// Values to search for. Cheap to build for each exchange, and cheaper to copy.
#[derive(Clone, Default)]
pub struct Credentials {
    finders: Vec<Arc<Finder<'static>>>,
}

impl Credentials {
    /// No credentials known.
    pub fn none() -> Self {
        Self::default()
    }

    /// What the headers and the query of one live request hold.
    pub fn of_request<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        path_and_query: &str,
    ) -> Self {
        let mut known = Self::none();
        for (_, value) in headers.into_iter().filter(|(name, _)| is_secret(name)) {
            known.add_header_value(value);
        }
        for value in credential_values(path_and_query) {
            known.add(&value);
        }
        known
    }

    /// Adds a value that is known to be secret from elsewhere (an environment variable, an earlier call).
    pub fn add(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        if is_searchable(value) && !self.has(value) {
            self.add_exactly(value);
        }
    }

    fn has(&self, value: &[u8]) -> bool {
        self.finders.iter().any(|finder| finder.needle() == value)
    }

    /// Adds a value as it is, short ones too: for values that are no secrets.
    pub(super) fn add_exactly(&mut self, value: &[u8]) {
        self.finders.push(Arc::new(Finder::new(value).into_owned()));
    }

    /// Whether the two look for the same values, in the same order.
    pub fn same_as(&self, other: &Self) -> bool {
        self.finders.len() == other.finders.len()
            && self
                .finders
                .iter()
                .zip(&other.finders)
                .all(|(a, b)| Arc::ptr_eq(a, b) || a.needle() == b.needle())
    }

    /// Adds the values of another set.
    pub fn extend(&mut self, other: &Self) {
        for finder in &other.finders {
            if !self.has(finder.needle()) {
                self.finders.push(finder.clone());
            }
        }
    }

    /// A header's value holds its credential after a scheme (`Bearer x`) or in pairs (`a=x; b=y`).
    fn add_header_value(&mut self, value: &[u8]) {
        for part in value.split(|b| b" ;,".contains(b)) {
            self.add(part);
            if let Some(equals) = memchr::memchr(b'=', part) {
                self.add(&part[equals + 1..]);
            }
        }
    }

    /// Where the values stand in `text`.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let places = |finder: &Arc<Finder<'static>>| -> Vec<Range<usize>> {
            finder.find_iter(text).map(|start| start..start + finder.needle().len()).collect()
        };
        self.finders.iter().flat_map(places).collect()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} values)", self.finders.len())
    }
}

fn is_searchable(value: &[u8]) -> bool {
    let mixed = value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic);
    value.len() >= MIN_PLAIN_LEN || (value.len() >= MIN_LEN && mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_from_where_they_stand() {
        let headers: &[(&str, &[u8])] = &[
            ("Authorization", b"Bearer corporate-key-of-mine"),
            ("cookie", b"theme=dark; session=f00dfeed99"),
            ("x-note", b"not-a-credential-at-all"),
        ];
        let known = Credentials::of_request(headers.iter().copied(), "/v1?key=Q1w2e3r4t5&alt=sse");
        let found = |text: &str| known.find(text.as_bytes()).len();
        assert_eq!(found("x corporate-key-of-mine y"), 1);
        assert_eq!(found("f00dfeed99 Q1w2e3r4t5"), 2);
        assert_eq!(found("dark Bearer theme sse not-a-credential-at-all"), 0);
        assert_eq!(format!("{known:?}"), "Credentials(4 values)");
    }
}
