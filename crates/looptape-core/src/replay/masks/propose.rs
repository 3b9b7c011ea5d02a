//! Masks that would make two requests match: what a divergence report and `learn` offer.
//!
//! Offered only where all that differs looks volatile: words with a digit in them, on both sides, in texts
//! of the same form; never the model, the tools, or a number that is a parameter. Whether such a value may
//! differ is for people to say: a mask is offered, not applied.
//!
//! What is offered is enough: the two requests were compared with it.

use super::configured::{ConfiguredMask, MaskEntry};
use super::{CLOSING, Masking, OPENING};
use crate::canonical::{Json, Place, Rules, Treatment, digest_of, push_segment};
use crate::replay::components::{self, Component, Endpoint};
use crate::wire::Wire;
use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::borrow::Cow;

/// More entries than this are no project's settings any more.
const MOST_ENTRIES: usize = 12;
/// Words of a text compared one by one; the beginning and the end that are equal do not count.
const WORDS_COMPARED: usize = 4000;
/// Bytes of text around a value that a pattern holds on to.
const CONTEXT_BYTES: usize = 32;

/// A request as it is compared.
#[derive(Clone, Copy)]
pub(in crate::replay) struct Request<'r> {
    pub(in crate::replay) wire: Option<Wire>,
    pub(in crate::replay) endpoint: &'r Endpoint,
    pub(in crate::replay) body: &'r [u8],
}

/// The masks with which a live request would match a recorded one, beyond those that apply already.
pub(in crate::replay) fn propose(
    masking: &Masking,
    recorded: Request<'_>,
    live: Request<'_>,
) -> Option<Vec<MaskEntry>> {
    if recorded.endpoint != live.endpoint || recorded.wire != live.wire {
        return None;
    }
    let mut entries: Vec<MaskEntry> = Vec::new();
    // Values that were hidden behind others show in a second round.
    for _ in 0..3 {
        let masks = entries.iter().filter_map(|entry| ConfiguredMask::try_from(entry).ok());
        let masking = masking.clone().with(masks);
        if would_match(&masking, recorded, live) {
            return (!entries.is_empty()).then_some(entries);
        }
        let (mut a, mut b) = (Json::parse(recorded.body)?, Json::parse(live.body)?);
        masking.apply(recorded.wire, recorded.endpoint, &mut a);
        masking.apply(live.wire, live.endpoint, &mut b);
        let rules = components::rules(recorded.wire, recorded.endpoint);
        let found = differences(recorded.wire, rules, &a, &b)?;
        for entry in found {
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        if entries.len() > MOST_ENTRIES {
            return None;
        }
    }
    None
}

fn would_match(masking: &Masking, recorded: Request<'_>, live: Request<'_>) -> bool {
    let masked = |request: Request<'_>| masking.key(request.wire, request.endpoint, request.body);
    match (masked(recorded), masked(live)) {
        (Some((recorded, recorded_spans)), Some((live, live_spans))) => {
            recorded.renamed == live.renamed && masking.pairs(&recorded_spans, &live_spans).is_ok()
        }
        _ => false,
    }
}

/// An entry for each value that differs; `None` if anything differs that no mask should hide.
fn differences(
    wire: Option<Wire>,
    rules: &'static Rules,
    recorded: &Json<'_>,
    live: &Json<'_>,
) -> Option<Vec<MaskEntry>> {
    let (Json::Object(recorded), Json::Object(live)) = (recorded, live) else { return None };
    let mut search = Search { rules, wire, pointer: String::new(), component: None, entries: Vec::new() };
    search.members(recorded, live, Place::ROOT)?;
    Some(search.entries)
}

struct Search<'r> {
    rules: &'r Rules,
    wire: Option<Wire>,
    /// With `*` for indices.
    pointer: String,
    /// The component of the top-level member that is looked into.
    component: Option<Component>,
    entries: Vec<MaskEntry>,
}

type Member<'a> = (Cow<'a, [u8]>, Json<'a>);

