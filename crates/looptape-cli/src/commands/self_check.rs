//! The self-check of a trace: its recorded requests, sent to its own recording.
//!
//! Calls are sent in recorded order and concurrency: each once the calls that had ended before it started
//! have ended again. Everything goes over HTTP to the same server that serves agents.

use crate::tape;
use anyhow::Context;
use http_body_util::BodyExt;
use looptape_core::TraceId;
use looptape_core::exchange::{Ending, Exchange, Outcome};
use looptape_core::headers::{REDACTED, string_to_latin1};
use looptape_core::metrics::{self, Percentiles, Sample, TraceMetrics};
use looptape_core::replay::Summary;
use looptape_proxy::model::Model;
use looptape_proxy::server::Server;
use looptape_proxy::tape_server::TapeServer;
use looptape_store::{Reader, RecordedTrace};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What the self-check found.
#[derive(Debug, Serialize)]
pub(crate) struct SelfCheck {
    pub(crate) trace: String,
    /// Calls that were sent.
    pub(crate) calls: usize,
    /// Answers that were the recorded ones, bit for bit.
    pub(crate) identical: usize,
    pub(crate) differences: Vec<AnswerDifference>,
    /// Calls without a recorded end: there is nothing to compare with.
    pub(crate) unanswered: usize,
    pub(crate) loops: u32,
    pub(crate) steps: u32,
    pub(crate) elapsed_ms: f64,
    /// Loops replayed per minute, from the first request to the last answer of this check.
    pub(crate) loops_per_min: Option<f64>,
    pub(crate) steps_per_loop: Percentiles,
    pub(crate) retry_rate: Option<f64>,
    pub(crate) replay: Summary,
    /// The trace in which this check is written down.
    pub(crate) replay_trace: Option<TraceId>,
}

/// An answer that was not the recorded one.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerDifference {
    pub(crate) call: u32,
    pub(crate) what: String,
}

impl SelfCheck {
    pub(crate) fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.replay.divergences.is_empty()
    }
}

/// Sends every recorded request and compares every answer.
pub(super) async fn run(
    reader: &Reader,
    trace: &RecordedTrace,
    server: TapeServer<impl Model>,
) -> anyhow::Result<SelfCheck> {
    let exchanges: Vec<Arc<Exchange>> = tape::exchanges(reader, trace)?.into_iter().map(Arc::new).collect();
    let server = Arc::new(server);
    let running =
        Server::start(tape::listen().await?, server.clone()).context("the tape server cannot be started")?;
    let origin = format!("http://{}", running.address());
    // Nothing but the tape server is ever asked, so a proxy of the environment is not either.
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let started = Instant::now();
    let outcomes = send_all(&client, &origin, &exchanges).await?;
    let elapsed = started.elapsed();
    drop(client);
    running.drain(Duration::from_secs(1)).await;
    let replay = server.finish().context("the replay was ended twice: this is a bug")?;
    if let Some(trouble) = server.trouble() {
        anyhow::bail!(trouble);
    }
    Ok(summarise(trace, &trace.measure().metrics, outcomes, elapsed, replay))
}

/// How each call's answer differs; `None` if it was the recorded one.
type Outcomes = Vec<(u32, Option<String>)>;

/// Walks through the recorded starts and ends in their order: a start sends, an end waits.
async fn send_all(
    client: &reqwest::Client,
    origin: &str,
    exchanges: &[Arc<Exchange>],
) -> anyhow::Result<Outcomes> {
    let mut events: Vec<(i64, bool, usize)> = Vec::new();
    for (index, exchange) in exchanges.iter().enumerate() {
        let end_us = match &exchange.outcome {
            Outcome::InFlight => continue,
            Outcome::NoResponse { end_us, .. } => *end_us,
            Outcome::Answered(answer) => answer.end_us,
        };
        // At one instant ends come before starts, but no call ends before it started.
        events.push((exchange.sent_us, true, index));
        events.push((end_us.max(exchange.sent_us + 1), false, index));
    }
    events.sort_unstable();
    let mut under_way: HashMap<usize, JoinHandle<Option<String>>> = HashMap::new();
    let mut outcomes = Vec::new();
    for (_, starts, index) in events {
        if starts {
            let (client, exchange) = (client.clone(), exchanges[index].clone());
            let url = format!("{origin}/{}{}", exchange.provider, exchange.path);
            under_way.insert(index, tokio::spawn(async move { compare(&client, &url, &exchange).await }));
        } else if let Some(task) = under_way.remove(&index) {
            let difference = task.await.context("a call of the self-check panicked: this is a bug")?;
            outcomes.push((exchanges[index].seq, difference));
        }
    }
    Ok(outcomes)
}

