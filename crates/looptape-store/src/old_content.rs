//! Content and nodes as looptape stored them up to schema 11: each a row, short contents in packs. It is read,
//! checked and pruned; nothing is added to it.

use crate::codec::{self, Encoder};
use crate::ids::{BlobId, NodeId};
use bytes::Bytes;
use looptape_core::Digest;
use looptape_core::chain::Splice;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;

/// Codecs of blobs beside those of [`codec`].
const SPLICE: i64 = 2;
const PACKED: i64 = 3;

/// How many decoded packs are kept. Each has little more than 64 KiB.
const MOST_PACKS: usize = 16;

/// Reads it; packs that were read lately are kept.
#[derive(Debug, Default)]
pub(crate) struct OldContent {
    packs: VecDeque<(i64, Bytes)>,
}

/// A blob's row.
enum Stored {
    Alone { codec: i64, base: Option<i64>, size: usize, data: Vec<u8> },
    InPack { pack: i64, part: Range<usize> },
}

impl OldContent {
    /// A content; `None` if it is missing or damaged.
    pub(crate) fn content(
        &mut self,
        connection: &Connection,
        id: BlobId,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let Some((digest, stored)) = row(connection, id)? else { return Ok(None) };
        let content = match stored {
            Stored::InPack { pack, part } => self.part(connection, pack, part)?,
            Stored::Alone { codec: SPLICE, base, size, data } => match base {
                // A splice's base was there before it, so its id is smaller: no loop can be followed.
                Some(base) if base < id.0 => {
                    let base = self.content(connection, BlobId(base))?;
                    let whole = base.zip(Splice::decode(&data)).and_then(|(base, s)| s.apply(&base));
                    whole.filter(|whole| whole.len() == size)
                }
                _ => None,
            },
            Stored::Alone { codec, size, data, .. } => codec::decode(codec, size, &data),
        };
        Ok(content.filter(|content| Digest::of(content).0[..] == digest))
    }

    /// A content's digest, and on how many others it is spliced.
    pub(crate) fn digest(
        &self,
        connection: &Connection,
        id: BlobId,
    ) -> rusqlite::Result<Option<(Digest, u32)>> {
        let row = connection
            .prepare_cached("SELECT digest, depth FROM blobs WHERE id = ?1")?
            .query_row([id.0], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get(1)?)))
            .optional()?;
        Ok(row.and_then(|(digest, depth)| Some((Digest(digest.try_into().ok()?), depth))))
    }

    /// The chain before a node, and the content that it adds.
    pub(crate) fn node(
        &self,
        connection: &Connection,
        id: NodeId,
    ) -> rusqlite::Result<Option<(NodeId, BlobId)>> {
        connection
            .prepare_cached("SELECT parent, blob FROM nodes WHERE id = ?1")?
            .query_row([id.0], |r| Ok((NodeId(r.get(0)?), BlobId(r.get(1)?))))
            .optional()
    }

    /// One content of a pack; `None` if the pack is missing, damaged, or has no such part.
    fn part(
        &mut self,
        connection: &Connection,
        id: i64,
        part: Range<usize>,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let pack = match self.packs.iter().find(|(known, _)| *known == id) {
            Some((_, pack)) => pack.clone(),
            None => {
                let Some(pack) = read_pack(connection, id)? else { return Ok(None) };
                self.packs.truncate(MOST_PACKS - 1);
                self.packs.push_front((id, pack.clone()));
                pack
            }
        };
        Ok(pack.get(part).map(<[u8]>::to_vec))
    }
}

/// Whether there is any.
pub(crate) fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM blobs) OR EXISTS (SELECT 1 FROM nodes)";
    connection.query_row(sql, [], |r| r.get(0))
}

