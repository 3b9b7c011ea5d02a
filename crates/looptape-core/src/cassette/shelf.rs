//! Contents by their hashes: messages, tool definitions, long prompts, each stored once.
//!
//! A content is a JSON value laid out for people, if that gives its bytes again, else the text or the bytes
//! themselves. Its name is the hash of its file, so that the same content has the same name in every recording.

use super::error::CassetteError;
use super::files::{self, CONTENT_DIGITS, FileName, Files};
use super::json_text::{file_text, laid_out, read_back};
use super::style::{Style, Styles};
use super::values::{Collector, Named, fill};
use crate::Digest;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The name of a content: hex digits of its hash, and an ending if it is no JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(super) struct Reference(Arc<str>);

impl Reference {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Reference {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.as_str().to_owned()
    }
}

/// Where contents are put.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    files: Files,
    /// Contents as values, by the digests of their bytes.
    values: HashMap<Digest, Stored>,
    /// Contents as they are.
    raw: HashMap<Digest, Reference>,
}

/// A content as a value.
#[derive(Clone, Debug)]
enum Stored {
    /// In these styles the value is the content.
    Value { file: Bytes, styles: Styles },
    /// No style gives its bytes again.
    NoValue,
}

impl Stored {
    fn styles(&self) -> Styles {
        match self {
            Self::Value { styles, .. } => *styles,
            Self::NoValue => Styles::NONE,
        }
    }
}

impl Shelf {
    /// The styles in which a content may be stored as a value.
    pub(super) fn styles(&mut self, content: &[u8], found: &mut Collector) -> Styles {
        self.value(content, found).styles()
    }

    /// Puts a content that stands in a body of this style.
    pub(super) fn put(&mut self, content: &[u8], style: Style, found: &mut Collector) -> Reference {
        match self.value(content, found) {
            Stored::Value { file, styles } if styles.holds(style) => {
                let file = file.clone();
                self.store(file, "")
            }
            _ => self.put_raw(content, found),
        }
    }

    /// Puts bytes as they are.
    pub(super) fn put_raw(&mut self, content: &[u8], found: &mut Collector) -> Reference {
        let digest = Digest::of(content);
        if let Some(known) = self.raw.get(&digest) {
            return known.clone();
        }
        let (file, ending) = match std::str::from_utf8(content) {
            Ok(text) => (Bytes::from(found.template(text)), ".txt"),
            Err(_) => (Bytes::copy_from_slice(content), ".bin"),
        };
        let reference = self.store(file, ending);
        self.raw.insert(digest, reference.clone());
        reference
    }

    fn value(&mut self, content: &[u8], found: &mut Collector) -> &Stored {
        let digest = Digest::of(content);
        let new = || Self::new_value(content, found).unwrap_or(Stored::NoValue);
        self.values.entry(digest).or_insert_with(new)
    }

    fn new_value(content: &[u8], found: &mut Collector) -> Option<Stored> {
        let value: Value = serde_json::from_slice(content).ok()?;
        let styles = Styles::of(content, &value);
        if styles == Styles::NONE {
            return None;
        }
        let file = Bytes::from(file_text(&laid_out(&value, found)?));
        Some(Stored::Value { file, styles })
    }

    fn store(&mut self, file: Bytes, ending: &str) -> Reference {
        let reference = format!("{}{ending}", short_name(&file));
        let name = FileName::of_content(&reference).expect("a hash is the name of a content");
        self.files.entry(name).or_insert(file);
        reference.into()
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn into_files(self) -> Files {
        self.files
    }
}

fn short_name(file: &[u8]) -> String {
    let mut hex = Digest::of(file).to_hex();
    hex.truncate(CONTENT_DIGITS);
    hex
}

/// Whether a content's file is what its name says.
pub(super) fn check(name: &FileName, file: &[u8]) -> Result<(), CassetteError> {
    let found = short_name(file);
    let expected: String = name.as_str().chars().skip("content/".len()).take(CONTENT_DIGITS).collect();
    match found == expected {
        true => Ok(()),
        false => Err(CassetteError::Damaged { file: name.to_string(), expected, found }),
    }
}

/// Where contents are found.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Those that were read, in the style in which they were wanted.
    read: HashMap<(Reference, Option<Style>), Bytes>,
}

impl Contents {
    /// A content's bytes; in a body without a style they are as they are stored.
    pub(super) fn get(
        &mut self,
        files: &Files,
        named: &Named,
        reference: &Reference,
        style: Option<Style>,
    ) -> Result<Bytes, CassetteError> {
        let key = (reference.clone(), style);
        if let Some(known) = self.read.get(&key) {
            return Ok(known.clone());
        }
        let content = content(files, named, reference.as_str(), style)?;
        self.read.insert(key, content.clone());
        Ok(content)
    }
}

fn content(
    files: &Files,
    named: &Named,
    reference: &str,
    style: Option<Style>,
) -> Result<Bytes, CassetteError> {
    let name = FileName::of_content(reference)
        .ok_or_else(|| CassetteError::invalid("a call", format!("`{reference}` is no name of a content")))?;
    if reference.ends_with(".bin") {
        return files::required(files, &name).cloned();
    }
    let invalid = |detail: String| CassetteError::invalid(&name, detail);
    let text = files::text(files, &name)?;
    if reference.ends_with(".txt") {
        return fill(text, named).map(Bytes::from).map_err(|error| invalid(error.to_string()));
    }
    let style = style.ok_or_else(|| invalid("it is JSON, and its spelling is not known".to_owned()))?;
    let value: Value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    Ok(style.write(&read_back(value, named).map_err(invalid)?).into())
}
