//! `looptape audit`: why a run cost what it cost, and which runs to look at.

mod baseline;
mod top;

use crate::commands::selection::Selection;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces, path_of};
use crate::render;
use crate::session::{Global, print, print_json, style};
use anyhow::Context;
use baseline::Chosen;
use looptape_core::audit::{Audit, RankBy};
use looptape_page::reading::audit::{AuditError, audited};
use looptape_page::reading::baseline::median;
use looptape_page::reading::prompts::prepare_tokenizers;
use looptape_store::{Reader, RecordedTrace};

/// Say why a run cost what it cost, and which runs to look at
///
/// Compares the run with another one, by default with the one of median cost among the latest runs of the same
/// agent: how much of the difference each factor made (steps, attempts, context, cache, output, price), without
/// a remainder. Then where the money went within the run: every message is paid for again by each request that
/// sends it again. Then what was paid in vain (cache misses and what broke the cached prefix, retries, repeated
/// calls) and what the run would have cost otherwise. It ends with at most five findings, each with its dollars
/// and the step to look at.
///
/// With `--top` it ranks runs instead: by cost, by how unusual their cost is for their agent, by waste.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape audit last
  looptape audit 4bf92f35 --baseline 9a1b2c3d
  looptape audit last --baseline main.json       the JSON of `show --json` or `stats --json`
  looptape audit last --at gpt-4o-mini --at gpt-4.1
  looptape audit last --json | jq '.findings[].text'
  looptape audit --top 20 --by waste --since 7d

The formulas are in docs/audit.md.")]
pub(crate) struct Args {
    /// The trace: an id, a prefix of one, `last`, `last~2`, or a cassette
    #[arg(conflicts_with = "top")]
    trace: Option<String>,
    /// What to compare with: a trace, a cassette, or a file with the JSON of `show` or `stats` [default: the run
    /// of median cost among the latest of the same agent]
    #[arg(long, value_name = "TRACE|FILE", conflicts_with_all = ["top", "no_baseline"])]
    baseline: Option<String>,
    /// Compare with nothing
    #[arg(long, conflicts_with = "top")]
    no_baseline: bool,
    /// Among how many runs of the same agent the median is taken
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    /// Price it at this model's prices as well; repeatable [default: models of the same provider that are most
    /// like it and cheaper]
    #[arg(long = "at", value_name = "MODEL", conflicts_with = "top")]
    models: Vec<String>,
    /// Rank runs instead, and show so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// With `--top`: by what
    #[arg(long, value_enum, requires = "top", default_value_t = ByArg::Cost)]
    by: ByArg,
    #[command(flatten)]
    selection: Selection,
    /// Print one object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ByArg {
    /// What a run cost
    Cost,
    /// How far its cost is from the usual one of its agent (robust z-score)
    Anomaly,
    /// What was paid for in vain: retries, repeated requests, cache misses
    Waste,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let Some(name) = &args.trace else {
        if args.top.is_none() {
            let say = "name a trace (`looptape audit last`), or rank runs with --top N";
            return Err(UsageError(say.to_owned()).into());
        }
        let by = match args.by {
            ByArg::Cost => RankBy::Cost,
            ByArg::Anomaly => RankBy::Anomaly,
            ByArg::Waste => RankBy::Waste,
        };
        return top::run(global, &args.selection, by, args.top.unwrap_or(u32::MAX), args.json);
    };
    if !args.selection.is_empty() {
        return Err(
            UsageError("filters go with --top; the baseline is chosen with --baseline".to_owned()).into()
        );
    }
    let chosen = Chosen::of(args)?;
    let mut names = vec![name.clone()];
    names.extend(chosen.trace().map(str::to_owned));
    let named = NamedTraces::open(global, &Config::load()?, &names, Home::Nowhere)?;
    let trace = named.reader.load(named.row(0)?)?;
    prepare_tokenizers(&trace);
    let baseline = match &chosen {
        Chosen::Nothing => Ok(None),
        Chosen::File(path) => Ok(Some(baseline::from_file(path)?)),
        Chosen::Trace(name) => {
            let row = named.row(1).context("--baseline")?;
            Ok(Some(baseline::trace(&named.reader, row, name)?))
        }
        // The other runs of a cassette's agent are in the user's database.
        Chosen::Median if path_of(name).is_some() => match global.reader() {
            Ok(reader) => median(&reader, &trace, args.last)?.map(Some),
            Err(_) => {
                Err(format!("compared with no other run: {name} is a cassette, and there is no database"))
            }
        },
        Chosen::Median => median(&named.reader, &trace, args.last)?.map(Some),
    };
    let audited = audited(&named.reader, &trace, &args.models, baseline).map_err(say)?;
    match args.json {
        true => print_json(&audited)?,
        false => print(&render::audit::text(&audited, style()))?,
    }
    Ok(Exit::Success)
}

/// A model without a price is one that was asked for by `--at`.
fn say(error: AuditError) -> anyhow::Error {
    match error {
        AuditError::NoPrice { .. } => UsageError(format!("--at: {error}")).into(),
        AuditError::NoCalls { .. } => error.into(),
    }
}

/// The audit of a run by itself.
pub(super) fn alone(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Audit> {
    Ok(audited(reader, trace, &[], Ok(None))?.audit)
}
