//! Secrets out, before anything is written.
//!
//! Everything that the writer stores goes through here first. A compressed body is searched decoded; if it
//! holds a secret it is stored decoded, without its `content-encoding`. One that cannot be decoded cannot
//! be searched, so it is not stored.

use super::event::TraceSpec;
use bytes::Bytes;
use looptape_core::derive::decode_body;
use looptape_core::exchange::Chunk;
use looptape_core::headers::{REDACTED, RedactedHeaders, latin1_to_string, string_to_latin1};
use looptape_core::labels::Labels;
use looptape_core::redact::{
    Credentials, Patterns, StoredForm, Vault, VaultKey, is_clean, redact_answer, redact_body, redact_path,
};
use looptape_core::wire::content_encoding::DecodeEnd;
use std::ops::Range;
use std::sync::Arc;

/// Patterns, and the key under which this process remembers secret values.
pub(super) struct Scrubber {
    patterns: Arc<Patterns>,
    key: [u8; 32],
}

/// A request fit to be stored.
pub(super) struct CleanRequest {
    pub(super) path: String,
    pub(super) headers: RedactedHeaders,
    /// `None` if the body may be stored as it came.
    pub(super) body: Option<Bytes>,
    /// Why the body is not there, if it had to be left out.
    pub(super) left_out: Option<&'static str>,
}

/// An answer fit to be stored.
pub(super) struct CleanAnswer {
    pub(super) headers: RedactedHeaders,
    pub(super) body: Bytes,
    pub(super) chunks: Vec<Chunk>,
    pub(super) left_out: Option<&'static str>,
}

const UNREADABLE: &str = "a compressed body could not be decoded to look for secrets: it was left out";

