//! Laying a snapshot's files out.
//!
//! Only into a folder that is empty and that nobody else uses. Nothing is written outside it: names were checked when
//! their trees were read, and every file is made new, through no link.

use crate::reader::{ReadError, Reader};
use looptape_core::Digest;
use looptape_core::workspace::{Entry, Kept, LeftOut, Tree, Trees};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What was laid out, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub files: u64,
    pub bytes: u64,
    /// Files in which placeholders stand for secrets.
    pub without_secrets: u64,
    pub left_out: BTreeMap<LeftOut, u64>,
}

/// Why files could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFilesError {
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("the content of {path} is missing or damaged: `looptape verify` shows what else is")]
    Missing { path: PathBuf },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Lays the files of the snapshot `root` out in `folder`, which must be empty. Links that led into `home`, the folder that
/// was recorded, lead to the same place in `folder`.
pub fn restore(
    reader: &Reader,
    root: Digest,
    folder: &Path,
    home: &Path,
) -> Result<Restored, RestoreFilesError> {
    let mut layout = Layout { reader, folder, home, restored: Restored::default() };
    let tree = reader.trees().tree(root)?;
    layout.folder(&tree, folder)?;
    Ok(layout.restored)
}

struct Layout<'a> {
    reader: &'a Reader,
    folder: &'a Path,
    home: &'a Path,
    restored: Restored,
}

impl Layout<'_> {
    fn folder(&mut self, tree: &Tree, at: &Path) -> Result<(), RestoreFilesError> {
        for (name, entry) in &tree.entries {
            let path = at.join(OsStr::from_bytes(name.as_bytes()));
            match entry {
                Entry::File { digest, mode, kept, .. } => self.file(*digest, *mode, *kept, path)?,
                Entry::Link { target } => self.link(target, path)?,
                Entry::LeftOut { why, .. } => *self.restored.left_out.entry(*why).or_default() += 1,
                Entry::Folder { digest, mode } => {
                    fs::create_dir(&path).map_err(failed(&path))?;
                    let tree = self.reader.trees().tree(*digest)?;
                    self.folder(&tree, &path)?;
                    // Last: it may forbid writing.
                    let permissions = Permissions::from_mode(u32::from(*mode));
                    fs::set_permissions(&path, permissions).map_err(failed(&path))?;
                }
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        digest: Digest,
        mode: u16,
        kept: Kept,
        path: PathBuf,
    ) -> Result<(), RestoreFilesError> {
        let Some(content) = self.reader.file_content(digest)? else {
            return Err(RestoreFilesError::Missing { path });
        };
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&content)?;
            file.set_permissions(Permissions::from_mode(u32::from(mode)))
        };
        write().map_err(failed(&path))?;
        self.restored.files += 1;
        self.restored.bytes += content.len() as u64;
        self.restored.without_secrets += u64::from(kept == Kept::WithoutSecrets);
        Ok(())
    }

    fn link(&self, target: &[u8], path: PathBuf) -> Result<(), RestoreFilesError> {
        let target = Path::new(OsStr::from_bytes(target));
        let target = match target.strip_prefix(self.home) {
            Ok(inside) => self.folder.join(inside),
            Err(_) => target.to_owned(),
        };
        symlink(target, &path).map_err(failed(&path))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RestoreFilesError + use<> {
    let path = path.to_owned();
    move |source| RestoreFilesError::Write { path, source }
}
