//! `looptape replay --models A,B,C`: one run for each model, one after the other, and a table of them.

use crate::exit::Exit;
use crate::render;
use crate::session::{Global, print, print_json, style};
use looptape_core::TraceId;
use looptape_core::replay::comparison::{ModelComparison, ModelEnd, ModelFigures, ModelRow, Verdict};
use looptape_store::{Reader, Selector};
use std::path::Path;
use std::process::{Command, Stdio};

/// Which models, and who judges.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Several models")]
pub(super) struct ModelsArgs {
    /// Run once for each of these models, from step --from on, and compare them in a table
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', conflicts_with = "model")]
    pub(super) models: Vec<String>,
    /// After each run, a shell command that judges it: exit 0 is a pass, its last line may be a score from 0
    /// to 1. It finds the run in LOOPTAPE_TRACE, the model in LOOPTAPE_MODEL
    #[arg(long, value_name = "CMD", requires = "models")]
    verify: Option<String>,
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
        (Some(command), Some(id)) => judged(command, id.as_str(), model, database),
        (Some(_), None) => Verdict::Broken { why: "the run left no trace".to_owned() },
        (None, _) => Verdict::NotAsked,
    };
    Ok(ModelRow { model: model.to_owned(), trace: trace.map(|id| id.to_string()), end, verdict, figures })
}

/// What a shell command says of a run. Its standard error is this process's own.
fn judged(command: &str, trace: &str, model: &str, database: &Path) -> Verdict {
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .env("LOOPTAPE_TRACE", trace)
        .env("LOOPTAPE_MODEL", model)
        .env("LOOPTAPE_DB", database)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    match output {
        Err(error) => Verdict::Broken { why: format!("`{command}` cannot be started: {error}") },
        Ok(output) => match output.status.code() {
            Some(code) => Verdict::of_command(code, &String::from_utf8_lossy(&output.stdout)),
            None => Verdict::Broken { why: format!("`{command}` was ended by a signal") },
        },
    }
}

/// Prints the table.
pub(super) fn tell(comparison: &ModelComparison, json: bool) -> anyhow::Result<()> {
    if json { print_json(comparison) } else { print(&render::models::table(comparison, style())) }
}

/// The exit code that a comparison comes to.
pub(super) fn exit(comparison: &ModelComparison) -> Exit {
    if comparison.all_well() { Exit::Success } else { Exit::Failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verify_command_finds_the_run_and_the_model() {
        let judge = |command: &str| judged(command, "4bf92f35", "small", Path::new("/nowhere/l.db"));
        let says = |line: &str| judge(&format!("test \"{line}\" = '4bf92f35 small /nowhere/l.db'"));
        let found = says("$LOOPTAPE_TRACE $LOOPTAPE_MODEL $LOOPTAPE_DB");
        assert_eq!(found, Verdict::Pass { score: None });
        assert_eq!(judge("echo checked; echo 0.75"), Verdict::Pass { score: Some(0.75) });
        assert_eq!(judge("echo 0; exit 3"), Verdict::Fail { score: Some(0.0), exit_code: 3 });
        assert!(matches!(judge("kill -9 $$"), Verdict::Broken { .. }));
    }
}
