//! The processes that take part: the upstream, the bare proxy and looptape.
//!
//! Each is this program once more. A child prints its URL, and later what it recorded; it ends when its
//! standard input does, so none outlives the benchmark, whatever becomes of that.

use crate::{Failure, bare, upstream};
use looptape_core::redact::{Credentials, Patterns};
use looptape_proxy::guard::Guard;
use looptape_proxy::lanes::Lanes;
use looptape_proxy::server::{Server, bind};
use looptape_proxy::upstream::Upstreams;
use looptape_proxy::{RecordingOptions, RecordingProxy};
use looptape_store::{Recorder, RecorderOptions};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Upstream,
    Bare,
    Looptape,
}

impl Role {
    pub(crate) fn parse(argument: &str) -> Option<Self> {
        [Self::Upstream, Self::Bare, Self::Looptape].into_iter().find(|role| role.argument() == argument)
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Upstream => "as-upstream",
            Self::Bare => "as-bare-proxy",
            Self::Looptape => "as-looptape",
        }
    }

    /// For the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Upstream => "direct",
            Self::Bare => "bare hyper",
            Self::Looptape => "looptape",
        }
    }
}

/// What looptape says at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) calls: u64,
    /// What the recording lacks, because its queue was full.
    pub(crate) missing: u64,
}

/// A child that serves.
#[must_use = "stop() says what it recorded"]
pub(crate) struct Target {
    role: Role,
    child: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Target {
    pub(crate) fn start(role: Role, upstream: Option<&str>) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(role.argument())
            .args(upstream)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut url = String::new();
        output.read_line(&mut url)?;
        Ok(Self { role, child, output, url: url.trim_end().to_owned() })
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn stop(mut self) -> Result<Option<Recorded>, Failure> {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.output.read_to_string(&mut said)?;
        self.child.wait()?;
        let Some((calls, missing)) = said.trim_end().split_once(' ') else { return Ok(None) };
        Ok(Some(Recorded { calls: calls.parse()?, missing: missing.parse()? }))
    }
}

/// The child's side.
pub(crate) fn play(role: Role, arguments: Vec<String>) -> Result<(), Failure> {
    let upstream = arguments.into_iter().next().unwrap_or_default();
    let threads = if role == Role::Upstream { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let listener = runtime.block_on(bind(([127, 0, 0, 1], 0).into()))?;
    let url = format!("http://{}", listener.local_addr()?);
    match role {
        Role::Upstream => {
            runtime.spawn(upstream::serve(listener));
            until_input_ends(&url);
        }
        Role::Bare => {
            runtime.spawn(bare::serve(listener, upstream));
            until_input_ends(&url);
        }
        Role::Looptape => record(&runtime, listener, &upstream, &url)?,
    }
    runtime.shutdown_background();
    Ok(())
}

fn until_input_ends(url: &str) {
    println!("{url}");
    // A broken pipe ends it as well.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// As `looptape serve` does it.
fn record(
    runtime: &tokio::runtime::Runtime,
    listener: TcpListener,
    upstream: &str,
    url: &str,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let patterns = Arc::new(Patterns::builtin());
    let (recorder, thread) =
        Recorder::start(RecorderOptions::new(folder.path().join("looptape.db"), patterns))?;
    let mut upstreams = Upstreams::default();
    for provider in ["openai", "anthropic"] {
        upstreams.add_stated(&format!("{provider}={upstream}"))?;
    }
    let guard = Guard::new(listener.local_addr()?, None)?;
    let options = RecordingOptions {
        upstreams,
        guard,
        run: None,
        known: Credentials::none(),
        budget: None,
        telemetry: None,
    };
    let proxy = RecordingProxy::new(options, recorder)?;
    let lanes = Lanes::start()?;
    let server =
        runtime.block_on(async { Server::start_on(&lanes, listener, || proxy.with_own_connections()) })?;
    until_input_ends(url);
    runtime.block_on(server.drain(Duration::from_secs(5)));
    let report = thread.finish();
    drop(lanes);
    println!("{} {}", report.calls, report.gaps.values().sum::<u64>());
    Ok(())
}
