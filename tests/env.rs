//! A private place for running the `looptape` binary: own home, own working folder, own database, and an
//! environment that holds nothing but what the test puts there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The place; removed when dropped.
#[derive(Debug)]
pub(crate) struct TestEnv {
    home: TempDir,
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a run of the binary printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestEnv {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { folder: home.path().to_owned(), home, variables: Vec::new() }
    }

    /// Sets a variable for everything that is run from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Works in a new folder of this name from now on, which holds nothing that a run leaves in its home.
    pub(crate) fn work_in(&mut self, name: &str) -> &Path {
        self.folder = self.home.path().join(name);
        std::fs::create_dir(&self.folder).unwrap();
        &self.folder
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The path of a scenario with this text; the one before is gone.
    pub(crate) fn scenario(&self, text: &str) -> String {
        let path = self.home().join("scenario.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.home.path().join("recordings").join("looptape.db")
    }

    /// What was set, and where the database is, for a run inside another one that would change them.
    pub(crate) fn stated(&self) -> Vec<String> {
        let set = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        set.chain([format!("LOOPTAPE_DB={}", self.database().display())]).collect()
    }

    /// The binary, ready to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptape"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("LOOPTAPE_DB", self.database())
            .envs(self.variables.iter().map(|(n, v)| (n, v)))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn looptape(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// The id in the line `trace: <id>`.
    pub(crate) fn trace(&self) -> &str {
        let line = self.stderr.lines().find_map(|line| line.strip_prefix("trace: "));
        line.unwrap_or_else(|| panic!("no trace line in {self:#?}"))
    }
}
