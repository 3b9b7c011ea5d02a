//! Real time: loops are sent, to a URL or to a twin that is started here, or a command runs each of them; they are kept
//! in the database.

use super::agents::{self, CommandLoops, HeardCalls};
use super::kept::{Kept, LoopIds, LoopTraces};
use super::run_budget::{self, BudgetedLoops, RunBudget};
use super::twin_here::TwinHere;
use super::{Args, Bench, Run};
use crate::child::claude_code;
use crate::child::environment;
use crate::commands::record;
use crate::config::Config;
use crate::exit::UsageError;
use crate::render;
use crate::session::Global;
use anyhow::Context;
use indicatif::ProgressBar;
use looptape_core::load::LoadReport;
use looptape_core::provider::Provider;
use looptape_core::scenario::Scenario;
use looptape_load::{Budgets, Caller, Drive, Live, Loops, Target, drive};
use looptape_proxy::budgets::SharedBudget;
use looptape_proxy::guard::Guard;
use looptape_proxy::lanes::Lanes;
use looptape_proxy::server::{Server, bind};
use looptape_proxy::upstream::{Upstream, Upstreams};
use looptape_proxy::{RecordingOptions, RecordingProxy};
use looptape_store::{Durability, Moment, Recorder, RecorderThread};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// So many calls in a row without any answer end a run.
const MOST_UNANSWERED: u32 = 50;

/// How often a run looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long calls that outlive their command may go on.
const LINGER: Duration = Duration::from_millis(500);

/// Everything that a run in real time goes by.
pub(super) struct RealRun<'a> {
    pub(super) global: &'a Global,
    pub(super) config: &'a Config,
    pub(super) bench: &'a Bench,
    pub(super) scenario: &'a Scenario,
    pub(super) args: &'a Args,
    /// What its calls may cost, and those of all other parts.
    pub(super) budget: Option<&'a RunBudget>,
    /// Which part of the command's run it is, if that has several.
    pub(super) part: Option<u32>,
}

/// The run's clock shows 0, in two words.
#[derive(Clone, Copy)]
struct Began {
    moment: Moment,
    instant: Instant,
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
    let budget = budget(global, config, bench, scenario, args)?;
    let real = RealRun { global, config, bench, scenario, args, budget: budget.as_ref(), part: None };
    let report = real.report(&mut |live| {
        bar.set_message(render::load::live(live));
        bar.tick();
    });
    budget.into_iter().for_each(RunBudget::finish);
    bench.judged(scenario, report?)
}

/// What the calls of a command may cost that loads in real time, however many parts it has.
pub(super) fn budget(
    global: &Global,
    config: &Config,
    bench: &Bench,
    scenario: &Scenario,
    args: &Args,
) -> anyhow::Result<Option<RunBudget>> {
    let provider = match args.url {
        Some(_) => run_budget::Provider::AtUrl,
        None => run_budget::Provider::Simulated,
    };
    let limits = run_budget::limits(config, provider, scenario.max_usd)?;
    if let Some(url) = &args.url
        && limits.run_usd.is_none()
        && !target(scenario, url)?.is_here()
    {
        let say = format!(
            "{url} is not on this machine, so its calls may cost money: say how much, with [budget] max_usd in the scenario, --set budget.max_usd=5, or run under [budgets] of looptape.toml"
        );
        return Err(UsageError(say).into());
    }
    RunBudget::open(global, config, &bench.prices, limits)
}

fn target(scenario: &Scenario, url: &str) -> anyhow::Result<Target> {
    Ok(Target::new(url, key(scenario)).map_err(|error| UsageError(error.to_string()))?)
}

