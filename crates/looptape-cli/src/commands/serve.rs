//! `looptape serve`: the recording proxy as a long-running gateway for many agents.

use super::alerting::Alerting;
use super::budget::{self, BudgetArgs};
use super::labels::LabelArgs;
use super::record;
use crate::child::environment;
use crate::config::{Config, parse_duration, parse_size};
use crate::exit::{Exit, UsageError};
use crate::page::{ServedPage, rules};
use crate::session::{DurabilityArg, Global, runtime};
use anyhow::Context;
use looptape_core::budget::Limits;
use looptape_core::redact::Credentials;
use looptape_page::Page;
use looptape_proxy::budgets::SharedBudget;
use looptape_proxy::guard::Guard;
use looptape_proxy::lanes::Lanes;
use looptape_proxy::server::{Server, bind};
use looptape_proxy::telemetry::{Telemetry, TelemetryRules};
use looptape_proxy::upstream::{Upstream, Upstreams};
use looptape_proxy::{RecordingOptions, RecordingProxy, Tally};
use looptape_store::{Moment, PruneReport, Recorder, RecorderReport, Retention};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Record many agents at once, as a long-running gateway
///
/// Agents reach it through their SDK's base URL and need no other change. Calls are told apart by trace:
/// the x-looptape-trace header, else /t/ID in the base URL, else the W3C traceparent header, else a known
/// agent's session header, else by their history: a request that carries on from a recorded answer joins
/// its trace, also where the agent has put the answer into words of its own, if nobody else has asked the
/// same. A trace ends when POST /_looptape/v1/traces/ID/end says so, or when it falls silent.
/// `looptape pull URL TRACE` brings a recorded trace from here to another machine.
///
/// GET /ui is a page to look at what is recorded, live. GET /metrics has its figures in Prometheus' text format; [alerts] in looptape.toml says what to be told about.
///
/// Agents name themselves in the headers x-looptape-agent, x-looptape-agent-version and x-looptape-tag:
/// KEY=VALUE, none of which goes upstream; `--agent`, `--agent-version` and `--tag` stand in where they do not.
///
/// SIGTERM or Ctrl-C stops accepting and lets calls under way finish; a second signal ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape serve
  looptape serve --listen 127.0.0.1:0 --upstream openai=http://127.0.0.1:8000/v1
  looptape serve --upstream openai=https://api.openai.com --upstream openai=https://backup.example/v1
  looptape serve --max-age 30d --max-size 2GB
  looptape serve --max-usd-per-trace 2 --max-usd-per-day 50
  LOOPTAPE_TOKEN=… looptape serve --listen 0.0.0.0:4100
  OPENAI_BASE_URL=http://127.0.0.1:4100/t/job-17/openai/v1 python agent.py

Exit code: 0 after draining, also if calls had to be broken off.")]
pub(crate) struct Args {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4100", value_parser = parse_listen)]
    listen: SocketAddr,
    /// Where a provider's calls go; of several of one name the next is asked where one fails; repeatable [default: the
    /// provider's public address]
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<String>,
    /// What clients must put into their base URL as /k/TOKEN; required beyond loopback, 16 characters or more
    #[arg(long, env = "LOOPTAPE_TOKEN", hide_env_values = true, value_parser = parse_token)]
    token: Option<String>,
    /// When an answer counts as recorded
    #[arg(long, value_enum, default_value = "relaxed")]
    durability: DurabilityArg,
    /// A trace ends when it has been silent for this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_time)]
    idle_end: Duration,
    /// Delete traces and load runs that started longer ago than this [default: max_age of [retention] in looptape.toml]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    max_age: Option<Duration>,
    /// Delete the oldest traces and load runs while the database is larger than this [default: max_size of [retention]]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// How long calls under way may go on after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    drain: Duration,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    budget: BudgetArgs,
}

/// How often old traces are looked for.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let guard = Guard::new(args.listen, args.token.clone()).map_err(|e| UsageError(e.to_string()))?;
    let upstreams = record::upstreams(&config, &args.upstreams)?;
    let keep = Keep::new(args, &config)?;
    let mut options = global.recorder_options(&config, args.durability.into())?;
    options.idle_end = args.idle_end;
    options.labels = args.labels.labels()?;
    let alerting = Alerting::new(&config)?;
    let (telemetry, alerts) = Telemetry::new(
        config.price_book()?,
        TelemetryRules { rules: alerting.rules, window: alerting.window },
    );
    options.watch = Some(telemetry.clone());
    let runtime = runtime()?;
    // The port first: whoever starts a second gateway by mistake gets no second writer.
    let listener = runtime.block_on(bind(args.listen))?;
    not_itself(&upstreams, listener.local_addr()?)?;
    let (recorder, thread) = Recorder::start(options)?;
    let budget = args.budget.recorded_by(global, &config, &recorder)?;
    if let Some(budget) = &budget {
        telemetry.shows(budget.clone());
    }
    runtime.spawn(alerting.tell(alerts));
    runtime.spawn(telemetry.clone().keep_time());
    let lanes = Lanes::start().context("the gateway's threads cannot be started")?;
    // Many people's agents meet here: its page only reads.
    let page = Arc::new(ServedPage::new(Page::new(global.database()?, rules(&config)?, None)));
    let gateway = Gateway { global, args, guard, upstreams, keep, recorder, budget, telemetry, page };
    let drained = runtime.block_on(gateway.serve(&lanes, listener));
    // The recorder ends before the connections do: a call that is broken off here stays without an end,
    // and its trace says so. It did not end because its client went away.
    let report = thread.finish();
    drop(lanes);
    runtime.shutdown_background();
    say_what_is_missing(&report);
    if !drained? {
        global.say("looptape: calls under way were broken off");
    }
    Ok(Exit::Success)
}

