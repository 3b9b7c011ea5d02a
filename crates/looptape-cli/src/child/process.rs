//! Running the child: its terminal, its signals, its exit code.
//!
//! The child shares our terminal and process group, so what is typed there (Ctrl-C included) reaches it
//! directly. Signals sent to this process alone are passed on.

use crate::exit::{Exit, UsageError};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub(crate) code: i32,
    /// Whether somebody wanted it to end before it did.
    pub(crate) interrupted: Option<Interruption>,
}

/// A wish that a run end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    CtrlC,
    Quit,
    Terminated,
    HangUp,
}

impl Interruption {
    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CtrlC => "stopped by Ctrl-C (SIGINT)",
            Self::Quit => "stopped by Ctrl-\\ (SIGQUIT)",
            Self::Terminated => "stopped by SIGTERM",
            Self::HangUp => "stopped because its terminal went away (SIGHUP)",
        }
    }
}

/// What a second Ctrl-C does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecondCtrlC {
    /// The same as the first: it is the child's business.
    IsPassedOn,
    /// It ends the child at once.
    Kills,
}

/// The exit code of what was ended by Ctrl-C.
const CODE_OF_CTRL_C: i32 = 130;

impl Ended {
    pub(crate) fn exit(self) -> Exit {
        match u8::try_from(self.code).unwrap_or(255) {
            0 => Exit::Success,
            code => Exit::Child(code),
        }
    }
}

/// A child that could not be started.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// Where the child's standard output goes. Its standard error is always this process's own.
#[derive(Debug)]
pub(crate) enum ChildOutput {
    /// To this process's own.
    Inherited,
    /// Into a file.
    To(File),
}

/// Starts `command` with `variables` added to this process's environment.
pub(crate) fn start(
    command: &[OsString],
    variables: &[(String, String)],
    output: ChildOutput,
) -> anyhow::Result<Result<Child, NotStarted>> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(UsageError("there is no command after `--`".into()).into());
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().map(|(n, v)| (n, v)));
    if let ChildOutput::To(file) = output {
        command.stdout(file);
    }
    let name = program.to_string_lossy();
    Ok(command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => NotStarted {
            exit: Exit::NotStarted(127),
            message: format!("`{name}` was not found: check the spelling, or write its path"),
        },
        std::io::ErrorKind::PermissionDenied => NotStarted {
            exit: Exit::NotStarted(126),
            message: format!(
                "`{name}` cannot be executed: is it a program? (`chmod +x`, or put its interpreter in front)"
            ),
        },
        _ => NotStarted {
            exit: Exit::NotStarted(126),
            message: format!("`{name}` cannot be started: {error}"),
        },
    }))
}

/// The signals that are passed on. To be heard before the child starts, or one that comes early would end
/// this process and not the child.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: UnixSignal,
    quit: UnixSignal,
    terminate: UnixSignal,
    hangup: UnixSignal,
    user1: UnixSignal,
    user2: UnixSignal,
}

impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let hear = |kind| signal(kind).context("signals cannot be handled");
        Ok(Self {
            interrupt: hear(SignalKind::interrupt())?,
            quit: hear(SignalKind::quit())?,
            terminate: hear(SignalKind::terminate())?,
            hangup: hear(SignalKind::hangup())?,
            user1: hear(SignalKind::user_defined1())?,
            user2: hear(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.user1.recv() => Signal::USR1,
            _ = self.user2.recv() => Signal::USR2,
        }
    }
}

/// Waits for the child, passing signals on.
pub(crate) async fn wait(
    child: &mut Child,
    mut signals: Signals,
    second: SecondCtrlC,
) -> anyhow::Result<Ended> {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut interrupted = None;
    loop {
        let received = tokio::select! {
            status = child.wait() => {
                let code = code(status.context("the child cannot be waited for")?);
                return Ok(Ended { code, interrupted });
            }
            received = signals.next() => received,
        };
        if received == Signal::INT && interrupted == Some(Interruption::CtrlC) && second == SecondCtrlC::Kills
        {
            // It may have ended this very moment.
            let _ = child.start_kill();
            return Ok(Ended { code: CODE_OF_CTRL_C, interrupted });
        }
        interrupted = interrupted.or(interruption(received));
        let typed = matches!(received, Signal::INT | Signal::QUIT) && in_foreground();
        if let (false, Some(pid)) = (typed, pid) {
            // It may have ended this very moment.
            let _ = kill_process(pid, received);
        }
    }
}

/// Whether this process group owns the terminal, so that typed signals reach the child without us.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn interruption(signal: Signal) -> Option<Interruption> {
    match signal {
        Signal::INT => Some(Interruption::CtrlC),
        Signal::QUIT => Some(Interruption::Quit),
        Signal::TERM => Some(Interruption::Terminated),
        Signal::HUP => Some(Interruption::HangUp),
        _ => None,
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
