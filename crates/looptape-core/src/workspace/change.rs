//! What differs between two snapshots.
//!
//! Both are walked at once, and only into folders whose digests differ. A folder that came or went is told by what is
//! in it; one that is empty by itself.

use super::tree::{Entry, Name, Tree};
use crate::Digest;

/// Whoever has the trees. `None`: it is missing or damaged.
pub trait Trees {
    type Error;

    fn tree(&mut self, digest: Digest) -> Result<Tree, Self::Error>;
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the root, with slashes.
    pub path: Vec<u8>,
    pub kind: ChangeKind,
}

/// How. A folder is an entry of its own only where it is empty, or where its permissions changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added(Entry),
    Removed(Entry),
    Changed { before: Entry, after: Entry },
}

/// What is in `after` and not in `before`, or otherwise there, in the order of paths.
pub fn changes<T: Trees>(trees: &mut T, before: Digest, after: Digest) -> Result<Vec<Change>, T::Error> {
    let mut walk = Walk { trees, path: Vec::new(), found: Vec::new() };
    if before != after {
        let (before, after) = (walk.trees.tree(before)?, walk.trees.tree(after)?);
        walk.folders(before, after)?;
    }
    Ok(walk.found)
}

struct Walk<'a, T> {
    trees: &'a mut T,
    path: Vec<u8>,
    found: Vec<Change>,
}

impl<T: Trees> Walk<'_, T> {
    fn folders(&mut self, before: Tree, mut after: Tree) -> Result<(), T::Error> {
        let mut pairs: Vec<(Name, Option<Entry>, Option<Entry>)> = Vec::new();
        for (name, was) in before.entries {
            let is = after.entries.remove(&name);
            pairs.push((name, Some(was), is));
        }
        pairs.extend(after.entries.into_iter().map(|(name, is)| (name, None, Some(is))));
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (name, was, is) in pairs.into_iter().filter(|(_, was, is)| was != is) {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.as_bytes());
            self.entries(was, is)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entries(&mut self, was: Option<Entry>, is: Option<Entry>) -> Result<(), T::Error> {
        match (was, is) {
            (
                Some(Entry::Folder { digest: before, mode: mode_before }),
                Some(Entry::Folder { digest: after, mode }),
            ) => {
                if mode_before != mode {
                    let (was, is) = (
                        Entry::Folder { digest: before, mode: mode_before },
                        Entry::Folder { digest: after, mode },
                    );
                    self.tell(ChangeKind::Changed { before: was, after: is });
                }
                if before != after {
                    let (before, after) = (self.trees.tree(before)?, self.trees.tree(after)?);
                    self.folders(before, after)?;
                }
            }
            (Some(was @ Entry::Folder { .. }), is) | (Some(was), is @ Some(Entry::Folder { .. })) => {
                self.whole(was, ChangeKind::Removed)?;
                is.map_or(Ok(()), |is| self.whole(is, ChangeKind::Added))?;
            }
            (None, Some(is)) => self.whole(is, ChangeKind::Added)?,
            (Some(was), None) => self.tell(ChangeKind::Removed(was)),
            (Some(before), Some(after)) => self.tell(ChangeKind::Changed { before, after }),
            (None, None) => {}
        }
        Ok(())
    }

    /// Everything in an entry that came or went.
    fn whole(&mut self, entry: Entry, kind: fn(Entry) -> ChangeKind) -> Result<(), T::Error> {
        let Entry::Folder { digest, .. } = entry else {
            self.tell(kind(entry));
            return Ok(());
        };
        let tree = self.trees.tree(digest)?;
        if tree.entries.is_empty() {
            self.tell(kind(entry));
        }
        for (name, entry) in tree.entries {
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.as_bytes());
            self.whole(entry, kind)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn tell(&mut self, kind: ChangeKind) {
        self.found.push(Change { path: self.path.clone(), kind });
    }
}
