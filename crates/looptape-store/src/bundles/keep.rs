//! Deleting what nothing refers to.
//!
//! Whatever an entry refers to has a smaller id. So one walk from the last bundle to the first meets everything
//! after all that refers to it, and holds one bundle at a time.

use super::entry::{self, Entry, Form};
use super::{Bundle, COLUMNS, Entries};
use crate::codec::{self, Encoder};
use crate::ids::NodeId;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

/// Ids of what is to be kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) nodes: HashSet<i64>,
    pub(crate) contents: HashSet<i64>,
}

impl Live {
    fn holds(&self, id: i64) -> bool {
        self.nodes.contains(&id) || self.contents.contains(&id)
    }
}

/// Deletes every content and node that neither `live` holds nor something that is kept refers to; adds to `live`
/// what those refer to. A bundle that cannot be read stays, so that checks go on to find it.
pub(crate) fn keep_only(connection: &Connection, live: &mut Live) -> rusqlite::Result<()> {
    let mut encoder =
        Encoder::new().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut before = i64::MAX;
    loop {
        // The data is read only of a bundle that is to be written anew.
        let next = connection
            .prepare_cached("SELECT id, entries FROM bundles WHERE id < ?1 ORDER BY id DESC LIMIT 1")?
            .query_row([before], |row| {
                let id = row.get(0)?;
                Ok((id, Entries::decode(id, row.get_ref(1)?.as_bytes()?)))
            })
            .optional()?;
        let Some((id, entries)) = next else { break };
        before = id;
        if let Some(entries) = entries {
            entries.mark(live);
            entries.keep(connection, live, &mut encoder)?;
        }
    }
    forget_recurring(connection, live)
}

impl Entries {
    /// Adds what its live entries refer to.
    fn mark(&self, live: &mut Live) {
        for (id, entry) in self.iter().rev() {
            if !live.holds(id) {
                continue;
            }
            if let Some((parent, content)) = entry.node(id) {
                live.contents.insert(content.0);
                if parent != NodeId::EMPTY {
                    live.nodes.insert(parent.0);
                }
            }
            if let Some(Form::Splice { base, .. }) = entry.content().map(|content| content.form) {
                live.contents.insert(base.0);
            }
        }
    }

    /// Writes what is left of the bundle, or deletes it.
    fn keep(&self, connection: &Connection, live: &Live, encoder: &mut Encoder) -> rusqlite::Result<()> {
        let is_dead = |(id, entry): &(i64, &Entry)| **entry != Entry::Gone && !live.holds(*id);
        if !self.iter().any(|each| is_dead(&each)) {
            return Ok(());
        }
        let kept = |each: &(i64, &Entry)| live.holds(each.0) && *each.1 != Entry::Gone;
        let Some((last, _)) = self.iter().rfind(kept) else {
            connection.prepare_cached("DELETE FROM bundles WHERE id = ?1")?.execute([self.first])?;
            return Ok(());
        };
        let sql = format!("SELECT {COLUMNS} FROM bundles WHERE id = ?1");
        let Some(bundle) = connection.prepare_cached(&sql)?.query_row([self.first], Bundle::read)? else {
            return Ok(());
        };
        let (mut entries, mut data, mut gone) = (Vec::new(), Vec::new(), 0);
        for each in self.iter().take_while(|(id, _)| *id <= last) {
            if !kept(&each) {
                gone += 1;
                continue;
            }
            if gone > 0 {
                entry::encode_gone(&mut entries, std::mem::take(&mut gone));
            }
            let (id, entry) = each;
            entry::encode(&mut entries, id, entry);
            data.extend_from_slice(
                entry.content().and_then(|content| bundle.stored(content)).unwrap_or_default(),
            );
        }
        connection
            .prepare_cached(
                "UPDATE bundles SET entries = ?2, codec = ?3, size = ?4, data = ?5 WHERE id = ?1",
            )?
            .execute(params![
                self.first,
                entries,
                codec::ZSTD,
                data.len() as i64,
                encoder.compress_well(&data)
            ])?;
        Ok(())
    }
}

fn forget_recurring(connection: &Connection, live: &Live) -> rusqlite::Result<()> {
    let dead: Vec<(i64, i64)> = connection
        .prepare("SELECT digest, id FROM recurring")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .filter(|row| row.as_ref().map_or(true, |(_, id)| !live.holds(*id)))
        .collect::<Result<_, _>>()?;
    let mut delete = connection.prepare("DELETE FROM recurring WHERE digest = ?1 AND id = ?2")?;
    dead.iter().try_for_each(|(digest, id)| delete.execute([digest, id]).map(|_| ()))
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

    fn filled(count: usize) -> (tempfile::TempDir, Connection, Vec<BlobId>) {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("t.db"), "NORMAL").unwrap();
        let mut cache = ContentCache::new().unwrap();
        let mut ids = Vec::new();
        for n in 0..count {
            if n % 50 == 0 {
                cache.seal(&connection).unwrap();
                cache.refresh(&connection).unwrap();
            }
            ids.push(cache.put_blob(&connection, &text(n), Recurrence::Likely).unwrap());
        }
        cache.seal(&connection).unwrap();
        cache.tidy_some(&connection).unwrap();
        (folder, connection, ids)
    }

    fn all_bytes(connection: &Connection) -> Vec<u8> {
        let sql = format!("SELECT {COLUMNS} FROM bundles ORDER BY id");
        let mut statement = connection.prepare(&sql).unwrap();
        let bundles = statement.query_map([], |row| Ok(Bundle::read(row)?.unwrap().data.to_vec())).unwrap();
        bundles.flat_map(Result::unwrap).collect()
    }

    #[test]
    fn what_was_deleted_is_nowhere() {
        let (_folder, connection, ids) = filled(300);
        let (gone, left): (Vec<_>, Vec<_>) = (0..300).partition(|n| n % 3 == 0 || *n < 90);
        let contents = left.iter().map(|n| ids[*n].0).collect();
        let mut live = Live { contents, ..Live::default() };
        keep_only(&connection, &mut live).unwrap();
        let mut recent = RecentBundles::default();
        for n in &left {
            assert_eq!(recent.content(&connection, ids[*n]).unwrap(), Some(text(*n)));
        }
        let all = all_bytes(&connection);
        for n in gone {
            assert_eq!(recent.content(&connection, ids[n]).unwrap(), None);
            let is_there = all.windows(text(n).len()).any(|window| window == text(n));
            assert!(!is_there, "content {n} was deleted");
        }
        assert_eq!(all.len(), left.iter().map(|n| text(*n).len()).sum::<usize>());
        let known: i64 = connection.query_row("SELECT count(*) FROM recurring", [], |r| r.get(0)).unwrap();
        assert_eq!(known as usize, left.len());
        keep_only(&connection, &mut Live::default()).unwrap();
        assert!(all_bytes(&connection).is_empty());
    }

    #[test]
    fn a_damaged_bundle_stays_and_is_found() {
        let (_folder, connection, ids) = filled(3);
        connection.execute("UPDATE bundles SET data = zeroblob(length(data) - 1)", []).unwrap();
        let mut live = Live { contents: HashSet::from([ids[1].0]), ..Live::default() };
        keep_only(&connection, &mut live).unwrap();
        let count: i64 = connection.query_row("SELECT count(*) FROM bundles", [], |r| r.get(0)).unwrap();
        assert_eq!(count, 1);
        assert_eq!(RecentBundles::default().content(&connection, ids[1]).unwrap(), None);
    }
}
