//! `looptape demo`: the whole of it in ten seconds, on this machine alone.
//!
//! Nothing here is special to the demo but the provider and the agent: recording, replaying, checking and
//! showing are what the other verbs do. The agent is this program itself as a child process, with nothing
//! but its environment to tell it where its provider is.

use super::agent_replay::{self, Replayed};
use super::audit;
use super::record::{self, Plan};
use super::resend;
use crate::child::capture::Egress;
use crate::child::environment::Variables;
use crate::child::process::{ChildOutput, Ended, NotStarted, Program};
use crate::child::surroundings::Surroundings;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::render::demo::Next;
use crate::render::style::{Color, Style, stdout_width};
use crate::run_environment;
use crate::session::{Global, new_trace_id, print, runtime};
use crate::tape::{self, Ready};
use anyhow::{Context, bail};
use looptape_core::TraceId;
use looptape_core::provider::Provider;
use looptape_core::replay::{Options, Summary, Verdict, render_text};
use looptape_core::simulated::Script;
use looptape_page::reading::trace_view::{self, Compositions, Messages};
use looptape_proxy::simulated_server::SimulatedServer;
use looptape_proxy::upstream::{Upstream, Upstreams};
use looptape_store::{Durability, Moment, Selector, Source, TraceSpec};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// See it work: record an agent, replay it, show it. No key, no network
///
/// Starts a simulated provider on a loopback port, records the example agent against it (streamed answers,
/// tool calls in parallel, a 429), stops the provider, and runs the agent again from the recording. Then it
/// shows the timeline and the cost, and sends every recorded request to the recording once more to compare
/// the answers, and says what the money was for. The trace stays in the database.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 if everything was the same, 3 if anything differed.")]
pub(crate) struct Args {
    /// Be the agent that the demo records
    #[arg(long, hide = true)]
    agent: bool,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if args.agent { agent() } else { demo(global) }
}

/// The child: an agent that knows its provider by its environment and nothing of looptape.
fn agent() -> anyhow::Result<Exit> {
    let base_url = std::env::var("OPENAI_BASE_URL").map_err(|_| {
        UsageError("the demo's agent runs under `looptape record` or `looptape replay` only".into())
    })?;
    let mut out = std::io::stdout();
    // No key of the user's: the demo's provider asks for none.
    runtime()?.block_on(looptape_example_agent::run(&base_url, "demo", &mut out))?;
    Ok(Exit::Success)
}

fn demo(global: &Global) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let style = Style { color: Color::On, width: stdout_width() };
    let config = Config::load()?;
    let id = new_trace_id()?;
    let exe = std::env::current_exe().context("this program cannot find its own file")?;
    let command: Vec<OsString> = vec![exe.into(), "demo".into(), "--agent".into()];

    print(&render::demo::opening(style))?;
    let (said, provider) = record_agent(global, &config, &id, &command)?;
    let reader = global.reader()?;
    let row = reader.find(&Selector::Id { prefix: id.as_str().to_owned(), run: None })?;
    let scanned = reader.load_with_pieces(row)?;
    let trace = &scanned.trace;
    print(&render::demo::recorded(style, &said, trace.facts.len()))?;

    must_be_gone(provider)?;
    let ready = tape::server(&reader, trace, Options::default(), &config)?;
    let (said_again, summary) = replay_agent(&id, ready, &command)?;
    let mut differences = differences(&said, &said_again, &summary);
    print(&render::demo::replayed(style, provider, &summary, &differences))?;

    print(&render::demo::shown(
        style,
        &trace_view::build(&reader, &scanned, Messages::LeftOut, Compositions::LeftOut).view,
    ))?;

    let check = resend::self_check(global, &reader, &config, trace.row.label())?;
    print(&render::demo::checked(style, &check))?;
    if !check.is_as_recorded() || check.unanswered > 0 {
        differences.push("the self-check found differences".to_owned());
    }
    print(&render::demo::audited(style, &audit::alone(&reader, trace)?))?;
    let next = Next { program: program(), db: global.db.as_deref(), id: id.as_str() };
    print(&render::demo::closing(style, &next, &global.database()?, &differences, started.elapsed()))?;
    Ok(if differences.is_empty() { Exit::Success } else { Exit::Diverged })
}

