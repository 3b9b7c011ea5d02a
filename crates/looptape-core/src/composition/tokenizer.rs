//! How tokens are counted where the provider only says how many there were in all.
//!
//! OpenAI's models have published tokenizers (`tiktoken-rs`, whose vocabularies are part of this program:
//! nothing is fetched). For all others there is an approximation ([`super::approximate`]). What a count is used
//! for is the share of one text in a prompt, so an error that all texts have in common does not matter.

use super::approximate;
use serde::Serialize;
use tiktoken_rs::tokenizer::{Tokenizer as Published, get_tokenizer};
use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

/// Text is counted in slices of about so many bytes: the time stays in proportion to the length, whatever
/// the text is made of. A cut costs at most one token.
const SLICE_BYTES: usize = 8192;

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokenizer {
    /// GPT-4o and later, the o series.
    #[serde(rename = "o200k_base")]
    O200kBase,
    /// GPT-4, GPT-3.5.
    #[serde(rename = "cl100k_base")]
    Cl100kBase,
    Approximate,
}

impl Tokenizer {
    pub(super) const COUNT: usize = 3;

    /// That of a model. A model that OpenAI published later than this program knows has its latest.
    pub fn of(provider: &str, model: Option<&str>) -> Self {
        let Some(model) = model else { return Self::Approximate };
        // Resellers write `openai/gpt-4o`.
        let name = model.rsplit('/').next().unwrap_or(model);
        match get_tokenizer(name) {
            Some(Published::O200kBase | Published::O200kHarmony) => Self::O200kBase,
            Some(_) => Self::Cl100kBase,
            None if provider == "openai" || name.starts_with("gpt-") => Self::O200kBase,
            None => Self::Approximate,
        }
    }

    /// Its name, as it is known elsewhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
            Self::Approximate => "approximate",
        }
    }

    /// Makes it ready, which takes a while the first time; it may be done aside, before the first count.
    pub fn prepare(self) {
        self.vocabulary();
    }

    /// How many tokens a text has.
    pub fn count(self, text: &str) -> u64 {
        match self.vocabulary() {
            Some(vocabulary) => slices(text).map(|slice| vocabulary.count_ordinary(slice) as u64).sum(),
            None => approximate::count(text),
        }
    }

    fn vocabulary(self) -> Option<&'static CoreBPE> {
        match self {
            Self::O200kBase => Some(o200k_base_singleton()),
            Self::Cl100kBase => Some(cl100k_base_singleton()),
            Self::Approximate => None,
        }
    }
}

/// A text in pieces, cut before white space where there is some near.
fn slices(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (slice, after) = rest.split_at(slice_end(rest));
        rest = after;
        Some(slice)
    })
}

fn slice_end(text: &str) -> usize {
    if text.len() <= SLICE_BYTES {
        return text.len();
    }
    let end = text.floor_char_boundary(SLICE_BYTES);
    let near = text.floor_char_boundary(SLICE_BYTES - SLICE_BYTES / 8);
    text[near..end].rfind(char::is_whitespace).map_or(end, |at| near + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_their_tokenizers() {
        use Tokenizer::{Approximate, Cl100kBase, O200kBase};
        for (provider, model, expected) in [
            ("openai", Some("gpt-4o-mini-2024-07-18"), O200kBase),
            ("openai", Some("gpt-5.1-codex"), O200kBase),
            ("openai", Some("o3-mini"), O200kBase),
            ("openai", Some("gpt-9-turbo"), O200kBase),
            ("openai", Some("gpt-4-0613"), Cl100kBase),
            ("openrouter", Some("openai/gpt-4.1-mini"), O200kBase),
            ("groq", Some("openai/gpt-oss-120b"), O200kBase),
            ("anthropic", Some("claude-sonnet-4-5"), Approximate),
            ("gemini", Some("gemini-2.5-pro"), Approximate),
            ("ollama", Some("llama3.2"), Approximate),
            ("openai", None, Approximate),
        ] {
            assert_eq!(Tokenizer::of(provider, model), expected, "{model:?}");
        }
    }

    #[test]
    fn counts_are_the_published_ones() {
        assert_eq!(Tokenizer::O200kBase.count("hello world"), 2);
        assert_eq!(Tokenizer::Cl100kBase.count("tiktoken is great!"), 6);
        // A special token in a text is text.
        assert!(Tokenizer::O200kBase.count("<|endoftext|>") > 1);
        assert_eq!(Tokenizer::O200kBase.count(""), 0);
    }

    #[test]
    fn long_and_hostile_texts_are_counted_in_slices() {
        let prose = "The quick brown fox jumps over the lazy dog. ".repeat(4000);
        let (whole, sliced) =
            (o200k_base_singleton().count_ordinary(&prose) as u64, Tokenizer::O200kBase.count(&prose));
        assert!(whole.abs_diff(sliced) <= prose.len() as u64 / SLICE_BYTES as u64 + 1, "{whole} {sliced}");
        for text in
            [" ".repeat(300_000), "\u{301}".repeat(100_000), "=".repeat(300_000), "東".repeat(100_000)]
        {
            assert_eq!(slices(&text).collect::<String>(), text);
            assert!(Tokenizer::O200kBase.count(&text) > 0);
        }
    }
}