impl Search<'_> {
    fn members(&mut self, recorded: &[Member<'_>], live: &[Member<'_>], place: Place) -> Option<()> {
        let rules = self.rules;
        let counts = |member: &&Member<'_>| {
            let treatment = rules.treatment(rules.member(place, &member.0));
            !matches!(treatment, Treatment::Ignored | Treatment::Collected)
        };
        let (mut recorded, mut live) = (recorded.iter().filter(counts), live.iter().filter(counts));
        loop {
            match (recorded.next(), live.next()) {
                (None, None) => return Some(()),
                (Some((name, recorded)), Some((live_name, live))) if name == live_name => {
                    if self.pointer.is_empty() {
                        self.component = Some(
                            self.wire.map_or(Component::Parameters, |w| components::component_of(w, name)),
                        );
                    }
                    let place = rules.member(place, name);
                    self.within(name, |search| search.values(recorded, live, place))?;
                }
                _ => return None,
            }
        }
    }

    fn values(&mut self, recorded: &Json<'_>, live: &Json<'_>, place: Place) -> Option<()> {
        if digest_of(recorded) == digest_of(live) {
            return Some(());
        }
        let is_renamed = self.rules.treatment(place) == Treatment::Renamed;
        match (recorded, live) {
            (Json::String(_), Json::String(_)) if is_renamed => Some(()),
            (Json::Array(recorded), Json::Array(live)) if recorded.len() == live.len() => {
                let place = self.rules.element(place);
                recorded.iter().zip(live).try_for_each(|(recorded, live)| {
                    self.within(b"*", |search| search.values(recorded, live, place))
                })
            }
            (Json::Object(recorded), Json::Object(live)) => self.members(recorded, live, place),
            (Json::String(recorded), Json::String(live)) => self.texts(recorded, live),
            (Json::Number(_), Json::Number(_)) => self.number(),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        matches!(self.component, Some(Component::History)).then(|| self.add(None))
    }

    fn texts(&mut self, recorded: &[u8], live: &[u8]) -> Option<()> {
        let is_name = ["/role", "/type", "/name"].iter().any(|end| self.pointer.ends_with(end));
        if is_name || matches!(self.component, Some(Component::Model | Component::Tools)) {
            return None;
        }
        let (recorded, live) = (std::str::from_utf8(recorded).ok()?, std::str::from_utf8(live).ok()?);
        for change in changes(recorded, live)? {
            let pattern = change.pattern()?;
            self.add(Some(pattern));
        }
        Some(())
    }

    fn add(&mut self, pattern: Option<String>) {
        let entry = MaskEntry {
            pointer: self.pointer.clone(),
            wire: self.wire.map(|wire| wire.as_str().to_owned()),
            kind: None,
            pattern,
        };
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
    }

    fn within(&mut self, segment: &[u8], search: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let before = self.pointer.len();
        self.pointer.push('/');
        push_segment(&mut self.pointer, segment);
        let found = search(self);
        self.pointer.truncate(before);
        found
    }
}

/// A value that differs, and what stands around it on both sides.
#[derive(Debug, PartialEq, Eq)]
struct Changed<'t> {
    /// On its line, and since the last change or mask.
    before: &'t str,
    begins: Begins,
    recorded: &'t str,
    live: &'t str,
    after: &'t str,
}

/// Where [`Changed::before`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    WithItsLine,
    Within,
}

