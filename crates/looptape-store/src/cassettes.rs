//! Cassettes on disk: a folder, or one file.
//!
//! What is written replaces what was there at once or not at all, and nothing that is no part of a cassette is
//! ever removed. What is read is bounded before it is read, and no link is followed.

use looptape_core::TraceId;
use looptape_core::cassette::{
    self, CHECKSUMS, Cassette, CassetteError, FileName, Files, MANIFEST, MAX_TOTAL_BYTES, TIMINGS,
    is_manifest,
};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The ending of a cassette in one file.
pub const FILE_ENDING: &str = "looptape";

/// Why a cassette could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CassetteFileError {
    #[error("{}: {source}", path.display())]
    Cassette { path: PathBuf, source: CassetteError },
    #[error("there is no cassette at {}", path.display())]
    NotThere { path: PathBuf },
    #[error("{} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "{} holds {}, which is no part of a cassette: move it away, or name another folder",
        folder.display(), name.display()
    )]
    NotOnlyACassette { folder: PathBuf, name: PathBuf },
    #[error("{} is a {found}, and a cassette as a {wanted} would replace it: name another place", path.display())]
    OtherKind { path: PathBuf, found: &'static str, wanted: &'static str },
    #[error("{} is a symbolic link, which no cassette holds", path.display())]
    Link { path: PathBuf },
}

/// Whether a path leads to a cassette, as far as a look at its beginning says.
pub fn is_cassette(path: &Path) -> bool {
    match path.is_dir() {
        // One whose manifest is damaged is a cassette too: its other files say so.
        true => {
            is_manifest_file(&path.join(MANIFEST))
                || [CHECKSUMS, TIMINGS].iter().all(|name| path.join(name).is_file())
        }
        false => {
            let mut head = [0; 4];
            // Opening a pipe would wait for whoever writes to it.
            path.is_file()
                && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
                && cassette::is_archive(&head)
        }
    }
}

fn is_manifest_file(path: &Path) -> bool {
    let mut text = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MAX_TOTAL_BYTES).read_to_end(&mut text));
    file.is_ok() && is_manifest(&text)
}

/// Reads a cassette and checks every file of it.
pub fn read(path: &Path) -> Result<Cassette, CassetteFileError> {
    if !path.exists() {
        return Err(CassetteFileError::NotThere { path: path.into() });
    }
    let files = match path.is_dir() {
        true => read_folder(path)?,
        false => read_file(path)?,
    };
    Cassette::open(files).map_err(|source| CassetteFileError::Cassette { path: path.into(), source })
}

fn read_file(path: &Path) -> Result<Files, CassetteFileError> {
    let archive = read_bounded(path, MAX_TOTAL_BYTES)?;
    cassette::unpack(&archive).map_err(|source| CassetteFileError::Cassette { path: path.into(), source })
}

fn read_folder(folder: &Path) -> Result<Files, CassetteFileError> {
    let mut files = Files::new();
    let mut left = MAX_TOTAL_BYTES;
    for (name, path) in names(folder)?.0 {
        if fs::symlink_metadata(&path).is_ok_and(|kind| kind.is_symlink()) {
            return Err(CassetteFileError::Link { path });
        }
        let file = read_bounded(&path, left).map_err(|error| match error {
            CassetteFileError::Cassette { source, .. } => {
                CassetteFileError::Cassette { path: folder.into(), source }
            }
            other => other,
        })?;
        left -= file.len() as u64;
        files.insert(name, file.into());
    }
    Ok(files)
}

/// The files of a cassette in a folder, and the first thing there that is none.
type Found = (Vec<(FileName, PathBuf)>, Option<PathBuf>);

