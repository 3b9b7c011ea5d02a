//! `looptape replay` without a command: the recorded requests themselves are sent, and each answer is compared
//! with the recorded one.

use super::selection::Selection;
use crate::child::process::Interruption;
use crate::config::Config;
use crate::drive::Stop;
use crate::drive::batch::{self, Answered, Answering, Batch, Batched};
use crate::drive::forced::Sending;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::replay_trace::{About, ReplayEnd, ReplayStore, ReplayTrace};
use crate::session::{Global, find, now_unix_us, print, print_json, progress, runtime};
use crate::tape::{self, Ready};
use anyhow::Context;
use looptape_core::cost::Usd;
use looptape_core::replay::Options;
use looptape_core::replay::driven::{Coverage, DrivenMoney, DrivenReport, Exactness};
use looptape_proxy::server::Server;
use looptape_proxy::tape_server::Speed;
use looptape_store::{Reader, RecordedTrace, TraceRow};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::watch;

/// What is sent without a command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Without a command")]
pub(super) struct ResendArgs {
    /// Send the requests of all recorded traces
    #[arg(long, conflicts_with_all = ["traces", "command"])]
    all: bool,
    /// Send those of the traces that pass: agent=NAME, model=NAME, since=2d, tag=KEY=VALUE, status=complete;
    /// repeatable
    #[arg(long = "filter", value_name = "KEY=VALUE", conflicts_with_all = ["traces", "command"])]
    filters: Vec<String>,
    /// How many traces are sent at once
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "command")]
    concurrency: NonZeroU32,
    /// How often each trace is sent
    #[arg(long, value_name = "K", default_value = "1", conflicts_with = "command")]
    repeat: NonZeroU32,
}

/// How a replay was asked for, as far as it matters here.
#[derive(Debug)]
pub(super) struct Resending<'a> {
    /// Names of traces.
    pub(super) traces: &'a [String],
    pub(super) args: &'a ResendArgs,
    pub(super) options: Options,
    pub(super) speed: Speed,
    /// Where each run is written down.
    pub(super) store: Option<&'a ReplayStore>,
}

impl Resending<'_> {
    /// The traces to send, in the order in which they were named, or the oldest first.
    fn rows(&self, reader: &Reader) -> anyhow::Result<Vec<TraceRow>> {
        if !self.traces.is_empty() {
            return self.traces.iter().map(|name| find(reader, name)).collect();
        }
        if !self.args.all && self.args.filters.is_empty() {
            return Err(UsageError("name a trace, or choose some with --filter or --all".to_owned()).into());
        }
        let mut rows = reader.traces(&Selection::of_filters(&self.args.filters)?.filter(now_unix_us())?)?;
        if rows.is_empty() {
            anyhow::bail!("no trace passes these filters; `looptape ls` lists all");
        }
        rows.reverse();
        Ok(rows)
    }
}

/// Sends recorded requests to their own recordings.
pub(super) fn from_recordings(
    global: &Global,
    resending: &Resending<'_>,
    reader: &Reader,
    config: &Config,
) -> anyhow::Result<DrivenReport> {
    let batch = Batch {
        rows: resending.rows(reader)?,
        repeat: resending.args.repeat,
        concurrency: resending.args.concurrency,
        sending: Sending::EveryCall,
    };
    let (stopper, stop) = Stop::new();
    let answering = async |trace: &RecordedTrace| {
        let Ready { server, .. } = tape::server(reader, trace, resending.options, config)?;
        let about = About { recording: &trace.row, why: "self-check".to_owned(), command: &[] };
        let stored = resending.store.map(|store| store.open(&about)).transpose()?;
        let server = server.at_speed(resending.speed).leaving(stored.as_ref().map(ReplayTrace::child));
        let server = Arc::new(server);
        let running = Server::start(tape::listen().await?, server.clone());
        let stop = stop.clone();
        let finish = move || {
            let child = stored.as_ref().map(|stored| stored.id().to_string());
            if let Some(stored) = stored {
                let aborted = stop.is_set().then(|| Interruption::CtrlC.as_str().to_owned());
                stored.close(ReplayEnd { exit_code: None, aborted });
            }
            let replay = server.finish().context("the replay was ended twice: this is a bug")?;
            match server.trouble() {
                Some(trouble) => Err(anyhow::anyhow!(trouble)),
                None => Ok(Answered { replay: Some(replay), child }),
            }
        };
        let running = running.context("the tape server cannot be started")?;
        Ok(Answering { running, finish: Box::new(finish) })
    };
    let batched =
        runtime()?.block_on(interruptible(global, reader, &batch, (stopper, stop.clone()), answering))?;
    Ok(report(batched, Exactness::Bytes))
}

/// Sends one trace's requests to its own recording.
pub(super) fn self_check(
    global: &Global,
    reader: &Reader,
    config: &Config,
    trace: String,
) -> anyhow::Result<DrivenReport> {
    let once = NonZeroU32::MIN;
    let args = ResendArgs { all: false, filters: Vec::new(), concurrency: once, repeat: once };
    let resending = Resending {
        traces: &[trace],
        args: &args,
        options: Options::default(),
        speed: Speed::AtOnce,
        store: None,
    };
    from_recordings(global, &resending, reader, config)
}

/// Runs a batch; Ctrl-C ends it early, with what was done until then.
async fn interruptible(
    global: &Global,
    reader: &Reader,
    batch: &Batch,
    (stopper, stop): (watch::Sender<bool>, Stop),
    answering: impl AsyncFnMut(&RecordedTrace) -> anyhow::Result<Answering>,
) -> anyhow::Result<Batched> {
    let bar = progress(global, batch.rows.len() as u64 * u64::from(batch.repeat.get()), "runs");
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopper.send_replace(true);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        batched = batch::run(reader, batch, &bar, &stop, answering) => batched,
        () = interrupted => unreachable!("waiting for a signal does not end"),
    }
}

fn report(batched: Batched, exactness: Exactness) -> DrivenReport {
    let Batched { runs, refused, window, recorded_usd, recorded_at_least } = batched;
    let money = DrivenMoney {
        recorded_usd,
        spent_usd: Some(Usd::ZERO),
        saved_usd: recorded_usd,
        at_least: recorded_at_least,
    };
    DrivenReport::new(runs, refused, exactness, window, money)
}

/// Prints a report; the exit code that it comes to.
pub(super) fn tell(report: &DrivenReport, json: bool) -> anyhow::Result<Exit> {
    if json {
        print_json(report)?;
    } else {
        print(&render::resent::text(report))?;
    }
    Ok(match report.coverage {
        Coverage::Interrupted => Exit::Interrupted,
        Coverage::Whole if !report.differences.is_empty() || report.divergences() > 0 => Exit::Diverged,
        Coverage::Whole if !report.refused.is_empty() => Exit::Failure,
        Coverage::Whole => Exit::Success,
    })
}
