//! `looptape ui`: the local page.

mod replays;

use super::serve::{StopSignals, parse_listen, parse_token};
use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::page::{ServedPage, rules};
use crate::session::{Global, runtime};
use anyhow::Context;
use looptape_page::{Page, WriteToken, Writing};
use looptape_proxy::guard::Guard;
use looptape_proxy::pages::PageServer;
use looptape_proxy::server::{Server, bind};
use replays::ReplaysHere;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Look at what is recorded, in a browser
///
/// Serves a page to this machine, with the traces of the database, live while one is recorded: what each did step by
/// step, what was said, where the time and the money went. By itself it only reads, and asks no other host for anything.
/// What does more, such as starting a replay (a live one asks its provider), wants the token that is printed here: follow
/// the second address. It is printed on loopback only.
///
/// A gateway (`looptape serve`) has the same page at /ui. Ctrl-C ends it, and the replays that were started from it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape ui
  looptape ui --no-open --listen 127.0.0.1:0
  looptape ui --db other.db
  ssh -L 4110:127.0.0.1:4110 build-machine looptape ui --no-open --listen 127.0.0.1:4110

Exit code: 0 after Ctrl-C or SIGTERM.")]
pub(crate) struct Args {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4110", value_parser = parse_listen)]
    listen: SocketAddr,
    /// What must stand in front of the path as /k/TOKEN; required beyond loopback, 16 characters or more
    #[arg(long, env = "LOOPTAPE_TOKEN", hide_env_values = true, value_parser = parse_token)]
    token: Option<String>,
    /// Open no browser
    #[arg(long)]
    no_open: bool,
}

/// How long requests under way may go on after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(2);
/// How long replays that the page started may take to write down how they ended.
const REPLAYS_END: Duration = Duration::from_secs(10);

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let guard = Guard::new(args.listen, args.token.clone()).map_err(|e| UsageError(e.to_string()))?;
    let database = global.database()?;
    // What cannot be read is said here, and not first in the browser.
    if database.exists() {
        global.reader()?;
    }
    let config = Config::load()?;
    let rules = rules(&config)?;
    // Beyond loopback nothing that a web page sends is taken, so nothing but reading works there.
    let secret = args.listen.ip().is_loopback().then(secret).transpose()?;
    let writing = secret.as_ref().map(|secret| {
        let replays = Arc::new(ReplaysHere::new(global, config));
        Writing { token: WriteToken::new(secret), replays }
    });
    let page = Page::new(database.clone(), rules, writing);
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        let listener = bind(args.listen).await?;
        let pages = Arc::new(ServedPage::new(page.clone()));
        let server = Server::start(listener, Arc::new(PageServer::new(pages, guard)))
            .context("the page cannot be served")?;
        let address = address(&server, args.token.as_deref());
        // Scripts rely on this line: it is printed even with --quiet.
        anstream::eprintln!("page: {address}");
        if let Some(secret) = &secret {
            global.say(&format!("to start replays from it: {address}#token={secret}"));
        }
        global.say(&format!("database: {}", database.display()));
        if !args.no_open && args.token.is_none() {
            open_browser(&address);
        }
        stop.next().await;
        // What a browser still waits for is no reason to stay.
        server.drain(DRAIN).await;
        let left = tokio::select! {
            left = page.finish(REPLAYS_END) => left,
            () = stop.next() => 0,
        };
        if left > 0 {
            global.say(&format!("looptape: {left} replays did not end in time; their traces say so"));
        }
        Ok(Exit::Success)
    })
}

fn address(server: &Server, token: Option<&str>) -> String {
    let address = server.address();
    let host = match address.ip().is_unspecified() {
        true => format!("HOST:{}", address.port()),
        false => address.to_string(),
    };
    let token = token.map_or(String::new(), |token| format!("/k/{token}"));
    format!("http://{host}{token}/ui")
}

/// What nobody can guess.
fn secret() -> anyhow::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Opens the page where somebody sits in front of a browser; never with a token, which other users of the machine could read in
/// the browser's command line. That it cannot be opened is no failure: its address is printed.
fn open_browser(address: &str) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_screen = cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    if std::io::stderr().is_terminal() && has_screen && !address.contains("HOST:") {
        let _ = open::that_detached(address);
    }
}
