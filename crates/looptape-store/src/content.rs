//! Content-addressed storage inside a write transaction: blobs, chains, bodies.
//!
//! Ids of recently used content are remembered between transactions. They are void after a rollback and
//! after pruning; [`ContentCache::forget`] drops them.

use crate::codec::{self, Encoder};
use crate::ids::{BlobId, NodeId};
use looptape_core::chain::{self, Shared, SharedCut, Split};
use looptape_core::derive::reading::Reading;
use looptape_core::{Digest, varint};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::ops::Range;

/// Splices lie at most this deep, so that reading a piece stays cheap.
const MAX_SPLICE_DEPTH: i64 = 8;

/// How many ids are remembered before the memory is dropped and filled anew.
const MOST_IDS: usize = 100_000;

/// What the writer remembers about content that is in the database.
pub(crate) struct ContentCache {
    encoder: Encoder,
    blobs: HashMap<Digest, Blob>,
    nodes: HashMap<(NodeId, BlobId), NodeId>,
    generation: i64,
}

/// A body as it was stored: where it is, and its runs of pieces, so that the next body of its conversation
/// finds what it shares.
#[derive(Clone, Debug)]
pub(crate) struct StoredBody {
    pub(crate) skeleton: BlobId,
    pub(crate) heads: Vec<NodeId>,
    runs: Vec<Vec<StoredRun>>,
}

/// Pieces that follow each other, stored as one blob.
#[derive(Clone, Copy, Debug)]
struct StoredRun {
    /// The piece after its last.
    end: usize,
    blob: Blob,
    node: NodeId,
}

/// A blob that is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blob {
    pub(crate) id: BlobId,
    /// How many splices lie under it.
    depth: i64,
}

/// Content that is stored, from which other content may differ little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Like<'a> {
    pub(crate) blob: Blob,
    pub(crate) content: &'a [u8],
}

/// An earlier body, and what a new one shares with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) split: &'a Split,
    pub(crate) stored: &'a StoredBody,
    pub(crate) shared: &'a Shared,
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
        Ok(self.put(connection, content, Digest::of(content), None)?.id)
    }

    /// The same for content that may differ little from what is stored.
    pub(crate) fn put_like(
        &mut self,
        connection: &Connection,
        content: &[u8],
        like: Option<Like<'_>>,
    ) -> rusqlite::Result<Blob> {
        self.put(connection, content, Digest::of(content), like)
    }

    fn put(
        &mut self,
        connection: &Connection,
        content: &[u8],
        digest: Digest,
        like: Option<Like<'_>>,
    ) -> rusqlite::Result<Blob> {
        if let Some(&known) = self.blobs.get(&digest) {
            return Ok(known);
        }
        let blob = match self.insert(connection, content, digest, like)? {
            Some(new) => new,
            None => connection
                .prepare_cached("SELECT id, depth FROM blobs WHERE digest = ?1")?
                .query_row([&digest.0[..]], |r| Ok(Blob { id: BlobId(r.get(0)?), depth: r.get(1)? }))?,
        };
        self.blobs.insert(digest, blob);
        Ok(blob)
    }

    /// `None` if it is there already.
    fn insert(
        &mut self,
        connection: &Connection,
        content: &[u8],
        digest: Digest,
        like: Option<Like<'_>>,
    ) -> rusqlite::Result<Option<Blob>> {
        let splice = like.filter(|like| like.blob.depth < MAX_SPLICE_DEPTH).and_then(|like| {
            let splice = chain::Splice::between(like.content, content)?;
            Some((like.blob, splice.encode()))
        });
        let (codec, base, depth, packed) = match splice {
            Some((base, bytes)) => (codec::SPLICE, Some(base.id.0), base.depth + 1, Some(bytes)),
            None => {
                let (codec, packed) = self.encoder.encode(content);
                (codec, None, 0, packed)
            }
        };
        let written = connection
            .prepare_cached(
                "INSERT INTO blobs (digest, codec, base, depth, size, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (digest) DO NOTHING",
            )?
            .execute(params![
                &digest.0[..],
                codec,
                base,
                depth,
                content.len() as i64,
                packed.as_deref().unwrap_or(content)
            ])?;
        Ok((written > 0).then(|| Blob { id: BlobId(connection.last_insert_rowid()), depth }))
    }

    /// Stores a body: its skeleton, and its pieces as chains. What it shares with an earlier body is there
    /// already; other runs of pieces are written as splices of the one at their place, where that is small.
    pub(crate) fn put_body(
        &mut self,
        connection: &Connection,
        body: &[u8],
        reading: &Reading,
        earlier: Option<Earlier<'_>>,
    ) -> rusqlite::Result<StoredBody> {
        let split = reading.split();
        let skeleton = self.put_blob(connection, &split.skeleton.encode())?;
        let mut heads = Vec::with_capacity(split.cuts.len());
        let mut runs = Vec::with_capacity(split.cuts.len());
        for (at, (cut, digests)) in split.cuts.iter().zip(reading.digests()).enumerate() {
            let same = earlier.and_then(|earlier| EarlierCut::of(&earlier, at));
            let chain = self.put_chain(connection, body, &cut.pieces, digests, same)?;
            heads.push(chain.last().map_or(NodeId(0), |run| run.node));
            runs.push(chain);
        }
        Ok(StoredBody { skeleton, heads, runs })
    }

    fn put_chain(
        &mut self,
        connection: &Connection,
        body: &[u8],
        ranges: &[std::ops::Range<usize>],
        digests: &[Digest],
        same: Option<EarlierCut<'_>>,
    ) -> rusqlite::Result<Vec<StoredRun>> {
        let mut chain = match &same {
            Some(same) => same.leading_runs().to_vec(),
            None => Vec::new(),
        };
        let mut from = chain.last().map_or(0, |run| run.end);
        while from < ranges.len() {
            let end = run_from(ranges, from);
            let content = &body[ranges[from].start..ranges[end - 1].end];
            let digest = match end - from {
                1 => digests[from],
                _ => Digest::of(content),
            };
            let like = same.as_ref().and_then(|same| same.run(chain.len()));
            let blob = self.put(connection, content, digest, like)?;
            let parent = chain.last().map_or(NodeId(0), |run: &StoredRun| run.node);
            let node = self.put_node(connection, parent, blob.id)?;
            chain.push(StoredRun { end, blob, node });
            from = end;
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
        let written = connection
            .prepare_cached(
                "INSERT INTO nodes (parent, blob) VALUES (?1, ?2) ON CONFLICT (parent, blob) DO NOTHING",
            )?
            .execute([parent.0, blob.0])?;
        let id = match written {
            0 => connection
                .prepare_cached("SELECT id FROM nodes WHERE parent = ?1 AND blob = ?2")?
                .query_row([parent.0, blob.0], |r| r.get(0))?,
            _ => connection.last_insert_rowid(),
        };
        self.nodes.insert((parent, blob), NodeId(id));
        Ok(NodeId(id))
    }
}

