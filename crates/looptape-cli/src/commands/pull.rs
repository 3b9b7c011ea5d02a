//! `looptape pull`: a trace from a gateway onto this machine.

use super::export::{self, FormatArg};
use super::import::{self, ImportedTrace, Novelty};
use super::serve::parse_token;
use crate::config::Config;
use crate::exit::Exit;
use crate::render;
use crate::session::{Global, print, print_json, runtime};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use looptape_core::cassette::{self, Cassette, MAX_TOTAL_BYTES};
use reqwest::{StatusCode, Url};
use serde::Serialize;
use serde_json::Value;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// Bring a trace from a gateway to this machine
///
/// Fetches the trace from a running `looptape serve` and puts it into the local database, as it was recorded:
/// replay it, look at it, change the code. Pulled again, it is found and not stored twice. With `--output` it
/// becomes a cassette instead, and the database is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape pull http://gateway.internal:4100 4bf92f35
  LOOPTAPE_TOKEN=… looptape pull https://looptape.example.com last
  looptape pull http://127.0.0.1:4100 job-17 -o tests/cassettes/job-17
  looptape replay 4bf92f35 -- python agent.py

Exit code: 0 if the trace is here.")]
pub(crate) struct Args {
    /// The gateway: http://HOST:PORT, or with its token http://HOST:PORT/k/TOKEN
    #[arg(value_name = "URL", value_parser = parse_url)]
    url: Url,
    /// The trace there: an id, a prefix of one, `last`, `last~2`
    trace: String,
    /// The gateway's token
    #[arg(long, env = "LOOPTAPE_TOKEN", hide_env_values = true, value_parser = parse_token)]
    token: Option<String>,
    /// Write a cassette here instead of storing the trace
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// With --output: a folder, or one file [default: a file if PATH ends with .looptape, else a folder]
    #[arg(long, value_enum, requires = "output")]
    format: Option<FormatArg>,
    /// Print one object
    #[arg(long)]
    json: bool,
}

/// A trace that was pulled into the database.
#[derive(Debug, Serialize)]
pub(crate) struct Pulled {
    pub(crate) trace: String,
    pub(crate) calls: usize,
    /// It was here from an earlier pull or import.
    pub(crate) already_here: bool,
    /// What the recording lacks.
    pub(crate) missing: Vec<String>,
}

/// How long a gateway may take to begin answering.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let archive = runtime()?.block_on(fetch(global, args))?;
    let from = || format!("what {} sent", args.url);
    let cassette = cassette::unpack(&archive).and_then(Cassette::open).with_context(from)?;
    match &args.output {
        Some(path) => {
            let exported = export::write(cassette, path, args.format)?;
            match args.json {
                true => print_json(&exported)?,
                false => print(&render::exported::text(&exported))?,
            }
        }
        None => {
            let pulled = store(global, &config, cassette)?;
            match args.json {
                true => print_json(&pulled)?,
                false => print(&render::exported::pulled(&pulled))?,
            }
        }
    }
    Ok(Exit::Success)
}

/// Puts the trace into the database, unless it is there.
fn store(global: &Global, config: &Config, cassette: Cassette) -> anyhow::Result<Pulled> {
    let calls = cassette.len();
    let ImportedTrace { label, novelty, missing, .. } = import::restored(global, config, cassette)?;
    Ok(Pulled { trace: label, calls, already_here: novelty == Novelty::AlreadyImported, missing })
}

/// The cassette's bytes.
async fn fetch(global: &Global, args: &Args) -> anyhow::Result<Vec<u8>> {
    let gateway = &args.url;
    let mut client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    if is_here(gateway) {
        client = client.no_proxy();
    }
    let response = client.build()?.get(address(args)).send().await.with_context(|| {
        format!(
            "no gateway answers at {gateway}: does `looptape serve` run there, and can this machine reach it?"
        )
    })?;
    let status = response.status();
    if status != StatusCode::OK {
        let text = response.text().await.unwrap_or_default();
        bail!(refusal(gateway, status, &text));
    }
    read(global, gateway, response).await
}

