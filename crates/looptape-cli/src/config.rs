//! `looptape.toml`: what a project sets once. Flags beat the environment, which beats this file.

use crate::commands::AlertsConfig;
use crate::place::nearest_project;
use crate::test_entry::{self, Test, TestEntry};
use crate::upstream_entry::{FailoverConfig, UpstreamEntries};
use anyhow::Context;
use looptape_core::budget::Limits;
use looptape_core::cost::{PriceBook, PriceEntry, Usd};
use looptape_core::gates::{GateTable, RegressionTable};
use looptape_core::redact::{Patterns, RedactConfig};
use looptape_core::replay::{ConfiguredMask, MaskEntry, MaskKind, SideCallEntry, SideCalls};
use looptape_core::tools::{ToolEntry, ToolPolicies, ToolPolicy};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The file's content. Unknown keys are errors, so that a typing mistake is noticed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Provider name to base URL, or to several.
    pub(crate) upstreams: BTreeMap<String, UpstreamEntries>,
    /// `[failover]`: when the next of several upstreams is asked.
    pub(crate) failover: FailoverConfig,
    pub(crate) redact: RedactConfig,
    pub(crate) retention: RetentionConfig,
    pub(crate) masks: MasksConfig,
    /// `[[mask]]`: values of requests that differ from run to run.
    pub(crate) mask: Vec<MaskEntry>,
    /// `[[side_call]]`: calls that may come or stay away.
    pub(crate) side_call: Vec<SideCallEntry>,
    /// `[alerts]`: what a gateway tells when it happens.
    pub(crate) alerts: AlertsConfig,
    /// `[gates]`: metric to threshold, or thresholds.
    pub(crate) gates: GateTable,
    /// `[max_regression]`: metric to how much worse than a baseline it may be.
    pub(crate) max_regression: RegressionTable,
    /// `[[test]]`: what `looptape test` runs.
    pub(crate) test: Vec<TestEntry>,
    /// `[budgets]`: what calls to providers may cost.
    pub(crate) budgets: BudgetsConfig,
    /// `[[prices]]`: prices of one's own, in place of the listed ones.
    pub(crate) prices: Vec<PriceEntry>,
    /// `[tools.NAME]`: what a replay does when a tool is called.
    tools: BTreeMap<String, ToolEntry>,
    /// What a replay does with all tools that have no policy of their own.
    #[serde(skip)]
    pub(crate) all_tools: Option<ToolPolicy>,
    /// Whether the agent of a replay works in a folder that is this replay's alone.
    #[serde(skip)]
    own_folder: bool,
    #[serde(skip)]
    pub(crate) path: Option<PathBuf>,
    /// What `redact` comes to, once it was asked for.
    #[serde(skip)]
    compiled: OnceLock<Arc<Patterns>>,
}

/// `[masks]`: which kinds of volatile values are not masked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MasksConfig {
    pub(crate) disable: Vec<MaskKind>,
}

/// `[budgets]`: limits in US dollars.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BudgetsConfig {
    run: Option<f64>,
    trace: Option<f64>,
    day: Option<f64>,
    pub(crate) allow_unpriced: bool,
}

impl BudgetsConfig {
    pub(crate) fn limits(&self) -> anyhow::Result<Limits> {
        let usd = |name: &str, dollars: Option<f64>| {
            let wrong = |dollars| format!("[budgets] {name} = {dollars}: write an amount of US dollars");
            dollars.map(|dollars| Usd::from_f64(dollars).with_context(|| wrong(dollars))).transpose()
        };
        Ok(Limits {
            run_usd: usd("run", self.run)?,
            trace_usd: usd("trace", self.trace)?,
            day_usd: usd("day", self.day)?,
        })
    }
}

/// `[retention]`: what `serve` and `prune` keep.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionConfig {
    /// `30d`, `12h`, …
    pub(crate) max_age: Option<String>,
    /// `2GB`, `500MiB`, …
    pub(crate) max_size: Option<String>,
}

impl Config {
    /// Reads the nearest project's file; an empty configuration if there is none.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("the working folder cannot be read")?;
        match nearest_project(&here).map(|p| p.join("looptape.toml")).filter(|p| p.exists()) {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        // toml's message holds line, column and the line itself.
        let mut config: Self =
            toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
        config.path = Some(path.to_owned());
        Ok(config)
    }

