//! Content-addressed storage inside a write transaction: contents, chains, bodies.
//!
//! What is new is gathered in a bundle, which [`ContentCache::seal`] writes before the transaction ends.
//!
//! Ids of recently used content are remembered between transactions. They are void after a rollback and
//! after pruning; [`ContentCache::forget`] drops them.

use crate::bundles::{self, Form, NewContent, OpenBundle, RecentBundles, Recurring, uncompressed_bytes};
use crate::codec::Encoder;
use crate::ids::{BlobId, NodeId};
use crate::old_content;
use foldhash::{HashMap, HashSet};
use looptape_core::chain::{self, Split};
use looptape_core::{Digest, varint};
use rusqlite::Connection;
use std::borrow::Cow;
use std::ops::Range;

mod earlier;

use earlier::EarlierCut;
pub(crate) use earlier::{Earlier, EarlierBytes};

/// Splices lie at most this deep, so that reading a piece stays cheap.
const MAX_SPLICE_DEPTH: u32 = 8;

/// How many ids are remembered before the memory is dropped and filled anew.
const MOST_IDS: usize = 100_000;

/// So much may wait to be compressed. Beyond it content is compressed as it is written.
const MOST_UNCOMPRESSED_BYTES: usize = 128 << 20;

/// What the writer remembers about content that is in the database.
pub(crate) struct ContentCache {
    encoder: Encoder,
    bundle: OpenBundle,
    recurring: Recurring,
    /// What waits to be compressed, as far as this recorder knows.
    uncompressed_bytes: usize,
    /// Whether there is content of an older looptape.
    has_old_content: bool,
    last: LastId,
    blobs: HashMap<Digest, Blob>,
    nodes: HashMap<(NodeId, BlobId), NodeId>,
    objects: Objects,
    generation: i64,
}

/// What is referred to by its digest alone.
#[derive(Debug, Default)]
struct Objects {
    /// It is stored, and found by its digest.
    known: HashSet<Digest>,
    recent: RecentBundles,
}

/// Whether the same content is likely to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recurrence {
    /// What begins a conversation: the database is asked whether it is there, and will be asked again.
    Likely,
    /// What goes on with a conversation that is known: somebody else may be doing the same just now.
    Soon,
    /// What providers answer, with an id in it: it is stored.
    Never,
    /// What is referred to by its digest alone, and has been looked for: it is stored, and will be found.
    Referred,
}

/// What one row of `settings` each says, as far as content goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ContentSettings {
    generation: i64,
    last_id: LastId,
}

/// The last id that a content or a node was given. Its row may be gone: an id is never given out twice.
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
    depth: u32,
}

