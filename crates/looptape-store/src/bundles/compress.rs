//! Compressing what was written in a hurry.
//!
//! Bundles that follow each other become one, compressed as a whole: what is compressed together shares more.
//! Each step is a short transaction and leaves everything readable; whoever is killed between two of them leaves
//! the rest for the next recorder.

use super::entry;
use crate::codec::{self, Encoder};
use rusqlite::{Connection, params};

/// So many bytes of contents are joined. Who reads one content decodes all of them.
const JOINED_BYTES: usize = 256 << 10;

/// By the index of those that wait: otherwise every bundle before the first of them would be looked at.
const FIRST_UNCOMPRESSED: &str =
    "SELECT min(id) FROM bundles INDEXED BY bundles_uncompressed WHERE codec = 0";

/// Bytes of contents that wait to be compressed.
pub(crate) fn uncompressed_bytes(connection: &Connection) -> rusqlite::Result<usize> {
    let sum: i64 = connection
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM bundles WHERE codec = 0")?
        .query_row([], |r| r.get(0))?;
    Ok(usize::try_from(sum).unwrap_or(0))
}

/// Compresses the first uncompressed bundles, as many as are joined to one. `false`: there were none.
pub(crate) fn compress_some(connection: &Connection, encoder: &mut Encoder) -> rusqlite::Result<bool> {
    let first: Option<i64> = connection.prepare_cached(FIRST_UNCOMPRESSED)?.query_row([], |r| r.get(0))?;
    let Some(first) = first else { return Ok(false) };
    let joined = Joined::from(connection, first)?;
    let mut delete = connection.prepare_cached("DELETE FROM bundles WHERE id = ?1")?;
    joined.parts.iter().try_for_each(|id| delete.execute([*id]).map(|_| ()))?;
    connection
        .prepare_cached("INSERT INTO bundles (id, entries, codec, size, data) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            first,
            joined.entries,
            codec::ZSTD,
            joined.data.len() as i64,
            encoder.compress_well(&joined.data)
        ])?;
    Ok(true)
}

/// Neighbours, one after the other.
struct Joined {
    parts: Vec<i64>,
    entries: Vec<u8>,
    data: Vec<u8>,
}

impl Joined {
    /// The uncompressed bundles from `first` on.
    fn from(connection: &Connection, first: i64) -> rusqlite::Result<Self> {
        let mut joined = Self { parts: Vec::new(), entries: Vec::new(), data: Vec::new() };
        // The one that does not fit is not read.
        let mut sizes =
            connection.prepare_cached("SELECT id, codec, size FROM bundles WHERE id >= ?1 ORDER BY id")?;
        let mut sizes = sizes.query([first])?;
        let mut statement = connection.prepare_cached("SELECT entries, data FROM bundles WHERE id = ?1")?;
        let mut end = first;
        while let Some(row) = sizes.next()? {
            let (id, codec, size): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let is_first = joined.parts.is_empty();
            let bytes = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(joined.data.len());
            if !is_first && (codec != codec::RAW || bytes > JOINED_BYTES) {
                break;
            }
            let count = statement.query_row([id], |row| {
                let (entries, data) = (row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_bytes()?);
                let count = entry::decode(id, entries).map(|entries| entries.len() as i64);
                if is_first || count.is_some() {
                    joined.add(id, end, (entries, data));
                }
                Ok(count)
            })?;
            // Of what cannot be read nothing is known, so nothing can follow it.
            let Some(count) = count else { break };
            end = id + count;
        }
        Ok(joined)
    }

    /// Adds the bundle `id` to those that end before `end`.
    fn add(&mut self, id: i64, end: i64, (entries, data): (&[u8], &[u8])) {
        if id > end {
            entry::encode_gone(&mut self.entries, (id - end) as u64);
        }
        self.parts.push(id);
        self.entries.extend_from_slice(entries);
        self.data.extend_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundles::RecentBundles;
    use crate::content::{ContentCache, Recurrence};
    use crate::database::open_to_write;
    use crate::ids::BlobId;

    fn text(n: usize) -> Vec<u8> {
        format!("content number {n} ").repeat(60).into_bytes()
    }

    fn contents(connection: &Connection, ids: &[BlobId]) -> Vec<Option<Vec<u8>>> {
        let mut recent = RecentBundles::default();
        ids.iter().map(|id| recent.content(connection, *id).unwrap()).collect()
    }

    fn count(connection: &Connection, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM bundles WHERE {condition}");
        connection.query_row(&sql, [], |r| r.get(0)).unwrap()
    }

    /// A database with contents, written in several transactions between which ids are lost.
    fn filled(transactions: usize) -> (tempfile::TempDir, Connection, Vec<BlobId>) {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("t.db"), "NORMAL").unwrap();
        let mut cache = ContentCache::new().unwrap();
        let mut ids = Vec::new();
        for n in 0..transactions {
            cache.refresh(&connection).unwrap();
            for m in 0..3 {
                ids.push(cache.put_blob(&connection, &text(n * 3 + m), Recurrence::Never).unwrap());
            }
            cache.seal(&connection).unwrap();
            if n % 4 == 0 {
                connection
                    .execute("UPDATE settings SET value = value + 5 WHERE name = 'last_blob'", [])
                    .unwrap();
            }
        }
        (folder, connection, ids)
    }

    #[test]
    fn neighbours_become_one_and_nothing_changes() {
        let (_folder, connection, ids) = filled(200);
        let before = contents(&connection, &ids);
        assert!(before.iter().enumerate().all(|(n, content)| *content == Some(text(n))));
        let waiting = uncompressed_bytes(&connection).unwrap();
        assert_eq!(waiting, before.iter().flatten().map(Vec::len).sum::<usize>());
        let mut encoder = Encoder::new().unwrap();
        while compress_some(&connection, &mut encoder).unwrap() {
            assert_eq!(contents(&connection, &ids[..9]), before[..9]);
        }
        assert_eq!((uncompressed_bytes(&connection).unwrap(), count(&connection, "codec = 0")), (0, 0));
        assert_eq!(count(&connection, "true"), waiting.div_ceil(JOINED_BYTES) as i64);
        assert_eq!(contents(&connection, &ids), before);
    }

    /// Damage stops at its own bundle, and is not passed over for ever.
    #[test]
    fn damaged_entries_are_joined_to_nothing() {
        let (_folder, connection, ids) = filled(9);
        let middle = ids[12].0;
        let sql =
            "UPDATE bundles SET entries = x'63' WHERE id = (SELECT max(id) FROM bundles WHERE id <= ?1)";
        connection.execute(sql, [middle]).unwrap();
        let mut encoder = Encoder::new().unwrap();
        while compress_some(&connection, &mut encoder).unwrap() {}
        assert_eq!(count(&connection, "true"), 3);
        let after = contents(&connection, &ids);
        let lost: Vec<usize> = (0..ids.len()).filter(|n| after[*n] != Some(text(*n))).collect();
        assert_eq!(lost, [12, 13, 14]);
    }
}
