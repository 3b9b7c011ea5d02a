//! `looptape replay`: runs an agent against a recording, with the network gone.

use super::child_run;
use super::labels::LabelArgs;
use super::library::{self, ListenArgs};
use super::matching::MatchingArgs;
use super::models::{self, ModelRun, ModelsArgs};
use super::report_files::ReportArgs;
use super::resend::{Report, ResendArgs, Resending};
use super::sources::{AskedModel, ModelPlan, SourceArgs};
use crate::child::environment::{Mode, Variables};
use crate::child::process::{ChildOutput, Ended, Interruption, NotStarted};
use crate::child::surroundings::{Surroundings, SurroundingsArgs};
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::money::Money;
use crate::render;
use crate::render::junit::Case;
use crate::replay_trace::{About, ReplayEnd, ReplayStore, ReplayTrace};
use crate::session::{Global, find, runtime, style};
use crate::tape::{self, Ready};
use anyhow::Context;
use looptape_core::TraceId;
use looptape_core::replay::comparison::ModelEnd;
use looptape_core::replay::driven::RunLine;
use looptape_core::replay::{Ambiguous, Attempts, Holes, ModelKind, Options, Rung, Summary, Verdict};
use looptape_proxy::model::Model;
use looptape_proxy::server::Server;
use looptape_proxy::tape_server::{Speed, TapeServer};
use looptape_store::{Reader, RecordedTrace};
use serde_json::json;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// Run an agent against a recording, with the network gone
///
/// The agent's requests are answered from the trace: the same bytes in the same pieces, each answer to
/// the request it belongs to. There is no upstream client and the agent has no key, so nothing can be
/// spent. A request that was not recorded is refused, and the report says what changed. With `--source` or
/// `--on-miss` a model answers where the recording does not.
///
/// Without a command, the recorded requests themselves are sent, in recorded order and concurrency, and every
/// answer is compared with the recorded one: a self-check of the recordings.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape replay last -- python agent.py
  looptape replay 4bf92f35 --report report.json -- node agent.mjs
  looptape replay 4bf92f35 --junit replay.xml -- node agent.mjs
  looptape replay last                           check the recording itself
  looptape replay --all --concurrency 4          check all recordings, four at once
  looptape replay --filter agent=refund.py --filter since=2d --json
  looptape replay last --free-run                let the answers drive, with the recorded tools
  looptape replay last --max-rung 0 -- ./agent   every request must be the same byte for byte
  looptape replay last --clock recorded --block-egress -- python agent.py
  looptape replay --all --listen 127.0.0.1:4101  serve all recordings until Ctrl-C
  looptape replay last --on-miss live --max-usd 0.50 -- ./agent      pay for what changed
  looptape replay last --from 4 --source live --model gpt-4o --max-usd 1 -- ./agent
  looptape replay last --from 4 --source mock --speed 1 -- ./agent   a made-up model, at the recorded pace
  looptape replay last --free-run --source live --max-usd 0.20   a live model drives, with the recorded tools
  looptape replay last --from 3 --source live --max-usd 2 --models gpt-4o,gpt-4o-mini \
      --verify ./check.sh -- ./agent

Exit codes, strongest first: 3 diverged; the agent's own code; 4 recorded calls were left unused;
99 live calls were refused because of --max-usd; 0 replayed.")]
pub(crate) struct Args {
    /// The trace: an id, a prefix of one, `last`, `last~2`; without a command there may be several
    #[arg(value_name = "TRACE")]
    traces: Vec<String>,
    #[command(flatten)]
    reports: ReportArgs,
    /// How loosely a request may match: 0 the same bytes, 1 the same JSON, 2 with round-trip ids renamed,
    /// 3 with volatile values masked: ids, times, temporary folders, ports, and the run's own folder, user, day
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=3))]
    max_rung: u8,
    #[command(flatten)]
    matching: MatchingArgs,
    /// What becomes of recorded attempts that failed and were tried again
    #[arg(long, value_enum, default_value = "faithful")]
    attempts: AttemptsArg,
    /// What becomes of identical requests that run at the same time
    #[arg(long, value_enum, default_value = "by-arrival")]
    ambiguous: AmbiguousArg,
    /// How fast recorded time passes: 0 nothing waits, 1 as recorded, chunk by chunk, 10 ten times as fast
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, value_parser = speed)]
    speed: Speed,
    #[command(flatten)]
    surroundings: SurroundingsArgs,
    /// Accept recorded calls that the agent does not make
    #[arg(long)]
    allow_unused: bool,
    /// Replay a recording that has holes
    #[arg(long)]
    allow_incomplete: bool,
    /// Leave no trace of the replay in the database
    #[arg(long)]
    no_record: bool,
    /// Without a command: print the result as JSON
    #[arg(long, conflicts_with = "command")]
    json: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    models: ModelsArgs,
    #[command(flatten)]
    resend: ResendArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// The agent's command line
    #[arg(last = true, value_name = "CMD", help_heading = "Arguments")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AttemptsArg {
    /// Each is served as it was
    Faithful,
    /// The last attempt's answer is served at once
    Collapse,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AmbiguousArg {
    /// Served by arrival, and counted
    ByArrival,
    /// Refused
    Fail,
}

