//! Which files an import reads, and reading them.
//!
//! A folder is searched with everything below it, in the order of the names, for files that are called
//! like recordings. Hidden files and folders are left out, and links to folders are not followed, so that
//! a search ends. A folder that is a cassette is one recording, whatever it holds.

use looptape_core::import::{MAX_FILE_BYTES, Refused};
use looptape_store::cassettes::{FILE_ENDING, is_cassette};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Endings of recordings, those of formats that are refused by name included.
const ENDINGS: &[&str] = &["yaml", "yml", "json", "har", "httprr", "traj"];

/// A file to be imported.
#[derive(Debug)]
pub(super) enum Source {
    /// On the command line: it is meant to be a recording.
    Named(PathBuf),
    /// In a folder: it may be anything.
    InFolder(PathBuf),
    /// A cassette of looptape's own: a folder, or one file.
    Cassette(PathBuf),
    /// What cannot even be looked at.
    Refused { path: PathBuf, reason: String },
}

impl Source {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::InFolder(path) | Self::Cassette(path) | Self::Refused { path, .. } => {
                path
            }
        }
    }

    pub(super) fn into_path(self) -> PathBuf {
        match self {
            Self::Named(path) | Self::InFolder(path) | Self::Cassette(path) | Self::Refused { path, .. } => {
                path
            }
        }
    }
}

/// The files that the command line names, in its order; those of a folder by name.
pub(super) fn find(named: &[PathBuf]) -> Vec<Source> {
    let mut found = Vec::new();
    for path in named {
        if is_cassette(path) || has_own_ending(path) {
            found.push(Source::Cassette(path.clone()));
            continue;
        }
        if !path.is_dir() {
            found.push(Source::Named(path.clone()));
            continue;
        }
        let before = found.len();
        search(path, &mut found);
        if found.len() == before {
            let endings = ENDINGS.iter().chain([&FILE_ENDING]).map(|e| format!("*.{e}"));
            let endings = endings.collect::<Vec<_>>().join(", ");
            let reason =
                format!("the folder holds no recordings ({endings}): name another, or name the files");
            found.push(Source::Refused { path: path.clone(), reason });
        }
    }
    found
}

fn search(folder: &Path, found: &mut Vec<Source>) {
    let entries = match sorted(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let reason = format!("the folder cannot be read: {error}");
            return found.push(Source::Refused { path: folder.to_owned(), reason });
        }
    };
    for entry in entries {
        let path = entry.path();
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if path.is_dir() {
            if !is_link && is_cassette(&path) {
                found.push(Source::Cassette(path));
            } else if !is_link {
                search(&path, found);
            }
        } else if path.is_file() && has_own_ending(&path) {
            found.push(Source::Cassette(path));
        } else if path.is_file() && is_called_like_a_recording(&path) {
            found.push(Source::InFolder(path));
        }
    }
}

/// The entries of a folder by name, without hidden ones.
fn sorted(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

fn has_own_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == FILE_ENDING)
}

/// A compressed one is a recording too.
fn is_called_like_a_recording(path: &Path) -> bool {
    let ends_in = |path: &Path, endings: &[&str]| {
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        endings.iter().any(|known| ending.eq_ignore_ascii_case(known))
    };
    let inner = path.file_stem().filter(|_| ends_in(path, &["gz"])).map_or(path, Path::new);
    ends_in(inner, ENDINGS)
}

/// The bytes of a file, or why it is refused. Never reads more than an import may have.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    };
    let file = File::open(path).map_err(refused)?;
    let stated = file.metadata().map_err(refused)?.len();
    let too_large = |size_bytes| Refused::TooLarge { size_bytes, limit_bytes: MAX_FILE_BYTES }.to_string();
    if stated > MAX_FILE_BYTES {
        return Err(too_large(stated));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(refused)?;
    match bytes.len() as u64 {
        size if size > MAX_FILE_BYTES => Err(too_large(size)),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_in_order_and_without_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "b/2.yml",
            "b/1.YAML",
            "a.json",
            "LICENSE",
            ".git/x.yaml",
            "b/.hidden.yaml",
            "c/notes.md",
            "c/a.httprr.gz",
            "c/notes.gz",
        ] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("b/up")).unwrap();
        std::os::unix::fs::symlink(root.join("a.json"), root.join("z.json")).unwrap();
        let found = find(&[root.to_owned(), root.join("LICENSE")]);
        let names: Vec<&Path> = found.iter().map(|s| s.path().strip_prefix(root).unwrap()).collect();
        assert_eq!(
            names,
            ["a.json", "b/1.YAML", "b/2.yml", "c/a.httprr.gz", "z.json", "LICENSE"].map(Path::new)
        );
        assert!(matches!(found.last(), Some(Source::Named(_))));
    }

    #[test]
    fn a_folder_without_recordings_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("README.md"), "x").unwrap();
        let found = find(&[folder.path().to_owned()]);
        let [Source::Refused { path, reason }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(path, folder.path());
        assert!(reason.contains("no recordings (*.yaml, *.yml,"), "{reason}");
    }

    #[test]
    fn sparse_giants_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("giant.yaml");
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(read(&path).unwrap_err().contains("268435457 bytes"));
        assert_eq!(read(&folder.path().join("missing.yaml")).unwrap_err(), "there is no such file");
    }
}
