//! `looptape replay` without a command: the recorded requests themselves are sent, and each answer is compared
//! with the recorded one; or a built-in loop lets whoever answers drive.

use super::selection::Selection;
use crate::child::process::Interruption;
use crate::config::Config;
use crate::drive::batch::{self, Answered, Answering, Batch, Batched};
use crate::drive::client::Client;
use crate::drive::forced::Sending;
use crate::drive::{Recording, Sent, Stop, forced, free};
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::replay_trace::{About, ReplayEnd, ReplayStore, ReplayTrace};
use crate::session::{Global, find, now_unix_us, print, print_json, progress, runtime};
use crate::tape::{self, Ready};
use anyhow::Context;
use looptape_core::cost::Usd;
use looptape_core::replay::Options;
use looptape_core::replay::driven::{
    Coverage, DrivenMoney, Exactness, Figures, FreeOutcome, FreeReport, ResentReport, RunLine,
};
use looptape_proxy::server::Server;
use looptape_proxy::tape_server::Speed;
use looptape_store::{Reader, RecordedTrace, TraceRow};
use std::num::NonZeroU32;
use std::sync::Arc;

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
    /// Let whoever answers drive: a built-in loop sends each answer back with the recorded results of the
    /// tools that it asks for, and stops at a call that the recording does not hold
    #[arg(long, conflicts_with = "command")]
    free_run: bool,
    /// Stop a free-running loop after this many answers [default: 3 times the recorded ones]
    #[arg(long, value_name = "N", requires = "free_run", value_parser = clap::value_parser!(u32).range(1..))]
    max_steps: Option<u32>,
}

/// A replay without a command, as it was asked for.
#[derive(Debug)]
pub(super) struct Resending<'a> {
    pub(super) global: &'a Global,
    pub(super) config: &'a Config,
    pub(super) reader: &'a Reader,
    /// Names of traces.
    pub(super) traces: &'a [String],
    pub(super) args: &'a ResendArgs,
    pub(super) options: Options,
    pub(super) speed: Speed,
    /// Where each run is written down.
    pub(super) store: Option<&'a ReplayStore>,
}

/// What came of it.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub(super) enum Report {
    Resent(ResentReport),
    Free(FreeReport),
}

