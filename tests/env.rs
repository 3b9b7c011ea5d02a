//! A private place for running the `looptape` binary: own home, own working folder, own database, and an
//! environment that holds nothing but what the test puts there.

use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The place; removed when dropped.
#[derive(Debug)]
pub(crate) struct TestEnv {
    home: TempDir,
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
        Self { home: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs the binary to its end.
    pub(crate) fn looptape(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_looptape"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .current_dir(self.home())
            .stdin(Stdio::null())
            .output()
            .expect("the binary can be started");
        let text = |bytes| String::from_utf8(bytes).expect("looptape prints UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}