struct Gateway<'a> {
    global: &'a Global,
    args: &'a Args,
    guard: Guard,
    upstreams: Upstreams,
    keep: Keep,
    recorder: Recorder,
    budget: Option<SharedBudget>,
    telemetry: Arc<Telemetry>,
    page: Arc<ServedPage>,
}

impl Gateway<'_> {
    /// Serves until a signal comes, then drains. Says whether all calls ended.
    async fn serve(self, lanes: &Lanes, listener: tokio::net::TcpListener) -> anyhow::Result<bool> {
        let mut stop = StopSignals::new()?;
        let address = listener.local_addr()?;
        let stated = self.upstreams.clone();
        // The agents are other people's: what they may know besides what their calls carry is not known here.
        let known = Credentials::none();
        let budget = self.budget.clone();
        let telemetry = Some(self.telemetry);
        let (upstreams, guard, run) = (self.upstreams, self.guard, None);
        let options = RecordingOptions { upstreams, guard, run, known, budget, telemetry };
        let proxy = RecordingProxy::new(options, self.recorder.clone())
            .context("the upstream client cannot be set up")?
            .handing_out(self.global.database()?)
            .showing(self.page);
        let tally = proxy.tally();
        let server = Server::start_on(lanes, listener, || proxy.with_own_connections())
            .context("the gateway cannot be started")?;
        // Scripts rely on this line: it is printed even with --quiet.
        anstream::eprintln!("listening: http://{address}");
        let limits = self.budget.as_ref().map(SharedBudget::limits);
        self.global.say(&welcome((address, self.args), &stated, limits, &self.global.database()?));
        let retention = self.keep.is_limited().then(|| tokio::spawn(keep(self.keep, self.recorder)));
        stop.next().await;
        let under_way = tally.in_flight.load(Ordering::Relaxed);
        self.global
            .say(&format!("looptape: draining, {under_way} calls under way; a second signal ends at once"));
        let drained = tokio::select! {
            drained = server.drain(self.args.drain) => drained,
            () = stop.next() => false,
        };
        if let Some(retention) = retention {
            retention.abort();
        }
        for line in self.budget.iter().flat_map(|budget| budget::lines(&budget.spending())) {
            self.global.say(&format!("looptape: {line}"));
        }
        say_remarks(self.global, &tally);
        Ok(drained)
    }
}

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("signals cannot be handled")?;
        let interrupt = signal(SignalKind::interrupt()).context("signals cannot be handled")?;
        Ok(Self { terminate, interrupt })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What is kept of old traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keep {
    max_age: Option<Duration>,
    max_bytes: Option<u64>,
}

impl Keep {
    /// Flags, else the file.
    fn new(args: &Args, config: &Config) -> anyhow::Result<Self> {
        let file = &config.retention;
        let in_file = |what: &'static str| move |e: String| anyhow::anyhow!("[retention] {what}: {e}");
        let max_age = file.max_age.as_deref().map(parse_time).transpose().map_err(in_file("max_age"))?;
        let max_bytes = file.max_size.as_deref().map(parse_size).transpose().map_err(in_file("max_size"))?;
        Ok(Self { max_age: args.max_age.or(max_age), max_bytes: args.max_size.or(max_bytes) })
    }

    fn is_limited(self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some()
    }

    fn at(self, now_unix_us: i64) -> Retention {
        let before =
            |age: Duration| now_unix_us.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        Retention { started_before_unix_us: self.max_age.map(before), max_bytes: self.max_bytes }
    }
}

/// Deletes old traces now and every hour.
async fn keep(keep: Keep, recorder: Recorder) {
    let mut hours = tokio::time::interval(RETENTION_INTERVAL);
    loop {
        hours.tick().await;
        let recorder = recorder.clone();
        let prune = move || {
            recorder.prune(keep.at(Moment::now().unix_us), |outcome| match outcome {
                Ok(report) if report.is_empty() => {}
                Ok(report) => anstream::eprintln!("looptape: {}", deleted(&report)),
                Err(error) => anstream::eprintln!("looptape: {error}"),
            });
        };
        // The queue may be full: then this waits, and no request must wait with it.
        if tokio::task::spawn_blocking(prune).await.is_err() {
            return;
        }
    }
}

