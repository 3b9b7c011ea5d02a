//! Content-addressed storage inside a write transaction: blobs, chains, bodies.
//!
//! Ids of recently used content are remembered between transactions. They are void after a rollback and
//! after pruning; [`ContentCache::forget`] drops them.

use crate::codec::{self, Encoder};
use crate::ids::{BlobId, NodeId};
use looptape_core::chain::{self, Shared, SharedCut};
use looptape_core::derive::reading::Reading;
use looptape_core::{Digest, varint};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// Splices lie at most this deep, so that reading a piece stays cheap.
const MAX_SPLICE_DEPTH: i64 = 8;

/// How many ids are remembered before the memory is dropped and filled anew.
const MOST_IDS: usize = 200_000;

/// What the writer remembers about content that is in the database.
pub(crate) struct ContentCache {
    encoder: Encoder,
    blobs: HashMap<Digest, BlobId>,
    nodes: HashMap<(NodeId, BlobId), NodeId>,
    generation: i64,
}

/// A body as it was stored: where it is, and its pieces, so that the next body of the same conversation
/// finds what it shares.
#[derive(Clone, Debug)]
pub(crate) struct StoredBody {
    pub(crate) skeleton: BlobId,
    pub(crate) heads: Vec<NodeId>,
    pieces: Vec<Vec<StoredPiece>>,
}

#[derive(Clone, Copy, Debug)]
struct StoredPiece {
    blob: BlobId,
    node: NodeId,
}

impl StoredBody {
    /// The heads in their stored form.
    pub(crate) fn encode_heads(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.heads.len() * 4);
        self.heads.iter().for_each(|h| varint::write(&mut out, h.0 as u64));
        out
    }
}

impl ContentCache {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { encoder: Encoder::new()?, blobs: HashMap::new(), nodes: HashMap::new(), generation: -1 })
    }

    /// Forgets every id.
    pub(crate) fn forget(&mut self) {
        self.blobs.clear();
        self.nodes.clear();
    }

    /// To be called at the start of each transaction: whether ids remembered elsewhere are still good.
    pub(crate) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<Freshness> {
        let now: i64 = connection
            .prepare_cached("SELECT value FROM settings WHERE name = 'content_generation'")?
            .query_row([], |r| r.get(0))?;
        if self.blobs.len() + self.nodes.len() > MOST_IDS {
            self.forget();
        }
        if now == self.generation {
            return Ok(Freshness::Good);
        }
        self.generation = now;
        self.forget();
        Ok(Freshness::Void)
    }

    /// Stores content, or finds it stored.
    pub(crate) fn put_blob(&mut self, connection: &Connection, content: &[u8]) -> rusqlite::Result<BlobId> {
        self.put(connection, content, Digest::of(content), None)
    }

    /// The same for content that differs little from blob `like`.
    pub(crate) fn put_like(
        &mut self,
        connection: &Connection,
        content: &[u8],
        like: Option<BlobId>,
    ) -> rusqlite::Result<BlobId> {
        self.put(connection, content, Digest::of(content), like)
    }

    fn put(
        &mut self,
        connection: &Connection,
        content: &[u8],
        digest: Digest,
        like: Option<BlobId>,
    ) -> rusqlite::Result<BlobId> {
        if let Some(&id) = self.blobs.get(&digest) {
            return Ok(id);
        }
        let found = connection
            .prepare_cached("SELECT id FROM blobs WHERE digest = ?1")?
            .query_row([&digest.0[..]], |r| r.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => self.insert(connection, content, digest, like)?,
        };
        self.blobs.insert(digest, BlobId(id));
        Ok(BlobId(id))
    }

    fn insert(
        &mut self,
        connection: &Connection,
        content: &[u8],
        digest: Digest,
        like: Option<BlobId>,
    ) -> rusqlite::Result<i64> {
        let spliced = match like {
            Some(base) => splice_of(connection, base, content)?,
            None => None,
        };
        let (codec, base, depth, packed) = match spliced {
            Some((base, depth, bytes)) => (codec::SPLICE, Some(base.0), depth, Some(bytes)),
            None => {
                let (codec, packed) = self.encoder.encode(content);
                (codec, None, 0, packed)
            }
        };
        connection
            .prepare_cached(
                "INSERT INTO blobs (digest, codec, base, depth, size, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                &digest.0[..],
                codec,
                base,
                depth,
                content.len() as i64,
                packed.as_deref().unwrap_or(content)
            ])?;
        Ok(connection.last_insert_rowid())
    }

    /// Stores a body: its skeleton, and its pieces as chains. What it shares with an earlier body is there
    /// already; other pieces are written as splices of the one at their place, where that is small.
    pub(crate) fn put_body(
        &mut self,
        connection: &Connection,
        body: &[u8],
        reading: &Reading,
        earlier: Option<(&StoredBody, &Shared)>,
    ) -> rusqlite::Result<StoredBody> {
        let split = reading.split();
        let skeleton = self.put_blob(connection, &split.skeleton.encode())?;
        let mut heads = Vec::with_capacity(split.cuts.len());
        let mut pieces = Vec::with_capacity(split.cuts.len());
        for (at, (cut, digests)) in split.cuts.iter().zip(reading.digests()).enumerate() {
            let same = earlier.and_then(|(stored, shared)| {
                let cut = &shared.cuts[at];
                Some((stored.pieces.get(cut.of?)?.as_slice(), cut))
            });
            let chain = self.put_chain(connection, body, &cut.pieces, digests, same)?;
            heads.push(chain.last().map_or(NodeId(0), |p| p.node));
            pieces.push(chain);
        }
        Ok(StoredBody { skeleton, heads, pieces })
    }

    fn put_chain(
        &mut self,
        connection: &Connection,
        body: &[u8],
        ranges: &[std::ops::Range<usize>],
        digests: &[Digest],
        same: Option<(&[StoredPiece], &SharedCut)>,
    ) -> rusqlite::Result<Vec<StoredPiece>> {
        let mut chain = Vec::with_capacity(ranges.len());
        if let Some((known, shared)) = same {
            chain.extend_from_slice(&known[..shared.leading()]);
        }
        for (at, (range, &digest)) in ranges.iter().zip(digests).enumerate().skip(chain.len()) {
            let at_its_place = same.and_then(|(known, shared)| Some((known.get(at)?.blob, shared.equal[at])));
            let blob = match at_its_place {
                Some((blob, true)) => blob,
                other => self.put(connection, &body[range.clone()], digest, other.map(|(blob, _)| blob))?,
            };
            let parent = chain.last().map_or(NodeId(0), |p: &StoredPiece| p.node);
            let node = self.put_node(connection, parent, blob)?;
            chain.push(StoredPiece { blob, node });
        }
        Ok(chain)
    }

    fn put_node(
        &mut self,
        connection: &Connection,
        parent: NodeId,
        blob: BlobId,
    ) -> rusqlite::Result<NodeId> {
        if let Some(&id) = self.nodes.get(&(parent, blob)) {
            return Ok(id);
        }
        let found = connection
            .prepare_cached("SELECT id FROM nodes WHERE parent = ?1 AND blob = ?2")?
            .query_row([parent.0, blob.0], |r| r.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                connection
                    .prepare_cached("INSERT INTO nodes (parent, blob) VALUES (?1, ?2)")?
                    .execute([parent.0, blob.0])?;
                connection.last_insert_rowid()
            }
        };
        self.nodes.insert((parent, blob), NodeId(id));
        Ok(NodeId(id))
    }
}

