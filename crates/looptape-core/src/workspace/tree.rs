//! One folder: its entries, and how they are written down.

use crate::{Digest, varint};
use std::collections::BTreeMap;
use std::fmt;

/// The name of an entry: bytes, as file systems have them. Never empty, `.`, `..`, or with a slash or a zero byte in it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

impl Name {
    /// `None` if no entry of a folder can be called that.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let is_name = !matches!(bytes, b"" | b"." | b"..") && !bytes.iter().any(|b| matches!(b, b'/' | 0));
        is_name.then(|| Self(bytes.to_vec()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File {
        digest: Digest,
        size_bytes: u64,
        /// Permission bits, `0o777` at most.
        mode: u16,
        kept: Kept,
    },
    /// A symbolic link and where it leads, as it was written.
    Link { target: Vec<u8> },
    Folder {
        /// Of the tree.
        digest: Digest,
        mode: u16,
    },
    /// It was there, and its content is not kept.
    LeftOut {
        why: LeftOut,
        /// Of a file, where that is known.
        size_bytes: Option<u64>,
    },
}

/// What of a file is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Whole,
    /// All but the secrets in it: placeholders stand in their place.
    WithoutSecrets,
}

/// Why the content of an entry is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// It is called as files are that hold secrets, or holds some that cannot be taken out.
    Secret,
    /// It is larger than a file may be.
    TooLarge,
    /// All files before it are as large as a snapshot may be.
    BeyondTotal,
    /// It cannot be read.
    Unreadable,
    /// It is neither file, folder nor link.
    Special,
}

impl LeftOut {
    const ALL: [Self; 5] = [Self::Secret, Self::TooLarge, Self::BeyondTotal, Self::Unreadable, Self::Special];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "it holds secrets",
            Self::TooLarge => "it is too large",
            Self::BeyondTotal => "the files before it are as large as a snapshot may be",
            Self::Unreadable => "it cannot be read",
            Self::Special => "it is no regular file",
        }
    }

    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::TooLarge => "too_large",
            Self::BeyondTotal => "beyond_total",
            Self::Unreadable => "unreadable",
            Self::Special => "special",
        }
    }
}

/// A folder's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub entries: BTreeMap<Name, Entry>,
}

/// Why bytes are no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("it ends in the middle")]
    Truncated,
    #[error("it was written by a newer looptape")]
    Newer,
    #[error("it is damaged")]
    Damaged,
}

/// The first byte of every tree.
const VERSION: u8 = 1;

const FILE: u64 = 0;
const FILE_WITHOUT_SECRETS: u64 = 1;
const LINK: u64 = 2;
const FOLDER: u64 = 3;
const LEFT_OUT: u64 = 4;

impl Tree {
    /// Its stored form. Equal trees have equal forms.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.entries.len() * 56);
        out.push(VERSION);
        for (name, entry) in &self.entries {
            write_bytes(&mut out, &name.0);
            match entry {
                Entry::File { digest, size_bytes, mode, kept } => {
                    varint::write(&mut out, if *kept == Kept::Whole { FILE } else { FILE_WITHOUT_SECRETS });
                    varint::write(&mut out, u64::from(*mode));
                    varint::write(&mut out, *size_bytes);
                    out.extend_from_slice(&digest.0);
                }
                Entry::Link { target } => {
                    varint::write(&mut out, LINK);
                    write_bytes(&mut out, target);
                }
                Entry::Folder { digest, mode } => {
                    varint::write(&mut out, FOLDER);
                    varint::write(&mut out, u64::from(*mode));
                    out.extend_from_slice(&digest.0);
                }
                Entry::LeftOut { why, size_bytes } => {
                    varint::write(&mut out, LEFT_OUT);
                    let number = LeftOut::ALL.iter().position(|known| known == why).unwrap_or_default();
                    varint::write(&mut out, number as u64);
                    varint::write(&mut out, size_bytes.map_or(0, |size| size.saturating_add(1)));
                }
            }
        }
        out
    }

    /// Reads a stored form. Nobody is trusted: it may come from another machine.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let mut reading = match bytes.split_first() {
            None => return Err(TreeError::Truncated),
            Some((&VERSION, rest)) => Reading(rest),
            Some((version, _)) if *version > VERSION => return Err(TreeError::Newer),
            Some(_) => return Err(TreeError::Damaged),
        };
        let mut tree = Self::default();
        while !reading.0.is_empty() {
            let name = Name::new(reading.bytes()?).ok_or(TreeError::Damaged)?;
            let entry = reading.entry()?;
            if tree.entries.last_key_value().is_some_and(|(before, _)| *before >= name) {
                return Err(TreeError::Damaged);
            }
            tree.entries.insert(name, entry);
        }
        Ok(tree)
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    fn number(&mut self) -> Result<u64, TreeError> {
        varint::read(&mut self.0).ok_or(TreeError::Truncated)
    }

    fn bytes(&mut self) -> Result<&'a [u8], TreeError> {
        let length = usize::try_from(self.number()?).map_err(|_| TreeError::Damaged)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(TreeError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn digest(&mut self) -> Result<Digest, TreeError> {
        let (digest, rest) = self.0.split_first_chunk::<32>().ok_or(TreeError::Truncated)?;
        self.0 = rest;
        Ok(Digest(*digest))
    }

    fn mode(&mut self) -> Result<u16, TreeError> {
        let mode = u16::try_from(self.number()?).ok().filter(|mode| mode & !0o777 == 0);
        mode.ok_or(TreeError::Damaged)
    }

    fn entry(&mut self) -> Result<Entry, TreeError> {
        Ok(match self.number()? {
            kind @ (FILE | FILE_WITHOUT_SECRETS) => Entry::File {
                mode: self.mode()?,
                size_bytes: self.number()?,
                digest: self.digest()?,
                kept: if kind == FILE { Kept::Whole } else { Kept::WithoutSecrets },
            },
            LINK => {
                let target = self.bytes()?.to_vec();
                if target.is_empty() || target.contains(&0) {
                    return Err(TreeError::Damaged);
                }
                Entry::Link { target }
            }
            FOLDER => Entry::Folder { mode: self.mode()?, digest: self.digest()? },
            LEFT_OUT => {
                let number = usize::try_from(self.number()?).map_err(|_| TreeError::Damaged)?;
                let why = *LeftOut::ALL.get(number).ok_or(TreeError::Damaged)?;
                Entry::LeftOut { why, size_bytes: self.number()?.checked_sub(1) }
            }
            _ => return Err(TreeError::Damaged),
        })
    }
}