impl Scrubber {
    pub(super) fn new(patterns: Arc<Patterns>) -> Self {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).expect("the system has randomness");
        Self { patterns, key }
    }

    pub(super) fn vault(&self) -> Vault {
        Vault::new(VaultKey(self.key))
    }

    /// What people wrote about a trace: its name, agent, tags and command line.
    pub(super) fn spec(&self, vault: &mut Vault, spec: TraceSpec) -> TraceSpec {
        let none = Credentials::none();
        let name = spec.name.map(|name| self.text(vault, &none, name));
        let program = spec.program.map(|program| self.text(vault, &none, program));
        let labels = self.labels(vault, &none, spec.labels);
        let mut before = String::new();
        let command = spec.command.into_iter().map(|word| {
            let flag = std::mem::replace(&mut before, word.clone());
            match flag.starts_with('-') {
                true => self.labelled(vault, flag.trim_start_matches('-'), word),
                false => self.text(vault, &none, word),
            }
        });
        let command = command.collect();
        TraceSpec { name, program, labels, command, ..spec }
    }

    /// What people call a trace.
    pub(super) fn labels(&self, vault: &mut Vault, known: &Credentials, labels: Labels) -> Labels {
        let Labels { agent, agent_version, tags } = labels;
        let agent = agent.map(|agent| self.text(vault, known, agent));
        let agent_version = agent_version.map(|version| self.text(vault, known, version));
        let tags = tags.into_iter().map(|(key, value)| {
            let value = self.labelled(vault, &key, value);
            (self.text(vault, known, key), value)
        });
        Labels { agent, agent_version, tags: tags.collect() }
    }

    /// A value of which its name may say that it is a secret (`--api-key VALUE`).
    fn labelled(&self, vault: &mut Vault, label: &str, value: String) -> String {
        let clean = self.text(vault, &Credentials::none(), format!("{label}={value}"));
        match clean.strip_prefix(label).and_then(|rest| rest.strip_prefix('=')) {
            Some(value) => value.to_owned(),
            None => self.text(vault, &Credentials::none(), value),
        }
    }

    /// Any other text.
    pub(super) fn text(&self, vault: &mut Vault, known: &Credentials, text: String) -> String {
        let clean = redact_body(&self.patterns, vault, known, text.as_bytes());
        if clean.spans.is_empty() { text } else { String::from_utf8_lossy(&clean.bytes).into_owned() }
    }

    /// A path with its query.
    pub(super) fn path(&self, known: &Credentials, path: &str) -> String {
        redact_path(&self.patterns, known, path)
    }

    /// Cleans a request; its path and headers are clean. `fresh` are the parts of its body that are not known to be
    /// clean.
    pub(super) fn request(
        &self,
        vault: &mut Vault,
        (body, known): (&Bytes, &Credentials),
        (path, mut headers): (String, RedactedHeaders),
        fresh: Option<&[Range<usize>]>,
    ) -> CleanRequest {
        let is_clean = |part: &Range<usize>| is_clean(&self.patterns, known, &body[part.clone()]);
        if fresh.is_some_and(|fresh| fresh.iter().all(is_clean)) {
            return CleanRequest { path, headers, body: None, left_out: None };
        }
        let (body, left_out) =
            match self.body(&headers, body, &[], |b| redact_body(&self.patterns, vault, known, b)) {
                Clean::AsSent => (None, None),
                Clean::Replaced { body, decoded, .. } => {
                    if decoded {
                        headers = headers.without(|name| name == "content-encoding");
                    }
                    (Some(body), None)
                }
                Clean::Unreadable => (Some(Bytes::new()), Some(UNREADABLE)),
            };
        CleanRequest { path, headers, body, left_out }
    }

    pub(super) fn answer(
        &self,
        vault: &mut Vault,
        known: &Credentials,
        headers: RedactedHeaders,
        body: Bytes,
        chunks: Vec<Chunk>,
    ) -> CleanAnswer {
        let lens: Vec<u32> = chunks.iter().map(|c| c.len).collect();
        match self.body(&headers, &body, &lens, |b| redact_answer(&self.patterns, vault, known, b)) {
            Clean::AsSent => CleanAnswer { headers, body, chunks, left_out: None },
            Clean::Replaced { body, lens, decoded } => {
                let headers = match decoded {
                    true => headers.without(|n| n == "content-encoding" || n == "content-length"),
                    false => headers.without(|n| n == "content-length"),
                };
                let chunks = chunks.into_iter().zip(lens).map(|(c, len)| Chunk { len, ..c }).collect();
                CleanAnswer { headers, body, chunks, left_out: None }
            }
            Clean::Unreadable => {
                CleanAnswer { headers, body: Bytes::new(), chunks: Vec::new(), left_out: Some(UNREADABLE) }
            }
        }
    }

    /// Cleans headers. Values that stand at the same place in `clean` need not be looked at.
    pub(super) fn headers(
        &self,
        vault: &mut Vault,
        known: &Credentials,
        headers: &RedactedHeaders,
        clean: Option<&RedactedHeaders>,
    ) -> RedactedHeaders {
        let mut places = clean.map(RedactedHeaders::iter);
        headers.map_values(|name, value| {
            let known_clean = places.as_mut().and_then(Iterator::next) == Some((name, value));
            if known_clean || value == REDACTED {
                return None;
            }
            let bytes = string_to_latin1(value);
            let clean = redact_body(&self.patterns, vault, known, &bytes);
            (!clean.spans.is_empty()).then(|| latin1_to_string(&clean.bytes))
        })
    }

    fn body(
        &self,
        headers: &RedactedHeaders,
        body: &Bytes,
        lens: &[u32],
        mut redact: impl FnMut(&[u8]) -> looptape_core::redact::Redacted<'_>,
    ) -> Clean {
        let decoded = decode_body(headers, body, lens);
        let is_encoded = decoded.bytes != *body;
        if decoded.bytes.is_empty() && !body.is_empty() && decoded.end != DecodeEnd::Whole {
            return Clean::Unreadable;
        }
        let clean = redact(&decoded.bytes);
        if clean.spans.is_empty() {
            // Behind encoded data that ends early or is damaged, there may be anything.
            let raw = if is_encoded { redact(body) } else { clean };
            return match raw.spans.is_empty() {
                true => Clean::AsSent,
                false => Clean::Replaced {
                    lens: raw.chunk_lens(lens),
                    body: raw.bytes.into_owned().into(),
                    decoded: false,
                },
            };
        }
        let mut before = 0;
        let decoded_lens: Vec<u32> = decoded
            .available_after
            .iter()
            .map(|&end| {
                let len = u32::try_from(end - before).unwrap_or(u32::MAX);
                before = end;
                len
            })
            .collect();
        let lens = clean.chunk_lens(&decoded_lens);
        match StoredForm::of(clean) {
            StoredForm::AsSent => Clean::AsSent,
            StoredForm::Decoded(clean) => {
                Clean::Replaced { body: clean.bytes.into_owned().into(), lens, decoded: is_encoded }
            }
        }
    }
}

enum Clean {
    AsSent,
    Replaced { body: Bytes, lens: Vec<u32>, decoded: bool },
    Unreadable,
}
