//! Putting bodies together again from their skeletons and chains.

use crate::bundles::RecentBundles;
use crate::ids::{BlobId, NodeId};
use bytes::Bytes;
use looptape_core::Digest;
use looptape_core::chain::Skeleton;
use looptape_core::composition::{Mark, RequestParts};
use looptape_core::varint;
use rusqlite::Connection;
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

/// Of which arrays how much is read.
#[derive(Clone, Copy, Debug)]
enum Part<'m> {
    /// Of each array at least its last elements.
    LastOfEach(usize),
    /// Of one member's array its first elements and at least its last ones; all of the rest.
    EndsOf { member: &'m str, last: usize },
}

/// A memory of blobs and nodes: the steps of a loop share most of theirs.
#[derive(Default)]
pub(crate) struct Bodies {
    bundles: RecentBundles,
    blobs: HashMap<BlobId, Bytes>,
    blob_bytes: usize,
    nodes: HashMap<NodeId, (NodeId, BlobId)>,
    /// The first node of the chain that a node ends.
    firsts: HashMap<NodeId, NodeId>,
}

impl Bodies {
    pub(super) fn bundles(&mut self) -> &mut RecentBundles {
        &mut self.bundles
    }

    /// A content's digest; `None` if it is missing.
    pub(crate) fn digest(&mut self, connection: &Connection, id: BlobId) -> rusqlite::Result<Option<Digest>> {
        Ok(self.bundles.digest(connection, id)?.map(|(digest, _)| digest))
    }

