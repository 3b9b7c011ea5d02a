//! `looptape replay`: runs an agent against a recording, with the network gone.

use super::agent_replay::{self, AgentRan, AgentReplay, Books, Prices, Record};
use super::gates::{ConfigGatesArg, GateArgs, Score, billed, gated, observations};
use super::judge;
use super::labels::LabelArgs;
use super::library::{self, ListenArgs};
use super::matching::MatchingArgs;
use super::models::{self, ModelRun, ModelsArgs};
use super::report_files::ReportArgs;
use super::resend::{Report, ResendArgs, Resending};
use super::restored_workspace::RestoredWorkspace;
use super::sources::{ModelPlan, SourceArgs};
use crate::child::process::{ChildOutput, Interruption, NotStarted, Program};
use crate::child::surroundings::SurroundingsArgs;
use crate::child::tool_hooks::ToolHooksArgs;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces};
use crate::render;
use crate::render::junit::Case;
use crate::replay_trace::ReplayStore;
use crate::session::{Global, style};
use crate::tape::Place;
use looptape_core::TraceId;
use looptape_core::gates::{Conditions, Judged};
use looptape_core::replay::comparison::{ModelEnd, Verdict as Judgement};
use looptape_core::replay::driven::RunLine;
use looptape_core::replay::{Ambiguous, Attempts, Holes, ModelKind, Options, Rung};
use looptape_core::tools::ToolPolicy;
use looptape_proxy::tape_server::Speed;
use looptape_store::{Reader, RecordedTrace};
use serde_json::json;
use std::ffi::OsString;
use std::sync::Arc;

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
  looptape replay tests/cassettes/refund --no-record -- ./agent      from a cassette, without a database
  looptape replay last                           check the recording itself
  looptape replay --all --concurrency 4          check all recordings, four at once
  looptape replay --filter agent=refund.py --filter since=2d --json
  looptape replay last --free-run                let the answers drive, with the recorded tools
  looptape replay last --max-rung 0 -- ./agent   every request must be the same byte for byte
  looptape replay last --tools live -- ./agent   do the tools still give what they gave?
  looptape replay last --clock recorded --block-egress -- python agent.py
  looptape replay --all --listen 127.0.0.1:4101  serve all recordings until Ctrl-C
  looptape replay last --on-miss live --max-usd 0.50 -- ./agent      pay for what changed
  looptape replay last --from 4 --source live --model gpt-4o --max-usd 1 -- ./agent
  looptape replay last --from 4 --restore-workspace --source live --max-usd 1 -- ./agent
                                                 with the files as they were at step 4
  looptape replay last --from 4 --source mock --speed 1 -- ./agent   a made-up model, at the recorded pace
  looptape replay last --free-run --source live --max-usd 0.20   a live model drives, with the recorded tools
  looptape replay last --from 3 --source live --max-usd 2 --models gpt-4o,gpt-4o-mini \
      --verify ./check.sh -- ./agent
  looptape replay last --gate 'cost_usd: max<0.10' --gate 'steps_per_loop: max<=12' -- ./agent
  looptape replay last --verify ./check.sh --gate 'score: value>=0.9' -- ./agent

