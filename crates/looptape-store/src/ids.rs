//! Row keys, and the ways to name a trace on a command line.

use std::fmt;

/// A trace's row. Ids from outside repeat; keys do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceKey(pub(crate) i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlobId(pub(crate) i64);

/// A chain's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(pub(crate) i64);

impl NodeId {
    /// The chain without pieces.
    pub(crate) const EMPTY: Self = Self(0);
}

/// What a user may write to name a trace: `last`, `last~2`, `last-replay`, an id, a unique prefix of one, `ID#1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The n-th newest recording, 0 being the newest. Replays do not count, so that replaying `last` twice
    /// replays the same trace twice.
    Last(u32),
    /// The n-th newest replay.
    LastReplay(u32),
    /// An id or a prefix of one; with a run number, an earlier run of the same id.
    Id { prefix: String, run: Option<u32> },
}

impl Selector {
    /// Never fails: what is not a keyword is an id, and the look-up says if there is none.
    pub fn parse(text: &str) -> Self {
        let (word, back) = text.split_once('~').map_or((text, Some(0)), |(word, n)| (word, n.parse().ok()));
        match (word, back) {
            ("last", Some(n)) => return Self::Last(n),
            ("last-replay", Some(n)) => return Self::LastReplay(n),
            _ => {}
        }
        match text.rsplit_once('#').and_then(|(id, run)| Some((id, run.parse().ok()?))) {
            Some((id, run)) => Self::Id { prefix: id.to_owned(), run: Some(run) },
            None => Self::Id { prefix: text.to_owned(), run: None },
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(0) => f.write_str("last"),
            Self::Last(n) => write!(f, "last~{n}"),
            Self::LastReplay(0) => f.write_str("last-replay"),
            Self::LastReplay(n) => write!(f, "last-replay~{n}"),
            Self::Id { prefix, run: None } => f.write_str(prefix),
            Self::Id { prefix, run: Some(run) } => write!(f, "{prefix}#{run}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        assert_eq!(Selector::parse("last"), Selector::Last(0));
        assert_eq!(Selector::parse("last~3"), Selector::Last(3));
        assert_eq!(Selector::parse("last-replay"), Selector::LastReplay(0));
        assert_eq!(Selector::parse("last-replay~1"), Selector::LastReplay(1));
        assert_eq!(Selector::parse("job#2"), Selector::Id { prefix: "job".into(), run: Some(2) });
        assert_eq!(Selector::parse("last~x"), Selector::Id { prefix: "last~x".into(), run: None });
    }
}