    /// A blob's content; `None` if it is missing or damaged.
    pub(crate) fn blob(&mut self, connection: &Connection, id: BlobId) -> rusqlite::Result<Option<Bytes>> {
        if let Some(known) = self.blobs.get(&id) {
            return Ok(Some(known.clone()));
        }
        let Some(content) = self.bundles.content(connection, id)?.map(Bytes::from) else {
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
        let whole = Part::LastOfEach(usize::MAX);
        Ok(self.join_part(connection, skeleton, heads, whole)?.map(|tail| tail.body))
    }

    /// The same with only the last `nodes` nodes of each chain: of an array, at least as many elements.
    pub(crate) fn join_tail(
        &mut self,
        connection: &Connection,
        skeleton: BlobId,
        heads: &[u8],
        nodes: usize,
    ) -> rusqlite::Result<Option<RequestTail>> {
        self.join_part(connection, skeleton, heads, Part::LastOfEach(nodes))
    }

    /// The whole body but for the middle of one member's array: of its chain, the first node and the last
    /// `nodes`.
    pub(crate) fn join_ends(
        &mut self,
        connection: &Connection,
        skeleton: BlobId,
        heads: &[u8],
        member: &str,
        nodes: usize,
    ) -> rusqlite::Result<Option<RequestTail>> {
        self.join_part(connection, skeleton, heads, Part::EndsOf { member, last: nodes })
    }

    /// The body without one member's array, and of that array's chain the nodes after the last one that is
    /// known.
    pub(crate) fn join_apart(
        &mut self,
        connection: &Connection,
        skeleton: BlobId,
        mut heads: &[u8],
        member: &str,
        is_known: &dyn Fn(Mark) -> bool,
    ) -> rusqlite::Result<Option<RequestParts>> {
        let Some(bytes) = self.blob(connection, skeleton)? else { return Ok(None) };
        let Ok(skeleton) = Skeleton::decode(&bytes) else { return Ok(None) };
        let mut contents: Vec<Vec<u8>> = Vec::with_capacity(skeleton.cuts());
        let mut apart = RequestParts::default();
        let mut is_whole = true;
        while !heads.is_empty() {
            let head = varint::read(&mut heads).and_then(|id| i64::try_from(id).ok()).map(NodeId);
            let Some(head) = head else { return Ok(None) };
            // Of two arrays of one name, the first is taken for the history; so it is where requests are read.
            let is_first = apart.known.is_none() && apart.new.is_empty();
            let content = match skeleton.member(contents.len()) == Some(member.as_bytes()) && is_first {
                true => self.nodes_after(connection, head, is_known, &mut apart)?.then(Vec::new),
                false => self.chain(connection, head, usize::MAX, &mut is_whole)?,
            };
            let Some(content) = content else { return Ok(None) };
            contents.push(content);
        }
        let rest = skeleton.join(contents.iter().map(Vec::as_slice)).ok().map(Bytes::from);
        Ok(rest.map(|rest| RequestParts { rest, ..apart }))
    }

    /// Walks a chain back to a node that is known, or to its beginning; false if it is damaged.
    fn nodes_after(
        &mut self,
        connection: &Connection,
        head: NodeId,
        is_known: &dyn Fn(Mark) -> bool,
        apart: &mut RequestParts,
    ) -> rusqlite::Result<bool> {
        let mut at = head;
        while at != NodeId(0) {
            if is_known(Mark(at.0)) {
                apart.known = Some(Mark(at.0));
                break;
            }
            let Some((parent, blob)) = self.node(connection, at)? else { return Ok(false) };
            // A node's parent was there before it: a smaller id. Anything else is damage, or a loop.
            if parent.0 >= at.0 {
                return Ok(false);
            }
            let Some(content) = self.blob(connection, blob)? else { return Ok(false) };
            apart.new.push((Mark(at.0), content));
            at = parent;
        }
        apart.new.reverse();
        Ok(true)
    }

    fn join_part(
        &mut self,
        connection: &Connection,
        skeleton: BlobId,
        mut heads: &[u8],
        part: Part<'_>,
    ) -> rusqlite::Result<Option<RequestTail>> {
        let Some(bytes) = self.blob(connection, skeleton)? else { return Ok(None) };
        let Ok(skeleton) = Skeleton::decode(&bytes) else { return Ok(None) };
        let mut contents: Vec<Vec<u8>> = Vec::with_capacity(skeleton.cuts());
        let mut is_whole = true;
        while !heads.is_empty() {
            let head = varint::read(&mut heads).and_then(|id| i64::try_from(id).ok()).map(NodeId);
            let is_named = |name: &str| skeleton.member(contents.len()) == Some(name.as_bytes());
            let content = head.map(|head| match part {
                Part::LastOfEach(last) => self.chain(connection, head, last, &mut is_whole),
                Part::EndsOf { member, last } if is_named(member) => {
                    self.ends_of_chain(connection, head, last, &mut is_whole)
                }
                Part::EndsOf { .. } => self.chain(connection, head, usize::MAX, &mut is_whole),
            });
            let Some(content) = content.transpose()?.flatten() else { return Ok(None) };
            contents.push(content);
        }
        let body = skeleton.join(contents.iter().map(Vec::as_slice)).ok().map(Bytes::from);
        Ok(body.map(|body| RequestTail { body, is_whole }))
    }

    /// The first node of a chain and its last `last` nodes, joined.
    fn ends_of_chain(
        &mut self,
        connection: &Connection,
        head: NodeId,
        last: usize,
        is_whole: &mut bool,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut all = true;
        let Some(end) = self.chain(connection, head, last, &mut all)? else { return Ok(None) };
        if all {
            return Ok(Some(end));
        }
        *is_whole = false;
        let Some(first) = self.first_node(connection, head)? else { return Ok(None) };
        let Some((_, blob)) = self.node(connection, first)? else { return Ok(None) };
        let beginning = self.blob(connection, blob)?;
        Ok(beginning.map(|beginning| [&beginning[..], b",", &end].concat()))
    }

    /// Where the chain that a node ends begins. What was walked once is remembered.
    fn first_node(&mut self, connection: &Connection, head: NodeId) -> rusqlite::Result<Option<NodeId>> {
        let mut walked = Vec::new();
        let mut at = head;
        let first = loop {
            if let Some(&first) = self.firsts.get(&at) {
                break first;
            }
            let Some((parent, _)) = self.node(connection, at)? else { return Ok(None) };
            // A node's parent was there before it: a smaller id. Anything else is damage, or a loop.
            if parent.0 >= at.0 {
                return Ok(None);
            }
            walked.push(at);
            if parent == NodeId::EMPTY {
                break at;
            }
            at = parent;
        };
        self.firsts.extend(walked.into_iter().map(|node| (node, first)));
        Ok(Some(first))
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
        while at != NodeId::EMPTY && blobs.len() < nodes {
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
        if at != NodeId::EMPTY {
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
        let row = self.bundles.node(connection, id)?;
        if let Some(row) = row {
            self.nodes.insert(id, row);
        }
        Ok(row)
    }
}
