//! Recordings that were compressed as whole files: their bytes say so, whatever they are called.

use super::{MAX_FILE_BYTES, Refused};
use flate2::read::MultiGzDecoder;
use std::{borrow::Cow, io::Read};

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// The recording itself. What it unpacks to is bounded like any file.
pub(super) fn unpacked(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Refused> {
    if !bytes.starts_with(MAGIC) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(MAX_FILE_BYTES + 1).read_to_end(&mut unpacked);
    if unpacked.len() as u64 > MAX_FILE_BYTES {
        return Err(Refused::UnpacksTooFar { limit_bytes: MAX_FILE_BYTES });
    }
    match read {
        Ok(_) => Ok(Cow::Owned(unpacked)),
        Err(error) => Err(Refused::NotGzip { problem: error.to_string() }),
    }
}

/// What a file would be called that is not compressed.
pub(super) fn inner_name(file_name: &str) -> &str {
    match file_name.rsplit_once('.') {
        Some((inner, ending)) if ending.eq_ignore_ascii_case("gz") => inner,
        _ => file_name,
    }
}
