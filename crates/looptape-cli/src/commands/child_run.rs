//! Running a child between a server's start and its end: what `record` and `replay` share.

use crate::child::agent_hooks::Agent;
use crate::child::environment::{self, Mode, Variables};
use crate::child::mcp_config::Redirect;
use crate::child::overlay::{Overlay, Run};
use crate::child::process::{self, Ended, NotStarted, SecondCtrlC, Signals};
use crate::child::stage::Stage;
use crate::child::tool_hooks::{FrameworkTools, ToolHooks};
use anyhow::Context;
use std::collections::HashMap;
use std::ffi::OsString;

/// A child that ran.
pub(super) struct ChildRan {
    pub(super) ended: Ended,
    /// Coding agents that were given hooks.
    pub(super) hooked: Vec<Agent>,
}

/// What a child is started with. The files that it names are there as long as this lives.
#[must_use = "the child's hooks and configuration are there as long as this lives"]
pub(super) struct Prepared {
    pub(super) variables: Variables,
    overlay: Overlay,
    _hooks: ToolHooks,
}

/// A child that is about to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToRun<'a> {
    pub(super) mode: Mode,
    /// Where looptape listens: `http://127.0.0.1:PORT`.
    pub(super) origin: &'a str,
    pub(super) trace: &'a str,
    pub(super) command: &'a [OsString],
    pub(super) tools: FrameworkTools,
}

impl ToRun<'_> {
    /// Points its SDKs here, and prepares its hooks and configuration. `told` are variables of this run alone.
    pub(super) fn prepare(&self, told: Variables) -> anyhow::Result<Prepared> {
        let Self { mode, origin, trace, command, tools } = *self;
        let parent = |name: &str| std::env::var(name).ok();
        let mut variables = environment::variables(mode, origin, trace, &parent);
        variables.extend(told);
        let base = format!("{origin}/t/{trace}");
        let looptape = std::env::current_exe().context("this program does not know where it is")?;
        let mcp = Redirect { mode, origin, trace, looptape };
        let so_far: HashMap<&str, &str> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        let own = |name: &str| so_far.get(name).map(|value| (*value).to_owned()).or_else(|| parent(name));
        let hooks = ToolHooks::prepare(tools, mode, &own)?;
        variables.extend(hooks.variables.iter().cloned());
        // A recording needs none: the model traffic holds what an agent's own tools gave.
        let plugins = hooks.for_agents().filter(|_| mode == Mode::Replay);
        let run = Run { command, base: &base, trace, mcp: &mcp, asks: plugins.as_ref() };
        let overlay =
            Overlay::prepare(run, &parent).context("the agent's configuration cannot be written")?;
        variables.extend(overlay.variables.iter().cloned());
        Ok(Prepared { variables, overlay, _hooks: hooks })
    }
}

impl Prepared {
    /// The command line to start, in the place of `own`, if it is another one.
    pub(super) fn command(&self) -> Option<&[OsString]> {
        self.overlay.command.as_deref()
    }
}

/// Runs the program of `stage` with its SDKs pointed at `origin`, and waits for it. `told` are variables of this run
/// alone.
pub(super) async fn run(
    mode: Mode,
    origin: &str,
    trace: &str,
    stage: Stage<'_>,
    told: Variables,
) -> anyhow::Result<Result<ChildRan, NotStarted>> {
    let to_run = ToRun { mode, origin, trace, command: stage.command(), tools: stage.tools() };
    let prepared = to_run.prepare(told)?;
    let stage = match prepared.command() {
        Some(command) => stage.with(command),
        None => stage,
    };
    let signals = Signals::listen()?;
    let running = match stage.start(&prepared.variables).await? {
        Ok(running) => running,
        Err(not_started) => return Ok(Err(not_started)),
    };
    let second = match mode {
        Mode::Record => SecondCtrlC::IsPassedOn,
        Mode::Replay => SecondCtrlC::Kills,
    };
    let ended = process::wait(running, signals, second).await?;
    Ok(Ok(ChildRan { ended, hooked: prepared.overlay.hooked }))
}
