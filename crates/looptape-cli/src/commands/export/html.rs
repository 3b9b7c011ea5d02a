//! `looptape export --format html`: a trace as the page in one file, with its data.

use super::Args;
use crate::config::Config;
use crate::named_traces::NamedTraces;
use crate::page::rules;
use crate::render;
use crate::session::{Global, print, print_bytes, print_json, progress, runtime};
use anyhow::Context;
use looptape_page::Page;
use looptape_page::export::{Bodies, one_file};
use looptape_store::TraceRow;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A page that was written.
#[derive(Debug, Serialize)]
pub(crate) struct ExportedPage {
    pub(crate) trace: String,
    pub(crate) path: PathBuf,
    format: &'static str,
    pub(crate) bytes: u64,
    /// Whether what was said is in it.
    pub(crate) bodies: bool,
}

/// What browsers open slowly, or not at all.
pub(crate) const LARGE_BYTES: u64 = 100_000_000;

pub(super) fn run(
    global: &Global,
    config: &Config,
    args: &Args,
    (named, row): (&NamedTraces, &TraceRow),
    path: &Path,
) -> anyhow::Result<()> {
    let page = Page::new(named.database.clone(), rules(config)?, None);
    let bodies = if args.without_bodies { Bodies::LeftOut } else { Bodies::Included };
    let bar = progress(global, 0, "steps");
    let text = runtime()?.block_on(one_file(&page, &row.label(), bodies, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    }))?;
    bar.finish_and_clear();
    if path == Path::new("-") {
        return print_bytes(text.as_bytes());
    }
    std::fs::write(path, &text).with_context(|| format!("{} cannot be written", path.display()))?;
    let exported = ExportedPage {
        trace: row.id.to_string(),
        path: path.to_owned(),
        format: "html",
        bytes: text.len() as u64,
        bodies: bodies == Bodies::Included,
    };
    match args.json {
        true => print_json(&exported),
        false => print(&render::exported::page(&exported)),
    }
}
