//! `looptape audit --top`: which runs to look at.

use crate::commands::selection::Selection;
use crate::exit::Exit;
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, progress, style};
use looptape_core::audit::{Pricing, RankBy, RankedTrace, Waste, ranking};
use looptape_core::cost::Usd;
use looptape_core::view::{self, LsRow};
use looptape_store::{ReadError, Reader, TraceRow};

type Priced = (LsRow, Option<String>, Option<Usd>, Waste);

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
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        runs.push(priced(&reader, row)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let ranked: Vec<RankedTrace<LsRow>> = ranking(runs, by, most as usize);
    match json {
        true => print_json(&ranked)?,
        false if ranked.is_empty() => global.say("looptape: no run passes the filters"),
        false => print(&render::audit::ranked(&ranked, by, style()))?,
    }
    Ok(Exit::Success)
}

/// A run, its cost as far as all of it is known, and its waste.
fn priced(reader: &Reader, row: TraceRow) -> Result<Priced, ReadError> {
    let (meta, started_unix_us) = (row.meta(), row.happened_unix_us());
    let trace = reader.load(row)?;
    let measured = trace.measure();
    let pricing = Pricing { book: reader.prices(), started_unix_us, facts: &trace.facts };
    let waste = Waste::of(&trace.facts, &measured, &pricing);
    let listed = view::ls_row(meta, &measured.metrics);
    let agent = listed.agent.clone();
    let usd = listed.cost_usd;
    Ok((listed, agent, usd, waste))
}
