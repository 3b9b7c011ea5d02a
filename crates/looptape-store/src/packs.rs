//! Packs: contents that were written together, compressed together.
//!
//! What one batch writes is short and much alike: messages of the same agents, answers of the same providers.
//! Compressed one by one each would pay for tables of its own and share nothing. A pack is written in the
//! transaction that writes the blobs in it, and never changed. Pruning puts what is left of a pack into a new
//! one, so nothing deleted stays behind beside something kept.
//!
//! Long contents are compressed alone (`codec`): who reads a short one shall not have to decode them.

use crate::codec::{self, Encoder};
use crate::content::LastId;
use crate::ids::PackId;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Contents up to this many bytes go into packs.
pub(crate) const LONGEST_PART: usize = 16 << 10;

/// A pack that has so many bytes takes no more.
const FULL_BYTES: usize = 64 << 10;

/// A pack that is being filled.
#[derive(Default)]
pub(crate) struct OpenPack {
    id: Option<PackId>,
    contents: Vec<u8>,
}

impl OpenPack {
    /// In which pack the next content will be, and where it will begin.
    pub(crate) fn next_part(&mut self, last: &mut LastId) -> (PackId, usize) {
        (*self.id.get_or_insert_with(|| PackId(last.take())), self.contents.len())
    }

    pub(crate) fn add(&mut self, content: &[u8]) {
        self.contents.extend_from_slice(content);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.contents.len() >= FULL_BYTES
    }

    /// Drops what is in it.
    pub(crate) fn forget(&mut self) {
        self.id = None;
        self.contents.clear();
    }

    /// Writes it, and is empty again.
    pub(crate) fn write(&mut self, connection: &Connection, encoder: &mut Encoder) -> rusqlite::Result<()> {
        let Some(id) = self.id.filter(|_| !self.is_empty()) else { return Ok(()) };
        connection
            .prepare_cached("INSERT INTO packs (id, size, data) VALUES (?1, ?2, ?3)")?
            .execute(params![id.0, self.contents.len() as i64, encoder.compress(&self.contents)])?;
        self.forget();
        Ok(())
    }
}

/// Packs that were read lately: whoever reads one content of a pack mostly wants its neighbours too.
#[derive(Default)]
pub(crate) struct RecentPacks {
    packs: VecDeque<(PackId, Bytes)>,
}

/// How many decoded packs are kept. Each has [`FULL_BYTES`] and at most one content more.
const MOST_PACKS: usize = 16;

impl RecentPacks {
    /// One content of a pack; `None` if the pack is missing, damaged, or has no such part.
    pub(crate) fn part(
        &mut self,
        connection: &Connection,
        id: PackId,
        part: Range<usize>,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let pack = match self.packs.iter().find(|(known, _)| *known == id) {
            Some((_, pack)) => pack.clone(),
            None => {
                let Some(pack) = read(connection, id)? else { return Ok(None) };
                self.packs.truncate(MOST_PACKS - 1);
                self.packs.push_front((id, pack.clone()));
                pack
            }
        };
        Ok(pack.get(part).map(<[u8]>::to_vec))
    }
}

