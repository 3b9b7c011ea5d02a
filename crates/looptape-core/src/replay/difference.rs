//! Where two requests differ: the first differing value, cut to the text around its changes.
//!
//! The same two requests give the same difference every time. Both sides are redacted already. How a change
//! is marked inside a text is `text_diff`'s business.

use super::components::{Component, Piece, Split};
use crate::canonical::{Json, Place, Rules, Treatment, digest_of, push_segment};
use crate::text_diff::{self, Extent, InlineDiff};
use serde::{Deserialize, Serialize};

/// Characters kept of a text that stands against nothing.
const ALONE_CHARS: usize = 400;

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

impl Difference {
    /// Of two texts, or of a text and nothing.
    pub fn of_texts(pointer: String, expected: Option<&str>, actual: Option<&str>) -> Self {
        let cut = |text: Option<&str>| text.map(|text| text_diff::shortened(text, ALONE_CHARS));
        match (expected, actual) {
            (Some(expected), Some(actual)) => {
                let diff = InlineDiff::between(expected, actual, Extent::Cut);
                Self { pointer, expected: Some(diff.first()), actual: Some(diff.second()), diff }
            }
            (expected, actual) => {
                let (expected, actual) = (cut(expected), cut(actual));
                let text = |side: &Option<String>| side.clone().unwrap_or_default();
                let diff = InlineDiff::between(&text(&expected), &text(&actual), Extent::Whole);
                Self { pointer, expected, actual, diff }
            }
        }
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
}
