//! What most commands begin with: the settings, the database, a recorder or a reader.

use crate::config::Config;
use crate::place;
use anyhow::Context;
use looptape_core::TraceId;
use looptape_store::{Durability, Reader, Recorder, RecorderOptions, RecorderThread, Selector, TraceRow};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// The recording database [default: .looptape/looptape.db of the nearest project folder]
    #[arg(long, global = true, env = "LOOPTAPE_DB", value_name = "FILE")]
    pub(crate) db: Option<PathBuf>,
    /// Say only what was asked for
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// What a user may choose about durability.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum DurabilityArg {
    /// Written within milliseconds of each answer's end
    Relaxed,
    /// Each answer's end waits until it is on disk
    Strict,
}

impl From<DurabilityArg> for Durability {
    fn from(arg: DurabilityArg) -> Self {
        match arg {
            DurabilityArg::Relaxed => Self::Relaxed,
            DurabilityArg::Strict => Self::Strict,
        }
    }
}

impl Global {
    pub(crate) fn database(&self) -> anyhow::Result<PathBuf> {
        place::database(self.db.as_deref())
    }

    pub(crate) fn reader(&self) -> anyhow::Result<Reader> {
        Ok(Reader::open(&self.database()?)?)
    }

    pub(crate) fn recorder(
        &self,
        config: &Config,
        durability: Durability,
    ) -> anyhow::Result<(Recorder, RecorderThread)> {
        Ok(Recorder::start(self.recorder_options(config, durability)?)?)
    }

    /// How to record into the database, whose folder is there afterwards.
    pub(crate) fn recorder_options(
        &self,
        config: &Config,
        durability: Durability,
    ) -> anyhow::Result<RecorderOptions> {
        let database = self.database()?;
        place::prepare(&database)?;
        let mut options = RecorderOptions::new(database, config.patterns()?);
        options.durability = durability;
        Ok(options)
    }

    /// A line of our own on stderr, unless `--quiet`.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            anstream::eprintln!("{line}");
        }
    }
}

/// A new id: 32 random hex digits.
pub(crate) fn new_trace_id() -> anyhow::Result<TraceId> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no randomness: {e}"))?;
    Ok(TraceId::from_random(bytes))
}

/// The trace that the user named.
pub(crate) fn find(reader: &Reader, name: &str) -> anyhow::Result<TraceRow> {
    Ok(reader.find(&Selector::parse(name))?)
}

/// Writes to stdout; a closed pipe becomes an error that means success (see `exit`).
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("writing to stdout")
}

/// Prints a value as JSON, indented for people if it goes to a terminal.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)?
    } else {
        serde_json::to_string(value)?
    };
    print(&(text + "\n"))
}

/// A runtime for commands that serve HTTP.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)))
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}
