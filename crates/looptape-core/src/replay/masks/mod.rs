//! Masks: values that differ from run to run without meaning anything, each tolerated at its own span only.
//!
//! - `kind`: the kinds of volatile values, by the names that users know.
//! - `scan`: one pass over a text; `ids`, `moments`, `places`, `labels`: what it finds by shape.
//! - `own`: the values of the two runs' environments and clocks.
//! - `configured`: masks that the project's settings name.
//! - `outside`: what tools ask of hosts, in whose URLs and bodies everything is looked at.
//! - `propose`: masks that would make two requests match.
//! - `pairs`: whether the masked values of two requests may stand for each other.
//!
//! A mask takes the place of a value in a parsed JSON text; every other character stays. Masks apply to the
//! system prompt and the history (tool calls and results included), to string values and, behind a label or
//! near a run's clock, to numbers. In descriptions of tools only what is a run's own is masked: agents write the month
//! and their folder there. Names of models, tools, roles and types, all else of tool definitions, and parameters are
//! compared as they are, unless a configured mask points at them.
//!
//! Two requests whose masked forms are equal match only if the masked values correspond (`pairs`): ids keep
//! their identity, and what is a run's own must be its own on each side.
//!
//! It does not guess: what has no volatile shape, no label and no counterpart in both environments counts.

mod configured;
mod ids;
mod kind;
mod labels;
mod moments;
mod outside;
mod own;
mod pairs;
mod places;
pub(super) mod propose;
mod scan;
#[cfg(test)]
mod tests;

pub use configured::{ConfiguredMask, MaskEntry, MaskEntryError};
pub use kind::{MaskKind, UnknownMaskKind};
pub use own::Run;
pub(super) use pairs::Mismatch;
pub(crate) use pairs::Pair;

use super::components::{self, Component, Endpoint, RequestKey};
use crate::canonical::{Json, Place, Rules, Treatment, push_segment};
use crate::wire::Wire;
use configured::What;
use kind::MaskedKinds;
use own::OwnValues;
use places::Part;
use scan::Search;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What stands around a mask: noncharacters, so that no text looks like one.
const OPENING: &str = "\u{fdd0}";
const CLOSING: &str = "\u{fdd1}";

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    ToolResult,
    Elsewhere,
}

/// Which masks apply to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    All,
    /// [`Scope::OwnOnly`] in texts called `description`, nothing elsewhere.
    Descriptions,
    /// What is a run's own.
    OwnOnly,
    ConfiguredOnly,
}

/// How the requests of two runs are masked.
#[derive(Clone, Debug, Default)]
pub struct Masking {
    kinds: MaskedKinds,
    own: Arc<OwnValues>,
    configured: Vec<ConfiguredMask>,
}

/// A value that a mask stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MaskedSpan {
    /// JSON pointer of the text in which it stands.
    pub(super) pointer: String,
    pub(super) kind: MaskKind,
    pub(super) text: Vec<u8>,
}

/// A masked value that is the name of something.
pub(super) type Identity = (MaskKind, Vec<u8>);

/// The names among masked values, in their order.
pub(super) fn identities(spans: &[MaskedSpan]) -> Vec<Identity> {
    spans.iter().filter(|span| span.kind.is_identity()).map(|span| (span.kind, span.text.clone())).collect()
}

impl Masking {
    /// For requests of a live run against those of a recorded one.
    pub fn between(recorded: &Run, live: &Run) -> Self {
        Self { own: Arc::new(OwnValues::new(recorded, live)), ..Self::default() }
    }

    /// The same without masks of these kinds.
    pub fn without(mut self, kinds: impl IntoIterator<Item = MaskKind>) -> Self {
        self.kinds.off.extend(kinds);
        self
    }

    /// The same with masks from the project's settings.
    pub fn with(mut self, masks: impl IntoIterator<Item = ConfiguredMask>) -> Self {
        self.configured.extend(masks);
        self
    }

    /// Puts masks into a parsed request; the values that they stand for, in the order of the request.
    pub(super) fn apply(
        &self,
        wire: Option<Wire>,
        endpoint: &Endpoint,
        body: &mut Json<'_>,
    ) -> Vec<MaskedSpan> {
        let rules = components::rules(wire, endpoint);
        let mut walk = Walk { masking: self, wire, rules, pointer: String::new(), spans: Vec::new() };
        match endpoint.is_a_tools(wire) {
            true => walk.value(body, Place::ROOT, Scope::All, Site::Elsewhere),
            false => walk.body(body),
        }
        walk.spans
    }

