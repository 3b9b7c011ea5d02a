//! Where two requests differ, and how to show it: the first differing value, cut to the text around the
//! change, with the change marked inside it.
//!
//! The same two requests give the same difference every time: nothing here is bounded by time, only by
//! length. Both sides are redacted already.

use super::components::{Component, Piece, Split};
use crate::canonical::{Json, Place, Rules, Treatment, digest_of, push_segment};
use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff as WordDiff};
use std::fmt;

/// Characters kept on each side of a change.
const CONTEXT_CHARS: usize = 60;
/// Characters kept of a change.
const CHANGE_CHARS: usize = 400;

/// The first difference of two requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// JSON pointer into the request body; empty if the body is not JSON.
    pub pointer: String,
    /// The recorded value, cut around the change; `None` if the recording has none there.
    pub expected: Option<String>,
    /// The live value, cut around the change; `None` if the live request has none there.
    pub actual: Option<String>,
    pub diff: InlineDiff,
}

/// Both texts in one, word by word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InlineDiff(pub Vec<Span>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub change: Change,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Same,
    /// Recorded, not sent.
    Removed,
    /// Sent, not recorded.
    Added,
}

impl fmt::Display for InlineDiff {
    /// `same [-removed-]{+added+} same`, for places without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|span| match span.change {
            Change::Same => f.write_str(&span.text),
            Change::Removed => write!(f, "[-{}-]", span.text),
            Change::Added => write!(f, "{{+{}+}}", span.text),
        })
    }
}

impl Difference {
    /// Of two texts, or of a text and nothing.
    pub fn of_texts(pointer: String, expected: Option<&str>, actual: Option<&str>) -> Self {
        let (expected, actual) = match (expected, actual) {
            (Some(expected), Some(actual)) => {
                let (expected, actual) = cut_around_change(expected, actual);
                (Some(expected), Some(actual))
            }
            (expected, actual) => (expected.map(cut_end), actual.map(cut_end)),
        };
        let diff = inline(expected.as_deref().unwrap_or_default(), actual.as_deref().unwrap_or_default());
        Self { pointer, expected, actual, diff }
    }

    /// The first difference of two JSON values, every field compared as it is; `None` if they are equal.
    pub fn of_json(expected: &serde_json::Value, actual: &serde_json::Value) -> Option<Self> {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        let mut search = Search { rules: Rules::everything_counts(), pointer: String::new() };
        let parse = |text| Json::parse(text);
        search.values(Place::ROOT, parse(expected.as_bytes()).as_ref(), parse(actual.as_bytes()).as_ref())
    }

    fn of_values(pointer: String, expected: Option<&Json<'_>>, actual: Option<&Json<'_>>) -> Self {
        let (expected, actual) = (expected.map(Json::to_readable), actual.map(Json::to_readable));
        Self::of_texts(pointer, expected.as_deref(), actual.as_deref())
    }
}

/// The first difference within one component; a history is searched from message `common` on. `None` if
/// nothing differs but which id points at which.
pub(super) fn find(
    component: Component,
    common: usize,
    recorded: &Split<'_>,
    live: &Split<'_>,
) -> Option<Difference> {
    let rules = live.rules;
    if component == Component::History {
        return messages(rules, recorded.history.get(common), live.history.get(common));
    }
    let (recorded, live) = (recorded.pieces(component), live.pieces(component));
    let beside =
        |piece: &Piece<'_>, others: &[Piece<'_>]| others.iter().position(|o| o.pointer == piece.pointer);
    recorded.iter().find_map(|r| pieces(rules, Some(r), beside(r, live).map(|at| &live[at]))).or_else(|| {
        live.iter().filter(|l| beside(l, recorded).is_none()).find_map(|l| pieces(rules, None, Some(l)))
    })
}

/// Two messages that are known to differ.
fn messages(rules: &Rules, recorded: Option<&Piece<'_>>, live: Option<&Piece<'_>>) -> Option<Difference> {
    pieces(rules, recorded, live).or_else(|| {
        let pointer = live.or(recorded)?.pointer.clone();
        Some(Difference::of_values(pointer, recorded.map(|p| p.json), live.map(|p| p.json)))
    })
}

fn pieces(rules: &Rules, recorded: Option<&Piece<'_>>, live: Option<&Piece<'_>>) -> Option<Difference> {
    let either = live.or(recorded)?;
    let mut search = Search { rules, pointer: either.pointer.clone() };
    search.values(either.place, recorded.map(|p| p.json), live.map(|p| p.json))
}

struct Search<'r> {
    rules: &'r Rules,
    pointer: String,
}

