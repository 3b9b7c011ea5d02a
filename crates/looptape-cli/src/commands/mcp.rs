//! `looptape mcp`: stands in for an MCP stdio server.

use crate::child::environment::{self, Mode};
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::mcp_shim::pass::{self, NotStarted, code_of};
use crate::mcp_shim::tap::{Scribe, Tap};
use crate::mcp_shim::{Gateway, check, stand_in};
use crate::render;
use crate::session::{Global, find, new_trace_id, print, print_json, style};
use crate::tape;
use anyhow::Context;
use looptape_core::mcp::drift::{Drift, Tools};
use looptape_core::mcp::session::ServerEnd;
use looptape_core::mcp::{Conversation, Message, ServerName};
use looptape_core::replay::Options;
use looptape_proxy::mcp::recording::Book;
use looptape_proxy::server::Server;
use looptape_store::{Durability, Moment, Recorder, RecorderThread, Source, TraceSpec};
use serde::Serialize;
use std::ffi::OsString;
use std::sync::Arc;

/// Stand in for an MCP stdio server: record it, or replay it without starting it
///
/// Put `looptape mcp --` in front of a server's command, where the agent has it. Under `looptape record` what passes
/// becomes part of the agent's trace; under `looptape replay` the server is not started, and its recorded answers are
/// given. `record` and `replay` do this by themselves for the servers of claude-code, codex and gemini-cli.
///
/// Outside of both it records a trace of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape mcp -- npx -y @modelcontextprotocol/server-everything
  looptape mcp --name files -- uvx mcp-server-filesystem /srv
  looptape mcp --replay last -- uvx mcp-server-filesystem /srv      answers from a recording
  looptape mcp --check last -- uvx mcp-server-filesystem /srv       are its tools still those that were recorded?

Exit code: the server's own, or the one that was recorded; --check: 3 if its tools differ.")]
pub(crate) struct Args {
    /// What the server is called [default: after its command]
    #[arg(long, value_parser = server_name)]
    name: Option<ServerName>,
    /// Answer from this trace; the server is not started
    #[arg(long, value_name = "TRACE", conflicts_with = "check")]
    replay: Option<String>,
    /// Start the server, ask what tools it offers, and compare them with those of this trace
    #[arg(long, value_name = "TRACE")]
    check: Option<String>,
    /// With --check: print the result as JSON
    #[arg(long, requires = "check")]
    json: bool,
    /// The server's command line
    #[arg(last = true, required = true, value_name = "SERVER")]
    command: Vec<OsString>,
}

fn server_name(text: &str) -> Result<ServerName, String> {
    ServerName::parse(text).ok_or_else(|| "a name has letters or digits in it".to_owned())
}

/// What `--check` found.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    pub(crate) server: ServerName,
    pub(crate) trace: String,
    pub(crate) recorded_tools: usize,
    pub(crate) tools: usize,
    pub(crate) drift: Vec<Drift>,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let words: Vec<String> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let by_command = || ServerName::of_command(words.iter().map(String::as_str));
    let server = args.name.clone().or_else(by_command).ok_or_else(|| {
        UsageError(format!("`{}` does not say what the server is called: add --name NAME", words.join(" ")))
    })?;
    if let Some(trace) = &args.check {
        return checked(global, args, &server, trace);
    }
    if let Some(trace) = &args.replay {
        return replayed(global, args, &server, trace);
    }
    match Gateway::find()? {
        Some(gateway) if gateway.mode == Mode::Replay => {
            Ok(exit(stand_in::answer(&gateway, &server, &args.command)?))
        }
        Some(gateway) => passed(&args.command, || Ok(Scribe::for_gateway(gateway, server)?)),
        None => recorded(global, args, server, words),
    }
}

fn exit(code: u8) -> Exit {
    if code == 0 { Exit::Success } else { Exit::Child(code) }
}

/// Runs the server and passes on what is said.
fn passed(
    command: &[OsString],
    scribe: impl FnOnce() -> anyhow::Result<(Tap, Scribe)>,
) -> anyhow::Result<Exit> {
    Ok(match passed_on(command, scribe)? {
        Ok(end) => exit(code_of(end)),
        Err(not_started) => not_started,
    })
}

fn passed_on(
    command: &[OsString],
    scribe: impl FnOnce() -> anyhow::Result<(Tap, Scribe)>,
) -> anyhow::Result<Result<ServerEnd, Exit>> {
    let child = match pass::start(command) {
        Ok(child) => child,
        Err(NotStarted(error)) => {
            let name = command.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            anstream::eprintln!("looptape: the MCP server `{name}` cannot be started: {error}");
            let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
            return Ok(Err(Exit::NotStarted(code)));
        }
    };
    let (tap, scribe) = scribe()?;
    pass::through(child, tap, scribe).map(Ok)
}