Exit codes, strongest first: 3 diverged; the agent's own code; 1 --verify says no; 4 recorded calls were
left unused; 99 a gate failed, or live calls were refused because of --max-usd; 0 replayed.")]
pub(crate) struct Args {
    /// The trace: an id, a prefix of one, `last`, `last~2`, or a cassette's path; without a command there may be
    /// several
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
    /// What becomes of tool calls that hooks or shims ask about, those of coding agents too, where `[tools.NAME]` says
    /// nothing: `live` runs the tools and compares what they give with what was recorded
    #[arg(long, value_enum)]
    tools: Option<ToolsArg>,
    #[command(flatten)]
    surroundings: SurroundingsArgs,
    #[command(flatten)]
    tool_hooks: ToolHooksArgs,
    /// Run the agent in a fresh folder with the files that `record --workspace` kept, as they were when step N asked
    /// [default: the step of `--from`; without it, before the program started]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, requires = "command")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    restore_workspace: Option<Option<u32>>,
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
    gates: GateArgs,
    #[command(flatten)]
    config_gates: ConfigGatesArg,
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

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ToolsArg {
    /// Answered from the recording; what it does not hold is refused, unless the tool only reads
    Recorded,
    /// They run; with --rebind the agent gets what they give, else what was recorded
    Live,
    /// They are refused
    Deny,
}

impl From<ToolsArg> for ToolPolicy {
    fn from(policy: ToolsArg) -> Self {
        match policy {
            ToolsArg::Recorded => Self::Recorded,
            ToolsArg::Live => Self::Live,
            ToolsArg::Deny => Self::Deny,
        }
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    let speed = text.parse().ok().and_then(Speed::new);
    speed.ok_or_else(|| "a speed is 0 or a positive number, such as 1 or 10".to_owned())
}

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
        (global, config, named): (&'a Global, &'a Config, &'a NamedTraces),
        store: Option<&'a ReplayStore>,
        plan: Option<&'a ModelPlan<'a>>,
    ) -> Resending<'a> {
        Resending {
            global,
            config,
            reader: &named.reader,
            traces: &named.names,
            args: &self.resend,
            options: self.options(),
            speed: self.speed,
            plan,
            why: plan.map_or_else(|| self.sources.why(), ModelPlan::why),
            store,
            progress: Arc::default(),
        }
    }

    /// The traces that were named. A replay that is stored lies beside its recording.
    fn named(&self, global: &Global, config: &Config) -> anyhow::Result<NamedTraces> {
        let leaves_nothing = self.no_record || self.listen.address().is_some();
        let home = if leaves_nothing { Home::Nowhere } else { Home::Database };
        NamedTraces::open(global, config, &self.traces, home)
    }