/// One cut of an earlier body.
struct EarlierCut<'a> {
    body: &'a [u8],
    pieces: &'a [Range<usize>],
    runs: &'a [StoredRun],
    shared: &'a SharedCut,
}

impl<'a> EarlierCut<'a> {
    /// The one that shares pieces with cut number `at` of the new body.
    fn of(earlier: &Earlier<'a>, at: usize) -> Option<Self> {
        let shared = &earlier.shared.cuts[at];
        let of = shared.of?;
        Some(Self {
            body: earlier.body,
            pieces: &earlier.split.cuts.get(of)?.pieces,
            runs: earlier.stored.runs.get(of)?,
            shared,
        })
    }

    /// The runs that the new body has as they are.
    fn leading_runs(&self) -> &'a [StoredRun] {
        let shared = self.shared.leading();
        &self.runs[..self.runs.partition_point(|run| run.end <= shared)]
    }

    /// A run, from which that at the same place may differ little.
    fn run(&self, at: usize) -> Option<Like<'a>> {
        let run = self.runs.get(at)?;
        let first = at.checked_sub(1).map_or(0, |before| self.runs[before].end);
        let content = self.pieces.get(first)?.start..self.pieces.get(run.end - 1)?.end;
        Some(Like { blob: run.blob, content: &self.body[content] })
    }
}

/// Pieces are stored together up to this many bytes: what one step adds is mostly several short ones. Long
/// ones, a system prompt or a file, stand alone and are found by whoever has them too.
const LONGEST_RUN: usize = 4096;

/// The end of the run of new pieces that begins at `from`.
fn run_from(pieces: &[Range<usize>], from: usize) -> usize {
    let start = pieces[from].start;
    let fits = |piece: &&Range<usize>| piece.end - start <= LONGEST_RUN;
    from + pieces[from..].iter().take_while(fits).count().max(1)
}

/// Whether ids that were remembered before this transaction may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Good,
    /// Something was pruned: forget them.
    Void,
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
