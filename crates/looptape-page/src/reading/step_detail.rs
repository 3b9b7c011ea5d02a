//! One step in full: what was asked, what was answered, what is new since the step before.

use super::prompts::ReadPrompts;
use super::trace_view::{Compositions, Contents, Messages};
use looptape_core::assembly::Step;
use looptape_core::cost::{Cost, LeafCosts};
use looptape_core::derive;
use looptape_core::exchange::Exchange;
use looptape_core::facts::CallKind;
use looptape_core::metrics::Measured;
use looptape_core::view::EntryView;
use looptape_core::wire::{Message, Part, ProviderError, RequestView, Wire};
use looptape_store::{ReadError, Reader, RecordedTrace};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Request members that are shown as something else than a parameter.
const NOT_PARAMETERS: &[&str] = &[
    "model",
    "messages",
    "input",
    "contents",
    "system",
    "instructions",
    "systemInstruction",
    "system_instruction",
    "tools",
];

/// Which call is meant.
#[derive(Debug)]
pub struct Place<'a> {
    pub seq: u32,
    step: Step,
    attempt: u32,
    measured: Cow<'a, Measured>,
}

/// Why there is no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchPlace {
    #[error(
        "trace {trace} has no step {step}: it has {}. `looptape show {trace}` lists them",
        counted(*has, "step")
    )]
    Step { trace: String, step: u32, has: usize },
    #[error("step {step} has no attempt {attempt}: it has {}", counted(*has, "attempt"))]
    Attempt { step: u32, attempt: u32, has: usize },
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Everything about one attempt of one step.
#[derive(Debug, Serialize)]
pub struct StepDetail {
    pub format: u32,
    pub trace: String,
    pub steps: usize,
    /// The step as `show --json` has it, with all its messages.
    pub step: EntryView,
    /// Its tool calls.
    pub tools: Vec<EntryView>,
    pub attempt: u32,
    /// What this attempt cost, by token leaf; null where that is not known or nothing was billed.
    pub cost_by_leaf: Option<LeafCosts>,
    pub request: RequestDetail,
    pub response: Option<ResponseDetail>,
}

/// What was asked.
#[derive(Debug, Serialize)]
pub struct RequestDetail {
    pub system: Vec<Part>,
    /// How many of the messages the parent step's request had, too.
    pub known_messages: usize,
    pub messages: Vec<Message>,
    pub tools_offered: Vec<String>,
    pub parameters: Map<String, Value>,
}

/// What was answered.
#[derive(Debug, Serialize)]
pub struct ResponseDetail {
    pub text: String,
    pub reasoning: String,
    pub tool_calls: Vec<looptape_core::wire::ToolCall>,
    pub server_tool_calls: Vec<String>,
    pub error: Option<ProviderError>,
    /// The stream ended without its terminal event.
    pub truncated: bool,
}

impl<'a> Place<'a> {
    /// An attempt of a step; the last one if none is named.
    pub fn find(trace: &RecordedTrace, step: u32, attempt: Option<u32>) -> Result<Self, NoSuchPlace> {
        Self::of(trace, Cow::Owned(trace.measure()), step, attempt)
    }

    /// The same in a trace that was measured before.
    pub fn of(
        trace: &RecordedTrace,
        measured: Cow<'a, Measured>,
        step: u32,
        attempt: Option<u32>,
    ) -> Result<Self, NoSuchPlace> {
        let steps = &measured.assembly.steps;
        let Some(found) = steps.get((step as usize).wrapping_sub(1)).cloned() else {
            return Err(NoSuchPlace::Step { trace: trace.row.label(), step, has: steps.len() });
        };
        let has = found.attempts.len();
        let attempt = attempt.unwrap_or(has as u32);
        let Some(made) = found.attempts.get((attempt as usize).wrapping_sub(1)) else {
            return Err(NoSuchPlace::Attempt { step, attempt, has });
        };
        Ok(Self { seq: trace.facts[made.call.0].seq, step: found, attempt, measured })
    }
}

impl StepDetail {
    pub fn build(
        reader: &Reader,
        trace: &RecordedTrace,
        place: Place<'_>,
        compositions: Compositions,
    ) -> Result<Self, ReadError> {
        let Place { seq, step, attempt, measured } = place;
        let exchange = reader.exchange(trace.row.key, seq)?;
        let kind = trace.facts[step.final_call().0].kind;
        let CallKind::Llm(wire) = kind else { return Err(ReadError::Damaged { seq, what: "wire format" }) };
        let (view, body) = decode(wire, &exchange);
        let known_messages = known(reader, trace, &measured, &step, wire, &view.messages)?;
        let response = derive::response_view(kind, &exchange.outcome).map(|answer| ResponseDetail {
            text: answer.text,
            reasoning: answer.reasoning,
            tool_calls: answer.tool_calls,
            server_tool_calls: answer.server_tool_calls,
            error: answer.error,
            truncated: answer.truncated,
        });
        let made = step.attempts.get((attempt as usize).wrapping_sub(1));
        let cost_by_leaf = made.and_then(|made| match &measured.costs[made.call.0] {
            Cost::Known(price) => Some(price.by_leaf),
            Cost::NotBilled | Cost::Unknown(_) => None,
        });
        let (step_view, tools) = entries(reader, trace, &measured, &step, compositions);
        Ok(Self {
            format: looptape_core::view::FORMAT,
            trace: trace.row.label(),
            steps: measured.assembly.steps.len(),
            step: step_view,
            tools,
            attempt,
            cost_by_leaf,
            request: RequestDetail {
                system: view.system,
                known_messages,
                messages: view.messages,
                tools_offered: view.tools,
                parameters: parameters(body),
            },
            response,
        })
    }
}

fn decode(wire: Wire, exchange: &Exchange) -> (RequestView, Value) {
    let decoded = derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]);
    let body: Value = serde_json::from_slice(&decoded.bytes).unwrap_or_default();
    (wire.decode_request(&exchange.path, &body), body)
}

/// How many messages at the beginning are those of the parent step's request.
fn known(
    reader: &Reader,
    trace: &RecordedTrace,
    measured: &Measured,
    step: &Step,
    wire: Wire,
    messages: &[Message],
) -> Result<usize, ReadError> {
    let Some(parent) = step.parent.and_then(|number| measured.assembly.step(number)) else { return Ok(0) };
    let seq = trace.facts[parent.final_call().0].seq;
    let (before, _) = decode(wire, &reader.exchange(trace.row.key, seq)?);
    Ok(messages.iter().zip(&before.messages).take_while(|(now, then)| now == then).count())
}

/// The step's own entry and those of its tool calls; nothing else is decoded.
fn entries(
    reader: &Reader,
    trace: &RecordedTrace,
    measured: &Measured,
    step: &Step,
    compositions: Compositions,
) -> (EntryView, Vec<EntryView>) {
    let contents = Contents::new(reader, trace, Messages::LeftOut);
    let contents = match compositions {
        Compositions::LeftOut => contents,
        Compositions::Included => {
            contents.with_prompts(ReadPrompts::one(reader, trace, step.final_call()).prompts)
        }
    };
    contents.step(measured, step)
}

fn parameters(body: Value) -> Map<String, Value> {
    let Value::Object(members) = body else { return Map::new() };
    members.into_iter().filter(|(name, _)| !NOT_PARAMETERS.contains(&name.as_str())).collect()
}