fn names(folder: &Path) -> Result<Found, CassetteFileError> {
    let (mut found, mut stray) = (Vec::new(), None);
    let mut look = |at: &Path, before: &str| {
        for entry in fs::read_dir(at)? {
            let entry = entry?;
            let name = format!("{before}{}", entry.file_name().to_string_lossy());
            let is_own_folder = before.is_empty() && FileName::folders().contains(&name.as_str());
            match FileName::parse(&name) {
                Some(name) => found.push((name, entry.path())),
                None if is_own_folder => {}
                None => {
                    stray.get_or_insert(PathBuf::from(name));
                }
            }
        }
        io::Result::Ok(())
    };
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| CassetteFileError::Read { path, source }
    };
    look(folder, "").map_err(read(folder))?;
    for name in FileName::folders() {
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(kind) if kind.is_symlink() => return Err(CassetteFileError::Link { path }),
            Ok(_) => look(&path, &format!("{name}/")).map_err(read(&path))?,
            Err(_) => {}
        }
    }
    Ok((found, stray))
}

fn read_bounded(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, CassetteFileError> {
    let fail = |source| CassetteFileError::Read { path: path.into(), source };
    let kind = fs::metadata(path).map_err(fail)?;
    // Opening a pipe would wait for whoever writes to it.
    if !kind.is_file() {
        return Err(fail(io::Error::other("it is no regular file")));
    }
    let too_large = || {
        let detail = format!("a cassette has at most {} MiB", MAX_TOTAL_BYTES >> 20);
        CassetteFileError::Cassette { path: path.into(), source: CassetteError::TooLarge { detail } }
    };
    if kind.len() > limit_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit_bytes { Err(too_large()) } else { Ok(bytes) }
}

/// Writes a cassette as one file; its size in bytes.
pub fn write_file(files: &Files, trace: &TraceId, path: &Path) -> Result<u64, CassetteFileError> {
    if path.is_dir() {
        return Err(CassetteFileError::OtherKind { path: path.into(), found: "folder", wanted: "file" });
    }
    let fail = |source| CassetteFileError::Write { path: path.into(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    let aside = beside(path);
    let mut file = create(&aside).map_err(fail)?;
    let archive = cassette::pack(files, trace);
    let written = file.write_all(&archive).and_then(|()| file.sync_all());
    let moved = written.and_then(|()| fs::rename(&aside, path));
    if moved.is_err() {
        // What could not be written is not left behind, if that can be helped.
        let _ = fs::remove_file(&aside);
    }
    moved.map_err(fail)?;
    Ok(archive.len() as u64)
}

/// Writes a cassette as a folder; the size of its files in bytes. One that is there is replaced, if it is nothing
/// but a cassette.
pub fn write_folder(files: &Files, folder: &Path) -> Result<u64, CassetteFileError> {
    let fail = |source| CassetteFileError::Write { path: folder.into(), source };
    let is_there = folder.exists();
    if is_there && !folder.is_dir() {
        return Err(CassetteFileError::OtherKind { path: folder.into(), found: "file", wanted: "folder" });
    }
    if is_there && let (_, Some(name)) = names(folder)? {
        return Err(CassetteFileError::NotOnlyACassette { folder: folder.into(), name });
    }
    let aside = beside(folder);
    let swapped = write_all(files, &aside).and_then(|()| match is_there {
        true => swap(&aside, folder),
        false => fs::rename(&aside, folder),
    });
    if swapped.is_err() {
        let _ = fs::remove_dir_all(&aside);
    }
    swapped.map_err(fail)?;
    Ok(files.values().map(|file| file.len() as u64).sum())
}

fn write_all(files: &Files, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for name in FileName::folders() {
        fs::create_dir(folder.join(name))?;
    }
    files.iter().try_for_each(|(name, content)| create(&folder.join(name.as_str()))?.write_all(content))
}

/// The new folder takes the place of the old one; if that fails the old one is there again.
fn swap(new: &Path, place: &Path) -> io::Result<()> {
    let old = new.with_extension("old");
    fs::rename(place, &old)?;
    if let Err(error) = fs::rename(new, place) {
        fs::rename(&old, place)?;
        return Err(error);
    }
    fs::remove_dir_all(&old)
}

fn create(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)
}

/// A place in the same folder, of a name that nothing has.
fn beside(path: &Path) -> PathBuf {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).expect("the system has randomness");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{:016x}", u64::from_le_bytes(salt)))
}
