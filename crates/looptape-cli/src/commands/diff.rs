//! `looptape diff`: two traces, step by step.

use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces};
use crate::render;
use crate::session::{Global, print, print_json, style};
use anyhow::{Context, bail};
use looptape_core::diff::{Field, Options, TraceDiff};
use looptape_core::replay::MaskKind;
use looptape_core::text_diff::Extent;
use looptape_page::reading::diff::{compare, recording_of};
use looptape_store::{Reader, TraceRow};

/// Compare two traces, step by step
///
/// The first line says whether the runs are the same, else where they first differ and by how much. Then each
/// step of A stands beside the step of B that it corresponds to: what changed in its messages, prompt, tools,
/// parameters, answer, tool calls, tool results, tokens and cost, with the change marked inside the text.
/// Steps that only one run has are shown as such and move no others. Ids and other values that
/// differ from run to run do not count; times are shown and never a difference. The traces may be of different programs, providers and
/// formats.
///
/// With one trace, it is compared with the trace that it was made from: a replay with its recording.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape diff last~1 last
  looptape diff 4bf92f35 9d2c41aa --steps 3..5 --full
  looptape diff last~1 last --only answer,tool_calls --exit-code
  looptape diff tests/cassettes/refund last
  looptape diff last~1 last --json | jq '.steps[] | select(.change != \"same\")'

Fields for --only: format, provider, model, system, tools, parameters, messages, reasoning, answer,
tool_calls, finish_reason, error, attempts, tool_results, usage, cost, and for calls that are no model
steps request, response.

Exit codes: 0 compared; with --exit-code 1 if the traces differ; 1 if they cannot be read.")]
pub(crate) struct Args {
    /// A: an id, a prefix of one, `last`, `last~2`, or a cassette's path
    #[arg(value_name = "A")]
    a: String,
    /// B, named in the same way [default: A is compared with the trace that it was made from]
    #[arg(value_name = "B")]
    b: Option<String>,
    /// Only these steps, by their numbers in either trace: 3, 3..5, 3.., ..5
    #[arg(long, value_name = "N..M", value_parser = parse_steps)]
    steps: Option<Steps>,
    /// Only these fields, separated by commas
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',', value_parser = parse_field)]
    only: Vec<Field>,
    /// Do not tolerate this kind of volatile value (`looptape replay --help` lists them); repeatable
    #[arg(long, value_name = "KIND")]
    no_mask: Vec<MaskKind>,
    /// Whole texts, and every step
    #[arg(long)]
    full: bool,
    /// Print one object
    #[arg(long)]
    json: bool,
    /// End with 1 if the traces differ
    #[arg(long)]
    exit_code: bool,
}

/// A range of step numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Steps {
    first: u32,
    last: u32,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let named: Vec<String> = [Some(&args.a), args.b.as_ref()].into_iter().flatten().cloned().collect();
    let named = NamedTraces::open(global, &config, &named, Home::Nowhere)?;
    let (a, b) = traces(&named)?;
    let found = compared(&named.reader, &config, (a, b), args)?;
    match args.json {
        true => print_json(&found)?,
        false => print(&render::diff::text(&found, extent(args), style()))?,
    }
    Ok(if args.exit_code && !found.same { Exit::Different } else { Exit::Success })
}

fn extent(args: &Args) -> Extent {
    if args.full { Extent::Whole } else { Extent::Cut }
}

fn compared(
    reader: &Reader,
    config: &Config,
    (a, b): (TraceRow, TraceRow),
    args: &Args,
) -> anyhow::Result<TraceDiff> {
    let only = (!args.only.is_empty()).then(|| args.only.iter().copied().collect());
    let not_masked = config.masks.disable.iter().chain(&args.no_mask).copied();
    let options = Options { only, extent: extent(args), ..Options::default() };
    let found = compare(reader, (a, b), options, not_masked)?;
    let Some(Steps { first, last }) = args.steps else { return Ok(found) };
    let steps = found.a.steps.max(found.b.steps);
    if first > steps {
        return Err(
            UsageError(format!("--steps: there is no step {first}, the longer trace has {steps}")).into()
        );
    }
    Ok(found.of_steps(first, last))
}

/// Both traces, the earlier one first if only one was named.
fn traces(named: &NamedTraces) -> anyhow::Result<(TraceRow, TraceRow)> {
    let a = named.row(0)?;
    if named.names.len() > 1 {
        return Ok((a, named.row(1)?));
    }
    match recording_of(&named.reader, &a).context("the trace that it was made from")? {
        Some(recording) => Ok((recording, a)),
        None => bail!("trace {} was not made from another one: name the trace to compare it with", a.label()),
    }
}

fn parse_field(name: &str) -> Result<Field, String> {
    Field::parse(&name.replace('-', "_")).ok_or_else(|| {
        let names: Vec<&str> = Field::ALL.iter().map(|field| field.as_str()).collect();
        format!("there is no such field; there are {}", names.join(", "))
    })
}

fn parse_steps(text: &str) -> Result<Steps, String> {
    let number = |text: &str, default: u32| match text {
        "" => Some(default),
        text => text.parse().ok().filter(|n| *n > 0),
    };
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let steps = number(first, 1).zip(number(last.trim_start_matches('='), u32::MAX));
    steps
        .filter(|(first, last)| first <= last && !text.is_empty())
        .map(|(first, last)| Steps { first, last })
        .ok_or_else(|| "write a step or a range of steps: 3, 3..5, 3.. or ..5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_steps() {
        let steps = |first, last| Ok(Steps { first, last });
        assert_eq!(parse_steps("3"), steps(3, 3));
        assert_eq!(parse_steps("3..5"), steps(3, 5));
        assert_eq!(parse_steps("3.."), steps(3, u32::MAX));
        assert_eq!(parse_steps("..5"), steps(1, 5));
        for wrong in ["", "0", "5..3", "a", "1-2"] {
            assert!(parse_steps(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_by_name() {
        assert_eq!(parse_field("tool-calls"), Ok(Field::ToolCalls));
        assert!(parse_field("tool").unwrap_err().contains("tool_calls"));
    }
}