/// A trace of its own.
fn recorded(global: &Global, args: &Args, server: ServerName, words: Vec<String>) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let id = new_trace_id()?;
    let (recorder, thread) = global.recorder(&config, Durability::Relaxed)?;
    let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
    spec.program = Some(format!("mcp {server}"));
    spec.command = words;
    recorder.open_trace(spec);
    global.say(&format!("looptape: the MCP server {server} is recorded as {id}"));
    let variables =
        std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
    let known = environment::secrets(variables);
    let book = Book { recorder: recorder.clone(), trace: id.clone(), server, known };
    let ended = passed_on(&args.command, || Ok(Scribe::for_book(book)?));
    let (code, aborted) = match &ended {
        Ok(Ok(end)) => (Some(i32::from(code_of(*end))), None),
        Ok(Err(_)) => (None, Some("the MCP server could not be started".to_owned())),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    recorder.close_trace(id, Moment::now(), code, aborted);
    finish(global, recorder, thread);
    Ok(match ended? {
        Ok(end) => exit(code_of(end)),
        Err(not_started) => not_started,
    })
}

fn finish(global: &Global, recorder: Recorder, thread: RecorderThread) {
    drop(recorder);
    for (reason, times) in thread.finish().gaps {
        global.say(&format!("looptape: the recording is incomplete: {reason} ({times} ×)"));
    }
}

/// Answers from a recording, without a replay over this process.
fn replayed(global: &Global, args: &Args, server: &ServerName, trace: &str) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let reader = global.reader()?;
    let trace = reader.load(find(&reader, trace)?)?;
    let tape::Ready { server: replay, .. } = tape::server(&reader, &trace, Options::default(), &config)?;
    let replay = Arc::new(replay);
    // On threads of its own: the shim's is busy with the client.
    let runtime = crate::session::runtime()?;
    let handler = replay.clone();
    let running = runtime.block_on(async {
        Server::start(tape::listen().await?, handler).context("the tape server cannot be started")
    })?;
    let url = format!("http://{}", running.address());
    let gateway = Gateway { url, trace: trace.row.id.clone(), mode: Mode::Replay };
    let code = stand_in::answer(&gateway, server, &args.command)?;
    if let Some(summary) = replay.finish() {
        let mcp = summary.mcp.unwrap_or_default();
        mcp.lines().iter().for_each(|line| global.say(&format!("looptape: {line}")));
    }
    Ok(exit(code))
}

fn checked(global: &Global, args: &Args, server: &ServerName, trace: &str) -> anyhow::Result<Exit> {
    let reader = global.reader()?;
    let trace = reader.load(find(&reader, trace)?)?;
    let all = tape::conversations(&reader, &trace)?;
    let ours: Vec<&Conversation> = all.iter().filter(|one| one.server == *server).collect();
    let recorded = Tools::recorded(ours.iter().copied()).with_context(|| nothing_of(server, &all))?;
    let tools = check::tools_now(&args.command, handshake(&ours))?;
    let drift = recorded.drift(&tools);
    let (recorded_tools, tools) = (recorded.len(), tools.len());
    let checked = Checked {
        server: server.clone(),
        trace: trace.row.label().to_string(),
        recorded_tools,
        tools,
        drift,
    };
    if args.json {
        print_json(&checked)?;
    } else {
        print(&render::mcp::checked(&checked, style()))?;
    }
    Ok(if checked.drift.is_empty() { Exit::Success } else { Exit::Diverged })
}

/// The parameters with which the recorded client introduced itself.
fn handshake(conversations: &[&Conversation]) -> Option<serde_json::Value> {
    let mut calls = conversations.iter().flat_map(|conversation| &conversation.calls);
    calls.find_map(|call| match Message::read(&call.message) {
        Message::Request { method, params: Some(params), .. } if method == "initialize" => {
            serde_json::from_str(params).ok()
        }
        _ => None,
    })
}

fn nothing_of(server: &ServerName, all: &[Conversation]) -> String {
    let mut names: Vec<&str> = all.iter().map(|conversation| conversation.server.as_str()).collect();
    names.dedup();
    let others = match names.is_empty() {
        true => "It holds no MCP server at all.".to_owned(),
        false => format!("It holds {}: choose one with --name.", names.join(", ")),
    };
    format!("the recording holds no list of tools of an MCP server {server}. {others}")
}
