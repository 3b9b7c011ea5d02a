//! What recording costs: looptape beside a bare hyper reverse proxy, on the same calls, in the same run.
//!
//! ```text
//! cargo bench -p looptape-proxy --bench proxy_cost                      # every scenario, about two minutes
//! cargo bench -p looptape-proxy --bench proxy_cost -- small loops       # some of them
//! cargo bench -p looptape-proxy --bench proxy_cost -- rounds=9 seconds=3 paced
//! ```
//!
//! It needs nothing but loopback and Linux's `/proc`. Each target is a process of its own (this program once
//! more, see [`roles`]); the load comes from this one. Rounds are interleaved and their order rotates, figures
//! are medians over the rounds, and ratios are formed inside one round first: on a shared machine nothing else
//! can be compared. CPU is that of the target's whole process, read when its recording queue has drained
//! (see [`cpu`]). At its end looptape says how many calls it recorded; if any is missing without a gap that says so,
//! this program fails.
//!
//! What it does not do: compare with figures of other runs or machines, or decide what is fast enough.

mod bare;
mod conversation;
mod cpu;
mod load;
mod roles;
mod table;
mod upstream;

use conversation::Shape;
use load::{Load, Measured};
use roles::{Role, Target};
use std::time::Duration;

/// As in looptape's binary. All targets have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One kind of work at one concurrency.
struct Scenario {
    name: &'static str,
    concurrency: usize,
    shape: Shape,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "small", concurrency: 1, shape: Shape::Small },
    Scenario { name: "small", concurrency: 32, shape: Shape::Small },
    Scenario { name: "loops", concurrency: 1, shape: Shape::Loop },
    Scenario { name: "loops", concurrency: 8, shape: Shape::Loop },
    Scenario { name: "loops", concurrency: 32, shape: Shape::Loop },
    Scenario { name: "marker", concurrency: 1, shape: Shape::MarkedLoop },
    Scenario { name: "marker", concurrency: 8, shape: Shape::MarkedLoop },
    Scenario { name: "paced", concurrency: 256, shape: Shape::PacedStream },
];

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
                None if SCENARIOS.iter().any(|s| s.name == argument) => settings.only.push(argument),
                _ => return Err(format!("{argument}? rounds=N, seconds=N, or a scenario's name").into()),
            }
        }
        Ok(settings)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario.name)
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
    for scenario in SCENARIOS.iter().filter(|s| settings.wants(s)) {
        runtime.block_on(tokio::task::LocalSet::new().run_until(run(scenario, &settings)))?;
    }
    Ok(())
}

async fn run(scenario: &Scenario, settings: &Settings) -> Result<(), Failure> {
    let upstream = Target::start(Role::Upstream, None)?;
    let targets = [
        Target::start(Role::Bare, Some(upstream.url()))?,
        Target::start(Role::Looptape, Some(upstream.url()))?,
    ];
    let all: Vec<&Target> = std::iter::once(&upstream).chain(&targets).collect();
    // A paced call lasts longer than a short round.
    let round = match scenario.shape {
        Shape::PacedStream => settings.round.max(Duration::from_secs(4)),
        _ => settings.round,
    };
    let mut rounds: Vec<Vec<Measured>> = Vec::new();
    let mut sent_to_looptape = 0;
    // Round 0 warms connections, caches and allocators up.
    for number in 0..=settings.rounds {
        let mut measured: Vec<Option<Measured>> = all.iter().map(|_| None).collect();
        for turn in 0..all.len() {
            let at = (number + turn) % all.len();
            let seed = (number * all.len() + at) as u64;
            let load = Load { shape: scenario.shape, concurrency: scenario.concurrency, round, seed };
            let result = load.run(all[at]).await?;
            if all[at].role() == Role::Looptape {
                sent_to_looptape += result.calls;
            }
            measured[at] = Some(result);
        }
        if number > 0 {
            rounds.push(measured.into_iter().flatten().collect());
        }
    }
    let roles: Vec<Role> = all.iter().map(|t| t.role()).collect();
    table::print(scenario.name, scenario.concurrency, &roles, &rounds);
    drop(all);
    for target in targets {
        let Some(recorded) = target.stop()? else { continue };
        println!("\n{recorded:?} of {sent_to_looptape} calls");
        if recorded.calls != sent_to_looptape && recorded.missing == 0 {
            return Err("calls are missing from the recording, and it does not say so".into());
        }
    }
    upstream.stop()?;
    Ok(())
}
