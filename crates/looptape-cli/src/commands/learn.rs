//! `looptape learn`: masks from two recordings of one agent.

use super::matching::MaskArgs;
use crate::config::Config;
use crate::exit::Exit;
use crate::named_traces::{Home, NamedTraces};
use crate::place::nearest_project;
use crate::render;
use crate::session::{Global, print, print_json};
use crate::tape;
use anyhow::Context;
use looptape_core::redact;
use looptape_core::replay::learn::{Lesson, learn};
use looptape_core::replay::{MaskEntry, Masking, Report, ServedCounts};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Propose masks from two recordings of the same agent
///
/// Replays each recording against the other, and finds the fewest `[[mask]]` entries with which both
/// match, beyond the masks that apply anyway. Nothing is sent. If the recordings differ in more than
/// volatile values (other steps, tools or words), it says where, and proposes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape record -- python agent.py; looptape record -- python agent.py
  looptape learn last~1 last            what would have to be masked
  looptape learn last~1 last --write    add it to looptape.toml

Exit codes: 0 the recordings match, with the masks shown; 3 they differ in more than volatile values.")]
pub(crate) struct Args {
    /// The first trace: an id, a prefix of one, `last`, `last~2`, or a cassette's path
    first: String,
    /// The second trace
    second: String,
    /// Add the masks to the project's looptape.toml
    #[arg(long)]
    write: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    masks: MaskArgs,
}

/// What was learned, as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct Learned {
    pub(crate) format: u32,
    pub(crate) first: String,
    pub(crate) second: String,
    /// Whether each recording replays against the other with `masks`.
    pub(crate) enough: bool,
    pub(crate) masks: Vec<MaskEntry>,
    /// How the second recording's requests matched the first one, and the other way round.
    pub(crate) checks: Vec<ServedCounts>,
    /// The first difference that no mask cures.
    pub(crate) difference: Option<Report>,
    /// The file to which the masks were added.
    pub(crate) written: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = args.masks.settings(Config::load()?);
    let named = [args.first.clone(), args.second.clone()];
    let named = NamedTraces::open(global, &config, &named, Home::Nowhere)?;
    let reader = &named.reader;
    let (first, second) = (reader.load(named.row(0)?)?, reader.load(named.row(1)?)?);
    let configured = config.configured_masks()?;
    let settings = |masking: Masking| {
        masking.without(config.masks.disable.iter().copied()).with(configured.iter().cloned())
    };
    let recordings = [tape::recording(reader, &first)?, tape::recording(reader, &second)?];
    let [a, b] = &recordings;
    let mut learned = Learned {
        format: 1,
        first: first.row.label(),
        second: second.row.label(),
        enough: false,
        masks: Vec::new(),
        checks: Vec::new(),
        difference: None,
        written: None,
    };
    match learn([a, b], &settings, redact::normalise) {
        Lesson::Differs(report) => learned.difference = Some(*report),
        Lesson::Masks { masks, checks } => {
            learned.enough = true;
            learned.masks = masks;
            learned.checks = checks.iter().map(|summary| summary.served).collect();
        }
    }
    if args.write && !learned.masks.is_empty() {
        learned.written = Some(write(config.path.as_deref(), &learned.masks)?);
    }
    if args.json {
        print_json(&learned)?;
    } else {
        print(&render::learned::text(&learned))?;
    }
    Ok(if learned.enough { Exit::Success } else { Exit::Diverged })
}

/// Adds entries to the end of the settings: what is there stays as it is, comments included.
fn write(path: Option<&Path>, masks: &[MaskEntry]) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("the working folder cannot be read")?;
    let path = match path {
        Some(path) => path.to_owned(),
        None => nearest_project(&here).unwrap_or(&here).join("looptape.toml"),
    };
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let mut after = before.clone();
    if !after.is_empty() {
        after.push_str(if after.ends_with('\n') { "\n" } else { "\n\n" });
    }
    after.push_str(&masks.iter().map(MaskEntry::to_toml).collect::<Vec<_>>().join("\n"));
    toml::from_str::<Config>(&after).with_context(|| {
        format!("the masks cannot be added to the end of {}: paste them where they belong", path.display())
    })?;
    std::fs::write(&path, after).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}
