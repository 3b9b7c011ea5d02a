//! One trace's recorded requests, sent again in recorded order and concurrency.
//!
//! What a recording answers is sent call by call as it was, failed attempts and other calls included. What a
//! model answers is sent step by step: only model calls, each once, and tried again as SDKs do where that
//! fails; a recorded retry is no reason to pay twice, and other calls may have effects.

use super::client::{Client, Like};
use super::{Recording, Sent, Stop};
use anyhow::Context;
use looptape_core::exchange::Exchange;
use looptape_core::facts::CallFacts;
use looptape_core::replay::CallLabel;
use looptape_core::replay::answers::AnswerDiff;
use looptape_core::replay::driven::{self, Coverage, DrivenCall, ResentCalls};
use looptape_core::replay::retry::MAX_RETRIES;
use looptape_core::replay::schedule::{RecordedSpan, Turn, turns};
use looptape_page::replays::Progress;
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

/// A recorded call to send, and when it (with its attempts) ran.
struct Item {
    at: usize,
    span: RecordedSpan,
}

/// A call that was sent, compared and measured.
struct Done {
    call: Option<DrivenCall>,
    /// Of every attempt.
    facts: Vec<CallFacts>,
}

/// Sends a recording's requests, until they are sent or it is told to stop.
pub(crate) async fn run(
    client: &Client,
    recording: &Arc<Recording>,
    sending: Sending,
    stop: &mut Stop,
    progress: &Progress,
) -> anyhow::Result<Sent<ResentCalls>> {
    let items = items(recording, sending);
    progress.begins(items.len());
    let unanswered = recording.facts.iter().filter(|call| call.end_us.is_none()).count();
    let superseded = recording.facts.iter().filter(|call| call.is_superseded()).count();
    let not_sent = recording.facts.len().saturating_sub(unanswered + superseded + items.len());
    let spans: Vec<RecordedSpan> = items.iter().map(|item| item.span).collect();
    let mut under_way: HashMap<usize, JoinHandle<anyhow::Result<Done>>> = HashMap::new();
    let mut sent: Vec<(usize, Done)> = Vec::new();
    for turn in turns(&spans) {
        if stop.is_set() {
            break;
        }
        match turn {
            Turn::Send(item) => {
                let job = send(client.clone(), recording.clone(), items[item].at, sending);
                under_way.insert(item, tokio::spawn(job));
            }
            Turn::Await(item) => {
                let Some(task) = under_way.get_mut(&item) else { continue };
                let done = tokio::select! {
                    done = task => done.context("a call of the replay panicked: this is a bug")??,
                    () = stop.wait() => break,
                };
                under_way.remove(&item);
                progress.one_answered();
                sent.push((items[item].at, done));
            }
        }
    }
    under_way.values().for_each(JoinHandle::abort);
    let coverage = if sent.len() < items.len() { Coverage::Interrupted } else { Coverage::Whole };
    sent.sort_by_key(|(at, _)| *at);
    let (mut calls, mut facts) = (Vec::new(), Vec::new());
    for (_, done) in sent {
        calls.extend(done.call);
        facts.extend(done.facts);
    }
    Ok(Sent { coverage, facts, what: ResentCalls { calls, unanswered, not_sent } })
}

fn items(recording: &Recording, sending: Sending) -> Vec<Item> {
    let facts = &recording.facts;
    let item = |first: usize, last: usize| {
        let span = RecordedSpan { sent_us: facts[first].sent_us, end_us: facts[last].end_us? };
        Some(Item { at: last, span })
    };
    match sending {
        Sending::EveryCall => {
            let of_client = (0..facts.len()).filter(|at| !facts[*at].is_superseded());
            of_client.filter_map(|at| item(at, at)).collect()
        }
        Sending::EveryStep => {
            let steps = recording.assembly.steps.iter();
            steps.filter_map(|step| item(step.first_call().0, step.final_call().0)).collect()
        }
    }
}

/// Sends a call, and again where that is to be done.
async fn send(
    client: Client,
    recording: Arc<Recording>,
    at: usize,
    sending: Sending,
) -> anyhow::Result<Done> {
    let recorded = recording.exchange(at)?;
    let attempts = match sending {
        Sending::EveryCall => {
            vec![client.send(Like { recorded: &recorded, body: None, retries: None }).await]
        }
        Sending::EveryStep => client.send_with_retries(&recorded, None, MAX_RETRIES).await,
    };
    let of_attempt = |(retries, attempt): (u32, &Exchange)| {
        let retries = (sending == Sending::EveryStep).then_some(retries);
        driven::facts(&recording.facts[at], attempt, retries)
    };
    Ok(Done {
        call: attempts.last().and_then(|last| compared(&recording, at, &recorded, last)),
        facts: (0..).zip(&attempts).map(of_attempt).collect(),
    })
}

fn compared(recording: &Recording, at: usize, recorded: &Exchange, now: &Exchange) -> Option<DrivenCall> {
    let answer = AnswerDiff::between(recording.facts[at].kind, &recorded.outcome, &now.outcome)?;
    let unknown = CallLabel { seq: recorded.seq, step: None, lane: 0 };
    Some(DrivenCall { label: recording.labels.get(&recorded.seq).copied().unwrap_or(unknown), answer })
}