    /// This, with other policies for some tools.
    pub(crate) fn with_tools(&self, policies: &BTreeMap<String, ToolPolicy>) -> Self {
        let mut config = self.clone();
        for (name, policy) in policies {
            let writes = self.tools.get(name).and_then(|entry| entry.writes);
            let entry = ToolEntry { policy: Some(*policy), writes, ..ToolEntry::default() };
            config.tools.insert(name.clone(), entry);
        }
        config
    }

    /// This, for an agent that works in a folder that is its replay's alone, or in one that is not.
    pub(crate) fn in_own_folder(&self, own_folder: bool) -> Self {
        Self { own_folder, ..self.clone() }
    }

    /// What a replay does with each tool, checked.
    pub(crate) fn tool_policies(&self) -> anyhow::Result<ToolPolicies> {
        let policies = ToolPolicies::new(&self.tools).with_context(|| self.is_not_valid())?;
        Ok(policies.with_all(self.all_tools).in_own_folder(self.own_folder))
    }

    /// The masks of `[[mask]]`, checked.
    pub(crate) fn configured_masks(&self) -> anyhow::Result<Vec<ConfiguredMask>> {
        let masks = self.mask.iter().map(ConfiguredMask::try_from).collect::<Result<_, _>>();
        masks.with_context(|| self.is_not_valid())
    }

    /// The optional calls of `[[side_call]]` and those that are known, checked.
    pub(crate) fn side_calls(&self) -> anyhow::Result<SideCalls> {
        SideCalls::with(&self.side_call).with_context(|| self.is_not_valid())
    }

    /// The tests of `[[test]]`, checked.
    pub(crate) fn tests(&self) -> anyhow::Result<Vec<Test>> {
        let folder = self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
        test_entry::check(self, folder)
            .map_err(|why| anyhow::anyhow!(why))
            .with_context(|| self.is_not_valid())
    }

    /// The listed prices with those of `[[prices]]`, checked.
    pub(crate) fn price_book(&self) -> anyhow::Result<PriceBook> {
        PriceBook::with(&self.prices).with_context(|| self.is_not_valid())
    }

    /// An error about something in this file.
    pub(crate) fn not_valid(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(self.is_not_valid())
    }

    fn is_not_valid(&self) -> String {
        let name = |path: &PathBuf| path.display().to_string();
        format!("{} is not valid", self.path.as_ref().map_or("the configuration".to_owned(), name))
    }

    /// The secret patterns to look for.
    pub(crate) fn patterns(&self) -> anyhow::Result<Arc<Patterns>> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(compiled.clone());
        }
        let place = || self.path.as_ref().map_or("the built-in patterns".into(), |p| p.display().to_string());
        let patterns = Patterns::new(&self.redact).with_context(|| format!("[redact] in {}", place()))?;
        Ok(self.compiled.get_or_init(|| Arc::new(patterns)).clone())
    }
}

/// `90s`, `15m`, `12h`, `30d`, `2w` as seconds.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let factor = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(format!("`{text}` is not a duration: write 90s, 15m, 12h, 30d or 2w")),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is not a duration: write for example 30d"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too long"))
}

/// `500MB`, `2GiB`, `1048576` as bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "kib" => 1 << 10,
        "m" | "mb" => 1_000_000,
        "mib" => 1 << 20,
        "g" | "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return Err(format!("`{text}` is not a size: write 500MB, 2GiB or a number of bytes")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a size: write for example 2GB"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_checked_where_they_stand() {
        let text = "[gates]\ncost_usd = \"max<0.10\"\nretry_rate = [\"value<=0.05\", \"rate<0.5\"]\n\
                    [max_regression]\nscore = \"2%\"\n";
        let config: Config = toml::from_str(text).unwrap();
        let gates: Vec<String> = config.gates.0.iter().map(ToString::to_string).collect();
        assert_eq!(gates, ["cost_usd: max<0.1", "retry_rate: value<=0.05", "retry_rate: rate<0.5"]);
        assert_eq!(config.max_regression.0.len(), 1);
        let wrong = "[gates]\nerrors = \"count==0\"\nloop_duration = \"max<1\"\n";
        let error = toml::from_str::<Config>(wrong).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("nearest: loop_duration_ms"), "{error}");
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("30d"), Ok(2_592_000));
        assert_eq!(parse_duration("90 s"), Ok(90));
        assert!(
            parse_duration("soon").is_err()
                && parse_duration("5").is_err()
                && parse_duration("99999999999999w").is_err()
        );
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("17"), Ok(17));
        assert!(parse_size("2 parsecs").is_err() && parse_size("").is_err());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = toml::from_str::<Config>("[retention]\nmax_agee = \"1d\"\n").unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("max_agee") && error.contains("max_age"),
            "{error}"
        );
    }
}
