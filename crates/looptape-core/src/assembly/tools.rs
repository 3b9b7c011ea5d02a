//! Tool calls: asked for by one step's answer, answered by a later step's request.
//!
//! Nothing here saw the tool run. Its time is inferred as the gap between the two, an upper bound; what was measured
//! replaces it later ([`super::measured`]).

use super::attempts::Group;
use super::{Clock, StepNumber, ToolStep};
use crate::facts::{AskedTool, CallFacts};
use std::collections::HashMap;

/// The tool calls of every step, in the order of `steps`.
pub(super) fn infer(facts: &[CallFacts], clock: &Clock, steps: &[Group]) -> Vec<Vec<ToolStep>> {
    let ids = IdIndex::new(facts, steps);
    steps
        .iter()
        .map(|step| {
            let asks = &facts[step.last_call().0].asks;
            (0..asks.len()).map(|nth| tool_step(facts, clock, steps, &ids, step, nth)).collect()
        })
        .collect()
}

/// Which steps carry, and which ask for, each call id.
struct IdIndex<'a> {
    carried: HashMap<&'a str, Vec<StepNumber>>,
    asked: HashMap<&'a str, Vec<StepNumber>>,
}

impl<'a> IdIndex<'a> {
    fn new(facts: &'a [CallFacts], steps: &[Group]) -> Self {
        let mut index = Self { carried: HashMap::new(), asked: HashMap::new() };
        for step in steps {
            for id in &facts[step.first()].carries {
                index.carried.entry(id).or_default().push(step.number);
            }
            for id in facts[step.last_call().0].asks.iter().filter_map(|ask| ask.id.as_deref()) {
                index.asked.entry(id).or_default().push(step.number);
            }
        }
        index
    }

    /// The first step after `asker` that carries `id`, unless another step asked under the same id first.
    fn carrier(&self, id: &str, asker: StepNumber) -> Option<StepNumber> {
        let after = |steps: &Vec<StepNumber>| {
            let place = steps.partition_point(|step| *step <= asker);
            steps.get(place).copied()
        };
        let carrier = self.carried.get(id).and_then(after)?;
        let rival = self.asked.get(id).and_then(after);
        rival.is_none_or(|rival| carrier <= rival).then_some(carrier)
    }
}

fn tool_step(
    facts: &[CallFacts],
    clock: &Clock,
    steps: &[Group],
    ids: &IdIndex<'_>,
    step: &Group,
    nth: usize,
) -> ToolStep {
    let answer = step.last_call();
    let asks = &facts[answer.0].asks;
    let ask = &asks[nth];
    let answered_by = answering_child(facts, steps, step, asks, nth)
        .or_else(|| ask.id.as_deref().and_then(|id| ids.carrier(id, step.number)));
    let started = clock.end(answer);
    let ended = answered_by.map(|by| clock.start(steps[by.index()].first_call()));
    ToolStep {
        sub: u32::try_from(nth + 1).unwrap_or(u32::MAX),
        call_id: ask.id.clone(),
        name: ask.name.clone(),
        answered_by,
        started_us: started.and_then(|time| clock.measured(time)),
        ended_us: ended.map(|time| time.max(started.unwrap_or(time))).and_then(|time| clock.measured(time)),
        measured: None,
    }
}

/// The first child of `step` that carries the result of its `nth` tool call: by id, or, where the format has
/// none, by name, the second call of a name needing a second result. Where the model gave no ids and the client made some
/// up, by place.
fn answering_child(
    facts: &[CallFacts],
    steps: &[Group],
    step: &Group,
    asks: &[AskedTool],
    nth: usize,
) -> Option<StepNumber> {
    let ask = &asks[nth];
    let key = ask.id.as_deref().unwrap_or(&ask.name);
    let same_before = asks[..nth].iter().filter(|a| a.id.is_none() && a.name == ask.name).count();
    let needed = if ask.id.is_some() { 1 } else { same_before + 1 };
    let carries = |child: &&StepNumber| {
        let carried = &facts[steps[child.index()].first()].carries;
        let is_asked = |id: &String| asks.iter().any(|ask| ask.id.as_ref().unwrap_or(&ask.name) == id);
        carried.iter().filter(|id| *id == key).count() >= needed
            || (ask.id.is_none() && carried.len() > nth && !carried.iter().any(is_asked))
    };
    step.children.iter().find(carries).copied()
}
