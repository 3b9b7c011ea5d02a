//! What an id in a bundle stands for, and how that is written down.
//!
//! An entry is a content, a node of a chain, or both at once: the last node of a chain and the piece that it adds
//! mostly come together. Distances to other ids count backwards, so entries keep their meaning wherever their
//! bundle is joined to others.

use crate::ids::{BlobId, NodeId};
use looptape_core::{Digest, varint};
use std::ops::Range;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It was deleted, or never was.
    Gone,
    Content(Content),
    /// A node whose content is another entry's.
    Node {
        parent: NodeId,
        content: BlobId,
    },
    /// A content, and the node that adds it to the chain `parent`.
    Piece {
        parent: NodeId,
        content: Content,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) size: usize,
    pub(crate) form: Form,
    /// Where its stored form lies in the bundle's data.
    pub(crate) place: Range<usize>,
}

/// How a content is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    AsItIs,
    /// A splice of `base`, under which lie `depth - 1` others.
    Splice {
        base: BlobId,
        depth: u32,
    },
}

impl Entry {
    pub(crate) fn content(&self) -> Option<&Content> {
        match self {
            Self::Content(content) | Self::Piece { content, .. } => Some(content),
            Self::Gone | Self::Node { .. } => None,
        }
    }

    /// The chain before it and its content, if the entry `id` is a node.
    pub(crate) fn node(&self, id: i64) -> Option<(NodeId, BlobId)> {
        match self {
            Self::Node { parent, content } => Some((*parent, *content)),
            Self::Piece { parent, .. } => Some((*parent, BlobId(id))),
            Self::Gone | Self::Content(_) => None,
        }
    }
}

const GONE: u64 = 0;
const NODE: u64 = 1;
const CONTENT: u64 = 2;
/// Added to [`CONTENT`].
const IS_PIECE: u64 = 1;
const IS_SPLICE: u64 = 2;

/// Writes an entry of `id`.
pub(crate) fn encode(out: &mut Vec<u8>, id: i64, entry: &Entry) {
    match entry {
        Entry::Gone => encode_gone(out, 1),
        Entry::Node { parent, content } => {
            varint::write(out, NODE);
            write_parent(out, id, *parent);
            varint::write(out, (id - content.0) as u64);
        }
        Entry::Content(content) => encode_content(out, id, None, content),
        Entry::Piece { parent, content } => encode_content(out, id, Some(*parent), content),
    }
}

/// Writes that `count` ids stand for nothing.
pub(crate) fn encode_gone(out: &mut Vec<u8>, count: u64) {
    varint::write(out, GONE);
    varint::write(out, count);
}

fn encode_content(out: &mut Vec<u8>, id: i64, parent: Option<NodeId>, content: &Content) {
    let splice = matches!(content.form, Form::Splice { .. });
    let kind = CONTENT + if parent.is_some() { IS_PIECE } else { 0 } + if splice { IS_SPLICE } else { 0 };
    varint::write(out, kind);
    if let Some(parent) = parent {
        write_parent(out, id, parent);
    }
    varint::write(out, content.size as u64);
    if let Form::Splice { base, depth } = content.form {
        varint::write(out, content.place.len() as u64);
        varint::write(out, (id - base.0) as u64);
        varint::write(out, u64::from(depth));
    }
    out.extend_from_slice(&content.digest.0);
}

/// Nothing is as far from a node as itself.
fn write_parent(out: &mut Vec<u8>, id: i64, parent: NodeId) {
    varint::write(out, if parent == NodeId::EMPTY { 0 } else { (id - parent.0) as u64 });
}

