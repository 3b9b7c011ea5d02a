//! A recorded trace as a tape, and a server for it.

use crate::child::claude_code;
use crate::child::environment::Variables;
use crate::config::Config;
use anyhow::Context;
use looptape_core::derive;
use looptape_core::exchange::Exchange;
use looptape_core::redact;
use looptape_core::replay::{CallLabel, Completeness, Options, RecordedCall, Replayer, Tape};
use looptape_proxy::guard::Guard;
use looptape_proxy::server::bind;
use looptape_proxy::tape_server::TapeServer;
use looptape_store::{Reader, RecordedTrace, TraceStatus};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// A recorded trace, ready to answer an agent.
pub(crate) struct Ready {
    pub(crate) server: TapeServer,
    /// What the recorded agent was told by its environment, and has to be told again.
    pub(crate) told: Variables,
}

/// A server that answers from `trace`.
pub(crate) fn server(
    reader: &Reader,
    trace: &RecordedTrace,
    options: Options,
    config: &Config,
) -> anyhow::Result<Ready> {
    let exchanges = exchanges(reader, trace)?;
    let tape = Tape::new(calls(trace, &exchanges), completeness(&trace.row.status), redact::normalise);
    let replayer = Replayer::new(tape, options)
        .context("replay what there is with --allow-incomplete, or record the run again")?;
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    let guard = Guard::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)?;
    let told = claude_code::as_recorded(&exchanges);
    Ok(Ready { server: TapeServer::new(replayer, exchanges, config.patterns()?, guard, key), told })
}

/// A free loopback port.
pub(crate) async fn listen() -> anyhow::Result<TcpListener> {
    Ok(bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?)
}

/// All calls of a trace with their bytes.
pub(crate) fn exchanges(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Vec<Exchange>> {
    trace.facts.iter().map(|facts| Ok(reader.exchange(trace.row.key, facts.seq)?)).collect()
}

fn calls(trace: &RecordedTrace, exchanges: &[Exchange]) -> Vec<RecordedCall> {
    let labels = labels(trace);
    trace
        .facts
        .iter()
        .zip(exchanges)
        .map(|(facts, exchange)| {
            let label =
                labels.get(&facts.seq).copied().unwrap_or(CallLabel { seq: facts.seq, step: None, lane: 0 });
            let body = derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]).bytes;
            RecordedCall::new(label, exchange, facts, body)
        })
        .collect()
}

/// How people know each call: by its step.
fn labels(trace: &RecordedTrace) -> HashMap<u32, CallLabel> {
    let assembly = trace.measure().assembly;
    let of_step = |step: &looptape_core::assembly::Step| {
        let (number, lane) = (step.number.0, step.lane.0);
        let seqs: Vec<u32> = step.attempts.iter().map(|a| trace.facts[a.call.0].seq).collect();
        seqs.into_iter().map(move |seq| (seq, CallLabel { seq, step: Some(number), lane }))
    };
    assembly.steps.iter().flat_map(of_step).collect()
}

/// A recorder that was killed leaves a prefix; dropped calls leave holes.
fn completeness(status: &TraceStatus) -> Completeness {
    match status {
        TraceStatus::Complete => Completeness::Complete,
        TraceStatus::Recording => Completeness::Prefix,
        TraceStatus::Aborted(reasons) if reasons.len() <= 1 => Completeness::Prefix,
        TraceStatus::Aborted(reasons) | TraceStatus::Incomplete(reasons) => {
            Completeness::Incomplete { reasons: reasons.clone() }
        }
    }
}
