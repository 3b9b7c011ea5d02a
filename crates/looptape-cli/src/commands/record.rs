//! `looptape record`: runs an agent and records every model call it makes.

use super::budget::{BudgetArgs, lines as spending_lines};
use super::child_run;
use super::labels::LabelArgs;
use super::workspace::{WatchedWorkspace, Workspace};
use crate::child::capture::{Capture, Egress};
use crate::child::claude_code;
use crate::child::environment::{self, Mode, Variables};
use crate::child::overlay;
use crate::child::process::{ChildOutput, Ended, NotStarted, Program};
use crate::child::stage::Stage;
use crate::child::tool_hooks::ToolHooksArgs;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::run_environment::{self, PendingStatus};
use crate::session::{DurabilityArg, Global, new_trace_id, runtime};
use anyhow::Context;
use looptape_core::TraceId;
use looptape_core::budget::Spending;
use looptape_core::replay::Environment;
use looptape_proxy::budgets::SharedBudget;
use looptape_proxy::forward_proxy::ForwardProxy;
use looptape_proxy::guard::Guard;
use looptape_proxy::lanes::Lanes;
use looptape_proxy::server::{Server, bind};
use looptape_proxy::upstream::{Upstream, Upstreams};
use looptape_proxy::{RecordingOptions, RecordingProxy, Tally};
use looptape_store::workspace::SnapshotFigures;
use looptape_store::{Durability, Moment, Recorder, RecorderReport, Selector, Source, TraceSpec};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;

/// Run an agent and record every model call it makes
///
/// Starts a proxy on a free loopback port, points the agent's SDKs at it through its environment, and
/// passes terminal, output, signals and exit code through. The agent needs no change. A base URL that is
/// already set in the environment (OPENAI_BASE_URL, ANTHROPIC_BASE_URL, …) is where its calls go.
///
/// Without `--agent` the agent is known by its program's or script's name, unless its calls name it
/// (x-looptape-agent, x-looptape-agent-version, x-looptape-tag: KEY=VALUE; none of these goes upstream).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape record -- python agent.py
  looptape record --agent refund --agent-version 1.4 --tag env=staging -- node agent.mjs
  looptape record --upstream openai=http://127.0.0.1:8000/v1 -- ./agent
  looptape record --capture-egress -- python agent.py      with the HTTP calls of its tools
  looptape record --durability strict -- pytest tests/
  looptape record --workspace . -- claude -p 'Fix the failing test'
  looptape record --max-usd 0.50 --max-usd-per-day 20 -- python agent.py

Exit code: the agent's own; 127 if it was not found, 126 if it cannot be executed.")]
pub(crate) struct Args {
    /// Id of the trace [default: 32 random hex digits]
    #[arg(long, value_name = "ID", value_parser = TraceId::parse)]
    trace: Option<TraceId>,
    /// Name of the trace, for people
    #[arg(long)]
    name: Option<String>,
    /// Where a provider's calls go; repeatable
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<String>,
    /// When an answer counts as recorded
    #[arg(long, value_enum, default_value = "relaxed")]
    durability: DurabilityArg,
    /// Record what the agent's HTTP clients ask of other hosts too: calls that tools make, and models to which no
    /// base URL leads. They are led through a proxy by HTTPS_PROXY and its like, and told to trust its certificates
    #[arg(long)]
    capture_egress: bool,
    /// Keep the files of this folder too, as they are at each step: what ignore rules name, `.git` and secrets are left
    /// out. `show --files` and `replay --restore-workspace` use them
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    #[command(flatten)]
    tool_hooks: ToolHooksArgs,
    /// The agent's command line
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

/// How long the end of a run waits for what git has to say about its beginning.
const STATUS_WAIT: Duration = Duration::from_millis(50);

/// How long calls that outlive the child may go on.
const LINGER: Duration = Duration::from_millis(500);

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let id = match &args.trace {
        Some(id) => id.clone(),
        None => new_trace_id()?,
    };
    let plan = Plan {
        spec: spec(args, id.clone())?,
        budget: Some(args.budget.clone()),
        upstreams: upstreams(&config, &args.upstreams)?,
        durability: args.durability.into(),
        program: Program {
            tools: args.tool_hooks.tools(),
            ..Program::new(&args.command, ChildOutput::Inherited)
        },
        told: Variables::new(),
        surroundings: run_environment::capture(),
        egress: if args.capture_egress { Egress::Captured } else { Egress::Unseen },
        workspace: args.workspace.as_deref().map(Workspace::named).transpose()?,
    };
    let recorded = record(global, &config, plan)?;
    finish(global, &id, &recorded)
}

