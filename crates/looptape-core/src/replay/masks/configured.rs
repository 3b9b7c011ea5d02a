//! Masks that a project's settings name: `[[mask]]` in `looptape.toml`.

use super::kind::{MaskKind, UnknownMaskKind};
use crate::wire::Wire;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

/// One `[[mask]]` entry, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskEntry {
    /// JSON pointer into the request; `*` stands for any one segment.
    pub pointer: String,
    /// Only in requests of this wire format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<String>,
    /// Masks what has this kind's shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Masks what this expression's first group finds, or the whole match if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// Why an entry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaskEntryError {
    #[error(
        "[[mask]] pointer = \"{pointer}\": a JSON pointer begins with `/`, for example \"/messages/*/content\""
    )]
    Pointer { pointer: String },
    #[error("[[mask]] pointer = \"{pointer}\": there is no wire format called `{wire}`; the formats are {}", Wire::ALL.map(Wire::as_str).join(", "))]
    Wire { pointer: String, wire: String },
    #[error("[[mask]] pointer = \"{pointer}\": {source}")]
    Kind { pointer: String, source: UnknownMaskKind },
    #[error("[[mask]] pointer = \"{pointer}\": state `kind` or `pattern`, not both")]
    KindAndPattern { pointer: String },
    #[error("[[mask]] pointer = \"{pointer}\": the pattern is no regular expression: {source}")]
    Pattern { pointer: String, source: Box<regex::Error> },
}

/// A mask of the settings, ready to be applied.
#[derive(Clone, Debug)]
pub struct ConfiguredMask {
    segments: Vec<String>,
    wire: Option<Wire>,
    pub(super) what: What,
}

/// What of a value is masked.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// All of it.
    Whole,
    Kind(MaskKind),
    Pattern(Regex),
}

impl TryFrom<&MaskEntry> for ConfiguredMask {
    type Error = MaskEntryError;

    fn try_from(entry: &MaskEntry) -> Result<Self, MaskEntryError> {
        let pointer = || entry.pointer.clone();
        let Some(path) = entry.pointer.strip_prefix('/') else {
            return Err(MaskEntryError::Pointer { pointer: pointer() });
        };
        let wire = match &entry.wire {
            None => None,
            Some(name) => Some(
                Wire::ALL
                    .into_iter()
                    .find(|wire| wire.as_str() == name)
                    .ok_or_else(|| MaskEntryError::Wire { pointer: pointer(), wire: name.clone() })?,
            ),
        };
        let what = match (&entry.kind, &entry.pattern) {
            (None, None) => What::Whole,
            (Some(kind), None) => What::Kind(
                kind.parse().map_err(|source| MaskEntryError::Kind { pointer: pointer(), source })?,
            ),
            (None, Some(pattern)) => What::Pattern(Regex::new(pattern).map_err(|source| {
                MaskEntryError::Pattern { pointer: pointer(), source: Box::new(source) }
            })?),
            (Some(_), Some(_)) => return Err(MaskEntryError::KindAndPattern { pointer: pointer() }),
        };
        Ok(Self { segments: path.split('/').map(str::to_owned).collect(), wire, what })
    }
}

impl MaskEntry {
    /// The entry as it is written in `looptape.toml`.
    pub fn to_toml(&self) -> String {
        // A JSON string is a basic string of TOML.
        let basic = |text: &str| serde_json::Value::from(text).to_string();
        let quoted = |text: &str| {
            let is_plain = !text.chars().any(|c| c == '\'' || c.is_control());
            if is_plain { format!("'{text}'") } else { basic(text) }
        };
        let mut toml = format!("[[mask]]\npointer = {}\n", basic(&self.pointer));
        let fields = [("wire", &self.wire), ("kind", &self.kind), ("pattern", &self.pattern)];
        for (name, value) in fields.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            let value = if *name == "pattern" { quoted(value) } else { basic(value) };
            toml.push_str(&format!("{name} = {value}\n"));
        }
        toml
    }
}

impl ConfiguredMask {
    /// Whether the mask applies to the value at `pointer` of a request.
    pub(super) fn is_for(&self, wire: Option<Wire>, pointer: &str) -> bool {
        let mut there = pointer.split('/').skip(1);
        let wire_fits = self.wire.is_none_or(|own| wire == Some(own));
        wire_fits
            && self
                .segments
                .iter()
                .all(|own| there.next().is_some_and(|segment| own == "*" || own == segment))
            && there.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(pointer: &str, kind: Option<&str>, pattern: Option<&str>) -> Result<ConfiguredMask, String> {
        let entry = MaskEntry {
            pointer: pointer.into(),
            wire: Some("openai.chat".into()),
            kind: kind.map(Into::into),
            pattern: pattern.map(Into::into),
        };
        ConfiguredMask::try_from(&entry).map_err(|error| error.to_string())
    }

    #[test]
    fn a_star_is_one_segment() {
        let mask = mask("/messages/*/content", None, None).unwrap();
        let chat = Some(Wire::OpenAiChat);
        assert!(mask.is_for(chat, "/messages/12/content"));
        assert!(!mask.is_for(chat, "/messages/12/content/0"));
        assert!(!mask.is_for(chat, "/messages/content"));
        assert!(!mask.is_for(chat, "/messages/12"));
        assert!(!mask.is_for(Some(Wire::AnthropicMessages), "/messages/12/content"));
        assert!(!mask.is_for(None, "/messages/12/content"));
    }

    #[test]
    fn entries_are_written_as_people_would() {
        let entry = |pattern: &str| MaskEntry {
            pointer: "/messages/*/content".into(),
            wire: Some("openai.chat".into()),
            kind: None,
            pattern: Some(pattern.into()),
        };
        assert_eq!(
            entry(r"build (\d+)").to_toml(),
            "[[mask]]\npointer = \"/messages/*/content\"\nwire = \"openai.chat\"\npattern = 'build (\\d+)'\n"
        );
        assert!(entry("it's (\\d+)").to_toml().ends_with("pattern = \"it's (\\\\d+)\"\n"));
    }

    #[test]
    fn mistakes_are_named() {
        for (mask, names) in [
            (mask("messages", None, None), "begins with `/`"),
            (mask("/a", Some("uid"), None), "`uid`"),
            (mask("/a", None, Some("(")), "no regular expression"),
            (mask("/a", Some("uuid"), Some("x")), "not both"),
        ] {
            let error = mask.unwrap_err();
            assert!(error.contains(names), "{error}");
        }
    }
}
