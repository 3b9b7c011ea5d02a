//! What a replayed program finds around it beyond its base URLs: the time, and the network.
//!
//! Made before the program starts, taken down after it has ended; what it was kept from is in the report, as is
//! what the replay guarantees. Without a sandbox nothing keeps a program from connecting by itself: one that does
//! not heed the proxy variables is not held back.

use super::capture::{Capture, Egress};
use super::environment::{self, Variables};
use super::recorded_clock::{self, RecordedClock};
use super::stage::Confinement;
use crate::session::now_unix_us;
use anyhow::Context;
use looptape_core::replay::Summary;
use looptape_proxy::egress::EgressBlock;
use looptape_proxy::forward_proxy::Beyond;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::sync::Arc;

/// What a user may choose of it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct SurroundingsArgs {
    /// Point HTTP_PROXY and its like at a port that refuses and reports: what asks for any host but this
    /// machine fails, and the replay has diverged. (A recording with captured egress is replayed so anyway, and
    /// what it holds is answered)
    #[arg(long, requires = "command")]
    pub(crate) block_egress: bool,
    /// Run the agent in a network of its own in which only the replay can be reached: whatever else it tries
    /// fails, proxies heeded or not (Linux; Unix sockets are not cut off)
    #[arg(long, requires = "command")]
    pub(crate) sandbox: bool,
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
    outside: Outside,
    confinement: Confinement,
    blocked: Arc<EgressBlock>,
    guarantees: Guarantees,
}

/// What HTTP clients that heed the proxy variables find beyond this machine.
#[derive(Debug)]
enum Outside {
    /// What is there.
    Open,
    /// A refusal.
    Refused,
    /// What the recording holds; else a refusal.
    Recorded(Capture),
}

/// What held during a replay.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Guarantees {
    provider_keys: &'static str,
    egress: EgressGuarantee,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum EgressGuarantee {
    /// Whoever connects by itself gets where it wants.
    Open,
    /// Refused to all that heed the proxy variables.
    Refused,
    /// To all that heed them answered from the recording, or refused.
    Answered,
    /// There was no other network.
    Sandboxed,
}

impl Guarantees {
    /// As a sentence's end, after what is said of the server.
    pub(crate) fn sentence(&self) -> String {
        let egress = match self.egress {
            EgressGuarantee::Open => "connections past it were not blocked (--block-egress does)",
            EgressGuarantee::Refused => "connections past it through HTTP proxies were refused",
            EgressGuarantee::Answered => {
                "connections past it through HTTP proxies were answered from the recording or refused"
            }
            EgressGuarantee::Sandboxed => {
                "the agent ran in a network of its own, where nothing but the replay can be reached (Unix \
                 sockets were not cut off)"
            }
        };
        let clock = match self.clock {
            Clock::Real => "",
            Clock::Recorded => "; its wall clock was the recorded one",
        };
        format!("the agent's provider keys were dummies; {egress}{clock}")
    }
}

impl Surroundings {
    /// None: the program runs as it would anywhere.
    pub(crate) fn none() -> Self {
        Self {
            clock: None,
            outside: Outside::Open,
            confinement: Confinement::None,
            blocked: Arc::default(),
            guarantees: Guarantees {
                provider_keys: "dummies",
                egress: EgressGuarantee::Open,
                clock: Clock::Real,
            },
        }
    }

    /// Makes them for `command`, whose recorded run started at `recorded_unix_us` if that is known, and whose
    /// egress was recorded or not.
    pub(crate) fn prepare(
        args: SurroundingsArgs,
        (recorded_unix_us, egress): (Option<i64>, Egress),
        command: &[OsString],
    ) -> anyhow::Result<Self> {
        let mut made = Self::none();
        (made.outside, made.guarantees.egress) = match egress {
            Egress::Captured => {
                let capture = Capture::prepare(&|name| std::env::var(name).ok())?;
                (Outside::Recorded(capture), EgressGuarantee::Answered)
            }
            Egress::Unseen if args.block_egress || args.sandbox => {
                (Outside::Refused, EgressGuarantee::Refused)
            }
            Egress::Unseen => (Outside::Open, EgressGuarantee::Open),
        };
        if args.sandbox {
            made.confinement = Confinement::Sandbox;
            made.guarantees.egress = EgressGuarantee::Sandboxed;
        }
        if args.clock == Clock::Recorded {
            made.clock = Some(recorded_clock(recorded_unix_us)?);
            let program = command.first().map(OsString::as_os_str).unwrap_or_default();
            match recorded_clock::escapes(program, std::env::var_os("PATH").as_deref()) {
                Some(why) => anstream::eprintln!("looptape: --clock recorded: {why}"),
                None => made.guarantees.clock = Clock::Recorded,
            }
        }
        Ok(made)
    }

    pub(crate) fn confinement(&self) -> Confinement {
        self.confinement
    }

    /// What becomes of calls to other hosts; `None` if nobody is led here with them.
    pub(crate) fn beyond(&self) -> Option<Beyond> {
        match &self.outside {
            Outside::Open => None,
            Outside::Refused => Some(Beyond::Refused(self.blocked.clone())),
            Outside::Recorded(capture) => Some(capture.beyond()),
        }
    }

    /// Where it is to be noted what was refused.
    pub(crate) fn blocked(&self) -> Arc<EgressBlock> {
        self.blocked.clone()
    }

    /// For the environment of a program whose replay is served at `origin`.
    pub(crate) fn variables(&self, origin: &str) -> Variables {
        let clock = self.clock.iter().flat_map(|clock| clock.variables.iter().cloned());
        let network = match &self.outside {
            Outside::Open => Variables::new(),
            Outside::Refused => environment::through_proxy(origin),
            Outside::Recorded(capture) => capture.variables(origin),
        };
        clock.chain(network).collect()
    }

    /// Takes them down: what the replay came to with what was refused, and what held.
    pub(crate) fn finish(self, summary: Summary) -> (Summary, Guarantees) {
        let tried = self.blocked.tried();
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
