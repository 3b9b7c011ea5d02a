//! The files of a cassette, by names that lead nowhere else.

use super::error::CassetteError;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;

/// The files of a cassette. Their order is that of an archive.
pub type Files = BTreeMap<FileName, Bytes>;

/// More than this, unpacked, is no cassette: it would not fit into memory.
pub const MAX_TOTAL_BYTES: u64 = 1 << 30;

pub const MANIFEST: &str = "manifest.json";
pub const CHECKSUMS: &str = "checksums.txt";
pub const TIMINGS: &str = "timings.json";
pub(super) const TOOLS: &str = "tools.json";
pub(super) const GIT_ATTRIBUTES: &str = ".gitattributes";
const CALLS: &str = "calls";
const CONTENT: &str = "content";

/// Endings of the files of calls and content.
const ENDINGS: [&str; 5] = ["json", "sse", "ndjson", "txt", "bin"];

/// Hex digits of the hash that names a content.
pub(super) const CONTENT_DIGITS: usize = 32;

/// The name of a file that a cassette may have, from its top folder on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// `None` for what is no file of a cassette.
    pub fn parse(name: &str) -> Option<Self> {
        let known = match name.split_once('/') {
            None => [MANIFEST, CHECKSUMS, TIMINGS, TOOLS, GIT_ATTRIBUTES].contains(&name),
            Some((folder, rest)) => {
                let (stem, ending) = rest.split_once('.')?;
                let stem = stem.as_bytes();
                let is_stem = match folder {
                    CALLS => (4..=10).contains(&stem.len()) && stem.iter().all(u8::is_ascii_digit),
                    CONTENT => stem.len() == CONTENT_DIGITS && stem.iter().all(is_hex_digit),
                    _ => false,
                };
                is_stem && ENDINGS.contains(&ending)
            }
        };
        known.then(|| Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders that a cassette's files lie in.
    pub fn folders() -> [&'static str; 2] {
        [CALLS, CONTENT]
    }

    pub(super) fn top(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The file of a call; calls are counted from 1.
    pub(super) fn of_call(seq: u32, ending: &str) -> Self {
        Self(format!("{CALLS}/{}.{ending}", call_label(seq)))
    }

    pub(super) fn of_content(reference: &str) -> Option<Self> {
        let ending = if reference.contains('.') { "" } else { ".json" };
        Self::parse(&format!("{CONTENT}/{reference}{ending}"))
    }

    /// The call that this is the JSON file of.
    pub(super) fn call(&self) -> Option<u32> {
        let label = self.0.strip_prefix(CALLS)?.strip_prefix('/')?.strip_suffix(".json")?;
        label.parse::<u32>().ok()?.checked_sub(1)
    }

    pub(super) fn is_content(&self) -> bool {
        self.0.starts_with(CONTENT)
    }
}

/// A call's number as it stands in names.
pub(super) fn call_label(seq: u32) -> String {
    format!("{:04}", u64::from(seq) + 1)
}

fn is_hex_digit(byte: &u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file that has to be there.
pub(super) fn required<'f>(files: &'f Files, name: &FileName) -> Result<&'f Bytes, CassetteError> {
    files.get(name).ok_or_else(|| CassetteError::Missing { file: name.to_string() })
}

/// A file that has to be text.
pub(super) fn text<'f>(files: &'f Files, name: &FileName) -> Result<&'f str, CassetteError> {
    std::str::from_utf8(required(files, name)?).map_err(|error| CassetteError::invalid(name, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        let hash = "0123456789abcdef0123456789abcdef";
        for good in ["manifest.json", "calls/0001.sse", "calls/12345.json", &format!("content/{hash}.bin")] {
            assert!(FileName::parse(good).is_some(), "{good}");
        }
        let bad = [
            "",
            "/manifest.json",
            "../manifest.json",
            "calls/../manifest.json",
            "calls/0001.json/x",
            "calls/1.json",
            "calls/0001.exe",
            "content/abc.json",
            "content/0123456789ABCDEF0123456789ABCDEF.json",
            "calls\\0001.json",
            "calls/0001",
        ];
        for bad in bad {
            assert!(FileName::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(FileName::of_call(0, "json").call(), Some(0));
        assert_eq!(FileName::of_call(0, "sse").call(), None);
        assert_eq!(FileName::of_call(u32::MAX, "json").as_str(), "calls/4294967296.json");
    }
}
