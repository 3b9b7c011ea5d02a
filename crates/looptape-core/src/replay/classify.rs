//! Why a live request has no match: the nearest recorded call, and the first component that differs.
//!
//! The nearest call is the one on the same endpoint that shares the longest history; of several, one not
//! yet served, then the one with most components in common, then the one whose history is most nearly as
//! long, then the earliest. All of it is a function of the tape, of what was served, and of the request.

use super::components::{Component, Components, Endpoint, RequestKey, Split};
use super::difference::{self, Difference};
use super::masks::propose::Request;
use super::masks::{MaskEntry, Mismatch};
use super::options::Rung;
use super::report::{DivergenceCode, Nearest, Report};
use super::tape::{CallLabel, Completeness, EntryId, Shape, Tape};
use super::tool_results;
use crate::canonical::Json;
use crate::facts::Lineage;
use crate::wire::Wire;
use std::borrow::Cow;
use std::cmp::Reverse;

/// A live request that matched nothing.
pub(super) struct Missed<'a> {
    pub(super) wire: Option<Wire>,
    pub(super) endpoint: &'a Endpoint,
    /// As it is compared at the loosest rung, for people.
    pub(super) body: Cow<'a, [u8]>,
    /// As it came.
    pub(super) unmasked: &'a [u8],
    pub(super) key: &'a RequestKey,
    /// The rung at which it was last looked for: what is masked there is no difference.
    pub(super) loosest: Rung,
    pub(super) lineage: Lineage,
    pub(super) shape: Shape,
}

/// The report for a request that matched nothing. `is_unused` says which entries were not served yet.
pub(super) fn classify(tape: &Tape, missed: &Missed<'_>, is_unused: impl Fn(EntryId) -> bool) -> Report {
    let Some(nearest) = nearest(tape, missed, &is_unused) else {
        return never_recorded(tape, missed, tape.ids().any(is_unused));
    };
    let recorded = &tape.key_at(missed.loosest, nearest).components;
    let live = &missed.key.components;
    if recorded == live {
        return too_loose(tape, missed, nearest);
    }
    let common = live.common_messages(recorded);
    let (code, component) = judge(tape, missed, nearest, common);
    let code = match code {
        DivergenceCode::ExtraCall if is_prefix(tape) => DivergenceCode::IncompleteRecording,
        DivergenceCode::NeverRecorded if is_prefix(tape) && !tape.ids().any(is_unused) => {
            DivergenceCode::IncompleteRecording
        }
        code => code,
    };
    let difference = component.and_then(|component| locate(tape, missed, nearest, component, common));
    let label = tape.label(nearest);
    let message = match (code, &difference) {
        (DivergenceCode::VolatileToolResult, Some(difference)) => result_sentence(missed, label, difference),
        (code, difference) => sentence(code, label, missed.endpoint, difference.as_ref()),
    };
    Report {
        endpoint: missed.endpoint.to_string(),
        difference,
        nearest: Some(describe(label, recorded, live, common)),
        mask: proposal(tape, missed, nearest),
        ..Report::new(code, Some(label), message)
    }
}

/// The report for a request that is a recorded one, at a looser rung than is allowed.
fn too_loose(tape: &Tape, missed: &Missed<'_>, nearest: EntryId) -> Report {
    let (label, components) = (tape.label(nearest), &missed.key.components);
    let (rung, but_for) = match tape.key(nearest).canonical == missed.key.canonical {
        true => (Rung::Canonical, "its layout, or fields that say who asks and how it is paid"),
        false => (Rung::Renamed, "ids that only point at each other"),
    };
    let (rung, allowed) = (rung.number(), missed.loosest.number());
    let message =
        format!("The request is that of {label} but for {but_for}: --max-rung {allowed} refuses that.");
    let recorded = tape.body_at(missed.loosest, nearest);
    let texts = [&recorded, &*missed.body].map(String::from_utf8_lossy);
    Report {
        endpoint: missed.endpoint.to_string(),
        difference: Some(Difference::of_texts(String::new(), Some(&texts[0]), Some(&texts[1]))),
        nearest: Some(describe(label, components, components, components.history.len())),
        next_step: format!("Let the program send the recorded bytes, or replay with --max-rung {rung}."),
        ..Report::new(DivergenceCode::NeverRecorded, Some(label), message)
    }
}

