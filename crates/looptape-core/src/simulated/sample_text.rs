//! Text that means nothing: words of about a token each, as sentences, from a seed.

use crate::draws::Draws;
use std::sync::LazyLock;

const WORDS: [&str; 64] = [
    "time", "year", "way", "day", "thing", "world", "life", "hand", "part", "child", "eye", "place", "work",
    "week", "case", "point", "group", "fact", "night", "home", "water", "room", "mother", "area", "money",
    "story", "month", "lot", "right", "study", "book", "word", "issue", "side", "kind", "head", "house",
    "friend", "father", "power", "hour", "game", "line", "end", "member", "law", "car", "city", "name",
    "team", "minute", "idea", "body", "back", "face", "level", "office", "door", "health", "art", "war",
    "party", "result", "change",
];

/// All of them in a row, with a space behind each.
static IN_A_ROW: LazyLock<String> = LazyLock::new(|| WORDS.map(|word| format!("{word} ")).concat());

/// So many bytes of words, without sentences, from some place of them on; the same place gives the same words.
pub(crate) fn of_bytes(place: u64, bytes: usize) -> String {
    let row = IN_A_ROW.as_str();
    let from = usize::try_from(place % row.len() as u64).unwrap_or(0);
    let mut text = String::with_capacity(bytes);
    text.push_str(&row[from..from + bytes.min(row.len() - from)]);
    while text.len() < bytes {
        text.push_str(&row[..(bytes - text.len()).min(row.len())]);
    }
    text
}

/// One word.
pub(crate) fn word(number: u64) -> &'static str {
    WORDS[(number % WORDS.len() as u64) as usize]
}

/// So many words, each followed by a space but the last of all; a sentence has twelve.
pub(crate) fn words(draws: Draws, count: u64) -> String {
    let mut text = String::with_capacity(usize::try_from(count.saturating_mul(6)).unwrap_or(0).min(1 << 20));
    for place in 0..count {
        let word = word(draws.number(place));
        if place % 12 == 0 {
            text.push(word.as_bytes()[0].to_ascii_uppercase().into());
            text.push_str(&word[1..]);
        } else {
            text.push_str(word);
        }
        if place % 12 == 11 || place + 1 == count {
            text.push('.');
        }
        if place + 1 < count {
            text.push(' ');
        }
    }
    text
}
