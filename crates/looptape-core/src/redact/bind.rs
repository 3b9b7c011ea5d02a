//! Placeholders in replay: the same on both sides for matching, the live secret in what is served.
//!
//! Matching compares bodies whose placeholders are renamed by first occurrence ([`normalise`]), so
//! neither the numbering of a trace nor the secret's value decides. When a request matched, its n-th
//! recorded placeholder stands for its n-th live secret; a [`Binding`] remembers that and writes the live
//! value into recorded answers ([`Binding::restore`]). Values live in memory only.
//!
//! A placeholder without a binding (a secret that came in an answer and was never sent) stays as it is.

use super::body::Redacted;
use super::placeholders::{Found, SecretNumber, placeholders};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// Renames placeholders to 1, 2, 3 … in order of first occurrence.
pub fn normalise(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut names: BTreeMap<SecretNumber, u32> = BTreeMap::new();
    rewrite(bytes, |number| {
        let next = names.len() as u32 + 1;
        let name = *names.entry(number).or_insert(next);
        Some(SecretNumber(name).to_string().into_bytes())
    })
}

/// Where a restored value will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// Inside JSON strings: values are escaped.
    Json,
    /// Anything else: values are written as they are.
    Plain,
}

/// Which live secret each recorded placeholder stands for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Binding(BTreeMap<SecretNumber, Vec<u8>>);

impl Binding {
    /// Binds the placeholders of a recorded request to the secrets of the live request that matched it.
    /// Bodies with different numbers of secrets are not bound at all: a guess could serve the wrong one.
    pub fn of_request(recorded: &[u8], live_original: &[u8], live: &Redacted<'_>) -> Self {
        let mut order: Vec<SecretNumber> = Vec::new();
        for found in placeholders(recorded) {
            if !order.contains(&found.number) {
                order.push(found.number);
            }
        }
        let values = live.values(live_original);
        if order.len() != values.len() {
            return Self::default();
        }
        Self(order.into_iter().zip(values.into_iter().map(|(_, value)| value)).collect())
    }

    /// Adds the bindings of a later request; where both bind a number, the later one holds.
    pub fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// Whether nothing is bound, so that recorded bytes can be served as they are.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Recorded bytes (a body or one chunk) with bound placeholders replaced by the live values.
    pub fn restore<'a>(&self, recorded: &'a [u8], surroundings: Surroundings) -> Cow<'a, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(recorded);
        }
        rewrite(recorded, |number| {
            let value = self.0.get(&number)?;
            Some(match surroundings {
                Surroundings::Json => json_escaped(value),
                Surroundings::Plain => value.clone(),
            })
        })
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(|number| number.0)).finish()
    }
}

/// Replaces placeholders; those for which `replacement` has nothing stay.
fn rewrite(bytes: &[u8], mut replacement: impl FnMut(SecretNumber) -> Option<Vec<u8>>) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut copied = 0;
    for Found { range, number } in placeholders(bytes) {
        if let Some(new) = replacement(number) {
            let out = out.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
            out.extend_from_slice(&bytes[copied..range.start]);
            out.extend_from_slice(&new);
            copied = range.end;
        }
    }
    match out {
        None => Cow::Borrowed(bytes),
        Some(mut out) => {
            out.extend_from_slice(&bytes[copied..]);
            Cow::Owned(out)
        }
    }
}

pub(super) fn json_escaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out
}
