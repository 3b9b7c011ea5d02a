//! `looptape replay --models A,B,C`: one run for each model, one after the other, and a table of them.

use super::judge::{Judged, judged};
use crate::exit::Exit;
use crate::render;
use crate::session::{Global, print, print_json, style};
use looptape_core::TraceId;
use looptape_core::replay::comparison::{ModelComparison, ModelEnd, ModelFigures, ModelRow, Verdict};
use looptape_store::{Reader, Selector};
use std::path::Path;

/// Which models, and who judges.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Several models")]
pub(super) struct ModelsArgs {
    /// Run once for each of these models, from step --from on, and compare them in a table
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', conflicts_with = "model")]
    pub(super) models: Vec<String>,
    /// After each run, a shell command that judges it: exit 0 is a pass, its last line may be a score from 0
    /// to 1. It finds the run in LOOPTAPE_TRACE, the model in LOOPTAPE_MODEL
    #[arg(long, value_name = "CMD")]
    pub(super) verify: Option<String>,
}

/// How one model's run ended, and the trace that was recorded of it.
#[derive(Debug)]
pub(super) struct ModelRun {
    pub(super) end: ModelEnd,
    pub(super) trace: Option<TraceId>,
}

/// Runs every model and tells of them. `run` makes a model's run, to its end and onto the disk.
pub(super) fn compare(
    global: &Global,
    args: &ModelsArgs,
    (trace, from_step): (String, u32),
    reader: &Reader,
    mut run: impl FnMut(&str) -> anyhow::Result<ModelRun>,
) -> anyhow::Result<ModelComparison> {
    let mut models = Vec::new();
    for model in &args.models {
        global.say(&format!("looptape: model {model}"));
        let run = run(model).unwrap_or_else(|error| ModelRun {
            end: ModelEnd::NotRun { why: format!("{error:#}") },
            trace: None,
        });
        models.push(row(model, run, args.verify.as_deref(), &global.database()?, reader)?);
    }
    Ok(ModelComparison { format: 1, trace, from_step, models })
}

fn row(
    model: &str,
    ModelRun { end, trace }: ModelRun,
    verify: Option<&str>,
    database: &Path,
    reader: &Reader,
) -> anyhow::Result<ModelRow> {
    let figures = match &trace {
        None => None,
        Some(id) => {
            let selector = Selector::Id { prefix: id.as_str().to_owned(), run: None };
            let recorded = reader.load(reader.find(&selector)?)?;
            Some(ModelFigures::of(&recorded.measure().metrics))
        }
    };
    let verdict = match (verify, &trace) {
        (Some(command), Some(id)) => {
            let variables = [("LOOPTAPE_MODEL", model.as_ref())];
            judged(command, Judged { trace: id.as_str(), database, folder: None, variables: &variables })
        }
        (Some(_), None) => Verdict::Broken { why: "the run left no trace".to_owned() },
        (None, _) => Verdict::NotAsked,
    };
    Ok(ModelRow { model: model.to_owned(), trace: trace.map(|id| id.to_string()), end, verdict, figures })
}

/// Prints the table.
pub(super) fn tell(comparison: &ModelComparison, json: bool) -> anyhow::Result<()> {
    if json { print_json(comparison) } else { print(&render::models::table(comparison, style())) }
}

/// The exit code that a comparison comes to.
pub(super) fn exit(comparison: &ModelComparison) -> Exit {
    if comparison.all_well() { Exit::Success } else { Exit::Failure }
}