/// The values in which two texts differ; `None` if the texts differ in more than that.
fn changes<'t>(recorded: &'t str, live: &'t str) -> Option<Vec<Changed<'t>>> {
    let (a, b) = (words(recorded), words(live));
    let same = |(a, b): &(&(usize, &str), &(usize, &str))| a.1 == b.1;
    let start = a.iter().zip(&b).take_while(same).count();
    let rest = a.len().min(b.len()) - start;
    let end = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(same).count();
    let (middle_a, middle_b) = (&a[start..a.len() - end], &b[start..b.len() - end]);
    if middle_a.len() + middle_b.len() > WORDS_COMPARED {
        return None;
    }
    let only_words = |words: &[(usize, &'t str)]| words.iter().map(|(_, word)| *word).collect::<Vec<_>>();
    let operations = capture_diff_slices(Algorithm::Myers, &only_words(middle_a), &only_words(middle_b));
    let mut spans: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> = Vec::new();
    for operation in operations {
        if matches!(operation, DiffOp::Equal { .. }) {
            continue;
        }
        let (old, new) = (operation.old_range(), operation.new_range());
        match spans.last_mut() {
            // One mark between two changes belongs to the value: `1.2.3`.
            Some((last_old, last_new))
                if old.start <= last_old.end + 1
                    && new.start <= last_new.end + 1
                    && !middle_a[last_old.end..old.start].iter().any(|(_, word)| is_blank(word)) =>
            {
                (last_old.end, last_new.end) = (old.end, new.end);
            }
            _ => spans.push((old, new)),
        }
    }
    let text = |whole: &'t str, words: &[(usize, &'t str)], range: &std::ops::Range<usize>| {
        let from = words.get(range.start).map(|(at, _)| *at)?;
        let (last_at, last) = words.get(range.end.checked_sub(1)?)?;
        Some((from, whole.get(from..last_at + last.len())?))
    };
    let mut changed_until = None;
    spans
        .into_iter()
        .map(|(old, new)| {
            let (at, recorded_value) = text(recorded, middle_a, &old)?;
            let (_, live_value) = text(live, middle_b, &new)?;
            let end = at + recorded_value.len();
            let (before, begins) = tail(&recorded[..at], changed_until.replace(end));
            Some(Changed {
                before,
                begins,
                recorded: recorded_value,
                live: live_value,
                after: head(&recorded[end..]),
            })
        })
        .collect()
}

/// Runs of letters and digits, and every other character by itself, with their places.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut from = 0;
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        let is_word = c.is_alphanumeric();
        if at > from && !(is_word && in_word) {
            words.push((from, &text[from..at]));
            from = at;
        }
        in_word = is_word;
    }
    if from < text.len() {
        words.push((from, &text[from..]));
    }
    words
}

fn is_blank(word: &str) -> bool {
    word.chars().all(char::is_whitespace)
}

/// The end of a text: on its last line, since the last mask and the last change.
fn tail(text: &str, changed_until: Option<usize>) -> (&str, Begins) {
    let mut from = text.len().saturating_sub(CONTEXT_BYTES).max(changed_until.unwrap_or(0));
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let begins_line = |at: usize| at == 0 || text[..at].ends_with('\n');
    let cut = text[from..].rfind(['\n', '\u{fdd0}', '\u{fdd1}']);
    let start = cut.map_or(from, |at| from + at + text[from + at..].chars().next().map_or(0, char::len_utf8));
    let begins =
        if begins_line(start) && Some(start) != changed_until { Begins::WithItsLine } else { Begins::Within };
    (&text[start..], begins)
}

/// The first character of a text, if it is no mask's.
fn head(text: &str) -> &str {
    let first = text.chars().next().filter(|&c| !(OPENING.contains(c) || CLOSING.contains(c) || c == '\n'));
    &text[..first.map_or(0, char::len_utf8)]
}

/// An expression for the text itself, with no more backslashes than it needs.
fn literally(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression
}