async fn read(global: &Global, gateway: &Url, mut response: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let too_large =
        || format!("what {gateway} sends is no cassette: it has more than {} MiB", MAX_TOTAL_BYTES >> 20);
    let bar = progress(global, response.content_length());
    let mut archive = Vec::new();
    let broke_off = || format!("{gateway} broke off: pull the trace again");
    while let Some(piece) = response.chunk().await.with_context(broke_off)? {
        if (archive.len() + piece.len()) as u64 > MAX_TOTAL_BYTES {
            bail!(too_large());
        }
        archive.extend_from_slice(&piece);
        bar.set_position(archive.len() as u64);
    }
    bar.finish_and_clear();
    Ok(archive)
}

/// A bar on stderr, if that is a terminal.
fn progress(global: &Global, bytes: Option<u64>) -> ProgressBar {
    if global.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("pulling {bar:24} {bytes} of {total_bytes}, {eta} to go");
    let style = style.expect("the template is a constant that parses");
    ProgressBar::new(bytes.unwrap_or_default()).with_style(style)
}

/// Where the gateway hands the trace out. A token in the URL wins over the environment's.
fn address(args: &Args) -> Url {
    let mut url = args.url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    let token = args.token.as_deref().filter(|_| !base.contains("/k/"));
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(base.split('/').filter(|segment| !segment.is_empty()));
        segments.extend(token.map(|token| ["k", token]).into_iter().flatten());
        segments.extend(["_looptape", "v1", "traces", &args.trace, "cassette"]);
    }
    url
}

/// What a gateway's refusal means here.
fn refusal(gateway: &Url, status: StatusCode, text: &str) -> String {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let (code, message) = (answer["error"]["code"].as_str(), answer["error"]["message"].as_str());
    match (code, message) {
        (Some("refused"), _) if status == StatusCode::UNAUTHORIZED => {
            format!("{gateway} wants its token: add --token TOKEN, or set LOOPTAPE_TOKEN")
        }
        (Some("unknown_path"), _) => {
            format!("the gateway at {gateway} is of an older looptape that hands out no traces: update it")
        }
        (_, Some(message)) => format!("{gateway} says: {message}"),
        _ => format!("what answers at {gateway} is no looptape gateway (HTTP {})", status.as_u16()),
    }
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn parse_url(text: &str) -> Result<Url, String> {
    let wanted = "write the gateway's address, for example http://127.0.0.1:4100";
    let url = Url::parse(text).map_err(|error| format!("{error}: {wanted}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(format!("`{scheme}` is not spoken: {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_of(url: &str, trace: &str, token: Option<&str>) -> String {
        address(&Args {
            url: parse_url(url).unwrap(),
            trace: trace.to_owned(),
            token: token.map(str::to_owned),
            output: None,
            format: None,
            json: false,
        })
        .to_string()
    }

    #[test]
    fn addresses() {
        let path = "/_looptape/v1/traces/";
        assert_eq!(address_of("http://h:1", "t", None), format!("http://h:1{path}t/cassette"));
        assert_eq!(
            address_of("http://h:1/", "last~1", Some("k1")),
            format!("http://h:1/k/k1{path}last~1/cassette")
        );
        assert_eq!(
            address_of("https://h/gw/k/own/", "a#2", Some("x")),
            format!("https://h/gw/k/own{path}a%232/cassette")
        );
        for wrong in ["gateway:4100", "127.0.0.1:4100", "ftp://h", "/x"] {
            assert!(parse_url(wrong).unwrap_err().contains("for example http://127.0.0.1:4100"), "{wrong}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let gateway = parse_url("http://h:1").unwrap();
        let said = |status, text| refusal(&gateway, status, text);
        let refused = r#"{"error":{"code":"refused","message":"m"}}"#;
        assert!(said(StatusCode::UNAUTHORIZED, refused).contains("--token"));
        assert!(
            said(StatusCode::NOT_FOUND, r#"{"error":{"code":"unknown_path","message":"m"}}"#)
                .contains("update it")
        );
        assert!(
            said(
                StatusCode::NOT_FOUND,
                r#"{"error":{"code":"no_such_trace","message":"there is no trace"}}"#
            )
            .contains("there is no trace")
        );
        assert!(said(StatusCode::BAD_GATEWAY, "<html>").contains("is no looptape gateway (HTTP 502)"));
    }

    #[test]
    fn loopback_needs_no_proxy() {
        for (url, here) in [
            ("http://127.0.0.1:1", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_here(&parse_url(url).unwrap()), here, "{url}");
        }
    }
}