/// A run to record.
pub(super) struct Plan<'a> {
    pub(super) spec: TraceSpec,
    /// `None`: nothing that this run does costs anything.
    pub(super) budget: Option<BudgetArgs>,
    pub(super) upstreams: Upstreams,
    pub(super) durability: Durability,
    pub(super) program: Program<'a>,
    /// Variables of this run alone.
    pub(super) told: Variables,
    /// Where the program runs.
    pub(super) surroundings: Environment,
    pub(super) egress: Egress,
    /// The folder whose files are kept.
    pub(super) workspace: Option<Workspace>,
}

/// What came of it.
pub(super) struct Recorded {
    pub(super) child: Result<Ended, NotStarted>,
    pub(super) tally: Arc<Tally>,
    pub(super) report: RecorderReport,
    /// What came of the budget, if there was one.
    pub(super) spending: Option<Spending>,
    /// What there was of files at the end, if they were kept.
    pub(super) files: Option<Result<SnapshotFigures, String>>,
}

/// Records one run into the database, from its opening row to its closing row.
pub(super) fn record(global: &Global, config: &Config, plan: Plan<'_>) -> anyhow::Result<Recorded> {
    let Plan { spec, budget, mut upstreams, durability, program, mut told, .. } = plan;
    let (environment, egress, workspace) = (plan.surroundings, plan.egress, plan.workspace);
    add_mcp_servers(&mut upstreams, program.command);
    let id = spec.id.clone();
    let (recorder, thread) = global.recorder(config, durability)?;
    let budget = budget.map(|args| args.recorded_by(global, config, &recorder)).transpose()?.flatten();
    recorder.open_trace(spec);
    let status = PendingStatus::of(&environment);
    recorder.describe_environment(id.clone(), environment.clone());
    let spent = budget.clone();
    let to = Outside { upstreams, budget, egress };
    told.extend(workspace.iter().map(Workspace::variable));
    let watched = workspace.map(|folder| folder.watch((global, config), &recorder, &id)).transpose();
    let (watched, why_not) = match watched {
        Ok(watched) => (watched, None),
        Err(error) => (None, Some(error)),
    };
    let run = match why_not {
        Some(error) => Err(error),
        None => runtime()?.block_on(run_child(&recorder, to, &id, program, told, watched.as_ref())),
    };
    let files = watched.map(|watched| watched.finish(&recorder, &id));
    let (code, aborted) = match &run {
        Ok((Ok(ended), _)) => (Some(ended.code), None),
        Ok((Err(not_started), _)) => (None, Some(not_started.message.clone())),
        Err(error) => (None, Some(error.to_string())),
    };
    if let Some(whole) = status.and_then(|status| status.added_to(&environment, STATUS_WAIT)) {
        recorder.describe_environment(id.clone(), whole);
    }
    recorder.close_trace(id, Moment::now(), code, aborted);
    drop(recorder);
    let report = thread.finish();
    let (child, tally) = run?;
    Ok(Recorded { child, tally, report, spending: spent.map(|budget| budget.spending()), files })
}