fn speed(text: &str) -> Result<Speed, String> {
    let speed = text.parse().ok().and_then(Speed::new);
    speed.ok_or_else(|| "a speed is 0 or a positive number, such as 1 or 10".to_owned())
}

/// How long a grandchild's calls may go on after the child.
const LINGER: Duration = Duration::from_millis(200);

impl Args {
    fn options(&self) -> Options {
        let options = self.matching.options(Options {
            max_rung: match self.max_rung {
                0 => Rung::Bytes,
                1 => Rung::Canonical,
                2 => Rung::Renamed,
                _ => Rung::Masked,
            },
            attempts: match self.attempts {
                AttemptsArg::Faithful => Attempts::Faithful,
                AttemptsArg::Collapse => Attempts::Collapse,
            },
            ambiguous: match self.ambiguous {
                AmbiguousArg::ByArrival => Ambiguous::ByArrival,
                AmbiguousArg::Fail => Ambiguous::Fail,
            },
            holes: if self.allow_incomplete { Holes::Allow } else { Holes::Refuse },
            ..Options::default()
        });
        self.sources.options(options)
    }

    /// This replay as one without a command.
    fn resending<'a>(
        &'a self,
        (global, config, reader): (&'a Global, &'a Config, &'a Reader),
        store: Option<&'a ReplayStore>,
        plan: Option<&'a ModelPlan<'a>>,
    ) -> Resending<'a> {
        Resending {
            global,
            config,
            reader,
            traces: &self.traces,
            args: &self.resend,
            options: self.options(),
            speed: self.speed,
            plan,
            why: plan.map_or_else(|| self.sources.why(), ModelPlan::why),
            store,
        }
    }

    /// Where this replay is written down.
    fn store(&self, global: &Global, config: &Config) -> anyhow::Result<Option<ReplayStore>> {
        if self.no_record { Ok(None) } else { ReplayStore::start(global, config, self.labels.labels()?) }
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = args.matching.settings(Config::load()?);
    let reader = global.reader()?;
    if args.command.is_empty() {
        return without_child(global, args, &reader, &config);
    }
    let [name] = args.traces.as_slice() else {
        return Err(UsageError("an agent is run against one trace: name it before `--`".to_owned()).into());
    };
    let trace = reader.load(find(&reader, name)?)?;
    let plan = args.sources.plan(&config, &reader)?;
    let replay = AgentReplay { global, args, config: &config, reader: &reader, trace: &trace };
    if !args.models.models.is_empty() {
        return with_models(&replay, plan.as_ref());
    }
    Ok(replay.run(plan.as_ref())?.exit)
}

/// Runs the agent once with each model; all of them draw on one budget.
fn with_models(replay: &AgentReplay<'_>, plan: Option<&ModelPlan<'_>>) -> anyhow::Result<Exit> {
    let AgentReplay { global, args, reader, trace, .. } = *replay;
    let plan = several(plan, args, trace)?;
    let of = (trace.row.label(), args.sources.first_step());
    let comparison = models::compare(global, &args.models, of, reader, |model| {
        let ran = replay.run(Some(&plan.of_model(model)))?;
        let end = match ran.child_exit_code {
            Some(exit_code) => ModelEnd::Agent { exit_code },
            None => ModelEnd::NotRun { why: "the agent could not be started".to_owned() },
        };
        Ok(ModelRun { end, trace: ran.own })
    })?;
    args.reports.write(&serde_json::to_value(&comparison)?, &[])?;
    // Standard output is the agent's.
    anstream::eprint!("{}", render::models::table(&comparison, style()));
    Ok(models::exit(&comparison))
}

