//! The processes that take part: upstream and recorder first, then the two servers.
//!
//! Each is this program once more. A child prints its URL; it ends when its standard input does, so none
//! outlives the benchmark, whatever becomes of that.

use crate::{Failure, memory, recorded, upstream};
use looptape_proxy::server::bind;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Upstream,
    Recorder,
    Memory,
    Looptape,
}

impl Role {
    pub(crate) fn parse(argument: &str) -> Option<Self> {
        [Self::Upstream, Self::Recorder, Self::Memory, Self::Looptape]
            .into_iter()
            .find(|role| role.argument() == argument)
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Upstream => "as-upstream",
            Self::Recorder => "as-recorder",
            Self::Memory => "as-memory",
            Self::Looptape => "as-looptape",
        }
    }
}

/// A child that serves.
#[must_use = "stop() waits for its end"]
pub(crate) struct Target {
    role: Role,
    child: Child,
    url: String,
}

impl Target {
    /// Starts a role over a file.
    pub(crate) fn start(role: Role, file: &Path) -> Result<Self, Failure> {
        Self::start_at(role, file, "")
    }

    /// The same with an upstream.
    pub(crate) fn start_at(role: Role, file: &Path, upstream: &str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(role.argument())
            .arg(file)
            .arg(upstream)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("its output is piped")).read_line(&mut url)?;
        Ok(Self { role, child, url: url.trim_end().to_owned() })
    }

    /// For the table.
    pub(crate) fn name(&self) -> &'static str {
        match self.role {
            Role::Upstream => "upstream",
            Role::Recorder => "recorder",
            Role::Memory => "bare hyper",
            Role::Looptape => "looptape",
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("{} ended with {status}", self.name()).into()),
        }
    }
}

/// The child's side.
pub(crate) fn play(role: Role, arguments: Vec<String>) -> Result<(), Failure> {
    let mut arguments = arguments.into_iter();
    let file = arguments.next().unwrap_or_default();
    let file = Path::new(&file);
    let threads = if role == Role::Upstream { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let listener = runtime.block_on(bind(([127, 0, 0, 1], 0).into()))?;
    let url = format!("http://{}", listener.local_addr()?);
    match role {
        Role::Upstream => {
            runtime.spawn(upstream::serve(listener));
            until_input_ends(&url);
        }
        Role::Memory => {
            runtime.spawn(memory::serve(listener, memory::load(file)?));
            until_input_ends(&url);
        }
        Role::Recorder => {
            recorded::record(&runtime, listener, file, &arguments.next().unwrap_or_default(), &url)?;
        }
        Role::Looptape => {
            let _server = runtime.block_on(recorded::serve(listener, file))?;
            until_input_ends(&url);
        }
    }
    runtime.shutdown_background();
    Ok(())
}

pub(crate) fn until_input_ends(url: &str) {
    println!("{url}");
    // A broken pipe ends it as well.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