    /// The key of a request with its masks, and the values that these stand for; `None` if there are none.
    pub(super) fn key(
        &self,
        wire: Option<Wire>,
        endpoint: &Endpoint,
        body: &[u8],
    ) -> Option<(RequestKey, Vec<MaskedSpan>)> {
        if endpoint.is_a_tools(wire) {
            return outside::key(self, endpoint, body);
        }
        let mut json = Json::parse(body)?;
        let spans = self.apply(wire, endpoint, &mut json);
        (!spans.is_empty()).then(|| (RequestKey::of_json(wire, endpoint, &json), spans))
    }

    /// The values that masks of a request stand for.
    pub(super) fn spans(&self, wire: Option<Wire>, endpoint: &Endpoint, body: &[u8]) -> Vec<MaskedSpan> {
        if endpoint.is_a_tools(wire) {
            return outside::spans(self, endpoint, body);
        }
        Json::parse(body).map(|mut json| self.apply(wire, endpoint, &mut json)).unwrap_or_default()
    }

    /// A request with its masks, readable: `[uuid]`. As it was if there is nothing to mask.
    pub(super) fn readable<'b>(
        &self,
        wire: Option<Wire>,
        endpoint: &Endpoint,
        body: &'b [u8],
    ) -> Cow<'b, [u8]> {
        let masked = match Json::parse(body) {
            Some(mut json) => match self.apply(wire, endpoint, &mut json).is_empty() {
                true => return Cow::Borrowed(body),
                false => json.to_readable(),
            },
            None if endpoint.is_a_tools(wire) => {
                let (text, spans) = outside::masked_text(self, body);
                match spans.is_empty() {
                    true => return Cow::Borrowed(body),
                    false => String::from_utf8_lossy(&text).into_owned(),
                }
            }
            None => return Cow::Borrowed(body),
        };
        Cow::Owned(masked.replace(OPENING, "[").replace(CLOSING, "]").into_bytes())
    }

    /// Whether the masked values of two requests, equal but for them, may stand for each other; those that
    /// differ.
    pub(super) fn pairs(
        &self,
        recorded: &[MaskedSpan],
        live: &[MaskedSpan],
    ) -> Result<Vec<Pair>, Box<Mismatch>> {
        pairs::pairs(&self.own, recorded, live)
    }

    /// The values in which two texts differ, if nothing else differs between them and each may stand for the
    /// other; the texts as they would be found in a tool's result.
    pub(crate) fn stand_ins(&self, recorded: &str, live: &str) -> Option<Vec<Pair>> {
        let (parts, live_parts) =
            (self.parts_of_text(recorded.as_bytes()), self.parts_of_text(live.as_bytes()));
        let around = |text: &str, parts: &[Part]| {
            let mut kept = Vec::with_capacity(parts.len() + 1);
            let mut at = 0;
            for (range, _) in parts {
                kept.push(text.as_bytes()[at..range.start].to_vec());
                at = range.end;
            }
            kept.push(text.as_bytes()[at..].to_vec());
            kept
        };
        let kinds = |parts: &[Part]| parts.iter().map(|(_, kind)| *kind).collect::<Vec<_>>();
        if kinds(&parts) != kinds(&live_parts) || around(recorded, &parts) != around(live, &live_parts) {
            return None;
        }
        let spans = |text: &str, parts: &[Part]| -> Vec<MaskedSpan> {
            let span = |(range, kind): &Part| {
                let text = text.as_bytes()[range.clone()].to_vec();
                MaskedSpan { pointer: String::new(), kind: *kind, text }
            };
            parts.iter().map(span).collect()
        };
        self.pairs(&spans(recorded, &parts), &spans(live, &live_parts)).ok()
    }

    /// The volatile parts of one text, as they would be found in a tool's result.
    pub(crate) fn parts_of_text(&self, text: &[u8]) -> Vec<Part> {
        scan::scan(text, Search { kinds: &self.kinds, own: &self.own, site: Site::ToolResult })
    }
}

struct Walk<'m> {
    masking: &'m Masking,
    wire: Option<Wire>,
    rules: &'static Rules,
    pointer: String,
    spans: Vec<MaskedSpan>,
}

