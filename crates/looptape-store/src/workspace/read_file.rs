//! Reading one file that others may change, replace or delete meanwhile.

use super::stat::Stat;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What came of it.
#[derive(Debug)]
pub(super) enum FileRead {
    Whole {
        bytes: Vec<u8>,
        /// How it looked; `None`: it was being written meanwhile.
        stat: Option<Stat>,
    },
    TooLarge,
    /// It became something else.
    Special,
    /// It is not there any more.
    Gone,
    Unreadable,
}

/// Reads at most `limit_bytes`. Never waits for anybody: what is no regular file is not read.
pub(super) fn read_file(path: &Path, limit_bytes: u64) -> FileRead {
    match try_read(path, limit_bytes) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileRead::Gone,
        // A link took its place: it is not followed.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            FileRead::Special
        }
        Err(_) => FileRead::Unreadable,
    }
}

fn try_read(path: &Path, limit_bytes: u64) -> io::Result<FileRead> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return Ok(FileRead::Special);
    }
    if before.len() > limit_bytes {
        return Ok(FileRead::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0) + 1);
    (&mut file).take(limit_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit_bytes {
        return Ok(FileRead::TooLarge);
    }
    Ok(FileRead::Whole { stat: unchanged(&file, Stat::of(&before), bytes.len()), bytes })
}

fn unchanged(file: &File, before: Stat, length: usize) -> Option<Stat> {
    let after = Stat::of(&file.metadata().ok()?);
    (after == before && after.size_bytes() == length as u64).then_some(after)
}
