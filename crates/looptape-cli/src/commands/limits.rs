//! `looptape limits`: rate limits, as recorded traces show them.

use super::selection::Selection;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces};
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, progress};
use clap::Subcommand;
use looptape_core::derive;
use looptape_core::exchange::{Exchange, Outcome};
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::limits::{AccountReport, Demand, SeenCall, fit};
use looptape_store::{Reader, TraceRow};
use serde::Serialize;

/// Find out which rate limits recorded calls ran under
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Fit(FitArgs),
}

/// Estimate the limits of an account from the headers and refusals of recorded calls
///
/// Prints them as TOML, ready for `looptape mock --twin FILE`, with what speaks for each figure: how many answers
/// name it, and how many of their figures are those of a bucket that refills all the time. What nobody names is
/// inferred from refusals, and marked. Each model of each provider has limits of its own; those with most calls come
/// first, and only they are not commented out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape limits fit last
  looptape limits fit --since 1d --model gpt-4o-mini
  looptape limits fit --tag nightly > twin.toml
  looptape mock --twin twin.toml

Exit code: 0; 1 if the calls show no limit.")]
struct FitArgs {
    /// Traces: ids, prefixes, `last`, `last~2`, paths of cassettes [default: all that pass the filters]
    #[arg(value_name = "TRACE")]
    traces: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Print one object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    format: u32,
    accounts: Vec<AccountReport>,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let What::Fit(args) = &args.what;
    if !args.traces.is_empty() && !args.selection.is_empty() {
        return Err(UsageError("name traces or filter them, not both".to_owned()).into());
    }
    let config = Config::load()?;
    let named = NamedTraces::open(global, &config, &args.traces, Home::Nowhere)?;
    let rows = match args.traces.as_slice() {
        [] => named.reader.traces(&args.selection.filter(now_unix_us())?)?,
        names => (0..names.len()).map(|at| named.row(at)).collect::<anyhow::Result<_>>()?,
    };
    let bar = progress(global, rows.len() as u64, "traces");
    let mut calls = Vec::new();
    for row in rows {
        calls.extend(seen(&named.reader, row)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let accounts = fit(&calls);
    let is_known = accounts.iter().any(|account| !account.limits.is_empty());
    if args.json {
        print_json(&Report { format: 1, accounts: accounts.iter().map(AccountReport::from).collect() })?;
    } else if is_known {
        print(&render::limits::toml(&accounts))?;
    } else {
        let (calls, refused) = (calls.len(), accounts.iter().map(|account| account.refused).sum::<u64>());
        global.say(&format!(
            "looptape: {calls} model calls, {refused} of them refused with 429, show no limit: no answer names one, and \
             none was reached"
        ));
    }
    Ok(if is_known { Exit::Success } else { Exit::Failure })
}

/// The model calls of a trace that were answered.
fn seen(reader: &Reader, row: TraceRow) -> anyhow::Result<Vec<SeenCall>> {
    let key = row.key;
    let mut seen = Vec::new();
    for call in &reader.load(row)?.facts {
        if !matches!(call.kind, CallKind::Llm(_)) {
            continue;
        }
        let account = format!("{} {}", call.provider, call.model.as_deref().unwrap_or("?"));
        let answered = answered(account, &reader.exchange(key, call.seq)?);
        seen.extend(answered.map(|seen| seen.needing(demand(call))));
    }
    Ok(seen)
}

/// What a call needed. Of the bound that it set for its answer, which some limits reserve, what was written is all that is
/// known.
fn demand(call: &CallFacts) -> Demand {
    Demand {
        input_tokens: call.usage.input_total.unwrap_or(call.request_bytes / 4),
        cached_tokens: call.usage.cache_read.unwrap_or(0),
        max_output_tokens: None,
        output_tokens: call.usage.output_total.unwrap_or(0),
    }
}

fn answered(account: String, exchange: &Exchange) -> Option<SeenCall> {
    let Outcome::Answered(answer) = &exchange.outcome else { return None };
    let times = (exchange.sent_unix_us, exchange.sent_unix_us + (answer.end_us - exchange.sent_us).max(0));
    let body = derive::decode_body(&answer.headers, &answer.body, &[]).bytes;
    Some(SeenCall::new(account, times, answer.status, &answer.headers, &body))
}
