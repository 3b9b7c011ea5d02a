//! What differs from run to run stands in the manifest, under a name that takes its place in the texts.
//!
//! Which values these are, replay's masks say: ids, times, temporary folders, ports, what is the run's own.
//! Headers that tell of one answer only (`date`, request ids, what is left of a limit) are named whole. A name
//! begins with the call that brought the value, so that what a call adds renames nothing before or after it.
//!
//! In a text a name stands in `⟦⟧`. A `⟦` of the text's own is doubled, so that every text has one template,
//! and every template one text.

use super::files::call_label;
use crate::replay::{MaskKind, Masking, Run};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

const OPENING: char = '⟦';
const CLOSING: char = '⟧';

/// What stands before the name of a number, where JSON has a number.
const NUMBER: char = '#';

/// Values by their names.
pub(super) type Named = BTreeMap<String, String>;

/// A name that no value has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownValue(pub(super) String);

impl std::fmt::Display for UnknownValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the manifest names no value `{}`", self.0)
    }
}

/// Finds values and names them.
#[derive(Debug)]
pub(super) struct Collector {
    masking: Masking,
    named: Named,
    names: HashMap<(Scope, String), String>,
    call: u32,
    part: Part,
}

/// Within what the same value has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    /// It stands for one thing wherever it is.
    Trace(MaskKind),
    /// Times that are equal by chance in one recording are not in the next.
    Part(u32, Part, MaskKind),
}

/// The part of a call that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Request,
    Answer,
}

impl Collector {
    pub(super) fn new(run: &Run) -> Self {
        Self {
            masking: Masking::between(run, run),
            named: Named::new(),
            names: HashMap::new(),
            call: 0,
            part: Part::Request,
        }
    }

    pub(super) fn begin(&mut self, call: u32, part: Part) {
        (self.call, self.part) = (call, part);
    }

    pub(super) fn named(&self) -> &Named {
        &self.named
    }

    pub(super) fn into_named(self) -> Named {
        self.named
    }

    /// A text as its template.
    pub(super) fn template(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut kept = 0;
        for (range, kind) in self.masking.parts_of_text(text.as_bytes()) {
            let Some(value) = text.get(range.clone()) else { continue };
            escape(&text[kept..range.start], &mut out);
            let name = self.name(kind, value);
            out.push(OPENING);
            out.push_str(&name);
            out.push(CLOSING);
            kept = range.end;
        }
        escape(&text[kept..], &mut out);
        out
    }

    /// The template of a number that differs from run to run; `member` is what it is called.
    pub(super) fn number(&mut self, member: &str, digits: &str) -> Option<String> {
        let labelled = format!("{member}={digits}");
        let place = labelled.len() - digits.len()..labelled.len();
        let found = self.masking.parts_of_text(labelled.as_bytes());
        let is_number_kind =
            |kind| matches!(kind, MaskKind::Epoch | MaskKind::Pid | MaskKind::Port | MaskKind::Duration);
        let is_the_number =
            |(range, kind): &(Range<usize>, MaskKind)| *range == place && is_number_kind(*kind);
        let (_, kind) = found.into_iter().find(is_the_number)?;
        Some(format!("{OPENING}{NUMBER}{}{CLOSING}", self.name(kind, digits)))
    }

    /// A header's value as its template.
    pub(super) fn header(&mut self, name: &str, value: &str) -> String {
        if self.part == Part::Request || !tells_of_one_answer(name) || value.is_empty() {
            return self.template(value);
        }
        let name = self.free_name(format!("{}.{name}", call_label(self.call)));
        self.named.insert(name.clone(), value.to_owned());
        format!("{OPENING}{name}{CLOSING}")
    }

    fn name(&mut self, kind: MaskKind, value: &str) -> String {
        let is_own = kind.is_environment();
        let scope = match kind.is_identity() || is_own {
            true => Scope::Trace(kind),
            false => Scope::Part(self.call, self.part, kind),
        };
        if let Some(name) = self.names.get(&(scope, value.to_owned())) {
            return name.clone();
        }
        let name = match is_own {
            true => kind.as_str().to_owned(),
            false => format!("{}.{}", call_label(self.call), kind.as_str()),
        };
        let name = self.free_name(name);
        self.named.insert(name.clone(), value.to_owned());
        self.names.insert((scope, value.to_owned()), name.clone());
        name
    }

