//! What becomes of a request before it is written: it is read, from where it parts from an earlier one, and
//! cleaned of secrets.
//!
//! In two steps, because the trace that a request belongs to follows from what it says, and what stands in
//! place of a secret follows from the trace. A request that shares its body with one stored lately is
//! searched and read only where it is new.
//!
//! It writes nothing but content, and decides nothing about traces.

use super::bodies::{EarlierBody, HashedTwice, Near, RecentBodies, RecentBody};
use super::event::BeginCall;
use super::last_headers::{LastHeaders, Side};
use super::scrub::{CleanAnswer, Scrubber};
use crate::content::{ContentCache, Earlier, Recurrence};
use crate::ids::BlobId;
use bytes::Bytes;
use looptape_core::chain::{self, Split};
use looptape_core::derive::reading::{Openings, Reading};
use looptape_core::derive::{self, RequestFacts, Target};
use looptape_core::digest::Digest;
use looptape_core::exchange::{Answer, Chunk};
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Vault};
use rusqlite::Connection;
use std::ops::Range;

/// The scrubber, and what is remembered of earlier requests.
pub(super) struct Intake {
    pub(super) scrubber: Scrubber,
    bodies: RecentBodies,
    openings: Openings,
    pub(super) last_headers: LastHeaders,
    last_path: LastPath,
}

/// The last path in which there was nothing to replace: the next one is mostly the same.
#[derive(Default)]
struct LastPath {
    path: String,
    searched_for: Credentials,
}

/// A request, read as it came.
pub(super) struct Incoming {
    /// Its body, and the same without content encoding.
    body: Bytes,
    decoded: Bytes,
    split: Split,
    reading: Reading,
    near: Option<Near>,
    /// The parts of its body that have to be searched for secrets; `None`: all of it.
    unsearched: Option<Vec<Range<usize>>>,
    pub(super) facts: RequestFacts,
}

/// A request fit to be stored.
pub(super) struct Clean {
    pub(super) content: CleanContent,
    pub(super) path: String,
    pub(super) facts: RequestFacts,
    /// What it was as it came, if something was replaced in its body.
    pub(super) live: Option<RequestFacts>,
    /// Why the body is not there, if it had to be left out.
    pub(super) left_out: Option<&'static str>,
}

/// Its body and headers.
pub(super) struct CleanContent {
    body: Bytes,
    is_redacted: bool,
    split: Split,
    reading: Reading,
    near: Option<Near>,
    headers: RedactedHeaders,
}

/// A request's content, stored.
pub(super) struct StoredRequest {
    pub(super) headers: BlobId,
    pub(super) skeleton: BlobId,
    pub(super) heads: Vec<u8>,
    pub(super) digest: Digest,
    pub(super) size: usize,
}

impl Intake {
    pub(super) fn new(scrubber: Scrubber) -> Self {
        Self {
            scrubber,
            bodies: RecentBodies::default(),
            openings: Openings::default(),
            last_headers: LastHeaders::default(),
            last_path: LastPath::default(),
        }
    }

    /// Forgets what refers to content: it may be gone.
    pub(super) fn forget(&mut self) {
        self.bodies.forget();
        self.last_headers.forget();
    }

    pub(super) fn read(&mut self, begin: &BeginCall) -> Incoming {
        let target = Target { provider: &begin.provider, method: &begin.method, path: &begin.path };
        let (body, decoded, split, mut near) = match begin.headers.get("content-encoding") {
            None => {
                let (body, split, near) = self.bodies.take_in(&begin.body);
                (body.clone(), body, split, near)
            }
            Some(_) => {
                let body = begin.body.to_bytes();
                let decoded = derive::decode_body(&begin.headers, &body, &[]).bytes;
                // Of a body with a content encoding, other bytes are stored than are read.
                let (split, near) = match is_same(&decoded, &body) {
                    true => self.bodies.near(&decoded),
                    false => (chain::split(&decoded), None),
                };
                (body, decoded, split, near)
            }
        };
        let unsearched = near.as_ref().map(|near| near.unsearched(&split, decoded.len(), &begin.credentials));
        let reading = read(&target, &decoded, &split, near.as_mut(), &mut self.openings);
        let facts = derive::request_read(&target, &begin.headers, body.len(), &reading);
        Incoming { near, body, decoded, split, reading, unsearched, facts }
    }

    pub(super) fn clean(&mut self, vault: &mut Vault, begin: &BeginCall, incoming: Incoming) -> Clean {
        let Incoming { body: came, decoded, split, reading, near, unsearched, facts } = incoming;
        let side = (Side::Request, &begin.provider);
        let headers =
            self.last_headers.clean(&self.scrubber, side, vault, &begin.credentials, begin.headers.clone());
        let path = self.clean_path(begin);
        let clean =
            self.scrubber.request(vault, (&came, &begin.credentials), (path, headers), unsearched.as_deref());
        let target = Target { provider: &begin.provider, method: &begin.method, path: &clean.path };
        let is_redacted = clean.body.is_some();
        let body = clean.body.unwrap_or(came);
        let (split, reading, near) = match is_same(&body, &decoded) {
            true => (split, reading, near),
            false => self.read_stored(&target, &body, near),
        };
        let (facts, live) = match is_redacted {
            true => (stored_facts(&target, &clean.headers, &body, &reading), Some(facts)),
            false => (facts, None),
        };
        let content = CleanContent { body, is_redacted, split, reading, near, headers: clean.headers };
        Clean { content, path: clean.path, facts, live, left_out: clean.left_out }
    }

