//! What is wrong with a scenario, and where.

use std::fmt;

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    #[error("{place}: {message}\n{}", place.shown())]
    Wrong { place: Place, message: String },
    /// Without a line: the value came from outside of the text.
    #[error("{0}")]
    Setting(String),
    #[error("there is no preset `{name}`; there are {}", presets())]
    NoPreset { name: String },
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    pub column: usize,
    /// The line itself.
    pub text: String,
}

/// How alike two names have to be to be offered.
const ALIKE: f64 = 0.5;

impl ScenarioError {
    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        let place = Place::at(text, error.span().map_or(0, |span| span.start));
        Self::Wrong { place, message: in_words(error.message()) }
    }
}

impl Place {
    pub(super) fn at(text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text[start..].lines().next().unwrap_or_default().to_owned();
        Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            text: line,
        }
    }

    /// The line, and a mark below the place.
    fn shown(&self) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        format!("{number} | {}\n{margin} | {}^", self.text, " ".repeat(self.column - 1))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// serde's message, with the nearest name in the place of all names where one is near.
pub(super) fn in_words(message: &str) -> String {
    let Some((kind, rest)) = ["unknown field `", "unknown variant `"]
        .into_iter()
        .find_map(|kind| Some((kind, message.strip_prefix(kind)?)))
    else {
        return message.trim_end().to_owned();
    };
    let quoted: Vec<&str> = rest.split('`').step_by(2).collect();
    // Every second piece is quoted: the first is what was found, the others what may stand there.
    let found = quoted.first().copied().unwrap_or_default();
    let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    let what = if kind.contains("field") { "key" } else { "value" };
    match nearest(found, &known) {
        Some(near) => format!("unknown {what} `{found}`: did you mean `{near}`?"),
        None => format!("unknown {what} `{found}`: there are {}", known.join(", ")),
    }
}

/// The name that is most like one that does not exist.
pub(super) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase();
    let best = known.iter().copied().max_by(|a, b| likeness(&found, a).total_cmp(&likeness(&found, b)))?;
    (likeness(&found, best) >= ALIKE).then_some(best)
}

/// One that has all of its words is most like it, then one that differs in few letters.
fn likeness(found: &str, name: &str) -> f64 {
    let words = |text: &str| text.split(['-', '_']).map(str::to_owned).collect::<Vec<_>>();
    let (own, other) = (words(found), words(name));
    let has_all = own.len() > 1 && own.iter().all(|word| other.contains(word));
    if has_all { 1.0 } else { strsim::normalized_damerau_levenshtein(found, name) }
}

fn presets() -> String {
    super::PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")
}
