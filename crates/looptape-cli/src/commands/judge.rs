//! A shell command that judges a run: `--verify` of `replay`, `verify` of a test.

use looptape_core::replay::comparison::Verdict;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A run to be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged<'a> {
    pub(super) trace: &'a str,
    /// The database that holds it.
    pub(super) database: &'a Path,
    /// Where the command works, if not in this process's own folder.
    pub(super) folder: Option<&'a Path>,
    /// What it finds in its environment besides.
    pub(super) variables: &'a [(&'a str, &'a OsStr)],
}

/// What the command says. Its standard error is this process's own.
pub(super) fn judged(command: &str, run: Judged<'_>) -> Verdict {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env("LOOPTAPE_TRACE", run.trace).env("LOOPTAPE_DB", run.database);
    shell.envs(run.variables.iter().copied());
    if let Some(folder) = run.folder {
        shell.current_dir(folder);
    }
    match shell.stdin(Stdio::null()).stderr(Stdio::inherit()).output() {
        Err(error) => Verdict::Broken { why: format!("`{command}` cannot be started: {error}") },
        Ok(output) => match output.status.code() {
            Some(code) => Verdict::of_command(code, &String::from_utf8_lossy(&output.stdout)),
            None => Verdict::Broken { why: format!("`{command}` was ended by a signal") },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_finds_the_run_and_the_model() {
        let judge = |command: &str| {
            let variables = [("LOOPTAPE_MODEL", OsStr::new("small"))];
            let database = Path::new("/nowhere/l.db");
            judged(command, Judged { trace: "4bf92f35", database, folder: None, variables: &variables })
        };
        let says = |line: &str| judge(&format!("test \"{line}\" = '4bf92f35 small /nowhere/l.db'"));
        let found = says("$LOOPTAPE_TRACE $LOOPTAPE_MODEL $LOOPTAPE_DB");
        assert_eq!(found, Verdict::Pass { score: None });
        assert_eq!(judge("echo checked; echo 0.75"), Verdict::Pass { score: Some(0.75) });
        assert_eq!(judge("echo 0; exit 3"), Verdict::Fail { score: Some(0.0), exit_code: 3 });
        assert!(matches!(judge("kill -9 $$"), Verdict::Broken { .. }));
    }
}
