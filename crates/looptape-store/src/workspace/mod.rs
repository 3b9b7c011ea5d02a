//! A folder's files on disk: looking at them at each step of a run, and laying them out again.
//!
//! [`Snapshots`] is a thread of its own that looks at a folder whenever it is asked, remembers what every file looked
//! like from outside (`scan`, `stat`), and reads only what changed. It hands contents and folders to the recorder under
//! their digests, each once. [`restore`] is the way back, into a folder of its own.
//!
//! Invariants: nothing in the folder is ever written, locked or waited for; pipes and devices are not opened,
//! links not followed. What ignore rules name, `.git`, and looptape's own files are no part of a snapshot. Secrets
//! leave this module as placeholders, or not at all. Sizes are bounded ([`Limits`]).
//!
//! It does not know what a step is, and does not say when to look.
//!
//! [`Limits`]: looptape_core::workspace::Limits

mod read_file;
mod restore;
mod scan;
mod snapshots;
mod stat;
#[cfg(test)]
mod tests;

pub use restore::{RestoreFilesError, Restored, restore};
pub use scan::{ScanError, SnapshotFigures};
pub use snapshots::{SnapshotOptions, Snapshots, SnapshotsThread};
