//! One trace's recorded requests, sent again in recorded order and concurrency.
//!
//! What a recording answers is sent call by call as it was, failed attempts and other calls included. What a
//! model answers is sent step by step: only model calls, each once, and tried again as SDKs do where that
//! fails; a recorded retry is no reason to pay twice, and other calls may have effects.

use super::client::{Client, Like};
use super::{Recording, Stop};
use anyhow::Context;
use looptape_core::exchange::{Exchange, Outcome};
use looptape_core::facts::CallFacts;
use looptape_core::replay::CallLabel;
use looptape_core::replay::answers::AnswerDiff;
use looptape_core::replay::driven::{self, Coverage, DrivenCall};
use looptape_core::replay::retry::wait_before_retry;
use looptape_core::replay::schedule::{RecordedSpan, Turn, turns};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// What is sent of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Every call, as it was.
    EveryCall,
    /// Every model step once, and again where that fails.
    EveryStep,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Forced {
    pub(crate) coverage: Coverage,
    /// In recorded order.
    pub(crate) calls: Vec<DrivenCall>,
    /// Of everything that was sent, in the order in which it was sent.
    pub(crate) facts: Vec<CallFacts>,
    pub(crate) unanswered: usize,
    pub(crate) not_sent: usize,
}

/// A recorded call to send, and when it (with its attempts) ran.
struct Item {
    at: usize,
    span: RecordedSpan,
}

/// Sends a recording's requests, until they are sent or it is told to stop.
pub(crate) async fn run(
    client: &Client,
    recording: &Recording,
    sending: Sending,
    mut stop: Stop,
) -> anyhow::Result<Forced> {
    let items = items(recording, sending);
    let unanswered = recording.exchanges.iter().filter(|call| is_in_flight(call)).count();
    let not_sent = recording.exchanges.len() - unanswered - items.len();
    let spans: Vec<RecordedSpan> = items.iter().map(|item| item.span).collect();
    let mut under_way: HashMap<usize, JoinHandle<Vec<Exchange>>> = HashMap::new();
    let mut sent: Vec<(usize, Vec<Exchange>)> = Vec::new();
    for turn in turns(&spans) {
        if stop.is_set() {
            break;
        }
        match turn {
            Turn::Send(item) => {
                let (client, recorded) = (client.clone(), recording.exchanges[items[item].at].clone());
                under_way.insert(item, tokio::spawn(send(client, recorded, sending)));
            }
            Turn::Await(item) => {
                let Some(task) = under_way.get_mut(&item) else { continue };
                let done = tokio::select! {
                    done = task => done.context("a call of the replay panicked: this is a bug")?,
                    () = stop.wait() => break,
                };
                under_way.remove(&item);
                sent.push((items[item].at, done));
            }
        }
    }
    under_way.values().for_each(JoinHandle::abort);
    let coverage = if sent.len() < items.len() { Coverage::Interrupted } else { Coverage::Whole };
    sent.sort_by_key(|(at, _)| *at);
    Ok(Forced {
        coverage,
        calls: sent.iter().filter_map(|(at, sent)| compared(recording, *at, sent.last()?)).collect(),
        facts: facts(recording, &sent, sending),
        unanswered,
        not_sent,
    })
}

fn items(recording: &Recording, sending: Sending) -> Vec<Item> {
    let exchanges = &recording.exchanges;
    let item = |first: usize, last: usize| {
        let span = RecordedSpan { sent_us: exchanges[first].sent_us, end_us: end_us(&exchanges[last])? };
        Some(Item { at: last, span })
    };
    match sending {
        Sending::EveryCall => (0..exchanges.len()).filter_map(|at| item(at, at)).collect(),
        Sending::EveryStep => {
            recording.steps.iter().filter_map(|step| item(*step.first()?, *step.last()?)).collect()
        }
    }
}

fn end_us(call: &Exchange) -> Option<i64> {
    match &call.outcome {
        Outcome::InFlight => None,
        Outcome::NoResponse { end_us, .. } => Some(*end_us),
        Outcome::Answered(answer) => Some(answer.end_us),
    }
}

fn is_in_flight(call: &Exchange) -> bool {
    matches!(call.outcome, Outcome::InFlight)
}

/// Sends a call, and again where that is to be done; all attempts.
async fn send(client: Client, recorded: Arc<Exchange>, sending: Sending) -> Vec<Exchange> {
    let mut attempts = Vec::new();
    for retries in 0.. {
        let count = (sending == Sending::EveryStep).then_some(retries);
        let attempt = client.send(Like { recorded: &recorded, body: None, retries: count }).await;
        let wait = count.and_then(|retries| wait_before_retry(&attempt.outcome, retries));
        attempts.push(attempt);
        match wait {
            Some(wait) => tokio::time::sleep(wait).await,
            None => break,
        }
    }
    attempts
}

fn compared(recording: &Recording, at: usize, now: &Exchange) -> Option<DrivenCall> {
    let (recorded, facts) = (&recording.exchanges[at], &recording.facts[at]);
    let answer = AnswerDiff::between(facts.kind, &recorded.outcome, &now.outcome)?;
    let unknown = CallLabel { seq: recorded.seq, step: None, lane: 0 };
    Some(DrivenCall { label: recording.labels.get(&recorded.seq).copied().unwrap_or(unknown), answer })
}

fn facts(recording: &Recording, sent: &[(usize, Vec<Exchange>)], sending: Sending) -> Vec<CallFacts> {
    let of_call = |(at, attempts): &(usize, Vec<Exchange>)| -> Vec<CallFacts> {
        let one = |(retries, attempt): (u32, &Exchange)| {
            let retries = (sending == Sending::EveryStep).then_some(retries);
            driven::facts(&recording.facts[*at], attempt, retries)
        };
        (0..).zip(attempts).map(one).collect()
    };
    let mut facts: Vec<CallFacts> = sent.iter().flat_map(of_call).collect();
    facts.sort_by_key(|fact| fact.sent_us);
    for (seq, fact) in (0..).zip(&mut facts) {
        fact.seq = seq;
    }
    facts
}
