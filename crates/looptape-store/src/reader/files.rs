//! The files of a workspace, as they were at each step.

use super::{ReadError, Reader};
use crate::content::find_object;
use crate::ids::{BlobId, TraceKey};
use crate::old_content;
use bytes::Bytes;
use looptape_core::Digest;
use looptape_core::workspace::{Entry, SnapshotAt, Tree, Trees};
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashSet;

/// What was recorded of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedWorkspace {
    /// The folder, as it was called; redacted.
    pub folder: String,
    /// In the order in which they were taken.
    pub snapshots: Vec<Snapshot>,
}

/// The files at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub at: SnapshotAt,
    /// When it was complete, µs since the trace's start.
    pub taken_us: i64,
    /// The digest of the root's tree, or why there is none.
    pub root: Result<Digest, String>,
}

impl RecordedWorkspace {
    /// The snapshot that was taken then, if it could be.
    pub fn at(&self, at: SnapshotAt) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.at == at)
    }
}

impl Reader {
    /// What was recorded of the workspace of a trace; `None` if nothing was.
    pub fn workspace(&self, trace: TraceKey) -> Result<Option<RecordedWorkspace>, ReadError> {
        let folder: Option<String> = self
            .connection()
            .prepare_cached("SELECT folder FROM trace_workspaces WHERE trace = ?1")?
            .query_row([trace.0], |row| row.get(0))
            .optional()?;
        let Some(folder) = folder else { return Ok(None) };
        let mut statement = self.connection().prepare_cached(
            "SELECT moment, seq, taken_us, root, missing FROM workspace_snapshots WHERE trace = ?1 \
             ORDER BY moment = 'end', moment != 'start', seq",
        )?;
        let rows = statement.query_map([trace.0], snapshot)?;
        // Moments of a newer version are passed over: what they mean is not known.
        let snapshots = rows.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(Some(RecordedWorkspace { folder, snapshots }))
    }

    /// A file's content; `None` if it is missing or damaged.
    pub fn file_content(&self, digest: Digest) -> Result<Option<Bytes>, ReadError> {
        let id = self.bodies.borrow_mut().object(self.connection(), digest)?;
        Ok(match id {
            Some(id) => self.bodies.borrow_mut().blob(self.connection(), id)?,
            None => None,
        })
    }

    /// Whoever knows the folders of snapshots.
    pub fn trees(&self) -> StoredTrees<'_> {
        StoredTrees(self)
    }

    /// The first file or folder of a snapshot that is missing, as a path. `seen` are digests that are known to be there.
    pub(crate) fn missing_file(
        &self,
        root: Digest,
        seen: &mut HashSet<Digest>,
    ) -> Result<Option<String>, ReadError> {
        let mut folders = vec![(root, String::from("."))];
        while let Some((digest, path)) = folders.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let Ok(tree) = self.trees().tree(digest) else {
                seen.remove(&digest);
                return Ok(Some(path));
            };
            for (name, entry) in tree.entries {
                let path = format!("{path}/{}", String::from_utf8_lossy(name.as_bytes()));
                match entry {
                    Entry::Folder { digest, .. } => folders.push((digest, path)),
                    Entry::File { digest, .. } => {
                        if !seen.contains(&digest) && self.file_content(digest)?.is_none() {
                            return Ok(Some(path));
                        }
                        seen.insert(digest);
                    }
                    Entry::Link { .. } | Entry::LeftOut { .. } => {}
                }
            }
        }
        Ok(None)
    }
}

fn snapshot(row: &Row<'_>) -> rusqlite::Result<Option<Snapshot>> {
    let at = match row.get_ref(0)?.as_str()? {
        "start" => SnapshotAt::Start,
        "call" => SnapshotAt::Call(row.get(1)?),
        "end" => SnapshotAt::End,
        _ => return Ok(None),
    };
    let root: Option<[u8; 32]> = row.get(3)?;
    let missing: Option<String> = row.get(4)?;
    let root = root.map(Digest).ok_or_else(|| missing.unwrap_or_default());
    Ok(Some(Snapshot { at, taken_us: row.get(2)?, root }))
}

/// The folders of snapshots, by digest.
#[derive(Debug)]
pub struct StoredTrees<'a>(&'a Reader);

impl Trees for StoredTrees<'_> {
    type Error = ReadError;

    fn tree(&mut self, digest: Digest) -> Result<Tree, ReadError> {
        let bytes = self.0.file_content(digest)?.ok_or(ReadError::NoFolder { digest })?;
        Tree::decode(&bytes).map_err(|source| ReadError::Folder { digest, source })
    }
}

/// Adds the contents of all snapshots to `contents`, so that they are kept.
pub(crate) fn mark_snapshots(connection: &Connection, contents: &mut HashSet<i64>) -> rusqlite::Result<()> {
    let mut bodies = super::bodies::Bodies::default();
    let mut statement =
        connection.prepare("SELECT DISTINCT root FROM workspace_snapshots WHERE root IS NOT NULL")?;
    let roots = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
    let mut folders = roots.map(|root| root.map(Digest)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = HashSet::new();
    while let Some(folder) = folders.pop() {
        if !seen.insert(folder) {
            continue;
        }
        let Some(id) = bodies.object(connection, folder)? else { continue };
        contents.insert(id.0);
        let Some(bytes) = bodies.blob(connection, id)? else { continue };
        // What cannot be read keeps nothing.
        let Ok(tree) = Tree::decode(&bytes) else { continue };
        for entry in tree.entries.into_values() {
            match entry {
                Entry::Folder { digest, .. } => folders.push(digest),
                Entry::File { digest, .. } => {
                    if seen.insert(digest) {
                        contents.extend(bodies.object(connection, digest)?.map(|id| id.0));
                    }
                }
                Entry::Link { .. } | Entry::LeftOut { .. } => {}
            }
        }
    }
    Ok(())
}

impl super::bodies::Bodies {
    /// The content that has this digest.
    fn object(&mut self, connection: &Connection, digest: Digest) -> rusqlite::Result<Option<BlobId>> {
        if let Some(found) = find_object(connection, self.bundles(), digest)? {
            return Ok(Some(found.id));
        }
        Ok(old_content::find(connection, digest)?.map(|(id, _)| id))
    }
}
