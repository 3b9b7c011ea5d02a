//! The prompts of a recorded trace, read as far as a trace's steps add to them.

use looptape_core::assembly::CallIndex;
use looptape_core::composition::{Mark, Prompts, Tokenizer};
use looptape_core::derive;
use looptape_core::facts::{CallFacts, CallKind};
use looptape_store::{ReadError, Reader, RecordedTrace};
use std::collections::HashMap;

/// Prompts, and the calls (by `seq`) whose requests are damaged.
#[derive(Debug)]
pub struct ReadPrompts {
    pub prompts: Prompts,
    pub damage: Vec<(u32, ReadError)>,
}

impl ReadPrompts {
    /// Those of all model calls.
    pub fn all(reader: &Reader, trace: &RecordedTrace) -> Self {
        Self::of(reader, trace, |_| true)
    }

    /// That of one call, and of those whose answers it goes on from without repeating them.
    pub fn one(reader: &Reader, trace: &RecordedTrace, call: CallIndex) -> Self {
        let wanted = chain(&trace.facts, call);
        Self::of(reader, trace, |index| wanted.contains(&index))
    }

    fn of(reader: &Reader, trace: &RecordedTrace, wanted: impl Fn(CallIndex) -> bool) -> Self {
        let mut read = Self { prompts: Prompts::of(&trace.facts), damage: Vec::new() };
        for (index, facts) in trace.facts.iter().enumerate().filter(|(index, _)| wanted(CallIndex(*index))) {
            if let Err(error) = read.add(reader, trace, CallIndex(index), facts) {
                read.damage.push((facts.seq, error));
            }
        }
        read
    }

    fn add(
        &mut self,
        reader: &Reader,
        trace: &RecordedTrace,
        call: CallIndex,
        facts: &CallFacts,
    ) -> Result<(), ReadError> {
        let CallKind::Llm(wire) = facts.kind else { return Ok(()) };
        let member = wire.history().map_or("", |(member, _)| member);
        let is_known = |mark: Mark| self.prompts.knows(wire, mark);
        let request = reader.request_parts(trace.row.key, facts.seq, member, &is_known)?;
        self.prompts.add(call, facts, &request);
        if self.prompts.needs_answer(facts) {
            let outcome = reader.outcome(trace.row.key, facts.seq)?;
            if let Some(answer) = derive::response_view(facts.kind, &outcome) {
                self.prompts.add_answer(call, facts, &answer);
            }
        }
        Ok(())
    }
}

/// A call, and the calls that it goes on from by their response ids.
fn chain(facts: &[CallFacts], call: CallIndex) -> Vec<CallIndex> {
    if facts[call.0].previous_response_id.is_none() {
        return vec![call];
    }
    let by_id: HashMap<&str, usize> =
        facts.iter().enumerate().filter_map(|(at, fact)| Some((fact.response_id.as_deref()?, at))).collect();
    let mut wanted = vec![call];
    let mut at = call.0;
    while let Some(&before) = facts[at].previous_response_id.as_deref().and_then(|id| by_id.get(id)) {
        // An answer is older than what goes on from it; anything else is a file that says so.
        if before >= at {
            break;
        }
        wanted.push(CallIndex(before));
        at = before;
    }
    wanted
}

/// Makes the tokenizers of a trace ready aside, while other things are read.
pub fn prepare_tokenizers(trace: &RecordedTrace) {
    let mut wanted: Vec<Tokenizer> = Vec::new();
    for fact in &trace.facts {
        let model = fact.response_model.as_deref().or(fact.model.as_deref());
        let tokenizer = Tokenizer::of(fact.provider.as_str(), model);
        if matches!(fact.kind, CallKind::Llm(_)) && !wanted.contains(&tokenizer) {
            wanted.push(tokenizer);
        }
    }
    std::thread::spawn(move || wanted.into_iter().for_each(Tokenizer::prepare));
}
