//! Running a child between a server's start and its end: what `record` and `replay` share.

use crate::child::environment::{self, Mode};
use crate::child::overlay::Overlay;
use crate::child::process::{self, ChildOutput, Ended, NotStarted};
use anyhow::Context;
use std::ffi::OsString;

/// Runs `command` with its SDKs pointed at `origin`, and waits for it.
pub(super) async fn run(
    mode: Mode,
    origin: &str,
    trace: &str,
    command: &[OsString],
    output: ChildOutput,
) -> anyhow::Result<Result<Ended, NotStarted>> {
    let parent = |name: &str| std::env::var(name).ok();
    let mut variables = environment::variables(mode, origin, trace, &parent);
    let overlay = Overlay::new().context("a private folder for this run cannot be made")?;
    let program = command.first().map(|c| c.to_string_lossy().into_owned()).unwrap_or_default();
    let more = overlay
        .variables(&program, &format!("{origin}/t/{trace}"), &parent)
        .context("the agent's configuration cannot be written")?;
    variables.extend(more);
    let mut child = match process::start(command, &variables, output)? {
        Ok(child) => child,
        Err(not_started) => return Ok(Err(not_started)),
    };
    Ok(Ok(process::wait(&mut child).await?))
}
