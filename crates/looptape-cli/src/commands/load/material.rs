//! What a scenario is made of besides its text: recorded traces, and files of workloads.

use super::scenario::{ScenarioText, file_text};
use crate::config::Config;
use crate::exit::UsageError;
use crate::named_traces::{Home, NamedTraces};
use crate::session::Global;
use anyhow::Context;
use looptape_core::load::{Material, read_workload};
use looptape_core::scenario::{Needs, Scenario, TraceChoice, WorkloadFile};
use looptape_store::{Reader, TagFilter, TraceFilter, TraceOrigin, TraceRow};

/// Reads what the scenario needs.
pub(super) fn read(
    global: &Global,
    config: &Config,
    scenario: &Scenario,
    text: &ScenarioText,
) -> anyhow::Result<Material> {
    match scenario.needs() {
        Needs::Nothing => Ok(Material::default()),
        Needs::Workload(file) => workload(file, text),
        Needs::Traces(choice) => traces(global, config, choice),
    }
}

fn workload(file: &WorkloadFile, text: &ScenarioText) -> anyhow::Result<Material> {
    let path = text.beside(&file.file);
    let calls = read_workload(&file_text(&path)?, file.format, file.speed)
        .with_context(|| format!("{} is no workload", path.display()))?;
    Ok(Material { calls, ..Material::default() })
}

fn traces(global: &Global, config: &Config, choice: &TraceChoice) -> anyhow::Result<Material> {
    let mut material = Material::default();
    let names: Vec<String> = choice.traces.iter().map(|one| one.trace.clone()).collect();
    if !names.is_empty() {
        let named = NamedTraces::open(global, config, &names, Home::Nowhere)?;
        for (at, one) in choice.traces.iter().enumerate() {
            add(&mut material, &named.reader, named.row(at)?, one.weight)?;
        }
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
        for row in rows {
            add(&mut material, &reader, row, 1.0)?;
        }
    }
    Ok(material)
}

fn add(material: &mut Material, reader: &Reader, row: TraceRow, weight: f64) -> anyhow::Result<()> {
    let trace = reader.load(row)?;
    material.add_trace(&trace.facts, &trace.assemble(), weight);
    Ok(())
}