/// How the answer to a recorded request differs from the recorded one.
async fn compare(client: &reqwest::Client, url: &str, exchange: &Exchange) -> Option<String> {
    let Ok(method) = exchange.method.parse() else {
        return Some(format!("`{}` is no HTTP method", exchange.method));
    };
    let mut request = client.request(method, url).body(exchange.request_body.clone());
    let sent =
        exchange.request_headers.iter().filter(|(name, value)| *value != REDACTED && !is_of_a_page(name));
    for (name, value) in sent {
        request = request.header(name, string_to_latin1(value));
    }
    match (&exchange.outcome, request.send().await) {
        (Outcome::InFlight, _) | (Outcome::NoResponse { .. }, Err(_)) => None,
        (Outcome::NoResponse { .. }, Ok(now)) => {
            Some(format!("recorded: no response; now: status {}", now.status()))
        }
        (Outcome::Answered(_), Err(error)) => Some(format!("no response: {error}")),
        (Outcome::Answered(answer), Ok(now)) => {
            if now.status().as_u16() != answer.status {
                return Some(format!("recorded: status {}; now: {}", answer.status, now.status().as_u16()));
            }
            let (body, ending) = read(now).await;
            if body != answer.body {
                return Some(first_difference(&answer.body, &body));
            }
            let recorded = if answer.ending == Ending::Complete { BodyEnd::Whole } else { BodyEnd::Broken };
            (ending != recorded).then(|| "the answer ends in another way than recorded".to_owned())
        }
    }
}

/// What a browser says about the page that sends. No page sends this request again, and the server refuses
/// those of strangers.
fn is_of_a_page(name: &str) -> bool {
    name == "origin" || name.starts_with("sec-fetch-")
}

#[derive(PartialEq)]
enum BodyEnd {
    Whole,
    Broken,
}

async fn read(response: reqwest::Response) -> (Vec<u8>, BodyEnd) {
    let mut body = http::Response::<reqwest::Body>::from(response).into_body();
    let mut bytes = Vec::new();
    loop {
        match body.frame().await {
            None => return (bytes, BodyEnd::Whole),
            Some(Err(_)) => return (bytes, BodyEnd::Broken),
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
        }
    }
}

fn first_difference(recorded: &[u8], now: &[u8]) -> String {
    let at = recorded.iter().zip(now).take_while(|(a, b)| a == b).count();
    format!("the bodies differ from byte {at} on ({} bytes recorded, {} now)", recorded.len(), now.len())
}

fn summarise(
    trace: &RecordedTrace,
    metrics: &TraceMetrics,
    outcomes: Outcomes,
    elapsed: Duration,
    replay: Summary,
) -> SelfCheck {
    let calls = outcomes.len();
    let differences: Vec<AnswerDifference> = outcomes
        .into_iter()
        .filter_map(|(call, what)| Some(AnswerDifference { call, what: what? }))
        .collect();
    let stats = metrics::stats(&[Sample { started_unix_us: Some(trace.row.started_unix_us), metrics }], None);
    let minutes = elapsed.as_secs_f64() / 60.0;
    SelfCheck {
        trace: trace.row.label(),
        calls,
        identical: calls - differences.len(),
        differences,
        unanswered: trace.facts.len() - calls,
        loops: metrics.loops,
        steps: metrics.steps,
        elapsed_ms: elapsed.as_secs_f64() * 1000.0,
        loops_per_min: (minutes > 0.0).then(|| f64::from(metrics.loops) / minutes),
        steps_per_loop: stats.steps_per_loop,
        retry_rate: metrics.retry_rate,
        replay,
        replay_trace: None,
    }
}
