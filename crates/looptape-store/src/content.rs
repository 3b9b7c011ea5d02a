//! Content-addressed storage inside a write transaction: blobs, chains, bodies.
//!
//! Short contents are gathered in a pack, which [`ContentCache::seal`] writes before the transaction ends.
//!
//! Ids of recently used content are remembered between transactions. They are void after a rollback and
//! after pruning; [`ContentCache::forget`] drops them.

use crate::codec::{self, Encoder};
use crate::ids::{BlobId, NodeId, PackId};
use crate::packs::{self, OpenPack, RecentPacks};
use foldhash::HashMap;
use looptape_core::chain::{self, Shared, SharedCut, Split};
use looptape_core::derive::reading::Reading;
use looptape_core::{Digest, varint};
use rusqlite::{Connection, OptionalExtension, params};
use std::ops::Range;

/// Splices lie at most this deep, so that reading a piece stays cheap.
const MAX_SPLICE_DEPTH: i64 = 8;

/// How many ids are remembered before the memory is dropped and filled anew.
const MOST_IDS: usize = 100_000;

/// What the writer remembers about content that is in the database.
pub(crate) struct ContentCache {
    encoder: Encoder,
    pack: OpenPack,
    last: LastId,
    blobs: HashMap<Digest, Blob>,
    nodes: HashMap<(NodeId, BlobId), NodeId>,
    generation: i64,
}

/// Whether the same content is likely to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recurrence {
    /// What clients send: the database is asked whether it is there.
    Likely,
    /// What providers answer, with an id in it: if it was not stored lately, it is stored.
    Unlikely,
}

/// What one row of `settings` each says, as far as content goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ContentSettings {
    generation: i64,
    last_id: LastId,
}

/// The last id that a blob, a node or a pack was given. Its row may be gone: an id is never given out twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastId {
    given: i64,
    /// As it stands in the database.
    stored: i64,
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
        Ok(Self {
            encoder: Encoder::new()?,
            pack: OpenPack::default(),
            last: LastId::default(),
            blobs: HashMap::default(),
            nodes: HashMap::default(),
            generation: -1,
        })
    }

    /// Forgets every id.
    pub(crate) fn forget(&mut self) {
        self.pack.forget();
        self.blobs.clear();
        self.nodes.clear();
    }

    /// To be called at the start of each transaction: whether ids remembered elsewhere are still good.
    pub(crate) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<Freshness> {
        let settings = ContentSettings::load(connection)?;
        let now = settings.generation;
        self.last = settings.last_id;
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

    /// Writes what is gathered, and which ids were given out.
    pub(crate) fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.write_pack(connection)?;
        self.last.store(connection)
    }

    fn write_pack(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.pack.write(connection, &mut self.encoder)
    }

    /// Stores content, or finds it stored.
    pub(crate) fn put_blob(
        &mut self,
        connection: &Connection,
        content: &[u8],
        recurrence: Recurrence,
    ) -> rusqlite::Result<BlobId> {
        Ok(self.put(connection, content, None, recurrence)?.id)
    }

    /// The same for content that may differ little from what is stored.
    pub(crate) fn put(
        &mut self,
        connection: &Connection,
        content: &[u8],
        like: Option<Like<'_>>,
        recurrence: Recurrence,
    ) -> rusqlite::Result<Blob> {
        let digest = Digest::of(content);
        if let Some(&known) = self.blobs.get(&digest) {
            return Ok(known);
        }
        let blob = match self.insert(connection, content, digest, like, recurrence)? {
            Some(new) => new,
            None => connection
                .prepare_cached("SELECT id, depth FROM blobs WHERE digest = ?1 AND recurs = 1")?
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
        recurrence: Recurrence,
    ) -> rusqlite::Result<Option<Blob>> {
        let splice = like.filter(|like| like.blob.depth < MAX_SPLICE_DEPTH).and_then(|like| {
            let splice = chain::Splice::between(like.content, content)?;
            Some((like.blob, splice.encode()))
        });
        let depth = splice.as_ref().map_or(0, |(base, _)| base.depth + 1);
        // Of content that is there already, the id is not used.
        let blob = Blob { id: BlobId(self.last.take()), depth };
        let row = BlobRow { blob, digest, size: content.len(), recurrence };
        let is_new = match splice {
            Some((base, bytes)) => insert_row(connection, row, (codec::SPLICE, Some(base.id)), &bytes)?,
            None if (codec::SMALLEST_WORTH..=packs::LONGEST_PART).contains(&content.len()) => {
                let is_new = insert_part(connection, row, self.pack.next_part(&mut self.last))?;
                if is_new {
                    self.pack.add(content);
                }
                is_new
            }
            None => {
                let (codec, packed) = self.encoder.encode(content);
                insert_row(connection, row, (codec, None), packed.as_deref().unwrap_or(content))?
            }
        };
        if self.pack.is_full() {
            self.write_pack(connection)?;
        }
        Ok(is_new.then_some(blob))
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
        let skeleton = self.put_blob(connection, &split.skeleton.encode(), Recurrence::Likely)?;
        let mut heads = Vec::with_capacity(split.cuts.len());
        let mut runs = Vec::with_capacity(split.cuts.len());
        for (at, cut) in split.cuts.iter().enumerate() {
            let same = earlier.and_then(|earlier| EarlierCut::of(&earlier, at));
            let chain = self.put_chain(connection, body, &cut.pieces, same)?;
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
            let like = same.as_ref().and_then(|same| same.run(chain.len()));
            let blob = self.put(connection, content, like, Recurrence::Likely)?;
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
        let new = self.last.take();
        let written = connection
            .prepare_cached(
                "INSERT INTO nodes (id, parent, blob) VALUES (?1, ?2, ?3) ON CONFLICT (parent, blob) DO NOTHING",
            )?
            .execute([new, parent.0, blob.0])?;
        let id = match written {
            0 => connection
                .prepare_cached("SELECT id FROM nodes WHERE parent = ?1 AND blob = ?2")?
                .query_row([parent.0, blob.0], |r| r.get(0))?,
            _ => new,
        };
        self.nodes.insert((parent, blob), NodeId(id));
        Ok(NodeId(id))
    }
}

impl ContentSettings {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached("SELECT name, value FROM settings")?;
        let mut rows = statement.query([])?;
        let mut settings = Self::default();
        while let Some(row) = rows.next()? {
            let value = row.get(1)?;
            match row.get_ref(0)?.as_bytes()? {
                b"content_generation" => settings.generation = value,
                // Each had a count of its own; the highest goes on.
                b"last_blob" | b"last_node" | b"last_pack" => settings.last_id.raise_to(value),
                _ => {}
            }
        }
        Ok(settings)
    }
}

