//! What a mock says and how its twin behaves, from the command line and from files.

use super::scenario_text::ScenarioText;
use super::sources::after_recording;
use crate::config::Config;
use crate::exit::UsageError;
use crate::named_traces::{Home, NamedTraces};
use crate::session::Global;
use anyhow::{Context, bail};
use looptape_core::limits::{Limit, Limits};
use looptape_core::scenario::{Scenario, TrafficSource};
use looptape_core::simulated::{AfterRecording, Generated, Says, Script};
use looptape_core::spread::Spread;
use looptape_core::twin::{Fault, TwinSpec};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct SpecArgs {
    /// A TOML file with a [twin] table: latency, prompt cache, queue, limits, faults
    #[arg(long, value_name = "FILE")]
    twin: Option<PathBuf>,
    /// The provider of a scenario: the [twin] of a file as `load` runs it, or of preset:NAME; generated answers are as long,
    /// and loops have as many steps, as its [traffic] says
    #[arg(long, value_name = "SCENARIO", conflicts_with = "twin")]
    scenario: Option<ScenarioText>,
    /// A limit of the account: rpm, tpm, itpm, otpm or concurrent; repeatable
    #[arg(long = "limit", value_name = "NAME=N", value_parser = parse_limit)]
    limits: Vec<(LimitName, Limit)>,
    /// What goes wrong, in words; repeatable
    #[arg(long = "fault", value_name = "WORDS", value_parser = str::parse::<Fault>)]
    faults: Vec<Fault>,
    /// Say what was said in these recorded traces, in the time that it took; repeatable
    #[arg(long, value_name = "TRACE", group = "answers")]
    from: Vec<String>,
    /// Always say this; {user}, {model}, {step} and {input_tokens} are filled in
    #[arg(long, value_name = "TEXT", group = "answers")]
    text: Option<String>,
    /// Play the turns of this TOML file
    #[arg(long, value_name = "FILE", group = "answers")]
    script: Option<PathBuf>,
    /// How long generated answers are: 150, or { p50 = 150, p95 = 600 } [default: { p50 = 120, p95 = 480 }]
    #[arg(long, value_name = "SPREAD", value_parser = parse_spread, conflicts_with = "answers")]
    output_tokens: Option<Spread>,
    /// How many steps a loop has to which tools are offered: all but the last call tools [default: 3]
    #[arg(long, value_name = "SPREAD", value_parser = parse_spread, conflicts_with = "answers")]
    steps: Option<Spread>,
    /// How many tools it calls at the same time [default: 1]
    #[arg(long, value_name = "SPREAD", value_parser = parse_spread, conflicts_with = "answers")]
    tool_calls: Option<Spread>,
}

/// What the mock is made of.
#[derive(Debug)]
pub(crate) struct MockSpec {
    pub(crate) twin: TwinSpec,
    pub(crate) says: Says,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LimitName {
    Rpm,
    Tpm,
    Itpm,
    Otpm,
    Concurrent,
}

/// A file with the twin in a table of its own; the rest of a scenario is not the mock's business.
#[derive(Deserialize)]
struct TwinFile {
    #[serde(default)]
    twin: TwinSpec,
}

impl SpecArgs {
    pub(crate) fn read(&self, global: &Global, config: &Config, seed: u64) -> anyhow::Result<MockSpec> {
        let scenario = self.scenario.as_ref().map(|text| text.read(&[])).transpose()?;
        let mut twin = match &scenario {
            Some(scenario) => Some(scenario.twin.clone()),
            None => self.twin.as_deref().map(read_twin).transpose()?,
        };
        let says = match (&self.text, &self.script, self.from.as_slice()) {
            (Some(text), _, _) => Says::Text(text.clone()),
            (_, Some(script), _) => Says::Script(read_script(script)?),
            (_, _, []) => Says::Generated(self.generated(scenario.as_ref())),
            (_, _, traces) => {
                let recording = recorded(global, config, traces, seed)?;
                twin = twin.or_else(|| paced_like(&recording));
                Says::Recording(recording)
            }
        };
        let mut twin = twin.unwrap_or_default();
        for (name, limit) in &self.limits {
            set(&mut twin.limits, *name, *limit);
        }
        twin.faults.extend(self.faults.iter().cloned());
        Ok(MockSpec { twin, says })
    }