/// Where calls go, what they may cost, and whether those to other hosts are seen.
struct Outside {
    upstreams: Upstreams,
    budget: Option<SharedBudget>,
    egress: Egress,
}

async fn run_child(
    recorder: &Recorder,
    Outside { upstreams, budget, egress }: Outside,
    id: &TraceId,
    program: Program<'_>,
    mut told: Variables,
    watched: Option<&WatchedWorkspace>,
) -> anyhow::Result<(Result<Ended, NotStarted>, Arc<Tally>)> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = bind(listen).await?;
    let known = environment::secrets(environment::texts());
    told.extend(claude_code::if_first_party(&upstreams));
    let options = RecordingOptions {
        upstreams,
        guard: Guard::new(listen, None)?,
        run: Some(id.clone()),
        known,
        budget,
        telemetry: None,
    };
    let proxy =
        RecordingProxy::new(options, recorder.clone()).context("the upstream client cannot be set up")?;
    let proxy = match watched {
        Some(watched) => proxy.looking_at(watched.snapshots.clone()),
        None => proxy,
    };
    let tally = proxy.tally();
    let capture = match egress {
        Egress::Unseen => None,
        Egress::Captured => Some(Capture::prepare(&|name| std::env::var(name).ok())?),
    };
    let lanes = Lanes::start().context("the proxy's threads cannot be started")?;
    let server = serve(&lanes, listener, &proxy, capture.as_ref()).context("the proxy cannot be started")?;
    let origin = format!("http://{}", server.address());
    told.extend(capture.iter().flat_map(|capture| capture.variables(&origin)));
    let child = child_run::run(Mode::Record, &origin, id.as_str(), Stage::Here(program), told).await?;
    let child = child.map(|ran| ran.ended);
    // What a grandchild still has under way may end; the child itself is gone.
    server.drain(LINGER).await;
    Ok((child, tally))
}

/// Serves the proxy on all lanes, and what is asked of other hosts if that is captured.
fn serve(
    lanes: &Lanes,
    listener: TcpListener,
    proxy: &RecordingProxy,
    capture: Option<&Capture>,
) -> std::io::Result<Server> {
    let Some(capture) = capture else {
        return Server::start_on(lanes, listener, || proxy.with_own_connections());
    };
    let own = listener.local_addr()?;
    let of_lane = || ForwardProxy::new(Arc::new(proxy.with_own_connections()), own, capture.beyond());
    Server::start_on(lanes, listener, of_lane)
}

/// The MCP servers that the agent's configuration reaches over HTTP, unless somebody stated where they are.
pub(super) fn add_mcp_servers(upstreams: &mut Upstreams, command: &[OsString]) {
    for (server, url) in overlay::mcp_upstreams(command, &|name| std::env::var(name).ok()) {
        let provider = server.provider();
        if let (None, Ok(upstream)) = (upstreams.stated(&provider), Upstream::from_sdk_variable(&url)) {
            upstreams.set(provider, upstream);
        }
    }
}

/// Upstreams from flags, then the environment, then the file.
pub(super) fn upstreams(config: &Config, flags: &[String]) -> anyhow::Result<Upstreams> {
    let mut upstreams = Upstreams::default();
    for flag in flags {
        upstreams.add_stated(flag).map_err(|e| UsageError(e.to_string()))?;
    }
    environment::upstreams(&mut upstreams, &|name| std::env::var(name).ok())
        .map_err(|(variable, e)| UsageError(format!("{variable} in the environment: {e}")))?;
    for (name, entries) in &config.upstreams {
        let in_file = entries.upstreams(name, &|name| std::env::var(name).ok());
        let (provider, in_order) = in_file.context("[upstreams] in looptape.toml")?;
        if upstreams.stated(&provider).is_none() {
            in_order.into_iter().for_each(|upstream| upstreams.add(provider.clone(), upstream));
        }
    }
    upstreams.failover = config.failover.failover()?;
    Ok(upstreams)
}