impl Search<'_> {
    fn values(
        &mut self,
        place: Place,
        expected: Option<&Json<'_>>,
        actual: Option<&Json<'_>>,
    ) -> Option<Difference> {
        match self.rules.treatment(place) {
            Treatment::Ignored | Treatment::Collected => return None,
            Treatment::Renamed
                if matches!((expected, actual), (Some(Json::String(_)), Some(Json::String(_)))) =>
            {
                return None;
            }
            Treatment::Renamed | Treatment::Exact => {}
        }
        match (expected, actual) {
            (Some(Json::Array(expected)), Some(Json::Array(actual))) => self.arrays(place, expected, actual),
            (Some(expected @ Json::Object(_)), Some(actual @ Json::Object(_))) => {
                self.objects(place, expected, actual)
            }
            (Some(expected), Some(actual)) if digest_of(expected) == digest_of(actual) => None,
            (None, None) => None,
            _ => Some(Difference::of_values(self.pointer.clone(), expected, actual)),
        }
    }

    fn arrays(&mut self, place: Place, expected: &[Json<'_>], actual: &[Json<'_>]) -> Option<Difference> {
        let place = self.rules.element(place);
        (0..expected.len().max(actual.len())).find_map(|index| {
            self.within(index.to_string().as_bytes(), |this| {
                this.values(place, expected.get(index), actual.get(index))
            })
        })
    }

    fn objects(&mut self, place: Place, expected: &Json<'_>, actual: &Json<'_>) -> Option<Difference> {
        let (Json::Object(recorded), Json::Object(live)) = (expected, actual) else { return None };
        let mut keys: Vec<&[u8]> = recorded.iter().chain(live).map(|(key, _)| key.as_ref()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().find_map(|key| {
            let place = self.rules.member(place, key);
            let values = |members| all_named(members, key);
            let (expected, actual) = (values(recorded), values(live));
            (0..expected.len().max(actual.len())).find_map(|nth| {
                self.within(key, |this| {
                    this.values(place, expected.get(nth).copied(), actual.get(nth).copied())
                })
            })
        })
    }

    fn within(
        &mut self,
        segment: &[u8],
        search: impl FnOnce(&mut Self) -> Option<Difference>,
    ) -> Option<Difference> {
        let before = self.pointer.len();
        self.pointer.push('/');
        push_segment(&mut self.pointer, segment);
        let found = search(self);
        self.pointer.truncate(before);
        found
    }
}

/// The values under a key: more than one if the key is repeated.
fn all_named<'m, 'a>(members: &'m [(std::borrow::Cow<'a, [u8]>, Json<'a>)], key: &[u8]) -> Vec<&'m Json<'a>> {
    members.iter().filter(|(name, _)| name.as_ref() == key).map(|(_, value)| value).collect()
}

/// Cuts both texts to the part that differs and some text around it. The cuts fall between the same
/// characters on both sides.
fn cut_around_change(expected: &str, actual: &str) -> (String, String) {
    let (a, b): (Vec<char>, Vec<char>) = (expected.chars().collect(), actual.chars().collect());
    let prefix = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - prefix;
    let suffix = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
    let start = prefix.saturating_sub(CONTEXT_CHARS);
    let cut = |text: &[char]| {
        let changed_until = text.len() - suffix;
        let end = text.len().min(changed_until + CONTEXT_CHARS);
        let mut out = String::from(if start > 0 { "…" } else { "" });
        out.extend(&text[start..prefix]);
        push_shortened(&mut out, &text[prefix..changed_until]);
        out.extend(&text[changed_until..end]);
        out.push_str(if end < text.len() { "…" } else { "" });
        out
    };
    (cut(&a), cut(&b))
}

fn push_shortened(out: &mut String, changed: &[char]) {
    if changed.len() <= CHANGE_CHARS {
        out.extend(changed);
        return;
    }
    let half = CHANGE_CHARS / 2;
    out.extend(&changed[..half]);
    out.push_str(&format!(" …{} characters… ", changed.len() - 2 * half));
    out.extend(&changed[changed.len() - half..]);
}

fn cut_end(text: &str) -> String {
    let mut out = String::new();
    push_shortened(&mut out, &text.chars().collect::<Vec<char>>());
    out
}

fn inline(expected: &str, actual: &str) -> InlineDiff {
    let diff = WordDiff::from_words(expected, actual);
    let mut spans: Vec<Span> = Vec::new();
    for change in diff.iter_all_changes() {
        let kind = match change.tag() {
            ChangeTag::Equal => Change::Same,
            ChangeTag::Delete => Change::Removed,
            ChangeTag::Insert => Change::Added,
        };
        match spans.last_mut() {
            Some(open) if open.change == kind => open.text.push_str(change.value()),
            _ => spans.push(Span { change: kind, text: change.value().to_owned() }),
        }
    }
    InlineDiff(join_changes(spans))
}

