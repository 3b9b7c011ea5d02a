//! Secrets stay out of the recording.
//!
//! Everything that will be stored passes through here first: bodies ([`redact_body`], [`redact_answer`]),
//! headers ([`redact_headers`]), paths ([`redact_path`]). A secret is found by what it looks like
//! ([`Patterns`]) or by where it stood ([`Credentials`]: header values and query keys of the same
//! exchange), and a numbered placeholder takes its place (`placeholders`). In replay, placeholders are
//! renamed for matching ([`normalise`]) and bound to the live request's own secrets ([`Binding`]); the
//! same search lets live values stand for recorded ones in answers ([`Rebinding`]).
//!
//! Invariants: outside the replaced spans every byte stays; valid JSON and valid events stay valid; a
//! value in memory is never shown by `Debug`; redacting what is already redacted changes nothing.
//!
//! Byte-exactness ends at a false positive, so patterns are chosen to leave ordinary ids, hashes and
//! base64 alone. It does not decode anything but JSON escapes and percent encoding: bodies with a content
//! encoding are decoded by the caller, who then asks [`StoredForm`] what to keep. A body that could not
//! be decoded could not be searched: the caller must not store it as if it had been.

mod bind;
mod body;
mod builtin;
mod credentials;
mod decoded;
mod findings;
mod glance;
mod header_values;
mod json_strings;
mod likeness;
mod patterns;
mod placeholders;
mod query;
mod rebind;
mod stream;
#[cfg(test)]
mod tests;

pub use bind::{Binding, Surroundings, normalise};
pub use body::{Put, Redacted, Span, StoredForm, is_clean, redact_body};
pub use credentials::Credentials;
pub use header_values::redact_headers;
pub use patterns::{Patterns, PatternsError, RedactConfig};
pub use placeholders::{Found, PLACEHOLDER, SecretNumber, Vault, VaultKey, placeholders};
pub use query::redact_path;
pub use rebind::{Rebinding, Rebound};
pub use stream::redact_answer;
