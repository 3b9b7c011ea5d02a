//! `looptape replay … --listen ADDR:PORT`: recordings served at one address, until Ctrl-C.

use super::resend::Resending;
use super::serve::{StopSignals, parse_listen, parse_token};
use crate::child::capture::Capture;
use crate::child::environment;
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::session::{Global, find, runtime};
use crate::tape::{self, Ready};
use anyhow::Context;
use looptape_core::captured;
use looptape_core::replay::{Options, Verdict, render_text};
use looptape_proxy::forward_proxy::ForwardProxy;
use looptape_proxy::guard::Guard;
use looptape_proxy::server::{Server, bind};
use looptape_proxy::tape_server::library::{LibraryOptions, LibraryReport, OpenTape, TapeLibrary};
use looptape_store::{CallBytes, CallOutline, Reader, TraceKey};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where recordings are served.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Serving recordings")]
pub(super) struct ListenArgs {
    /// Serve the recordings here until Ctrl-C, to programs that are started by themselves. A base URL with
    /// /t/TRACE is answered from that trace, each answer once; one without by the request's bytes from all of
    /// them, as often as it is asked for
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_listen, conflicts_with = "command")]
    listen: Option<SocketAddr>,
    /// What clients must put into their base URL as /k/TOKEN; required beyond loopback, 16 characters or more
    #[arg(long, env = "LOOPTAPE_TOKEN", hide_env_values = true, value_parser = parse_token)]
    token: Option<String>,
}

impl ListenArgs {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.listen
    }
}

/// How long answers under way may go on after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the chosen traces; the report as JSON.
pub(super) fn run(
    (listen, args): (SocketAddr, &ListenArgs),
    resending: &Resending<'_>,
) -> anyhow::Result<(Exit, Value)> {
    let Resending { global, reader, config, .. } = *resending;
    let rows = resending.rows()?;
    let mut traces = Vec::with_capacity(rows.len());
    for row in &rows {
        traces.push((row.key, reader.outlines(row.key)?));
    }
    let mut vault_key = [0u8; 32];
    getrandom::fill(&mut vault_key).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    let options = LibraryOptions {
        patterns: config.patterns()?,
        guard: Guard::new(listen, args.token.clone()).map_err(|e| UsageError(e.to_string()))?,
        speed: resending.speed,
        vault_key,
        open: opener(reader, config, resending.options, rows.iter().map(|row| row.key).collect())?,
    };
    let is_captured = |(_, calls): &(TraceKey, Vec<CallOutline>)| {
        calls.iter().any(|call| captured::is_captured(&call.path))
    };
    let capture = match traces.iter().any(is_captured) {
        true => Some(Capture::prepare(&|name| std::env::var(name).ok())?),
        false => None,
    };
    let library = Arc::new(TapeLibrary::new(traces, Arc::new(CallBytes::new(reader)?), options));
    runtime()?.block_on(serve(global, listen, (rows.len(), capture), library.clone()))?;
    let report = library.finish();
    if let Some(trouble) = report.trouble {
        anyhow::bail!(trouble);
    }
    let exit = exit(&report);
    if !global.quiet || exit != Exit::Success {
        anstream::eprint!("{}", text(&report));
    }
    Ok((exit, as_json(rows.len(), &report, exit)))
}

/// Opens the replay of a trace that a request names.
fn opener(
    reader: &Reader,
    config: &Config,
    options: Options,
    chosen: HashSet<TraceKey>,
) -> anyhow::Result<OpenTape> {
    let reader = std::sync::Mutex::new(reader.another()?);
    let config = config.clone();
    Ok(Box::new(move |name| {
        let reader = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let opened = || {
            let row = find(&reader, name)?;
            anyhow::ensure!(
                chosen.contains(&row.key),
                "`{name}` is not among the traces that are served here"
            );
            let trace = reader.load(row)?;
            let Ready { server, .. } = tape::server(&reader, &trace, options, &config)?;
            anyhow::Ok(server)
        };
        opened().map_err(|error| format!("{error:#}"))
    }))
}

async fn serve(
    global: &Global,
    listen: SocketAddr,
    (traces, capture): (usize, Option<Capture>),
    library: Arc<TapeLibrary>,
) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let listener = bind(listen).await?;
    let calls = library.calls();
    let running = match &capture {
        Some(capture) => {
            let own = listener.local_addr()?;
            Server::start(listener, Arc::new(ForwardProxy::new(library, own, capture.beyond())))
        }
        None => Server::start(listener, library),
    };
    let running = running.context("the server cannot be started")?;
    let origin = format!("http://{}", running.address());
    // Scripts rely on this line: it is printed even with --quiet.
    anstream::eprintln!("listening: {origin}");
    global.say(&format!("looptape: {calls} recorded calls of {traces} traces; Ctrl-C ends it"));
    for (name, url) in environment::base_urls(&origin) {
        global.say(&format!("  {name}={url}"));
    }
    if let Some(capture) = &capture {
        global
            .say("looptape: captured calls of tools are answered to whoever has this address as proxy, and:");
        for (name, value) in capture.variables(&origin) {
            global.say(&format!("  {name}={value}"));
        }
        let named = origin.replacen("://", "://TRACE:x@", 1);
        global.say(&format!(
            "looptape: with {named} as proxy they are answered from one trace, each answer once"
        ));
    }
    stop.next().await;
    running.drain(DRAIN).await;
    Ok(())
}

fn exit(report: &LibraryReport) -> Exit {
    let verdicts: Vec<Verdict> = report.named.iter().map(|(_, summary)| summary.verdict).collect();
    if !report.missed.is_empty() || verdicts.contains(&Verdict::Diverged) {
        Exit::Diverged
    } else if verdicts.contains(&Verdict::Unused) {
        Exit::Unused
    } else {
        Exit::Success
    }
}

fn text(report: &LibraryReport) -> String {
    let mut out = format!("looptape: {} requests answered by their bytes\n", report.served);
    for (endpoint, requests) in &report.missed {
        let endpoint = endpoint.escape_default();
        out.push_str(&format!("looptape: {requests} to {endpoint} were not recorded, byte for byte\n"));
    }
    for (trace, summary) in &report.named {
        for line in render_text(summary).lines() {
            out.push_str(&format!("looptape: {trace}: {line}\n"));
        }
    }
    out
}

fn as_json(traces: usize, report: &LibraryReport, exit: Exit) -> Value {
    let replays: Vec<Value> =
        report.named.iter().map(|(trace, summary)| json!({ "trace": trace, "replay": summary })).collect();
    json!({
        "format": 1,
        "traces": traces,
        "recorded_calls": report.calls,
        "served_by_bytes": report.served,
        "not_recorded": report.missed,
        "replays": replays,
        "exit_code": exit.code(),
        "guarantee": "the replay server has no upstream client",
    })
}
