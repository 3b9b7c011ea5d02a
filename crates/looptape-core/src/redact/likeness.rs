//! Checks beyond what an expression can say: does this value look like a key?
//!
//! An expression with a loose form (`password: …`) also meets documentation and code. These checks tell
//! `api_key=Zk3v9…` from `api_key=settings.api_key` by digits, variety and the words of templates. They
//! err towards leaving text alone; a vendor's own prefix needs no check.

/// What a value must fulfil after its expression matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing more.
    Any,
    /// The token ends where the match ends: it is not the head of longer data.
    Whole,
    /// Random, or at least one long unbroken word.
    KeyLike,
    /// Two digits, eight different characters, no template's words.
    Random,
    /// A letter, a digit or a symbol beside it, no template's words.
    Password,
    /// No template's words.
    NoTemplate,
    /// 8 to 15 digits, and no digit follows.
    Phone,
    /// A card number by the Luhn formula (ISO/IEC 7812-1), and no digit follows.
    Card,
}

impl Check {
    /// Whether `value`, followed by `next`, is accepted.
    pub(super) fn accepts(self, value: &[u8], next: Option<u8>) -> bool {
        match self {
            Self::Any => true,
            Self::Whole => !next.is_some_and(|b| b.is_ascii_alphanumeric() || b"_+=".contains(&b)),
            Self::KeyLike => longest_word(value) >= 16 || is_random(value),
            Self::Random => is_random(value) && !is_template(value) && !is_called(next),
            Self::Password => is_password(value) && !is_template(value) && !is_called(next),
            Self::NoTemplate => !is_template(value),
            Self::Phone => {
                (8..=15).contains(&digit_count(value)) && !next.is_some_and(|b| b.is_ascii_digit())
            }
            Self::Card => is_card(value) && !next.is_some_and(|b| b.is_ascii_digit()),
        }
    }
}

fn is_random(value: &[u8]) -> bool {
    digit_count(value) >= 2 && value.iter().any(u8::is_ascii_alphabetic) && distinct_bytes(value) >= 8
}

fn is_password(value: &[u8]) -> bool {
    let symbol = |b: &u8| b.is_ascii_digit() || b"!@#%^*+?~|".contains(b) || !b.is_ascii();
    value.iter().any(|b| b.is_ascii_alphabetic()) && value.iter().any(symbol)
}

/// Words by which documentation marks a value that is none.
const TEMPLATE_WORDS: &[&[u8]] = &[
    b"xxxx",
    b"your",
    b"placeholder",
    b"redacted",
    b"****",
    b"....",
    b"${",
    b"{{",
    b"<",
    b"changeme",
    b"process.env",
];

fn is_template(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    TEMPLATE_WORDS.iter().any(|word| memchr::memmem::find(&lower, word).is_some())
        || lower == b"password"
        || (lower.starts_with(b"{") && lower.ends_with(b"}"))
}

/// Code goes on: `password=load_v2(…)`, `token=config2[…]`.
fn is_called(next: Option<u8>) -> bool {
    matches!(next, Some(b'(' | b'['))
}

fn longest_word(value: &[u8]) -> usize {
    value.split(|b| !b.is_ascii_alphanumeric()).map(<[u8]>::len).max().unwrap_or(0)
}

fn digit_count(value: &[u8]) -> usize {
    value.iter().filter(|b| b.is_ascii_digit()).count()
}

fn distinct_bytes(value: &[u8]) -> u32 {
    let (mut low, mut high) = (0u128, 0u128);
    for &b in value {
        if b < 128 { low |= 1 << b } else { high |= 1 << (b - 128) }
    }
    low.count_ones() + high.count_ones()
}

fn is_card(value: &[u8]) -> bool {
    let digits = value.iter().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0'));
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    (13..=19).contains(&digit_count(value)) && sum.is_multiple_of(10) && distinct_bytes(value) > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_against_words() {
        assert!(Check::Random.accepts(b"Zk3v9QpLm2XwT7aB", None));
        assert!(!Check::Random.accepts(b"settings.openai_api_key", None));
        assert!(!Check::Random.accepts(b"your-api-key-goes-here-123", None));
        assert!(!Check::Random.accepts(b"config2.load_v2_key_now", Some(b'(')));
        assert!(Check::KeyLike.accepts(b"sk-verysecretverysecret", None));
        assert!(!Check::KeyLike.accepts(b"sk-loading-indicator-container", None));
        assert!(Check::Password.accepts(b"hunter2hunter", None));
        assert!(!Check::Password.accepts(b"required", None));
    }

    #[test]
    fn cards_by_luhn() {
        assert!(Check::Card.accepts(b"4111 1111 1111 1111", None));
        assert!(!Check::Card.accepts(b"4111 1111 1111 1112", None));
        assert!(!Check::Card.accepts(b"4111 1111 1111 1111", Some(b'1')));
        assert!(!Check::Card.accepts(b"0000000000000000", None));
    }
}
