//! Bundles: contents and chain nodes that were written together, as one row.
//!
//! Ids are given out one after the other, and an id is its place: a bundle holds the ids from its own on. So
//! neither a content nor a node has a row or an index entry of its own, and what one call adds costs its bytes.
//!
//! A bundle is written uncompressed, in the transaction of the calls that it belongs to. When nothing else is to
//! be done, [`compress_some`] joins neighbours and compresses them together. Pruning rewrites a bundle of
//! which a part went ([`keep_only`]), so nothing deleted stays behind beside something kept. Ids never change.

mod compress;
mod entry;
mod keep;
mod open;
mod recent;
mod recurring;

pub(crate) use compress::{compress_some, uncompressed_bytes};
pub(crate) use entry::{Content, Entry, Form};
pub(crate) use keep::{Live, keep_only};
pub(crate) use open::{NewContent, OpenBundle};
pub(crate) use recent::RecentBundles;
pub(crate) use recurring::Recurring;

use crate::codec;
use bytes::Bytes;
use rusqlite::Row;

/// The columns of a whole bundle.
const COLUMNS: &str = "id, entries, codec, size, data";

/// A bundle that was read.
#[derive(Debug)]
pub(crate) struct Bundle {
    entries: Entries,
    /// The stored forms, one after the other.
    data: Bytes,
}

/// What a bundle's ids stand for.
#[derive(Debug)]
struct Entries {
    first: i64,
    entries: Vec<Entry>,
}

impl Bundle {
    /// From a row of [`COLUMNS`]; `None` if it is damaged.
    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let (first, size): (i64, i64) = (row.get(0)?, row.get(3)?);
        let entries = Entries::decode(first, row.get_ref(1)?.as_bytes()?);
        let (codec, stored) = (row.get(2)?, row.get_ref(4)?.as_bytes()?);
        let data = usize::try_from(size).ok().and_then(|size| codec::decode(codec, size, stored));
        Ok(entries.zip(data).map(|(entries, data)| Self { entries, data: Bytes::from(data) }))
    }

    /// The stored form of a content.
    fn stored(&self, content: &Content) -> Option<&[u8]> {
        self.data.get(content.place.clone())
    }

    /// The entries with their ids.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &Entry)> {
        self.entries.iter()
    }
}

impl Entries {
    /// `None` if they are damaged.
    fn decode(first: i64, bytes: &[u8]) -> Option<Self> {
        Some(Self { first, entries: entry::decode(first, bytes)? })
    }

    fn ids(&self) -> std::ops::Range<i64> {
        self.first..self.first + self.entries.len() as i64
    }

    fn entry(&self, id: i64) -> Option<&Entry> {
        self.entries.get(usize::try_from(id.checked_sub(self.first)?).ok()?)
    }

    /// The entries with their ids.
    fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &Entry)> {
        self.entries.iter().enumerate().map(|(at, entry)| (self.first + at as i64, entry))
    }
}
