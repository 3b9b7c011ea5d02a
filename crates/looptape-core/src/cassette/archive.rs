//! The files of a cassette as one file: a tar archive, compressed with zstd.
//!
//! The same files give the same archive. `tar --zstd -xf NAME` unpacks it as any other, into a folder that is
//! called after the trace. An archive from elsewhere is not believed: what is no file of a cassette is refused,
//! and what would unpack to too much is not unpacked.

use super::error::CassetteError;
use super::files::{FileName, Files, MAX_TOTAL_BYTES};
use crate::TraceId;
use bytes::Bytes;
use std::io::{self, Read};

/// Small, and still quick to make.
const LEVEL: i32 = 12;

/// What a zstd frame begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A cassette has at most so many files.
const MAX_FILES: usize = 1_000_000;

/// Whether a file may be a cassette in one file.
pub fn is_archive(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

/// The files of a trace's cassette as one.
pub fn pack(files: &Files, trace: &TraceId) -> Vec<u8> {
    let archive = tar(files, trace).expect("memory takes what is written, and names are short");
    zstd::bulk::compress(&archive, LEVEL).expect("the compressor makes room for its worst case")
}

fn tar(files: &Files, trace: &TraceId) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, file) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, format!("{trace}/{name}"), &file[..])?;
    }
    archive.into_inner()
}

/// The files of an archive.
pub fn unpack(archive: &[u8]) -> Result<Files, CassetteError> {
    let cut = |error: io::Error| CassetteError::Truncated { detail: error.to_string() };
    if !is_archive(archive) {
        return Err(CassetteError::NotACassette { detail: "it is not compressed with zstd".to_owned() });
    }
    let plain = zstd::stream::read::Decoder::with_buffer(archive).map_err(cut)?;
    // Names and padding take room too, but not as much again.
    let mut archive = tar::Archive::new(Limited { of: plain, left: 2 * MAX_TOTAL_BYTES });
    let (mut files, mut total) = (Files::new(), 0);
    for entry in archive.entries().map_err(cut)? {
        let mut entry = entry.map_err(cut)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name =
            path.split_once('/').and_then(|(_, name)| FileName::parse(name)).filter(|_| kind.is_file());
        let name = name.ok_or_else(|| CassetteError::Foreign { name: path.chars().take(200).collect() })?;
        total += entry.size();
        if total > MAX_TOTAL_BYTES || files.len() >= MAX_FILES {
            let detail = format!("unpacked it has more than {} MiB", MAX_TOTAL_BYTES >> 20);
            return Err(CassetteError::TooLarge { detail });
        }
        let mut file = Vec::new();
        entry.read_to_end(&mut file).map_err(cut)?;
        if files.insert(name, Bytes::from(file)).is_some() {
            return Err(CassetteError::Foreign { name: format!("{path} twice") });
        }
    }
    Ok(files)
}

/// Ends with an error instead of reading for ever.
struct Limited<R> {
    of: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.of.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more than any cassette has"))?;
        Ok(read)
    }
}
