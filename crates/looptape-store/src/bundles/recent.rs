//! Bundles that were read lately: whoever reads one content mostly wants its neighbours too.

use super::{Bundle, COLUMNS, Content, Entry, Form};
use crate::ids::{BlobId, NodeId};
use crate::old_content::OldContent;
use looptape_core::Digest;
use looptape_core::chain::Splice;
use rusqlite::{Connection, OptionalExtension};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many bundles are kept; one is seldom larger than 256 KiB.
const MOST_BUNDLES: usize = 16;

/// Reads content and nodes by id, whatever version of looptape wrote them.
#[derive(Debug, Default)]
pub(crate) struct RecentBundles {
    bundles: VecDeque<Arc<Bundle>>,
    old: OldContent,
}

impl RecentBundles {
    /// A content; `None` if it is missing or damaged.
    pub(crate) fn content(
        &mut self,
        connection: &Connection,
        id: BlobId,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let Some(bundle) = self.of(connection, id.0)? else { return self.old.content(connection, id) };
        match bundle.entries.entry(id.0).and_then(Entry::content) {
            Some(content) => self.decoded(connection, &bundle, content),
            None => self.old.content(connection, id),
        }
    }

    /// The content of an entry of `bundle`.
    fn decoded(
        &mut self,
        connection: &Connection,
        bundle: &Bundle,
        content: &Content,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let Some(stored) = bundle.stored(content) else { return Ok(None) };
        let whole = match content.form {
            Form::AsItIs => Some(stored.to_vec()),
            Form::Splice { base, .. } => {
                // A base's id is smaller than that of what is spliced onto it: no loop can be followed.
                let base = self.content(connection, base)?;
                base.zip(Splice::decode(stored)).and_then(|(base, splice)| splice.apply(&base))
            }
        };
        Ok(whole.filter(|whole| whole.len() == content.size && Digest::of(whole) == content.digest))
    }

    /// A content's digest, and on how many others it is spliced; `None` if it is missing.
    pub(crate) fn digest(
        &mut self,
        connection: &Connection,
        id: BlobId,
    ) -> rusqlite::Result<Option<(Digest, u32)>> {
        let bundle = self.of(connection, id.0)?;
        let known = bundle.as_ref().and_then(|bundle| bundle.entries.entry(id.0)?.content()).map(|content| {
            let depth = match content.form {
                Form::AsItIs => 0,
                Form::Splice { depth, .. } => depth,
            };
            (content.digest, depth)
        });
        match known {
            Some(known) => Ok(Some(known)),
            None => self.old.digest(connection, id),
        }
    }

    /// The chain before a node and the content that it adds; `None` if it is missing.
    pub(crate) fn node(
        &mut self,
        connection: &Connection,
        id: NodeId,
    ) -> rusqlite::Result<Option<(NodeId, BlobId)>> {
        let bundle = self.of(connection, id.0)?;
        match bundle.as_ref().and_then(|bundle| bundle.entries.entry(id.0)?.node(id.0)) {
            Some(node) => Ok(Some(node)),
            None => self.old.node(connection, id),
        }
    }

    /// The bundle that holds an id; `None` if there is none, or it is damaged.
    pub(crate) fn of(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<Option<Arc<Bundle>>> {
        if let Some(at) = self.bundles.iter().position(|bundle| bundle.entries.ids().contains(&id)) {
            return Ok(Some(self.bundles[at].clone()));
        }
        let sql = format!("SELECT {COLUMNS} FROM bundles WHERE id <= ?1 ORDER BY id DESC LIMIT 1");
        let read = connection.prepare_cached(&sql)?.query_row([id], Bundle::read).optional()?.flatten();
        let Some(bundle) = read.filter(|bundle| bundle.entries.ids().contains(&id)).map(Arc::new) else {
            return Ok(None);
        };
        self.bundles.truncate(MOST_BUNDLES - 1);
        self.bundles.push_front(bundle.clone());
        Ok(Some(bundle))
    }
}