/// The masks with which the request would match its nearest call, as TOML.
fn proposal(tape: &Tape, missed: &Missed<'_>, nearest: EntryId) -> Option<String> {
    if missed.loosest < Rung::Masked {
        return None;
    }
    let live = Request { wire: missed.wire, endpoint: missed.endpoint, body: missed.unmasked };
    let entries = tape.proposed_masks(nearest, live)?;
    Some(entries.iter().map(MaskEntry::to_toml).collect::<Vec<_>>().join("\n"))
}

/// The report for a request that is a recorded one but for two masked values that cannot stand for each
/// other.
pub(super) fn mismatched(tape: &Tape, missed: &Missed<'_>, nearest: EntryId, mismatch: &Mismatch) -> Report {
    let Mismatch { pointer, recorded, live } = mismatch;
    let code = match message_at(missed, pointer) {
        None if missed.wire.is_none() => DivergenceCode::NeverRecorded,
        None => DivergenceCode::SystemDrift,
        Some(MessageKind::ToolResult) => DivergenceCode::VolatileToolResult,
        Some(MessageKind::Other) => DivergenceCode::HistoryRewrite,
    };
    let difference = Difference::of_texts(pointer.clone(), Some(recorded), Some(live));
    let label = tape.label(nearest);
    let (recorded, live) = (&tape.key_at(missed.loosest, nearest).components, &missed.key.components);
    let report = Report {
        endpoint: missed.endpoint.to_string(),
        nearest: Some(describe(label, recorded, live, live.common_messages(recorded))),
        ..Report::new(code, Some(label), sentence(code, label, missed.endpoint, Some(&difference)))
    };
    Report { difference: Some(difference), ..report }
}

enum MessageKind {
    ToolResult,
    Other,
}