/// Records the agent against a provider that is gone afterwards; yields what the agent wrote, and where
/// the provider was.
fn record_agent(
    global: &Global,
    config: &Config,
    id: &TraceId,
    command: &[OsString],
) -> anyhow::Result<(String, SocketAddr)> {
    let serving = runtime()?;
    let (url, provider) = serving
        .block_on(SimulatedServer::start(Script::demo()))
        .context("the simulated provider cannot be started")?;
    let address = provider.addr();
    let mut upstreams = Upstreams::default();
    upstreams.set(Provider::OPENAI, Upstream::stated(&url).context("the simulated provider's address")?);
    let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
    spec.name = Some("demo".to_owned());
    spec.labels.agent = Some("travel-agent".to_owned());
    spec.command = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut output = tempfile::tempfile().context("no temporary file can be made")?;
    let plan = Plan {
        spec,
        budget: None,
        upstreams,
        durability: Durability::Relaxed,
        program: Program::new(command, ChildOutput::To(output.try_clone()?)),
        told: Variables::new(),
        surroundings: run_environment::capture(),
        egress: Egress::Unseen,
        workspace: None,
    };
    let recorded = record::record(global, config, plan)?;
    serving.block_on(provider.stop());
    must_succeed(recorded.child)?;
    if let Some((reason, _)) = recorded.report.gaps.first_key_value() {
        bail!("the recording is incomplete: {reason}");
    }
    Ok((read_back(&mut output)?, address))
}

/// Runs the agent from the recording; yields what it wrote, and how its requests were answered.
fn replay_agent(id: &TraceId, ready: Ready, command: &[OsString]) -> anyhow::Result<(String, Summary)> {
    let mut output = tempfile::tempfile().context("no temporary file can be made")?;
    let Ready { server, told, .. } = ready;
    let program = Program::new(command, ChildOutput::To(output.try_clone()?));
    match agent_replay::replay(id, server, &Surroundings::none(), (program, told))? {
        Ok(Replayed { summary, .. }) => Ok((read_back(&mut output)?, summary)),
        Err(not_started) => bail!("{}", not_started.message),
    }
}

fn must_succeed(child: Result<Ended, NotStarted>) -> anyhow::Result<()> {
    match child {
        Ok(Ended { code: 0, .. }) => Ok(()),
        Ok(Ended { code, .. }) => bail!("the demo's agent failed with code {code}; what it said is above"),
        Err(not_started) => bail!("{}", not_started.message),
    }
}

fn read_back(file: &mut File) -> anyhow::Result<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).context("the agent's output is lost")?;
    Ok(text)
}

/// The claim of the demo's second step, made sure of.
fn must_be_gone(provider: SocketAddr) -> anyhow::Result<()> {
    match TcpStream::connect_timeout(&provider, Duration::from_secs(1)) {
        Ok(_) => bail!("something still listens on {provider}, where the provider was: run the demo again"),
        Err(_) => Ok(()),
    }
}

fn differences(said: &str, said_again: &str, summary: &Summary) -> Vec<String> {
    let mut found = Vec::new();
    if said != said_again {
        found.push(format!("the agent wrote something else:\n{said_again}"));
    }
    if summary.verdict != Verdict::Replayed {
        found.push(render_text(summary));
    }
    found
}

/// How the user called this program, for commands to copy.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_else(|| "looptape".to_owned());
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| Path::new(&called).strip_prefix(here).ok().map(Path::to_owned));
    relative.map_or(called, |path| format!("./{}", path.display()))
}