/// The plan by which several models are asked; mistakes are named before the first one runs.
fn several<'p, 'a>(
    plan: Option<&'p ModelPlan<'a>>,
    args: &Args,
    trace: &RecordedTrace,
) -> anyhow::Result<&'p ModelPlan<'a>> {
    let is_live = |plan: &&ModelPlan<'_>| plan.kind() == ModelKind::Live;
    let plan = plan.filter(is_live).ok_or_else(|| UsageError(NO_MODELS.to_owned()))?;
    args.models.models.iter().try_for_each(|model| plan.of_model(model).has_price(trace))?;
    Ok(plan)
}

const NO_MODELS: &str = "--models are asked live: add --source live and --max-usd";

fn without_child(global: &Global, args: &Args, reader: &Reader, config: &Config) -> anyhow::Result<Exit> {
    let plan = args.sources.plan(config, reader)?;
    let over = (global, config, reader);
    if let Some(listen) = args.listen.address() {
        if plan.is_some() {
            return Err(UsageError(
                "--listen serves recordings: leave --source and --on-miss out".to_owned(),
            )
            .into());
        }
        let (exit, report) = library::run((listen, &args.listen), &args.resending(over, None, None))?;
        args.reports.write(&report, &[])?;
        return Ok(exit);
    }
    if !args.models.models.is_empty() {
        return with_free_models((global, args, reader), plan.as_ref(), |plan| {
            let store = args.store(global, config)?;
            plan.kept_by(store.as_ref())?;
            let report = args.resending(over, store.as_ref(), Some(plan)).run();
            store.map(ReplayStore::finish);
            report
        });
    }
    let store = args.store(global, config)?;
    if let Some(plan) = &plan {
        plan.kept_by(store.as_ref())?;
    }
    let resending = args.resending(over, store.as_ref(), plan.as_ref());
    let report = resending.run();
    let ended = report.as_ref().map(|report| report.exit(&resending));
    let exit = ended.unwrap_or(Exit::Failure);
    let gaps = store.map(ReplayStore::finish).unwrap_or_default();
    let report = report?;
    report.tell(args.json)?;
    gaps.iter().for_each(|(why, times)| global.say(&render::replayed::gap(why, *times)));
    let runs = &report.figures().runs;
    let remarks: Vec<String> = runs.iter().map(|run| report.remarks(run)).collect();
    let cases: Vec<Case<'_>> = runs.iter().zip(&remarks).map(|(run, why)| run_case(run, why, exit)).collect();
    args.reports.write(&serde_json::to_value(&report)?, &cases)?;
    Ok(exit)
}

