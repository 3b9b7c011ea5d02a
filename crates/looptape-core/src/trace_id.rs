//! Trace ids: the name under which a user finds a loop again.
//!
//! An id may come from outside (a header, a path prefix, W3C `traceparent`), so it is whatever the user's
//! tracing system calls the run, within a safe alphabet. Outside ids repeat when a job runs again: the
//! store tells those runs apart by number, not by changing the id.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest id that is accepted, in bytes.
pub const MAX_LEN: usize = 128;

/// A trace id: 1 to 128 characters of `A-Z a-z 0-9 . _ : @ -`, the first of them a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId(String);

/// Why a text cannot be a trace id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` cannot be a trace id: use 1 to {MAX_LEN} characters of A-Z a-z 0-9 . _ : @ -, starting with a letter or digit"
)]
pub struct InvalidTraceId {
    text: String,
}

impl TraceId {
    /// Accepts an outside id.
    pub fn parse(text: &str) -> Result<Self, InvalidTraceId> {
        let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let all_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b));
        if first_ok && all_ok && text.len() <= MAX_LEN {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTraceId { text: text.chars().take(MAX_LEN).collect() })
        }
    }

    /// An id of 32 hex digits from 16 random bytes (W3C trace-id form). The randomness is the caller's.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// An id of 32 hex digits that follows from content: equal content, equal id.
    pub fn of_content(digest: Digest) -> Self {
        let mut hex = digest.to_hex();
        hex.truncate(32);
        Self(hex)
    }

    /// The trace-id of a W3C `traceparent` header, if the header is valid and the id is not all zeros.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut fields = header.trim().split('-');
        let version = fields.next()?;
        let id = fields.next()?;
        let parent = fields.next()?;
        let hex =
            |s: &str, n| s.len() == n && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let valid = hex(version, 2) && version != "ff" && hex(id, 32) && hex(parent, 16);
        (valid && id.bytes().any(|b| b != b'0')).then(|| Self(id.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TraceId {
    type Error = InvalidTraceId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_tracing_systems_use() {
        for id in ["4bf92f3577b34da6a3ce929d0e0e4736", "job-17", "run:2026.11@ci", "A"] {
            assert_eq!(TraceId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", "-x", "a/b", "a b", "é", &"a".repeat(129), "../x"] {
            assert!(TraceId::parse(id).is_err(), "{id}");
        }
    }

    #[test]
    fn traceparent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceId::from_traceparent(good).unwrap().as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00-0000-11-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::from_traceparent(bad), None, "{bad}");
        }
    }
}