impl Walk<'_> {
    fn body(&mut self, body: &mut Json<'_>) {
        let Json::Object(members) = body else {
            return self.value(body, Place::ROOT, Scope::ConfiguredOnly, Site::Elsewhere);
        };
        for (key, value) in members {
            let scope = match self.wire.map(|wire| components::component_of(wire, key)) {
                Some(Component::System | Component::History) => Scope::All,
                Some(Component::Tools) => Scope::Descriptions,
                _ if self.masking.configured.is_empty() => continue,
                _ => Scope::ConfiguredOnly,
            };
            let place = self.rules.member(Place::ROOT, key);
            self.within(key, |walk| walk.value(value, place, scope, Site::Elsewhere));
        }
    }

    fn value(&mut self, value: &mut Json<'_>, place: Place, scope: Scope, site: Site) {
        match (self.rules.treatment(place), &*value) {
            (Treatment::Ignored | Treatment::Collected, _) | (Treatment::Renamed, Json::String(_)) => return,
            _ => {}
        }
        match value {
            Json::String(text) => {
                let parts = self.parts(text, scope, site);
                self.mask_text(text, &parts);
            }
            Json::Number(raw) => {
                let raw = *raw;
                if let Some(kind) = self.kind_of_number(raw, b"", scope, site) {
                    *value = self.mask_number(raw, kind);
                }
            }
            Json::Array(items) => {
                let place = self.rules.element(place);
                for (index, item) in items.iter_mut().enumerate() {
                    self.within(index.to_string().as_bytes(), |walk| walk.value(item, place, scope, site));
                }
            }
            Json::Object(members) => self.object(members, place, scope, site),
            Json::Null | Json::Bool(_) => {}
        }
    }

    fn object(&mut self, members: &mut [(Cow<'_, [u8]>, Json<'_>)], place: Place, scope: Scope, site: Site) {
        let site = if is_tool_result(members) { Site::ToolResult } else { site };
        let is_call = members.iter().any(|(key, _)| is_key_of_call(key));
        for (key, value) in members {
            let place = self.rules.member(place, key);
            let scope = match scope {
                Scope::Descriptions if is_description(key, value) => Scope::OwnOnly,
                scope if is_name(key, is_call) && scope != Scope::Descriptions => Scope::ConfiguredOnly,
                scope => scope,
            };
            let site = if is_result_key(key) { Site::ToolResult } else { site };
            if scope == Scope::ConfiguredOnly && self.masking.configured.is_empty() {
                continue;
            }
            self.within(key, |walk| match value {
                Json::Number(raw) => {
                    let raw: &[u8] = raw;
                    let ignored =
                        matches!(walk.rules.treatment(place), Treatment::Ignored | Treatment::Collected);
                    if let Some(kind) = walk.kind_of_number(raw, key, scope, site).filter(|_| !ignored) {
                        *value = walk.mask_number(raw, kind);
                    }
                }
                value => walk.value(value, place, scope, site),
            });
        }
    }

    /// The parts of a text that masks take the place of.
    fn parts(&self, text: &[u8], scope: Scope, site: Site) -> Vec<Part> {
        let mut parts = self.configured_parts(text);
        let kinds = match scope {
            Scope::All => Some(Cow::Borrowed(&self.masking.kinds)),
            Scope::OwnOnly => Some(Cow::Owned(self.masking.kinds.of_environment())),
            Scope::Descriptions | Scope::ConfiguredOnly => None,
        };
        if let Some(kinds) = kinds {
            let search = Search { kinds: &kinds, own: &self.masking.own, site };
            let found = scan::scan(text, search);
            if parts.is_empty() {
                return found;
            }
            let is_free = |part: &Part| {
                parts.iter().all(|(other, _)| part.0.end <= other.start || other.end <= part.0.start)
            };
            let free: Vec<Part> = found.into_iter().filter(is_free).collect();
            parts.extend(free);
        }
        parts.sort_by_key(|(range, _)| range.start);
        parts
    }

    fn configured_parts(&self, text: &[u8]) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for mask in &self.masking.configured {
            if !mask.is_for(self.wire, &self.pointer) {
                continue;
            }
            let found: Vec<Part> = match &mask.what {
                What::Whole => vec![(0..text.len(), MaskKind::Configured)],
                What::Kind(kind) => {
                    let off: BTreeSet<MaskKind> = MaskKind::ALL.into_iter().filter(|k| k != kind).collect();
                    let kinds = MaskedKinds { off };
                    scan::scan(text, Search { kinds: &kinds, own: &self.masking.own, site: Site::ToolResult })
                }
                What::Pattern(pattern) => pattern
                    .captures_iter(text)
                    .filter_map(|found| found.get(1).or_else(|| found.get(0)))
                    .map(|found| (found.range(), MaskKind::Configured))
                    .collect(),
            };
            for part in found {
                let is_free =
                    parts.iter().all(|(other, _)| part.0.end <= other.start || other.end <= part.0.start);
                if is_free && !part.0.is_empty() {
                    parts.push(part);
                }
            }
        }
        parts
    }

    fn mask_text(&mut self, text: &mut Cow<'_, [u8]>, parts: &[Part]) {
        if memchr::memmem::find(text, OPENING.as_bytes()).is_some() {
            // A text that could pass for a masked one: it is told apart, and not masked.
            *text = Cow::Owned([OPENING.as_bytes(), OPENING.as_bytes(), text].concat());
            return;
        }
        if parts.is_empty() {
            return;
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut kept = 0;
        for (range, kind) in parts {
            masked.extend_from_slice(&text[kept..range.start]);
            masked.extend_from_slice(mark(*kind).as_bytes());
            self.note(*kind, &text[range.clone()]);
            kept = range.end;
        }
        masked.extend_from_slice(&text[kept..]);
        *text = Cow::Owned(masked);
    }

    /// The kind of a number that a mask takes the place of; `name` is the member whose value it is.
    fn kind_of_number(&self, raw: &[u8], name: &[u8], scope: Scope, site: Site) -> Option<MaskKind> {
        if let Some((_, kind)) =
            self.configured_parts(raw).into_iter().find(|(range, _)| *range == (0..raw.len()))
        {
            return Some(kind);
        }
        if scope != Scope::All || !raw.first()?.is_ascii_digit() {
            return None;
        }
        let labelled = [name, b"=", raw].concat();
        let search = Search { kinds: &self.masking.kinds, own: &self.masking.own, site };
        let is_the_number = |(range, _): &Part| *range == (name.len() + 1..labelled.len());
        scan::scan(&labelled, search).into_iter().find(is_the_number).map(|(_, kind)| kind).filter(|kind| {
            matches!(kind, MaskKind::Epoch | MaskKind::Pid | MaskKind::Port | MaskKind::Duration)
        })
    }

    fn mask_number<'a>(&mut self, raw: &[u8], kind: MaskKind) -> Json<'a> {
        self.note(kind, raw);
        Json::String(Cow::Owned(format!("{OPENING}number {}", mark(kind)).into_bytes()))
    }

    fn note(&mut self, kind: MaskKind, text: &[u8]) {
        self.spans.push(MaskedSpan { pointer: self.pointer.clone(), kind, text: text.to_owned() });
    }

    fn within(&mut self, segment: &[u8], walk: impl FnOnce(&mut Self)) {
        let before = self.pointer.len();
        self.pointer.push('/');
        push_segment(&mut self.pointer, segment);
        walk(self);
        self.pointer.truncate(before);
    }
}