/// Whether ids that were remembered before this transaction may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Good,
    /// Something was pruned: forget them.
    Void,
}

/// `content` as a splice of blob `base`, with its depth, if that is worth it and not too deep.
fn splice_of(
    connection: &Connection,
    base: BlobId,
    content: &[u8],
) -> rusqlite::Result<Option<(BlobId, i64, Vec<u8>)>> {
    let depth: i64 = connection
        .prepare_cached("SELECT depth FROM blobs WHERE id = ?1")?
        .query_row([base.0], |r| r.get(0))?;
    if depth >= MAX_SPLICE_DEPTH {
        return Ok(None);
    }
    let Some(old) = read_blob(connection, base)? else { return Ok(None) };
    Ok(chain::Splice::between(&old, content).map(|s| (base, depth + 1, s.encode())))
}

/// A blob's content; `None` if it is missing, or is not what was written.
pub(crate) fn read_intact(connection: &Connection, id: BlobId) -> rusqlite::Result<Option<Vec<u8>>> {
    let Some(content) = read_blob(connection, id)? else { return Ok(None) };
    let digest: Vec<u8> = connection
        .prepare_cached("SELECT digest FROM blobs WHERE id = ?1")?
        .query_row([id.0], |r| r.get(0))?;
    Ok((Digest::of(&content).0[..] == digest).then_some(content))
}

/// A blob's content, decoded but not compared with its hash; `None` if it is missing or does not decode.
pub(crate) fn read_blob(connection: &Connection, id: BlobId) -> rusqlite::Result<Option<Vec<u8>>> {
    let row = connection
        .prepare_cached("SELECT codec, base, size, data FROM blobs WHERE id = ?1")?
        .query_row([id.0], |r| {
            Ok((
                r.get::<_, i64>(0)?,
                r.get::<_, Option<i64>>(1)?,
                r.get::<_, i64>(2)?,
                r.get::<_, Vec<u8>>(3)?,
            ))
        })
        .optional()?;
    let Some((codec, base, size, data)) = row else { return Ok(None) };
    let base_content = || match base {
        // A splice's base was there before it, so its id is smaller: no loop can be followed.
        Some(base) if base < id.0 => read_blob(connection, BlobId(base)).map(Option::unwrap_or_default),
        _ => Ok(Vec::new()),
    };
    codec::decode(codec, usize::try_from(size).unwrap_or(0), &data, base_content)
}
