//! One trace's loops, driven by whoever answers, with the recording's tools.
//!
//! What is sent next is decided by [`FreeRun`], which is pure. Loops run one after the other; what a loop may
//! send at once is sent at once.

use super::client::Client;
use super::{Recording, Sent, Stop};
use anyhow::Context;
use looptape_core::exchange::Exchange;
use looptape_core::facts::CallFacts;
use looptape_core::replay::driven::{Coverage, FreedLoops, facts_of_free_call};
use looptape_core::replay::free_run::{FreeRequest, FreeRun, RecordedStep};
use looptape_core::replay::retry::MAX_RETRIES;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How many times the recorded steps a loop may take, where no limit is given.
const LONGER_THAN_RECORDED: u32 = 3;

/// Runs the loops of a recording, until they end or it is told to stop.
pub(crate) async fn run(
    client: &Client,
    recording: &Recording,
    max_steps: Option<u32>,
    stop: &mut Stop,
) -> anyhow::Result<Sent<FreedLoops>> {
    let exchanges: Vec<Arc<Exchange>> = (0..recording.facts.len())
        .map(|at| recording.exchange(at).map(Arc::new))
        .collect::<anyhow::Result<_>>()?;
    let steps = RecordedStep::by_loop(&exchanges, &recording.assembly);
    // All of them are looked at before anything runs.
    let loops = (1..).zip(steps).map(|(number, steps)| {
        let recorded = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let max_steps = max_steps.unwrap_or(recorded.saturating_mul(LONGER_THAN_RECORDED));
        Ok((number, FreeRun::new(steps, max_steps)?))
    });
    let loops: Vec<(u32, FreeRun)> =
        loops.collect::<anyhow::Result<_>>().with_context(|| format!("trace {}", recording.label))?;
    let mut sent = Sent { coverage: Coverage::Whole, facts: Vec::new(), what: FreedLoops::default() };
    for (number, mut free) in loops {
        if !stop.is_set() {
            drive(client, (recording, &exchanges), number, &mut free, &mut sent.facts, stop).await?;
        }
        sent.what.0.push((number, free.finish()));
    }
    if stop.is_set() {
        sent.coverage = Coverage::Interrupted;
    }
    Ok(sent)
}

/// Sends what a loop has to send, until it has nothing more. Dropping the set breaks calls off.
async fn drive(
    client: &Client,
    (recording, exchanges): (&Recording, &[Arc<Exchange>]),
    number: u32,
    free: &mut FreeRun,
    facts: &mut Vec<CallFacts>,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    let places: HashMap<u32, usize> = exchanges.iter().enumerate().map(|(at, call)| (call.seq, at)).collect();
    let name = format!("loop {number}");
    let mut under_way: JoinSet<(FreeRequest, Vec<Exchange>)> = JoinSet::new();
    loop {
        for request in free.ready() {
            let at = places[&request.like];
            let recorded = exchanges[at].clone();
            under_way.spawn(send(client.clone(), recorded, request, retries(recording, at)));
        }
        let answered = tokio::select! {
            answered = under_way.join_next() => answered,
            () = stop.wait() => return Ok(()),
        };
        let Some(answered) = answered else { return Ok(()) };
        let (request, attempts) = answered.context("a call of the replay panicked: this is a bug")?;
        let of_attempt = |(retries, attempt)| facts_of_free_call(attempt, &name, retries);
        facts.extend((0..).zip(&attempts).map(of_attempt));
        let last = attempts.last().context("a call was not even sent: this is a bug")?;
        free.answered(request, &last.outcome);
    }
}

async fn send(
    client: Client,
    recorded: Arc<Exchange>,
    request: FreeRequest,
    max_retries: u32,
) -> (FreeRequest, Vec<Exchange>) {
    let attempts = client.send_with_retries(&recorded, request.body.clone(), max_retries).await;
    (request, attempts)
}

/// As often as SDKs try, and at least as often as it was tried in the recording.
fn retries(recording: &Recording, at: usize) -> u32 {
    let step = recording.assembly.steps.iter().find(|step| step.calls().any(|call| call.0 == at));
    let recorded = step.map_or(0, |step| step.attempts.len().saturating_sub(1));
    u32::try_from(recorded).unwrap_or(u32::MAX).max(MAX_RETRIES)
}