    fn generated(&self, scenario: Option<&Scenario>) -> Generated {
        let usual = match scenario.map(|scenario| &scenario.traffic.source) {
            Some(TrafficSource::Generated(traffic)) => Generated {
                output_tokens: traffic.output_tokens.clone(),
                steps: traffic.steps.clone(),
                ..Generated::default()
            },
            _ => Generated::default(),
        };
        Generated {
            output_tokens: self.output_tokens.clone().unwrap_or(usual.output_tokens),
            steps: self.steps.clone().unwrap_or(usual.steps),
            tool_calls: self.tool_calls.clone().unwrap_or(usual.tool_calls),
        }
    }
}

fn set(limits: &mut Limits, name: LimitName, limit: Limit) {
    let place = match name {
        LimitName::Rpm => &mut limits.rpm,
        LimitName::Tpm => &mut limits.tpm,
        LimitName::Itpm => &mut limits.itpm,
        LimitName::Otpm => &mut limits.otpm,
        LimitName::Concurrent => &mut limits.concurrent,
    };
    *place = Some(limit);
}

/// With the recording's times, which have the prompt's share in them.
fn paced_like(recording: &AfterRecording) -> Option<TwinSpec> {
    let (ttft_ms, tpot_ms) = recording.pace_ms()?;
    Some(TwinSpec { ttft_ms, tpot_ms, prefill_ms_per_1k: 0.0, ..TwinSpec::default() })
}

fn recorded(
    global: &Global,
    config: &Config,
    traces: &[String],
    seed: u64,
) -> anyhow::Result<AfterRecording> {
    let named = NamedTraces::open(global, config, traces, Home::Nowhere)?;
    let mut exchanges = Vec::new();
    for at in 0..named.names.len() {
        let row = named.row(at)?;
        let key = row.key;
        for call in &named.reader.load(row)?.facts {
            exchanges.push(named.reader.exchange(key, call.seq)?);
        }
    }
    let recording = after_recording(&exchanges, seed);
    if recording.is_empty() {
        bail!("{} has no answered model call that a mock could take after", traces.join(", "));
    }
    Ok(recording)
}

fn read_twin(path: &Path) -> anyhow::Result<TwinSpec> {
    let text = read(path)?;
    let table: toml::Table = parse(path, &text)?;
    // A file that is nothing but the twin needs no table around it.
    if table.contains_key("twin") { Ok(parse::<TwinFile>(path, &text)?.twin) } else { parse(path, &text) }
}

fn read_script(path: &Path) -> anyhow::Result<Script> {
    let script: Script = parse(path, &read(path)?)?;
    if script.turns.is_empty() {
        bail!("{}: a script has at least one [[turn]]", path.display());
    }
    Ok(script)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// TOML's own error has the line, the column and the text there.
fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> anyhow::Result<T> {
    toml::from_str(text).map_err(|error| UsageError(format!("{}: {error}", path.display())).into())
}

fn parse_limit(text: &str) -> Result<(LimitName, Limit), String> {
    let wrong =
        || format!("`{text}` is no limit: write rpm=500, tpm=30K, itpm=50K, otpm=8K or concurrent=10");
    let (name, limit) = text.split_once('=').ok_or_else(wrong)?;
    let name = clap::ValueEnum::from_str(name.trim(), true).map_err(|_| wrong())?;
    let number = looptape_core::spread::number(limit).map_err(|error| error.to_string())?;
    Limit::of_number(number).map(|limit| (name, limit)).map_err(|error| error.to_string())
}

fn parse_spread(text: &str) -> Result<Spread, String> {
    #[derive(Deserialize)]
    struct Written {
        spread: Spread,
    }
    let quoted = || toml::from_str::<Written>(&format!("spread = \"{text}\""));
    toml::from_str::<Written>(&format!("spread = {text}"))
        .or_else(|_| quoted())
        .map(|written| written.spread)
        .map_err(|error| format!("{}, or a spread such as {{ p50 = 150, p95 = 600 }}", error.message()))
}
