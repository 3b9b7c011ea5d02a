//! The set of patterns that a recording uses: built-in ones, the user's, and those for personal data.
//!
//! [`Patterns::find`] reads a text once where nothing is found. A glance (`glance`) rules most texts out. Each
//! built-in pattern has an anchor, a cheap expression without which it cannot match; all anchors together make one
//! automaton with few states, the screen. Where it sees something, the anchors tell which patterns can match, and
//! those run one by one. All expressions are linear in the text, whatever it holds.
//!
//! It knows nothing of JSON: escapes and streams are the business of `body` and `stream`.

use super::builtin::{Builtin, PERSONAL, SECRETS};
use super::glance::Glance;
use super::likeness::Check;
use super::placeholders::placeholders;
use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;
use std::ops::Range;

/// The `[redact]` table of `looptape.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactConfig {
    /// Regular expressions (syntax of the `regex` crate). Group `secret`, or else the first group that
    /// took part, or else the whole match is replaced. A match should stay inside one JSON string: JSON text is seen as it is.
    pub patterns: Vec<String>,
    /// Names of built-in patterns that shall not run.
    pub disable: Vec<String>,
    /// Whether e-mail addresses, phone numbers and card numbers are replaced as well.
    pub personal: bool,
}

/// Why a `[redact]` table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternsError {
    #[error("[redact] patterns[{index}] is not a regular expression: {pattern}")]
    Invalid {
        index: usize,
        pattern: String,
        #[source]
        source: Box<regex::Error>,
    },
    #[error("[redact] disable: there is no pattern named \"{name}\"; the names are: {known}")]
    UnknownName { name: String, known: String },
}

/// The screen's automaton is built as the text demands; with too little room it would be rebuilt over and
/// over.
const SCREEN_CACHE_BYTES: usize = 16 << 20;

/// Compiled patterns. Compiling takes some milliseconds: do it once.
#[derive(Debug)]
pub struct Patterns {
    /// `None` if every text has to be looked at closely.
    glance: Option<Glance>,
    /// Any anchor.
    screen: Regex,
    anchors: RegexSet,
    /// In the order of `anchors`.
    builtin: Vec<Compiled>,
    user: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    expression: Regex,
    check: Check,
}

impl Patterns {
    /// The built-in patterns alone, personal data not included.
    pub fn builtin() -> Self {
        Self::assemble(SECRETS.iter().collect(), Vec::new())
    }

    /// The patterns that a configuration asks for.
    pub fn new(config: &RedactConfig) -> Result<Self, PatternsError> {
        for name in &config.disable {
            if !Self::names().any(|known| known == name) {
                let known = Self::names().collect::<Vec<_>>().join(", ");
                return Err(PatternsError::UnknownName { name: name.clone(), known });
            }
        }
        let user = config.patterns.iter().enumerate().map(|(index, pattern)| user_pattern(index, pattern));
        let personal = if config.personal { PERSONAL } else { &[] };
        let enabled = SECRETS
            .iter()
            .chain(personal)
            .filter(|builtin| !config.disable.iter().any(|name| name == builtin.name));
        Ok(Self::assemble(enabled.collect(), user.collect::<Result<_, _>>()?))
    }

    /// The names of all built-in patterns.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SECRETS.iter().chain(PERSONAL).map(|builtin| builtin.name)
    }

    fn assemble(enabled: Vec<&Builtin>, user: Vec<Compiled>) -> Self {
        let anchors: Vec<String> = enabled.iter().map(|builtin| builtin.anchor.expression()).collect();
        let screen = RegexBuilder::new(&anchors.join("|"))
            .unicode(false)
            .dfa_size_limit(SCREEN_CACHE_BYTES)
            .build()
            .expect("built-in anchors are valid expressions: a test compiles them all");
        let anchors = RegexSetBuilder::new(&anchors)
            .unicode(false)
            .build()
            .expect("built-in anchors are valid expressions: a test compiles them all");
        let glance = Glance::at(enabled.iter().map(|builtin| builtin.known_by));
        Self { glance, screen, anchors, builtin: enabled.into_iter().map(Compiled::builtin).collect(), user }
    }

    /// The spans of all secrets in `text`, in no particular order; they may overlap.
    /// Text that looks like a placeholder counts as one (see `placeholders`).
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = placeholders(text).map(|p| p.range).collect();
        let is_suspect = self.glance.as_ref().is_none_or(|glance| glance.suspects(text, &self.screen));
        if is_suspect && self.screen.is_match(text) {
            for index in self.anchors.matches(text) {
                self.builtin[index].find(text, &mut found);
            }
        }
        for pattern in &self.user {
            pattern.find(text, &mut found);
        }
        found
    }
}

