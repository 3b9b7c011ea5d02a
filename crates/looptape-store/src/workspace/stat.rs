//! What a file looks like from outside: if that is the same as before, so is what is in it.
//!
//! A file that was changed just now may be changed again without looking different: clocks of file systems tick a few
//! milliseconds apart. So such a file is read again the next time.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use looptape_core::workspace::Entry;

/// A file's outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    size: u64,
    device: u64,
    inode: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Longer than the clock of any file system takes for one tick but that of FAT.
const TICK: Duration = Duration::from_millis(100);

impl Stat {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            size: file.size(),
            device: file.dev(),
            inode: file.ino(),
            mode: file.mode(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size
    }

    /// Permission bits.
    pub(super) fn mode(&self) -> u16 {
        (self.mode & 0o777) as u16
    }

    /// Whether a change after `now` would show.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanos) = self.changed.max(self.modified);
        let Ok(seconds) = u64::try_from(seconds) else { return false };
        let changed = UNIX_EPOCH + Duration::new(seconds, u32::try_from(nanos).unwrap_or(0));
        now.duration_since(changed).is_ok_and(|age| age > TICK)
    }
}

/// What was found in files, by their outsides.
#[derive(Debug, Default)]
pub(super) struct StatCache {
    files: HashMap<PathBuf, Known>,
    round: u64,
}

#[derive(Debug)]
struct Known {
    stat: Stat,
    entry: Entry,
    /// When it was last seen.
    round: u64,
}

impl StatCache {
    /// A new look at everything begins.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// What a file that looks like this holds, if that is known.
    pub(super) fn get(&mut self, path: &Path, stat: &Stat) -> Option<&Entry> {
        let known = self.files.get_mut(path).filter(|known| known.stat == *stat)?;
        known.round = self.round;
        Some(&known.entry)
    }

    pub(super) fn put(&mut self, path: &Path, stat: Stat, entry: Entry) {
        let known = Known { stat, entry, round: self.round };
        self.files.insert(path.to_owned(), known);
    }

    /// Files that were not seen this time are gone.
    pub(super) fn end(&mut self, seen: usize) {
        if self.files.len() > seen {
            let round = self.round;
            self.files.retain(|_, known| known.round == round);
        }
    }
}