/// Content that is stored, from which other content may differ little.
#[derive(Clone, Debug)]
pub(crate) struct Like<'a> {
    pub(crate) blob: Blob,
    pub(crate) content: Cow<'a, [u8]>,
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
            bundle: OpenBundle::default(),
            recurring: Recurring::default(),
            uncompressed_bytes: 0,
            has_old_content: false,
            last: LastId::default(),
            blobs: HashMap::default(),
            nodes: HashMap::default(),
            objects: Objects::default(),
            generation: -1,
        })
    }

    /// Forgets every id.
    pub(crate) fn forget(&mut self) {
        self.bundle.forget();
        self.recurring.forget();
        self.blobs.clear();
        self.nodes.clear();
        self.objects = Objects::default();
    }

    /// To be called at the start of each transaction: whether ids remembered elsewhere are still good.
    pub(crate) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<Freshness> {
        let settings = ContentSettings::load(connection)?;
        let now = settings.generation;
        self.last = settings.last_id;
        if self.blobs.len() + self.nodes.len() > MOST_IDS {
            self.recurring.write(connection)?;
            self.forget();
        }
        if now == self.generation {
            return Ok(Freshness::Good);
        }
        self.generation = now;
        self.forget();
        self.has_old_content = old_content::is_there(connection)?;
        self.uncompressed_bytes = uncompressed_bytes(connection)?;
        Ok(Freshness::Void)
    }

    /// Writes what is gathered, and which ids were given out.
    pub(crate) fn seal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.write_bundle(connection)?;
        self.recurring.write_due(connection)?;
        self.last.store(connection)
    }

    fn write_bundle(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let is_too_much = self.uncompressed_bytes > MOST_UNCOMPRESSED_BYTES;
        let encoder = is_too_much.then_some(&mut self.encoder);
        self.uncompressed_bytes += self.bundle.write(connection, encoder)?;
        Ok(())
    }

    /// What waits to be compressed, as far as this recorder knows.
    pub(crate) fn uncompressed_bytes(&self) -> usize {
        self.uncompressed_bytes
    }

    /// Whether nothing waits until there is time for it.
    pub(crate) fn is_tidy(&self) -> bool {
        self.uncompressed_bytes == 0 && self.recurring.is_empty()
    }

    /// Does a little of what waits: compresses some content. To be called in a transaction of its own.
    pub(crate) fn tidy_some(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.recurring.write(connection)?;
        bundles::compress_some(connection, &mut self.encoder)?;
        self.uncompressed_bytes = uncompressed_bytes(connection)?;
        Ok(())
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

    /// Stores content that is referred to by its digest alone.
    pub(crate) fn put_object(
        &mut self,
        connection: &Connection,
        digest: Digest,
        content: &[u8],
    ) -> rusqlite::Result<()> {
        if self.objects.known.contains(&digest) {
            return Ok(());
        }
        let mut found = find_object(connection, &mut self.objects.recent, digest)?;
        if found.is_none() && self.has_old_content {
            found = old_content::find(connection, digest)?.map(|(id, depth)| Blob { id, depth });
        }
        if found.is_none() {
            self.add(connection, None, (content, digest), None, Recurrence::Referred)?;
        }
        self.objects.known.insert(digest);
        Ok(())
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
        if let Some(known) = self.find(connection, digest, recurrence)? {
            return Ok(known);
        }
        self.add(connection, None, (content, digest), like, recurrence)
    }

    /// Content that is stored, as far as it is worth asking.
    fn find(
        &mut self,
        connection: &Connection,
        digest: Digest,
        recurrence: Recurrence,
    ) -> rusqlite::Result<Option<Blob>> {
        if recurrence == Recurrence::Never {
            return Ok(None);
        }
        if let Some(&known) = self.blobs.get(&digest) {
            return Ok(Some(known));
        }
        if recurrence != Recurrence::Likely {
            return Ok(None);
        }
        let mut found = find_recurring(connection, digest)?;
        if found.is_none() && self.has_old_content {
            found = old_content::find(connection, digest)?.map(|(id, depth)| Blob { id, depth });
        }
        if let Some(found) = found {
            self.blobs.insert(digest, found);
        }
        Ok(found)
    }

    /// Writes down new content; with `parent`, also the node that adds it to that chain, under the same id.
    fn add(
        &mut self,
        connection: &Connection,
        parent: Option<NodeId>,
        (content, digest): (&[u8], Digest),
        like: Option<Like<'_>>,
        recurrence: Recurrence,
    ) -> rusqlite::Result<Blob> {
        let splice = like.filter(|like| like.blob.depth < MAX_SPLICE_DEPTH).and_then(|like| {
            let splice = chain::Splice::between(&like.content, content)?;
            Some((like.blob, splice.encode()))
        });
        let (form, stored) = match &splice {
            Some((base, bytes)) => (Form::Splice { base: base.id, depth: base.depth + 1 }, &bytes[..]),
            None => (Form::AsItIs, content),
        };
        let new = NewContent { digest, size: content.len(), form, stored };
        let id = self.bundle.add(&mut self.last, parent, new);
        let blob = Blob { id, depth: splice.map_or(0, |(base, _)| base.depth + 1) };
        match recurrence {
            Recurrence::Likely => self.recurring.add(digest, id),
            Recurrence::Referred => self.recurring.add_now(digest, id),
            Recurrence::Soon | Recurrence::Never => {}
        }
        if recurrence != Recurrence::Never {
            self.blobs.insert(digest, blob);
        }
        if self.bundle.is_full() {
            self.write_bundle(connection)?;
        }
        Ok(blob)
    }

    /// Stores a body: its skeleton, and its pieces as chains. What it shares with an earlier body is there
    /// already; other runs of pieces are written as splices of the one at their place, where that is small.
    pub(crate) fn put_body(
        &mut self,
        connection: &Connection,
        body: &[u8],
        split: &Split,
        mut earlier: Option<Earlier>,
    ) -> rusqlite::Result<StoredBody> {
        let skeleton = match &earlier {
            Some(earlier) if earlier.shared.has_same_skeleton() => earlier.stored.skeleton,
            _ => self.put_blob(connection, &split.skeleton.encode(), Recurrence::Likely)?,
        };
        let mut heads = Vec::with_capacity(split.cuts.len());
        let mut runs = Vec::with_capacity(split.cuts.len());
        for (at, cut) in split.cuts.iter().enumerate() {
            let same = earlier.as_mut().and_then(|earlier| EarlierCut::of(earlier, at));
            let chain = self.put_chain(connection, body, &cut.pieces, same)?;
            heads.push(chain.last().map_or(NodeId::EMPTY, |run| run.node));
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
        let (mut chain, other) = match same {
            Some(same) => same.part(),
            None => (Vec::new(), None),
        };
        let shared = chain.len();
        let mut from = chain.last().map_or(0, |run| run.end);
        // What goes on with a known chain is new. A long history is one that was forgotten here, and will be again.
        let rest = ranges.last().map_or(0, |last| last.end) - ranges.get(from).map_or(0, |next| next.start);
        let recurrence = match chain.is_empty() || rest > LONGEST_STEP {
            true => Recurrence::Likely,
            false => Recurrence::Soon,
        };
        while from < ranges.len() {
            let end = run_from(ranges, from);
            let content = &body[ranges[from].start..ranges[end - 1].end];
            let like = other.as_ref().and_then(|other| other.run(chain.len() - shared));
            let parent = chain.last().map_or(NodeId::EMPTY, |run: &StoredRun| run.node);
            let (blob, node) = self.put_piece(connection, parent, content, like, recurrence)?;
            chain.push(StoredRun { end, blob, node });
            from = end;
        }
        Ok(chain)
    }

    /// Stores what follows `parent` in a chain.
    fn put_piece(
        &mut self,
        connection: &Connection,
        parent: NodeId,
        content: &[u8],
        like: Option<Like<'_>>,
        recurrence: Recurrence,
    ) -> rusqlite::Result<(Blob, NodeId)> {
        let digest = Digest::of(content);
        let Some(blob) = self.find(connection, digest, recurrence)? else {
            let blob = self.add(connection, Some(parent), (content, digest), like, recurrence)?;
            let node = NodeId(blob.id.0);
            self.nodes.insert((parent, blob.id), node);
            return Ok((blob, node));
        };
        if let Some(&node) = self.nodes.get(&(parent, blob.id)) {
            return Ok((blob, node));
        }
        // If it is there already, from before this process, it is there twice: looking for it would cost more.
        let node = self.bundle.add_node(&mut self.last, parent, blob.id);
        self.nodes.insert((parent, blob.id), node);
        Ok((blob, node))
    }
}

/// Content that is likely to come again.
fn find_recurring(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<Blob>> {
    find_object(connection, &mut RecentBundles::default(), digest)
}

/// Content that is found by its digest. Neighbours are found fast: `recent` holds the bundles that were looked into.
pub(crate) fn find_object(
    connection: &Connection,
    recent: &mut RecentBundles,
    digest: Digest,
) -> rusqlite::Result<Option<Blob>> {
    let mut statement = connection.prepare_cached("SELECT id FROM recurring WHERE digest = ?1")?;
    let mut rows = statement.query([digest.short()])?;
    while let Some(row) = rows.next()? {
        let id = BlobId(row.get(0)?);
        match recent.digest(connection, id)? {
            Some((of, depth)) if of == digest => return Ok(Some(Blob { id, depth })),
            _ => {}
        }
    }
    Ok(None)
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

/// Pieces are stored together up to this many bytes: what one step adds is mostly several short ones. Long
/// ones, a system prompt or a file, stand alone and are found by whoever has them too.
const LONGEST_RUN: usize = 4096;

/// One step adds hardly more than this to a conversation.
const LONGEST_STEP: usize = 16 << 10;

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