/// Lets each model drive the recorded loops of one trace.
fn with_free_models(
    (global, args, reader): (&Global, &Args, &Reader),
    plan: Option<&ModelPlan<'_>>,
    run: impl Fn(&ModelPlan<'_>) -> anyhow::Result<Report>,
) -> anyhow::Result<Exit> {
    let [name] = args.traces.as_slice() else {
        return Err(UsageError("models are compared on one trace: name it".to_owned()).into());
    };
    if !args.resend.is_free_run() {
        let say = "--models needs somebody to drive: an agent's command after `--`, or --free-run";
        return Err(UsageError(say.to_owned()).into());
    }
    let trace = reader.load(find(reader, name)?)?;
    let plan = several(plan, args, &trace)?;
    let of = (trace.row.label(), args.sources.first_step());
    let comparison = models::compare(global, &args.models, of, reader, |model| {
        let Report::Free(report) = run(&plan.of_model(model))? else {
            anyhow::bail!("a free run was asked for")
        };
        let endings: Vec<String> = report.free_loops.iter().map(|one| one.what.clone()).collect();
        let child = report.figures.runs.first().and_then(|run| run.child.as_deref());
        let trace = child.and_then(|id| TraceId::parse(id).ok());
        Ok(ModelRun { end: ModelEnd::Loops { how: endings.join("; ") }, trace })
    })?;
    args.reports.write(&serde_json::to_value(&comparison)?, &[])?;
    models::tell(&comparison, args.json)?;
    Ok(models::exit(&comparison))
}

/// A trace whose own requests were sent.
fn run_case<'a>(run: &'a RunLine, remarks: &'a str, all: Exit) -> Case<'a> {
    let diverged = run.replay.as_ref().is_some_and(|replay| !replay.divergences.is_empty());
    // What a model says otherwise than recorded fails nothing, unless that was asked for.
    let failed = all != Exit::Success && (diverged || !remarks.is_empty());
    let exit = if failed { Exit::Diverged } else { Exit::Success };
    Case { trace: &run.trace, agent: None, exit, agent_code: None, summary: run.replay.as_ref(), remarks }
}

/// What came of running an agent against a recording.
pub(super) struct Replayed {
    pub(super) child: Ended,
    pub(super) summary: Summary,
}

/// Runs an agent against a server that answers from the trace `id`.
pub(super) fn replay<M: Model>(
    id: &TraceId,
    server: TapeServer<M>,
    told: Variables,
    command: &[OsString],
    output: ChildOutput,
) -> anyhow::Result<Result<Replayed, NotStarted>> {
    let server = Arc::new(server);
    let handler = server.clone();
    let ended = runtime()?.block_on(async {
        let listener = tape::listen().await?;
        let running = Server::start(listener, handler).context("the tape server cannot be started")?;
        let origin = format!("http://{}", running.address());
        let ended = child_run::run(Mode::Replay, &origin, id.as_str(), command, told, output).await;
        running.drain(LINGER).await;
        ended
    })?;
    let child = match ended {
        Ok(ended) => ended,
        Err(not_started) => return Ok(Err(not_started)),
    };
    let summary = server.finish().context("the replay was ended twice: this is a bug")?;
    if let Some(trouble) = server.trouble() {
        anyhow::bail!(trouble);
    }
    Ok(Ok(Replayed { child, summary }))
}

/// Runs of one agent against one recording.
#[derive(Clone, Copy)]
struct AgentReplay<'a> {
    global: &'a Global,
    args: &'a Args,
    config: &'a Config,
    reader: &'a Reader,
    trace: &'a RecordedTrace,
}

/// One of them, told and stored.
struct AgentRan {
    exit: Exit,
    /// `None` if the agent could not be started.
    child_exit_code: Option<i32>,
    /// The trace that it left.
    own: Option<TraceId>,
}

impl AgentReplay<'_> {
    /// Runs the agent; a model is asked as planned.
    fn run(&self, plan: Option<&ModelPlan<'_>>) -> anyhow::Result<AgentRan> {
        let Self { args, config, reader, trace, .. } = *self;
        let clock = args.surroundings.clock;
        let Ready { server, mut told, environment } =
            tape::server_at(reader, trace, args.options(), config, clock)?;
        let started = trace.row.happened_unix_us();
        let surroundings = Surroundings::prepare(args.surroundings, started, &args.command)?;
        told.extend(surroundings.variables());
        let server = server.at_speed(args.speed);
        let why = plan.map_or_else(|| args.sources.why(), ModelPlan::why);
        let model = plan.map(|plan| plan.model(config, reader, trace, args.speed)).transpose()?;
        match model {
            None => self.run_against(Ready { server, told, environment }, surroundings, None, why),
            Some(model) => {
                let server = server.asking(model.clone());
                self.run_against(Ready { server, told, environment }, surroundings, Some(&model), why)
            }
        }
    }

    fn run_against<M: Model>(
        &self,
        Ready { server, mut told, environment }: Ready<M>,
        surroundings: Surroundings,
        asked: Option<&AskedModel>,
        why: String,
    ) -> anyhow::Result<AgentRan> {
        let Self { global, args, config, trace, .. } = *self;
        let id = &trace.row.id;
        let store = args.store(global, config)?;
        if let Some(asked) = asked {
            asked.kept_by(store.as_ref())?;
        }
        let recording = &trace.row;
        let about = || About { recording, why, command: &args.command, environment };
        let stored = store.as_ref().map(|store| store.open(about())).transpose()?;
        let server = server.leaving(stored.as_ref().map(ReplayTrace::child));
        let own = stored.as_ref().map(|stored| stored.id().clone());
        if let (Some(asked), Some(own)) = (asked, &own) {
            asked.counts_to(own);
        }
        told.extend(own.iter().map(|own| ("LOOPTAPE_REPLAY".to_owned(), own.to_string())));
        let replayed = replay(id, server, told, &args.command, ChildOutput::Inherited);
        if let Some(stored) = stored {
            stored.close(end(&replayed));
        }
        let gaps = store.map(ReplayStore::finish).unwrap_or_default();
        let Replayed { child, summary } = match replayed? {
            Ok(replayed) => replayed,
            Err(not_started) => return self.not_started(&not_started),
        };
        let (summary, guarantees) = surroundings.finish(summary);
        let guarantee = format!("{}; {}", guarantee(asked), guarantees.sentence());
        // The price list is read only where somebody will see a price.
        let is_told = asked.is_some() || args.reports.has_json();
        let money = if is_told { Money::of(trace, &summary, asked) } else { Money::default() };
        let exit = exit(&summary, child, args.allow_unused, &money);
        let report = json!({
            "format": 1,
            "trace": id,
            "replay_trace": own,
            "interrupted": child.interrupted.map(Interruption::as_str),
            "child_exit_code": child.code,
            "exit_code": exit.code(),
            "guarantee": guarantee,
            "guarantees": guarantees,
            "money": money,
            "replay": summary,
        });
        let case = Case {
            trace: id.as_str(),
            agent: trace.row.agent.as_deref(),
            exit,
            agent_code: Some(child.code),
            summary: Some(&summary),
            remarks: "",
        };
        args.reports.write(&report, &[case])?;
        for (remark, times) in asked.map(AskedModel::remarks).unwrap_or_default() {
            global.say(&format!("looptape: {remark} ({times} ×)"));
        }
        if !global.quiet || exit != Exit::Success {
            let (own, money) = (own.as_ref(), &money);
            let told = render::replayed::Told { summary: &summary, child, own, gaps: &gaps, money };
            anstream::eprint!("{}", render::replayed::text(&told));
            anstream::eprintln!("looptape: {guarantee}");
        }
        Ok(AgentRan { exit, child_exit_code: Some(child.code), own })
    }
}

