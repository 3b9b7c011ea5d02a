//! `looptape audit`: why a run cost what it cost, and which runs to look at.

mod baseline;
mod top;

use crate::commands::selection::Selection;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces, path_of};
use crate::render;
use crate::session::{Global, print, print_json, style};
use anyhow::{Context, bail};
use baseline::Chosen;
use looptape_core::audit::{self, Audit, Baseline, Pricing, RankBy, Run, Supposing, WhatIf};
use looptape_core::cost::{Cost, Usd, UsdDelta};
use looptape_core::metrics::Measured;
use looptape_page::reading::prompts::{ReadPrompts, prepare_tokenizers};
use looptape_store::{Reader, RecordedTrace};
use serde::Serialize;

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

/// An audit, and what a reader of it should know.
#[derive(Debug, Serialize)]
pub(crate) struct Audited {
    #[serde(flatten)]
    pub(crate) audit: Audit,
    pub(crate) notes: Vec<String>,
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
            Ok(reader) => baseline::median(&reader, &trace, args.last)?.map(Some),
            Err(_) => {
                Err(format!("compared with no other run: {name} is a cassette, and there is no database"))
            }
        },
        Chosen::Median => baseline::median(&named.reader, &trace, args.last)?.map(Some),
    };
    let audited = audited(&named.reader, &trace, &args.models, baseline)?;
    match args.json {
        true => print_json(&audited)?,
        false => print(&render::audit::text(&audited, style()))?,
    }
    Ok(Exit::Success)
}

/// The audit of a run by itself.
pub(super) fn alone(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Audit> {
    prepare_tokenizers(trace);
    Ok(audited(reader, trace, &[], Ok(None))?.audit)
}

/// `baseline` is what to compare with, or why there is nothing although there should be.
fn audited(
    reader: &Reader,
    trace: &RecordedTrace,
    models: &[String],
    baseline: Result<Option<Baseline>, String>,
) -> anyhow::Result<Audited> {
    let measured = trace.measure();
    if measured.assembly.steps.is_empty() {
        bail!("trace {} has no model call: there is nothing to audit", trace.row.label());
    }
    let mut notes = Vec::new();
    let other_models = other_models(reader, trace, &measured, models)?;
    let baseline = baseline.unwrap_or_else(|why| {
        notes.push(why);
        None
    });
    let ReadPrompts { prompts, damage } = ReadPrompts::all(reader, trace);
    notes.extend(damage.into_iter().map(|(_, error)| format!("{error}; its input is in no message's cost")));
    let run = Run {
        id: &trace.row.id,
        agent: trace.row.agent.as_deref(),
        facts: &trace.facts,
        measured: &measured,
        prompts: &prompts,
        pricing: pricing(reader, trace),
    };
    let mut audit = audit::audit(&run, baseline.as_ref(), &other_models);
    if models.is_empty() {
        keep_cheaper(&mut audit.what_if);
    }
    Ok(Audited { audit, notes })
}

fn pricing<'a>(reader: &'a Reader, trace: &'a RecordedTrace) -> Pricing<'a> {
    Pricing { book: reader.prices(), started_unix_us: trace.row.happened_unix_us(), facts: &trace.facts }
}

/// The models that were asked for, each of which must have a price; else those most like the one that cost
/// most.
fn other_models(
    reader: &Reader,
    trace: &RecordedTrace,
    measured: &Measured,
    asked: &[String],
) -> anyhow::Result<Vec<String>> {
    let Some((provider, model)) = dearest(trace, measured) else { return Ok(asked.to_vec()) };
    if let Some(asked) = asked.iter().find(|asked| !reader.prices().has_price(provider, asked)) {
        let nearest = match reader.prices().models_like(provider, asked).as_slice() {
            [] => String::new(),
            names => format!(" Most like it: {}.", names.join(", ")),
        };
        let say =
            format!("--at: there is no price for `{asked}`.{nearest} docs/prices.md says how to state one");
        return Err(UsageError(say).into());
    }
    match asked {
        [] => {
            Ok(reader.prices().models_like(provider, model).into_iter().filter(|m| is_for_text(m)).collect())
        }
        asked => Ok(asked.to_vec()),
    }
}

/// Whether a model could take an agent's place that speaks and listens in text, by its name.
fn is_for_text(model: &str) -> bool {
    const OTHERS: [&str; 9] =
        ["audio", "tts", "transcribe", "realtime", "live", "image", "embed", "search", "moderation"];
    !OTHERS.iter().any(|other| model.contains(other))
}

/// Of the models that nobody asked for, only those at whose prices the run would have cost less.
fn keep_cheaper(what_if: &mut Vec<WhatIf>) {
    what_if.retain(|one| match one.supposing {
        Supposing::OtherModel { .. } => one.delta_usd.is_some_and(|delta| delta < UsdDelta::ZERO),
        Supposing::PerfectCache | Supposing::WithoutResult { .. } => true,
    });
}

/// Provider and model of the call that cost most.
fn dearest<'a>(trace: &'a RecordedTrace, measured: &Measured) -> Option<(&'a str, &'a str)> {
    let usd = |cost: &Cost| match cost {
        Cost::Known(price) => price.usd(),
        Cost::NotBilled | Cost::Unknown(_) => Usd::ZERO,
    };
    let (fact, _) = trace.facts.iter().zip(&measured.costs).max_by_key(|(_, cost)| usd(cost))?;
    Some((fact.provider.as_str(), fact.model.as_deref().or(fact.response_model.as_deref())?))
}
