//! `looptape export`: a trace as files, to be reviewed in a pull request or sent to somebody.

mod html;

pub(crate) use html::{ExportedPage, LARGE_BYTES};

use crate::config::Config;
use crate::exit::{Exit, UsageError};
use crate::named_traces::{Home, NamedTraces};
use crate::render;
use crate::session::{Global, print, print_bytes, print_json, progress};
use looptape_core::cassette::{self, Cassette, Files};
use looptape_store::cassettes::{FILE_ENDING, write_file, write_folder};
use looptape_store::{Reader, Surroundings, TraceRow, TraceStatus};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Export a trace as a cassette, a folder for git or one file to send; or as a page in one file
///
/// A cassette holds the trace bit for bit: bodies, pieces, times, failures. As a folder it is made for review:
/// one JSON file a call, each message once, streams and times in files of their own. What differs from run to
/// run (ids, dates, the run's own folder) stands in the manifest, so that recording the same run again changes
/// few lines. A folder that is a cassette is replaced. `import` reads both forms, and `replay`, `diff`, `show`,
/// `stats`, `audit`, `learn` and `verify` take the path of a cassette instead of a trace.
///
/// With --format html, or a PATH that ends with .html, it is a page to look at: timeline, messages, cost, in one file that
/// opens in any browser, from the disk, and asks no host for anything. It is redacted as the recording is, texts beyond
/// 32 KiB are cut; --without-bodies leaves out all that was said.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape export last -o tests/cassettes/refund            a folder; commit it
  looptape export 4bf92f35 -o refund.looptape               one file; `tar --zstd -xf` unpacks it too
  looptape export last --format file -o - | ssh laptop 'cat > refund.looptape'
  looptape replay tests/cassettes/refund -- python agent.py
  looptape export last -o refund.html                       a page, for whoever has a browser
  looptape export last -o refund.html --without-bodies      what it did and cost, and nothing that was said

Exit code: 0 if it was written.")]
pub(crate) struct Args {
    /// The trace: an id, a prefix of one, `last`, `last~2`, or a cassette's path
    trace: String,
    /// Where to; `-` writes the file form to standard output [default: the agent's name and the id]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// A folder to review, one file to send, or a page [default: a file if PATH ends with .looptape, a page if it ends with
    /// .html, else a folder]
    #[arg(long, value_enum)]
    format: Option<ExportFormat>,
    /// Leave out where the run took place: machine, user, folder, commit. A replay elsewhere then tolerates none
    /// of them in prompts
    #[arg(long)]
    without_environment: bool,
    /// Of a page: leave out messages, tool arguments and results, and all other text that was said
    #[arg(long)]
    without_bodies: bool,
    /// Print one object
    #[arg(long)]
    json: bool,
}

/// The form of a cassette.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FormatArg {
    Folder,
    File,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    /// A cassette as a folder
    Folder,
    /// A cassette as one file
    File,
    /// A page in one file, to look at
    Html,
}

/// The same, parted by who writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Cassette(Option<FormatArg>),
    Page,
}

/// A cassette that was written.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    pub(crate) trace: String,
    pub(crate) path: PathBuf,
    pub(crate) format: FormatArg,
    pub(crate) calls: usize,
    pub(crate) files: usize,
    /// On the disk.
    pub(crate) bytes: u64,
    pub(crate) root: String,
    /// What the recording lacks.
    pub(crate) missing: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let named = NamedTraces::open(global, &config, std::slice::from_ref(&args.trace), Home::Nowhere)?;
    let row = named.row(0)?;
    match args.wanted()? {
        Wanted::Page => html::run(global, &config, args, (&named, &row), &args.path(&named.reader, &row)?)?,
        Wanted::Cassette(format) => export_cassette(global, args, (&named, &row), format)?,
    }
    if row.status == TraceStatus::Recording {
        global
            .say("looptape: the trace is still being recorded: what is written holds what was there by now");
    }
    Ok(Exit::Success)
}

