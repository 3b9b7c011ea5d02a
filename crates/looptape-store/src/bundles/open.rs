//! A bundle that is being filled.

use super::entry::{self, Content, Entry, Form};
use crate::codec::{self, Encoder};
use crate::content::LastId;
use crate::ids::{BlobId, NodeId};
use looptape_core::Digest;
use rusqlite::{Connection, params};

/// A bundle that has so many bytes takes no more.
const FULL_BYTES: usize = 256 << 10;

/// What a transaction has gathered.
#[derive(Debug, Default)]
pub(crate) struct OpenBundle {
    first: Option<i64>,
    entries: Vec<u8>,
    data: Vec<u8>,
}

/// A content to be added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewContent<'a> {
    pub(crate) digest: Digest,
    pub(crate) size: usize,
    pub(crate) form: Form,
    /// The content, or the splice that stands for it.
    pub(crate) stored: &'a [u8],
}

impl OpenBundle {
    /// Adds a content; with `parent`, also the node that adds it to that chain, under the same id.
    pub(crate) fn add(&mut self, last: &mut LastId, parent: Option<NodeId>, new: NewContent<'_>) -> BlobId {
        let id = self.next(last);
        let NewContent { digest, size, form, stored } = new;
        let content = Content { digest, size, form, place: self.data.len()..self.data.len() + stored.len() };
        self.data.extend_from_slice(stored);
        let entry = match parent {
            None => Entry::Content(content),
            Some(parent) => Entry::Piece { parent, content },
        };
        entry::encode(&mut self.entries, id, &entry);
        BlobId(id)
    }

    /// Adds a node.
    pub(crate) fn add_node(&mut self, last: &mut LastId, parent: NodeId, content: BlobId) -> NodeId {
        let id = self.next(last);
        entry::encode(&mut self.entries, id, &Entry::Node { parent, content });
        NodeId(id)
    }

    fn next(&mut self, last: &mut LastId) -> i64 {
        let id = last.take();
        self.first.get_or_insert(id);
        id
    }

    pub(crate) fn is_full(&self) -> bool {
        self.data.len() >= FULL_BYTES
    }

    /// Drops what is in it.
    pub(crate) fn forget(&mut self) {
        self.first = None;
        self.entries.clear();
        self.data.clear();
    }

    /// Writes it, compressed if `encoder` is given, and is empty again. Returns how many bytes were left
    /// uncompressed.
    pub(crate) fn write(
        &mut self,
        connection: &Connection,
        encoder: Option<&mut Encoder>,
    ) -> rusqlite::Result<usize> {
        let Some(first) = self.first else { return Ok(0) };
        let compressed = encoder.map(|encoder| encoder.compress(&self.data));
        let (codec, data) = match &compressed {
            Some(compressed) => (codec::ZSTD, compressed),
            None => (codec::RAW, &self.data),
        };
        connection
            .prepare_cached(
                "INSERT INTO bundles (id, entries, codec, size, data) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![first, self.entries, codec, self.data.len() as i64, data])?;
        let uncompressed = if compressed.is_some() { 0 } else { self.data.len() };
        self.forget();
        Ok(uncompressed)
    }
}
