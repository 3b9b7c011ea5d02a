//! How large a model's context window is, as the price file says, with what it lacks.

use super::{Billed, TokenUsage, listed};
use std::cell::RefCell;
use std::collections::HashMap;

/// Windows that the price file does not state, by how the model's name begins. Sources: ai.google.dev/gemini-api/
/// docs/models, docs.cohere.com/docs/models, console.groq.com/docs/models, docs.mistral.ai/getting-started/models.
const UNLISTED: &[(&str, u64)] = &[
    ("gemini-2.5-pro", 1_048_576),
    ("gemini-3-pro", 1_048_576),
    ("gemini-3.1-pro", 1_048_576),
    ("gemini-2.5-flash", 1_048_576),
    ("command-a", 256_000),
    ("command-r", 128_000),
    ("llama-3.1-8b-instant", 131_072),
    ("llama-3.3-70b", 131_072),
    ("mistral-large", 131_072),
    ("mistral-medium", 131_072),
    ("mistral-small", 131_072),
];

/// By provider, asked model and answering model.
type Known = HashMap<String, HashMap<String, Option<u64>>>;

/// Beyond this many models the memory is filled anew.
const MOST_KNOWN: usize = 512;

thread_local! {
    /// Finding a model is slow, and a pure function of its names: it is looked for once.
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// Tokens of a model's context window; `None` if nobody knows.
pub fn context_window(provider: &str, model: Option<&str>, response_model: Option<&str>) -> Option<u64> {
    let name = model.or(response_model)?;
    KNOWN.with_borrow_mut(|known| {
        if let Some(window) = known.get(provider).and_then(|models| models.get(name)) {
            return *window;
        }
        if known.values().map(HashMap::len).sum::<usize>() >= MOST_KNOWN {
            known.clear();
        }
        let window = find(provider, model, response_model);
        known.entry(provider.to_owned()).or_default().insert(name.to_owned(), window);
        window
    })
}

fn find(provider: &str, model: Option<&str>, response_model: Option<&str>) -> Option<u64> {
    let usage = TokenUsage::default();
    let billed = Billed {
        provider,
        model,
        response_model,
        usage: &usage,
        service_tier: None,
        at_unix_us: None,
        stated_usd: None,
    };
    let names = || [model, response_model].into_iter().flatten();
    let unlisted = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        UNLISTED.iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, window)| *window)
    };
    listed::context_window(&billed).or_else(|| names().find_map(unlisted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_listed_or_known() {
        let window = |provider, model| context_window(provider, Some(model), None);
        assert_eq!(window("openai", "gpt-4o-mini-2024-07-18"), Some(128_000));
        assert_eq!(window("anthropic", "claude-sonnet-4-5-20250929"), Some(200_000));
        assert_eq!(window("gemini", "gemini-2.5-pro"), Some(1_048_576));
        assert_eq!(window("groq", "llama-3.3-70b-versatile"), Some(131_072));
        assert_eq!(window("openai", "house-model"), None);
        assert_eq!(context_window("openai", None, None), None);
    }
}