    fn free_name(&self, name: String) -> String {
        let numbered = (2..).map(|n| format!("{name}.{n}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names.find(|name| !self.named.contains_key(name)).expect("numbers do not end")
    }
}

fn escape(text: &str, out: &mut String) {
    for (at, piece) in text.split(OPENING).enumerate() {
        if at > 0 {
            out.extend([OPENING, OPENING]);
        }
        out.push_str(piece);
    }
}

/// The text of a template.
pub(super) fn fill(template: &str, named: &Named) -> Result<String, UnknownValue> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(OPENING) {
        out.push_str(before);
        if let Some(after) = after.strip_prefix(OPENING) {
            out.push(OPENING);
            rest = after;
            continue;
        }
        let (name, after) = after.split_once(CLOSING).ok_or_else(|| UnknownValue(cut(after)))?;
        out.push_str(named.get(name).ok_or_else(|| UnknownValue(cut(name)))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The digits of a number's template; `None` for any other text.
pub(super) fn filled_number<'n>(template: &str, named: &'n Named) -> Option<&'n str> {
    let name = template.strip_prefix(OPENING)?.strip_prefix(NUMBER)?.strip_suffix(CLOSING)?;
    named.get(name).map(String::as_str)
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Headers that say something of one answer and nothing of what it is.
fn tells_of_one_answer(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "age",
        "apim-request-id",
        "cf-ray",
        "date",
        "openai-processing-ms",
        "request-id",
        "server-timing",
        "x-amz-cf-id",
        "x-amzn-requestid",
        "x-cloud-trace-context",
        "x-envoy-upstream-service-time",
        "x-ms-request-id",
        "x-request-id",
        "x-served-by",
    ];
    let is_of_a_limit = name.contains("ratelimit") && (name.contains("remaining") || name.contains("reset"));
    NAMES.contains(&name) || is_of_a_limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Environment;
    use proptest::prelude::*;

    fn collector() -> Collector {
        let environment =
            Environment { working_folder: Some("/srv/agents/refund".into()), ..Environment::default() };
        Collector::new(&Run { environment: Some(environment), started_unix_us: Some(1_795_000_000_000_000) })
    }

    #[test]
    fn what_differs_from_run_to_run_is_named() {
        let mut found = collector();
        found.begin(1, Part::Answer);
        let text = "run 0af7651916cd43dd8448eb211c80319c in /srv/agents/refund at 2026-11-22T03:51:46Z ⟦x";
        let template = found.template(text);
        insta::assert_snapshot!(template, @"run ⟦0002.id⟧ in ⟦working_folder⟧ at ⟦0002.date_time⟧ ⟦⟦x");
        assert_eq!(found.template("0af7651916cd43dd8448eb211c80319c"), "⟦0002.id⟧");
        assert_eq!(found.number("created", "1795000007").as_deref(), Some("⟦#0002.epoch⟧"));
        assert_eq!(found.number("max_tokens", "1000"), None);
        assert_eq!(found.header("date", "Sun, 22 Nov 2026 03:51:46 GMT"), "⟦0002.date⟧");
        assert_eq!(found.header("content-type", "text/plain"), "text/plain");
        found.begin(2, Part::Answer);
        assert_eq!(found.number("created", "1795000007").as_deref(), Some("⟦#0003.epoch⟧"));
        assert_eq!(found.template("0af7651916cd43dd8448eb211c80319c"), "⟦0002.id⟧");
        let named = found.into_named();
        assert_eq!(fill(&template, &named).as_deref(), Ok(text));
        assert_eq!(filled_number("⟦#0002.epoch⟧", &named), Some("1795000007"));
        assert_eq!(fill("⟦0009.id⟧", &named), Err(UnknownValue("0009.id".into())));
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "(⟦|⟧|#|[a-f0-9]{16,40}|[ -~é\\n]{0,9}|1795000007){0,12}") {
            let mut found = collector();
            let template = found.template(&text);
            prop_assert_eq!(fill(&template, &found.into_named()), Ok(text));
        }
    }
}