fn export_cassette(
    global: &Global,
    args: &Args,
    (named, row): (&NamedTraces, &TraceRow),
    format: Option<FormatArg>,
) -> anyhow::Result<()> {
    let surroundings = if args.without_environment { Surroundings::LeftOut } else { Surroundings::Kept };
    let files = files(global, &named.reader, row, surroundings)?;
    if args.output.as_deref() == Some(Path::new("-")) {
        if format == Some(FormatArg::Folder) {
            let say = "a folder cannot be written to standard output: leave --format out".to_owned();
            return Err(UsageError(say).into());
        }
        return print_bytes(&cassette::pack(&files, &row.id));
    }
    let path = args.path(&named.reader, row)?;
    let exported = write(Cassette::open(files)?, &path, format)?;
    match args.json {
        true => print_json(&exported),
        false => print(&render::exported::text(&exported)),
    }
}

impl Args {
    /// What is asked for, by its name or by the path's ending.
    fn wanted(&self) -> Result<Wanted, UsageError> {
        let ends_with_html = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "html");
        let wanted = match self.format {
            Some(ExportFormat::Html) => Wanted::Page,
            Some(ExportFormat::Folder) => Wanted::Cassette(Some(FormatArg::Folder)),
            Some(ExportFormat::File) => Wanted::Cassette(Some(FormatArg::File)),
            None if self.output.as_ref().is_some_and(ends_with_html) => Wanted::Page,
            None => Wanted::Cassette(None),
        };
        let wrong = match wanted {
            Wanted::Page if self.without_environment => {
                "a page does not say where the run took place: leave --without-environment out"
            }
            Wanted::Cassette(_) if self.without_bodies => {
                "a cassette without bodies could not be replayed: --without-bodies goes with --format html"
            }
            Wanted::Page | Wanted::Cassette(_) => return Ok(wanted),
        };
        Err(UsageError(wrong.to_owned()))
    }

    /// Where to.
    fn path(&self, reader: &Reader, row: &TraceRow) -> anyhow::Result<PathBuf> {
        match &self.output {
            Some(path) => Ok(path.clone()),
            None => default_path(reader, row, self.format),
        }
    }
}

/// A trace as the files of a cassette.
fn files(
    global: &Global,
    reader: &Reader,
    row: &TraceRow,
    surroundings: Surroundings,
) -> anyhow::Result<Files> {
    let bar = progress(global, 0, "calls");
    let files = reader.cassette(row, surroundings, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(files?)
}

/// Writes a cassette.
pub(super) fn write(cassette: Cassette, path: &Path, format: Option<FormatArg>) -> anyhow::Result<Exported> {
    let format = format.unwrap_or_else(|| format_of(path));
    let (trace, calls, root) = (cassette.trace().clone(), cassette.len(), cassette.root());
    let files = cassette.into_files();
    let bytes = match format {
        FormatArg::Folder => write_folder(&files, path)?,
        FormatArg::File => write_file(&files, &trace.id, path)?,
    };
    Ok(Exported {
        trace: trace.id.to_string(),
        path: path.to_owned(),
        format,
        calls,
        files: files.len(),
        bytes,
        root,
        missing: trace.gaps.into_keys().collect(),
    })
}

fn format_of(path: &Path) -> FormatArg {
    match path.extension().is_some_and(|ending| ending == FILE_ENDING) {
        true => FormatArg::File,
        false => FormatArg::Folder,
    }
}

/// `refund-4bf92f35` in the working folder.
fn default_path(reader: &Reader, row: &TraceRow, format: Option<ExportFormat>) -> anyhow::Result<PathBuf> {
    let short = reader.short_id(&row.id, 8)?;
    let name = row.agent.as_deref().or(row.name.as_deref()).unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_matches('-').to_owned();
    let mut path = if plain.is_empty() { short } else { format!("{plain}-{short}") };
    match format {
        Some(ExportFormat::File) => path.push_str(&format!(".{FILE_ENDING}")),
        Some(ExportFormat::Html) => path.push_str(".html"),
        Some(ExportFormat::Folder) | None => {}
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format() {
        for (path, format) in [
            ("refund.looptape", FormatArg::File),
            ("a/refund", FormatArg::Folder),
            ("refund.looptape/x", FormatArg::Folder),
        ] {
            assert_eq!(format_of(Path::new(path)), format, "{path}");
        }
    }
}
