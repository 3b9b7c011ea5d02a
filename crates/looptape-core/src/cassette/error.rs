//! Why a cassette cannot be read.

use super::manifest::VERSION;

/// What is wrong with a cassette; the file's place is the caller's to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CassetteError {
    #[error("it is no looptape cassette: {detail}")]
    NotACassette { detail: String },
    #[error(
        "it was written by a newer looptape (cassette version {found}, this one reads up to {VERSION}): update looptape"
    )]
    Newer { found: u64 },
    #[error("{file} is missing: restore it, for example with `git checkout`, or export the trace again")]
    Missing { file: String },
    #[error(
        "{file} is damaged or was changed by hand: its BLAKE3 hash is {found}, recorded was {expected}. Restore it, for \
         example with `git checkout`, or export the trace again"
    )]
    Damaged { file: String, expected: String, found: String },
    #[error("{file} cannot be understood: {detail}")]
    Invalid { file: String, detail: String },
    #[error("it is too large: {detail}")]
    TooLarge { detail: String },
    #[error("the file is cut off or damaged: {detail}. Fetch or export it again")]
    Truncated { detail: String },
    #[error("it holds `{name}`, which is no part of a cassette: whoever made it was not looptape")]
    Foreign { name: String },
}

impl CassetteError {
    pub(super) fn invalid(file: impl ToString, detail: impl ToString) -> Self {
        Self::Invalid { file: file.to_string(), detail: detail.to_string() }
    }
}
