//! `looptape show`: one trace as a timeline, one of its steps in full, or the exact bytes of a call.

mod files;

pub(crate) use files::{FileChange, FilesView, How, Side, StepChanges};

use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces};
use crate::render;
use crate::render::files::Diffs;
use crate::session::{Global, now_unix_us, print, print_bytes, print_json, style};
use anyhow::bail;
use looptape_core::exchange::{Exchange, Outcome};
use looptape_core::headers::{RedactedHeaders, string_to_latin1};
use looptape_page::reading::load_runs;
use looptape_page::reading::prompts::prepare_tokenizers;
use looptape_page::reading::step_detail::{Place, StepDetail};
use looptape_page::reading::trace_view::{self, Compositions, Messages};
use looptape_store::{FindError, Reader, RecordedTrace};

/// Show what a trace did, step by step
///
/// Without `--step` a timeline: steps, attempts, tool calls, tokens, cost, time to first token, a bar of
/// where the time went, and lanes for what ran at the same time. With `--files` what each step changed in the workspace of a run that was recorded with
/// `record --workspace`. With `--step` everything that one step asked and was answered; what is new since the
/// step before it is set apart. With `--raw` the exact bytes of a call as they passed (secrets replaced).
/// The name of a load run, as `looptape load` said it and `looptape ls --load-runs` lists it, shows what came of that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape show last
  looptape show 4bf92f35 --step 3
  looptape show last --step 3 --messages            the whole history that it sent
  looptape show last --step 3 --raw > answer.sse    the answer's bytes
  looptape show last --step 3 --raw request --headers
  looptape show last --files                        what each step changed in the workspace, as diffs
  looptape show last --files --step 3               of one step, in full
  looptape show 59da8ff24f37                        a load run
  looptape show last --json --messages | jq '.steps[0].messages'")]
pub(crate) struct Args {
    /// The trace: an id, a prefix of one, `last`, `last~2`, or a cassette's path; or a load run
    trace: String,
    /// One step in full
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
    /// Which of the step's attempts [default: the last]
    #[arg(long, value_name = "K", requires = "step", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Write the exact bytes of a body [default: the response's]
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "response")]
    #[arg(requires = "step", conflicts_with_all = ["json", "messages"])]
    raw: Option<RawArg>,
    /// With `--raw`: the head before the body
    #[arg(long, requires = "raw")]
    headers: bool,
    /// With `--step` or `--json`: the whole history of each request
    #[arg(long)]
    messages: bool,
    /// What each step changed in the workspace; with `--step`, what that one changed
    #[arg(long, conflicts_with_all = ["raw", "messages", "attempt"])]
    files: bool,
    /// Print one object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RawArg {
    Request,
    Response,
}

/// What comes before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    LeftOut,
    Included,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let messages = if args.messages { Messages::Included } else { Messages::LeftOut };
    if args.messages && args.step.is_none() && !args.json {
        let say = "--messages needs --step N, for one step's history, or --json, for all of them";
        return Err(UsageError(say.to_owned()).into());
    }
    let named = std::slice::from_ref(&args.trace);
    let named = NamedTraces::open(global, &Config::load()?, named, Home::Nowhere)?;
    let reader = &named.reader;
    let row = match named.row(0) {
        Ok(row) => row,
        Err(error) => return show_load_run(reader, args, error),
    };
    if args.files {
        return show_files(reader, &reader.load(row)?, args);
    }
    let scanned = reader.load_with_pieces(row)?;
    let trace = &scanned.trace;
    let Some(step) = args.step else {
        if args.json {
            prepare_tokenizers(trace);
            print_json(&trace_view::build(reader, &scanned, messages, Compositions::Included))?;
        } else {
            let shown = trace_view::build(reader, &scanned, messages, Compositions::LeftOut);
            print(&render::timeline::with_notes(&shown, style()))?;
        }
        return Ok(Exit::Success);
    };
    let place = Place::find(trace, step, args.attempt)?;
    if let Some(which) = args.raw {
        let head = if args.headers { Head::Included } else { Head::LeftOut };
        raw(&reader.exchange(trace.row.key, place.seq)?, which, head)?;
        return Ok(Exit::Success);
    }
    let detail = StepDetail::build(reader, trace, place, Compositions::Included)?;
    match args.json {
        true => print_json(&detail)?,
        false => print(&render::step::text(&detail, messages, style()))?,
    }
    Ok(Exit::Success)
}

/// A load run, if it is one that is named and not an unknown trace.
fn show_load_run(reader: &Reader, args: &Args, error: anyhow::Error) -> anyhow::Result<Exit> {
    let is_unknown = matches!(error.downcast_ref(), Some(FindError::Unknown { .. }));
    let run = match is_unknown && args.trace.len() >= SHORTEST_RUN {
        true => load_runs::one(reader, &args.trace)?,
        false => None,
    };
    let Some(run) = run else { return Err(error) };
    if args.step.is_some() || args.messages || args.files {
        let say = format!(
            "{} is a load run: its steps are those of its loops, `looptape ls --tag load={0}`",
            run.id
        );
        return Err(UsageError(say).into());
    }
    match args.json {
        true => print_json(&run)?,
        false => print(&render::load_runs::text(&run, now_unix_us(), style()))?,
    }
    Ok(Exit::Success)
}

/// Characters of a load run's name that find it.
const SHORTEST_RUN: usize = 4;

fn show_files(reader: &Reader, trace: &RecordedTrace, args: &Args) -> anyhow::Result<Exit> {
    let diffs = match args.step {
        Some(step) => {
            Place::find(trace, step, None)?;
            Diffs::Whole
        }
        None => Diffs::Cut,
    };
    let view = FilesView::build(reader, trace, args.step)?;
    match args.json {
        true => print_json(&view)?,
        false => print(&render::files::text(&view, diffs, style()))?,
    }
    Ok(Exit::Success)
}

fn raw(exchange: &Exchange, which: RawArg, head: Head) -> anyhow::Result<()> {
    match (which, &exchange.outcome) {
        (RawArg::Request, _) => {
            let line = format!("{} {}", exchange.method, exchange.path);
            write(head, &line, &exchange.request_headers, &exchange.request_body)
        }
        (RawArg::Response, Outcome::Answered(answer)) => {
            write(head, &format!("HTTP {}", answer.status), &answer.headers, &answer.body)
        }
        (RawArg::Response, Outcome::InFlight) => {
            bail!("call {} has no recorded answer: it was cut off, or still runs", exchange.seq)
        }
        (RawArg::Response, Outcome::NoResponse { ending, .. }) => {
            bail!("call {} got no response ({ending:?})", exchange.seq)
        }
    }
}

fn write(head: Head, line: &str, headers: &RedactedHeaders, body: &[u8]) -> anyhow::Result<()> {
    let mut bytes = Vec::with_capacity(body.len());
    if head == Head::Included {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in headers.iter() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(&string_to_latin1(value));
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(body);
    print_bytes(&bytes)
}
