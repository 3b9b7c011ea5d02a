//! Exit codes and how errors reach the user.

use std::process::ExitCode;

/// Every way in which `looptape` can end. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Success,
    /// It could not; the message says why. `import`: some file was refused. `verify`: something is damaged.
    Failure,
    /// Two traces differ, and it was asked to say so.
    Different,
    /// The command line was wrong.
    Usage,
    /// A replay diverged from its recording.
    Diverged,
    /// A replay left recorded calls unused.
    Unused,
    /// A gate failed: live calls would have cost more than they may.
    Gate,
    /// The user interrupted it; what was done until then was told.
    Interrupted,
    /// The child's own code, under `record` and `replay`.
    Child(u8),
    /// The child could not be started: not found (127) or not executable (126).
    NotStarted(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure | Self::Different => 1,
            Self::Usage => 2,
            Self::Diverged => 3,
            Self::Unused => 4,
            Self::Gate => 99,
            Self::Interrupted => 130,
            Self::Child(code) | Self::NotStarted(code) => code,
        }
    }
}

/// A mistake on the command line that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// Turns a command's result into the process's exit code, printing what went wrong.
pub(crate) fn report(result: anyhow::Result<Exit>) -> ExitCode {
    match result {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let exit = if error.is::<UsageError>() { Exit::Usage } else { Exit::Failure };
            anstream::eprintln!("looptape: {}", describe(&error));
            ExitCode::from(exit.code())
        }
    }
}

/// The messages of an error's chain, without those that the one before already says.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
    }
    text
}

/// Whoever read our output has seen enough: that is success.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
