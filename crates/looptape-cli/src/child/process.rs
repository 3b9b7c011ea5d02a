//! Running the child: its terminal, its signals, its exit code.
//!
//! A child that is watched shares our terminal and process group, so what is typed there (Ctrl-C included)
//! reaches it directly; signals sent to this process alone are passed on. One whose output is captured has a
//! group of its own and no input: many of them run side by side, and every signal is passed on to the group.

use super::tool_hooks::FrameworkTools;
use crate::exit::{Exit, UsageError};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
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
    OutOfTime,
}

impl Interruption {
    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CtrlC => "stopped by Ctrl-C (SIGINT)",
            Self::Quit => "stopped by Ctrl-\\ (SIGQUIT)",
            Self::Terminated => "stopped by SIGTERM",
            Self::HangUp => "stopped because its terminal went away (SIGHUP)",
            Self::OutOfTime => "stopped because its time was over",
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

/// What shells exit with if there is no such program.
pub(crate) const NOT_FOUND: u8 = 127;

/// A child that could not be started.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

/// Where the child's output goes.
#[derive(Debug)]
pub(crate) enum ChildOutput {
    /// To this process's own.
    Inherited,
    /// Its standard output into a file, its standard error to this process's own.
    To(File),
    /// Both into a file.
    Captured(File),
}

/// A program to run.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) command: &'a [OsString],
    pub(crate) output: ChildOutput,
    /// The folder that it works in, if it is not this process's own.
    pub(crate) folder: Option<&'a Path>,
    /// How long it may take.
    pub(crate) limit: Option<Duration>,
    /// What becomes of the tools of agent frameworks in it.
    pub(crate) tools: FrameworkTools,
}

impl<'a> Program<'a> {
    /// One that runs here, as long as it likes.
    pub(crate) fn new(command: &'a [OsString], output: ChildOutput) -> Self {
        Self { command, output, folder: None, limit: None, tools: FrameworkTools::Hooked }
    }
}

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Group,
    limit: Option<Duration>,
}

/// The process group of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Shared,
    Own,
}

/// Starts a program with `variables` added to this process's environment.
pub(crate) fn start(
    program: Program<'_>,
    variables: &[(String, String)],
) -> anyhow::Result<Result<Running, NotStarted>> {
    let name = name(program.command)?;
    let mut command = Command::new(name);
    command.args(&program.command[1..]).envs(variables.iter().map(|(n, v)| (n, v)));
    let folder = program.folder;
    let started = spawn(command, program)?;
    Ok(started.map_err(|error| not_started(&name.to_string_lossy(), folder, &error)))
}

/// The program's name, the first word of its command line.
pub(super) fn name(command: &[OsString]) -> Result<&OsStr, UsageError> {
    let name = command.first().map(OsString::as_os_str);
    name.ok_or_else(|| UsageError("there is no command after `--`".to_owned()))
}

/// Starts `command` with the output, in the folder and within the time of `program`.
pub(super) fn spawn(mut command: Command, program: Program<'_>) -> anyhow::Result<std::io::Result<Running>> {
    let Program { output, folder, limit, .. } = program;
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let group = match output {
        ChildOutput::Inherited => Group::Shared,
        ChildOutput::To(file) => {
            command.stdout(file);
            Group::Shared
        }
        ChildOutput::Captured(file) => {
            let both = file.try_clone().context("the file for the program's output")?;
            command.stdin(Stdio::null()).stdout(both).stderr(file).process_group(0).kill_on_drop(true);
            Group::Own
        }
    };
    Ok(command.spawn().map(|child| Running { child, group, limit }))
}

pub(super) fn not_started(name: &str, folder: Option<&Path>, error: &std::io::Error) -> NotStarted {
    let missing_folder = folder.filter(|folder| !folder.is_dir());
    match (error.kind(), missing_folder) {
        (_, Some(folder)) => NotStarted {
            exit: Exit::NotStarted(126),
            message: format!("`{name}` cannot be started: there is no folder {}", folder.display()),
        },
        (std::io::ErrorKind::NotFound, None) => NotStarted {
            exit: Exit::NotStarted(NOT_FOUND),
            message: format!("`{name}` was not found: check the spelling, or write its path"),
        },
        (std::io::ErrorKind::PermissionDenied, None) => NotStarted {
            exit: Exit::NotStarted(126),
            message: format!(
                "`{name}` cannot be executed: is it a program? (`chmod +x`, or put its interpreter in front)"
            ),
        },
        _ => NotStarted {
            exit: Exit::NotStarted(126),
            message: format!("`{name}` cannot be started: {error}"),
        },
    }
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

/// How long a child may take to end after it was told to, when its time is over.
const GRACE: Duration = Duration::from_secs(2);

/// Waits for the child, passing signals on.
pub(crate) async fn wait(
    mut running: Running,
    mut signals: Signals,
    second: SecondCtrlC,
) -> anyhow::Result<Ended> {
    let mut interrupted = None;
    let out_of_time = sleep(running.limit);
    tokio::pin!(out_of_time);
    loop {
        let received = tokio::select! {
            status = running.child.wait() => {
                let code = code(status.context("the child cannot be waited for")?);
                return Ok(Ended { code, interrupted });
            }
            () = &mut out_of_time => {
                let status = running.end_in_time().await?;
                return Ok(Ended { code: code(status), interrupted: Some(Interruption::OutOfTime) });
            }
            received = signals.next() => received,
        };
        if received == Signal::INT && interrupted == Some(Interruption::CtrlC) && second == SecondCtrlC::Kills
        {
            running.kill();
            return Ok(Ended { code: CODE_OF_CTRL_C, interrupted });
        }
        interrupted = interrupted.or(interruption(received));
        let typed = matches!(received, Signal::INT | Signal::QUIT) && in_foreground();
        if !typed || running.group == Group::Own {
            running.signal(received);
        }
    }
}

async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

impl Running {
    /// Waits for its end, whatever brings it about.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// The same; then nobody is left of a group of its own.
    pub(crate) async fn ended_with_its_group(&mut self) -> std::io::Result<ExitStatus> {
        let pid = self.pid();
        let status = self.child.wait().await;
        self.end_the_group(pid);
        status
    }

    fn end_the_group(&self, pid: Option<Pid>) {
        if let (Some(pid), Group::Own) = (pid, self.group) {
            // There may be nobody.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }

    /// Sends a signal to it. It may have ended this very moment.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = match self.group {
                Group::Shared => kill_process(pid, signal),
                Group::Own => kill_process_group(pid, signal),
            };
        }
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        // It may have ended this very moment.
        let _ = self.child.start_kill();
    }

    /// Ends it, and all of a group of its own.
    pub(crate) async fn end(&mut self) -> anyhow::Result<ExitStatus> {
        let pid = self.pid();
        let status = self.end_in_time().await;
        // Whoever is left of the group had its time too.
        self.end_the_group(pid);
        status
    }

    /// Tells it to end, and ends it if it does not.
    async fn end_in_time(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM);
        if let Ok(status) = tokio::time::timeout(GRACE, self.child.wait()).await {
            return status.context("the child cannot be waited for");
        }
        self.kill();
        self.child.wait().await.context("the child cannot be waited for")
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

/// Its exit code; 128 and the signal's number if a signal ended it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
