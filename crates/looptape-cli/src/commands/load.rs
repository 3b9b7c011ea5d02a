//! `looptape load`: loops under load, in real or in virtual time.

mod agents;
mod capacity;
mod files;
mod kept;
mod material;
mod real;
mod run_budget;
mod stored;
mod texts;
mod twin_here;
mod vary;

use super::gates::{ConfigGatesArg, GateArgs, gated};
use super::scenario_text::ScenarioText;
use crate::child::tool_hooks::ToolHooksArgs;
use crate::config::{Config, parse_duration};
use crate::exit::{Exit, UsageError};
use crate::interrupt::heed_ctrl_c;
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, style};
use files::ReportFiles;
use indicatif::{ProgressBar, ProgressStyle};
use kept::RunId;
use looptape_core::cost::PriceBook;
use looptape_core::gates::{Conditions, Gate, Judged, Observations};
use looptape_core::load::{LoadReport, Material, Progress, simulate};
use looptape_core::scenario::{AbortingGate, Scenario, Setting, Span, Variation, WireBy};
use looptape_core::wire::Wire;
use looptape_store::LoadRunKind;
use serde::Serialize;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stored::Stored;
use texts::RecordedTexts;

pub(crate) use capacity::Sought;
pub(crate) use vary::Varied;

/// Put loops under load: loops per minute, latency, retries, cost; what a limit, a retry policy or a spike does to them
///
/// A scenario says what loops do and when they begin, how failed calls are tried again, what the provider is like,
/// and what must hold. Loops are sent to --url, at the times that they are due whatever the target does; without one, to
/// a simulated provider that is started for the run. Latency counts from when a loop was due. Each loop is kept as a
/// trace with the tag load=RUN.
///
/// With a command it is started once for each loop, with base URLs that lead to the target, as `record` does it; its exit
/// code says how the loop ended. It finds its number in LOOPTAPE_LOOP_INDEX (1, 2, 3, …).
///
/// With --virtual it runs in virtual time against the provider's twin: nothing is sent, nothing waits, nothing costs, and
/// the same seed gives the same figures to the byte. docs/load.md describes scenarios.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape load preset:baseline
  looptape load peak.toml --url http://127.0.0.1:4100/openai/v1
  looptape load peak.toml -- python agent.py                     an agent for each loop
  looptape load peak.toml --url http://127.0.0.1:4100 -- python agent.py
  looptape load preset:baseline --virtual
  looptape load preset:baseline --print-scenario > peak.toml     a beginning for your own
  looptape load peak.toml --virtual --gate 'loop_duration_ms: p(95)<60000' --gate 'retry_rate: value<=0.05'
  looptape load peak.toml --virtual --vary limits.tpm=200k,500k,1M --vary retry.max=0,2,5
  looptape load peak.toml --virtual --find-capacity --slo 'loop_duration_ms: p(95)<60000'
  looptape load peak.toml --virtual --html peak.html             plots of it, in one file
  looptape load peak.toml --find-capacity --slo 'loop_duration_ms: p(95)<20000' --url http://127.0.0.1:4100/openai/v1
  looptape load preset:rate-limit-probe --url http://127.0.0.1:4100/openai/v1     which limits are there?
  looptape load peak.toml --k6-summary summary.json              as k6 writes its own
  looptape load peak.toml --virtual --json | jq .total.loops_per_min

Presets: baseline, ramp, spike-x3, spike-x5, spike-x10, sustained-peak, burst, outage, warm-cold,
context-ladder, rate-limit-probe

