//! A hermetic place for a test: a temporary folder that is home, working folder and database at once, and
//! the built binary with an environment that holds nothing else.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A temporary folder with a database of its own.
pub(crate) struct TestEnv {
    home: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestEnv {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder"), variables: Vec::new() }
    }

    /// Adds a variable to the environment of every command.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.variables.push((name.to_owned(), value.as_ref().to_string_lossy().into_owned()));
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.home().join("looptape.db")
    }

    /// `looptape` with these arguments, ready to run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptape"));
        command.args(arguments).current_dir(self.home()).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home()).env("LOOPTAPE_DB", self.db());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `looptape` with these arguments to its end.
    pub(crate) fn looptape<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        Ran::of(self.command(arguments).output().expect("the built binary starts"))
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
        }
    }

    /// The id of the line `trace: <id>`, wherever it was printed.
    pub(crate) fn trace(&self) -> String {
        let lines = self.stderr.lines().chain(self.stdout.lines());
        let id = lines.filter_map(|line| line.strip_prefix("trace: ")).next();
        id.unwrap_or_else(|| panic!("no line `trace: <id>` in {self:?}")).to_owned()
    }
}
