//! One look at a folder: its trees, and the contents that nobody has yet.

use super::read_file::{FileRead, read_file};
use super::stat::{Stat, StatCache};
use bytes::Bytes;
use ignore::{DirEntry, WalkBuilder};
use looptape_core::Digest;
use looptape_core::redact::{Credentials, Patterns, Vault, VaultKey, is_clean, redact_body};
use looptape_core::workspace::{Entry, Kept, LeftOut, Limits, Name, Tree, is_secret_by_name};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Rules of a user's own for what is no part of snapshots, beside `.gitignore` and `.ignore`.
const IGNORE_FILE: &str = ".looptapeignore";

/// Never part of a snapshot: repositories have their own history, and recordings are ours.
const NEVER: &[&str] = &[".git", ".looptape"];

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    #[error("the folder {folder} cannot be read: {detail}")]
    Folder { folder: String, detail: String },
    #[error(
        "the folder {folder} holds more than {limit} files and folders: name a smaller one, or name what does not belong to it in a file `.looptapeignore` there"
    )]
    TooMany { folder: String, limit: usize },
    #[error("it was not written down")]
    NotWritten,
}

/// What a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFigures {
    pub files: u64,
    /// Of their contents.
    pub bytes: u64,
    /// What is named without its content.
    pub left_out: BTreeMap<LeftOut, u64>,
}

/// Takes the contents that are new, each once; `false`: they are lost.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Vec<(Digest, Bytes)>) -> bool;

/// So many bytes of contents are handed over at once.
const PART_BYTES: usize = 4 << 20;

/// So many names are remembered.
const MOST_NAMES: usize = 1 << 20;

/// A folder that is looked at again and again.
pub(super) struct Scanner {
    root: PathBuf,
    /// Files that are never part of a snapshot, as whole paths.
    own_files: Arc<Vec<PathBuf>>,
    patterns: Arc<Patterns>,
    known: Credentials,
    vault: Vault,
    limits: Limits,
    cache: StatCache,
    /// Digests of what was handed over.
    handed_over: HashSet<Digest>,
    /// Names that were looked at and hold no secret.
    clean_names: HashSet<Name>,
}

/// What is gathered while looking.
struct Look<'a> {
    sink: Sink<'a>,
    part: Vec<(Digest, Bytes)>,
    part_bytes: usize,
    /// The folders from the root to where the walk is.
    open: Vec<OpenFolder>,
    figures: SnapshotFigures,
    entries: usize,
    lost: bool,
    began: SystemTime,
}

struct OpenFolder {
    name: Option<Name>,
    mode: u16,
    tree: Tree,
    /// It could not be listed.
    is_unreadable: bool,
}

