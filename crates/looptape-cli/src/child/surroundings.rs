//! What a replayed program finds around it beyond its base URLs: the time, and the network.
//!
//! Made before the program starts, taken down after it has ended; what it was kept from is in the report, as is
//! what the replay guarantees. What it does not do: keep a program from connecting by itself. One that does not
//! heed the proxy variables is not held back.

use super::environment::{self, Variables};
use super::recorded_clock::{self, RecordedClock};
use crate::session::now_unix_us;
use anyhow::Context;
use looptape_core::replay::Summary;
use looptape_proxy::egress::EgressBlock;
use looptape_proxy::server::{Server, bind};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// What a user may choose of it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct SurroundingsArgs {
    /// Point HTTP_PROXY and its like at a port that refuses and reports: what asks for any host but this
    /// machine fails, and the replay has diverged
    #[arg(long, requires = "command")]
    pub(crate) block_egress: bool,
    /// What time it is for the agent: `recorded` sets its wall clock to when the recorded run started, so that
    /// dates in prompts come out as they were
    #[arg(long, value_enum, default_value = "real", requires = "command")]
    pub(crate) clock: Clock,
}

/// The agent's wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Clock {
    /// As it is
    #[default]
    Real,
    /// As it was when the recorded run started
    Recorded,
}

/// What is around a program while it runs.
#[derive(Debug)]
#[must_use = "finish() says what the program was kept from"]
pub(crate) struct Surroundings {
    clock: Option<RecordedClock>,
    egress: Option<BlockedEgress>,
    guarantees: Guarantees,
}

/// What held during a replay.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Guarantees {
    provider_keys: &'static str,
    egress: Egress,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Egress {
    /// Whoever connects by itself gets where it wants.
    Open,
    /// Refused to all that heed the proxy variables.
    Refused,
}

impl Guarantees {
    /// As a sentence's end, after what is said of the server.
    pub(crate) fn sentence(&self) -> String {
        let egress = match self.egress {
            Egress::Open => "connections past it were not blocked (--block-egress does)",
            Egress::Refused => "connections past it through HTTP proxies were refused",
        };
        let clock = match self.clock {
            Clock::Real => "",
            Clock::Recorded => "; its wall clock was the recorded one",
        };
        format!("the agent's provider keys were dummies; {egress}{clock}")
    }
}

impl Surroundings {
    /// Makes them for `command`, whose recorded run started at `recorded_unix_us` if that is known.
    pub(crate) fn prepare(
        args: SurroundingsArgs,
        recorded_unix_us: Option<i64>,
        command: &[OsString],
    ) -> anyhow::Result<Self> {
        let egress = args.block_egress.then(BlockedEgress::start).transpose()?;
        let mut guarantees = Guarantees {
            provider_keys: "dummies",
            egress: if egress.is_some() { Egress::Refused } else { Egress::Open },
            clock: Clock::Real,
        };
        let clock = match args.clock {
            Clock::Real => None,
            Clock::Recorded => Some(recorded_clock(recorded_unix_us)?),
        };
        if clock.is_some() {
            let program = command.first().map(OsString::as_os_str).unwrap_or_default();
            match recorded_clock::escapes(program, std::env::var_os("PATH").as_deref()) {
                Some(why) => anstream::eprintln!("looptape: --clock recorded: {why}"),
                None => guarantees.clock = Clock::Recorded,
            }
        }
        Ok(Self { clock, egress, guarantees })
    }

    /// For the program's environment.
    pub(crate) fn variables(&self) -> Variables {
        let clock = self.clock.iter().flat_map(|clock| clock.variables.iter().cloned());
        let egress = self.egress.iter().flat_map(|egress| environment::egress_blocked(&egress.origin));
        clock.chain(egress).collect()
    }

    /// Takes them down: what the replay came to with what was refused, and what held.
    pub(crate) fn finish(self, summary: Summary) -> (Summary, Guarantees) {
        let tried = self.egress.map(BlockedEgress::finish).unwrap_or_default();
        let summary = match tried.is_empty() {
            true => summary,
            false => summary.with_blocked_egress(tried.iter().map(|(host, n)| (host.as_str(), *n))),
        };
        (summary, self.guarantees)
    }
}

fn recorded_clock(recorded_unix_us: Option<i64>) -> anyhow::Result<RecordedClock> {
    let recorded = recorded_unix_us
        .context("--clock recorded: the recording does not say when it happened. Leave the option out")?;
    RecordedClock::prepare(recorded - now_unix_us(), std::env::var("LD_PRELOAD").ok().as_deref())
}

/// The refusing proxy, on a thread of its own.
#[derive(Debug)]
struct BlockedEgress {
    block: Arc<EgressBlock>,
    origin: String,
    runtime: Runtime,
    _server: Server,
}

impl BlockedEgress {
    fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("the runtime cannot be started")?;
        let block = Arc::new(EgressBlock::default());
        let server = runtime.block_on(async {
            let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
            Server::start(listener, block.clone()).context("the refusing proxy cannot be started")
        })?;
        Ok(Self { origin: format!("http://{}", server.address()), block, runtime, _server: server })
    }

    fn finish(self) -> std::collections::BTreeMap<String, u32> {
        let tried = self.block.tried();
        self.runtime.shutdown_background();
        tried
    }
}