impl Resending<'_> {
    /// Sends what is to be sent.
    pub(super) fn run(&self) -> anyhow::Result<Report> {
        if self.args.free_run { self.freely().map(Report::Free) } else { self.resent().map(Report::Resent) }
    }

    /// Sends the recorded requests, each as it was.
    fn resent(&self) -> anyhow::Result<ResentReport> {
        let (runs, figures) =
            self.batch(|client: Client, recording: Arc<Recording>, mut stop: Stop| async move {
                forced::run(&client, &recording, Sending::EveryCall, &mut stop).await
            })?;
        Ok(ResentReport::new(&runs, figures, Exactness::Bytes))
    }

    /// Lets the recorded loops run freely.
    fn freely(&self) -> anyhow::Result<FreeReport> {
        let max_steps = self.args.max_steps;
        let (runs, figures) =
            self.batch(move |client: Client, recording: Arc<Recording>, mut stop: Stop| async move {
                free::run(&client, &recording, max_steps, &mut stop).await
            })?;
        Ok(FreeReport::new(&runs, figures))
    }

    fn batch<T, F>(
        &self,
        job: impl Fn(Client, Arc<Recording>, Stop) -> F,
    ) -> anyhow::Result<(Vec<batch::Run<T>>, Figures)>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<Sent<T>>> + Send + 'static,
    {
        let ResendArgs { repeat, concurrency, .. } = *self.args;
        let batch = Batch { rows: self.rows()?, repeat, concurrency };
        let Batched { runs, refused, window, recorded_usd, recorded_at_least } =
            runtime()?.block_on(self.interruptible(&batch, job))?;
        let money = DrivenMoney {
            recorded_usd,
            spent_usd: Some(Usd::ZERO),
            saved_usd: recorded_usd,
            at_least: recorded_at_least,
        };
        let figures = Figures::of(&runs, refused, window, money);
        Ok((runs, figures))
    }

    /// The traces to send, in the order in which they were named, or the oldest first.
    pub(super) fn rows(&self) -> anyhow::Result<Vec<TraceRow>> {
        if !self.traces.is_empty() {
            return self.traces.iter().map(|name| find(self.reader, name)).collect();
        }
        if !self.args.all && self.args.filters.is_empty() {
            return Err(UsageError("name a trace, or choose some with --filter or --all".to_owned()).into());
        }
        let filter = Selection::of_filters(&self.args.filters)?.filter(now_unix_us())?;
        let mut rows = self.reader.traces(&filter)?;
        if rows.is_empty() {
            anyhow::bail!("no trace passes these filters; `looptape ls` lists all");
        }
        rows.reverse();
        Ok(rows)
    }

    /// Runs a batch; Ctrl-C ends it early, with what was done until then.
    async fn interruptible<T, F>(
        &self,
        batch: &Batch,
        job: impl Fn(Client, Arc<Recording>, Stop) -> F,
    ) -> anyhow::Result<Batched<T>>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<Sent<T>>> + Send + 'static,
    {
        let (stopper, stop) = Stop::new();
        let runs = batch.rows.len() as u64 * u64::from(batch.repeat.get());
        let bar = progress(self.global, runs, "runs");
        let interrupted = async {
            if tokio::signal::ctrl_c().await.is_ok() {
                stopper.send_replace(true);
            }
            std::future::pending::<()>().await;
        };
        let answering = async |trace: &RecordedTrace| self.answering(trace, &stop).await;
        tokio::select! {
            batched = batch::run(self.reader, batch, &bar, &stop, answering, job) => batched,
            () = interrupted => unreachable!("waiting for a signal does not end"),
        }
    }

    /// In words, how the traces of the runs were made.
    fn why(&self) -> &'static str {
        if self.args.free_run { "free run" } else { "self-check" }
    }

    /// Starts a server that answers one run of a trace.
    async fn answering(&self, trace: &RecordedTrace, stop: &Stop) -> anyhow::Result<Answering> {
        let Ready { server, .. } = tape::server(self.reader, trace, self.options, self.config)?;
        let about = About { recording: &trace.row, why: self.why().to_owned(), command: &[] };
        let stored = self.store.map(|store| store.open(&about)).transpose()?;
        let server = server.at_speed(self.speed).leaving(stored.as_ref().map(ReplayTrace::child));
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
    }
}

/// Sends one trace's requests to its own recording.
pub(super) fn self_check(
    global: &Global,
    reader: &Reader,
    config: &Config,
    trace: String,
) -> anyhow::Result<ResentReport> {
    let once = NonZeroU32::MIN;
    let args = ResendArgs {
        all: false,
        filters: Vec::new(),
        concurrency: once,
        repeat: once,
        free_run: false,
        max_steps: None,
    };
    let (options, speed) = (Options::default(), Speed::AtOnce);
    Resending { global, config, reader, traces: &[trace], args: &args, options, speed, store: None }.resent()
}

impl Report {
    /// Prints it; the exit code that it comes to.
    pub(super) fn tell(&self, json: bool) -> anyhow::Result<Exit> {
        match self {
            _ if json => print_json(self)?,
            Self::Resent(report) => print(&render::resent::text(report))?,
            Self::Free(report) => print(&render::freed::text(report))?,
        }
        Ok(self.exit())
    }

    pub(super) fn figures(&self) -> &Figures {
        match self {
            Self::Resent(report) => &report.figures,
            Self::Free(report) => &report.figures,
        }
    }

    /// What one run did other than recorded, a line each; empty if nothing.
    pub(super) fn remarks(&self, run: &RunLine) -> String {
        match self {
            Self::Resent(report) => render::resent::remarks(report, run),
            Self::Free(report) => render::freed::remarks(report, run),
        }
    }

    fn exit(&self) -> Exit {
        let (figures, exit) = match self {
            Self::Resent(report) if report.is_as_recorded() => (&report.figures, Exit::Success),
            Self::Resent(report) => (&report.figures, Exit::Diverged),
            // The recording's own answers must make the recorded run.
            Self::Free(report) if report.outcome() == FreeOutcome::AsRecorded => {
                (&report.figures, Exit::Success)
            }
            Self::Free(report) => (&report.figures, Exit::Diverged),
        };
        match figures.coverage {
            Coverage::Interrupted => Exit::Interrupted,
            Coverage::Whole if exit == Exit::Success && !figures.refused.is_empty() => Exit::Failure,
            Coverage::Whole => exit,
        }
    }
}