    /// The fresh folder that the agent is to run in, if one is wanted.
    fn restored(&self, reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Option<RestoredWorkspace>> {
        let Some(step) = self.restore_workspace else { return Ok(None) };
        RestoredWorkspace::lay_out(reader, trace, step.or(self.sources.fork_step())).map(Some)
    }

    /// Where this replay is written down.
    fn store(&self, global: &Global, config: &Config) -> anyhow::Result<Option<ReplayStore>> {
        if self.no_record { Ok(None) } else { ReplayStore::start(global, config, self.labels.labels()?) }
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let mut config = args.matching.settings(Config::load()?);
    config.all_tools = args.tools.map(ToolPolicy::from);
    let conditions = args.gates.conditions(&config, args.config_gates.into())?;
    if !conditions.is_empty() && (!args.models.models.is_empty() || args.listen.address().is_some()) {
        let say = "gates judge one replay: leave --models and --listen out, or the gates";
        return Err(UsageError(say.to_owned()).into());
    }
    let named = args.named(global, &config)?;
    if args.command.is_empty() {
        return without_child((global, &config, &named), args, &conditions);
    }
    if named.names.len() != 1 {
        return Err(UsageError("an agent is run against one trace: name it before `--`".to_owned()).into());
    }
    let trace = named.reader.load(named.row(0)?)?;
    let plan = args.sources.plan(&config, &named.reader)?;
    let (conditions, reader) = (&conditions, &named.reader);
    let replay = ReplayWithAgent { global, args, config: &config, conditions, reader, trace: &trace };
    if !args.models.models.is_empty() {
        return with_models(&replay, plan.as_ref());
    }
    Ok(replay.run(plan.as_ref())?.exit)
}

/// Runs the agent once with each model; all of them draw on one budget.
fn with_models(replay: &ReplayWithAgent<'_>, plan: Option<&ModelPlan<'_>>) -> anyhow::Result<Exit> {
    let ReplayWithAgent { global, args, reader, trace, .. } = *replay;
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

fn without_child(
    (global, config, named): (&Global, &Config, &NamedTraces),
    args: &Args,
    conditions: &Conditions,
) -> anyhow::Result<Exit> {
    let plan = args.sources.plan(config, &named.reader)?;
    let over = (global, config, named);
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
        return with_free_models((global, args, named), plan.as_ref(), |plan| {
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
    let spent = plan.as_ref().and_then(ModelPlan::spending).map(billed);
    let judged = Judged::of(conditions, &observations(report.metrics(plan.as_ref()), [], spent));
    let exit = gated(exit, &judged);
    report.tell(&judged, args.json)?;
    gaps.iter().for_each(|(why, times)| global.say(&render::replayed::gap(why, *times)));
    let runs = &report.figures().runs;
    let remarks: Vec<String> = runs.iter().map(|run| report.remarks(run)).collect();
    let cases: Vec<Case<'_>> = runs.iter().zip(&remarks).map(|(run, why)| run_case(run, why, exit)).collect();
    args.reports.write(&serde_json::to_value(judged.with(&report))?, &cases)?;
    Ok(exit)
}

/// Lets each model drive the recorded loops of one trace.
fn with_free_models(
    (global, args, named): (&Global, &Args, &NamedTraces),
    plan: Option<&ModelPlan<'_>>,
    run: impl Fn(&ModelPlan<'_>) -> anyhow::Result<Report>,
) -> anyhow::Result<Exit> {
    if named.names.len() != 1 {
        return Err(UsageError("models are compared on one trace: name it".to_owned()).into());
    }
    if !args.resend.is_free_run() {
        let say = "--models needs somebody to drive: an agent's command after `--`, or --free-run";
        return Err(UsageError(say.to_owned()).into());
    }
    let trace = named.reader.load(named.row(0)?)?;
    let plan = several(plan, args, &trace)?;
    let of = (trace.row.label(), args.sources.first_step());
    let comparison = models::compare(global, &args.models, of, &named.reader, |model| {
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
    Case {
        trace: &run.trace,
        agent: None,
        exit,
        agent_code: None,
        summary: run.replay.as_ref(),
        remarks,
        test: None,
    }
}

/// Runs of one agent against one recording.
#[derive(Clone, Copy)]
struct ReplayWithAgent<'a> {
    global: &'a Global,
    args: &'a Args,
    config: &'a Config,
    conditions: &'a Conditions,
    reader: &'a Reader,
    trace: &'a RecordedTrace,
}

/// One of them, told and stored.
struct Told {
    exit: Exit,
    /// `None` if the agent could not be started.
    child_exit_code: Option<i32>,
    /// The trace that it left.
    own: Option<TraceId>,
}

impl ReplayWithAgent<'_> {
    /// Runs the agent, and tells what came of it; a model is asked as planned.
    fn run(&self, plan: Option<&ModelPlan<'_>>) -> anyhow::Result<Told> {
        let Self { global, args, config, reader, trace, .. } = *self;
        let restored = args.restored(reader, trace)?;
        let folder = restored.as_ref().and_then(RestoredWorkspace::working_folder);
        let config = &config.in_own_folder(folder.is_some());
        let replay = AgentReplay {
            config,
            reader,
            trace,
            options: args.options(),
            speed: args.speed,
            surroundings: args.surroundings,
            place: restored.as_ref().map_or(Place::Here, RestoredWorkspace::place),
            upstreams: args.sources.upstreams(),
            prices: if args.reports.has_json() { Prices::Wanted } else { Prices::OnlyOfLiveCalls },
        };
        let why = plan.map_or_else(|| args.sources.why(), ModelPlan::why);
        let record = Record { store: args.store(global, config)?, why, books: Books::WithTheReplay };
        let tools = args.tool_hooks.tools();
        let program = Program { folder, tools, ..Program::new(&args.command, ChildOutput::Inherited) };
        let told = restored.as_ref().map(RestoredWorkspace::variables).unwrap_or_default();
        restored.iter().flat_map(RestoredWorkspace::lines).for_each(|line| global.say(&line));
        match replay.run(program, told, plan, record)? {
            Ok(ran) => self.tell(ran, restored.as_ref()),
            Err(not_started) => self.not_started(&not_started),
        }
    }

    fn tell(&self, ran: AgentRan, restored: Option<&RestoredWorkspace>) -> anyhow::Result<Told> {
        let Self { global, args, trace, .. } = *self;
        let exit = ran.exit(args.allow_unused);
        let verified = self.verified(&ran, exit)?;
        let judged = self.judged(&ran, &verified)?;
        let exit = gated(after_verify(exit, &verified), &judged);
        let AgentRan { child, summary, own, gaps, guarantees, guarantee, money, remarks, .. } = ran;
        let report = json!({
            "format": 1,
            "trace": trace.row.id,
            "replay_trace": own,
            "interrupted": child.interrupted.map(Interruption::as_str),
            "child_exit_code": child.code,
            "exit_code": exit.code(),
            "guarantee": guarantee,
            "guarantees": guarantees,
            "money": money,
            "workspace": restored,
            "replay": summary,
            "verify": verified,
            "gates": judged.gates,
            "figures": judged.figures,
        });
        let case = Case {
            trace: trace.row.id.as_str(),
            agent: trace.row.agent.as_deref(),
            exit,
            agent_code: Some(child.code),
            summary: Some(&summary),
            remarks: "",
            test: None,
        };
        args.reports.write(&report, &[case])?;
        for (remark, times) in remarks {
            global.say(&format!("looptape: {remark} ({times} ×)"));
        }
        if !global.quiet || exit != Exit::Success {
            let (own, money) = (own.as_ref(), &money);
            let told = render::replayed::Told { summary: &summary, child, own, gaps: &gaps, money };
            anstream::eprint!("{}", render::replayed::text(&told));
            anstream::eprintln!("looptape: {guarantee}");
            if verified != Judgement::NotAsked {
                anstream::eprintln!("looptape: verify: {}", verified.as_words());
            }
        }
        // Every gate is told, with --quiet too: it was asked for.
        anstream::eprint!("{}", render::gates::text(&judged.gates, style()));
        Ok(Told { exit, child_exit_code: Some(child.code), own })
    }

    /// Says that there was no agent, in the reports too: those of an earlier run would pass for this one's.
    fn not_started(&self, NotStarted { message, exit }: &NotStarted) -> anyhow::Result<Told> {
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
            test: None,
        };
        self.args.reports.write(&report, &[case])?;
        Ok(Told { exit: *exit, child_exit_code: None, own: None })
    }

    /// What --verify says of a run that went well so far. Of several models it is asked elsewhere.
    fn verified(&self, ran: &AgentRan, exit: Exit) -> anyhow::Result<Judgement> {
        let Self { global, args, trace, .. } = *self;
        let Some(command) = args.models.verify.as_deref().filter(|_| args.models.models.is_empty()) else {
            return Ok(Judgement::NotAsked);
        };
        if !matches!(exit, Exit::Success | Exit::Unused | Exit::Gate) {
            return Ok(Judgement::Broken { why: "the run did not go well".to_owned() });
        }
        let (id, database) = (ran.own.as_ref().unwrap_or(&trace.row.id), global.database()?);
        Ok(judge::judged(
            command,
            judge::Judged { trace: id.as_str(), database: &database, folder: None, variables: &[] },
        ))
    }

    fn judged(&self, ran: &AgentRan, verified: &Judgement) -> anyhow::Result<Judged> {
        let Self { args, conditions, reader, trace, .. } = *self;
        if conditions.is_empty() && !args.reports.has_json() {
            return Ok(Judged::default());
        }
        let own = ran.own.as_ref().map(TraceId::as_str);
        let metrics = agent_replay::metrics(reader, trace, &ran.summary, (own, args.speed))?;
        let score = match verified {
            Judgement::NotAsked => Score::NotAsked,
            Judgement::Pass { score } | Judgement::Fail { score, .. } => Score::of(*score),
            Judgement::Broken { .. } => Score::NotGiven,
        };
        Ok(Judged::of(conditions, &observations([&metrics], [score], ran.money.live.map(billed))))
    }
}

/// The agent's own failure is stronger than what --verify says.
fn after_verify(exit: Exit, verified: &Judgement) -> Exit {
    match (exit, verified) {
        (Exit::Success | Exit::Unused | Exit::Gate, Judgement::Fail { .. } | Judgement::Broken { .. }) => {
            Exit::Failure
        }
        (exit, _) => exit,
    }
}