fn read(connection: &Connection, id: PackId) -> rusqlite::Result<Option<Bytes>> {
    let row = connection
        .prepare_cached("SELECT size, data FROM packs WHERE id = ?1")?
        .query_row([id.0], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    let unpacked = row.and_then(|(size, data)| {
        let size = usize::try_from(size).ok().filter(|size| *size <= FULL_BYTES + LONGEST_PART)?;
        codec::unpack(&data, size).filter(|contents| contents.len() == size)
    });
    Ok(unpacked.map(Bytes::from))
}

/// For each pack what is left of it: blobs, and where they are.
type PartsLeft = BTreeMap<i64, Vec<(i64, Range<usize>)>>;

/// Blobs were deleted: deletes packs of which nothing is left, and writes what is left of others anew. A pack
/// that cannot be read stays, so that checks go on to find it.
pub(crate) fn keep_only_parts(connection: &Connection) -> rusqlite::Result<()> {
    let left = parts_left(connection)?;
    let mut encoder =
        Encoder::new().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut last = LastId::load(connection)?;
    let mut open = OpenPack::default();
    let mut delete = connection.prepare("DELETE FROM packs WHERE id = ?1")?;
    let mut put = connection.prepare("UPDATE blobs SET pack = ?2, place = ?3 WHERE id = ?1")?;
    for (id, size) in all_packs(connection)? {
        let parts = left.get(&id).map_or(&[][..], Vec::as_slice);
        if parts.iter().map(|(_, part)| part.len()).sum::<usize>() == size {
            continue;
        }
        if !parts.is_empty() {
            let Some(contents) = read(connection, PackId(id))? else { continue };
            if parts.iter().any(|(_, part)| contents.get(part.clone()).is_none()) {
                continue;
            }
            for (blob, part) in parts {
                let (pack, place) = open.next_part(&mut last);
                put.execute([*blob, pack.0, place as i64])?;
                open.add(&contents[part.clone()]);
                if open.is_full() {
                    open.write(connection, &mut encoder)?;
                }
            }
        }
        delete.execute([id])?;
    }
    open.write(connection, &mut encoder)?;
    last.store(connection)
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
    use crate::content::{ContentCache, Recurrence, read_intact};
    use crate::database::open_to_write;
    use crate::ids::BlobId;

    fn text(n: usize) -> Vec<u8> {
        format!("content number {n} ").repeat(60).into_bytes()
    }

    /// A database with `count` contents, written in one transaction.
    fn filled(count: usize) -> (tempfile::TempDir, Connection, Vec<BlobId>) {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("t.db"), "NORMAL").unwrap();
        let mut cache = ContentCache::new().unwrap();
        cache.refresh(&connection).unwrap();
        let blobs =
            (0..count).map(|n| cache.put_blob(&connection, &text(n), Recurrence::Likely).unwrap()).collect();
        cache.seal(&connection).unwrap();
        (folder, connection, blobs)
    }

    fn read_all(connection: &Connection, blobs: &[BlobId]) -> Vec<Option<Vec<u8>>> {
        let mut packs = RecentPacks::default();
        blobs.iter().map(|&id| read_intact(connection, &mut packs, id).unwrap()).collect()
    }

    fn delete(connection: &Connection, blob: BlobId) {
        connection.execute("DELETE FROM blobs WHERE id = ?1", [blob.0]).unwrap();
    }

    #[test]
    fn every_content_comes_back_from_its_pack() {
        let (_folder, connection, blobs) = filled(300);
        assert!(all_packs(&connection).unwrap().len() > 1, "more than one pack can hold");
        let contents = read_all(&connection, &blobs);
        assert!(contents.into_iter().enumerate().all(|(n, content)| content == Some(text(n))));
    }

    #[test]
    fn what_was_deleted_is_in_no_pack() {
        let (_folder, connection, blobs) = filled(300);
        let (gone, left): (Vec<_>, Vec<_>) =
            blobs.iter().enumerate().partition(|(n, _)| n % 3 == 0 || *n < 90);
        gone.iter().for_each(|(_, blob)| delete(&connection, **blob));
        keep_only_parts(&connection).unwrap();
        let ids: Vec<BlobId> = left.iter().map(|(_, blob)| **blob).collect();
        let expected: Vec<_> = left.iter().map(|(n, _)| Some(text(*n))).collect();
        assert_eq!(read_all(&connection, &ids), expected);
        let packs = all_packs(&connection).unwrap();
        let all: Vec<u8> = packs
            .iter()
            .flat_map(|(id, _)| read(&connection, PackId(*id)).unwrap().unwrap().to_vec())
            .collect();
        for (n, _) in gone {
            let is_there = all.windows(text(n).len()).any(|window| window == text(n));
            assert!(!is_there, "content {n} was deleted");
        }
        assert_eq!(all.len(), expected.iter().flatten().map(Vec::len).sum::<usize>());
        // Nothing went, nothing is written anew.
        keep_only_parts(&connection).unwrap();
        assert_eq!(all_packs(&connection).unwrap(), packs);
        ids.iter().for_each(|blob| delete(&connection, *blob));
        keep_only_parts(&connection).unwrap();
        assert_eq!(all_packs(&connection).unwrap(), []);
    }

    #[test]
    fn a_damaged_pack_stays_and_is_found() {
        let (_folder, connection, blobs) = filled(3);
        connection.execute("UPDATE packs SET data = zeroblob(length(data))", []).unwrap();
        delete(&connection, blobs[0]);
        keep_only_parts(&connection).unwrap();
        assert_eq!(all_packs(&connection).unwrap().len(), 1);
        assert_eq!(read_all(&connection, &blobs[1..]), [None, None]);
    }
}
