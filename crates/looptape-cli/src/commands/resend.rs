//! `looptape replay` without a command: the recorded requests themselves are sent, and each answer is compared
//! with the recorded one; or a built-in loop lets whoever answers drive.

use super::selection::Selection;
use super::sources::{AskedModel, ModelPlan};
use crate::child::process::Interruption;
use crate::config::Config;
use crate::drive::batch::{self, Answered, Answering, Batch, Batched};
use crate::drive::client::Client;
use crate::drive::forced::Sending;
use crate::drive::{Recording, Sent, Stop, forced, free};
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::replay_trace::{About, ReplayEnd, ReplayStore, ReplayTrace};
use crate::session::{Global, find, now_unix_us, print, print_json, progress, runtime, style};
use crate::tape::{self, Ready};
use anyhow::Context;
use looptape_core::cost::{Cost, Usd};
use looptape_core::gates::Judged;
use looptape_core::metrics::TraceMetrics;
use looptape_core::replay::driven::{
    Coverage, DrivenMoney, Exactness, Figures, FreeOutcome, FreeReport, ResentReport, RunLine,
};
use looptape_core::replay::{ModelKind, Options};
use looptape_page::replays::Progress;
use looptape_proxy::model::Model;
use looptape_proxy::server::Server;
use looptape_proxy::tape_server::{Speed, TapeServer};
use looptape_store::{Reader, RecordedTrace, TraceRow};
use std::collections::HashMap;
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
    /// Exit with 3 where a model answers otherwise than was recorded
    #[arg(long, conflicts_with = "command")]
    strict: bool,
}

impl ResendArgs {
    /// The recorded requests of named traces, once each.
    pub(super) fn once() -> Self {
        let once = NonZeroU32::MIN;
        Self {
            all: false,
            filters: Vec::new(),
            concurrency: once,
            repeat: once,
            free_run: false,
            max_steps: None,
            strict: false,
        }
    }

    /// Driven by the answers, once each.
    pub(super) fn once_freely() -> Self {
        Self { free_run: true, ..Self::once() }
    }

    pub(super) fn is_free_run(&self) -> bool {
        self.free_run
    }
}

/// Who answers, and so what is sent and what it may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Recorded,
    /// From the start, or from some step on.
    OfModel(ModelKind),
}

impl Answers {
    fn sending(self) -> Sending {
        match self {
            Self::Recorded => Sending::EveryCall,
            Self::OfModel(_) => Sending::EveryStep,
        }
    }