impl LastId {
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(ContentSettings::load(connection)?.last_id)
    }

    fn raise_to(&mut self, stored: i64) {
        self.stored = self.stored.max(stored);
        self.given = self.stored;
    }

    /// Gives out the next.
    pub(crate) fn take(&mut self) -> i64 {
        self.given += 1;
        self.given
    }

    /// To be called before the transaction ends.
    pub(crate) fn store(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.given != self.stored {
            connection
                .prepare_cached("UPDATE settings SET value = ?1 WHERE name = 'last_blob'")?
                .execute([self.given])?;
            self.stored = self.given;
        }
        Ok(())
    }
}

/// What the rows of all blobs say.
struct BlobRow {
    blob: Blob,
    digest: Digest,
    size: usize,
    recurrence: Recurrence,
}

/// Writes a blob's row; `false` if its content is there already.
fn insert_row(
    connection: &Connection,
    row: BlobRow,
    (codec, base): (i64, Option<BlobId>),
    data: &[u8],
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "INSERT INTO blobs (id, digest, codec, base, depth, size, data, recurs) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (digest) WHERE recurs = 1 DO NOTHING",
        )?
        .execute(params![
            row.blob.id.0,
            &row.digest.0[..],
            codec,
            base.map(|base| base.0),
            row.blob.depth,
            row.size as i64,
            data,
            row.recurrence == Recurrence::Likely,
        ])
        .map(|written| written > 0)
}

/// The same for a blob whose content is in a pack.
fn insert_part(
    connection: &Connection,
    row: BlobRow,
    (pack, place): (PackId, usize),
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "INSERT INTO blobs (id, digest, codec, size, pack, place, recurs) \
             VALUES (?1, ?2, 3, ?3, ?4, ?5, ?6) ON CONFLICT (digest) WHERE recurs = 1 DO NOTHING",
        )?
        .execute(params![
            row.blob.id.0,
            &row.digest.0[..],
            row.size as i64,
            pack.0,
            place as i64,
            row.recurrence == Recurrence::Likely,
        ])
        .map(|written| written > 0)
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
pub(crate) fn read_intact(
    connection: &Connection,
    packs: &mut RecentPacks,
    id: BlobId,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let Some(content) = read_blob(connection, packs, id)? else { return Ok(None) };
    let digest: Vec<u8> = connection
        .prepare_cached("SELECT digest FROM blobs WHERE id = ?1")?
        .query_row([id.0], |r| r.get(0))?;
    Ok((Digest::of(&content).0[..] == digest).then_some(content))
}

/// A blob's content, decoded but not compared with its hash; `None` if it is missing or does not decode.
pub(crate) fn read_blob(
    connection: &Connection,
    packs: &mut RecentPacks,
    id: BlobId,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let row = connection
        .prepare_cached("SELECT codec, base, size, data, pack, place FROM blobs WHERE id = ?1")?
        .query_row([id.0], |r| {
            let size: i64 = r.get(2)?;
            let size = usize::try_from(size).unwrap_or(0);
            Ok(match r.get(0)? {
                codec::PACKED => {
                    let place: i64 = r.get(5)?;
                    Stored::InPack(PackId(r.get(4)?), usize::try_from(place).unwrap_or(usize::MAX), size)
                }
                codec => Stored::Alone { codec, base: r.get(1)?, size, data: r.get(3)? },
            })
        })
        .optional()?;
    match row {
        None => Ok(None),
        Some(Stored::InPack(pack, place, size)) => {
            packs.part(connection, pack, place..place.saturating_add(size))
        }
        Some(Stored::Alone { codec, base, size, data }) => {
            let base_content = || match base {
                // A splice's base was there before it, so its id is smaller: no loop can be followed.
                Some(base) if base < id.0 => {
                    read_blob(connection, packs, BlobId(base)).map(Option::unwrap_or_default)
                }
                _ => Ok(Vec::new()),
            };
            codec::decode(codec, size, &data, base_content)
        }
    }
}

/// A blob's row.
enum Stored {
    Alone {
        codec: i64,
        base: Option<i64>,
        size: usize,
        data: Vec<u8>,
    },
    /// Pack, place and size.
    InPack(PackId, usize, usize),
}
