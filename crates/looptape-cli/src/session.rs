//! What most commands begin with: the settings, the database, a recorder or a reader.

use crate::config::Config;
use crate::place;
use crate::render::ascii::ascii;
use crate::render::style::{Color, Style};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use looptape_core::TraceId;
use looptape_store::{
    Durability, Moment, Reader, Recorder, RecorderOptions, RecorderThread, Selector, TraceRow,
};
use std::borrow::Cow;
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
        Ok(Reader::open(&self.database()?)?.priced_by(Config::load()?.price_book()?))
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
        options.prices = config.price_book()?;
        Ok(options)
    }

    /// A line of our own on stderr, unless `--quiet`.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            anstream::eprintln!("{line}");
        }
    }
}

/// How to lay text out on stdout: in colour only on a terminal, and not if `NO_COLOR` is set.
pub(crate) fn style() -> Style {
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let columns = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
    Style {
        color: if is_terminal && !no_color { Color::On } else { Color::Off },
        width: columns.filter(|columns| is_terminal && *columns > 0).unwrap_or(PAGE_COLUMNS),
    }
}

/// Columns of what does not go to a terminal.
const PAGE_COLUMNS: usize = 110;

/// A progress bar on stderr; hidden unless that is a terminal.
pub(crate) fn progress(global: &Global, total: u64, what: &'static str) -> ProgressBar {
    if global.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} {msg}, {eta} to go");
    let style = style.expect("the template is a constant that parses");
    ProgressBar::new(total).with_style(style).with_message(what)
}

/// Now, in µs since the Unix epoch.
pub(crate) fn now_unix_us() -> i64 {
    Moment::now().unix_us
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
    let is_ascii_only = std::io::stdout().is_terminal() && shows_ascii_only(|name| std::env::var(name).ok());
    let text = if is_ascii_only { Cow::Owned(ascii(text)) } else { Cow::Borrowed(text) };
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("writing to stdout")
}

/// Whether the environment says that the terminal shows ASCII only: by the kind of terminal, or by a locale of another
/// character set than UTF-8. One that says nothing, as in most containers, shows what everybody's does.
fn shows_ascii_only(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    is_dumb
        || locale.is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            !locale.contains("utf-8") && !locale.contains("utf8")
        })
}

/// Writes recorded bytes to stdout as they are. (`print` would take escape sequences out of them.)
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context("writing to stdout")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_shows() {
        for (environment, expected) in [
            (&[][..], false),
            (&[("LANG", "en_GB.UTF-8")], false),
            (&[("LANG", "C.utf8"), ("TERM", "xterm")], false),
            (&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")], true),
            (&[("LANG", "de_DE.ISO-8859-1")], true),
            (&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "")], false),
            (&[("LANG", "en_GB.UTF-8"), ("TERM", "dumb")], true),
        ] {
            let variable = |name: &str| {
                environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(shows_ascii_only(variable), expected, "{environment:?}");
        }
    }
}
