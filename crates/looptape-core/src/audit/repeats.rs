//! Steps that asked for what an earlier step had asked for: the same request, or the same tool call.
//!
//! A tool call is the same if its name and its arguments are, the latter as JSON. It is seen in the request
//! that sends the answer back; the last answer of a conversation never comes back, and calls no tool.
//! Attempts of one step are retries, and no repeats.

use super::carried::PieceCosts;
use crate::assembly::StepNumber;
use crate::composition::{PieceId, Prompts, Said, SeenPieces};
use crate::cost::Usd;
use crate::facts::CallFacts;
use crate::fingerprint::Fingerprint;
use crate::metrics::Measured;
use crate::text_diff::beginning;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Characters of a call's arguments that are shown.
const ARGUMENT_CHARS: usize = 60;

/// A step that repeated an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Repeat {
    pub step: StepNumber,
    /// The earlier step.
    pub of: StepNumber,
    pub what: Repeated,
    /// What its repeated results cost, every time they were sent; and the step's own cost, where all that it
    /// asked for was a repetition. `None` if neither is known.
    pub usd: Option<Usd>,
}

/// What was repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Repeated {
    /// The same request, which had been answered before.
    Request,
    ToolCall {
        sub: u32,
        tool: String,
        arguments: String,
        /// Whether its result was the same; `None` if one of them was not seen.
        same_result: Option<bool>,
    },
}

/// A tool call of a step.
struct Call {
    sub: u32,
    id: Option<String>,
    name: String,
    arguments: String,
    identity: Fingerprint,
}

pub(super) fn repeats(
    facts: &[CallFacts],
    measured: &Measured,
    prompts: &Prompts,
    costs: &PieceCosts,
) -> Vec<Repeat> {
    let mut found = requests(facts, measured);
    let again: HashSet<StepNumber> = found.iter().map(|repeat| repeat.step).collect();
    let calls = tool_calls(measured, prompts);
    let results = Results::of(prompts);
    let mut first: HashMap<Fingerprint, (StepNumber, Option<String>)> = HashMap::new();
    for (step, calls) in &calls {
        let mut repeated = Vec::new();
        for call in calls {
            let same = first.get(&call.identity).filter(|(of, _)| of < step);
            match same {
                Some((of, id)) => repeated.push((call, *of, results.same(id.as_deref(), call.id.as_deref()))),
                None => {
                    first.entry(call.identity).or_insert((*step, call.id.clone()));
                }
            }
        }
        if again.contains(step) {
            continue;
        }
        let all = repeated.len() == calls.len();
        let step_cost = measured.metrics.by_step.get(step.index()).and_then(|metrics| metrics.cost_usd);
        for (nth, (call, of, same_result)) in repeated.into_iter().enumerate() {
            // The step is counted once.
            let asking = step_cost.filter(|_| all && nth == 0);
            let carrying = results.usd(call.id.as_deref(), costs);
            let usd = [asking, carrying].into_iter().flatten().reduce(|a, b| a + b);
            let (tool, arguments) = (call.name.clone(), beginning(&call.arguments, ARGUMENT_CHARS));
            let what = Repeated::ToolCall { sub: call.sub, tool, arguments, same_result };
            found.push(Repeat { step: *step, of, what, usd });
        }
    }
    found.sort_by_key(|repeat| repeat.step);
    found
}

/// Steps whose request is one that had been answered.
fn requests(facts: &[CallFacts], measured: &Measured) -> Vec<Repeat> {
    let mut answered: HashMap<i64, StepNumber> = HashMap::new();
    let mut found = Vec::new();
    for step in &measured.assembly.steps {
        let fact = &facts[step.final_call().0];
        if let Some(&of) = answered.get(&fact.request_digest) {
            let usd = measured.metrics.by_step.get(step.number.index()).and_then(|metrics| metrics.cost_usd);
            found.push(Repeat { step: step.number, of, what: Repeated::Request, usd });
        } else if fact.succeeded() {
            answered.insert(fact.request_digest, step.number);
        }
    }
    found
}

/// The tool calls of each step, as the step that goes on from it sends them back.
fn tool_calls(measured: &Measured, prompts: &Prompts) -> BTreeMap<StepNumber, Vec<Call>> {
    let mut seen = SeenPieces::default();
    let mut calls: BTreeMap<StepNumber, Vec<Call>> = BTreeMap::new();
    for step in &measured.assembly.steps {
        let Some(prompt) = prompts.prompt(step.final_call()) else { continue };
        for piece in prompts.new_pieces(prompt, &mut seen) {
            let Said::Answer { calls: said } = &prompts.piece(piece).said else { continue };
            // An answer that nobody of this trace gave is an example in the prompt.
            let Some(parent) = step.parent else { continue };
            let of = calls.entry(parent).or_default();
            of.extend(said.iter().enumerate().map(|(nth, call)| Call {
                sub: u32::try_from(nth + 1).unwrap_or(u32::MAX),
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                identity: call.identity,
            }));
        }
    }
    calls
}

/// Tool results by the call that they answer.
struct Results<'a> {
    prompts: &'a Prompts,
    by_id: HashMap<&'a str, PieceId>,
}

impl<'a> Results<'a> {
    fn of(prompts: &'a Prompts) -> Self {
        let by_id = prompts.pieces().filter_map(|(id, piece)| match &piece.said {
            Said::Result { call_id: Some(call_id), .. } => Some((call_id.as_str(), id)),
            _ => None,
        });
        Self { prompts, by_id: by_id.collect() }
    }

    fn text(&self, call_id: Option<&str>) -> Option<&str> {
        Some(&self.prompts.piece(*self.by_id.get(call_id?)?).text)
    }

    fn same(&self, earlier: Option<&str>, later: Option<&str>) -> Option<bool> {
        Some(self.text(earlier)? == self.text(later)?)
    }

    fn usd(&self, call_id: Option<&str>, costs: &PieceCosts) -> Option<Usd> {
        Some(costs.by_piece.get(self.by_id.get(call_id?)?)?.usd)
    }
}