/// A content by its digest.
pub(crate) fn find(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<(BlobId, u32)>> {
    connection
        .prepare_cached("SELECT id, depth FROM blobs WHERE digest = ?1 AND recurs = 1")?
        .query_row([&digest.0[..]], |r| Ok((BlobId(r.get(0)?), r.get(1)?)))
        .optional()
}

fn row(connection: &Connection, id: BlobId) -> rusqlite::Result<Option<(Vec<u8>, Stored)>> {
    connection
        .prepare_cached("SELECT digest, codec, base, size, data, pack, place FROM blobs WHERE id = ?1")?
        .query_row([id.0], |r| {
            let size = usize::try_from(r.get::<_, i64>(3)?).unwrap_or(0);
            let stored = match r.get(1)? {
                PACKED => {
                    let place = usize::try_from(r.get::<_, i64>(6)?).unwrap_or(usize::MAX);
                    Stored::InPack { pack: r.get(5)?, part: place..place.saturating_add(size) }
                }
                codec => Stored::Alone { codec, base: r.get(2)?, size, data: r.get(4)? },
            };
            Ok((r.get(0)?, stored))
        })
        .optional()
}

fn read_pack(connection: &Connection, id: i64) -> rusqlite::Result<Option<Bytes>> {
    let row = connection
        .prepare_cached("SELECT size, data FROM packs WHERE id = ?1")?
        .query_row([id], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    let unpacked =
        row.and_then(|(size, data)| codec::decode(codec::ZSTD, usize::try_from(size).ok()?, &data));
    Ok(unpacked.map(Bytes::from))
}

/// Deletes every content and node that neither `heads` and `live` hold nor something that is kept refers to, and
/// what packs held of them. `heads` are nodes; `live` are contents.
pub(crate) fn keep_only(
    connection: &Connection,
    heads: &HashSet<i64>,
    live: &HashSet<i64>,
) -> rusqlite::Result<()> {
    if !is_there(connection)? {
        return Ok(());
    }
    let nodes = with_all_before(connection, "SELECT parent FROM nodes WHERE id = ?1", heads)?;
    delete_others(connection, "nodes", &nodes)?;
    let mut contents = live.clone();
    let mut statement = connection.prepare("SELECT blob FROM nodes")?;
    for blob in statement.query_map([], |r| r.get(0))? {
        contents.insert(blob?);
    }
    let contents = with_all_before(connection, "SELECT base FROM blobs WHERE id = ?1", &contents)?;
    delete_others(connection, "blobs", &contents)?;
    keep_only_parts(connection)
}

/// Ids, and all that they refer to by `before`.
fn with_all_before(
    connection: &Connection,
    before: &'static str,
    ids: &HashSet<i64>,
) -> rusqlite::Result<HashSet<i64>> {
    let mut all = HashSet::with_capacity(ids.len());
    let mut before = connection.prepare(before)?;
    for id in ids {
        let mut at = Some(*id);
        while let Some(id) = at.filter(|&id| id != 0 && all.insert(id)) {
            at = before.query_row([id], |r| r.get(0)).optional()?.flatten();
        }
    }
    Ok(all)
}

fn delete_others(connection: &Connection, table: &'static str, live: &HashSet<i64>) -> rusqlite::Result<()> {
    let dead: Vec<i64> = connection
        .prepare(&format!("SELECT id FROM {table}"))?
        .query_map([], |r| r.get(0))?
        .filter(|id| id.as_ref().map_or(true, |id| !live.contains(id)))
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare(&format!("DELETE FROM {table} WHERE id = ?1"))?;
    dead.iter().try_for_each(|id| statement.execute([id]).map(|_| ()))
}

/// For each pack what is left of it: blobs, and where they are.
type PartsLeft = BTreeMap<i64, Vec<(i64, Range<usize>)>>;

/// Blobs were deleted: deletes packs of which nothing is left, and takes out of others what is gone. A pack that
/// cannot be read stays, so that checks go on to find it.
fn keep_only_parts(connection: &Connection) -> rusqlite::Result<()> {
    let left = parts_left(connection)?;
    let mut encoder =
        Encoder::new().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut delete = connection.prepare("DELETE FROM packs WHERE id = ?1")?;
    let mut rewrite = connection.prepare("UPDATE packs SET size = ?2, data = ?3 WHERE id = ?1")?;
    let mut put = connection.prepare("UPDATE blobs SET place = ?2 WHERE id = ?1")?;
    for (id, size) in all_packs(connection)? {
        let parts = left.get(&id).map_or(&[][..], Vec::as_slice);
        if parts.is_empty() {
            delete.execute([id])?;
            continue;
        }
        if parts.iter().map(|(_, part)| part.len()).sum::<usize>() == size {
            continue;
        }
        let Some(contents) = read_pack(connection, id)? else { continue };
        if parts.iter().any(|(_, part)| contents.get(part.clone()).is_none()) {
            continue;
        }
        let mut kept = Vec::with_capacity(size);
        for (blob, part) in parts {
            put.execute([*blob, kept.len() as i64])?;
            kept.extend_from_slice(&contents[part.clone()]);
        }
        rewrite.execute(params![id, kept.len() as i64, encoder.compress_well(&kept)])?;
    }
    Ok(())
}

fn all_packs(connection: &Connection) -> rusqlite::Result<Vec<(i64, usize)>> {
    let mut statement = connection.prepare("SELECT id, size FROM packs ORDER BY id")?;
    let sized = |(id, size): (i64, i64)| (id, usize::try_from(size).unwrap_or(0));
    statement.query_map([], |r| Ok(sized((r.get(0)?, r.get(1)?))))?.collect()
}

fn parts_left(connection: &Connection) -> rusqlite::Result<PartsLeft> {
    let mut statement =
        connection.prepare("SELECT pack, id, place, size FROM blobs WHERE pack IS NOT NULL")?;
    let mut rows = statement.query([])?;
    let mut left = PartsLeft::new();
    while let Some(row) = rows.next()? {
        let (place, size): (i64, i64) = (row.get(2)?, row.get(3)?);
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let part = place..place.saturating_add(usize::try_from(size).unwrap_or(0));
        left.entry(row.get(0)?).or_default().push((row.get(1)?, part));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::open_to_write;

    fn text(n: i64) -> Vec<u8> {
        format!("content number {n} ").repeat(60).into_bytes()
    }

    /// Contents 1 to `count` in packs of ten, as an older looptape wrote them.
    fn filled(count: i64) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("t.db"), "NORMAL").unwrap();
        let mut encoder = Encoder::new().unwrap();
        let mut put = connection
            .prepare(
                "INSERT INTO blobs (id, digest, codec, size, pack, place) VALUES (?1, ?2, 3, ?3, ?4, ?5)",
            )
            .unwrap();
        let ids: Vec<i64> = (1..=count).collect();
        for part in ids.chunks(10) {
            let (pack, mut contents) = (1000 + part[0], Vec::new());
            for &id in part {
                let content = text(id);
                let row = params![
                    id,
                    &Digest::of(&content).0[..],
                    content.len() as i64,
                    pack,
                    contents.len() as i64
                ];
                put.execute(row).unwrap();
                contents.extend_from_slice(&content);
            }
            let sql = "INSERT INTO packs (id, size, data) VALUES (?1, ?2, ?3)";
            connection
                .execute(sql, params![pack, contents.len() as i64, encoder.compress(&contents)])
                .unwrap();
        }
        drop(put);
        (folder, connection)
    }

    fn read(connection: &Connection, ids: impl IntoIterator<Item = i64>) -> Vec<Option<Vec<u8>>> {
        let mut old = OldContent::default();
        ids.into_iter().map(|id| old.content(connection, BlobId(id)).unwrap()).collect()
    }

    #[test]
    fn every_content_comes_back_from_its_pack() {
        let (_folder, connection) = filled(300);
        assert!(read(&connection, 1..=300).into_iter().zip(1..).all(|(content, n)| content == Some(text(n))));
        assert_eq!(find(&connection, Digest::of(&text(7))).unwrap(), Some((BlobId(7), 0)));
    }

    #[test]
    fn what_was_deleted_is_in_no_pack() {
        let (_folder, connection) = filled(300);
        let (gone, left): (Vec<i64>, Vec<i64>) = (1..=300).partition(|n| n % 3 == 0 || *n < 90);
        keep_only(&connection, &HashSet::new(), &left.iter().copied().collect()).unwrap();
        let expected: Vec<_> = left.iter().map(|n| Some(text(*n))).collect();
        assert_eq!(read(&connection, left.iter().copied()), expected);
        let packs = all_packs(&connection).unwrap();
        let all: Vec<u8> =
            packs.iter().flat_map(|(id, _)| read_pack(&connection, *id).unwrap().unwrap().to_vec()).collect();
        for n in gone {
            let is_there = all.windows(text(n).len()).any(|window| window == text(n));
            assert!(!is_there, "content {n} was deleted");
        }
        assert_eq!(all.len(), expected.iter().flatten().map(Vec::len).sum::<usize>());
        keep_only(&connection, &HashSet::new(), &HashSet::new()).unwrap();
        assert_eq!(all_packs(&connection).unwrap(), []);
    }

    #[test]
    fn a_damaged_pack_stays_and_is_found() {
        let (_folder, connection) = filled(3);
        connection.execute("UPDATE packs SET data = zeroblob(length(data))", []).unwrap();
        keep_only(&connection, &HashSet::new(), &HashSet::from([2, 3])).unwrap();
        assert_eq!(all_packs(&connection).unwrap().len(), 1);
        assert_eq!(read(&connection, [2, 3]), [None, None]);
    }
}
