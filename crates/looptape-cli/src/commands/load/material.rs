//! What a scenario is made of besides its text: recorded traces, and files of workloads.

use super::texts::RecordedTexts;
use crate::commands::scenario_text::{ScenarioText, file_text};
use crate::config::Config;
use crate::exit::UsageError;
use crate::named_traces::{Home, NamedTraces};
use crate::session::Global;
use anyhow::Context;
use looptape_core::load::{Material, read_workload};
use looptape_core::scenario::{Needs, Scenario, TraceChoice, WorkloadFile};
use looptape_store::{Reader, TagFilter, TraceFilter, TraceKey, TraceOrigin, TraceRow};

/// Reads what the scenario needs: figures now, texts when they are due.
pub(super) fn read(
    global: &Global,
    config: &Config,
    scenario: &Scenario,
    text: &ScenarioText,
) -> anyhow::Result<(Material, RecordedTexts)> {
    match scenario.needs() {
        Needs::Nothing => Ok(Default::default()),
        Needs::Workload(file) => Ok((workload(file, text)?, RecordedTexts::default())),
        Needs::Traces(choice) => traces(global, config, choice, scenario.traffic.model.clone()),
    }
}

fn workload(file: &WorkloadFile, text: &ScenarioText) -> anyhow::Result<Material> {
    let path = text.beside(&file.file);
    let calls = read_workload(&file_text(&path)?, file.format, file.speed)
        .with_context(|| format!("{} is no workload", path.display()))?;
    Ok(Material { calls, ..Material::default() })
}

fn traces(
    global: &Global,
    config: &Config,
    choice: &TraceChoice,
    model: Option<String>,
) -> anyhow::Result<(Material, RecordedTexts)> {
    let (mut material, mut texts) = (Material::default(), RecordedTexts::asking(model));
    let names: Vec<String> = choice.traces.iter().map(|one| one.trace.clone()).collect();
    let mut added = 0;
    if !names.is_empty() {
        let named = NamedTraces::open(global, config, &names, Home::Nowhere)?;
        let mut keys = Vec::new();
        for (at, one) in choice.traces.iter().enumerate() {
            let row = named.row(at)?;
            keys.push(row.key);
            add(&mut material, added, &named.reader, row, one.weight)?;
            added += 1;
        }
        texts.add(&named.reader, &keys)?;
        texts.keep(named.into_folder());
    }
    if let Some(tag) = &choice.tag {
        let reader = global.reader()?;
        let tags =
            vec![TagFilter::parse(tag).map_err(|error| UsageError(format!("`tag = {tag}`: {error}")))?];
        let filter = TraceFilter { tags, origin: TraceOrigin::Recordings, ..TraceFilter::default() };
        let rows = reader.traces(&filter)?;
        if rows.is_empty() {
            anyhow::bail!(
                "no recorded trace has the tag {tag}, which the scenario names: looptape ls shows what there is"
            );
        }
        let keys: Vec<TraceKey> = rows.iter().map(|row| row.key).collect();
        for row in rows {
            add(&mut material, added, &reader, row, 1.0)?;
            added += 1;
        }
        texts.add(&reader, &keys)?;
    }
    Ok((material, texts))
}

fn add(
    material: &mut Material,
    number: usize,
    reader: &Reader,
    row: TraceRow,
    weight: f64,
) -> anyhow::Result<()> {
    let trace = reader.load(row)?;
    material.add_trace(number, &trace.facts, &trace.assemble(), weight);
    Ok(())
}
