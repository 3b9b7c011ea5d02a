//! The files of a folder at one moment, as trees: what an agent's workspace held at each step.
//!
//! A [`Tree`] is one folder: its entries by name, files and sub-folders by the digest of their content. So a snapshot is
//! one digest, that of its root; two snapshots share whatever is the same in both, and are compared by walking only
//! into what differs ([`changes`]).
//!
//! Invariants: the same files give the same digest, whenever and wherever they lie: a tree holds no times, owners or
//! inode numbers. A decoded tree has no name that could lead out of its folder. What was not kept is an entry
//! with its reason, never silently missing, but for what ignore rules name.
//!
//! It reads no folder and no database: whoever has contents answers for them ([`Trees`]).

mod change;
mod secret_names;
#[cfg(test)]
mod tests;
mod text_change;
mod tree;

pub use change::{Change, ChangeKind, Trees, changes};
pub use secret_names::is_secret_by_name;
pub use text_change::TextChange;
pub use tree::{Entry, Kept, LeftOut, Name, Tree, TreeError};

use serde::{Deserialize, Serialize};

/// When the files of a run were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotAt {
    /// Before the program was started.
    Start,
    /// While the answer to this call was awaited: nothing that came of it had happened.
    Call(u32),
    /// After the program had ended.
    End,
}

/// What may be kept of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a longer file only the length is kept.
    pub file_bytes: u64,
    /// Of the contents of all files together; the first in order of their paths are kept.
    pub total_bytes: u64,
    /// Of a folder with more files and folders there is no snapshot.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 8 << 20, total_bytes: 512 << 20, entries: 100_000 }
    }
}