impl RealRun<'_> {
    /// Runs it, and says what came of it.
    pub(super) fn report(&self, tell: &mut dyn FnMut(Live)) -> anyhow::Result<LoadReport> {
        if self.scenario.failover.is_some() && self.args.url.is_none() {
            let say = "[failover] is simulated in virtual time: for real time put a gateway with two upstreams in front of two `looptape mock`s, and give its address as --url (docs/load.md)";
            return Err(UsageError(say.to_owned()).into());
        }
        let url = self.args.url.as_deref();
        let twin = url.is_none().then(|| TwinHere::start(self.scenario)).transpose()?;
        let url = url.or(twin.as_ref().map(TwinHere::url)).unwrap_or_default();
        let target = target(self.scenario, url)?;
        let target = if twin.is_some() { target.simulated() } else { target };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("the runtime cannot be started")?;
        let report = match self.args.command.is_empty() {
            true => self.sent(&runtime, target, tell),
            false => self.by_command(&runtime, url, twin.is_some(), tell),
        };
        if let Some(twin) = twin {
            twin.stop();
        }
        report
    }

    /// The driver sends what the scenario plans.
    fn sent(
        &self,
        runtime: &tokio::runtime::Runtime,
        target: Target,
        tell: &mut dyn FnMut(Live),
    ) -> anyhow::Result<LoadReport> {
        let recording = match self.args.no_record {
            true => None,
            false => {
                let options = self.global.recorder_options(self.config, Durability::Relaxed)?;
                Some(Recorder::start(options)?)
            }
        };
        let caller = Caller::new(target).context("the HTTP client cannot be set up")?;
        let budgets =
            self.shared_budget().map(|budget| BudgetedLoops { budget: budget.clone(), ids: self.ids() });
        let began = Began::now();
        let kept = recording.as_ref().map(|(recorder, _)| Kept { traces: self.traces(recorder, began) });
        let loops = Loops::Sent {
            caller,
            most_unanswered: MOST_UNANSWERED,
            observer: kept.as_ref().map(|kept| kept as &dyn looptape_load::Observer),
            recordings: Some(&self.bench.texts),
            budgets: budgets.as_ref().map(|budgets| budgets as &dyn Budgets),
        };
        let report = runtime.block_on(drive(self.drive(began), loops, self.stopped(), tell));
        drop(kept);
        if let Some((recorder, thread)) = recording {
            drop(recorder);
            self.finish(thread);
        }
        Ok(report?)
    }

    /// A command runs each loop, and its calls pass a recorder on their way to `url`.
    fn by_command(
        &self,
        runtime: &tokio::runtime::Runtime,
        url: &str,
        is_simulated: bool,
        tell: &mut dyn FnMut(Live),
    ) -> anyhow::Result<LoadReport> {
        // Figures come from a recording; one that is not to be kept is in a folder of this run alone.
        let folder = self.args.no_record.then(tempfile::tempdir).transpose()?;
        let global = match &folder {
            Some(folder) => &Global { db: Some(folder.path().join("looptape.db")), quiet: self.global.quiet },
            None => self.global,
        };
        let mut options = global.recorder_options(self.config, Durability::Relaxed)?;
        let heard = Arc::new(HeardCalls::default());
        options.watch = Some(heard.clone());
        let (recorder, thread) = Recorder::start(options)?;
        let report = self.commands(runtime, (url, is_simulated), &recorder, heard, tell);
        drop(recorder);
        if folder.is_none() {
            self.finish(thread);
        } else {
            thread.finish();
        }
        report
    }

    fn commands(
        &self,
        runtime: &tokio::runtime::Runtime,
        (url, is_simulated): (&str, bool),
        recorder: &Recorder,
        heard: Arc<HeardCalls>,
        tell: &mut dyn FnMut(Live),
    ) -> anyhow::Result<LoadReport> {
        let budget = self.shared_budget().cloned();
        let command = &self.args.command;
        let mut upstreams = all_to(url)?;
        record::add_mcp_servers(&mut upstreams, command);
        let mut told = agents::keys(is_simulated);
        told.extend(claude_code::if_first_party(&upstreams));
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let options = RecordingOptions {
            upstreams,
            guard: Guard::new(listen, None)?,
            run: None,
            known: environment::secrets(environment::texts()),
            budget: budget.clone(),
            telemetry: None,
        };
        let proxy =
            RecordingProxy::new(options, recorder.clone()).context("the upstream client cannot be set up")?;
        let lanes = Lanes::start().context("the proxy's threads cannot be started")?;
        let server = runtime.block_on(async {
            let listener = bind(listen).await?;
            Server::start_on(&lanes, listener, || proxy.with_own_connections())
                .context("the proxy cannot be started")
        })?;
        let began = Began::now();
        let loops = CommandLoops {
            command,
            tools: self.args.tool_hooks.tools(),
            origin: format!("http://{}", server.address()),
            told,
            traces: self.traces(recorder, began),
            recorder: recorder.clone(),
            heard,
            proxied: proxy.tally(),
            budget,
        };
        let report = runtime.block_on(drive(self.drive(began), Loops::Agents(&loops), self.stopped(), tell));
        runtime.block_on(server.drain(LINGER));
        for (remark, times) in proxy.tally().remarks() {
            self.global.say(&format!("looptape: {remark} ({times} ×)"));
        }
        Ok(LoadReport { command: Some(loops.words()), ..report? })
    }

    fn drive(&self, began: Began) -> Drive<'_> {
        Drive {
            scenario: self.scenario,
            material: &self.bench.material,
            book: &self.bench.prices,
            at_unix_us: self.bench.at_unix_us,
            started: began.instant,
            // What the simulated provider's script says happens to nobody else.
            outage: match self.args.url {
                Some(_) => self.scenario.outage,
                None => self.scenario.simulated_outage(),
            },
        }
    }

    /// Until somebody wants it to end.
    fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let stop = self.bench.stop.clone();
        async move {
            let told = [SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).ok());
            let [mut terminate, mut hang_up] = told;
            let asked = async {
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            tokio::select! {
                () = asked => {}
                () = heard(&mut terminate) => {}
                () = heard(&mut hang_up) => {}
            }
        }
    }

    fn traces(&self, recorder: &Recorder, began: Began) -> LoopTraces {
        LoopTraces::new(recorder.clone(), self.ids(), self.scenario, began.moment)
    }

    fn ids(&self) -> LoopIds {
        LoopIds { run: self.bench.id.clone(), part: self.part }
    }

    fn shared_budget(&self) -> Option<&SharedBudget> {
        self.budget.map(RunBudget::shared)
    }

    /// What is recorded is on disk afterwards.
    fn finish(&self, thread: RecorderThread) {
        for (reason, times) in thread.finish().gaps {
            self.global.say(&format!("looptape: the recording is incomplete: {reason} ({times} ×)"));
        }
    }
}

impl Began {
    fn now() -> Self {
        Self { moment: Moment::now(), instant: Instant::now() }
    }
}

/// Until a signal comes; for ever, if it cannot be heard.
async fn heard(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whichever provider a command asks, its calls go there.
fn all_to(url: &str) -> anyhow::Result<Upstreams> {
    let mut upstreams = Upstreams::default();
    for (_, provider) in environment::base_variables() {
        let upstream = Upstream::from_sdk_variable(url).map_err(|error| UsageError(error.to_string()))?;
        let provider = Provider::parse(provider).expect("the table's names are valid");
        upstreams.set(provider, upstream);
    }
    Ok(upstreams)
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