    fn exactness(self) -> Exactness {
        match self {
            Self::Recorded => Exactness::Bytes,
            Self::OfModel(_) => Exactness::Meaning,
        }
    }
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
    /// Who is asked beyond the recordings, if anybody.
    pub(super) plan: Option<&'a ModelPlan<'a>>,
    /// In words, how a replay is made from its recording.
    pub(super) why: String,
    /// Where each run is written down.
    pub(super) store: Option<&'a ReplayStore>,
    /// Told how far it is, and tells it to stop.
    pub(super) progress: Arc<Progress>,
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
        let answers = self.answers();
        let progress = &self.progress;
        let job = |client: Client, recording: Arc<Recording>, mut stop: Stop| {
            let progress = progress.clone();
            async move { forced::run(&client, &recording, answers.sending(), &mut stop, &progress).await }
        };
        let (runs, figures) = self.batch(job)?;
        Ok(ResentReport::new(&runs, figures, answers.exactness()))
    }

    fn answers(&self) -> Answers {
        self.plan.map_or(Answers::Recorded, |plan| Answers::OfModel(plan.kind()))
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
        let batched = runtime()?.block_on(self.interruptible(&batch, job))?;
        for (remark, times) in &batched.remarks {
            self.global.say(&format!("looptape: {remark} ({times} ×)"));
        }
        let money = self.money(&batched);
        let Batched { runs, refused, window, .. } = batched;
        let figures = Figures::of(&runs, refused, window, money);
        Ok((runs, figures))
    }

    /// What was paid, and what was not because the recordings answered. Nobody but a provider is paid.
    fn money<T>(&self, batched: &Batched<T>) -> DrivenMoney {
        let live = self.plan.and_then(ModelPlan::spending);
        let unaccounted =
            live.is_some_and(|live| live.unaccounted_usd > Usd::ZERO || live.unpriced_calls > 0);
        DrivenMoney {
            recorded_usd: batched.recorded_usd,
            spent_usd: Some(live.map_or(Usd::ZERO, |live| live.spent_usd)),
            saved_usd: batched.saved.usd(),
            at_least: batched.recorded_at_least || batched.saved.at_least() || unaccounted,
        }
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
        self.without_empty(rows)
    }

    /// Of chosen traces those that hold an answer. A recorder whose agent asked nothing, or that was killed
    /// at once, leaves one that does not.
    fn without_empty(&self, rows: Vec<TraceRow>) -> anyhow::Result<Vec<TraceRow>> {
        let chosen = rows.len();
        let mut kept = Vec::with_capacity(chosen);
        for row in rows {
            if self.reader.outlines(row.key)?.iter().any(|call| call.end.is_some()) {
                kept.push(row);
            }
        }
        if kept.is_empty() {
            anyhow::bail!("none of the {chosen} traces that pass these filters holds an answered call");
        }
        if kept.len() < chosen {
            let left_out = chosen - kept.len();
            self.global
                .say(&format!("looptape: left out, without an answered call: {left_out} of {chosen} traces"));
        }
        Ok(kept)
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
            tokio::select! {
                heard = tokio::signal::ctrl_c() => {
                    if heard.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                () = self.progress.stopped() => {}
            }
            stopper.send_replace(true);
            std::future::pending::<()>().await;
        };
        let answering = async |trace: &RecordedTrace| self.answering(trace, &stop).await;
        tokio::select! {
            batched = batch::run(self.reader, batch, &bar, &stop, answering, job) => batched,
            () = interrupted => unreachable!("waiting for a signal does not end"),
        }
    }

    /// In words, how the traces of the runs were made.
    fn why(&self) -> String {
        match (self.args.free_run, self.answers()) {
            (true, Answers::Recorded) => "free run".to_owned(),
            (true, Answers::OfModel(_)) => format!("{}, free-running", self.why),
            (false, Answers::Recorded) => "self-check".to_owned(),
            (false, Answers::OfModel(_)) => format!("{}, the recorded requests", self.why),
        }
    }

    /// Starts a server that answers one run of a trace.
    async fn answering(&self, trace: &RecordedTrace, stop: &Stop) -> anyhow::Result<Answering> {
        let Ready { server, .. } = tape::server(self.reader, trace, self.options, self.config)?;
        let server = server.without_mcp();
        match self.plan {
            None => self.start(trace, server, None, stop).await,
            Some(plan) => {
                let model = plan.model(self.config, self.reader, trace, self.speed)?;
                self.start(trace, server.asking(model.clone()), Some(model), stop).await
            }
        }
    }

    async fn start<M: Model>(
        &self,
        trace: &RecordedTrace,
        server: TapeServer<M>,
        model: Option<AskedModel>,
        stop: &Stop,
    ) -> anyhow::Result<Answering> {
        let environment = self.reader.environment(trace.row.key)?;
        let about = || About { recording: &trace.row, why: self.why(), command: &[], environment };
        let stored = self.store.map(|store| store.open(about())).transpose()?;
        if let Some(stored) = &stored {
            self.progress.records(stored.id().as_str());
        }
        if let (Some(model), Some(stored)) = (&model, &stored) {
            model.counts_to(stored.id());
        }
        let server = server.at_speed(self.speed).leaving(stored.as_ref().map(ReplayTrace::child));
        let server = Arc::new(server);
        let running = Server::start(tape::listen().await?, server.clone());
        let costs: HashMap<u32, Cost> =
            trace.facts.iter().map(|call| call.seq).zip(trace.measure().costs).collect();
        let (stop, progress) = (stop.clone(), self.progress.clone());
        let finish = move |sent: Coverage| {
            let child = stored.as_ref().map(|stored| stored.id().to_string());
            if let Some(stored) = stored {
                // One that was told to stop when it had sent everything was not broken off.
                let is_stopped = sent == Coverage::Interrupted && stop.is_set();
                let why = || progress.stopped_because().unwrap_or(Interruption::CtrlC.as_str());
                let aborted = is_stopped.then(|| why().to_owned());
                stored.close(ReplayEnd { exit_code: None, aborted });
            }
            let replay = server.finish().context("the replay was ended twice: this is a bug")?;
            match server.trouble() {
                Some(trouble) => Err(anyhow::anyhow!(trouble)),
                None => {
                    let saved =
                        replay.served_calls.iter().filter_map(|seq| costs.get(seq).cloned()).collect();
                    let remarks = model.as_ref().map(AskedModel::remarks).unwrap_or_default();
                    Ok(Answered { replay: Some(replay), child, saved, remarks })
                }
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
    let (options, speed) = (Options::default(), Speed::AtOnce);
    Resending {
        global,
        config,
        reader,
        traces: &[trace],
        args: &ResendArgs::once(),
        options,
        speed,
        plan: None,
        why: String::new(),
        store: None,
        progress: Arc::default(),
    }
    .resent()
}

impl Report {
    /// Prints it, and what gates say.
    pub(super) fn tell(&self, judged: &Judged, json: bool) -> anyhow::Result<()> {
        if json {
            return print_json(&judged.with(self));
        }
        let text = match self {
            Self::Resent(report) => render::resent::text(report),
            Self::Free(report) => render::freed::text(report),
        };
        print(&(text + &render::gates::text(&judged.gates, style())))
    }

    pub(super) fn figures(&self) -> &Figures {
        match self {
            Self::Resent(report) => &report.figures,
            Self::Free(report) => &report.figures,
        }
    }

    /// What gates judge: an answer from the recording has the figures of the recorded one.
    pub(super) fn metrics(&self, plan: Option<&ModelPlan<'_>>) -> Vec<&TraceMetrics> {
        let runs = self.figures().runs.iter();
        match plan {
            None => runs.map(|run| &run.recorded).collect(),
            Some(_) => runs.map(|run| &run.metrics).collect(),
        }
    }

    /// What one run did other than recorded, a line each; empty if nothing.
    pub(super) fn remarks(&self, run: &RunLine) -> String {
        match self {
            Self::Resent(report) => render::resent::remarks(report, run),
            Self::Free(report) => render::freed::remarks(report, run),
        }
    }

    /// The exit code that it comes to.
    pub(super) fn exit(&self, resending: &Resending<'_>) -> Exit {
        let figures = self.figures();
        match (figures.coverage, self.verdict(resending.answers())) {
            (Coverage::Interrupted, _) => Exit::Interrupted,
            (Coverage::Whole, Exit::Success) if !figures.refused.is_empty() => Exit::Failure,
            (Coverage::Whole, Exit::Success) if resending.args.strict && !self.is_as_recorded() => {
                Exit::Diverged
            }
            (Coverage::Whole, verdict) => verdict,
        }
    }

    fn is_as_recorded(&self) -> bool {
        match self {
            Self::Resent(report) => report.is_as_recorded(),
            Self::Free(report) => report.outcome() == FreeOutcome::AsRecorded,
        }
    }

    /// A recording must give what was recorded. A model may say what it wants; only where nothing came of it at
    /// all, or where it asked for what the recording does not hold, that is a failure.
    fn verdict(&self, answers: Answers) -> Exit {
        match (self, answers) {
            _ if self.is_as_recorded() => Exit::Success,
            (_, Answers::Recorded) => Exit::Diverged,
            (Self::Resent(report), Answers::OfModel(_)) if report.nothing_worked() => Exit::Failure,
            (Self::Resent(_), Answers::OfModel(_)) => Exit::Success,
            (Self::Free(report), Answers::OfModel(_)) => match report.outcome() {
                FreeOutcome::AsRecorded | FreeOutcome::Finished => Exit::Success,
                FreeOutcome::Unfinished => Exit::Failure,
                FreeOutcome::Diverged => Exit::Diverged,
            },
        }
    }
}