impl Scanner {
    pub(super) fn new(
        root: PathBuf,
        own_files: Vec<PathBuf>,
        patterns: Arc<Patterns>,
        known: Credentials,
        limits: Limits,
    ) -> Self {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).expect("the system has randomness");
        Self {
            root,
            own_files: Arc::new(own_files),
            patterns,
            known,
            vault: Vault::new(VaultKey(key)),
            limits,
            cache: StatCache::default(),
            handed_over: HashSet::new(),
            clean_names: HashSet::new(),
        }
    }

    /// What was handed over is lost: it is read and handed over again.
    pub(super) fn forget(&mut self) {
        self.handed_over.clear();
    }

    /// Looks at the folder: the digest of its root's tree.
    pub(super) fn look(&mut self, sink: Sink<'_>) -> Result<(Digest, SnapshotFigures), ScanError> {
        self.cache.begin();
        let mut look = Look {
            sink,
            part: Vec::new(),
            part_bytes: 0,
            open: vec![OpenFolder::root()],
            figures: SnapshotFigures::default(),
            entries: 0,
            lost: false,
            began: SystemTime::now(),
        };
        let secret_folders: Arc<Mutex<Vec<(Name, usize)>>> = Arc::default();
        for entry in self.walk(secret_folders.clone()) {
            look.note_secret_folders(&secret_folders);
            match entry {
                Ok(entry) if entry.depth() == 0 => {}
                Ok(entry) => self.entry(&mut look, &entry),
                Err(error) => self.trouble(&mut look, &error)?,
            }
            if look.entries > self.limits.entries {
                let folder = self.root.display().to_string();
                return Err(ScanError::TooMany { folder, limit: self.limits.entries });
            }
        }
        look.note_secret_folders(&secret_folders);
        self.cache.end(look.entries);
        while look.open.len() > 1 {
            self.close_folder(&mut look);
        }
        let root = look.open.pop().map(|folder| folder.tree).unwrap_or_default();
        let digest = self.put_tree(&mut look, &root);
        look.hand_over();
        if look.lost {
            self.forget();
            return Err(ScanError::NotWritten);
        }
        Ok((digest, look.figures))
    }

    fn walk(&self, secret_folders: Arc<Mutex<Vec<(Name, usize)>>>) -> ignore::Walk {
        let own_files = self.own_files.clone();
        WalkBuilder::new(&self.root)
            .hidden(false)
            .require_git(false)
            .add_custom_ignore_filename(IGNORE_FILE)
            .sort_by_file_name(std::cmp::Ord::cmp)
            .filter_entry(move |entry| {
                let (name, depth) = (entry.file_name(), entry.depth());
                if depth == 0 {
                    return true;
                }
                if NEVER.iter().any(|never| name == *never) || own_files.iter().any(|own| own == entry.path())
                {
                    return false;
                }
                let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
                let is_secret = is_folder && is_secret_by_name(name.as_bytes(), true);
                if is_secret && let Some(name) = Name::new(name.as_bytes()) {
                    // Nobody holds it for longer than this.
                    secret_folders.lock().unwrap_or_else(PoisonError::into_inner).push((name, depth));
                }
                !is_secret
            })
            .build()
    }

    fn entry(&mut self, look: &mut Look<'_>, entry: &DirEntry) {
        let bytes = entry.file_name().as_bytes();
        // The walk went up again.
        while look.open.len() > entry.depth() {
            self.close_folder(look);
        }
        let name = Name::new(bytes).filter(|name| self.may_be_written(name));
        look.entries += 1;
        // What is gone by now was never there.
        let metadata = entry.metadata().ok();
        if entry.file_type().is_some_and(|kind| kind.is_dir()) {
            // What is in it comes next, so it is opened whatever becomes of it.
            let mode = metadata.as_ref().map(|folder| Stat::of(folder).mode());
            look.open.push(OpenFolder::called(name.filter(|_| mode.is_some()), mode.unwrap_or_default()));
            return;
        }
        let (Some(name), Some(metadata)) = (name, metadata) else { return };
        let kind = metadata.file_type();
        let found = if kind.is_symlink() {
            self.link(entry.path())
        } else if kind.is_file() {
            self.file(look, entry.path(), &name, Stat::of(&metadata))
        } else {
            Some(Entry::LeftOut { why: LeftOut::Special, size_bytes: None })
        };
        if let Some(found) = found {
            look.add(name, found);
        }
    }

    /// Whether a name holds no secret. One that does cannot be written down, nor what is so called.
    fn may_be_written(&mut self, name: &Name) -> bool {
        if self.clean_names.contains(name) {
            return true;
        }
        let is_clean = is_clean(&self.patterns, &self.known, name.as_bytes());
        if is_clean && self.clean_names.len() < MOST_NAMES {
            self.clean_names.insert(name.clone());
        }
        is_clean
    }

    fn link(&self, path: &Path) -> Option<Entry> {
        let target = std::fs::read_link(path).ok()?.into_os_string().as_bytes().to_vec();
        Some(match is_clean(&self.patterns, &self.known, &target) {
            true => Entry::Link { target },
            false => Entry::LeftOut { why: LeftOut::Secret, size_bytes: None },
        })
    }

    fn file(&mut self, look: &mut Look<'_>, path: &Path, name: &Name, stat: Stat) -> Option<Entry> {
        let size_bytes = stat.size_bytes();
        let left_out = |why| Some(Entry::LeftOut { why, size_bytes: Some(size_bytes) });
        if is_secret_by_name(name.as_bytes(), false) {
            // Its size would change with the secret.
            return Some(Entry::LeftOut { why: LeftOut::Secret, size_bytes: None });
        }
        if size_bytes > self.limits.file_bytes {
            return left_out(LeftOut::TooLarge);
        }
        if look.figures.bytes.saturating_add(size_bytes) > self.limits.total_bytes {
            return left_out(LeftOut::BeyondTotal);
        }
        let is_there = |entry: &Entry| match entry {
            Entry::File { digest, .. } => self.handed_over.contains(digest),
            _ => true,
        };
        if let Some(known) = self.cache.get(path, &stat).filter(|known| is_there(known)) {
            return Some(known.clone());
        }
        let (bytes, read) = match read_file(path, self.limits.file_bytes) {
            FileRead::Gone => return None,
            FileRead::TooLarge => return left_out(LeftOut::TooLarge),
            FileRead::Special => return Some(Entry::LeftOut { why: LeftOut::Special, size_bytes: None }),
            FileRead::Unreadable => return left_out(LeftOut::Unreadable),
            FileRead::Whole { bytes, stat } => (bytes, stat),
        };
        let entry = self.content(look, bytes, read.unwrap_or(stat).mode());
        if let Some(stat) = read.filter(|stat| stat.is_settled(look.began)) {
            self.cache.put(path, stat, entry.clone());
        }
        Some(entry)
    }

    /// A file's bytes, without the secrets in them.
    fn content(&mut self, look: &mut Look<'_>, bytes: Vec<u8>, mode: u16) -> Entry {
        let size_bytes = bytes.len() as u64;
        let clean = redact_body(&self.patterns, &mut self.vault, &self.known, &bytes);
        let (bytes, kept) = match clean.spans.is_empty() {
            true => (bytes, Kept::Whole),
            // A placeholder in the middle of something else than text would help nobody.
            false if std::str::from_utf8(&bytes).is_err() => {
                return Entry::LeftOut { why: LeftOut::Secret, size_bytes: None };
            }
            false => (clean.bytes.into_owned(), Kept::WithoutSecrets),
        };
        let digest = Digest::of(&bytes);
        self.put(look, digest, bytes);
        Entry::File { digest, size_bytes, mode, kept }
    }

    fn put(&mut self, look: &mut Look<'_>, digest: Digest, bytes: Vec<u8>) {
        if self.handed_over.insert(digest) {
            look.part_bytes += bytes.len();
            look.part.push((digest, bytes.into()));
            if look.part_bytes > PART_BYTES {
                look.hand_over();
            }
        }
    }

    fn put_tree(&mut self, look: &mut Look<'_>, tree: &Tree) -> Digest {
        let bytes = tree.encode();
        let digest = Digest::of(&bytes);
        self.put(look, digest, bytes);
        digest
    }

    fn close_folder(&mut self, look: &mut Look<'_>) {
        let Some(OpenFolder { name: Some(name), mode, tree, is_unreadable }) = look.open.pop() else {
            return;
        };
        let entry = match is_unreadable {
            true => Entry::LeftOut { why: LeftOut::Unreadable, size_bytes: None },
            false => Entry::Folder { digest: self.put_tree(look, &tree), mode },
        };
        look.add(name, entry);
    }

    /// Something could not be listed. Only of the folder itself that is an error.
    fn trouble(&self, look: &mut Look<'_>, error: &ignore::Error) -> Result<(), ScanError> {
        let at = path_of(error);
        if at.is_none_or(|path| path == self.root) && error.io_error().is_some() {
            let folder = self.root.display().to_string();
            let detail = error.io_error().map(ToString::to_string).unwrap_or_default();
            return Err(ScanError::Folder { folder, detail });
        }
        let was_denied = error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
        let name = at.and_then(Path::file_name).and_then(|name| Name::new(name.as_bytes()));
        if let Some(last) = look.open.last_mut().filter(|last| was_denied && last.name == name) {
            last.is_unreadable = true;
        }
        Ok(())
    }
}

