//! `looptape import`: cassettes and other tools' recordings become traces.
//!
//! A cassette is the trace that it was made from, with its id. Of other recordings one file becomes one trace; its id follows from the file's bytes, so that importing a file again finds
//! the trace that is there instead of making a second one. A file that is refused changes nothing, and
//! holds up no other.

mod files;
mod library;
mod message;
mod schedule;

use crate::config::Config;
use crate::exit::Exit;
use crate::render;
use crate::session::{Global, print, print_json};
use files::Source;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use library::Library;
use looptape_core::cassette::Cassette;
use looptape_core::import::{self, Refused};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Import cassettes, and other tools' recordings as traces
///
/// A cassette that `export` wrote, a folder or one file, becomes the trace that it was, with its id and times.
/// Each file of another tool becomes a trace, with the file's name: its calls in file order, secrets replaced as in any
/// recording. Folders are searched for cassettes and for *.yaml, *.yml, *.json, *.har, *.httprr and *.traj files, compressed
/// with gzip (*.yaml.gz) or not. Cassettes of
/// vcrpy, go-vcr, VCR (Ruby, R) and betamax, HAR files (browsers, Polly.JS) and httprr traces can be imported;
/// anything else is refused by name. What was imported before is recognised, and not imported twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape import tests/cassettes/test_agent.yaml
  looptape import tests/cassettes
  looptape import traces/refund refund.looptape
  looptape import --json a.yaml b.yaml

Exit code: 0 if every file was imported; 1 if any was refused, the rest is imported all the same.")]
pub(crate) struct Args {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Files and folders
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What became of one file.
#[derive(Debug)]
pub(crate) struct FileImport {
    pub(crate) path: PathBuf,
    /// The trace, or why there is none.
    pub(crate) result: Result<ImportedTrace, String>,
}

/// A trace that holds a file's or a cassette's calls.
#[derive(Debug)]
pub(crate) struct ImportedTrace {
    /// What names it.
    pub(crate) label: String,
    pub(crate) llm_calls: u32,
    pub(crate) other_calls: u32,
    /// Whether the file held every body's bytes.
    pub(crate) byte_exact: bool,
    pub(crate) novelty: Novelty,
    /// What could not be stored, and why.
    pub(crate) missing: Vec<String>,
}

/// Whether the trace is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    /// It was there, for example from an earlier import.
    AlreadyImported,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let sources = files::find(&args.files);
    let progress = progress(global, sources.len());
    let mut library = Library::new(global, &config);
    let mut outcome = Outcome::default();
    for source in sources {
        progress.set_message(render::imported::file(source.path()));
        match import_file(&mut library, source)? {
            Some(import) => outcome.imports.push(import),
            None => outcome.passed_over += 1,
        }
        progress.inc(1);
    }
    library.finish();
    progress.finish_and_clear();
    outcome.report(global, args)
}

/// The trace of one recording, made if it is not there.
pub(super) fn one(global: &Global, config: &Config, path: &Path) -> anyhow::Result<ImportedTrace> {
    let mut library = Library::new(global, config);
    let source = match looptape_store::cassettes::is_cassette(path) {
        true => Source::Cassette(path.to_owned()),
        false => Source::Named(path.to_owned()),
    };
    let imported = import_file(&mut library, source);
    library.finish();
    let imported = imported?.map(|import| import.result);
    imported.unwrap_or_else(|| Err("it is no recording".to_owned())).map_err(|why| anyhow::anyhow!(why))
}

/// The trace of a cassette that is there already.
pub(super) fn restored(
    global: &Global,
    config: &Config,
    cassette: Cassette,
) -> anyhow::Result<ImportedTrace> {
    let mut library = Library::new(global, config);
    let restored = library.restore(cassette);
    library.finish();
    restored?.map_err(|why| anyhow::anyhow!(why))
}

/// A bar on stderr, if that is a terminal and there is something to wait for.
fn progress(global: &Global, files: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("importing {bar:24} {pos}/{len} {wide_msg}")
        .expect("the template is valid");
    let bar = ProgressBar::new(files as u64).with_style(style);
    if global.quiet || files < 2 {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// What became of a file; `None` if a folder held it and it is no recording at all. An error is the
/// database's, and the end.
fn import_file(library: &mut Library<'_>, source: Source) -> anyhow::Result<Option<FileImport>> {
    let result = match &source {
        Source::Refused { reason, .. } => Err(reason.clone()),
        Source::Cassette(path) => library.restore_file(path)?,
        Source::Named(path) | Source::InFolder(path) => match files::read(path) {
            Err(reason) => Err(reason),
            Ok(bytes) => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                match import::read(&name, &bytes) {
                    Err(Refused::UnknownFormat) if matches!(source, Source::InFolder(_)) => return Ok(None),
                    Err(refused) => Err(refused.to_string()),
                    Ok(cassette) => library.store(path, &bytes, &cassette)?,
                }
            }
        },
    };
    Ok(Some(FileImport { path: source.into_path(), result }))
}

/// What became of all files.
#[derive(Debug, Default)]
struct Outcome {
    imports: Vec<FileImport>,
    /// Files of folders that are no recordings at all.
    passed_over: u32,
}

impl Outcome {
    fn report(&self, global: &Global, args: &Args) -> anyhow::Result<Exit> {
        // Refusals are errors: they are on stderr, with --json and --quiet too.
        for import in &self.imports {
            if let Err(reason) = &import.result {
                anstream::eprintln!("looptape: {}", render::imported::refused(&import.path, reason));
            }
        }
        if args.json {
            print_json(&self.imports.iter().map(Row::of).collect::<Vec<_>>())?;
        } else {
            print(&self.imports.iter().filter_map(render::imported::line).collect::<String>())?;
        }
        let refused = self.imports.iter().filter(|import| import.result.is_err()).count();
        if self.imports.len() > 1 || self.passed_over > 0 {
            let imported = self.imports.len() - refused;
            global.say(&render::imported::summary(imported, refused, self.passed_over));
        }
        let all_imported = refused == 0 && !self.imports.is_empty();
        Ok(if all_imported { Exit::Success } else { Exit::Failure })
    }
}

/// A file's entry in the JSON array.
#[derive(Serialize)]
struct Row<'a> {
    file: String,
    traces: Vec<&'a str>,
    llm_calls: u32,
    other_calls: u32,
    /// Null for a file that was refused.
    byte_exact: Option<bool>,
    already_imported: bool,
    /// What could not be stored, and why.
    missing: &'a [String],
    refused: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(import: &'a FileImport) -> Self {
        let trace = import.result.as_ref().ok();
        Self {
            file: import.path.to_string_lossy().into_owned(),
            traces: trace.map(|t| t.label.as_str()).into_iter().collect(),
            llm_calls: trace.map_or(0, |t| t.llm_calls),
            other_calls: trace.map_or(0, |t| t.other_calls),
            byte_exact: trace.map(|t| t.byte_exact),
            already_imported: trace.is_some_and(|t| t.novelty == Novelty::AlreadyImported),
            missing: trace.map_or(&[], |t| &t.missing),
            refused: import.result.as_ref().err().map(String::as_str),
        }
    }
}
