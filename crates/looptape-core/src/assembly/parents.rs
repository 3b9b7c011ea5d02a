//! Whose answer a request carries on from.
//!
//! In order of strength: the response id that it names, the whole history up to its last assistant turn,
//! that turn alone (a trimmed or rewritten history), the call ids of the tool results that it carries, and last the
//! history before that turn: whoever extends a request's history carries on from it, though the client put the answer
//! into words of its own.
//! Among several equal answers the one with the fewest followers is taken, then the newest: so identical
//! parallel lanes each go on by themselves, and a repeated question belongs to its last asking.

use super::attempts::Group;
use super::{CallIndex, Clock};
use crate::facts::{CallFacts, CallKind};
use std::collections::HashMap;
use std::hash::Hash;

/// How many equal answers are looked at, newest first: a bound on work, not on depth.
const MAX_EQUAL_ANSWERS: usize = 64;

/// An answer: the step that got it and the attempt that brought it.
#[derive(Clone, Copy)]
struct Answer {
    step: usize,
    call: CallIndex,
}

/// Answers by everything that a later request may echo.
#[derive(Default)]
struct Answers<'a> {
    by_response_id: HashMap<&'a str, Vec<Answer>>,
    by_history: HashMap<i64, Vec<Answer>>,
    by_turn: HashMap<i64, Vec<Answer>>,
    by_call_id: HashMap<&'a str, Vec<Answer>>,
    by_asked: HashMap<i64, Vec<Answer>>,
}

/// Sets parents and children. `steps` are numbered and in order.
pub(super) fn link(facts: &[CallFacts], clock: &Clock, steps: &mut [Group]) {
    if steps.len() < 2 {
        return;
    }
    let mut answers = Answers::default();
    for index in 0..steps.len() {
        let call = steps[index].first_call();
        if let Some(parent) = answers.parent_of(facts, clock, steps, call) {
            steps[index].parent = Some(steps[parent].number);
            let child = steps[index].number;
            steps[parent].children.push(child);
        }
        for attempt in &steps[index].attempts {
            answers.add(&facts[attempt.call.0], Answer { step: index, call: attempt.call });
        }
    }
}

impl<'a> Answers<'a> {
    fn add(&mut self, fact: &'a CallFacts, answer: Answer) {
        note(&mut self.by_response_id, fact.response_id.as_deref(), answer);
        note(&mut self.by_history, fact.lineage.answer_history, answer);
        note(&mut self.by_turn, fact.lineage.answer_turn, answer);
        for ask in &fact.asks {
            note(&mut self.by_call_id, ask.id.as_deref(), answer);
        }
        if let CallKind::Llm(_) = fact.kind {
            note(&mut self.by_asked, Some(fact.lineage.history), answer);
        }
    }

    fn parent_of(
        &self,
        facts: &[CallFacts],
        clock: &Clock,
        steps: &[Group],
        call: CallIndex,
    ) -> Option<usize> {
        let fact = &facts[call.0];
        let best = |answers: Option<&Vec<Answer>>| best(answers?, clock, steps, call);
        let by_id = fact.previous_response_id.as_deref().and_then(|id| best(self.by_response_id.get(id)));
        by_id
            .or_else(|| fact.lineage.echo.and_then(|echo| best(self.by_history.get(&echo))))
            .or_else(|| fact.lineage.last_turn.and_then(|turn| best(self.by_turn.get(&turn))))
            .or_else(|| fact.carries.iter().find_map(|id| best(self.by_call_id.get(id.as_str()))))
            .or_else(|| fact.lineage.before_turn.and_then(|asked| best(self.by_asked.get(&asked))))
    }
}

fn note<K: Hash + Eq>(map: &mut HashMap<K, Vec<Answer>>, key: Option<K>, answer: Answer) {
    if let Some(key) = key {
        map.entry(key).or_default().push(answer);
    }
}

fn best(answers: &[Answer], clock: &Clock, steps: &[Group], call: CallIndex) -> Option<usize> {
    answers
        .iter()
        .rev()
        // An answer that was asked for after this request was sent cannot be what it echoes.
        .filter(|answer| answer.call < call)
        .take(MAX_EQUAL_ANSWERS)
        .min_by_key(|answer| {
            let unfinished = !clock.over_before(answer.call, call);
            (unfinished, steps[answer.step].children.len(), std::cmp::Reverse(answer.step))
        })
        .map(|answer| answer.step)
}
