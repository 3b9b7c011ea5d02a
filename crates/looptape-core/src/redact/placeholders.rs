//! Placeholders: what stands in stored bytes where a secret was.
//!
//! The form is `[[looptape:secret:N]]`: ASCII, safe inside JSON strings, and without a character that any
//! of the escapings on its way would change. Numbers count from 1 within a trace, in order of first
//! occurrence; the same secret has the same number throughout.
//!
//! Invariant: every placeholder in stored bytes was written by a [`Vault`]. Text that already looks like
//! a placeholder when it arrives (an agent reading a recording, or somebody hostile) is treated as one
//! more secret value and gets a number of its own, so it can never be taken for another's.
//!
//! A vault never holds a secret: it keeps keyed hashes, and the key is the caller's. It is not a way back.

use memchr::memmem::Finder;
use std::sync::LazyLock;
use std::{collections::BTreeMap, fmt, ops::Range};

const OPENING: &[u8] = b"[[looptape:secret:";
const CLOSING: &[u8] = b"]]";

/// Made once: most texts are short, and have none.
static OPENINGS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(OPENING));

/// The placeholder as a regular expression, for those who search or mask with one.
pub const PLACEHOLDER: &str = r"\[\[looptape:secret:[1-9][0-9]{0,9}\]\]";

/// A secret's number within its trace; shown as the placeholder itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretNumber(pub u32);

impl fmt::Display for SecretNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[[looptape:secret:{}]]", self.0)
    }
}

/// A placeholder found in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub range: Range<usize>,
    pub number: SecretNumber,
}

/// All placeholders in `bytes`, in order.
pub fn placeholders(bytes: &[u8]) -> impl Iterator<Item = Found> + '_ {
    OPENINGS.find_iter(bytes).filter_map(move |start| {
        let rest = &bytes[start + OPENING.len()..];
        let digits = rest.iter().take(10).take_while(|b| b.is_ascii_digit()).count();
        let number = canonical_number(&rest[..digits])?;
        let end = start + OPENING.len() + digits + CLOSING.len();
        rest[digits..].starts_with(CLOSING).then_some(Found { range: start..end, number })
    })
}

/// Numbers have one spelling: no leading zero, and they fit.
fn canonical_number(digits: &[u8]) -> Option<SecretNumber> {
    let text = std::str::from_utf8(digits).ok()?;
    (!text.starts_with('0')).then(|| text.parse().ok().map(SecretNumber))?
}

/// The key of a vault's hashes. Whoever holds it and the hashes can test guesses: keep it with the
/// database or, better, throw it away with the process.
#[derive(Clone)]
pub struct VaultKey(pub [u8; 32]);

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey(…)")
    }
}

/// Gives out the numbers of one trace.
#[derive(Clone, Debug)]
pub struct Vault {
    key: VaultKey,
    numbers: BTreeMap<[u8; 32], SecretNumber>,
    count: u32,
}

impl Vault {
    /// A vault for a new trace.
    pub fn new(key: VaultKey) -> Self {
        Self::resume(key, 0)
    }

    /// A vault for a trace that already holds the numbers 1 to `count`. What those stood for is not
    /// known any more: a secret seen before the restart gets a new number after it.
    pub fn resume(key: VaultKey, count: u32) -> Self {
        Self { key, numbers: BTreeMap::new(), count }
    }

    /// How many numbers were given out, to be kept for [`Vault::resume`].
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The number of a secret value: its own if it was seen before, else the next.
    pub fn number(&mut self, secret: &[u8]) -> SecretNumber {
        let digest = *blake3::keyed_hash(&self.key.0, secret).as_bytes();
        *self.numbers.entry(digest).or_insert_with(|| {
            self.count = self.count.saturating_add(1);
            SecretNumber(self.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<u32> {
        placeholders(text.as_bytes()).map(|f| f.number.0).collect()
    }

    #[test]
    fn only_the_one_spelling_counts() {
        assert_eq!(numbers("a[[looptape:secret:1]][[looptape:secret:42]]"), [1, 42]);
        for no in [
            "[[looptape:secret:]]",
            "[[looptape:secret:0]]",
            "[[looptape:secret:01]]",
            "[[looptape:secret:1]",
            "[[looptape:secret:4294967296]]",
            "[[looptape:secret:12345678901]]",
            "[looptape:secret:1]]",
            "[[LOOPTAPE:secret:1]]",
        ] {
            assert_eq!(numbers(no), [0u32; 0], "{no}");
        }
        assert_eq!(numbers("[[looptape:secret:[[looptape:secret:3]]"), [3]);
    }

    #[test]
    fn the_expression_says_the_same() {
        let expression = regex::Regex::new(PLACEHOLDER).unwrap();
        let text = "[[looptape:secret:7]] [[looptape:secret:07]] [[looptape:secret:4294967295]]";
        let by_expression: Vec<_> = expression.find_iter(text).map(|m| m.range()).collect();
        assert_eq!(by_expression, placeholders(text.as_bytes()).map(|f| f.range).collect::<Vec<_>>());
    }

    #[test]
    fn same_value_same_number() {
        let mut vault = Vault::new(VaultKey([7; 32]));
        assert_eq!([vault.number(b"a"), vault.number(b"b"), vault.number(b"a")].map(|n| n.0), [1, 2, 1]);
        assert_eq!(vault.count(), 2);
        let mut later = Vault::resume(VaultKey([7; 32]), vault.count());
        assert_eq!(later.number(b"a").0, 3);
        assert!(!format!("{vault:?}").contains("[7"), "the key is not shown");
    }
}
