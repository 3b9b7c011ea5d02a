//! Real time: loops are sent, to a URL or to a twin that is started here, and kept in the database.

use super::kept::Kept;
use super::{Args, Bench, Run};
use crate::config::Config;
use crate::exit::UsageError;
use crate::render;
use crate::session::Global;
use anyhow::Context;
use indicatif::ProgressBar;
use looptape_core::scenario::Scenario;
use looptape_core::simulated::{MockClock, MockDesk, MockProvider, Says, SimTime};
use looptape_load::{Drive, Live, Target, drive};
use looptape_proxy::simulated_server::{MockPlayer, SimulatedServer, SimulatedServerHandle};
use looptape_store::{Durability, Moment, Recorder};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// So many calls in a row without any answer end a run.
const MOST_UNANSWERED: u32 = 50;

/// How often a run looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The twin, on a thread of its own: it must not wait for the client, nor the client for it.
struct TwinHere {
    runtime: tokio::runtime::Runtime,
    server: SimulatedServerHandle,
    url: String,
}

impl TwinHere {
    fn start(scenario: &Scenario) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("the twin's thread cannot be started")?;
        let time = SimTime::Times(1.0);
        let (url, server) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
            let says = Says::Generated(looptape_core::simulated::Generated::default());
            let provider = MockProvider::new(says, scenario.seed, time, MockClock::Real);
            let desk = MockDesk::new(scenario.twin.clone(), scenario.seed);
            SimulatedServer::start_mock(listener, Arc::new(MockPlayer::new(provider, desk, time)))
        })?;
        Ok(Self { runtime, server, url })
    }

    fn stop(self) {
        let Self { runtime, server, .. } = self;
        drop(server);
        runtime.shutdown_background();
    }
}

/// Runs a scenario in real time.
pub(super) fn run(
    global: &Global,
    config: &Config,
    bench: &Bench,
    scenario: &Scenario,
    args: &Args,
    bar: &ProgressBar,
) -> anyhow::Result<Run> {
    let twin = match &args.url {
        Some(_) => None,
        None => Some(TwinHere::start(scenario)?),
    };
    let url = args.url.as_deref().or(twin.as_ref().map(|twin| twin.url.as_str())).unwrap_or_default();
    let target = Target::new(url, key(scenario)).map_err(|error| UsageError(error.to_string()))?;
    if !target.is_here() && scenario.max_usd.is_none() {
        let say = format!(
            "{url} is not on this machine, so its calls may cost money: say how much, with [budget] max_usd in the scenario or --set budget.max_usd=5"
        );
        return Err(UsageError(say).into());
    }
    let recording = match args.no_record {
        true => None,
        false => Some(Recorder::start(global.recorder_options(config, Durability::Relaxed)?)?),
    };
    let id = bench.id.clone();
    let kept = recording
        .as_ref()
        .map(|(recorder, _)| Kept::new(recorder.clone(), id.clone(), scenario, Moment::now()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let stop = async {
        while !bench.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let mut tell = |live: Live| {
        bar.set_message(render::load::live(live));
        bar.tick();
    };
    let what = Drive {
        scenario,
        material: &bench.material,
        book: &bench.prices,
        at_unix_us: bench.at_unix_us,
        target,
        most_unanswered: MOST_UNANSWERED,
    };
    let observer = kept.as_ref().map(|kept| kept as &dyn looptape_load::Observer);
    let report = runtime.block_on(drive(what, observer, stop, &mut tell));
    drop(kept);
    if let Some((recorder, thread)) = recording {
        drop(recorder);
        for (reason, times) in thread.finish().gaps {
            global.say(&format!("looptape: the recording is incomplete: {reason} ({times} ×)"));
        }
    }
    if let Some(twin) = twin {
        twin.stop();
    }
    bench.judged(scenario, report?)
}

/// The key of the provider whose format is spoken, where the environment has one.
fn key(scenario: &Scenario) -> Option<String> {
    let names: &[&str] = match scenario.traffic.provider() {
        "anthropic" => &["ANTHROPIC_API_KEY"],
        "gemini" => &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        _ => &["OPENAI_API_KEY"],
    };
    names.iter().find_map(|name| std::env::var(name).ok()).filter(|key| !key.trim().is_empty())
}