/// What stands in the place of a value. Which of the run's own values it is does not show: one text may be
/// several of them.
fn mark(kind: MaskKind) -> String {
    let name = if kind.is_environment() { "own" } else { kind.as_str() };
    format!("{OPENING}{name}{CLOSING}")
}

/// Whether a member of a tool's definition is a text for the model.
fn is_description(key: &[u8], value: &Json<'_>) -> bool {
    key == b"description" && matches!(value, Json::String(_))
}

/// Whether an object holds a tool's result, in any format.
fn is_tool_result(members: &[(Cow<'_, [u8]>, Json<'_>)]) -> bool {
    members.iter().any(|(key, value)| match (key.as_ref(), value) {
        (b"type", Json::String(kind)) => kind.ends_with(b"tool_result") || kind.ends_with(b"_output"),
        (b"role", Json::String(role)) => matches!(role.as_ref(), b"tool" | b"function"),
        _ => false,
    })
}

/// Members under which tools' results stand.
fn is_result_key(key: &[u8]) -> bool {
    matches!(key, b"functionResponse" | b"function_response" | b"toolResult" | b"tool_results")
}

/// Members that only a message or a call has.
fn is_key_of_call(key: &[u8]) -> bool {
    matches!(key, b"role" | b"type" | b"arguments" | b"input" | b"args" | b"response" | b"toolUseId")
}

/// Names that tell what something is. A tool may have an argument called `name`: it is no such name.
fn is_name(key: &[u8], is_call: bool) -> bool {
    matches!(key, b"type" | b"role" | b"model") || (is_call && key == b"name")
}