/// The kind of the message in which a pointer ends; `None` if that is not in the history.
fn message_at(missed: &Missed<'_>, pointer: &str) -> Option<MessageKind> {
    let json = Json::parse(&missed.body)?;
    let split = Split::new(missed.wire, &json);
    let holds = |piece: &str| {
        pointer.strip_prefix(piece).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let message = split.history.iter().find(|message| holds(&message.pointer))?;
    Some(if is_tool_result(message.json) { MessageKind::ToolResult } else { MessageKind::Other })
}

fn is_prefix(tape: &Tape) -> bool {
    *tape.completeness() == Completeness::Prefix
}

fn never_recorded(tape: &Tape, missed: &Missed<'_>, some_left: bool) -> Report {
    let (code, message) = if is_prefix(tape) && !some_left {
        (
            DivergenceCode::IncompleteRecording,
            "The recording ends before this request: its recorder was stopped.".into(),
        )
    } else {
        (DivergenceCode::NeverRecorded, format!("The recording holds no call of {}.", missed.endpoint))
    };
    Report { endpoint: missed.endpoint.to_string(), ..Report::new(code, None, message) }
}

fn nearest(tape: &Tape, missed: &Missed<'_>, is_unused: impl Fn(EntryId) -> bool) -> Option<EntryId> {
    let live = &missed.key.components;
    tape.near(&missed.shape).into_iter().min_by_key(|&id| {
        let recorded = &tape.key_at(missed.loosest, id).components;
        let common = live.common_messages(recorded);
        let same = Component::ALL.iter().filter(|&&c| live.get(c) == recorded.get(c)).count();
        let other_length = recorded.history.len().abs_diff(live.history.len());
        (Reverse(common), !is_unused(id), Reverse(same), other_length, id)
    })
}

/// The code, and the component whose difference is to be shown.
fn judge(
    tape: &Tape,
    missed: &Missed<'_>,
    nearest: EntryId,
    common: usize,
) -> (DivergenceCode, Option<Component>) {
    let (recorded, live) = (&tape.key_at(missed.loosest, nearest).components, &missed.key.components);
    if live.history.is_empty() && recorded.history.is_empty() && missed.wire.is_none() {
        let first =
            [Component::Endpoint, Component::Model].into_iter().find(|c| live.get(*c) != recorded.get(*c));
        return (DivergenceCode::NeverRecorded, Some(first.unwrap_or(Component::Parameters)));
    }
    let is_root = missed.lineage.echo.is_none();
    let says_nothing = live.history.is_empty() && recorded.history.is_empty();
    if is_root && common == 0 && !says_nothing {
        return (DivergenceCode::NeverRecorded, Some(Component::History));
    }
    if goes_beyond(tape, missed, nearest, common) {
        return (DivergenceCode::ExtraCall, None);
    }
    let drifts = [
        (Component::Model, DivergenceCode::ModelDrift),
        (Component::System, DivergenceCode::SystemDrift),
        (Component::Tools, DivergenceCode::ToolsDrift),
        (Component::Parameters, DivergenceCode::ParamDrift),
    ];
    for (component, code) in drifts {
        if live.get(component) != recorded.get(component) {
            return (code, Some(component));
        }
    }
    (judge_history(tape, missed, nearest, common), Some(Component::History))
}

/// Whether the request goes on after an answer with which the recorded run ended.
fn goes_beyond(tape: &Tape, missed: &Missed<'_>, nearest: EntryId, common: usize) -> bool {
    let echoes_last_answer =
        missed.lineage.echo.is_some_and(|echo| tape.holds_answer(echo) && !tape.holds_echo_of(echo));
    let recorded = tape.key_at(missed.loosest, nearest).components.history.len();
    let extends = common == recorded && common < missed.key.components.history.len();
    let next_is_answer = || {
        Json::parse(&missed.body).is_some_and(|json| {
            let split = Split::new(missed.wire, &json);
            split.history.get(common).is_some_and(|message| is_answer(message.json))
        })
    };
    let ended_there = || !tape.ids().any(|id| tape.entry(id).parents.contains(&nearest));
    echoes_last_answer || (extends && ended_there() && next_is_answer())
}

fn judge_history(tape: &Tape, missed: &Missed<'_>, nearest: EntryId, common: usize) -> DivergenceCode {
    let recorded_body = tape.body_at(missed.loosest, nearest);
    let parsed = (Json::parse(&recorded_body), Json::parse(&missed.body));
    let (Some(recorded), Some(live)) = (&parsed.0, &parsed.1) else { return DivergenceCode::HistoryRewrite };
    let is_result = |json: &Json<'_>| {
        let split = Split::new(missed.wire, json);
        split.history.get(common).is_some_and(|message| is_tool_result(message.json))
    };
    if is_result(recorded) && is_result(live) {
        DivergenceCode::VolatileToolResult
    } else {
        DivergenceCode::HistoryRewrite
    }
}

fn locate(
    tape: &Tape,
    missed: &Missed<'_>,
    nearest: EntryId,
    component: Component,
    common: usize,
) -> Option<Difference> {
    let entry = tape.entry(nearest);
    if component == Component::Model && entry.endpoint.model() != missed.endpoint.model() {
        let (recorded, live) = (entry.endpoint.model(), missed.endpoint.model());
        return Some(Difference::of_texts(String::new(), recorded, live));
    }
    if component == Component::Endpoint {
        let (recorded, live) = (entry.endpoint.to_string(), missed.endpoint.to_string());
        return Some(Difference::of_texts(String::new(), Some(&recorded), Some(&live)));
    }
    let recorded_body = tape.body_at(missed.loosest, nearest);
    match (Json::parse(&recorded_body), Json::parse(&missed.body)) {
        (Some(recorded), Some(live)) => difference::find(
            component,
            common,
            &Split::of(missed.wire, missed.endpoint, &recorded),
            &Split::of(missed.wire, missed.endpoint, &live),
        ),
        _ => {
            let (recorded, live) =
                (String::from_utf8_lossy(&recorded_body), String::from_utf8_lossy(&missed.body));
            Some(Difference::of_texts(String::new(), Some(&recorded), Some(&live)))
        }
    }
}

