//! Where a child runs: beside this process, or in a sandbox; and the listener at which it is served.
//!
//! The listener comes first, because the child's environment names its address.

use super::process::{self, NotStarted, Program, Running};
use super::sandbox::Sandbox;
use super::tool_hooks::FrameworkTools;
use crate::tape;
use std::ffi::OsString;
use tokio::net::TcpListener;

/// What the child's network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confinement {
    /// This process's.
    None,
    /// Its own, with nothing in it but the listener.
    Sandbox,
}

/// A place for one program, which has not begun.
#[derive(Debug)]
pub(crate) enum Stage<'a> {
    Here(Program<'a>),
    Sandbox(Box<Sandbox<'a>>),
}

impl<'a> Stage<'a> {
    /// Prepares it, and opens a free loopback port that the program can reach.
    pub(crate) async fn set(
        program: Program<'a>,
        confinement: Confinement,
    ) -> anyhow::Result<(Self, TcpListener)> {
        Ok(match confinement {
            Confinement::None => (Self::Here(program), tape::listen().await?),
            Confinement::Sandbox => {
                let (sandbox, listener) = Sandbox::open(program).await?;
                (Self::Sandbox(Box::new(sandbox)), listener)
            }
        })
    }

    pub(crate) fn command(&self) -> &'a [OsString] {
        match self {
            Self::Here(program) => program.command,
            Self::Sandbox(sandbox) => sandbox.command(),
        }
    }

    /// What becomes of the tools of agent frameworks in it.
    pub(crate) fn tools(&self) -> FrameworkTools {
        match self {
            Self::Here(program) => program.tools,
            Self::Sandbox(sandbox) => sandbox.tools(),
        }
    }

    /// The same for another command line.
    pub(crate) fn with<'b>(self, command: &'b [OsString]) -> Stage<'b>
    where
        'a: 'b,
    {
        match self {
            Self::Here(program) => Stage::Here(Program { command, ..program }),
            Self::Sandbox(sandbox) => Stage::Sandbox(Box::new(sandbox.with(command))),
        }
    }

    /// Starts the program with `variables` added to this process's environment.
    pub(crate) async fn start(
        self,
        variables: &[(String, String)],
    ) -> anyhow::Result<Result<Running, NotStarted>> {
        match self {
            Self::Here(program) => process::start(program, variables),
            Self::Sandbox(sandbox) => sandbox.start(variables).await,
        }
    }
}