fn deleted(report: &PruneReport) -> String {
    let traces = format!("{} old traces deleted", report.traces.len());
    match report.load_runs.len() {
        0 => traces,
        runs => format!("{traces}, and {runs} old load runs"),
    }
}

fn welcome(
    (address, args): (SocketAddr, &Args),
    upstreams: &Upstreams,
    limits: Option<Limits>,
    database: &std::path::Path,
) -> String {
    // The token itself would end up in logs.
    let token = if args.token.is_some() { "/k/TOKEN" } else { "" };
    let host = match address.ip().is_unspecified() {
        true => format!("HOST:{}", address.port()),
        false => address.to_string(),
    };
    let origin = format!("http://{host}{token}");
    let mut lines = vec![format!("database:  {}", database.display())];
    for provider in upstreams.stated_providers() {
        let in_order: Vec<String> = upstreams.in_order(&provider).iter().map(Upstream::url).collect();
        lines.push(format!("upstream:  {provider} {}", in_order.join(", then ")));
    }
    if let Some(limits) = limits {
        lines.push(format!("budget:    {}", budget::words(limits)));
    }
    lines.push("Point your SDKs here:".into());
    lines.extend(environment::base_urls(&origin).into_iter().map(|(name, url)| format!("  {name}={url}")));
    lines.push(format!("Page:    {origin}/ui"));
    lines.push(format!("Metrics: {origin}/metrics"));
    lines.push(format!("Others: {origin}/PROVIDER; with a trace id of your own: {origin}/t/ID/PROVIDER"));
    lines.join("\n")
}

/// An upstream that is this gateway would forward to itself for ever.
fn not_itself(upstreams: &Upstreams, address: SocketAddr) -> anyhow::Result<()> {
    let port = address.port();
    let mut own = vec![format!("http://{address}"), format!("http://localhost:{port}")];
    if address.ip().is_unspecified() {
        own.push(format!("http://127.0.0.1:{port}"));
    }
    for provider in upstreams.stated_providers() {
        let is_own = |url: &String| {
            let rests = own.iter().filter_map(|own| url.strip_prefix(own.as_str()));
            rests.into_iter().any(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(url) = upstreams.in_order(&provider).iter().map(Upstream::url).find(is_own) {
            let message = format!(
                "the upstream of {provider}, {url}, is this gateway itself: unset its base-URL variable here, or name another with --upstream {provider}=URL"
            );
            return Err(UsageError(message).into());
        }
    }
    Ok(())
}

fn say_remarks(global: &Global, tally: &Tally) {
    for (remark, times) in tally.remarks() {
        global.say(&format!("looptape: {remark} ({times} ×)"));
    }
}

fn say_what_is_missing(report: &RecorderReport) {
    for (reason, times) in &report.gaps {
        anstream::eprintln!("looptape: the recording is incomplete: {reason} ({times} ×)");
    }
}

pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let by_name =
        || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.strip_prefix("localhost:")?.parse().ok()?)));
    text.parse().ok().or_else(by_name).ok_or_else(|| "write for example 127.0.0.1:4100".to_owned())
}

/// A token is a path segment that no client encodes.
pub(super) fn parse_token(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    match !text.is_empty() && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("a token is made of A-Z a-z 0-9 - . _ ~".to_owned()),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        let port = |text| parse_listen(text).map(|a| (a.ip().is_loopback(), a.port()));
        assert_eq!(port("127.0.0.1:0"), Ok((true, 0)));
        assert_eq!(port("localhost:41"), Ok((true, 41)));
        assert_eq!(port("[::1]:41"), Ok((true, 41)));
        assert_eq!(port("0.0.0.0:41"), Ok((false, 41)));
        assert!(port("example.com:80").is_err() && port("4100").is_err() && port("localhost:x").is_err());
    }

    #[test]
    fn a_gateway_is_not_its_own_upstream() {
        let address: SocketAddr = "127.0.0.1:4100".parse().unwrap();
        let check = |url: &str| {
            let mut upstreams = Upstreams::default();
            upstreams.add_stated(&format!("openai={url}")).unwrap();
            not_itself(&upstreams, address)
        };
        for own in ["http://127.0.0.1:4100/openai/v1", "http://localhost:4100", "http://127.0.0.1:4100/"] {
            assert!(check(own).unwrap_err().to_string().contains("this gateway itself"), "{own}");
        }
        for other in ["http://127.0.0.1:41001/v1", "http://10.0.0.1:4100", "https://127.0.0.1:4100"] {
            check(other).unwrap();
        }
    }
}