Exit code: 99 if a gate fails, or if no rate holds what --slo asks.")]
pub(crate) struct Args {
    /// A scenario: the path of a TOML file, or preset:NAME
    scenario: ScenarioText,
    /// Run in virtual time, against the simulated provider
    #[arg(long = "virtual")]
    is_virtual: bool,
    /// The base URL that loops are sent to, as an SDK takes it [default: a simulated provider, started for the run]
    #[arg(long, value_name = "URL", conflicts_with = "is_virtual")]
    url: Option<String>,
    /// Keep nothing of the run: no report for `looptape ui`, no traces of its loops
    #[arg(long)]
    no_record: bool,
    /// Draw other numbers than the scenario's seed gives
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Set a value of the scenario, such as limits.tpm=100k or phase.peak.rate=90; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Variation::parse)]
    settings: Vec<Variation>,
    /// Run once with each of these values, and with each combination of several keys; repeatable
    #[arg(long, value_name = "KEY=V1,V2", value_parser = Variation::parse, conflicts_with = "find_capacity", requires = "is_virtual")]
    vary: Vec<Variation>,
    /// Search the highest rate of loops that holds --slo and at which goodput follows what is offered
    #[arg(long)]
    find_capacity: bool,
    /// What must hold at a rate, as for --gate; repeatable
    #[arg(long, value_name = "METRIC: EXPR", requires = "find_capacity")]
    slo: Vec<Gate>,
    /// How long loops come at each rate of the search [default: 1m; in virtual time 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "find_capacity")]
    step: Option<u64>,
    /// Loops a minute of the first rate [default: 10; in virtual time 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "find_capacity")]
    start_rate: Option<u32>,
    /// No rate is begun whose loops would still come so long after the search began; the minute that the last ones have to end
    /// is not counted [default: 30m; in virtual time any]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "find_capacity")]
    within: Option<u64>,
    /// Print the scenario's text and do nothing
    #[arg(long)]
    print_scenario: bool,
    /// Print one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gates: GateArgs,
    /// End the run as soon as a gate fails; of the scenario's gates those do so in any case that say `abort_on_fail`, and from
    /// when they say
    #[arg(long, help_heading = "Gates", conflicts_with = "find_capacity")]
    abort_on_fail: bool,
    /// Ask no gate of --abort-on-fail before so long a time
    #[arg(long, help_heading = "Gates", value_name = "TIME", default_value = "0s", value_parser = Span::parse, requires = "abort_on_fail")]
    delay_abort_eval: Span,
    #[command(flatten)]
    config_gates: ConfigGatesArg,
    #[command(flatten)]
    tool_hooks: ToolHooksArgs,
    /// A command that runs each loop, in the place of the scenario's traffic
    #[arg(last = true, value_name = "CMD", conflicts_with_all = ["is_virtual", "vary"])]
    command: Vec<OsString>,
    #[command(flatten)]
    files: ReportFiles,
}

/// A run, and what gates say of it.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    #[serde(flatten)]
    pub(crate) report: LoadReport,
    #[serde(flatten)]
    judged: Judged,
}

/// The scenario as it was run.
#[derive(Debug)]
pub(crate) struct AsRun<'a> {
    /// A file, or a preset.
    pub(crate) name: String,
    pub(crate) text: &'a str,
    /// What was set to other values.
    pub(crate) settings: &'a [Setting],
}

#[derive(Serialize)]
struct Formatted<'a, T> {
    format: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// All that runs of one command share.
#[derive(Debug)]
struct Bench {
    /// What this command's run is called.
    id: RunId,
    text: ScenarioText,
    material: Material,
    texts: RecordedTexts,
    prices: PriceBook,
    conditions: Conditions,
    at_unix_us: i64,
    /// What was set for all runs.
    settings: Vec<Setting>,
    /// Every gate ends a run that it fails, from so long a time on; those that say so themselves, as they say.
    all_abort_after: Option<Span>,
    stop: Arc<AtomicBool>,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if args.print_scenario {
        print(args.scenario.text())?;
        return Ok(Exit::Success);
    }
    let config = Config::load()?;
    let mut bench = Bench {
        id: RunId::new()?,
        text: args.scenario.clone(),
        material: Material::default(),
        texts: RecordedTexts::default(),
        prices: config.price_book()?,
        conditions: args.gates.conditions(&config, args.config_gates.into())?,
        at_unix_us: now_unix_us(),
        settings: args.settings()?,
        all_abort_after: args.abort_on_fail.then_some(args.delay_abort_eval),
        stop: Arc::new(AtomicBool::new(false)),
    };
    args.files.check()?;
    let scenario = bench.scenario(&[])?;
    (bench.material, bench.texts) = material::read(global, &config, &scenario, &bench.text)?;
    let scenario = bench.spoken_as_recorded(scenario)?;
    heed_ctrl_c(bench.stop.clone())?;
    if args.find_capacity {
        return capacity::run(global, &config, &bench, &scenario, args);
    }
    if !args.vary.is_empty() {
        return vary::run(global, &bench, scenario.name.as_deref(), args);
    }
    let bar = progress(global);
    let run = match args.is_virtual {
        true => bench.run(&scenario, &mut |progress| tell(&bar, progress))?,
        false => real::run(global, &config, &bench, &scenario, args, &bar)?,
    };
    bar.finish_and_clear();
    let formatted = Formatted { format: 1, value: &run };
    bench.keep(global, args, (LoadRunKind::Run, scenario.name.as_deref()), &formatted);
    args.files.write(&formatted, || render::load::page(&run, &bench.as_run()))?;
    args.files.write_as_others(&run, u64::try_from(bench.at_unix_us / 1_000_000).unwrap_or(0))?;
    if args.json {
        print_json(&formatted)?;
    } else {
        let gates = render::gates::text(run.gates(), style());
        let between = if gates.is_empty() { "" } else { "\n" };
        print(&(render::load::text(&run.report, style()) + between + &gates))?;
    }
    Ok(gated(run.exit(), &run.judged))
}

