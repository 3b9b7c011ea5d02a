//! A live request, and what is computed of it when it is needed: an exact repeat of a recorded request
//! costs one digest, and no JSON is parsed.

use super::components::{self, Endpoint, RequestKey};
use super::masks::{MaskedSpan, Masking};
use super::options::Rung;
use super::references;
use super::tape::{Shape, Tape};
use crate::captured;
use crate::digest::Digest;
use crate::facts::Lineage;
use crate::wire::Wire;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

/// A request as it arrives.
pub struct LiveRequest<'a> {
    pub wire: Option<Wire>,
    pub method: &'a str,
    /// Path and query as the provider knows them, or the URL of a captured call; redacted.
    pub path: &'a str,
    /// The redacted body, content encoding undone.
    pub body: &'a [u8],
    /// The lineage of the request. It is asked for only if the bytes were not recorded as they are.
    pub lineage: &'a dyn Fn() -> Lineage,
}

impl fmt::Debug for LiveRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveRequest({} {}, {} bytes)", self.method, self.path, self.body.len())
    }
}

/// A live request with its masks.
struct MaskedLive {
    key: RequestKey,
    spans: Vec<MaskedSpan>,
}

/// A live request with what was computed of it so far.
pub(super) struct Live<'a> {
    pub(super) request: &'a LiveRequest<'a>,
    pub(super) endpoint: Endpoint,
    pub(super) body: Cow<'a, [u8]>,
    pub(super) exact: Digest,
    masking: Arc<Masking>,
    key: OnceCell<RequestKey>,
    masked: OnceCell<MaskedLive>,
    lineage: OnceCell<Lineage>,
    references: OnceCell<Vec<String>>,
}

impl<'a> Live<'a> {
    pub(super) fn new(tape: &Tape, request: &'a LiveRequest<'a>) -> Self {
        let endpoint = Endpoint::new(request.method, request.path);
        let body = (tape.normalise())(request.body);
        let exact = components::exact_digest(&endpoint, Digest::of(&body));
        Self {
            request,
            endpoint,
            body,
            exact,
            masking: tape.masking().clone(),
            key: OnceCell::new(),
            masked: OnceCell::new(),
            lineage: OnceCell::new(),
            references: OnceCell::new(),
        }
    }

    /// The ids that it names.
    pub(super) fn references(&self) -> &[String] {
        self.references.get_or_init(|| references::named(self.request.wire, &self.endpoint, || &self.body))
    }

    /// Whether it was captured on its way to a host and asks no model: a tool's call, with which nobody but the
    /// recording may be asked.
    pub(super) fn is_a_tools(&self) -> bool {
        self.request.wire.is_none() && captured::is_captured(self.request.path)
    }

    /// What it has in common with all recorded calls that it can match.
    pub(super) fn shape(&self) -> Shape {
        Shape { endpoint: self.endpoint.shelf().to_owned(), turns: self.lineage().turns }
    }

    pub(super) fn key(&self) -> &RequestKey {
        self.key.get_or_init(|| RequestKey::new(self.request.wire, &self.endpoint, &self.body))
    }

    /// The body as it is compared at `rung`, for people.
    pub(super) fn body_at(&self, rung: Rung) -> Cow<'_, [u8]> {
        if rung < Rung::Masked {
            Cow::Borrowed(&self.body)
        } else {
            self.masking.readable(self.request.wire, &self.endpoint, &self.body)
        }
    }

    /// The key by which it is compared at `rung`.
    pub(super) fn key_at(&self, rung: Rung) -> &RequestKey {
        if rung < Rung::Masked { self.key() } else { &self.masked().key }
    }

    /// The values that its masks stand for.
    pub(super) fn spans(&self) -> &[MaskedSpan] {
        &self.masked().spans
    }

    fn masked(&self) -> &MaskedLive {
        self.masked.get_or_init(|| match self.masking.key(self.request.wire, &self.endpoint, &self.body) {
            Some((key, spans)) => MaskedLive { key, spans },
            None => MaskedLive { key: self.key().clone(), spans: Vec::new() },
        })
    }

    pub(super) fn lineage(&self) -> Lineage {
        *self.lineage.get_or_init(|| (self.request.lineage)())
    }
}
