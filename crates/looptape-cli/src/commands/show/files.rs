//! What each step changed in the agent's workspace.
//!
//! The files were looked at whenever the agent asked a model, so what differs between two looks was changed between
//! two questions: by the tools that the first one's answer called for, where nothing else ran beside them.

use crate::looks::{Look, LookOf, RecordedFiles};
use crate::render::recorded::left_out_of;
use anyhow::bail;
use looptape_core::Digest;
use looptape_core::workspace::{Change, ChangeKind, Entry, Kept, LeftOut, TextChange, Tree, Trees, changes};
use looptape_store::{ReadError, Reader, RecordedTrace};
use serde::Serialize;
use std::collections::BTreeMap;

/// The changes of a whole trace, or of one of its steps.
#[derive(Debug, Serialize)]
pub(crate) struct FilesView {
    pub(crate) format: u32,
    pub(crate) trace: String,
    /// The workspace, as it was called.
    pub(crate) folder: String,
    /// What was there at the first look.
    pub(crate) first: Held,
    pub(crate) changes: Vec<StepChanges>,
    /// Looks that there should have been.
    pub(crate) missing: Vec<MissingLook>,
}

/// What a snapshot holds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Held {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) left_out: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    pub(crate) left_out_text: String,
}

/// What changed between two looks.
#[derive(Debug, Serialize)]
pub(crate) struct StepChanges {
    /// The step; `null`: before the first one.
    pub(crate) step: Option<u32>,
    /// The files were looked at when the answer was already on its way: what the step before changed may be counted
    /// to this one, or the other way round.
    pub(crate) late: bool,
    pub(crate) files: Vec<FileChange>,
}

/// One file's change.
#[derive(Debug, Serialize)]
pub(crate) struct FileChange {
    pub(crate) path: String,
    pub(crate) change: How,
    pub(crate) before: Option<Side>,
    pub(crate) after: Option<Side>,
    /// Of files whose contents are known.
    #[serde(flatten)]
    pub(crate) text: Option<TextChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    Added,
    Removed,
    Changed,
}

/// A file as it was before or after.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Side {
    File {
        size_bytes: u64,
        mode: String,
        secrets: bool,
    },
    Link {
        target: String,
    },
    Folder {
        mode: String,
    },
    LeftOut {
        why: &'static str,
        /// The same for people.
        #[serde(skip)]
        because: &'static str,
        size_bytes: Option<u64>,
    },
}

/// A step without a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct MissingLook {
    pub(crate) step: Option<u32>,
    pub(crate) why: String,
}

impl FilesView {
    /// Of all steps, or of one.
    pub(crate) fn build(reader: &Reader, trace: &RecordedTrace, step: Option<u32>) -> anyhow::Result<Self> {
        let label = trace.row.label();
        let files = RecordedFiles::of(reader, trace)?;
        let seen: Vec<(&Look, Digest)> =
            files.looks.iter().filter_map(|look| Some((look, look.root.clone().ok()?))).collect();
        let missing = files.looks.iter().filter_map(MissingLook::of).collect();
        let Some((_, first)) = seen.first() else {
            bail!(
                "of the files of trace {label} nothing was kept: its recorder was cut off, or could not read them"
            )
        };
        let mut view = Self {
            format: looptape_core::view::FORMAT,
            first: Held::of(reader, *first)?,
            trace: label,
            folder: files.workspace.folder.clone(),
            changes: Vec::new(),
            missing,
        };
        for pair in seen.windows(2) {
            let [(look, from), (next, to)] = pair else { continue };
            let of = step_of(look.of);
            if step.is_some() && of != step {
                continue;
            }
            let files = changes(&mut reader.trees(), *from, *to)?;
            let files =
                files.into_iter().map(|change| file_change(reader, change)).collect::<Result<_, _>>()?;
            view.changes.push(StepChanges { step: of, late: look.is_late || next.is_late, files });
        }
        Ok(view)
    }
}

fn step_of(look: LookOf) -> Option<u32> {
    match look {
        LookOf::Step(step) => Some(step),
        LookOf::Start | LookOf::End => None,
    }
}

impl MissingLook {
    fn of(look: &Look) -> Option<Self> {
        let why = look.root.as_ref().err()?.clone();
        Some(Self { step: step_of(look.of), why })
    }
}

impl Held {
    fn of(reader: &Reader, root: Digest) -> Result<Self, ReadError> {
        let mut held = Self::default();
        let mut left_out: BTreeMap<LeftOut, u64> = BTreeMap::new();
        let mut folders: Vec<Tree> = vec![reader.trees().tree(root)?];
        while let Some(tree) = folders.pop() {
            for entry in tree.entries.into_values() {
                match entry {
                    Entry::File { size_bytes, .. } => {
                        held.files += 1;
                        held.bytes += size_bytes;
                    }
                    Entry::Folder { digest, .. } => folders.push(reader.trees().tree(digest)?),
                    Entry::LeftOut { why, .. } => *left_out.entry(why).or_default() += 1,
                    Entry::Link { .. } => {}
                }
            }
        }
        held.left_out_text = left_out_of(&left_out);
        held.left_out = left_out.into_iter().map(|(why, n)| (why.word(), n)).collect();
        Ok(held)
    }
}

fn file_change(reader: &Reader, Change { path, kind }: Change) -> Result<FileChange, ReadError> {
    let (change, before, after) = match kind {
        ChangeKind::Added(after) => (How::Added, None, Some(after)),
        ChangeKind::Removed(before) => (How::Removed, Some(before), None),
        ChangeKind::Changed { before, after } => (How::Changed, Some(before), Some(after)),
    };
    let text = text_change(reader, before.as_ref(), after.as_ref())?;
    let path = String::from_utf8_lossy(&path).into_owned();
    Ok(FileChange { path, change, before: before.map(Side::of), after: after.map(Side::of), text })
}

/// What changed inside, where both contents are known and differ.
fn text_change(
    reader: &Reader,
    before: Option<&Entry>,
    after: Option<&Entry>,
) -> Result<Option<TextChange>, ReadError> {
    let mut contents = Vec::with_capacity(2);
    for side in [before, after] {
        contents.push(match side {
            None => None,
            Some(Entry::File { digest, .. }) => Some(*digest),
            Some(Entry::Link { .. } | Entry::Folder { .. } | Entry::LeftOut { .. }) => return Ok(None),
        });
    }
    if contents[0] == contents[1] {
        return Ok(None);
    }
    let read = |digest: Option<Digest>| match digest {
        None => Ok(Some(bytes::Bytes::new())),
        Some(digest) => reader.file_content(digest),
    };
    let (before, after) = (read(contents[0])?, read(contents[1])?);
    Ok(before.zip(after).map(|(before, after)| TextChange::between(&before, &after)))
}

impl Side {
    fn of(entry: Entry) -> Self {
        let octal = |mode: u16| format!("{mode:03o}");
        match entry {
            Entry::File { size_bytes, mode, kept, .. } => {
                Self::File { size_bytes, mode: octal(mode), secrets: kept == Kept::WithoutSecrets }
            }
            Entry::Link { target } => Self::Link { target: String::from_utf8_lossy(&target).into_owned() },
            Entry::Folder { mode, .. } => Self::Folder { mode: octal(mode) },
            Entry::LeftOut { why, size_bytes } => {
                Self::LeftOut { why: why.word(), because: why.as_str(), size_bytes }
            }
        }
    }
}