fn spec(args: &Args, id: TraceId) -> anyhow::Result<TraceSpec> {
    let mut spec = TraceSpec::new(id, Source::Record, Moment::now());
    spec.name.clone_from(&args.name);
    spec.labels = args.labels.labels()?;
    spec.program = program_name(&args.command);
    spec.command = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    Ok(spec)
}

/// `python agent.py` is known as `agent.py`; anything else by its program.
pub(super) fn program_name(command: &[OsString]) -> Option<String> {
    const INTERPRETERS: &[&str] = &["python", "node", "deno", "bun", "ruby", "npx", "uv", "tsx"];
    let name = |word: &OsString| Path::new(word).file_name().map(|n| n.to_string_lossy().into_owned());
    let (program, arguments) = command.split_first()?;
    let program = name(program)?;
    let is_script = |word: &&OsString| {
        let text = word.to_string_lossy();
        !text.starts_with('-') && Path::new(text.as_ref()).extension().is_some()
    };
    let script =
        arguments.iter().find(is_script).filter(|_| INTERPRETERS.iter().any(|i| program.starts_with(i)));
    script.and_then(name).or(Some(program))
}

fn finish(global: &Global, id: &TraceId, run: &Recorded) -> anyhow::Result<Exit> {
    let exit = match &run.child {
        Ok(ended) => ended.exit(),
        Err(not_started) => {
            anstream::eprintln!("looptape: {}", not_started.message);
            return Ok(not_started.exit);
        }
    };
    // Scripts rely on this line: it is printed even with --quiet.
    anstream::eprintln!("trace: {id}");
    for (remark, times) in run.tally.remarks() {
        global.say(&format!("looptape: {remark} ({times} ×)"));
    }
    for line in run.spending.iter().flat_map(spending_lines) {
        global.say(&format!("looptape: {line}"));
    }
    for line in run.files.iter().map(|files| render::recorded::files(id, files)) {
        global.say(&line);
    }
    for (reason, times) in &run.report.gaps {
        anstream::eprintln!("looptape: the recording is incomplete: {reason} ({times} ×)");
    }
    if run.tally.calls.load(Ordering::Relaxed) == 0 {
        if let Exit::Child(code) = exit {
            global.say(&format!("looptape: the program ended with code {code}: what it printed may say why"));
        }
        global.say(NOTHING_SEEN);
    } else {
        match summary(global, id) {
            Ok(summary) => global.say(&summary),
            // The agent's run is not undone by that: its exit code stays.
            Err(error) => anstream::eprintln!("looptape: the recording cannot be read back: {error:#}"),
        }
    }
    Ok(exit)
}

fn summary(global: &Global, id: &TraceId) -> anyhow::Result<String> {
    let reader = global.reader()?;
    let row = reader.find(&Selector::Id { prefix: id.as_str().to_owned(), run: None })?;
    Ok(render::recorded::summary(&reader.load(row)?))
}

const NOTHING_SEEN: &str = "\
looptape: no model call was seen. What to try next:
  - does the program read OPENAI_BASE_URL, ANTHROPIC_BASE_URL or GOOGLE_GEMINI_BASE_URL? A base URL that is
    fixed in its code goes past the proxy: take it from the environment, or record with --capture-egress
  - `env -i`, containers and remote workers do not inherit the environment: pass the variables on
  - `looptape doctor` shows the variables, and checks the set-up";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_by_their_script() {
        let name =
            |words: &[&str]| program_name(&words.iter().map(OsString::from).collect::<Vec<_>>()).unwrap();
        assert_eq!(name(&["python3", "-u", "src/agent.py", "x.txt"]), "agent.py");
        assert_eq!(name(&["/usr/bin/claude", "-p", "read a.txt"]), "claude");
        assert_eq!(name(&["pytest", "tests/a.py"]), "pytest");
        assert_eq!(name(&["node", "--inspect"]), "node");
    }
}
