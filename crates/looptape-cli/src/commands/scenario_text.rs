//! The scenario that the command line names: a file, or a preset. For the verbs that run one, or take its provider.

use anyhow::Context;
use looptape_core::scenario::{Scenario, ScenarioError, Setting, preset, read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A scenario's text, and where it is from.
#[derive(Clone, Debug)]
pub(super) struct ScenarioText {
    text: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Preset(String),
}

const PRESET: &str = "preset:";

impl FromStr for ScenarioText {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(name) = name.strip_prefix(PRESET) {
            let text = preset(name).map_err(|error| error.to_string())?.to_owned();
            return Ok(Self { text, place: Place::Preset(name.to_owned()) });
        }
        let path = PathBuf::from(name);
        let text = std::fs::read_to_string(&path).map_err(|error| match preset(name) {
            Ok(_) => format!("there is no file of this name; the preset is {PRESET}{name}"),
            Err(_) => format!("it cannot be read: {error}"),
        })?;
        Ok(Self { text, place: Place::File(path) })
    }
}

impl ScenarioText {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The scenario, with these values in the place of its own.
    pub(super) fn read(&self, settings: &[Setting]) -> anyhow::Result<Scenario> {
        read(&self.text, settings).map_err(|error| match error {
            wrong @ ScenarioError::Wrong { .. } => {
                anyhow::Error::new(wrong).context(format!("{} is no scenario", self.name()))
            }
            other => other.into(),
        })
    }

    /// A file that the scenario names: beside its own, unless its path is absolute.
    pub(super) fn beside(&self, file: &str) -> PathBuf {
        let folder = match &self.place {
            Place::File(path) => path.parent().unwrap_or(Path::new("")),
            Place::Preset(_) => Path::new(""),
        };
        folder.join(file)
    }

    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Preset(name) => format!("{PRESET}{name}"),
        }
    }
}

/// The text of a file that a scenario names.
pub(super) fn file_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("{}, which the scenario names, cannot be read", path.display()))
}
