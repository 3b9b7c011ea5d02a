//! `looptape mock`: the simulated provider on a port, to load-test against and to break agents with.

use super::mock_spec::{MockSpec, SpecArgs};
use super::serve::StopSignals;
use crate::child::environment;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, print, runtime, style};
use anyhow::Context;
use looptape_core::simulated::{MockClock, MockDesk, MockProvider, SimTime};
use looptape_core::twin::TwinSpec;
use looptape_proxy::server::bind;
use looptape_proxy::simulated_server::{MockPlayer, MockTally, SimulatedServer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Play a model provider: answers, tool calls, latency, rate limits and faults, without a key or a cost
///
/// Speaks OpenAI Chat Completions and Responses, Anthropic Messages and Gemini, streamed or not, at any path prefix.
/// It says made-up text of a given number of tokens and calls the tools that are offered, with arguments by their
/// schemas, for a number of steps; or the same text always, or what a script or a recording says. A request can say
/// itself what it wants in its newest message: [[looptape: output_tokens=150, tool_calls=1]].
///
/// How fast it is, what it refuses and what goes wrong is in a TOML file ([twin]), or in --limit and --fault. Headers
/// and error bodies are the provider's own, so unmodified SDKs back off as they do in production. With --seed the same
/// requests get the same bytes. Ctrl-C ends it and prints what it answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape mock
  looptape mock --speed 0 --text 'You said: {user}'
  looptape mock --limit rpm=60 --limit tpm=30K --fault 'fail first 2 with 429'
  looptape mock --fault 'outage 60s..120s' --fault '529 at 5 %' --seed 7
  looptape mock --scenario preset:outage
  looptape mock --twin twin.toml --listen 127.0.0.1:0 --json
  looptape mock --from last --speed 10
  OPENAI_BASE_URL=http://127.0.0.1:4101/openai/v1 OPENAI_API_KEY=none python agent.py

Faults: a status, timeout, drop, latency x3, drip x10, stream_error after 5 tokens, cut after 300 bytes, malformed,
insufficient_quota; with: first 2, at 5 %, 60s..2m30s, loops 1..10, step 3, attempts 2. docs/mock.md has all of it.

Exit code: 0 after Ctrl-C or SIGTERM.")]
pub(crate) struct Args {
    /// Where to listen, on this machine; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4101")]
    listen: SocketAddr,
    #[command(flatten)]
    spec: SpecArgs,
    /// What is drawn follows from this number, and times in answers are fixed [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many times as fast as the twin's time; 0 waits for nothing (limits keep the real time)
    #[arg(long, value_name = "TIMES", default_value = "1", allow_negative_numbers = true, value_parser = parse_speed)]
    speed: SimTime,
    /// Print one object when it listens, and one at the end
    #[arg(long)]
    json: bool,
}

/// What is printed when it listens.
#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    url: &'a str,
    environment: &'a BTreeMap<String, String>,
    seed: u64,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Stopped {
    event: &'static str,
    #[serde(flatten)]
    tally: MockTally,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if !args.listen.ip().is_loopback() {
        return Err(UsageError(format!(
            "--listen {}: the mock checks no keys and serves this machine only; write 127.0.0.1:{}",
            args.listen,
            args.listen.port()
        ))
        .into());
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u32().map(u64::from).context("the system gives no randomness")?,
    };
    let config = Config::load()?;
    let spec = args.spec.read(global, &config, seed)?;
    let runtime = runtime()?;
    runtime.block_on(serve(global, args, spec, seed))
}

async fn serve(global: &Global, args: &Args, spec: MockSpec, seed: u64) -> anyhow::Result<Exit> {
    let listener = bind(args.listen).await?;
    let mut stop = StopSignals::new()?;
    let clock = if args.seed.is_some() { MockClock::Fixed } else { MockClock::Real };
    let twin = match args.speed {
        SimTime::AtOnce => TwinSpec::at_once(spec.twin),
        SimTime::Times(_) => spec.twin,
    };
    let provider = MockProvider::new(spec.says, seed, args.speed, clock);
    let player = Arc::new(MockPlayer::new(provider, MockDesk::new(twin, seed), args.speed));
    let (url, server) = SimulatedServer::start_mock(listener, Arc::clone(&player))?;
    let environment: BTreeMap<String, String> = environment::base_urls(&url).into_iter().collect();
    if args.json {
        print_line(&Listening { event: "listening", url: &url, environment: &environment, seed })?;
    } else {
        print(&render::mock::listening(&url, &environment, seed, style()))?;
    }
    stop.next().await;
    global.say("looptape: stopping; a second signal ends at once");
    tokio::select! {
        _ = server.stop() => {}
        () = stop.next() => {}
    }
    let tally = player.tally();
    if args.json {
        print_line(&Stopped { event: "stopped", tally })?;
    } else {
        print(&render::mock::stopped(&tally, style()))?;
    }
    Ok(Exit::Success)
}

/// One line each, so that a script that waits for the first can read it.
fn print_line(value: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string(value)? + "\n"))
}

fn parse_speed(text: &str) -> Result<SimTime, String> {
    let times: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    match times {
        0.0 => Ok(SimTime::AtOnce),
        times if times.is_finite() && times > 0.0 => Ok(SimTime::Times(times)),
        _ => Err(format!("`{text}` cannot be: write 0 for no waiting, 1, 10, …")),
    }
}
