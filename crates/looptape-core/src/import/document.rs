//! A parsed file, YAML or JSON alike, as a tree.
//!
//! Scalars keep their text, tag and style; what they mean is decided where they are used, because the
//! same `2024-01-01` is text in a body and a time elsewhere. Aliases share their node, so a document
//! takes no more memory than its file, and depth is bounded, so that walking it may recurse.

use super::{Refused, json_file, scalar::Scalar, yaml};
use std::{borrow::Cow, rc::Rc};

/// How deep collections may nest, aliases included.
pub(super) const MAX_DEPTH: u32 = 128;

/// How many nodes a file may have: the tree then takes half a gigabyte at most besides its texts.
pub(super) const MAX_VALUES: u32 = 2_000_000;

/// A node, shared by the aliases that name it.
pub(super) type Shared = Rc<Node>;

#[derive(Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    List {
        tag: Tag,
        items: Vec<Shared>,
    },
    /// Entries in file order, keys unique by their text; of repeated keys the last one counts.
    Map {
        tag: Tag,
        entries: Vec<(Shared, Shared)>,
    },
}

/// A tag, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// No tag, or one that says no more than the node's own kind.
    Absent,
    /// Text, whatever it looks like.
    Text,
    /// Base64.
    Binary,
    /// Not text by its tag: a number, a boolean, null.
    Typed,
    /// An object of the recorder's own language, by its full name.
    Object(String),
}

/// Parses a file. JSON is tried first where the content begins like JSON: nearly all JSON is YAML, but
/// its surrogate pairs are not.
pub(super) fn parse(file_name: &str, bytes: &[u8]) -> Result<Shared, Refused> {
    let text = text(bytes)?;
    let content = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if content.is_empty() {
        return Err(Refused::EmptyFile);
    }
    let json = after_document_start(content);
    if json.starts_with(['{', '[']) {
        match json_file::parse(json) {
            Ok(root) => return Ok(root),
            Err(refused @ Refused::TooManyValues { .. }) => return Err(refused),
            Err(refused) if is_named_as_json(file_name) => return Err(refused),
            Err(_) => {}
        }
    }
    yaml::parse(text.trim_start_matches('\u{feff}'))
}

/// What follows the line `---` with which some writers begin JSON, too.
fn after_document_start(content: &str) -> &str {
    match content.strip_prefix("---") {
        Some(rest) if rest.starts_with(['\n', '\r']) => rest.trim_start(),
        _ => content,
    }
}

/// UTF-8, or UTF-16 where a byte order mark says so.
fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Refused> {
    let utf16 = match bytes {
        [0xff, 0xfe, rest @ ..] => Some((rest, u16::from_le_bytes as fn([u8; 2]) -> u16)),
        [0xfe, 0xff, rest @ ..] => Some((rest, u16::from_be_bytes as fn([u8; 2]) -> u16)),
        _ => None,
    };
    if let Some((rest, unit)) = utf16 {
        let (pairs, odd) = rest.as_chunks::<2>();
        let units = pairs.iter().map(|pair| unit(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        return match text {
            Ok(text) if odd.is_empty() => Ok(Cow::Owned(text)),
            _ => Err(Refused::NotText { offset_bytes: 0 }),
        };
    }
    std::str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .map_err(|e| Refused::NotText { offset_bytes: e.valid_up_to() as u64 })
}

fn is_named_as_json(file_name: &str) -> bool {
    let extension = file_name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    ["json", "har", "traj"].contains(&extension.as_str())
}

impl Node {
    /// The value under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Self::Map { entries, .. } = self else { return None };
        entries.iter().find(|(k, _)| k.as_key() == key).map(|(_, value)| &**value)
    }

    /// The value under a key, unless it is null.
    pub(super) fn get_some(&self, key: &str) -> Option<&Node> {
        self.get(key).filter(|node| !node.is_null())
    }

    pub(super) fn items(&self) -> Option<&[Shared]> {
        match self {
            Self::List { items, .. } => Some(items),
            _ => None,
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self, Self::Map { .. })
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(scalar) if scalar.is_null())
    }

    pub(super) fn tag(&self) -> &Tag {
        match self {
            Self::Scalar(scalar) => &scalar.tag,
            Self::List { tag, .. } | Self::Map { tag, .. } => tag,
        }
    }

    /// The text of a scalar, or of the only scalar inside a collection: how objects of string-like
    /// classes are written.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Scalar(scalar) => Some(scalar.text()),
            Self::List { items, .. } => match items.as_slice() {
                [only] => only.text(),
                _ => None,
            },
            Self::Map { entries, .. } => match entries.as_slice() {
                [(_, only)] => only.text(),
                _ => None,
            },
        }
    }

    /// What a node is called as a key.
    pub(super) fn as_key(&self) -> Cow<'_, str> {
        self.text().unwrap_or_default()
    }
}

impl Tag {
    /// Reads a tag's full name, `tag:yaml.org,2002:binary` for example.
    pub(super) fn parse(name: &str) -> Self {
        let name = name.strip_prefix("tag:yaml.org,2002:").unwrap_or(name);
        // Ruby writes the short tags of YAML 1.0: `!binary`, `!str`, `!ruby/…`.
        let name = name.strip_prefix('!').filter(|rest| !rest.is_empty()).unwrap_or(name);
        match name {
            "" | "!" | "str" | "python/str" | "python/unicode" => Self::Text,
            "binary" | "python/bytes" => Self::Binary,
            "null" | "bool" | "int" | "float" | "python/none" | "python/bool" | "python/int"
            | "python/long" | "python/float" => Self::Typed,
            "seq" | "map" | "omap" | "pairs" | "set" | "timestamp" | "python/list" | "python/tuple"
            | "python/dict" => Self::Absent,
            other => Self::Object(other.to_owned()),
        }
    }
}
