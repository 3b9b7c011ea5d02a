//! `looptape sandboxed`: what `replay --sandbox` starts. Nobody else has a use for it.

use crate::child::sandbox::inside;
use crate::exit::Exit;
use std::ffi::OsString;
use std::path::PathBuf;

/// Become a program in a network of its own
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The socket at which a replay listens
    link: PathBuf,
    /// The program's command line
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    inside::run(&args.link, &args.command)
}