/// Joins changes with nothing but blanks between them, so that a rewritten sentence reads as one change
/// and not as one per word.
fn join_changes(spans: Vec<Span>) -> Vec<Span> {
    let last = spans.len().saturating_sub(1);
    let mut joined: Vec<Span> = Vec::new();
    let (mut removed, mut added) = (String::new(), String::new());
    for (index, span) in spans.into_iter().enumerate() {
        let in_change = !(removed.is_empty() && added.is_empty());
        match span.change {
            Change::Removed => removed.push_str(&span.text),
            Change::Added => added.push_str(&span.text),
            Change::Same if in_change && index < last && span.text.trim().is_empty() => {
                removed.push_str(&span.text);
                added.push_str(&span.text);
            }
            Change::Same => {
                push_change(&mut joined, &mut removed, &mut added);
                joined.push(span);
            }
        }
    }
    push_change(&mut joined, &mut removed, &mut added);
    joined
}

fn push_change(spans: &mut Vec<Span>, removed: &mut String, added: &mut String) {
    for (change, text) in [(Change::Removed, removed), (Change::Added, added)] {
        if !text.is_empty() {
            spans.push(Span { change, text: std::mem::take(text) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Wire;

    fn first(component: Component, common: usize, recorded: &str, live: &str) -> Option<(String, String)> {
        let (recorded, live) =
            (Json::parse(recorded.as_bytes()).unwrap(), Json::parse(live.as_bytes()).unwrap());
        let wire = Some(Wire::OpenAiChat);
        let found = find(component, common, &Split::new(wire, &recorded), &Split::new(wire, &live))?;
        Some((found.pointer, found.diff.to_string()))
    }

    #[test]
    fn the_first_difference_is_named_and_shown() {
        let shown = |pointer: &str, diff: &str| Some((pointer.to_owned(), diff.to_owned()));
        let cases = [
            (Component::Model, r#"{"model":"a"}"#, r#"{"model":"b"}"#, shown("/model", "[-a-]{+b+}")),
            (Component::Parameters, r#"{"n":1}"#, r#"{"n":1.0,"user":"x"}"#, None),
            (Component::Parameters, r#"{"n":1}"#, r#"{"n":1,"top/p":2}"#, shown("/top~1p", "{+2+}")),
            (Component::Parameters, r#"{"n":1}"#, "{}", shown("/n", "[-1-]")),
            (
                Component::System,
                r#"{"messages":[{"role":"system","content":"Be very brief."}]}"#,
                r#"{"messages":[{"role":"system","content":"Be quite brief."}]}"#,
                shown("/messages/0/content", "Be [-very-]{+quite+} brief."),
            ),
            (
                Component::Tools,
                r#"{"tools":[{"function":{"name":"a"}},{"function":{"name":"b"}}]}"#,
                r#"{"tools":[{"function":{"name":"a"}}]}"#,
                shown("/tools/1", r#"[-{"function":{"name":"b"}}-]"#),
            ),
            (
                Component::History,
                r#"{"messages":[{"role":"tool","tool_call_id":"a","content":"12 °C"}]}"#,
                r#"{"messages":[{"role":"tool","tool_call_id":"b","content":"13 °C"}]}"#,
                shown("/messages/0/content", "[-12-]{+13+} °C"),
            ),
        ];
        for (component, recorded, live, expected) in cases {
            assert_eq!(first(component, 0, recorded, live), expected, "{recorded} {live}");
        }
    }

    #[test]
    fn messages_that_differ_only_in_what_ids_point_at_are_shown_whole() {
        let found = first(
            Component::History,
            0,
            r#"{"messages":[{"role":"tool","tool_call_id":"a"}]}"#,
            r#"{"messages":[{"role":"tool","tool_call_id":"b"}]}"#,
        );
        assert_eq!(found.expect("always something to show").0, "/messages/0");
    }

    #[test]
    fn long_texts_are_cut_around_the_change() {
        let (before, after) = ("x".repeat(5000), " y".repeat(5000));
        let text = |word: &str| format!("{before} {word}{after}");
        let difference = Difference::of_texts(String::new(), Some(&text("old")), Some(&text("new")));
        let shown = difference.diff.to_string();
        assert!(
            shown.contains("[-old-]{+new+}") && shown.starts_with('…') && shown.ends_with('…'),
            "{shown}"
        );
        assert!(shown.chars().count() < 300, "{shown}");
        let rewritten =
            Difference::of_texts(String::new(), Some(&"a b ".repeat(9000)), Some(&"c d ".repeat(9000)));
        assert!(rewritten.diff.to_string().chars().count() < 1200);
    }

    proptest::proptest! {
        /// Both texts can be read off an inline diff, and cutting never panics.
        #[test]
        fn nothing_is_lost_in_short_texts(a in "[a-cé \n]{0,60}", b in "[a-cé \n]{0,60}") {
            let difference = Difference::of_texts(String::new(), Some(&a), Some(&b));
            let side = |without: Change| -> String {
                difference.diff.0.iter().filter(|s| s.change != without).map(|s| s.text.as_str()).collect()
            };
            proptest::prop_assert_eq!(side(Change::Added), a);
            proptest::prop_assert_eq!(side(Change::Removed), b);
        }
    }
}