/// Reads the entries of the bundle that begins with `first`; `None` if they are damaged.
pub(crate) fn decode(first: i64, bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut reading = Reading { bytes, id: first, place: 0 };
    let mut entries = Vec::with_capacity(bytes.len() / 36 + 1);
    while !reading.bytes.is_empty() {
        match reading.number()? {
            GONE => {
                let count = usize::try_from(reading.number()?).ok().filter(|count| *count <= MOST_ENTRIES)?;
                entries.extend(std::iter::repeat_n(Entry::Gone, count));
                reading.id += count as i64;
                continue;
            }
            NODE => {
                let (parent, content) = (reading.parent()?, reading.before()?);
                entries.push(Entry::Node { parent, content: BlobId(content) });
            }
            kind if kind < CONTENT + IS_PIECE + IS_SPLICE + 1 => {
                entries.push(reading.content(kind - CONTENT)?)
            }
            _ => return None,
        }
        reading.id += 1;
    }
    Some(entries)
}

/// A damaged count asks for no memory beyond this.
const MOST_ENTRIES: usize = 1 << 24;

struct Reading<'a> {
    bytes: &'a [u8],
    id: i64,
    place: usize,
}

impl Reading<'_> {
    fn number(&mut self) -> Option<u64> {
        varint::read(&mut self.bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// An id that was there before.
    fn before(&mut self) -> Option<i64> {
        let distance = i64::try_from(self.number()?).ok()?;
        (1..self.id).contains(&distance).then(|| self.id - distance)
    }

    fn parent(&mut self) -> Option<NodeId> {
        let mut rest = self.bytes;
        if varint::read(&mut rest)? == 0 {
            self.bytes = rest;
            return Some(NodeId::EMPTY);
        }
        self.before().map(NodeId)
    }

    fn content(&mut self, flags: u64) -> Option<Entry> {
        let parent = if flags & IS_PIECE == 0 { None } else { Some(self.parent()?) };
        let size = self.length()?;
        let (form, stored) = match flags & IS_SPLICE {
            0 => (Form::AsItIs, size),
            _ => {
                let stored = self.length()?;
                let (base, depth) = (BlobId(self.before()?), u32::try_from(self.number()?).ok()?);
                (Form::Splice { base, depth }, stored)
            }
        };
        let (digest, rest) = self.bytes.split_first_chunk::<32>()?;
        self.bytes = rest;
        let place = self.place..self.place.checked_add(stored)?;
        self.place = place.end;
        let content = Content { digest: Digest(*digest), size, form, place };
        Some(match parent {
            None => Entry::Content(content),
            Some(parent) => Entry::Piece { parent, content },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content() -> impl Strategy<Value = Content> {
        let form = prop_oneof![
            Just(Form::AsItIs),
            (1i64..900, 1u32..9).prop_map(|(base, depth)| Form::Splice { base: BlobId(base), depth }),
        ];
        (any::<[u8; 32]>(), 0usize..5000, 0usize..300, form).prop_map(|(digest, size, stored, form)| {
            let stored = if form == Form::AsItIs { size } else { stored };
            Content { digest: Digest(digest), size, form, place: 0..stored }
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let parent = || (0i64..900).prop_map(NodeId);
        prop_oneof![
            Just(Entry::Gone),
            content().prop_map(Entry::Content),
            (parent(), 1i64..900)
                .prop_map(|(parent, content)| Entry::Node { parent, content: BlobId(content) }),
            (parent(), content()).prop_map(|(parent, content)| Entry::Piece { parent, content }),
        ]
    }

    fn placed(mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut end = 0;
        for entry in &mut entries {
            if let Entry::Content(content) | Entry::Piece { content, .. } = entry {
                content.place = end..end + content.place.len();
                end = content.place.end;
            }
        }
        entries
    }

    proptest! {
        #[test]
        fn round_trip(entries in prop::collection::vec(entry(), 0..20)) {
            let entries = placed(entries);
            let mut bytes = Vec::new();
            entries.iter().zip(1000..).for_each(|(entry, id)| encode(&mut bytes, id, entry));
            prop_assert_eq!(decode(1000, &bytes), Some(entries));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(0u8..9, 0..80)) {
            decode(5, &bytes);
        }
    }
}