    fn clean_path(&mut self, begin: &BeginCall) -> String {
        let last = &mut self.last_path;
        if last.path == begin.path && last.searched_for.same_as(&begin.credentials) {
            return begin.path.clone();
        }
        let clean = self.scrubber.path(&begin.credentials, &begin.path);
        if clean == begin.path {
            *last = LastPath { path: clean.clone(), searched_for: begin.credentials.clone() };
        }
        clean
    }

    /// Reads the bytes that are stored, where they are not those that came.
    fn read_stored(
        &mut self,
        target: &Target<'_>,
        body: &Bytes,
        near: Option<Near>,
    ) -> (Split, Reading, Option<Near>) {
        let split = chain::split(body);
        let mut near = near.and_then(|near| self.bodies.again(near, body, &split));
        // What was known of a superseded body went into the reading of the bytes that came.
        let known = near.as_mut().filter(|near| matches!(near.earlier, EarlierBody::Kept(_)));
        let reading = read(target, body, &split, known, &mut self.openings);
        (split, reading, near)
    }

    /// Stores a request's content, and remembers it for the next one.
    pub(super) fn put(
        &mut self,
        connection: &Connection,
        cache: &mut ContentCache,
        begin: &BeginCall,
        content: CleanContent,
    ) -> rusqlite::Result<StoredRequest> {
        let CleanContent { body, is_redacted, split, reading, near, headers } = content;
        let (hashed, earlier) = match near {
            None => (None, None),
            Some(Near { earlier, prefix, shared, .. }) => {
                let (body, split, stored, hashed) = earlier.into_parts(prefix);
                (hashed.map(|hashed| (hashed, prefix)), Some(Earlier { body, split, stored, shared }))
            }
        };
        let hashed = HashedTwice::of(&body, &split, hashed);
        let digest = hashed.as_ref().map_or_else(|| Digest::of(&body), |hashed| hashed.digest_of(&body));
        let stored = cache.put_body(connection, &body, &split, earlier)?;
        let side = (Side::Request, &begin.provider);
        let request = StoredRequest {
            headers: self.last_headers.put(side, connection, cache, &headers)?,
            skeleton: stored.skeleton,
            heads: stored.encode_heads(),
            digest,
            size: body.len(),
        };
        if !RecentBodies::is_worth_it(&body) {
            return Ok(request);
        }
        let searched_for = begin.credentials.clone();
        let came_as = (!is_redacted).then(|| begin.body.number());
        let known = RecentBody::new((body, split), reading, hashed, stored, searched_for, came_as);
        self.bodies.remember(known);
        Ok(request)
    }

    /// Cleans an answer.
    pub(super) fn clean_answer(
        &mut self,
        vault: &mut Vault,
        (provider, known): (&Provider, &Credentials),
        headers: RedactedHeaders,
        body: Bytes,
        chunks: Vec<Chunk>,
    ) -> CleanAnswer {
        let side = (Side::Answer, provider);
        let headers = self.last_headers.clean(&self.scrubber, side, vault, known, headers);
        self.scrubber.answer(vault, known, headers, body, chunks)
    }

    /// Stores an answer's headers and body.
    pub(super) fn put_answer(
        &mut self,
        connection: &Connection,
        cache: &mut ContentCache,
        provider: &Provider,
        answer: &Answer,
    ) -> rusqlite::Result<(BlobId, BlobId)> {
        let side = (Side::Answer, provider);
        let headers = self.last_headers.put(side, connection, cache, &answer.headers)?;
        Ok((headers, cache.put_blob(connection, &answer.body, Recurrence::Never)?))
    }
}

/// The facts of what is stored, where that is not what came.
fn stored_facts(
    target: &Target<'_>,
    headers: &RedactedHeaders,
    body: &Bytes,
    reading: &Reading,
) -> RequestFacts {
    // Raw bytes in which something was replaced are still encoded.
    let is_plain = is_same(&derive::decode_body(headers, body, &[]).bytes, body);
    match is_plain {
        true => derive::request_read(target, headers, body.len(), reading),
        false => derive::request(target.provider, target.method, target.path, headers, body),
    }
}

/// Whether two are the same piece of memory.
fn is_same(a: &Bytes, b: &Bytes) -> bool {
    std::ptr::eq(a.as_ref(), b.as_ref())
}

/// Reads a body, from where it parts from an earlier one.
fn read(
    target: &Target<'_>,
    body: &[u8],
    split: &Split,
    near: Option<&mut Near>,
    openings: &mut Openings,
) -> Reading {
    match near {
        Some(near) => {
            let before = near.earlier.take_reading();
            Reading::after(target, body, split, &near.shared, before, openings)
        }
        None => Reading::whole(target, body, split, openings),
    }
}
