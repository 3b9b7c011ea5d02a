//! `looptape prune`: deletes old traces and gives their space back.

use crate::config::{Config, parse_duration, parse_size};
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json};
use anyhow::Context;
use looptape_store::{Maintenance, Retention};
use serde::Serialize;

/// Delete old traces and load runs, and give their space back
///
/// Traces that are being recorded always stay. Limits that are not given come from `[retention]` in
/// looptape.toml (`max_age`, `max_size`).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape prune --older-than 30d
  looptape prune --max-size 2GB --dry-run    what would go
  looptape prune                             by the limits of looptape.toml")]
pub(crate) struct Args {
    /// Traces and load runs that started longer ago go: 12h, 30d, 8w
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    older_than: Option<u64>,
    /// The oldest traces and load runs go until the database is not larger: 500MB, 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Say what would go, delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one object
    #[arg(long)]
    json: bool,
}

/// What went, or would go.
#[derive(Debug, Serialize)]
pub(crate) struct Pruned {
    pub(crate) dry_run: bool,
    pub(crate) traces: Vec<String>,
    pub(crate) load_runs: Vec<String>,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    pub(crate) bytes_freed: u64,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let retention = retention(args, &Config::load()?, now_unix_us())?;
    let mut maintenance = Maintenance::open(&global.database()?)?;
    let report = match args.dry_run {
        true => maintenance.foresee(&retention),
        false => maintenance.prune(&retention),
    }
    .context("pruning failed; what was not deleted is intact")?;
    let pruned = Pruned {
        dry_run: args.dry_run,
        bytes_freed: report.bytes_before.saturating_sub(report.bytes_after),
        traces: report.traces,
        load_runs: report.load_runs,
        bytes_before: report.bytes_before,
        bytes_after: report.bytes_after,
    };
    match args.json {
        true => print_json(&pruned)?,
        false => print(&render::pruned::text(&pruned))?,
    }
    Ok(Exit::Success)
}

/// Flags beat the file; without any limit there is nothing to do.
fn retention(args: &Args, config: &Config, now_unix_us: i64) -> anyhow::Result<Retention> {
    let from_file = |text: &Option<String>, parse: fn(&str) -> Result<u64, String>, key: &str| {
        let value = text.as_deref().map(parse).transpose();
        value.map_err(|e| anyhow::anyhow!("[retention] {key} in looptape.toml: {e}"))
    };
    let file_age = from_file(&config.retention.max_age, parse_duration, "max_age")?;
    let file_size = from_file(&config.retention.max_size, parse_size, "max_size")?;
    let (age_s, max_bytes) = match (args.older_than, args.max_size) {
        (None, None) => (file_age, file_size),
        given => given,
    };
    if age_s.is_none() && max_bytes.is_none() {
        return Err(UsageError(NO_LIMIT.to_owned()).into());
    }
    let started_before = |age_s: u64| {
        now_unix_us.saturating_sub(i64::try_from(age_s).unwrap_or(i64::MAX).saturating_mul(1_000_000))
    };
    Ok(Retention { started_before_unix_us: age_s.map(started_before), max_bytes })
}

const NO_LIMIT: &str = "\
nothing says what to keep: give --older-than 30d or --max-size 2GB, or put limits into looptape.toml:
  [retention]
  max_age = \"30d\"
  max_size = \"2GB\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(older_than: Option<u64>, max_size: Option<u64>, file: &str) -> anyhow::Result<Retention> {
        let config: Config = toml::from_str(file).unwrap();
        retention(&Args { older_than, max_size, dry_run: false, json: false }, &config, 100_000_000)
    }

    #[test]
    fn flags_beat_the_file_and_no_limit_is_a_mistake() {
        let file = "[retention]\nmax_age = \"90s\"\nmax_size = \"2kB\"";
        let kept = |before, max_bytes| Retention { started_before_unix_us: before, max_bytes };
        assert_eq!(limits(None, None, file).unwrap(), kept(Some(10_000_000), Some(2000)));
        assert_eq!(limits(Some(60), None, file).unwrap(), kept(Some(40_000_000), None));
        assert_eq!(limits(None, Some(7), file).unwrap(), kept(None, Some(7)));
        assert!(limits(None, None, "").unwrap_err().is::<UsageError>());
        let wrong = limits(None, None, "[retention]\nmax_age = \"soon\"").unwrap_err().to_string();
        assert!(wrong.contains("max_age") && wrong.contains("soon"), "{wrong}");
    }
}