/// Which file or folder an error is about.
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

impl OpenFolder {
    fn root() -> Self {
        Self { name: None, mode: 0o755, tree: Tree::default(), is_unreadable: false }
    }

    /// One that has no name is no part of the snapshot.
    fn called(name: Option<Name>, mode: u16) -> Self {
        Self { name, mode, tree: Tree::default(), is_unreadable: false }
    }
}

impl Look<'_> {
    fn add(&mut self, name: Name, entry: Entry) {
        match &entry {
            Entry::File { size_bytes, .. } => {
                self.figures.files += 1;
                self.figures.bytes += size_bytes;
            }
            Entry::LeftOut { why, .. } => *self.figures.left_out.entry(*why).or_default() += 1,
            Entry::Link { .. } | Entry::Folder { .. } => {}
        }
        if let Some(folder) = self.open.last_mut() {
            folder.tree.entries.insert(name, entry);
        }
    }

    /// Folders that the walk passed over since the last time; those above them are still open.
    fn note_secret_folders(&mut self, passed_over: &Mutex<Vec<(Name, usize)>>) {
        let passed_over = std::mem::take(&mut *passed_over.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, depth) in passed_over {
            *self.figures.left_out.entry(LeftOut::Secret).or_default() += 1;
            if let Some(folder) = self.open.get_mut(depth - 1) {
                let entry = Entry::LeftOut { why: LeftOut::Secret, size_bytes: None };
                folder.tree.entries.insert(name, entry);
            }
        }
    }

    fn hand_over(&mut self) {
        self.part_bytes = 0;
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() && !self.lost {
            self.lost = !(self.sink)(part);
        }
    }
}
