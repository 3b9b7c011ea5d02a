//! What serving recordings costs: looptape beside a bare hyper server that sends the same bodies from memory.
//!
//! ```text
//! cargo bench -p looptape-proxy --bench replay_cost                   # every scenario, about two minutes
//! cargo bench -p looptape-proxy --bench replay_cost -- small loop50   # some of them
//! cargo bench -p looptape-proxy --bench replay_cost -- rounds=9 seconds=3
//! ```
//!
//! It needs nothing but loopback and Linux's `/proc`. Loops are recorded once through looptape's proxy; then
//! both servers answer them, each in a process of its own (this program once more, see [`roles`]), and the
//! load comes from this one. Rounds are interleaved and their order rotates, figures are medians over the
//! rounds, and ratios are formed inside one round first: on a shared machine nothing else can be compared.
//! Every reply is compared with the recorded one; a wrong one fails the benchmark.
//!
//! What it does not do: compare with figures of other runs or machines, or decide what is fast enough.

#[path = "../proxy_cost/conversation.rs"]
#[allow(dead_code, reason = "shared with proxy_cost, which uses more of it")]
mod conversation;
#[path = "../proxy_cost/cpu.rs"]
#[allow(dead_code, reason = "shared with proxy_cost, which uses more of it")]
mod cpu;
mod load;
mod loops;
mod memory;
mod recorded;
mod roles;
#[path = "../proxy_cost/upstream.rs"]
mod upstream;

use load::{Load, Measured};
use loops::Loops;
use roles::{Role, Target};
use std::path::Path;
use std::time::Duration;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Loops of one kind, recorded so many times.
struct Scenario {
    name: &'static str,
    steps: usize,
    loops: usize,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "small", steps: 1, loops: 200 },
    Scenario { name: "small5k", steps: 1, loops: 5000 },
    Scenario { name: "loop10", steps: 10, loops: 20 },
    Scenario { name: "loop50", steps: 50, loops: 4 },
];

const CONCURRENCY: usize = 32;

struct Settings {
    rounds: usize,
    round: Duration,
    only: Vec<String>,
}

impl Settings {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut settings = Self { rounds: 5, round: Duration::from_secs(2), only: Vec::new() };
        for argument in arguments.filter(|a| a != "--bench") {
            match argument.split_once('=') {
                Some(("rounds", n)) => settings.rounds = n.parse()?,
                Some(("seconds", n)) => settings.round = Duration::from_secs(n.parse()?),
                None if SCENARIOS.iter().any(|s| s.name == argument) => {
                    settings.only.push(argument);
                }
                _ => return Err(format!("{argument}? rounds=N, seconds=N, or a scenario's name").into()),
            }
        }
        Ok(settings)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    if let Some(role) = arguments.peek().and_then(|a| Role::parse(a)) {
        arguments.next();
        return roles::play(role, arguments.collect());
    }
    let settings = Settings::parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "| loops | recorded | server | calls/s | × bare hyper | CPU µs/call | p50 ms | p99 ms | wrong |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for scenario in SCENARIOS.iter().filter(|s| settings.wants(s.name)) {
        runtime.block_on(tokio::task::LocalSet::new().run_until(run(scenario, &settings)))?;
    }
    Ok(())
}

async fn run(scenario: &Scenario, settings: &Settings) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (database, bodies) = (folder.path().join("looptape.db"), folder.path().join("bodies"));
    let loops = record(scenario, &database).await?;
    loops.write(&bodies)?;
    let targets = [Target::start(Role::Memory, &bodies)?, Target::start(Role::Looptape, &database)?];
    let mut rounds: Vec<Vec<Measured>> = Vec::new();
    // Round 0 warms connections, caches and allocators up.
    for number in 0..=settings.rounds {
        let mut measured: Vec<Option<Measured>> = targets.iter().map(|_| None).collect();
        for turn in 0..targets.len() {
            let at = (number + turn) % targets.len();
            let load = Load { loops: &loops, concurrency: CONCURRENCY, round: settings.round };
            measured[at] = Some(load.run(&targets[at]).await?);
        }
        if number > 0 {
            rounds.push(measured.into_iter().flatten().collect());
        }
    }
    load::print(scenario.name, scenario.loops * scenario.steps, &targets, &rounds);
    for target in targets {
        target.stop()?;
    }
    if rounds.iter().flatten().any(|measured| measured.wrong > 0) {
        return Err("some replies were not the recorded ones".into());
    }
    Ok(())
}

/// Has the loops recorded, and keeps what was said.
async fn record(scenario: &Scenario, database: &Path) -> Result<Loops, Failure> {
    let upstream = Target::start(Role::Upstream, Path::new(""))?;
    let recorder = Target::start_at(Role::Recorder, database, upstream.url())?;
    let loops = Loops::record(&recorder, scenario.loops, scenario.steps).await?;
    recorder.stop()?;
    upstream.stop()?;
    Ok(loops)
}
