//! Contents that may be looked for, by the first eight bytes of their digests.
//!
//! Digests lie anywhere in the table, so each is another page to be written. Those of contents that are only likely to
//! come again wait in memory until there are many, or until nothing else is to be done: written in their order, they
//! share pages. What waits is lost with a recorder that is killed, and then the same content is stored once more.
//! What is referred to by its digest alone does not wait.

use crate::ids::BlobId;
use looptape_core::Digest;
use rusqlite::Connection;

/// So many wait at most.
const MOST_WAITING: usize = 8192;

/// Digests that are not in the table yet.
#[derive(Debug, Default)]
pub(crate) struct Recurring {
    waiting: Vec<(i64, BlobId)>,
    /// Something among them has to be found from the next transaction on.
    is_urgent: bool,
}

impl Recurring {
    /// Somebody may look for this content by its digest.
    pub(crate) fn add(&mut self, digest: Digest, id: BlobId) {
        self.waiting.push((digest.short(), id));
    }

    /// Somebody refers to this content by its digest.
    pub(crate) fn add_now(&mut self, digest: Digest, id: BlobId) {
        self.add(digest, id);
        self.is_urgent = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops what waits.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Writes what waits, if it can wait no longer.
    pub(crate) fn write_due(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match self.is_urgent || self.waiting.len() >= MOST_WAITING {
            true => self.write(connection),
            false => Ok(()),
        }
    }

    /// Writes what waits. If the transaction fails, it is lost.
    pub(crate) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut waiting = std::mem::take(self).waiting;
        waiting.sort_unstable_by_key(|(digest, _)| *digest);
        let mut insert = connection.prepare_cached("INSERT INTO recurring (digest, id) VALUES (?1, ?2)")?;
        waiting.iter().try_for_each(|(digest, id)| insert.execute([*digest, id.0]).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{ContentCache, Recurrence};
    use crate::database::open_to_write;

    fn listed(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM recurring", [], |r| r.get(0)).unwrap()
    }

    #[test]
    fn what_is_likely_to_come_again_is_listed_when_there_is_time() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("t.db"), "NORMAL").unwrap();
        let mut cache = ContentCache::new().unwrap();
        cache.refresh(&connection).unwrap();
        let id = cache.put_blob(&connection, b"a system prompt", Recurrence::Likely).unwrap();
        cache.seal(&connection).unwrap();
        assert_eq!((listed(&connection), cache.is_tidy()), (0, false));
        cache.tidy_some(&connection).unwrap();
        assert_eq!((listed(&connection), cache.is_tidy()), (1, true));
        let mut other = ContentCache::new().unwrap();
        other.refresh(&connection).unwrap();
        let again = other.put_blob(&connection, b"a system prompt", Recurrence::Likely).unwrap();
        assert_eq!(again, id);
    }

    #[test]
    fn many_do_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("t.db"), "NORMAL").unwrap();
        let mut recurring = Recurring::default();
        for n in 0..MOST_WAITING {
            recurring.write_due(&connection).unwrap();
            recurring.add(Digest::of(&n.to_le_bytes()), BlobId(n as i64));
        }
        assert_eq!(listed(&connection), 0);
        recurring.write_due(&connection).unwrap();
        assert_eq!((listed(&connection), recurring.is_empty()), (MOST_WAITING as i64, true));
    }

    #[test]
    fn what_is_referred_to_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_to_write(&folder.path().join("t.db"), "NORMAL").unwrap();
        let mut cache = ContentCache::new().unwrap();
        cache.refresh(&connection).unwrap();
        cache.put_object(&connection, Digest::of(b"a file"), b"a file").unwrap();
        cache.seal(&connection).unwrap();
        assert_eq!(listed(&connection), 1);
    }
}
