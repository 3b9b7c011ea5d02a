//! `looptape audit --top`: which runs to look at.

use crate::commands::selection::Selection;
use crate::exit::Exit;
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, progress, style};
use looptape_core::audit::RankBy;
use looptape_page::reading::audit::ranked;

pub(super) fn run(
    global: &Global,
    selection: &Selection,
    by: RankBy,
    most: u32,
    json: bool,
) -> anyhow::Result<Exit> {
    let reader = global.reader()?;
    let rows = reader.traces(&selection.filter(now_unix_us())?)?;
    let bar = progress(global, rows.len() as u64, "traces");
    let ranked = ranked(&reader, rows, by, most as usize, || bar.inc(1))?;
    bar.finish_and_clear();
    match json {
        true => print_json(&ranked)?,
        false if ranked.is_empty() => global.say("looptape: no run passes the filters"),
        false => print(&render::audit::ranked(&ranked, by, style()))?,
    }
    Ok(Exit::Success)
}