impl Changed<'_> {
    /// A pattern whose group is the value; `None` if the value does not look volatile.
    fn pattern(&self) -> Option<String> {
        let values = [self.recorded, self.live];
        let all = |is: fn(char) -> bool| values.iter().all(|value| value.chars().all(is));
        if !values.iter().all(|value| value.chars().any(|c| c.is_ascii_digit())) {
            return None;
        }
        let value = if all(|c| c.is_ascii_digit()) {
            r"\d+"
        } else if all(|c| c.is_ascii_digit() || c == '.') {
            r"[\d.]+"
        } else if all(char::is_alphanumeric) {
            "[[:alnum:]]+"
        } else if all(|c| !c.is_whitespace() && c != '\u{fdd0}' && c != '\u{fdd1}') {
            r"\S+?"
        } else {
            return None;
        };
        let has_hold = !self.before.trim().is_empty();
        let line = if !has_hold && self.begins == Begins::WithItsLine { "(?m)^" } else { "" };
        let before = format!("{line}{}", literally(self.before));
        let after = match self.after {
            "" if !has_hold || value == r"\S+?" => "(?:$|\\s)".to_owned(),
            after => literally(after),
        };
        Some(format!("{before}({value}){after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn proposed(recorded: &Value, live: &Value) -> Option<Vec<(String, Option<String>)>> {
        let endpoint = Endpoint::new("POST", "/v1/chat/completions");
        let (recorded, live) = (recorded.to_string(), live.to_string());
        let request = |body| Request { wire: Some(Wire::OpenAiChat), endpoint: &endpoint, body };
        let entries = propose(&Masking::default(), request(recorded.as_bytes()), request(live.as_bytes()))?;
        Some(entries.into_iter().map(|entry| (entry.pointer, entry.pattern)).collect())
    }

    fn said(text: &str) -> Value {
        json!({"model": "m", "messages": [{"role": "user", "content": text}]})
    }

    #[test]
    fn what_looks_volatile_gets_a_mask() {
        let content = "/messages/*/content".to_owned();
        for (recorded, live, patterns) in [
            ("build 4711 is out", "build 4712 is out", vec![r"build (\d+) "]),
            ("build 4711", "build 4712", vec![r"build (\d+)"]),
            ("4711", "4712", vec![r"(?m)^(\d+)(?:$|\s)"]),
            ("v1.2.3, ok", "v1.3.0, ok", vec![r"v1\.([\d.]+),"]),
            (
                "job a1b2 of user 12.",
                "job c3d4 of user 13.",
                vec![r"job ([[:alnum:]]+) ", r"of user (\d+)\."],
            ),
            ("a 1\nb 2", "a 1\nb 3", vec![r"b (\d+)"]),
        ] {
            let expected: Vec<_> =
                patterns.iter().map(|pattern| (content.clone(), Some((*pattern).to_owned()))).collect();
            let got = proposed(&said(recorded), &said(live));
            match got {
                Some(got) if got.len() == expected.len() => {
                    for ((_, got), (_, expected)) in got.iter().zip(&expected) {
                        let (got, expected) = (got.clone().unwrap(), expected.clone().unwrap());
                        assert!(
                            got == expected || got.ends_with(&expected),
                            "{recorded}: {got} for {expected}"
                        );
                    }
                }
                other => panic!("{recorded} | {live}: {other:?}"),
            }
        }
    }

    #[test]
    fn words_models_and_parameters_get_none() {
        assert_eq!(proposed(&said("a red car"), &said("a blue car")), None);
        assert_eq!(proposed(&said("a 1"), &said("a 1 b")), None);
        assert_eq!(proposed(&said("same"), &said("same")), None);
        let with = |field: &str, value: Value| {
            let mut body = said("x");
            body[field] = value;
            body
        };
        for field in ["model", "tools", "temperature"] {
            assert_eq!(
                proposed(&with(field, json!("gpt-4")), &with(field, json!("gpt-5"))).is_some(),
                field == "temperature",
                "{field}"
            );
            assert_eq!(proposed(&with(field, json!(1)), &with(field, json!(2))), None, "{field}");
        }
        assert_eq!(proposed(&with("a", json!(1)), &said("x")), None);
    }

    proptest::proptest! {
        /// What is proposed is enough, and leaves every other text a divergence.
        #[test]
        fn proposals_hold(words in proptest::collection::vec("[a-z]{1,5}|[0-9]{1,5}|[.,:-]", 1..14), at in proptest::prelude::any::<proptest::sample::Index>(), value in "[0-9]{1,6}") {
            let at = at.index(words.len());
            let (recorded, mut live) = (words.join(" "), words.clone());
            live[at] = value;
            let live = live.join(" ");
            if let Some(entries) = proposed(&said(&recorded), &said(&live)) {
                let masks = entries.iter().map(|(pointer, pattern)| {
                    let entry = MaskEntry { pointer: pointer.clone(), pattern: pattern.clone(), ..MaskEntry::default() };
                    ConfiguredMask::try_from(&entry).unwrap()
                });
                let masking = Masking::default().with(masks);
                let endpoint = Endpoint::new("POST", "/v1/chat/completions");
                let matches = |a: &str, b: &str| {
                    let (a, b) = (said(a).to_string(), said(b).to_string());
                    let request = |body| Request { wire: Some(Wire::OpenAiChat), endpoint: &endpoint, body };
                    would_match(&masking, request(a.as_bytes()), request(b.as_bytes()))
                };
                proptest::prop_assert!(matches(&recorded, &live));
                let longer = format!("{live} more");
                proptest::prop_assert!(!matches(&recorded, &longer));
            }
        }
    }
}
