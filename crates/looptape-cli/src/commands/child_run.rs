//! Running a child between a server's start and its end: what `record` and `replay` share.

use crate::child::environment::{self, Mode, Variables};
use crate::child::overlay::{Overlay, Run};
use crate::child::process::{self, ChildOutput, Ended, NotStarted, SecondCtrlC, Signals};
use anyhow::Context;
use std::ffi::OsString;

/// Runs `command` with its SDKs pointed at `origin`, and waits for it. `told` are variables of this run
/// alone.
pub(super) async fn run(
    mode: Mode,
    origin: &str,
    trace: &str,
    command: &[OsString],
    told: Variables,
    output: ChildOutput,
) -> anyhow::Result<Result<Ended, NotStarted>> {
    let parent = |name: &str| std::env::var(name).ok();
    let mut variables = environment::variables(mode, origin, trace, &parent);
    variables.extend(told);
    let base = format!("{origin}/t/{trace}");
    let overlay = Overlay::prepare(Run { command, base: &base, trace }, &parent)
        .context("the agent's configuration cannot be written")?;
    variables.extend(overlay.variables.iter().cloned());
    let signals = Signals::listen()?;
    let mut child = match process::start(command, &variables, output)? {
        Ok(child) => child,
        Err(not_started) => return Ok(Err(not_started)),
    };
    let second = match mode {
        Mode::Record => SecondCtrlC::IsPassedOn,
        Mode::Replay => SecondCtrlC::Kills,
    };
    Ok(Ok(process::wait(&mut child, signals, second).await?))
}
