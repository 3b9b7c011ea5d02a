//! Running a child between a server's start and its end: what `record` and `replay` share.

use crate::child::environment::{self, Mode, Variables};
use crate::child::overlay::{Overlay, Run};
use crate::child::process::{self, Ended, NotStarted, SecondCtrlC, Signals};
use crate::child::stage::Stage;
use anyhow::Context;

/// Runs the program of `stage` with its SDKs pointed at `origin`, and waits for it. `told` are variables of this run
/// alone.
pub(super) async fn run(
    mode: Mode,
    origin: &str,
    trace: &str,
    stage: Stage<'_>,
    told: Variables,
) -> anyhow::Result<Result<Ended, NotStarted>> {
    let parent = |name: &str| std::env::var(name).ok();
    let mut variables = environment::variables(mode, origin, trace, &parent);
    variables.extend(told);
    let base = format!("{origin}/t/{trace}");
    let overlay = Overlay::prepare(Run { command: stage.command(), base: &base, trace }, &parent)
        .context("the agent's configuration cannot be written")?;
    variables.extend(overlay.variables.iter().cloned());
    let signals = Signals::listen()?;
    let running = match stage.start(&variables).await? {
        Ok(running) => running,
        Err(not_started) => return Ok(Err(not_started)),
    };
    let second = match mode {
        Mode::Record => SecondCtrlC::IsPassedOn,
        Mode::Replay => SecondCtrlC::Kills,
    };
    Ok(Ok(process::wait(running, signals, second).await?))
}