impl AgentReplay<'_> {
    /// Says that there was no agent, in the reports too: those of an earlier run would pass for this one's.
    fn not_started(&self, NotStarted { message, exit }: &NotStarted) -> anyhow::Result<AgentRan> {
        let row = &self.trace.row;
        anstream::eprintln!("looptape: {message}");
        let report = json!({
            "format": 1,
            "trace": row.id,
            "child_exit_code": null,
            "exit_code": exit.code(),
            "not_started": message,
            "replay": null,
        });
        let case = Case {
            trace: row.id.as_str(),
            agent: row.agent.as_deref(),
            exit: *exit,
            agent_code: None,
            summary: None,
            remarks: message,
        };
        self.args.reports.write(&report, &[case])?;
        Ok(AgentRan { exit: *exit, child_exit_code: None, own: None })
    }
}

/// What the replay's own trace says about its end.
fn end(replayed: &anyhow::Result<Result<Replayed, NotStarted>>) -> ReplayEnd {
    match replayed {
        Ok(Ok(Replayed { child, .. })) => ReplayEnd {
            exit_code: Some(child.code),
            aborted: child.interrupted.map(|interruption| interruption.as_str().to_owned()),
        },
        Ok(Err(not_started)) => ReplayEnd { exit_code: None, aborted: Some(not_started.message.clone()) },
        Err(error) => ReplayEnd { exit_code: None, aborted: Some(format!("{error:#}")) },
    }
}

/// What is true of the replay, whatever the agent did.
fn guarantee(asked: Option<&AskedModel>) -> &'static str {
    match asked {
        None => "the replay server has no upstream client",
        Some(AskedModel::Mock(_)) => "the replay server asked no provider",
        Some(AskedModel::Live(_)) => "the replay server asked providers, within the budget",
    }
}

/// Strongest first: diverged, the child's own code, unused recordings, calls beyond the budget.
fn exit(summary: &Summary, ended: Ended, allow_unused: bool, money: &Money) -> Exit {
    match (summary.verdict, ended.exit()) {
        (Verdict::Diverged, _) => Exit::Diverged,
        (_, child) if child != Exit::Success => child,
        (Verdict::Unused, _) if !allow_unused => Exit::Unused,
        _ if money.is_over() => Exit::Gate,
        _ => Exit::Success,
    }
}
