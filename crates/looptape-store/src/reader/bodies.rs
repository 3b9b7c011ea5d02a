//! Putting bodies together again from their skeletons and chains.

use crate::content::read_intact;
use crate::ids::{BlobId, NodeId};
use crate::packs::RecentPacks;
use bytes::Bytes;
use looptape_core::{chain::Skeleton, varint};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

/// Decoded content kept between look-ups, in bytes.
const KEEP_BYTES: usize = 64 << 20;

/// The end of a request body: its scalar members, and the last elements of its arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTail {
    pub body: Bytes,
    /// Whether nothing was left out.
    pub is_whole: bool,
}

/// A memory of blobs and nodes: the steps of a loop share most of theirs.
#[derive(Default)]
pub(crate) struct Bodies {
    packs: RecentPacks,
    blobs: HashMap<BlobId, Bytes>,
    blob_bytes: usize,
    nodes: HashMap<NodeId, (NodeId, BlobId)>,
}

impl Bodies {
    /// A blob's content; `None` if it is missing or damaged.
    pub(crate) fn blob(&mut self, connection: &Connection, id: BlobId) -> rusqlite::Result<Option<Bytes>> {
        if let Some(known) = self.blobs.get(&id) {
            return Ok(Some(known.clone()));
        }
        let Some(content) = read_intact(connection, &mut self.packs, id)?.map(Bytes::from) else {
            return Ok(None);
        };
        if self.blob_bytes > KEEP_BYTES {
            self.blobs.clear();
            self.blob_bytes = 0;
        }
        self.blob_bytes += content.len();
        self.blobs.insert(id, content.clone());
        Ok(Some(content))
    }

    /// A body from its skeleton and the encoded heads of its chains; `None` if any part is damaged.
    pub(crate) fn join(
        &mut self,
        connection: &Connection,
        skeleton: BlobId,
        heads: &[u8],
    ) -> rusqlite::Result<Option<Bytes>> {
        Ok(self.join_tail(connection, skeleton, heads, usize::MAX)?.map(|tail| tail.body))
    }

    /// The same with only the last `nodes` nodes of each chain: of an array, at least as many elements.
    pub(crate) fn join_tail(
        &mut self,
        connection: &Connection,
        skeleton: BlobId,
        mut heads: &[u8],
        nodes: usize,
    ) -> rusqlite::Result<Option<RequestTail>> {
        let Some(bytes) = self.blob(connection, skeleton)? else { return Ok(None) };
        let Ok(skeleton) = Skeleton::decode(&bytes) else { return Ok(None) };
        let mut contents: Vec<Vec<u8>> = Vec::with_capacity(skeleton.cuts());
        let mut is_whole = true;
        while !heads.is_empty() {
            let head = varint::read(&mut heads).and_then(|id| i64::try_from(id).ok());
            let content = head.map(|id| self.chain(connection, NodeId(id), nodes, &mut is_whole));
            let Some(content) = content.transpose()?.flatten() else { return Ok(None) };
            contents.push(content);
        }
        let body = skeleton.join(contents.iter().map(Vec::as_slice)).ok().map(Bytes::from);
        Ok(body.map(|body| RequestTail { body, is_whole }))
    }

    /// The last `nodes` nodes of a chain, joined.
    fn chain(
        &mut self,
        connection: &Connection,
        head: NodeId,
        nodes: usize,
        is_whole: &mut bool,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut blobs = Vec::new();
        let mut at = head;
        while at != NodeId(0) && blobs.len() < nodes {
            let Some((parent, blob)) = self.node(connection, at)? else { return Ok(None) };
            // A node's parent was there before it: a smaller id. Anything else is damage, or a loop.
            if parent.0 >= at.0 {
                return Ok(None);
            }
            blobs.push(blob);
            at = parent;
        }
        let mut content = Vec::new();
        for blob in blobs.into_iter().rev() {
            let Some(piece) = self.blob(connection, blob)? else { return Ok(None) };
            content.extend_from_slice(&piece);
        }
        if at != NodeId(0) {
            *is_whole = false;
            // The separator before the first piece that is left belongs to the ones that are not.
            let separator = content.iter().take_while(|b| **b == b',' || b.is_ascii_whitespace()).count();
            content.drain(..separator);
        }
        Ok(Some(content))
    }

    fn node(&mut self, connection: &Connection, id: NodeId) -> rusqlite::Result<Option<(NodeId, BlobId)>> {
        if let Some(&known) = self.nodes.get(&id) {
            return Ok(Some(known));
        }
        let row = connection
            .prepare_cached("SELECT parent, blob FROM nodes WHERE id = ?1")?
            .query_row([id.0], |r| Ok((NodeId(r.get(0)?), BlobId(r.get(1)?))))
            .optional()?;
        if let Some(row) = row {
            self.nodes.insert(id, row);
        }
        Ok(row)
    }
}