fn describe(label: CallLabel, recorded: &Components, live: &Components, common: usize) -> Nearest {
    let (same, different) =
        Component::ALL.iter().copied().partition(|&component| live.get(component) == recorded.get(component));
    Nearest {
        label,
        same,
        different,
        common_messages: common,
        recorded_messages: recorded.history.len(),
        live_messages: live.history.len(),
    }
}

fn sentence(
    code: DivergenceCode,
    nearest: CallLabel,
    endpoint: &Endpoint,
    difference: Option<&Difference>,
) -> String {
    let place =
        difference.filter(|d| !d.pointer.is_empty()).map_or(String::new(), |d| format!(" at {}", d.pointer));
    match code {
        DivergenceCode::ModelDrift => {
            let value = |side: fn(&Difference) -> Option<&String>| {
                difference.and_then(side).map_or("none", String::as_str).to_owned()
            };
            let (recorded, live) = (value(|d| d.expected.as_ref()), value(|d| d.actual.as_ref()));
            format!("The model asked for at {nearest} is {live}, and {recorded} was recorded.")
        }
        DivergenceCode::SystemDrift => {
            format!("The system prompt at {nearest} is not the recorded one: it first differs{place}.")
        }
        DivergenceCode::ToolsDrift => {
            format!("The tools offered at {nearest} are not the recorded ones: they first differ{place}.")
        }
        DivergenceCode::ParamDrift => {
            format!("The parameters at {nearest} are not the recorded ones: they first differ{place}.")
        }
        DivergenceCode::VolatileToolResult => {
            format!("A tool result sent at {nearest} is not the recorded one: it first differs{place}.")
        }
        DivergenceCode::HistoryRewrite => {
            format!("The history sent at {nearest} is not the recorded one: it first differs{place}.")
        }
        DivergenceCode::ExtraCall => {
            format!("The agent went on after {nearest}, where the recorded run ended.")
        }
        DivergenceCode::IncompleteRecording => {
            format!("The recording ends after {nearest}: its recorder was stopped, and this request goes on.")
        }
        _ => format!(
            "The recording holds no request to {endpoint} that begins like this; {nearest} is nearest."
        ),
    }
}

/// Names the tool, if the history says which one it was.
fn result_sentence(missed: &Missed<'_>, nearest: CallLabel, difference: &Difference) -> String {
    let json = Json::parse(&missed.body);
    let tool = json.as_ref().and_then(|json| {
        let split = Split::new(missed.wire, json);
        tool_results::tool_of(&split.history, &difference.pointer)
    });
    match tool {
        Some(tool) => {
            let place = &difference.pointer;
            format!(
                "The result of {tool} sent at {nearest} is not the recorded one: it first differs at {place}."
            )
        }
        None => sentence(DivergenceCode::VolatileToolResult, nearest, missed.endpoint, Some(difference)),
    }
}

fn text_of<'j>(json: &'j Json<'_>, field: &str) -> std::borrow::Cow<'j, str> {
    json.get(field).and_then(Json::as_text).unwrap_or_default()
}

/// Whether a message is what a model said, in any format: a role, or an output item's type.
fn is_answer(message: &Json<'_>) -> bool {
    let kind = text_of(message, "type");
    matches!(text_of(message, "role").as_ref(), "assistant" | "model")
        || kind == "reasoning"
        || (kind.ends_with("_call") && message.get("role").is_none())
}

/// Whether a message carries a tool's result, in any format.
fn is_tool_result(message: &Json<'_>) -> bool {
    let has_part = |field: &str, is_result: fn(&Json<'_>) -> bool| match message.get(field) {
        Some(Json::Array(parts)) => parts.iter().any(is_result),
        _ => false,
    };
    matches!(text_of(message, "role").as_ref(), "tool" | "function")
        || text_of(message, "type").ends_with("_output")
        || has_part("content", |part| text_of(part, "type") == "tool_result")
        || has_part("parts", |p| p.get("functionResponse").or_else(|| p.get("function_response")).is_some())
}