impl Args {
    /// What holds for every run.
    fn settings(&self) -> anyhow::Result<Vec<Setting>> {
        let seed = self.seed.map(|seed| Setting::new("seed", &seed.to_string()));
        let mut settings: Vec<Setting> = seed.into_iter().collect();
        for set in &self.settings {
            match set.settings.as_slice() {
                [one] => settings.push(one.clone()),
                _ => {
                    let say = format!("--set {}: write one value; --vary takes several", set.key);
                    return Err(UsageError(say).into());
                }
            }
        }
        Ok(settings)
    }
}

impl Bench {
    /// The scenario with these values too.
    fn scenario(&self, settings: &[Setting]) -> anyhow::Result<Scenario> {
        let all: Vec<Setting> = self.settings.iter().chain(settings).cloned().collect();
        let mut scenario = self.text.read(&all)?;
        if let Some(after) = self.all_abort_after {
            let own = |gate: &Gate| scenario.aborting.iter().any(|aborting| aborting.gate == *gate);
            let others = scenario.gates.iter().chain(&self.conditions.gates).filter(|gate| !own(gate));
            let others: Vec<AbortingGate> =
                others.map(|gate| AbortingGate { gate: *gate, delay_us: after.us() }).collect();
            scenario.aborting.extend(others);
        }
        Ok(scenario)
    }

    /// The same scenario, in the format of the recorded loops if it names none.
    fn spoken_as_recorded(&mut self, scenario: Scenario) -> anyhow::Result<Scenario> {
        let wire = self.material.wire().filter(|wire| *wire != scenario.traffic.wire && is_simulated(*wire));
        match (wire, scenario.traffic.wire_by) {
            (Some(wire), WireBy::Default) => {
                self.settings.push(Setting::new("traffic.wire", wire.as_str()));
                self.scenario(&[])
            }
            _ => Ok(scenario),
        }
    }

    fn as_run(&self) -> AsRun<'_> {
        AsRun { name: self.text.name(), text: self.text.text(), settings: &self.settings }
    }

    /// Runs a scenario, and judges it by its own gates and those of the command.
    fn run(&self, scenario: &Scenario, tell: &mut dyn FnMut(Progress)) -> anyhow::Result<Run> {
        let report = simulate(scenario, &self.material, &self.prices, self.at_unix_us, &mut |progress| {
            tell(progress);
            self.go_on()
        })?;
        self.judged(scenario, report)
    }

    /// By the scenario's own gates and those of the command.
    fn judged(&self, scenario: &Scenario, report: LoadReport) -> anyhow::Result<Run> {
        let mut conditions = self.conditions.clone();
        conditions.gates.splice(0..0, scenario.gates.iter().copied());
        let judged = Judged::of(&conditions, &Observations::of(report.total.stats.clone()));
        Ok(Run { report, judged })
    }

    /// Keeps what came of it, and says what it is called.
    fn keep(
        &self,
        global: &Global,
        args: &Args,
        (kind, scenario): (LoadRunKind, Option<&str>),
        report: &impl Serialize,
    ) {
        if args.no_record {
            return;
        }
        let (id, started_unix_us) = (&self.id, self.at_unix_us);
        match (Stored { id, kind, scenario, started_unix_us }.keep(global, report), args.is_virtual) {
            (Ok(()), true) => global.say(&format!("run: {id}   (looptape show {id}; looptape ui)")),
            (Ok(()), false) => global.say(&format!(
                "run: {id}   (looptape show {id}; looptape ui; looptape stats --tag load={id}; looptape ls --tag load={id})"
            )),
            (Err(error), _) => global.say(&format!("looptape: the run's report is not kept: {error:#}")),
        }
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Run {
    pub(crate) fn gates(&self) -> &looptape_core::gates::GateReport {
        &self.judged.gates
    }

    fn exit(&self) -> Exit {
        use looptape_core::load::Ended;
        match self.report.ended {
            Ended::Interrupted { .. } => Exit::Interrupted,
            Ended::TargetDown { .. } | Ended::CommandFailed { .. } | Ended::RecordingUnreadable { .. } => {
                Exit::Failure
            }
            Ended::GateFailed { .. } => Exit::Gate,
            Ended::Completed | Ended::OverBudget { .. } => Exit::Success,
        }
    }
}

/// The formats of scenarios, which are those of the simulated provider.
fn is_simulated(wire: Wire) -> bool {
    matches!(wire, Wire::OpenAiChat | Wire::OpenAiResponses | Wire::AnthropicMessages | Wire::GeminiGenerate)
}

/// What is under way, on stderr; hidden unless that is a terminal.
fn progress(global: &Global) -> ProgressBar {
    if global.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant that parses");
    ProgressBar::new_spinner().with_style(style)
}

fn tell(bar: &ProgressBar, progress: Progress) {
    bar.set_message(render::load::progress(progress));
    bar.tick();
}
