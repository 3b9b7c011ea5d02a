//! A recorded request body, at hand or left where it is until a comparison wants it.
//!
//! The requests of a long loop are gigabytes when each is written out, and most of them are never looked
//! at: an exact repeat is found by the digest that was taken when the request was recorded. So a tape may
//! hold the digests alone and ask for single bodies. Nothing is kept here; who reads may keep what it likes.

use crate::digest::Digest;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Where request bodies are read. The same call gives the same bytes every time.
pub trait RequestBodies: fmt::Debug + Send + Sync {
    /// The redacted body of the call `seq`, content encoding undone. What cannot be read is empty, and it
    /// is the reader's business to say so.
    fn request_body(&self, seq: u32) -> Bytes;
}

/// The redacted body of a recorded request.
#[derive(Clone, Debug)]
pub struct RecordedBody {
    stored: Digest,
    size_bytes: u64,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    AtHand(Bytes),
    Elsewhere { seq: u32, bodies: Arc<dyn RequestBodies> },
}

impl RecordedBody {
    /// The body of the call `seq`, to be read when it is needed. `stored` is the digest of its bytes as
    /// they are stored: secrets replaced, content encoding and all.
    pub fn elsewhere(seq: u32, stored: Digest, size_bytes: u64, bodies: Arc<dyn RequestBodies>) -> Self {
        Self { stored, size_bytes, content: Content::Elsewhere { seq, bodies } }
    }

    /// The digest of the stored bytes.
    pub(super) fn stored(&self) -> Digest {
        self.stored
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The body, content encoding undone.
    pub(super) fn read(&self) -> Bytes {
        match &self.content {
            Content::AtHand(bytes) => bytes.clone(),
            Content::Elsewhere { seq, bodies } => bodies.request_body(*seq),
        }
    }
}

impl From<Bytes> for RecordedBody {
    fn from(bytes: Bytes) -> Self {
        Self { stored: Digest::of(&bytes), size_bytes: bytes.len() as u64, content: Content::AtHand(bytes) }
    }
}
