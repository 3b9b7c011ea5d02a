//! Many traces, several at once, several times; the result is in order of traces and runs, whatever ended
//! first.

use super::client::Client;
use super::{Recording, Sent, Stop};
use anyhow::Context;
use indicatif::ProgressBar;
use looptape_core::cost::{Cost, PriceBook, Usd};
use looptape_core::metrics::{CostSum, Sample, TraceMetrics, Window, WindowBasis, stats};
use looptape_core::replay::Summary;
use looptape_core::replay::driven::{self, Coverage, DrivenRun, RefusedTrace};
use looptape_proxy::server::Server;
use looptape_store::{Reader, RecordedTrace, TraceRow};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// What to send.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<TraceRow>,
    /// Runs of each trace.
    pub(crate) repeat: NonZeroU32,
    /// Runs at once.
    pub(crate) concurrency: NonZeroU32,
}

/// A running server that answers one run, and how it is ended.
pub(crate) struct Answering {
    pub(crate) running: Server,
    /// Is told how much of the recording was sent.
    pub(crate) finish: Box<dyn FnOnce(Coverage) -> anyhow::Result<Answered> + Send>,
}

/// What a server says when its run is over.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    pub(crate) replay: Option<Summary>,
    /// The trace that it recorded.
    pub(crate) child: Option<String>,
    /// What the answers that it served from the recording had cost.
    pub(crate) saved: Vec<Cost>,
    /// What the user should know, and how often.
    pub(crate) remarks: Vec<(String, u64)>,
}

/// One run of one trace.
pub(crate) type Run<T> = DrivenRun<T>;

/// What came of a batch.
#[derive(Debug)]
pub(crate) struct Batched<T> {
    pub(crate) runs: Vec<Run<T>>,
    pub(crate) refused: Vec<RefusedTrace>,
    pub(crate) window: Window,
    /// What the recordings of these runs cost, and whether that is all of it.
    pub(crate) recorded_usd: Option<Usd>,
    pub(crate) recorded_at_least: bool,
    /// What the answers from the recordings had cost.
    pub(crate) saved: CostSum,
    /// What the user should know, and how often.
    pub(crate) remarks: BTreeMap<String, u64>,
}

/// How long calls may go on after their run has ended.
const LINGER: Duration = Duration::from_secs(1);

/// Runs a batch. `answering` starts the server for a run of a trace; where it cannot, the trace is refused.
/// `job` sends the requests of one run.
pub(crate) async fn run<T, F>(
    reader: &Reader,
    batch: &Batch,
    bar: &ProgressBar,
    stop: &Stop,
    mut answering: impl AsyncFnMut(&RecordedTrace) -> anyhow::Result<Answering>,
    job: impl Fn(Client, Arc<Recording>, Stop) -> F,
) -> anyhow::Result<Batched<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<Sent<T>>> + Send + 'static,
{
    let http = Client::connections()?;
    let mut under_way = JoinSet::new();
    let mut ended = Vec::new();
    let (mut refused, mut recorded) = (Vec::new(), Vec::new());
    let concurrency = usize::try_from(batch.concurrency.get()).unwrap_or(usize::MAX);
    'traces: for row in &batch.rows {
        let trace = reader.load(row.clone())?;
        let recording = Arc::new(Recording::new(reader, &trace)?);
        for run in 1..=batch.repeat.get() {
            while under_way.len() >= concurrency {
                collect(&mut ended, bar, under_way.join_next().await)?;
            }
            if stop.is_set() {
                break 'traces;
            }
            let server = match answering(&trace).await {
                Ok(server) => server,
                Err(error) if batch.rows.len() > 1 => {
                    refused.push(RefusedTrace { trace: row.label(), why: format!("{error:#}") });
                    continue 'traces;
                }
                Err(error) => return Err(error),
            };
            let place = recorded.len();
            let metrics = trace.measure().metrics;
            recorded.push(metrics.clone());
            let client = Client::new(http.clone(), format!("http://{}", server.running.address()));
            let sending = job(client.clone(), recording.clone(), stop.clone());
            let label = recording.label.clone();
            under_way.spawn(one(
                server,
                client,
                (place, label, run, metrics),
                reader.prices().clone(),
                sending,
            ));
        }
    }
    while let Some(one) = under_way.join_next().await {
        collect(&mut ended, bar, Some(one))?;
    }
    bar.finish_and_clear();
    ended.sort_by_key(|one: &Ended<T>| one.place);
    let (mut runs, mut saved, mut remarks) = (Vec::new(), CostSum::default(), BTreeMap::new());
    for one in ended {
        runs.push(one.run);
        one.saved.iter().for_each(|cost| saved.add(cost));
        one.remarks.into_iter().for_each(|(remark, times)| *remarks.entry(remark).or_default() += times);
    }
    let (recorded_usd, recorded_at_least) = cost(&recorded);
    Ok(Batched { window: window(&runs), runs, refused, recorded_usd, recorded_at_least, saved, remarks })
}

/// A run that is over.
struct Ended<T> {
    /// In the order in which runs began.
    place: usize,
    run: DrivenRun<T>,
    saved: Vec<Cost>,
    remarks: Vec<(String, u64)>,
}

type Done<T> = Result<anyhow::Result<Ended<T>>, tokio::task::JoinError>;

fn collect<T>(ended: &mut Vec<Ended<T>>, bar: &ProgressBar, done: Option<Done<T>>) -> anyhow::Result<()> {
    let Some(done) = done else { return Ok(()) };
    ended.push(done.context("a run panicked: this is a bug")??);
    bar.inc(1);
    Ok(())
}

async fn one<T>(
    server: Answering,
    client: Client,
    (place, trace, run, recorded): (usize, String, u32, TraceMetrics),
    prices: PriceBook,
    sending: impl Future<Output = anyhow::Result<Sent<T>>>,
) -> anyhow::Result<Ended<T>> {
    let sent = sending.await;
    let (ended_us, started_unix_us) = (client.now_us(), client.started_unix_us());
    drop(client);
    server.running.drain(LINGER).await;
    let sent_all = sent.as_ref().map_or(Coverage::Interrupted, |sent| sent.coverage);
    let Answered { replay, child, saved, remarks } = (server.finish)(sent_all)?;
    let Sent { coverage, facts, what } = sent?;
    let run = DrivenRun {
        trace,
        run,
        child,
        coverage,
        metrics: driven::measure(facts, ended_us, started_unix_us, &prices),
        recorded,
        started_unix_us,
        ended_unix_us: started_unix_us.saturating_add(ended_us),
        replay,
        what,
    };
    Ok(Ended { place, run, saved, remarks })
}

/// From the start of the first run to the end of the last.
fn window<T>(runs: &[DrivenRun<T>]) -> Window {
    let now = crate::session::now_unix_us();
    Window {
        start_unix_us: runs.iter().map(|run| run.started_unix_us).min().unwrap_or(now),
        end_unix_us: runs.iter().map(|run| run.ended_unix_us).max().unwrap_or(now),
        basis: WindowBasis::Observed,
    }
}

fn cost(recorded: &[TraceMetrics]) -> (Option<Usd>, bool) {
    let samples: Vec<Sample<'_>> =
        recorded.iter().map(|metrics| Sample { started_unix_us: None, phase: None, metrics }).collect();
    let stats = stats(&samples, None);
    (stats.cost.usd, stats.cost.at_least)
}
