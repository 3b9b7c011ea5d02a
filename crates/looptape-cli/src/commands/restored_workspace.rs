//! `replay --restore-workspace`: the files of a recorded run, laid out in a fresh folder for its agent.
//!
//! The folder stays when the run is over: what the agent made of the files is what one wants to see.

use super::workspace::VARIABLE;
use crate::child::environment::Variables;
use crate::exit::UsageError;
use crate::looks::{LookOf, RecordedFiles};
use crate::render::figures::plural;
use crate::render::recorded::left_out_of;
use crate::tape::Place;
use anyhow::{Context, bail};
use looptape_store::workspace::{self, Restored};
use looptape_store::{Reader, RecordedTrace};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Files that were laid out.
#[derive(Debug, Serialize)]
pub(super) struct RestoredWorkspace {
    /// The fresh folder.
    folder: PathBuf,
    /// As of when this step asked; `null`: before the program started.
    step: Option<u32>,
    files: u64,
    #[serde(skip)]
    restored: Restored,
    /// Where the agent is to run: the place that it had in its workspace, if it had one.
    working_folder: Option<PathBuf>,
}

impl RestoredWorkspace {
    /// Lays the files out as they were when `step` asked, or before the program started.
    pub(super) fn lay_out(reader: &Reader, trace: &RecordedTrace, step: Option<u32>) -> anyhow::Result<Self> {
        let files = RecordedFiles::of(reader, trace)?;
        let label = trace.row.label();
        let Some(look) = files.look(step.map_or(LookOf::Start, LookOf::Step)) else {
            let Some(step) = step else { bail!("the files of trace {label} were not kept at its start") };
            let steps = plural(files.steps as u32, "step", "steps");
            return Err(match step as usize > files.steps {
                true => UsageError(format!("trace {label} has no step {step}: it has {steps}")).into(),
                false => anyhow::anyhow!("the files of trace {label} were not kept at step {step}"),
            });
        };
        let root = look.root.clone().map_err(|why| {
            anyhow::anyhow!("the files of trace {label} could not be looked at then: {why}")
        })?;
        let home = Path::new(&files.workspace.folder);
        let folder = fresh_folder(home).context("no folder for the files can be made")?;
        let restored = workspace::restore(reader, root, &folder, home)
            .with_context(|| format!("the files cannot be laid out in {}", folder.display()))?;
        let environment = reader.environment(trace.row.key)?;
        let then = environment.and_then(|environment| environment.working_folder);
        let inside = then.as_deref().and_then(|then| Path::new(then).strip_prefix(home).ok());
        let working_folder = inside.map(|inside| folder.join(inside));
        if let Some(folder) = &working_folder {
            // What is ignored is not there.
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        Ok(Self { files: restored.files, folder, step, restored, working_folder })
    }

    /// Where the agent runs.
    pub(super) fn place(&self) -> Place {
        match &self.working_folder {
            Some(folder) => Place::There {
                folder: folder.clone(),
                temporary_folder: std::env::var_os("TMPDIR").map(PathBuf::from),
            },
            None => Place::Here,
        }
    }

    pub(super) fn working_folder(&self) -> Option<&Path> {
        self.working_folder.as_deref()
    }

    /// For the agent's environment.
    pub(super) fn variables(&self) -> Variables {
        let mut set = vec![(VARIABLE.to_owned(), self.folder.display().to_string())];
        // Shells and agents believe it as long as it is not wrong.
        set.extend(self.working_folder.iter().map(|folder| ("PWD".to_owned(), folder.display().to_string())));
        set
    }

    /// What people should know of it.
    pub(super) fn lines(&self) -> Vec<String> {
        let Restored { files, without_secrets, left_out, .. } = &self.restored;
        let when =
            self.step.map_or("before the program started".to_owned(), |step| format!("at step {step}"));
        let mut lines = vec![format!(
            "looptape: workspace: {} as they were {when}, in {}{}",
            plural(u32::try_from(*files).unwrap_or(u32::MAX), "file", "files"),
            self.folder.display(),
            left_out_of(left_out),
        )];
        if *without_secrets > 0 {
            let some = plural(u32::try_from(*without_secrets).unwrap_or(u32::MAX), "file", "files");
            lines.push(format!("looptape: workspace: placeholders stand for the secrets in {some}"));
        }
        if self.working_folder.is_none() {
            lines.push(format!(
                "looptape: workspace: the recorded run did not work in its workspace, so this one works here; {VARIABLE} says where the files are"
            ));
        }
        lines
    }
}

/// An empty folder of the same name as `home`, readable by its owner only.
fn fresh_folder(home: &Path) -> std::io::Result<PathBuf> {
    let outer = tempfile::Builder::new().prefix("looptape-workspace-").tempdir()?.keep();
    let outer = outer.canonicalize()?;
    let folder = match home.file_name() {
        Some(name) => outer.join(name),
        None => return Ok(outer),
    };
    std::fs::create_dir(&folder)?;
    Ok(folder)
}
