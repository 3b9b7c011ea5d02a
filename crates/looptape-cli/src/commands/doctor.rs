//! `looptape doctor`: checks the set-up, and says what to do about what it finds.

mod clients;
mod database;
mod surroundings;

use crate::config::Config;
use crate::exit::Exit;
use crate::render;
use crate::session::{Global, print, print_json, style};
use serde::Serialize;

/// Check the set-up: database, configuration, environment, installed clients, recent recordings
///
/// Nothing is changed and nothing is sent anywhere. Keys are named, never shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape doctor
  looptape doctor --json | jq '.findings[] | select(.level != \"ok\")'

Exit code: 1 if there is a problem; warnings alone are 0.")]
pub(crate) struct Args {
    /// Print one object
    #[arg(long)]
    json: bool,
}

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Ok,
    Warning,
    /// Something will not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) level: Level,
    pub(crate) says: String,
    /// What to do about it.
    pub(crate) to_do: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, says: says.into(), to_do: None }
    }

    fn warning(check: &'static str, says: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, says: says.into(), to_do: Some(to_do.into()) }
    }

    fn problem(check: &'static str, says: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, says: says.into(), to_do: Some(to_do.into()) }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    findings: Vec<Finding>,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let mut findings = database::check(global);
    findings.extend(configuration(&variable));
    findings.extend(surroundings::proxies(&variable));
    findings.push(surroundings::keys(&variable));
    findings.extend(clients::check(std::env::var_os("PATH").as_deref()));
    let ok = findings.iter().all(|finding| finding.level != Level::Problem);
    match args.json {
        true => print_json(&Report { ok, findings })?,
        false => print(&render::doctor::text(&findings, style()))?,
    }
    Ok(if ok { Exit::Success } else { Exit::Failure })
}

/// The file, and where calls would go by it and by the environment.
fn configuration(variable: &surroundings::Variable<'_>) -> Vec<Finding> {
    let config = match Config::load() {
        Ok(config) => config,
        Err(error) => {
            return vec![Finding::problem("looptape.toml", format!("{error:#}"), "correct that line")];
        }
    };
    let file = match &config.path {
        Some(path) => Finding::ok("looptape.toml", format!("{} is valid", path.display())),
        None => Finding::ok("looptape.toml", "none: the defaults hold"),
    };
    let patterns = config.patterns().err().map(|error| {
        Finding::problem("looptape.toml", format!("{error:#}"), "correct the pattern in [redact]")
    });
    let mut findings = vec![patterns.unwrap_or(file)];
    findings.extend(surroundings::base_urls(variable));
    findings.extend(surroundings::upstreams(&config));
    findings
}
