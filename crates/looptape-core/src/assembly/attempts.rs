//! Which exchanges are attempts of one step.
//!
//! An SDK that counts its retries says so (`x-stainless-retry-count` above 0); otherwise the same request
//! again after a failed one is a retry by the layer above. A request that starts while the identical one
//! before it is still in flight is no retry: it is a second call. Two identical requests that fail at the
//! same time cannot be told apart, so their retries are handed out in the order of the failures.
//!
//! A gateway that asks another upstream says so: the client sees one call, and the attempts are the gateway's.

use super::{Attempt, CallIndex, Clock, Retry, RetryLayer, StepNumber};
use crate::facts::{AttemptState, CallFacts};
use std::collections::HashMap;

/// The attempts of one step or plain call, and what later passes learn about it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: StepNumber,
    pub(super) attempts: Vec<Attempt>,
    pub(super) parent: Option<StepNumber>,
    /// Steps whose parent this is, in order.
    pub(super) children: Vec<StepNumber>,
}

impl Group {
    /// Index of the first attempt's facts.
    pub(super) fn first(&self) -> usize {
        self.first_call().0
    }

    pub(super) fn first_call(&self) -> CallIndex {
        self.attempts.first().expect("a group has at least one attempt").call
    }

    pub(super) fn last_call(&self) -> CallIndex {
        self.attempts.last().expect("a group has at least one attempt").call
    }
}

/// Groups of one request digest that a later call may belong to.
#[derive(Default)]
struct Candidates {
    /// Groups whose last attempt did not succeed.
    unanswered: Vec<usize>,
    /// The group that was answered last: an SDK may still not have received that answer.
    answered: Option<usize>,
}

/// Groups calls into steps and plain calls, in the order in which they started.
pub(super) fn group(facts: &[CallFacts], clock: &Clock) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_request: HashMap<i64, Candidates> = HashMap::new();
    for (index, fact) in facts.iter().enumerate() {
        let call = CallIndex(index);
        let candidates = by_request.entry(fact.request_digest).or_default();
        let earlier = find(facts, clock, &groups, candidates, call);
        let retry = retry(facts, clock, earlier.map(|g| groups[g].last_call()), call);
        let group = match earlier {
            Some(group) => group,
            None => {
                groups.push(Group {
                    number: StepNumber(0),
                    attempts: Vec::with_capacity(1),
                    parent: None,
                    children: Vec::new(),
                });
                groups.len() - 1
            }
        };
        groups[group].attempts.push(Attempt { call, retry });
        candidates.settle(group, fact);
    }
    groups
}

impl Candidates {
    /// Notes how the newest attempt of `group` ended.
    fn settle(&mut self, group: usize, fact: &CallFacts) {
        self.unanswered.retain(|g| *g != group);
        if fact.succeeded() {
            self.answered = Some(group);
        } else {
            self.unanswered.push(group);
        }
    }
}

/// The group that `call` is another attempt of. The lowest rank wins, then the earliest end.
fn find(
    facts: &[CallFacts],
    clock: &Clock,
    groups: &[Group],
    candidates: &Candidates,
    call: CallIndex,
) -> Option<usize> {
    let rank = |group: &usize| {
        let last = groups[*group].last_call();
        let same =
            facts[last.0].kind == facts[call.0].kind && facts[last.0].loop_hint == facts[call.0].loop_hint;
        let rank = rank(&facts[last.0], &facts[call.0], clock.over_before(last, call));
        rank.filter(|_| same).map(|rank| (rank, clock.end(last), last.0, *group))
    };
    candidates.unanswered.iter().chain(&candidates.answered).filter_map(rank).min().map(|(.., group)| group)
}

/// How well `call` fits as the next attempt after `last`; `None` if it does not.
fn rank(last: &CallFacts, call: &CallFacts, over: bool) -> Option<u8> {
    let failed = !last.succeeded();
    let Some(count) = call.retry_count.filter(|count| *count > 0) else {
        return (failed && over).then_some(0);
    };
    let next_in_count = last.retry_count.unwrap_or(0) + 1 == count;
    // A client that gave up waiting may send again a moment before the proxy sees that it hung up.
    let gave_up = matches!(last.state, AttemptState::ClientGone | AttemptState::InFlight);
    match (failed, over, next_in_count) {
        (true, true, true) => Some(0),
        (true, true, false) => Some(1),
        (true, false, true) if gave_up => Some(2),
        // The answer was sent whole, and the SDK says that it did not get it.
        (false, true, true) => Some(3),
        _ => None,
    }
}

fn retry(facts: &[CallFacts], clock: &Clock, before: Option<CallIndex>, call: CallIndex) -> Option<Retry> {
    let counted = facts[call.0].retry_count.is_some_and(|count| count > 0);
    let layer = match before {
        Some(before) if facts[before.0].is_superseded() => RetryLayer::Gateway,
        _ if counted => RetryLayer::Sdk,
        Some(_) => RetryLayer::Framework,
        None => return None,
    };
    let backoff_us = before
        .and_then(|before| clock.end(before))
        .and_then(|end| clock.measured((clock.start(call) - end).max(0)));
    Some(Retry { layer, backoff_us })
}