impl Default for Patterns {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Compiled {
    fn builtin(builtin: &Builtin) -> Self {
        let expression = RegexBuilder::new(&builtin.shape.expression())
            .unicode(false)
            .build()
            .expect("built-in patterns are valid expressions: a test compiles them all");
        Self { expression, check: builtin.check }
    }

    fn find(&self, text: &[u8], found: &mut Vec<Range<usize>>) {
        let accepted = self.expression.captures_iter(text).filter_map(|captures| {
            let range = secret_group(&captures)?;
            let accepted = self.check.accepts(&text[range.clone()], text.get(range.end).copied());
            (accepted && !range.is_empty()).then_some(range)
        });
        found.extend(accepted);
    }
}

fn secret_group(captures: &Captures<'_>) -> Option<Range<usize>> {
    let group = captures
        .name("secret")
        .or_else(|| captures.iter().skip(1).flatten().next())
        .or_else(|| captures.get(0));
    group.map(|g| g.range())
}

fn user_pattern(index: usize, pattern: &str) -> Result<Compiled, PatternsError> {
    let expression = Regex::new(pattern).map_err(|source| PatternsError::Invalid {
        index,
        pattern: pattern.to_owned(),
        source: Box::new(source),
    })?;
    Ok(Compiled { expression, check: Check::Any })
}

#[cfg(test)]
mod tests {
    use super::super::builtin::Shape;
    use super::*;
    use proptest::prelude::*;
    use proptest::string::bytes_regex;

    /// Text that some built-in pattern's expression matches, or its label alone.
    fn secret() -> impl Strategy<Value = Vec<u8>> {
        let of = |builtin: &Builtin| {
            let (Shape::Token(expression) | Shape::Opaque(expression) | Shape::Labelled(expression)) =
                builtin.shape;
            bytes_regex(&format!("(?s-u){expression}")).expect("an expression without anchors").boxed()
        };
        prop::strategy::Union::new(SECRETS.iter().map(of))
    }

    fn around() -> impl Strategy<Value = Vec<u8>> {
        let words = prop::sample::select(vec![
            "",
            " ",
            "\\n",
            "\\u0020",
            "\"",
            "\\\"",
            "a b c d e f",
            "x/y.z",
            "some_longer_identifier_here",
            "%20",
            "\u{1b}[31m",
            "{\"a\": ",
            ",",
            "basic ",
            "api_key",
            "authorization: ",
            "bearer ",
            "password",
            "https://",
        ]);
        prop::collection::vec(words, 0..5).prop_map(|words| words.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whatever is found without a glance is found with it.
        #[test]
        fn a_glance_misses_nothing(before in around(), secret in secret(), after in around(), cut in any::<prop::sample::Index>()) {
            thread_local! {
                static PATTERNS: [Patterns; 2] = [
                    Patterns::builtin(),
                    Patterns { glance: None, ..Patterns::builtin() },
                ];
            }
            let whole = [before, secret, after].concat();
            let part = &whole[cut.index(whole.len() + 1)..];
            PATTERNS.with(|[glancing, reading]| {
                prop_assert_eq!(glancing.find(&whole), reading.find(&whole));
                prop_assert_eq!(glancing.find(part), reading.find(part));
                Ok(())
            })?;
        }
    }

    #[test]
    fn data_about_people_is_looked_for_everywhere() {
        let config = RedactConfig { personal: true, ..RedactConfig::default() };
        assert!(Patterns::new(&config).unwrap().glance.is_none());
        assert!(Patterns::builtin().glance.is_some());
    }
}
